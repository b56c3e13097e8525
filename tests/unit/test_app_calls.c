/* Calls between stages, and edges that wait, that go round together. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "app_fixture.h"
#include "config/app_calls.h"

#define HEAD "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: a}\n"

static size_t find(const struct weir_app *app, const char *stage)
{
    for (size_t i = 0; i < app->stage_count; i++)
        if (strcmp(app->stages[i].name, stage) == 0)
            return i;
    fail_msg("no stage %s", stage);
    return 0;
}

/* `calls`: "a.out b.back": stages and ports. The warnings, each on a line. */
static void expect(const char *yaml, const char *calls, const char *warnings)
{
    struct fixture_result r;
    struct weir_app_call list[8];
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    struct weir_err err;
    char text[100];
    size_t count = 0, found = 99, lines = 0;
    fixture_parse(&r, yaml, NULL, 0);
    if (r.code != WEIR_OK)
        fail_msg("%s", r.report.data);
    snprintf(text, sizeof text, "%s", calls);
    char *kept;
    for (char *word = strtok_r(text, " ", &kept); word != NULL; word = strtok_r(NULL, " ", &kept)) {
        char *dot = strchr(word, '.');
        *dot = '\0';
        size_t stage = find(r.app, word), port = 0;
        while (strcmp(r.app->stages[stage].ports[port].name, dot + 1) != 0)
            port++;
        list[count++] = (struct weir_app_call){stage, port};
    }
    weir_strbuf_adds(&out, "");
    assert_int_equal(weir_app_check_calls(r.app, list, count, &out, &found, &err), WEIR_OK);
    assert_string_equal(out.data, warnings);
    for (size_t i = 0; i < out.len; i++)
        lines += out.data[i] == '\n';
    assert_int_equal(found, lines);
    weir_strbuf_fini(&out);
    fixture_done(&r);
}

#define ADVICE " (answer before emitting, or give that edge or queue another overflow than wait)\n"
#define PREFIX "warning: stages could wait for each other until their time is over: "

static void a_call_to_who_waits_for_room_at_the_caller_is_told(void **state)
{
    (void)state;
    static const char two[] = HEAD "  a: {handler: a.lua, to: {ask: b}, queue: {overflow: wait}}\n"
                                   "  b: {handler: a.lua, to: {back: a}}\n";
    expect(two, "a.ask", "weir.yaml:4:33: " PREFIX "a calls b, b waits for room in a" ADVICE);
    expect(two, "", "");
    expect(two, "b.back", ""); /* a does not wait for b then */
    expect(HEAD "  a: {handler: a.lua, to: {ask: b}}\n"
                "  b: {handler: a.lua, to: {back: {stage: a, overflow: wait}}}\n",
           "a.ask", "weir.yaml:4:33: " PREFIX "a calls b, b waits for room in a" ADVICE);
}

static void the_way_back_may_be_long_and_routed(void **state)
{
    (void)state;
    expect(HEAD "  a: {handler: a.lua, to: {ask: b}, queue: {overflow: wait}}\n"
                "  b: {handler: a.lua, to: {on: c}}\n"
                "  c: {handler: a.lua, to: {ask: d}}\n"
                "  d: {handler: a.lua, to: e}\n"
                "  e: {handler: a.lua, queue: {overflow: {route: a}}}\n",
           "a.ask b.on c.ask",
           "weir.yaml:4:33: " PREFIX "a calls b, b calls c, c calls d, d waits for room in a" ADVICE
           "weir.yaml:5:32: " PREFIX "b calls c, c calls d, d waits for room in a, a calls b" ADVICE
           "weir.yaml:6:33: " PREFIX "c calls d, d waits for room in a, a calls b, b calls c" ADVICE);
    expect(HEAD "  a: {handler: a.lua, to: {ask: b}, queue: {overflow: wait}}\n"
                "  b: {handler: a.lua, queue: {overflow: {route: c}}}\n"
                "  c: {handler: a.lua, to: a}\n",
           "a.ask", "weir.yaml:4:33: " PREFIX "a calls c, c waits for room in a" ADVICE);
}

static void calls_without_a_wait_are_fine(void **state)
{
    (void)state;
    static const char ring[] = HEAD "  a: {handler: a.lua, to: {ask: b, on: c}}\n"
                                    "  b: {handler: a.lua, to: {back: a, on: c}}\n"
                                    "  c: {sink: null, queue: {overflow: wait}}\n";
    expect(ring, "a.ask b.back", ""); /* refused when it is gone */
    expect(ring, "a.ask a.on b.on", "");
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    struct fixture_result r;
    struct weir_err err;
    int rc = WEIR_E_NOMEM;
    fixture_parse(
        &r,
        HEAD "  a: {handler: a.lua, to: {ask: b}, queue: {overflow: wait}}\n  b: {handler: a.lua, to: a}\n",
        NULL, 0);
    const struct weir_app_call call = {find(r.app, "a"), 0};
    long before = weir_mem_live();
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_strbuf out = WEIR_STRBUF_INIT;
        size_t found = 99;
        weir_mem_fail_after(n);
        rc = weir_app_check_calls(r.app, &call, 1, &out, &found, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK ? found == 1 : rc == WEIR_E_NOMEM && found == 99);
        weir_strbuf_fini(&out);
        assert_int_equal(weir_mem_live(), before);
    }
    fixture_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_to_who_waits_for_room_at_the_caller_is_told),
        cmocka_unit_test(the_way_back_may_be_long_and_routed),
        cmocka_unit_test(calls_without_a_wait_are_fine),
        cmocka_unit_test(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
