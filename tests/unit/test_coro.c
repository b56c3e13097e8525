/* Suspension: waits inside coroutines, pcall, metamethods; where none is possible; what scripts may do with
 * coroutines. */
#include "lua_fixture.h"

/* b takes one event at a time and holds one: the emits of a wait for it, wherever they are made. */
static void test_a_wait_suspends_at_any_depth(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "for i = 1, 4 do log(emit(i)) end",
        "local co = coroutine.wrap(function() for i = 1, 4 do coroutine.yield(emit(i)) end end) for _ = 1, 4 "
        "do log(co()) end",
        "local co = coroutine.create(function() local inner = coroutine.wrap(function() for i = 1, 4 do "
        "emit(i) coroutine.yield(i) end end)"
        "  for _ = 1, 4 do coroutine.yield(inner() > 0) end end)"
        "  for _ = 1, 4 do local ok, v = coroutine.resume(co) log(ok and v) end",
        "for i = 1, 4 do local ok, v = pcall(function() return emit(i) end) log(ok and v) end",
        "for i = 1, 4 do local ok, v = xpcall(emit, print, i) log(ok and v) end",
        "local t = setmetatable({}, {__index = function(_, i) return emit(i) end}) for i = 1, 4 do log(t[i]) "
        "end",
        "for i, v in function(_, i) if i < 4 then return i + 1, emit(i + 1) end end, nil, 0 do log(v) end",
        "for i = 1, 4 do do local x <close> = setmetatable({}, {__close = function() log(emit(i)) end}) end "
        "end",
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char script[1024];
        snprintf(script, sizeof script,
                 "local weir = require 'weir'\nlocal function emit(i) return weir.emit('out', i) end\n"
                 "local function log(v) weir.emit('log', v) end\nreturn function() %s log('end') end",
                 ways[i]);
        LUA_APP(app, {.name = "a", .to = "out=b log=sink", .script = script},
                {.name = "b",
                 .capacity = 1,
                 .overflow = WEIR_OVERFLOW_WAIT,
                 .to = "out=sink",
                 .script = "local weir = require 'weir'\nreturn function(v) weir.emit('out', v) end"});
        lua_send_int(&app, "a", 1);
        const char *got = lua_arrived();
        int trues = 0, numbers = 0;
        for (const char *at = got; *at != '\0'; at++) {
            trues += strncmp(at, "true\n", 5) == 0;
            numbers += *at >= '1' && *at <= '4';
        }
        if (trues != 4 || numbers != 4 || strstr(got, "\"end\"") == NULL)
            fail_msg("%s: got %s", ways[i], got);
        assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.handled), 1);
        lua_close_app(&app);
    }
}

static void test_other_calls_run_while_one_waits(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nlocal n = 0\n"
                            "return function(v) n = n + 1 local mine = n assert(weir.emit('out', {mine, v})) "
                            "n = n - 1 end"});
    app.sink_closed = true;
    struct weir_stage *sink = weir_graph_stage(app.g, "sink");
    sink->queue.capacity = 1;
    weir_stage_port(weir_graph_stage(app.g, "a"), "out")->edges[0].overflow.policy = WEIR_OVERFLOW_WAIT;
    for (int i = 1; i <= 3; i++)
        lua_send_int(&app, "a", i);
    assert_int_equal(lua_seat(&app, "a")->running, 2);
    app.sink_closed = false;
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "[1,1]\n[1,2]\n[2,3]\n");
    assert_int_equal(lua_seat(&app, "a")->running, 0);
    lua_close_app(&app);
}

static void test_a_wait_where_none_is_possible_says_so(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "table.sort({3, 2, 1}, function(a, b) weir.emit('out', 1) return a < b end)",
        "('aaa'):gsub('a', function() weir.emit('out', 1) end)",
        "coroutine.wrap(function() table.sort({3, 2, 1}, function(a, b) weir.emit('out', 1) return a < b "
        "end) end)()",
        "('aaa'):gsub('a', coroutine.wrap(function() while true do weir.emit('out', 1) coroutine.yield() end "
        "end))",
        "tostring(setmetatable({}, {__tostring = function() for _ = 1, 3 do weir.emit('out', 1) end return "
        "'' end}))",
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char script[600];
        snprintf(script, sizeof script,
                 "local weir = require 'weir'\nreturn function()\n"
                 "local _, why = pcall(function() %s end) weir.emit('log', why:match(\"weir.emit can't wait "
                 "here\")) end",
                 ways[i]);
        LUA_APP(
            app, {.name = "a", .to = "out=b log=sink", .script = script},
            {.name = "b", .capacity = 1, .overflow = WEIR_OVERFLOW_WAIT, .script = "return function() end"});
        lua_send_int(&app, "a", 1);
        assert_string_equal(lua_arrived(), "\"weir.emit can't wait here\"\n");
        lua_close_app(&app);
    }
}

static void test_coroutines_of_the_host_are_out_of_reach(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=sink log=sink",
             .concurrency = 10,
             .script =
                 "local weir = require 'weir'\nlocal kept\n"
                 "return function(v)\n"
                 "  local co, main = coroutine.running()\n"
                 "  if v == 1 then kept = co weir.emit('log', main) return end\n"
                 "  weir.emit('log', {coroutine.resume(kept)}) weir.emit('log', coroutine.status(kept))\n"
                 "  weir.emit('log', (select(2, pcall(coroutine.close, kept))))\n"
                 "  weir.emit('log', coroutine.isyieldable())\n"
                 "  weir.emit('log', (select(2, pcall(coroutine.yield, 1))))\nend"});
    lua_send_int(&app, "a", 1);
    lua_send_int(&app, "a", 2);
    assert_string_equal(
        lua_arrived(),
        "true\n[false,\"cannot resume non-suspended coroutine\"]\n\"running\"\n"
        "\"cannot close a running coroutine\"\nfalse\n\"attempt to yield from outside a coroutine\"\n");
    lua_close_app(&app);
}

static void test_a_suspended_call_ends_when_cancelled(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nreturn function(req) coroutine.wrap(function() "
                            "weir.emit('out', req) end)() end"});
    weir_graph_stage(app.g, "sink")->queue.capacity = 0;
    weir_stage_port(weir_graph_stage(app.g, "a"), "out")->edges[0].overflow.policy = WEIR_OVERFLOW_WAIT;
    lua_send_request(&app, "a", fake_request("", false));
    assert_int_equal(lua_seat(&app, "a")->running, 1);
    app.w->seats[0]->handler->ops->cancel(app.w->seats[0]->handler); /* the emission is still out */
    assert_int_equal(lua_seat(&app, "a")->running, 0);
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.reasons[WEIR_REASON_CANCELLED]), 1);
    assert_int_equal(seen.ended, -1);
    weir_waiter_sweep(app.w, true);
    lua_pump(&app);
    assert_int_equal(seen.ended, WEIR_REQUEST_DROPPED);
    assert_int_equal(seen.live, 0);
    lua_close_app(&app);
}

static void test_a_waiting_emit_expires(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=b log=sink",
             .script = "local weir = require 'weir'\nreturn function(v) weir.emit('log', {weir.emit('out', "
                       "v, {deadline = 0.001})}) end"},
            {.name = "b", .overflow = WEIR_OVERFLOW_WAIT, .script = "return function() end"});
    weir_graph_stage(app.g, "b")->queue.capacity = 0;
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), "");
    weir_clock_set_virtual(weir_clock_ns() + 5 * WEIR_NS_PER_MS);
    weir_worker_now(app.w);
    weir_waiter_sweep(app.w, false);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "{\"2\":\"expired\"}\n");
    weir_clock_set_virtual(0);
    lua_close_app(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wait_suspends_at_any_depth),
        cmocka_unit_test(test_other_calls_run_while_one_waits),
        cmocka_unit_test(test_a_wait_where_none_is_possible_says_so),
        cmocka_unit_test(test_coroutines_of_the_host_are_out_of_reach),
        cmocka_unit_test(test_a_suspended_call_ends_when_cancelled),
        cmocka_unit_test(test_a_waiting_emit_expires),
    };
    return cmocka_run_group_tests_name("coro", tests, NULL, NULL);
}
