/* Which path answers what, and with which status. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "admin/routes.h"
#include "admin_fixture.h"
#include "core/event.h"
#include "core/failures.h"
#include "core/worker.h"

static struct weir_http_text text(const char *s)
{
    return (struct weir_http_text){s, strlen(s)};
}

static struct weir_route_answer ask(struct shop *s, const char *method, const char *path, const char *query)
{
    struct weir_route_answer a = {.body = WEIR_STRBUF_INIT};
    struct weir_route_ask asked = {&s->view, text(method), text(path), text(query), text(""), NULL};
    weir_route(&asked, &a);
    assert_non_null(a.type);
    assert_non_null(a.body.data);
    return a;
}

static void expect(struct shop *s, const char *method, const char *path, const char *query, int status,
                   const char *part)
{
    struct weir_route_answer a = ask(s, method, path, query);
    if (a.status != status || strstr(a.body.data, part) == NULL)
        fail_msg("%s %s?%s: %d %s", method, path, query, a.status, a.body.data);
    weir_strbuf_fini(&a.body);
}

static void each_path_answers(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    expect(&s, "GET", "/v1/stats", "", 200, "\"ledger\":");
    expect(&s, "HEAD", "/v1/stats", "", 200, "\"ledger\":");
    expect(&s, "GET", "/v1/graph", "", 200, "\"edges\":[");
    expect(&s, "GET", "/metrics", "", 200, "weir_build_info{");
    expect(&s, "GET", "/health/live", "", 200, "ok\n");
    shop_close(&s);
}

static void a_host_that_does_not_run_is_not_ready(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    expect(&s, "GET", "/health/ready", "", 503, "stopped\n");
    shop_close(&s);
}

static void other_paths_are_not_found(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    expect(&s, "GET", "/", "", 404, "{\"error\":\"there is nothing at '/'\"}");
    expect(&s, "GET", "/v1/stats/", "", 404, "{\"error\":");
    expect(&s, "GET", "/metricsx", "", 404, "{\"error\":");
    expect(&s, "GET", "/\"\\\n", "", 404, "{\"error\":\"there is nothing at '/\\\"\\\\\\n'\"}");
    shop_close(&s);
}

static void other_methods_are_told_which_are_allowed(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    struct weir_route_answer a = ask(&s, "POST", "/v1/stats", "");
    assert_int_equal(a.status, 405);
    assert_string_equal(a.allow, "GET, HEAD");
    assert_non_null(strstr(a.body.data, "{\"error\":"));
    weir_strbuf_fini(&a.body);
    expect(&s, "get", "/v1/stats", "", 405, "{\"error\":");
    expect(&s, "POST", "/nowhere", "", 404, "{\"error\":");
    shop_close(&s);
}

static void a_stage_is_chosen_by_the_query(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    struct weir_route_answer a = ask(&s, "GET", "/v1/stats", "x=1&stage=p%61ge&y");
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body.data, "\"page\":{\"kind\""));
    assert_null(strstr(a.body.data, "\"route\":{\"kind\""));
    weir_strbuf_fini(&a.body);
    expect(&s, "GET", "/v1/stats", "stage=pgae", 404, "there is no stage 'pgae'");
    expect(&s, "GET", "/v1/stats", "stage=", 404, "there is no stage ''");
    expect(&s, "GET", "/v1/stats", "stage=%4", 404, "there is no stage '%4'");
    expect(&s, "GET", "/v1/stats", "stage=%00page", 404, "there is no stage");
    expect(&s, "GET", "/v1/stats", "stages=page&stage", 200, "\"route\":{\"kind\"");
    shop_close(&s);
}

static void expect_post(struct shop *s, const char *path, const char *body, int status, const char *part)
{
    struct weir_route_answer a = {.body = WEIR_STRBUF_INIT};
    struct weir_route_ask asked = {&s->view, text("POST"), text(path), text(""), text(body), NULL};
    weir_route(&asked, &a);
    if (a.status != status || strstr(a.body.data, part) == NULL)
        fail_msg("POST %s %s: %d %s", path, body, a.status, a.body.data);
    weir_strbuf_fini(&a.body);
}

static void what_is_posted_is_checked(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    expect_post(&s, "/v1/queue/drop", "{", 400, "the body: expected a JSON object: ");
    expect_post(&s, "/v1/queue/drop", "[1]", 400, "the body: expected a JSON object");
    expect_post(&s, "/v1/queue/drop", "", 400, "'stage' is missing");
    expect_post(&s, "/v1/queue/drop", "{\"stge\":1}", 400, "there is no 'stge' (did you mean 'stage'?)");
    expect_post(&s, "/v1/queue/drop", "{\"stage\":\"pgae\"}", 404, "there is no stage 'pgae' (did you mean 'page'?)");
    expect_post(&s, "/v1/queue/drop", "{\"stage\":\"web\"}", 400, "stage 'web' is a source");
    expect_post(&s, "/v1/queue/drop", "{\"stage\":\"page\",\"older\":\"5\"}", 400, "older: expected a duration");
    expect_post(&s, "/v1/queue/drop", "{\"stage\":\"page\",\"older\":5}", 400, "older: expected a duration");
    expect_post(&s, "/v1/queue/drop", "{\"stage\":\"page\",\"n\":0}", 400, "n: expected a whole number");
    expect_post(&s, "/v1/queue/drop", "{\"stage\":\"page\",\"n\":3}", 501, "nobody is there to be answered later");
    expect_post(&s, "/v1/queue/pause", "{\"stage\":\"page\"}", 409, "the host is stopped");
    expect_post(&s, "/v1/stats", "", 405, "/v1/stats takes GET and HEAD");
    expect(&s, "GET", "/v1/queue/drop", "", 405, "/v1/queue/drop takes POST");
    expect(&s, "GET", "/v1/queue/peek", "", 400, "'stage' is missing");
    expect(&s, "GET", "/v1/queue/peek", "stage=page&n=1001", 400, "n: expected a whole number from 1 to 1000");
    expect(&s, "GET", "/v1/tap", "stage=web", 400, "is a source");
    expect(&s, "GET", "/v1/tap", "stage=page&sample=2", 400, "sample: expected a share");
    expect(&s, "GET", "/v1/tap", "stage=page&rate=x", 400, "rate: expected 1 to 100000");
    expect(&s, "GET", "/v1/queue/history", "stage=page", 503, "nothing runs");
    shop_close(&s);
}

static void fail_one(struct shop *s, const char *stage, const char *why, int64_t value)
{
    struct weir_worker worker = {.index = 1};
    struct weir_seat *seat = shop_seat(s, stage, 1);
    struct weir_event ev = {.id = 4711, .value = {.kind = WEIR_VALUE_INT, .integer = value}};
    seat->worker = &worker;
    weir_failures_note(s->graph->failures, seat, &ev, WEIR_REASON_CPU, why);
    seat->worker = NULL;
}

static void failures_are_told_newest_first(void **state)
{
    (void)state;
    struct shop s;
    shop_open(&s);
    expect(&s, "GET", "/v1/failures", "", 200, "{\"failures\":[]}\n");
    fail_one(&s, "page", "page.lua:3: \"oops\"\nstack", 1);
    fail_one(&s, "route", NULL, 2);
    fail_one(&s, "page", NULL, 3);
    expect(&s, "GET", "/v1/failures", "", 200, "{\"failures\":[{\"number\":3,\"time\":\"20");
    expect(&s, "GET", "/v1/failures", "limit=1&stage=route", 200, "{\"failures\":[{\"number\":2,");
    expect(&s, "GET", "/v1/failures", "stage=page", 200,
           "\"stage\":\"page\",\"reason\":\"cpu\",\"worker\":1,\"generation\":1,\"id\":4711,\"request\":false,"
           "\"error\":\"page.lua:3: \\\"oops\\\"\\nstack\",\"event_bytes\":0,\"event\":1}]}\n");
    expect(&s, "GET", "/v1/failures", "stage=pgae", 404, "there is no stage 'pgae'");
    expect(&s, "GET", "/v1/failures", "limit=0", 400, "limit: expected a whole number from 1 to 256, found '0'");
    expect(&s, "GET", "/v1/failures", "limit=257", 400, "found '257'");
    expect(&s, "GET", "/v1/failures", "limit=99999999999999999999", 400, "found '9999");
    expect(&s, "GET", "/v1/failures", "limit=1x", 400, "found '1x'");
    shop_close(&s);
}

static void only_health_is_public(void **state)
{
    (void)state;
    assert_true(weir_route_is_public(text("/health/live")));
    assert_true(weir_route_is_public(text("/health/ready")));
    assert_false(weir_route_is_public(text("/metrics")));
    assert_false(weir_route_is_public(text("/v1/stats")));
    assert_false(weir_route_is_public(text("/nowhere")));
    assert_false(weir_route_is_public(text("/health/live/")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_path_answers),
        cmocka_unit_test(a_host_that_does_not_run_is_not_ready),
        cmocka_unit_test(other_paths_are_not_found),
        cmocka_unit_test(other_methods_are_told_which_are_allowed),
        cmocka_unit_test(a_stage_is_chosen_by_the_query),
        cmocka_unit_test(failures_are_told_newest_first),
        cmocka_unit_test(what_is_posted_is_checked),
        cmocka_unit_test(only_health_is_public),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
