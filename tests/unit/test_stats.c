/* The documents of /v1/stats and /v1/graph: every name that programs read, with the value that was counted.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdbool.h>

#include "admin_fixture.h"

static json_t *read_back(const struct weir_strbuf *text)
{
    json_error_t why;
    json_t *doc = json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, &why);
    if (doc == NULL)
        fail_msg("%s at %d: %s", why.text, why.position, text->data);
    return doc;
}

/* The integer at "a.b.c"; fails when it is not there or is no integer. */
static long long int_at(const json_t *doc, const char *path)
{
    char part[64];
    const char *rest = path;
    while (*rest != '\0') {
        size_t len = strcspn(rest, ".");
        snprintf(part, sizeof part, "%.*s", (int)len, rest);
        doc = json_object_get(doc, part);
        rest += len + (rest[len] == '.');
    }
    if (!json_is_integer(doc))
        fail_msg("%s is no integer", path);
    return (long long)json_integer_value(doc);
}

static json_t *stats_of(struct shop *s, const char *only)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    weir_stats_print(&s->view, only, &text);
    assert_false(text.failed);
    json_t *doc = read_back(&text);
    weir_strbuf_fini(&text);
    return doc;
}

static void the_ledger_is_the_sum_over_workers(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    SHOP_COUNT(&s, "page", 0, offered, 9);
    SHOP_COUNT(&s, "page", 0, rejected, 1);
    SHOP_COUNT(&s, "page", 0, accepted, 8);
    SHOP_COUNT(&s, "page", 1, handled, 5);
    SHOP_COUNT(&s, "page", 1, failed, 1);
    SHOP_COUNT(&s, "page", 0, dropped, 1);
    SHOP_COUNT(&s, "page", 0, queued, 2);
    SHOP_COUNT(&s, "page", 1, queued, -1);
    SHOP_COUNT(&s, "page", 1, waiting, 4);
    json_t *doc = stats_of(&s, NULL);
    assert_string_equal(json_string_value(json_object_get(doc, "app")), "shop");
    assert_int_equal(int_at(doc, "pid"), getpid());
    assert_int_equal(int_at(doc, "pools.main.min"), 2);
    assert_int_equal(int_at(doc, "pools.main.max"), 2);
    assert_int_equal(int_at(doc, "stages.page.queue.capacity"), 256);
    assert_int_equal(int_at(doc, "stages.page.queue.capacity_bytes"), 1 << 20);
    assert_int_equal(int_at(doc, "stages.page.generation"), 1);
    assert_int_equal(int_at(doc, "stages.page.batch"), 64);
    assert_int_equal(int_at(doc, "stages.page.ledger.offered"), 9);
    assert_int_equal(int_at(doc, "stages.page.ledger.rejected"), 1);
    assert_int_equal(int_at(doc, "stages.page.ledger.accepted"), 8);
    assert_int_equal(int_at(doc, "stages.page.ledger.handled"), 5);
    assert_int_equal(int_at(doc, "stages.page.ledger.failed"), 1);
    assert_int_equal(int_at(doc, "stages.page.ledger.expired"), 0);
    assert_int_equal(int_at(doc, "stages.page.ledger.dropped"), 1);
    assert_int_equal(int_at(doc, "stages.page.ledger.queued"), 1);
    assert_int_equal(int_at(doc, "stages.page.ledger.running"), 0);
    assert_int_equal(int_at(doc, "stages.page.ledger.waiting"), 4);
    assert_int_equal(int_at(doc, "stages.page.ledger.unsettled"), 0);
    json_decref(doc);
    shop_close(&s);
}

static void what_does_not_add_up_is_unsettled(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    SHOP_COUNT(&s, "page", 0, offered, 3);
    SHOP_COUNT(&s, "page", 0, accepted, 3);
    SHOP_COUNT(&s, "page", 0, handled, 2);
    json_t *doc = stats_of(&s, NULL);
    assert_int_equal(int_at(doc, "stages.page.ledger.unsettled"), 1);
    json_decref(doc);
    shop_close(&s);
}

static void reasons_are_nested_by_outcome_and_only_those_that_happened(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    SHOP_COUNT(&s, "page", 0, reasons[WEIR_REASON_FULL], 2);
    SHOP_COUNT(&s, "page", 1, reasons[WEIR_REASON_FULL], 1);
    SHOP_COUNT(&s, "page", 1, reasons[WEIR_REASON_CLOSED], 4);
    SHOP_COUNT(&s, "page", 1, reasons[WEIR_REASON_OLDEST], 5);
    json_t *doc = stats_of(&s, NULL);
    const json_t *reasons =
        json_object_get(json_object_get(json_object_get(doc, "stages"), "page"), "reasons");
    assert_int_equal(json_object_size(reasons), 2);
    assert_int_equal(json_object_size(json_object_get(reasons, "rejected")), 2);
    assert_int_equal(int_at(reasons, "rejected.full"), 3);
    assert_int_equal(int_at(reasons, "rejected.closed"), 4);
    assert_int_equal(int_at(reasons, "dropped.oldest"), 5);
    const json_t *none = json_object_get(json_object_get(json_object_get(doc, "stages"), "log"), "reasons");
    assert_true(json_is_object(none));
    assert_int_equal(json_object_size(none), 0);
    json_decref(doc);
    shop_close(&s);
}

static void times_are_in_microseconds(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    for (int i = 0; i < 99; i++)
        weir_hist_record(&shop_seat(&s, "page", 0)->ledger.wait_ns, 8000);
    weir_hist_record(&shop_seat(&s, "page", 1)->ledger.wait_ns, 3000000);
    weir_hist_record(&shop_seat(&s, "page", 1)->ledger.service_ns, 70000);
    json_t *doc = stats_of(&s, NULL);
    assert_in_range(int_at(doc, "stages.page.queue.wait_us.p50"), 8, 9);
    assert_in_range(int_at(doc, "stages.page.queue.wait_us.p90"), 8, 9);
    assert_in_range(int_at(doc, "stages.page.queue.wait_us.p99"), 8, 9);
    assert_int_equal(int_at(doc, "stages.page.queue.wait_us.max"), 3000);
    assert_int_equal(int_at(doc, "stages.page.service_us.max"), 70);
    assert_int_equal(int_at(doc, "stages.log.service_us.p50"), 0);
    json_decref(doc);
    shop_close(&s);
}

static void a_stage_tells_what_it_emitted_by_port(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    atomic_store(&shop_seat(&s, "route", 0)->emitted[0], 6);
    atomic_store(&shop_seat(&s, "route", 1)->emitted[0], 1);
    atomic_store(&shop_seat(&s, "route", 1)->emitted[1], 2);
    atomic_store(&shop_seat(&s, "route", 1)->handler_bytes, 81234);
    json_t *doc = stats_of(&s, NULL);
    assert_int_equal(int_at(doc, "stages.route.emitted.page"), 7);
    assert_int_equal(int_at(doc, "stages.route.emitted.log"), 2);
    assert_int_equal(int_at(doc, "stages.route.vm_bytes"), 81234);
    json_decref(doc);
    shop_close(&s);
}

static void a_source_tells_what_it_counts_itself(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    json_t *doc = stats_of(&s, NULL);
    assert_int_equal(int_at(doc, "stages.web.http.connections"), 3);
    assert_int_equal(int_at(doc, "stages.web.http.requests"), 41);
    assert_int_equal(int_at(doc, "stages.web.emitted.out"), 0);
    json_decref(doc);
    shop_close(&s);
}

static void one_stage_can_be_asked_for(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    json_t *doc = stats_of(&s, "log");
    assert_int_equal(json_object_size(json_object_get(doc, "stages")), 1);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(json_object_get(doc, "stages"), "log"), "kind")),
        "sink");
    json_decref(doc);
    shop_close(&s);
}

static void the_graph_has_every_edge_with_its_own_policy(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    atomic_store(&shop_seat(&s, "route", 0)->emitted[1], 5);
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    weir_graph_print(&s.view, &text);
    json_t *doc = read_back(&text);
    weir_strbuf_fini(&text);
    const json_t *edges = json_object_get(doc, "edges");
    assert_int_equal(json_array_size(json_object_get(doc, "stages")), 4);
    assert_int_equal(json_array_size(edges), 3);
    assert_null(json_object_get(json_array_get(edges, 1), "overflow"));
    const json_t *log = json_array_get(edges, 2);
    assert_string_equal(json_string_value(json_object_get(log, "from")), "route");
    assert_string_equal(json_string_value(json_object_get(log, "port")), "log");
    assert_string_equal(json_string_value(json_object_get(log, "to")), "log");
    assert_string_equal(json_string_value(json_object_get(log, "overflow")), "drop_newest");
    assert_int_equal(int_at(log, "emitted"), 5);
    json_decref(doc);
    shop_close(&s);
}

static void a_graph_that_does_not_run_has_no_figures(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    weir_graph_print(&(struct weir_view){.app = s.view.app}, &text);
    json_t *doc = read_back(&text);
    weir_strbuf_fini(&text);
    assert_null(json_object_get(doc, "state"));
    assert_null(json_object_get(json_array_get(json_object_get(doc, "stages"), 2), "live"));
    assert_null(json_object_get(json_array_get(json_object_get(doc, "edges"), 2), "emitted"));
    json_decref(doc);
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
        weir_stats_print(&s.view, NULL, &text);
        weir_mem_fail_after(-1);
        failed = text.failed;
        if (!failed)
            json_decref(read_back(&text));
        weir_strbuf_fini(&text);
        assert_int_equal(weir_mem_live(), live);
    }
    shop_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ledger_is_the_sum_over_workers),
        cmocka_unit_test(what_does_not_add_up_is_unsettled),
        cmocka_unit_test(reasons_are_nested_by_outcome_and_only_those_that_happened),
        cmocka_unit_test(times_are_in_microseconds),
        cmocka_unit_test(a_stage_tells_what_it_emitted_by_port),
        cmocka_unit_test(a_source_tells_what_it_counts_itself),
        cmocka_unit_test(one_stage_can_be_asked_for),
        cmocka_unit_test(the_graph_has_every_edge_with_its_own_policy),
        cmocka_unit_test(a_graph_that_does_not_run_has_no_figures),
        cmocka_unit_test(a_lack_of_memory_shows),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
