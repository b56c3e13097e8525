/* Calls over their limits: they end, whatever they run, and nothing else does. */
#include "preempt_fixture.h"

/* --- limits --- */

/* A fresh VM counts from 1. */
#define COUNTER "local n = 0\nreturn function(v) n = n + 1 if v == 2 then return out(n) end "

static void check_replaced(struct lua_app *app, const char *what)
{
    send_whole(app, 2);
    if (strcmp(lua_got.len > 0 ? lua_got.data : "", "1\n") != 0)
        fail_msg("%s: the next event: %s%s", what, lua_got.len > 0 ? lua_got.data : "nothing came", logged);
    weir_strbuf_clear(&lua_got);
    struct weir_handler *h = lua_seat(app, "a")->handler;
    assert_true(h->ops->memory(h) < 200000); /* the old one is closed */
}

static void over_stall_where_it_cannot_yield_it_is_ended(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "table.sort({3, 2, 1}, forever)",
        "pcall(table.sort, {3, 2, 1}, forever)",
        "while true do pcall(table.sort, {3, 2, 1}, function() pcall(forever) end) end",
        "('x'):gsub('.', forever)",
        "tostring(setmetatable({}, {__tostring = forever}))",
        "table.concat(setmetatable({}, {__len = function() return 1 end, __index = forever}))",
        "load(forever)",
        "xpcall(error, forever)",
        "table.sort({3, 2, 1}, function() coroutine.wrap(forever)() end)",
        "local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = forever}) "
        "coroutine.yield() end)\n"
        "coroutine.resume(co) coroutine.close(co)",
        "coroutine.wrap(function() local x <close> = setmetatable({}, {__close = forever}) error('x') end)()",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char script[900];
        snprintf(script, sizeof script, HEAD COUNTER "do %s end out('escaped') end", bodies[i]);
        LUA_APP(app, {.name = "a", .to = "out=sink", .script = script});
        send_whole(&app, 1);
        if (ended_as(&app, WEIR_REASON_STALL) != 1 || strstr(logged, "over limits.stall (50ms)") == NULL)
            fail_msg("%s: %s%s", bodies[i], lua_arrived(), logged);
        assert_non_null(strstr(logged, "a.lua:"));
        check_replaced(&app, bodies[i]);
        lua_close_app(&app);
    }
}

static void nothing_escapes_the_cpu_limit(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "forever()",
        "while true do pcall(forever) end",
        "while true do xpcall(forever, forever) end",
        "xpcall(error, forever)",
        "local x <close> = setmetatable({}, {__close = forever})",
        "local x <close> = setmetatable({}, {__close = forever}) error('x')",
        "local x <close> = setmetatable({}, {__close = forever}) forever()",
        "coroutine.wrap(forever)()",
        "while true do coroutine.resume(coroutine.create(forever)) end",
        "local function deeper(n) if n == 0 then forever() end pcall(coroutine.wrap(deeper), n - 1) end "
        "while true do deeper(20) end",
        "local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = forever}) "
        "coroutine.yield() end)\n"
        "coroutine.resume(co) coroutine.close(co)",
        "table.sort({3, 2, 1}, forever)",
        "while true do pcall(string.gsub, 'x', '.', forever) end",
        "tostring(setmetatable({}, {__tostring = forever}))",
        "load(forever)",
        "require 'forever'",
        "while true do pcall(require, 'forever') end",
        "for _ in forever do end",
        "return setmetatable({}, {__index = forever}).x",
        "while true do coroutine.wrap(function() coroutine.yield(step(11)) end)() end",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char script[900];
        snprintf(script, sizeof script, HEAD COUNTER "do %s end out('escaped') end", bodies[i]);
        cpu_limit_ns = 1; /* each tick is over it */
        LUA_APP(app, {.name = "a", .to = "out=sink", .script = script});
        lua_write(&app, "forever.lua",
                  "local weir = require 'weir'\nwhile true do weir.tick(11) for _ = 1, 2500 do end end");
        send_whole(&app, 1);
        if (ended_as(&app, WEIR_REASON_CPU) != 1 || strstr(logged, "over limits.cpu (") == NULL)
            fail_msg("%s: %s%s", bodies[i], lua_arrived(), logged);
        check_replaced(&app, bodies[i]);
        lua_close_app(&app);
    }
}

static void over_wall_it_is_ended_also_after_a_preemption(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = HEAD COUNTER "pcall(function() step(11) step(1) end) out('escaped') end"});
    lua_send_int(&app, "a", 1);
    assert_int_equal(lua_seat(&app, "a")->running, 1);
    weir_clock_set_virtual(weir_clock_ns() + 31 * WEIR_NS_PER_S);
    weir_worker_now(app.w);
    int saved = log_begin();
    run_aside(&app, 10);
    log_end(saved);
    assert_string_equal(lua_arrived(), "");
    assert_int_equal(ended_as(&app, WEIR_REASON_WALL), 1);
    assert_non_null(strstr(logged, "over limits.wall (30s)"));
    check_replaced(&app, "wall");
    lua_close_app(&app);
}

static void a_doomed_call_leaves_the_others_of_its_vm_alone(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = HEAD "local n = 0\nreturn function(v) n = n + 1\n"
                                 "  if v == 1 then weir.sleep(0.5) return out('slept ' .. n) end\n"
                                 "  if v == 3 then table.sort({2, 1}, forever) end out(n) end"});
    send_whole(&app, 1);
    send_whole(&app, 3);
    send_whole(&app, 2);
    assert_string_equal(lua_arrived(), "1\n"); /* a new VM */
    wait_ms(&app, 500);
    assert_string_equal(lua_arrived(), "\"slept 2\"\n"); /* the old one */
    assert_int_equal(ended_as(&app, WEIR_REASON_STALL), 1);
    lua_close_app(&app);
}

static void a_call_that_is_cancelled_while_preempted_ends(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=sink",
             .script = HEAD "local closed = false\nreturn function(v) if v == 2 then return out(closed) end\n"
                            "  local x <close> = setmetatable({}, {__close = function() closed = true end}) "
                            "step(11) out('no') end"});
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    struct weir_handler *h = lua_seat(&app, "a")->handler;
    h->ops->cancel(h);
    lua_pump(&app);
    log_end(saved);
    assert_int_equal(ended_as(&app, WEIR_REASON_CANCELLED), 1);
    assert_int_equal(run_aside(&app, 10), 0);
    assert_string_equal(lua_arrived(), "");
    lua_send_int(&app, "a", 2);
    assert_string_equal(lua_arrived(), "true\n");
    lua_close_app(&app);
}

/* --- C functions --- */

static void c_functions_hear_of_a_stall_but_of_no_slice(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = HEAD "local function ask(ms) weir.silent(ms) return weir.doomed() end\n"
                                 "return function() out(ask(5)) out(ask(11)) out(ask(41)) end"});
    send_whole(&app, 1);
    hear_again();
    assert_string_equal(lua_arrived(),
                        "false\nfalse\n"); /* the third time it was true, and nothing went on */
    assert_int_equal(ended_as(&app, WEIR_REASON_STALL), 1);
    lua_close_app(&app);
}

static void bounded_functions_give_up(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "s:find('  x', 1, true)",
        "s:find('%s-x')",
        "s:gsub(' ', 'x')",
        "s:rep(3)",
        "s:upper()",
        "s:reverse()",
        "table.sort(t)",
        "table.concat(t)",
        "table.move(t, 1, #t, 2)",
        "table.insert(t, 1, 0)",
        "utf8.len(s)",
        "load(s)",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char script[900];
        snprintf(
            script, sizeof script,
            HEAD
            "local s, t = (' '):rep(9 << 20), {} for i = 1, 300000 do t[i] = i * 7919 %% 300007 .. '' end\n"
            "return function() weir.silent(60) pcall(function() %s end) out('escaped') end",
            bodies[i]);
        LUA_APP(app, {.name = "a", .to = "out=sink", .memory = 128 << 20, .script = script});
        send_whole(&app, 1);
        hear_again();
        if (ended_as(&app, WEIR_REASON_STALL) != 1 || strstr(logged, "stack traceback") == NULL ||
            strstr(logged, "a.lua:6: in function") == NULL)
            fail_msg("%s: %s%s", bodies[i], lua_arrived(), logged);
        lua_close_app(&app);
    }
}

static void a_deaf_function_is_reported_with_its_place(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = HEAD
                  "local function inner() weir.deaf(200) end\nreturn function() inner() out('on') end"});
    send_whole(&app, 1);
    assert_non_null(strstr(logged, "is stuck: a call has run for"));
    if (SIGNALS)
        assert_non_null(strstr(logged, "it is: deaf (C) < /"));
    if (SIGNALS)
        assert_non_null(strstr(logged, "/a.lua:5 < /"));
    assert_int_equal(atomic_load(&weir_graph_stage(app.g, "a")->stalls), 1);
    assert_string_equal(lua_arrived(),
                        "\"on\"\n"); /* where it was it could have yielded: it holds nobody up any more */
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.failed), 0);
    lua_close_app(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOG_TEST(over_stall_where_it_cannot_yield_it_is_ended),
        DOG_TEST(nothing_escapes_the_cpu_limit),
        DOG_TEST(over_wall_it_is_ended_also_after_a_preemption),
        DOG_TEST(a_doomed_call_leaves_the_others_of_its_vm_alone),
        DOG_TEST(a_call_that_is_cancelled_while_preempted_ends),
        DOG_TEST(c_functions_hear_of_a_stall_but_of_no_slice),
        DOG_TEST(bounded_functions_give_up),
        DOG_TEST(a_deaf_function_is_reported_with_its_place),
    };
    return cmocka_run_group_tests_name("preempt_limits", tests, NULL, NULL);
}
