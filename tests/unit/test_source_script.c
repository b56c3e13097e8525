/* Functions of scripts that run in place for a source: classifiers, and what answers refused requests. */
#include "lua/source_script.h"

#include "core/source_script.h"
#include "lua_fixture.h"

/* A script for a source, on the seat of stage "a". */
struct bench {
    struct lua_app app;
    struct weir_source_script_maker maker;
    struct weir_source_script *s;
    char why[512];
};

static void write_script(struct bench *b, const char *script)
{
    const struct lua_stage_spec spec = {.name = "a", .script = "return function() end"};
    memset(b, 0, sizeof *b);
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    lua_open(&b->app, &spec, 1);
    lua_write(&b->app, "mine.lua", script);
}

static int load(struct bench *b, struct weir_err *reterr)
{
    char file[160];
    snprintf(file, sizeof file, "%s/mine.lua", b->app.folder);
    return weir_lua_source_script_load(file, b->app.folder, &b->maker, reterr);
}

static void bench_open(struct bench *b, const char *script)
{
    struct weir_err err;
    write_script(b, script);
    if (load(b, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(b->maker.make(b->maker.self, lua_seat(&b->app, "a"), &b->s, &err), WEIR_OK);
}

static void bench_close(struct bench *b)
{
    if (b->s != NULL)
        b->s->ops->close(b->s);
    if (b->maker.destroy != NULL)
        b->maker.destroy(b->maker.self);
    lua_close_app(&b->app);
    weir_clock_set_virtual(0);
}

/* The request stays ours, and its end is noted by the fixture. */
static int classify(struct bench *b, const char *body)
{
    struct weir_request *r = fake_request(body, false);
    b->why[0] = '\0';
    int class = b->s->ops->classify(b->s, r, b->why, sizeof b->why);
    assert_int_equal(seen.live, 1);
    fake_end(r, b->app.w, WEIR_REQUEST_UNANSWERED);
    return class;
}

/* Whether it answered; if not the request was ours still. */
static bool answer(struct bench *b, const char *body)
{
    struct weir_request *r = fake_request(body, false);
    weir_request_note(r, weir_graph_stage(b->app.g, "a"), WEIR_REASON_GATE, 2500);
    b->why[0] = '\0';
    bool answered = b->s->ops->answer(b->s, r, b->why, sizeof b->why);
    assert_int_equal(seen.live, answered ? 0 : 1);
    if (!answered)
        fake_end(r, b->app.w, WEIR_REQUEST_REFUSED);
    return answered;
}

static void assert_why(const struct bench *b, const char *text)
{
    if (strstr(b->why, text) == NULL)
        fail_msg("expected '%s', got '%s'", text, b->why);
}

static void a_classifier_says_the_class(void **state)
{
    struct bench b;
    (void)state;
    bench_open(
        &b,
        "local n\n"
        "return {init = function(ctx) n = ctx.stage end, handle = function(req)\n"
        "  assert(n == 'a' and req.method == 'GET' and req.path == '/a%20b' and req.remote == "
        "'127.0.0.1:5')\n"
        "  assert(req.headers['X-Count'] == '3' and req.query == 'q=1' and req:age() >= 0 and req:alive())\n"
        "  if req.body ~= '' then return req.body end\n"
        "end}");
    assert_int_equal(classify(&b, "gold"), 0);
    assert_int_equal(classify(&b, "normal"), 1);
    assert_string_equal(b.why, "");
    assert_int_equal(classify(&b, ""), -1);
    assert_string_equal(b.why, "");
    assert_int_equal(classify(&b, "silver"), -1);
    assert_why(&b, "there is no class 'silver'");
    bench_close(&b);
}

static void a_classifier_only_looks(void **state)
{
    static const char *const tricks[] = {"weir.emit('out', 1)",
                                         "weir.sleep(1)",
                                         "weir.fiber(print)",
                                         "weir.timer(1, print)",
                                         "weir.defer(print)",
                                         "req:reply(200)",
                                         "req:start(200)",
                                         "req.vars.x = 1",
                                         "req.vars = {}",
                                         "req.path = 'x'",
                                         "weir.meta()",
                                         "weir.call('out', 1)",
                                         "weir.http.request 'http://127.0.0.1:1/'"};
    struct bench b;
    struct weir_strbuf script = WEIR_STRBUF_INIT;
    (void)state;
    weir_strbuf_adds(&script, "local weir = require 'weir'\nlocal tricks = {\n");
    for (size_t i = 0; i < sizeof tricks / sizeof tricks[0]; i++)
        weir_strbuf_addf(&script, "function(req) %s end,\n", tricks[i]);
    weir_strbuf_adds(&script, "}\nreturn function(req) tricks[tonumber(req.body)](req) return 'gold' end\n");
    bench_open(&b, script.data);
    for (size_t i = 0; i < sizeof tricks / sizeof tricks[0]; i++) {
        char number[8];
        snprintf(number, sizeof number, "%zu", i + 1);
        if (classify(&b, number) != -1)
            fail_msg("%s: nothing was raised", tricks[i]);
        assert_why(&b, "mine.lua:"); /* where */
    }
    bench_close(&b);
    weir_strbuf_fini(&script);
}

static void what_it_returns_or_raises_is_told(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "return function(req)\n"
                   "  if req.body == 'table' then return {} end\n"
                   "  if req.body == 'number' then return 5 end\n"
                   "  if req.body == 'raise' then error('on purpose') end\n"
                   "  if req.body == 'value' then error({}) end\n"
                   "  if req.body == 'yield' then coroutine.yield() end\n"
                   "  kept = kept or req\n"
                   "  return kept.body\n"
                   "end");
    assert_int_equal(classify(&b, "table"), -1);
    assert_why(&b, "returned a table, not the name of a class");
    assert_int_equal(classify(&b, "number"), -1);
    assert_why(&b, "returned a number, not the name of a class");
    assert_int_equal(classify(&b, "raise"), -1);
    assert_why(&b, "mine.lua:4: on purpose");
    assert_int_equal(classify(&b, "value"), -1);
    assert_why(&b, "the error is a table value");
    assert_int_equal(classify(&b, "yield"), -1);
    assert_why(&b, "yield");
    assert_int_equal(classify(&b, "gold"), 0);
    assert_int_equal(classify(&b, "gold"), -1);
    assert_why(&b, "the request is over");
    bench_close(&b);
}

static void one_that_ran_out_of_memory_is_replaced_once_a_second(void **state)
{
    struct bench b;
    (void)state;
    bench_open(
        &b,
        "return function(req)\n"
        "  n = (n or 0) + 1\n"
        "  if req.body == 'memory' then local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100) .. i end end\n"
        "  return n == 1 and 'gold' or 'normal'\n"
        "end");
    assert_int_equal(classify(&b, ""), 0);
    assert_int_equal(classify(&b, ""), 1);
    assert_int_equal(classify(&b, "memory"), -1);
    assert_why(&b, "not enough memory");
    assert_int_equal(classify(&b, ""), 0); /* a fresh one */
    assert_int_equal(classify(&b, "memory"), -1);
    assert_int_equal(classify(&b, ""), -1);
    assert_why(&b, "once a second");
    weir_clock_set_virtual(1001 * WEIR_NS_PER_S);
    assert_int_equal(classify(&b, ""), 0);
    bench_close(&b);
}

static void a_refused_request_is_answered(void **state)
{
    struct bench b;
    (void)state;
    bench_open(&b, "return function(req, why)\n"
                   "  local body = req.body\n"
                   "  if req.body == 'none' then return end\n"
                   "  if req.body == 'raise' then error('on purpose') end\n"
                   "  if req.body == 'file' then return req:reply{status = 503, file = 'busy.html'} end\n"
                   "  req:reply(302, {Location = '/later'}, ('%s %s %d %.1f'):format(why.reason, why.stage, "
                   "why.status, why.retry_after))\n"
                   "  if body == 'late' then error('after it') end\n"
                   "end");
    assert_true(answer(&b, ""));
    assert_string_equal(b.why, "");
    assert_int_equal(seen.status, 302);
    assert_string_equal(seen.body, "gate a 503 2.5");
    assert_string_equal(seen.headers, "Location: /later\n");
    assert_true(answer(&b, "file"));
    assert_string_equal(seen.file, "busy.html");
    assert_false(answer(&b, "none"));
    assert_string_equal(b.why, "");
    assert_false(answer(&b, "raise"));
    assert_why(&b, "on purpose");
    assert_true(answer(&b, "late"));
    assert_why(&b, "after it");
    bench_close(&b);
}

static void what_is_no_function_is_refused(void **state)
{
    static const struct {
        const char *script, *why;
    } bad[] = {
        {"return 5", "mine.lua:1: a file for a source must return a function, or a table with one, `handle`; "
                     "this one returned number"},
        {"local x = 1", "returned nothing"},
        {"return {}", "returned a table without it"},
        {"return {handle = 5}", "returned a table without it"},
        {"return {handle_batch = function() end}", "returned a table without it"},
        {"return function(", "mine.lua:1:"},
        {"error('no')", "mine.lua:1: no"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bench b;
        struct weir_err err;
        write_script(&b, bad[i].script);
        assert_int_equal(load(&b, &err), WEIR_E_SCRIPT);
        if (strstr(err.text, bad[i].why) == NULL)
            fail_msg("%s: %s", bad[i].script, err.text);
        bench_close(&b);
    }
}

static void making_survives_any_failed_allocation(void **state)
{
    struct bench b;
    struct weir_err err;
    (void)state;
    write_script(&b, "return function() return 'gold' end");
    long live = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = load(&b, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || weir_mem_live() == live);
    }
    live = weir_mem_live();
    rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = b.maker.make(b.maker.self, lua_seat(&b.app, "a"), &b.s, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (weir_mem_live() == live && b.s == NULL));
    }
    assert_int_equal(classify(&b, ""), 0);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_classifier_says_the_class),
        cmocka_unit_test(a_classifier_only_looks),
        cmocka_unit_test(what_it_returns_or_raises_is_told),
        cmocka_unit_test(one_that_ran_out_of_memory_is_replaced_once_a_second),
        cmocka_unit_test(a_refused_request_is_answered),
        cmocka_unit_test(what_is_no_function_is_refused),
        cmocka_unit_test(making_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
