/* Calls: errors, memory limits, batches. */
#include "lua_fixture.h"

static void test_an_error_costs_one_event_and_is_logged_with_traceback(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\n"
                            "local function inner(v) error('no ' .. v) end\n"
                            "return function(v) if v % 2 == 1 then inner(v) end weir.emit('out', v) end"});
    int saved = log_begin();
    for (int i = 1; i <= 4; i++)
        lua_send_int(&app, "a", i);
    log_end(saved);
    assert_string_equal(lua_arrived(), "2\n4\n");
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.failed), 2);
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.reasons[WEIR_REASON_ERROR]), 2);
    assert_int_equal(count_of(logged, " error stage a"), 2);
    assert_non_null(strstr(logged, "stage a: "));
    assert_non_null(strstr(logged, "a.lua:2: no 1\n    stack traceback:"));
    assert_non_null(strstr(logged, "in upvalue 'inner'"));
    assert_non_null(strstr(logged, "\"event\":"));
    lua_close_app(&app);
}

static void test_errors_of_one_site_are_logged_once_a_second(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a", .script = "return function(v) error('bad') end"});
    weir_clock_set_virtual(100 * WEIR_NS_PER_S);
    int saved = log_begin();
    for (int i = 0; i < 50; i++)
        lua_send_int(&app, "a", i);
    weir_clock_set_virtual(102 * WEIR_NS_PER_S);
    lua_send_int(&app, "a", 1);
    log_end(saved);
    weir_clock_set_virtual(0);
    assert_int_equal(count_of(logged, "bad\n"), 2);
    assert_non_null(strstr(logged, "\"left_out\":49"));
    lua_close_app(&app);
}

static void test_what_was_left_out_is_told_at_the_end(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a", .script = "return function(v) error('bad ' .. v % 20) end"});
    weir_clock_set_virtual(100 * WEIR_NS_PER_S);
    int saved = log_begin();
    for (int i = 0; i < 3; i++)
        lua_send_int(&app, "a", 0);
    for (int i = 1; i < 16; i++) /* as many as there are places */
        lua_send_int(&app, "a", i);
    log_end(saved);
    saved = log_begin();
    lua_send_int(&app, "a", 16); /* it gets the place of the first */
    log_end(saved);
    assert_non_null(strstr(logged, "again: "));
    assert_non_null(strstr(logged, "bad 0 {\"left_out\":2}"));
    saved = log_begin();
    for (int i = 0; i < 5; i++)
        lua_send_int(&app, "a", 16);
    lua_close_app(&app);
    log_end(saved);
    weir_clock_set_virtual(0);
    assert_non_null(strstr(logged, "stage a: again: "));
    assert_non_null(strstr(logged, "bad 16 {\"left_out\":5}"));
}

static void test_errors_of_every_kind_are_survived(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "error()",
        "error(nil)",
        "error({})",
        "error(setmetatable({}, {__tostring = function() return 'mine' end}))",
        "error(setmetatable({}, {__tostring = function() error('again') end}))",
        "error('\\255\\0x')",
        "local function f() return f() + 1 end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k] end return t.x",
        "(' '):rep(100):gsub('.', function(c) return c.x.y end)",
        "coroutine.wrap(function() error('in') end)()",
        "local x <close> = setmetatable({}, {__close = function() error('closing') end}) error('first')",
        "require 'weir'.emit('nowhere', 1)",
        "string.rep()",
        "local s = 'x' return s:rep(1e8):rep(1e10)",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char script[400];
        snprintf(script, sizeof script,
                 "local weir = require 'weir'\nreturn function(v) if v == 2 then weir.emit('out', v) return "
                 "end %s end",
                 bodies[i]);
        LUA_APP(app, {.name = "a", .script = script, .to = "out=sink"});
        int saved = log_begin();
        lua_send_int(&app, "a", 1);
        log_end(saved);
        if (lua_count(&lua_seat(&app, "a")->ledger.failed) != 1 || strstr(logged, "stage a: ") == NULL)
            fail_msg("%s: %s", bodies[i], logged);
        lua_send_int(&app, "a", 2);
        assert_string_equal(lua_arrived(), "2\n");
        lua_close_app(&app);
    }
}

static void test_a_vm_out_of_memory_is_replaced(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=sink",
             .memory = 1 << 20,
             .script =
                 "local weir = require 'weir'\nlocal seen = 0\nlocal M = {}\n"
                 "function M.init() seen = 100 end\n"
                 "function M.handle(v)\n"
                 "  seen = seen + 1\n"
                 "  if v == 2 then local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end end\n"
                 "  weir.emit('out', seen)\nend\nreturn M"});
    int saved = log_begin();
    for (int i = 1; i <= 4; i++)
        lua_send_int(&app, "a", i);
    log_end(saved);
    assert_string_equal(lua_arrived(), "101\n101\n102\n");
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.reasons[WEIR_REASON_MEMORY]), 1);
    assert_non_null(strstr(logged, "not enough memory (limits.memory is 1048576 bytes)"));
    assert_non_null(strstr(logged, "was replaced"));
    struct weir_handler *h = lua_seat(&app, "a")->handler;
    assert_true(h->ops->memory(h) < 200000); /* the old VM is closed */
    lua_close_app(&app);
}

static void test_memory_that_a_script_survived_being_refused_replaces_its_vm_too(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .memory = 1 << 20,
                  .script = "local weir = require 'weir'\nn = 0\n"
                            "return function(v) n = n + 1 weir.emit('out', n) if v == 1 then "
                            "pcall(string.rep, 'x', 1 << 22) end weir.emit('out', n) end"});
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    lua_send_int(&app, "a", 2);
    log_end(saved);
    assert_string_equal(lua_arrived(), "1\n1\n1\n1\n");
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.failed), 0);
    lua_close_app(&app);
}

static void test_a_retired_vm_ends_its_suspended_calls(void **state)
{
    (void)state;
    LUA_APP(
        app,
        {.name = "a",
         .to = "out=sink",
         .memory = 1 << 20,
         .script =
             "local weir = require 'weir'\n"
             "return function(v) if v == 9 then local s = ('x'):rep(1 << 22) end weir.emit('out', v) end"});
    struct weir_stage *sink = weir_graph_stage(app.g, "sink");
    sink->queue.capacity = 1;
    weir_stage_port(weir_graph_stage(app.g, "a"), "out")->edges[0].overflow.policy = WEIR_OVERFLOW_WAIT;
    app.sink_closed = true;
    int saved = log_begin();
    for (int i = 1; i <= 3; i++)
        lua_send_int(&app, "a", i);
    lua_send_int(&app, "a", 9);
    lua_send_int(&app, "a", 4);
    log_end(saved);
    assert_int_equal(lua_seat(&app, "a")->running, 3);
    app.sink_closed = false;
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "1\n2\n3\n4\n");
    lua_close_app(&app);
}

static void test_a_batch_is_one_call(void **state)
{
    (void)state;
    LUA_APP(
        app,
        {.name = "a",
         .to = "out=sink",
         .batch_max = 3,
         .script =
             "local weir = require 'weir'\nreturn {handle_batch = function(evs)\n"
             "  local sum = 0 for i = 1, evs.n do sum = sum + (evs[i] or 0) end\n"
             "  if sum == 9 then error('nine') end\n"
             "  weir.emit('out', {evs.n, sum, weir.meta(evs.n).id > weir.meta(1).id or evs.n == 1})\nend}"});
    for (int i = 1; i <= 7; i++)
        lua_offer(&app, "a",
                  (struct weir_value){.kind = i == 3 ? WEIR_VALUE_NIL : WEIR_VALUE_INT, .integer = i}, NULL);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "[3,3,true]\n[3,15,true]\n[1,7,true]\n");
    for (int i = 2; i <= 4; i++)
        lua_offer(&app, "a", (struct weir_value){.kind = WEIR_VALUE_INT, .integer = i}, NULL);
    int saved = log_begin();
    lua_pump(&app);
    log_end(saved);
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.failed), 3);
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.handled), 7);
    lua_close_app(&app);
}

/* The same inside a call: the event fails or is handled, nothing leaks, the next one works. */
static void test_calls_survive_failing_allocations(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nreturn function(v) weir.emit('out', {v = v, list = "
                            "{1, 2, {v}}, s = ('x'):rep(v * 100)}) end"});
    int saved = log_begin();
    int64_t failed = -1;
    for (long n = 0; n < 60; n++) {
        assert_int_equal(
            lua_offer(&app, "a", (struct weir_value){.kind = WEIR_VALUE_INT, .integer = n}, NULL),
            WEIR_VERDICT_ACCEPTED);
        struct weir_event *batch[4];
        struct weir_seat *seat = lua_seat(&app, "a");
        size_t count = weir_queue_take(seat, batch, 4);
        weir_mem_fail_after(n);
        seat->handler->ops->handle(seat->handler, batch, count);
        weir_mem_fail_after(-1);
        lua_pump(&app);
        failed = lua_count(&seat->ledger.failed);
        assert_int_equal(lua_count(&seat->ledger.handled) + failed, 2 * n + 1);
        lua_arrived();
        lua_send_int(&app, "a", 1);
        assert_non_null(strstr(lua_arrived(), "\"v\":1"));
    }
    log_end(saved);
    assert_true(failed > 0);
    lua_close_app(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_error_costs_one_event_and_is_logged_with_traceback),
        cmocka_unit_test(test_errors_of_one_site_are_logged_once_a_second),
        cmocka_unit_test(test_what_was_left_out_is_told_at_the_end),
        cmocka_unit_test(test_errors_of_every_kind_are_survived),
        cmocka_unit_test(test_a_vm_out_of_memory_is_replaced),
        cmocka_unit_test(test_memory_that_a_script_survived_being_refused_replaces_its_vm_too),
        cmocka_unit_test(test_a_retired_vm_ends_its_suspended_calls),
        cmocka_unit_test(test_a_batch_is_one_call),
        cmocka_unit_test(test_calls_survive_failing_allocations),
    };
    return cmocka_run_group_tests_name("call", tests, NULL, NULL);
}
