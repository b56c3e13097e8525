/* weir.sleep, weir.timer, weir.fiber, weir.defer: what waits, in virtual time. */
#include "lua_fixture.h"

#include "core/timer.h"

/* Lets the worker run until nothing can, what was set aside included. */
static void settle(struct lua_app *app)
{
    struct weir_list *node;
    weir_timers_run(app->w);
    lua_pump(app);
    while ((node = weir_list_take_first(&app->w->aside)) != NULL) {
        struct weir_aside *a = WEIR_LIST_ENTRY(node, struct weir_aside, node);
        a->run(a);
        lua_pump(app);
    }
}

static void pass(struct lua_app *app, uint64_t ms)
{
    weir_clock_set_virtual(weir_clock_ns() + ms * WEIR_NS_PER_MS);
    weir_worker_now(app->w);
    settle(app);
}

/* An application of stage `a` in virtual time, its port `out` to the sink. */
#define TIME_APP(app, ...)                                                                                   \
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);                                                            \
    LUA_APP(app, {.name = "a", .to = "out=sink", __VA_ARGS__});                                              \
    lua_seat(&app, "a")->handler->ops->start(lua_seat(&app, "a")->handler); /* as its thread does */     \
    settle(&app)

static void end(struct lua_app *app)
{
    lua_close_app(app);
    weir_clock_set_virtual(0);
}

#define HEAD "local weir = require 'weir'\nlocal function out(...) weir.emit('out', ...) end\n"

static int64_t running(struct lua_app *app)
{
    return (int64_t)lua_seat(app, "a")->running;
}

static void a_sleeper_goes_on_when_its_time_has_come(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "return function(n) weir.sleep(n / 10) out(n) end");
    for (int i = 3; i >= 1; i--)
        lua_send_int(&app, "a", i);
    assert_int_equal(running(&app), 3);
    pass(&app, 99);
    assert_string_equal(lua_arrived(), "");
    pass(&app, 1);
    assert_string_equal(lua_arrived(), "1\n");
    pass(&app, 500);
    assert_string_equal(lua_arrived(), "2\n3\n");
    assert_int_equal(running(&app), 0);
    end(&app);
}

static void a_sleep_of_nothing_ends(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "return function(n) weir.sleep(0) out(n) end");
    lua_send_int(&app, "a", 1);
    pass(&app, 1);
    assert_string_equal(lua_arrived(), "1\n");
    end(&app);
}

static void sleeping_works_wherever_lua_can_yield(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD
             "return function()\n"
             "  local co = coroutine.wrap(function() for i = 1, 2 do weir.sleep(0.01) coroutine.yield(i) end end)\n"
             "  for i in co do out('co' .. i) end\n"
             "  out {pcall(function() weir.sleep(0.01) error('x', 0) end)}\n"
             "  out {xpcall(function() weir.sleep(0.01) return 'fine' end, debug and print or error)}\n"
             "  for i in function(_, i) weir.sleep(0.01) i = (i or 0) + 1 return i <= 2 and i or nil end do out('it' .. i) end\n"
             "  local t = setmetatable({}, {__index = function(_, k) weir.sleep(0.01) return k end,\n"
             "    __lt = function() weir.sleep(0.01) return true end, __concat = function() weir.sleep(0.01) return 'cat' end,\n"
             "    __call = function() weir.sleep(0.01) return 'called' end, __newindex = function() weir.sleep(0.01) end})\n"
             "  t.x = 1\n"
             "  out {t.key, t < t, t .. 'x', t()}\n"
             "  do local c <close> = setmetatable({}, {__close = function() weir.sleep(0.01) out 'closed' end}) end\n"
             "  out 'end'\n"
             "end");
    lua_send_int(&app, "a", 1);
    for (int i = 0; i < 20; i++)
        pass(&app, 10);
    assert_string_equal(lua_arrived(), "\"co1\"\n\"co2\"\n[false,\"x\"]\n[true,\"fine\"]\n\"it1\"\n\"it2\"\n"
                                       "[\"key\",true,\"cat\",\"called\"]\n\"closed\"\n\"end\"\n");
    assert_int_equal(running(&app), 0);
    end(&app);
}

static void where_lua_can_not_yield_it_says_so(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "table.sort({3, 2, 1}, function(a, b) weir.sleep(0) return a < b end)",
        "string.gsub('a', 'a', function() weir.sleep(0) end)",
        "tostring(setmetatable({}, {__tostring = function() weir.sleep(0) return '' end}))",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char script[512];
        snprintf(script, sizeof script,
                 HEAD "return function() local _, why = pcall(function() %s end) out(tostring(why):match('weir.sleep can.t wait here') or why) end",
                 bodies[i]);
        TIME_APP(app, .script = script);
        lua_send_int(&app, "a", 1);
        assert_string_equal(lua_arrived(), "\"weir.sleep can't wait here\"\n");
        end(&app);
    }
}

static void outside_of_a_call_it_says_so(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "local _, early = pcall(weir.sleep, 1)\nlocal _, fiber = pcall(weir.fiber, print)\nlocal M, later = {}, nil\n"
                                 "function M.init() _, later = pcall(weir.sleep, 1) end\n"
                                 "function M.handle() out(early) out(fiber) out(later) end return M");
    lua_send_int(&app, "a", 1);
    const char *text = lua_arrived();
    assert_non_null(strstr(text, "weir.sleep can't be used here: no event is being handled (the script is being loaded)"));
    assert_non_null(strstr(text, "weir.fiber can't be used while the script is being loaded; use it in init"));
    assert_non_null(strstr(text, "(init runs; begin a fiber with weir.fiber)"));
    end(&app);
}

static void a_sleeper_ends_at_the_wall(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "return function() local x <close> = setmetatable({}, {__close = function() out 'closed' end}) weir.sleep(60) out 'late' end");
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    pass(&app, 29999);
    assert_int_equal(running(&app), 1);
    pass(&app, 1);
    assert_int_equal(running(&app), 0);
    pass(&app, 60000);
    log_end(saved);
    assert_null(strstr(lua_arrived(), "late"));
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.reasons[WEIR_REASON_WALL]), 1);
    end(&app);
}

static void a_sleeper_ends_at_its_deadline(void **state)
{
    (void)state;
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    LUA_APP(app, {.name = "a", .to = "out=b", .script = HEAD "return function(n) weir.emit('out', n, {deadline = 0.5}) end"},
            {.name = "b", .to = "out=sink", .script = HEAD "return function() weir.sleep(0.4) out 'in time' weir.sleep(0.2) out 'late' end"});
    lua_send_int(&app, "a", 1);
    pass(&app, 400);
    assert_string_equal(lua_arrived(), "\"in time\"\n");
    pass(&app, 99);
    assert_int_equal(lua_seat(&app, "b")->running, 1);
    pass(&app, 1);
    assert_int_equal(lua_seat(&app, "b")->running, 0);
    assert_int_equal(lua_count(&lua_seat(&app, "b")->ledger.reasons[WEIR_REASON_DEADLINE]), 1);
    pass(&app, 1000);
    assert_string_equal(lua_arrived(), "");
    end(&app);
}

static void ten_thousand_sleep_at_once(void **state)
{
    (void)state;
    TIME_APP(app, .concurrency = 10000, .capacity = 20000, .memory = 64 << 20,
             .script = HEAD "local n = 0\nreturn function(last) weir.sleep(1) n = n + 1 if n % 5000 == 0 then out(n) end end");
    for (int i = 0; i < 10001; i++)
        lua_send_int(&app, "a", i);
    assert_int_equal(running(&app), 10000); /* the last one waits in the queue */
    pass(&app, 1000);
    assert_string_equal(lua_arrived(), "5000\n10000\n");
    assert_int_equal(running(&app), 1);
    pass(&app, 1000);
    assert_int_equal(running(&app), 0);
    end(&app);
}

static void fibers_run_beside_calls(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "local M = {}\n"
                                 "function M.init() weir.fiber(function(a, b) for i = 1, 2 do weir.sleep(1) out {a, b, i} end end, 'x', nil, 'y') end\n"
                                 "function M.handle(n) weir.fiber(function() out('fiber ' .. n) end) out('call ' .. n) end return M");
    lua_send_int(&app, "a", 1);
    settle(&app);
    assert_string_equal(lua_arrived(), "\"call 1\"\n\"fiber 1\"\n");
    pass(&app, 1000);
    pass(&app, 1000);
    pass(&app, 1000);
    assert_string_equal(lua_arrived(), "{\"1\":\"x\",\"3\":1}\n{\"1\":\"x\",\"3\":2}\n");
    end(&app);
}

static void fibers_are_bounded_and_have_no_event(void **state)
{
    (void)state;
    TIME_APP(app, .concurrency = 3, .script = HEAD "return function()\n"
                                                   "  for i = 1, 5 do out {weir.fiber(function() weir.sleep(1) out(select(2, pcall(weir.meta))) end)} end end");
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), "[true]\n[true]\n[true]\n{\"2\":\"full\"}\n{\"2\":\"full\"}\n");
    settle(&app);
    pass(&app, 1000);
    assert_int_equal(count_of(lua_arrived(), "a fiber has no event"), 3);
    end(&app);
}

static void an_error_in_a_fiber_is_logged_and_costs_nothing_else(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "return function(n) weir.fiber(function() weir.sleep(0.1) error 'in a fiber' end) out(n) end");
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    settle(&app);
    pass(&app, 100);
    lua_send_int(&app, "a", 2);
    log_end(saved);
    assert_non_null(strstr(logged, "in a fiber"));
    assert_string_equal(lua_arrived(), "1\n2\n");
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.failed), 0);
    end(&app);
}

static void deferred_functions_run_when_the_call_has_ended_however(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "return function(n)\n"
                                 "  weir.defer(function() out('first ' .. n) end)\n"
                                 "  weir.defer(function() weir.sleep(0.1) out('second ' .. n) end)\n"
                                 "  if n == 2 then error 'failed' end\n"
                                 "  if n == 3 then weir.sleep(60) end\n"
                                 "  out('call ' .. n) end");
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    settle(&app);
    assert_string_equal(lua_arrived(), "\"call 1\"\n\"first 1\"\n");
    pass(&app, 100);
    assert_string_equal(lua_arrived(), "\"second 1\"\n");
    lua_send_int(&app, "a", 2);
    settle(&app);
    pass(&app, 100);
    assert_string_equal(lua_arrived(), "\"first 2\"\n\"second 2\"\n");
    lua_send_int(&app, "a", 3);
    pass(&app, 30000); /* its wall */
    pass(&app, 100);
    assert_string_equal(lua_arrived(), "\"first 3\"\n\"second 3\"\n");
    log_end(saved);
    end(&app);
}

static void timers_fire_once_or_again(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "local M, again = {}, nil\n"
                                 "function M.init()\n"
                                 "  weir.timer(0.1, function() out 'once' end)\n"
                                 "  again = weir.timer(0.3, function() out 'again' end, {every = true}) end\n"
                                 "function M.handle() out(again:cancel()) out(again:cancel()) end return M");
    pass(&app, 100);
    assert_string_equal(lua_arrived(), "\"once\"\n");
    pass(&app, 200);
    pass(&app, 299);
    assert_string_equal(lua_arrived(), "\"again\"\n");
    pass(&app, 1);
    assert_string_equal(lua_arrived(), "\"again\"\n");
    pass(&app, 3000); /* held up: what was missed is left out */
    assert_string_equal(lua_arrived(), "\"again\"\n");
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), "true\nfalse\n");
    pass(&app, 3000);
    assert_string_equal(lua_arrived(), "");
    end(&app);
}

static void timers_live_without_a_handle_and_can_be_cancelled_before_they_fire(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "return function(n)\n"
                                 "  weir.timer(0.2, function() out 'kept' end)\n"
                                 "  local t = weir.timer(0.1, function() out 'never' end) t:cancel()\n"
                                 "  for _ = 1, 3 do collectgarbage() end end");
    lua_send_int(&app, "a", 1);
    pass(&app, 100);
    pass(&app, 100);
    assert_string_equal(lua_arrived(), "\"kept\"\n");
    end(&app);
}

static void a_timer_without_room_for_its_fiber_is_logged(void **state)
{
    (void)state;
    TIME_APP(app, .concurrency = 1, .script = HEAD "return function(n) weir.timer(0.1, function() end) weir.fiber(function() weir.sleep(1) end) end");
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    settle(&app);
    pass(&app, 100);
    log_end(saved);
    assert_non_null(strstr(logged, "as many fibers run as the stage's concurrency allows"));
    end(&app);
}

static void wrong_arguments_are_named(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"weir.sleep", "must be a number of seconds, at least 0"},
        {"weir.sleep, 0/0", "must be a number of seconds"},
        {"weir.sleep, 1e18", "must be a number of seconds"},
        {"weir.sleep, '1'", "must be a number of seconds"},
        {"weir.fiber, 1", "weir.fiber: expected a function, got number"},
        {"weir.defer", "weir.defer: expected a function, got no value"},
        {"weir.timer, 1", "weir.timer: expected a function after the time, got no value"},
        {"weir.timer, -1, print", "weir.timer: the time must be a number of seconds"},
        {"weir.timer, 0, print, {every = true}", "at least 0.001 s"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char script[256];
        snprintf(script, sizeof script, HEAD "return function() out(select(2, pcall(%s))) end", rows[i][0]);
        TIME_APP(app, .script = script);
        lua_send_int(&app, "a", 1);
        const char *said = lua_arrived();
        if (strstr(said, rows[i][1]) == NULL)
            fail_msg("%s: %s", rows[i][0], said);
        end(&app);
    }
}

static void what_waits_is_dropped_with_its_vm(void **state)
{
    (void)state;
    TIME_APP(app, .script = HEAD "local M = {}\n"
                                 "function M.init() weir.timer(1, function() out 'x' end, {every = true}) weir.fiber(function() weir.sleep(9) end) end\n"
                                 "function M.handle() weir.defer(function() weir.sleep(5) end) weir.sleep(5) end return M");
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    settle(&app);
    end(&app); /* which looks at the memory */
    log_end(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sleeper_goes_on_when_its_time_has_come),
        TEST(a_sleep_of_nothing_ends),
        TEST(sleeping_works_wherever_lua_can_yield),
        TEST(where_lua_can_not_yield_it_says_so),
        TEST(outside_of_a_call_it_says_so),
        TEST(a_sleeper_ends_at_the_wall),
        TEST(a_sleeper_ends_at_its_deadline),
        TEST(ten_thousand_sleep_at_once),
        TEST(fibers_run_beside_calls),
        TEST(fibers_are_bounded_and_have_no_event),
        TEST(an_error_in_a_fiber_is_logged_and_costs_nothing_else),
        TEST(deferred_functions_run_when_the_call_has_ended_however),
        TEST(timers_fire_once_or_again),
        TEST(timers_live_without_a_handle_and_can_be_cancelled_before_they_fire),
        TEST(a_timer_without_room_for_its_fiber_is_logged),
        TEST(wrong_arguments_are_named),
        TEST(what_waits_is_dropped_with_its_vm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
