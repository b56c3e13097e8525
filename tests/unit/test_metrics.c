/* The Prometheus text: its form as the format asks for it, and the values that were counted. tests/e2e checks
 * it with promtool, too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>

#include "admin/metrics.h"
#include "admin_fixture.h"
#include "core/metric.h"
#include "core/shared_table.h"
#include "core/shared_tables.h"

static char *metrics_of(struct shop *s)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    weir_metrics_print(&s->view, &text);
    assert_false(text.failed);
    return weir_strbuf_take(&text);
}

/* The value of the line that begins with `series` and a blank. */
static double value_of(const char *text, const char *series)
{
    size_t len = strlen(series);
    for (const char *line = text; line != NULL && *line != '\0';
         line = strchr(line, '\n'), line += line != NULL)
        if (strncmp(line, series, len) == 0 && line[len] == ' ')
            return strtod(line + len + 1, NULL);
    fail_msg("no line '%s'", series);
    return 0;
}

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what))
        n++;
    return n;
}

static void outcomes_and_reasons_are_counters_by_stage(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    SHOP_COUNT(&s, "page", 0, offered, 9);
    SHOP_COUNT(&s, "page", 1, handled, 7);
    SHOP_COUNT(&s, "page", 1, reasons[WEIR_REASON_FULL], 2);
    atomic_store(&shop_seat(&s, "route", 1)->emitted[1], 3);
    atomic_store(&shop_seat(&s, "route", 1)->handler_bytes, 81234);
    char *text = metrics_of(&s);
    assert_true(value_of(text, "weir_stage_events_total{stage=\"page\",outcome=\"offered\"}") == 9);
    assert_true(value_of(text, "weir_stage_events_total{stage=\"page\",outcome=\"handled\"}") == 7);
    assert_true(value_of(text, "weir_stage_events_total{stage=\"log\",outcome=\"handled\"}") == 0);
    assert_true(
        value_of(text, "weir_stage_reasons_total{stage=\"page\",outcome=\"rejected\",reason=\"full\"}") == 2);
    assert_true(value_of(text, "weir_stage_emitted_total{stage=\"route\",port=\"log\"}") == 3);
    assert_true(value_of(text, "weir_queue_capacity{stage=\"page\"}") == 256);
    assert_true(value_of(text, "weir_queue_depth{stage=\"page\"}") == 0);
    assert_true(value_of(text, "weir_stage_batch_size{stage=\"page\"}") == 64);
    assert_true(value_of(text, "weir_stage_generation{stage=\"page\"}") == 1);
    assert_true(value_of(text, "weir_vm_bytes{stage=\"route\",worker=\"1\"}") == 81234);
    assert_true(value_of(text, "weir_pool_threads{pool=\"main\"}") == 0);
    assert_null(strstr(text, "weir_queue_depth{stage=\"web\"}"));
    weir_free(text);
    shop_close(&s);
}

static void an_http_source_has_its_own_counters(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    char *text = metrics_of(&s);
    assert_true(value_of(text, "weir_http_connections{stage=\"web\"}") == 3);
    assert_true(value_of(text, "weir_http_requests_total{stage=\"web\"}") == 41);
    assert_true(value_of(text, "weir_http_answers_5xx_total{stage=\"web\"}") == 7);
    weir_free(text);
    shop_close(&s);
}

static void histograms_are_cumulative_and_close_at_infinity(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    struct weir_ledger *first = &shop_seat(&s, "page", 0)->ledger,
                       *second = &shop_seat(&s, "page", 1)->ledger;
    weir_hist_record(&first->wait_ns, 500);
    weir_hist_record(&first->wait_ns, 20000);
    weir_hist_record(&second->wait_ns, 20000);
    weir_hist_record(&second->wait_ns, 90000000000);
    char *text = metrics_of(&s);
    assert_true(value_of(text, "weir_queue_wait_seconds_bucket{stage=\"page\",le=\"1e-06\"}") == 1);
    assert_true(value_of(text, "weir_queue_wait_seconds_bucket{stage=\"page\",le=\"1e-05\"}") == 1);
    assert_true(value_of(text, "weir_queue_wait_seconds_bucket{stage=\"page\",le=\"2.5e-05\"}") == 3);
    assert_true(value_of(text, "weir_queue_wait_seconds_bucket{stage=\"page\",le=\"10\"}") == 3);
    assert_true(value_of(text, "weir_queue_wait_seconds_bucket{stage=\"page\",le=\"+Inf\"}") == 4);
    assert_true(value_of(text, "weir_queue_wait_seconds_count{stage=\"page\"}") == 4);
    double sum = value_of(text, "weir_queue_wait_seconds_sum{stage=\"page\"}");
    assert_true(sum > 90.00003 && sum < 90.00005);
    assert_true(value_of(text, "weir_stage_service_seconds_count{stage=\"page\"}") == 0);
    weir_free(text);
    shop_close(&s);
}

static void every_family_is_told_about_once_and_before_its_samples(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    char *text = metrics_of(&s);
    char family[128] = "", help[160], type[160];
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            snprintf(family, sizeof family, "%.*s", (int)strcspn(line + 7, " "), line + 7);
            snprintf(help, sizeof help, "# HELP %s ", family);
            snprintf(type, sizeof type, "# TYPE %s ", family);
            assert_int_equal(count_of(text, help), 1);
            assert_int_equal(count_of(text, type), 1);
        } else if (line[0] != '#') {
            assert_int_equal(strncmp(line, family, strlen(family)), 0);
        }
    }
    assert_true(count_of(text, "# TYPE ") > 30);
    weir_free(text);
    shop_close(&s);
}

static void shared_tables_and_metrics_of_scripts_are_given(void **state)
{
    (void)state;
    static const struct weir_metric_label labels[] = {{"path", "/a\"b"}};
    static const double bounds[] = {0.5, 2};
    struct weir_shared_table *t;
    struct weir_metric_series *c, *h, *g;
    struct weir_err err;
    struct shop s;
    bool other;
    shop_open(&s);
    char *none = metrics_of(&s);
    assert_null(strstr(none, "weir_shared_"));
    weir_free(none);
    assert_int_equal(weir_shared_tables_get(s.graph->shared, "sessions", &t, &err), WEIR_E_NOTFOUND); /* not declared */
    assert_int_equal(weir_shared_tables_declare(s.graph->shared, "sessions", 5000, 0, &err), WEIR_OK);
    assert_int_equal(weir_shared_tables_get(s.graph->shared, "sessions", &t, &err), WEIR_OK);
    struct weir_shared_key k = weir_shared_key_string("k", 1);
    struct weir_value v = {.kind = WEIR_VALUE_INT, .integer = 1};
    assert_int_equal(weir_shared_table_set(t, &k, v, 0), WEIR_OK);
    assert_int_equal(weir_shared_table_get(t, &k, &v), WEIR_OK);
    struct weir_metrics *m = s.graph->metrics;
    assert_int_equal(weir_metrics_get(m, &(struct weir_metric_spec){.name = "hits", .labels = labels, .label_count = 1, .help = "a\\b\nc"}, &c,
                                      &other, &err),
                     WEIR_OK);
    assert_int_equal(weir_metrics_get(m, &(struct weir_metric_spec){.type = WEIR_METRIC_HISTOGRAM, .name = "h", .bounds = bounds, .bound_count = 2},
                                      &h, &other, &err),
                     WEIR_OK);
    assert_int_equal(weir_metrics_get(m, &(struct weir_metric_spec){.type = WEIR_METRIC_GAUGE, .name = "g"}, &g, &other, &err), WEIR_OK);
    weir_metric_add_int(c, 0, (1LL << 53) + 1);
    weir_metric_observe(h, 0, 0.25);
    weir_metric_observe(h, 0, 4);
    weir_metric_set(g, -INFINITY);
    char *text = metrics_of(&s);
    assert_true(value_of(text, "weir_shared_limit_bytes{table=\"sessions\"}") == 5000);
    assert_true(value_of(text, "weir_shared_entries{table=\"sessions\"}") == 1);
    assert_true(value_of(text, "weir_shared_hits_total{table=\"sessions\"}") == 1);
    assert_non_null(strstr(text, "\n# HELP hits_total a\\\\b\\nc\n# TYPE hits_total counter\nhits_total{path=\"/a\\\"b\"} 9007199254740993\n"));
    assert_non_null(strstr(text, "\n# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"2\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 4.25\n"
                                 "h_count 2\n"));
    assert_non_null(strstr(text, "\ng -Inf\n"));
    weir_free(text);
    shop_close(&s);
}

static void labels_are_escaped(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    const char *name = s.parsed.app->name;
    s.parsed.app->name = "a\"b\\c\nd";
    char *text = metrics_of(&s);
    assert_non_null(strstr(text, "app=\"a\\\"b\\\\c\\nd\"} 1\n"));
    s.parsed.app->name = name;
    weir_free(text);
    shop_close(&s);
}

static void a_lack_of_memory_shows(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    long live = weir_mem_live();
    bool failed = true;
    for (long n = 0; failed; n++) {
        struct weir_strbuf text = WEIR_STRBUF_INIT;
        weir_mem_fail_after(n);
        weir_metrics_print(&s.view, &text);
        weir_mem_fail_after(-1);
        failed = text.failed;
        weir_strbuf_fini(&text);
        assert_int_equal(weir_mem_live(), live);
    }
    shop_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_and_reasons_are_counters_by_stage),
        cmocka_unit_test(an_http_source_has_its_own_counters),
        cmocka_unit_test(histograms_are_cumulative_and_close_at_infinity),
        cmocka_unit_test(every_family_is_told_about_once_and_before_its_samples),
        cmocka_unit_test(shared_tables_and_metrics_of_scripts_are_given),
        cmocka_unit_test(labels_are_escaped),
        cmocka_unit_test(a_lack_of_memory_shows),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
