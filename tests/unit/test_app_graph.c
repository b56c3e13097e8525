/* Graphs that are fine, and large ones. Those that are not: test_app_errors.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <time.h>

#include "app_fixture.h"

static void cycles_that_do_not_wait_are_fine(void **state)
{
    (void)state;
    static const char *const graphs[] = {
        "  a: {handler: a.lua, to: b}\n  b: {handler: a.lua, to: a}\n",
        "  a: {handler: a.lua, to: a}\n",
        "  a: {handler: a.lua, to: b, queue: {overflow: wait}}\n  b: {handler: a.lua, to: a}\n",
        "  a: {handler: a.lua, to: b, queue: {overflow: wait}}\n"
        "  b: {handler: a.lua, to: {back: {stage: a, overflow: reject}}, queue: {overflow: wait}}\n",
        "  a: {handler: a.lua, queue: {overflow: {route: b}}}\n  b: {sink: null, queue: {overflow: {route: "
        "c}}}\n  c: {sink: null}\n",
        "  a: {handler: a.lua, on_error: b}\n  b: {sink: null}\n",
    };
    for (size_t i = 0; i < sizeof graphs / sizeof graphs[0]; i++) {
        struct fixture_result r;
        char text[500];
        snprintf(text, sizeof text, "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: a}\n%s",
                 graphs[i]);
        fixture_parse_good(&r, text);
        fixture_done(&r);
    }
}

static void a_request_goes_to_one_stage(void **state)
{
    (void)state;
    static const char *const lists[][2] = {
        {"[a, b]", "weir.yaml:3:42"}, {"{out: [a, b]}", "weir.yaml:3:43"},
        {"[a]", NULL}, {"{out: [b]}", NULL}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct fixture_result r;
        char text[300], line[300] = "";
        snprintf(text, sizeof text,
                 "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: %s}\n"
                 "  a: {handler: a.lua, to: [b, c]}\n  b: {handler: a.lua, to: [a, c]}\n  c: {sink: null}\n",
                 lists[i][0]);
        fixture_parse(&r, text, NULL, 0);
        if (lists[i][1] != NULL)
            snprintf(line, sizeof line,
                     "%s: error: stage 'web' makes requests, and a request can't be sent to several stages "
                     "(send it to one stage, which may copy what it needs)\n",
                     lists[i][1]);
        assert_int_equal(r.code, lists[i][1] != NULL ? WEIR_E_CONFIG : WEIR_OK);
        assert_int_equal(strncmp(r.report.data, line, strlen(line)), 0);
        fixture_done(&r);
    }
}

static void large_graphs_take_little_time(void **state)
{
    (void)state;
    static char text[100000];
    struct fixture_result r;
    size_t len = (size_t)snprintf(text, sizeof text,
                                  "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: s0}\n");
    for (int i = 0; i < 999; i++)
        len +=
            (size_t)snprintf(text + len, sizeof text - len,
                             "  s%d: {handler: a.lua, to: s%d, queue: {overflow: wait}}\n", i, (i + 1) % 999);
    fixture_parse(&r, text, NULL, 0);
    assert_string_equal(r.err.text, "weir.yaml: 1 error"); /* one ring, told once */
    assert_non_null(strstr(r.report.data, ": s0 -> s1 -> "));
    fixture_done(&r);
    snprintf(text + len, sizeof text - len, "  t: {sink: null}\n");
    fixture_parse(&r, text, NULL, 0);
    assert_non_null(strstr(r.report.data, "weir.yaml:3:3: error: more than 1000 stages\n"));
    fixture_done(&r);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* As many stages as may be, each queue routing to the next, and as many ports as fit into the file: what is
 * done once per edge and stage of its route must be cheap, and must not be kept. */
static void the_largest_file_takes_bounded_time(void **state)
{
    (void)state;
    static char text[1 << 20];
    struct fixture_result r;
    size_t room = sizeof text - 1;
    size_t len =
        (size_t)snprintf(text, room, "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: s0}\n");
    for (int i = 0; i < 998; i++)
        len += (size_t)snprintf(text + len, room - len, "  s%d: {sink: null, queue: {overflow: %s%d%s}}\n", i,
                                i < 997 ? "{route: s" : "", i + 1, i < 997 ? "}" : "");
    char *last = strstr(text, "overflow: 998");
    assert_non_null(last);
    memcpy(last, "overflow: wait", 14); /* over the number and its brace */
    len = (size_t)(last - text) + 14;
    len += (size_t)snprintf(text + len, room - len, "}}\n  a: {handler: a.lua, to: {");
    for (int i = 0; len < room - 20; i++)
        len += (size_t)snprintf(text + len, room - len, "p%d: s0,", i);
    len += (size_t)snprintf(text + len, room - len, "}}\n");
    double start = cpu_seconds();
    fixture_parse(&r, text, NULL, 0);
    assert_true(cpu_seconds() - start < 10.0);
    assert_string_equal(r.err.text, "weir.yaml: 1 error"); /* nothing sends to a */
    fixture_done(&r);
}

static void what_is_behind_a_stream_keeps_its_order_unless_told_otherwise(void **state)
{
    static const struct weir_app_type lines = {
        .name = "lines", .kind = WEIR_APP_SOURCE, .makes_streams = true, .text = "makes lines"};
    static const struct weir_app_type *const list[] = {&lines, &fixture_null};
    static const struct weir_app_types types = {.types = list, .count = 2};
    static const char text[] = "weir: 1\nstages:\n"
                               "  in: {source: lines, to: [plain, none, newest, user, end]}\n"
                               "  plain: {handler: a.lua, to: farther}\n"
                               "  none: {handler: a.lua, queue: {order_by: none}}\n"
                               "  newest: {handler: a.lua, queue: {order: lifo}}\n"
                               "  user: {handler: a.lua, queue: {order_by: user}}\n"
                               "  farther: {handler: a.lua}\n"
                               "  end: {sink: null}\n";
    static const char *const expected[] = {NULL, "source", "none", NULL, "user", NULL, NULL};
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_app *app = NULL;
    struct weir_err err;
    (void)state;
    if (weir_app_parse(text, sizeof text - 1, "weir.yaml", fixture_folder, NULL, 0, &types, &report, &app, &err) < 0)
        fail_msg("%s", report.data);
    for (size_t i = 0; i < app->stage_count; i++) {
        const char *by = app->stages[i].order_by;
        if (by == NULL || expected[i] == NULL)
            assert_ptr_equal(by, expected[i]);
        else
            assert_string_equal(by, expected[i]);
    }
    weir_app_free(app);
    weir_strbuf_fini(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cycles_that_do_not_wait_are_fine),
        cmocka_unit_test(a_request_goes_to_one_stage),
        cmocka_unit_test(what_is_behind_a_stream_keeps_its_order_unless_told_otherwise),
        cmocka_unit_test(large_graphs_take_little_time),
        cmocka_unit_test(the_largest_file_takes_bounded_time),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
