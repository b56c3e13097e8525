/* Slices: calls that give way and go on; what loading may take; xpcall. */
#include "lua/preempt.h"

#include "preempt_fixture.h"

/* --- slices --- */

static void a_call_over_its_slice_gives_way_and_goes_on_in_its_turn(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = HEAD "return function(v) out('begin ' .. v) step(v) out('end ' .. v) end"});
    lua_send_int(&app, "a", 11);
    assert_string_equal(lua_arrived(), "\"begin 11\"\n");
    assert_int_equal(lua_seat(&app, "a")->running, 1);
    lua_send_int(&app, "a", 9); /* within its slice */
    assert_string_equal(lua_arrived(), "\"begin 9\"\n\"end 9\"\n");
    assert_int_equal(run_aside(&app, 10), 1);
    assert_string_equal(lua_arrived(), "\"end 11\"\n");
    assert_int_equal(lua_seat(&app, "a")->running, 0);
    lua_close_app(&app);
}

static void a_preempted_call_has_its_vm_to_itself(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = HEAD "local half = false\n"
                                 "return function(v)\n"
                                 "  if v == 1 then weir.sleep(0.5) assert(not half) return out('slept') end\n"
                                 "  assert(not half) half = true step(v) half = false out('whole ' .. v)\n"
                                 "end"});
    lua_send_int(&app, "a", 1);  /* sleeps in the first VM */
    lua_send_int(&app, "a", 11); /* has it */
    lua_send_int(&app, "a", 12); /* and this one a spare */
    lua_send_int(&app, "a", 2);  /* and this one needs a third */
    assert_string_equal(lua_arrived(), "\"whole 2\"\n");
    wait_ms(&app, 500);
    assert_string_equal(lua_arrived(), ""); /* its sleep is over, but its VM is taken */
    assert_int_equal(run_aside(&app, 1), 1);
    assert_string_equal(lua_arrived(), "\"whole 11\"\n\"slept\"\n");
    run_aside(&app, 10);
    assert_string_equal(lua_arrived(), "\"whole 12\"\n");
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.failed), 0);
    lua_close_app(&app);
}

static void a_call_goes_on_wherever_it_was_preempted(void **state)
{
    (void)state;
    static const struct {
        const char *body; /* calls step(11) or step(12) and returns what it made */
        const char *result;
        int preempted;
    } places[] = {
        {"local n = 0 for i = 1, 3 do step(11) n = n + i end return n", "6", 3},
        {"local ok, v = pcall(function() step(11) return 7 end) return ok and v", "7", 1},
        {"local ok, v = pcall(function() step(11) error('e', 0) end) return v", "\"e\"", 1},
        {"local ok, v = xpcall(function() step(11) error('e', 0) end, function(m) return m .. '!' end) "
         "return v",
         "\"e!\"", 1},
        {"local ok, a, b = xpcall(function(...) step(11) return ... end, print, 1, 2) return a + b", "3", 1},
        {"return coroutine.wrap(function() step(11) return 5 end)()", "5", 1},
        {"local n = 0 for v in coroutine.wrap(function() for i = 1, 3 do step(11) coroutine.yield(i) end "
         "end) do n = n + v end return n",
         "6", 3},
        {"local f = coroutine.wrap(function() coroutine.wrap(function() pcall(function() step(11) end) "
         "end)() step(11) return 8 end) return f()",
         "8", 2},
        {"local co = coroutine.create(function(a) local b = coroutine.yield(a) step(11) return a + b end)\n"
         "local _, a = coroutine.resume(co, 1) local _, s = coroutine.resume(co, 2) return a + s",
         "4", 1},
        {"return setmetatable({}, {__index = function(_, k) step(11) return k end}).name", "\"name\"", 1},
        {"local t = setmetatable({}, {__newindex = function(t, k, v) step(11) rawset(t, k, v + 1) end}) t.x "
         "= 1 return t.x",
         "2", 1},
        {"local m = {} m.__add = function() step(11) return 9 end return setmetatable({}, m) + 1", "9", 1},
        {"local m = {} m.__lt = function() step(11) return true end return setmetatable({}, m) < "
         "setmetatable({}, m)",
         "true", 1},
        {"local m = {} m.__concat = function(_, s) step(11) return s .. s end return setmetatable({}, m) .. "
         "'ab'",
         "\"abab\"", 1},
        {"return setmetatable({}, {__call = function(_, v) step(11) return v end})(3)", "3", 1},
        {"local n = 0 do local x <close> = setmetatable({}, {__close = function() step(11) n = 4 end}) end "
         "return n",
         "4", 1},
        {"local n = 0 for v in function(_, c) step(11) return c < 2 and c + 1 or nil end, nil, 0 do n = n + "
         "v end return n",
         "3", 3},
        {"local function deep(n) if n == 0 then step(11) return 0 end return 1 + deep(n - 1) end return "
         "deep(150)",
         "150", 1},
        {"local t = {3, 1, 2} table.sort(t, function(a, b) step(2) return a < b end) return t[1]", "1", 0},
        {"local t = {3, 1, 2} step(9) table.sort(t, function(a, b) step(3) return a < b end) step(1) return "
         "t[1]",
         "1", 0},
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char script[900], expected[40];
        snprintf(script, sizeof script,
                 HEAD "local function body() %s end\nreturn function() out(body()) end", places[i].body);
        snprintf(expected, sizeof expected, "%s\n", places[i].result);
        LUA_APP(app, {.name = "a", .to = "out=sink", .script = script});
        int preempted = send_whole(&app, 1);
        if (preempted < places[i].preempted || strcmp(lua_got.len > 0 ? lua_got.data : "", expected) != 0)
            fail_msg("%s: preempted %d times; %s%s", places[i].body, preempted,
                     lua_got.len > 0 ? lua_got.data : "nothing came", logged);
        lua_close_app(&app);
    }
}

static void an_order_that_comes_late_is_not_for_the_next_call(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = HEAD "local n = 0\nreturn function(v) n = n + 1 if v == 1 then return "
                                 "weir.tick(11) end for _ = 1, 2500 do end out(n) end"});
    assert_int_equal(send_whole(&app, 1), 0);
    assert_int_equal(send_whole(&app, 2), 0);
    assert_string_equal(lua_arrived(), "2\n"); /* the same VM */
    lua_close_app(&app);
}

/* Every place between two steps of an LRU's work is one where it may be preempted; another call must not see
 * it. */
static const char *const lru = HEAD
    "local CAP, map, size = 8, {}, 0\n"
    "local head = {} head.next, head.prev = head, head\n"
    "local seed, busy = 7, false\n"
    "local function random(n) seed = (seed * 1103515245 + 12345) % 2147483648 return seed // 65536 % n end\n"
    "local function cut() if random(6) == 0 then step(11) end end\n"
    "local function unlink(e) cut() e.prev.next = e.next cut() e.next.prev = e.prev cut() end\n"
    "local function front(e) e.next = head.next cut() e.prev = head cut() head.next.prev = e cut() head.next "
    "= e end\n"
    "local cache = setmetatable({}, {__index = function(_, k)\n"
    "  local e = map[k] if e then unlink(e) front(e) return e.value end end,\n"
    "__newindex = function(_, k, v)\n"
    "  local e = map[k]\n"
    "  if e then e.value = v unlink(e) front(e) return end\n"
    "  if size == CAP then local last = head.prev unlink(last) map[last.key] = nil cut() size = size - 1 "
    "end\n"
    "  e = {key = k, value = v} map[k] = e cut() front(e) cut() size = size + 1 end})\n"
    "local function check()\n"
    "  assert(not busy, 'another call is in the middle of it')\n"
    "  local n, e = 0, head\n"
    "  repeat assert(e.next.prev == e) if e ~= head then n = n + 1 assert(map[e.key] == e) end e = e.next "
    "until e == head\n"
    "  local m = 0 for _ in pairs(map) do m = m + 1 end\n"
    "  assert(n == size and m == size and size <= CAP, 'broken')\nend\n"
    "local function work() for _ = 1, 5 do local k = random(20) if not cache[k] then cache[k] = k end end "
    "end\n"
    "return function()\n"
    "  for i = 1, 4 do\n"
    "    check() busy = true\n"
    "    if i % 2 == 0 then assert(pcall(work)) else coroutine.wrap(function() coroutine.wrap(work)() end)() "
    "end\n"
    "    busy = false check() weir.sleep(0.001)\n"
    "  end\nend";

static void a_table_that_is_half_changed_is_seen_by_nobody(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a", .script = lru});
    struct weir_seat *seat = lua_seat(&app, "a");
    int preempted = 0, sent = 0, saved = log_begin();
    while (preempted < 10000 || seat->running > 0) { /* up to three are preempted, the others sleep */
        for (; preempted < 10000 && seat->running < 6 && count_aside(&app) < 3; sent++)
            lua_send_int(&app, "a", 1);
        preempted += run_aside(&app, 4);
        wait_ms(&app, 1);
        if (lua_count(&seat->ledger.failed) > 0)
            break;
    }
    log_end(saved);
    if (lua_count(&lua_seat(&app, "a")->ledger.failed) != 0)
        fail_msg("%s", logged);
    assert_true(preempted >= 10000);
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.handled), sent);
    lua_close_app(&app);
}

/* --- loading --- */

static int try_script(const char *text, struct weir_err *err)
{
    struct lua_app app;
    struct weir_handler_maker maker = {0};
    char file[160];
    const char *lib = "safe";
    lua_folder(&app);
    lua_write(&app, "bad.lua", text);
    snprintf(file, sizeof file, "%s/bad.lua", app.folder);
    struct weir_lua_options o = {.file = file,
                                 .folder = app.folder,
                                 .libs = &lib,
                                 .lib_count = 1,
                                 .memory = 8 << 20,
                                 .limits = lua_limits};
    o.limits.cpu_ns = cpu_limit_ns;
    int rc = weir_lua_maker_create(&o, &maker, err);
    if (rc == WEIR_OK)
        maker.destroy(maker.self);
    lua_remove_folder(&app);
    return rc;
}

static void loading_may_stall_but_not_run_for_ever(void **state)
{
    (void)state;
    struct weir_err err;
    assert_int_equal(
        try_script(HEAD
                   "table.sort({3, 2, 1}, function(a, b) step(60) return a < b end)\nreturn function() end",
                   &err),
        WEIR_OK);
    cpu_limit_ns = 1;
    assert_true(try_script(HEAD "forever()\nreturn function() end", &err) < 0);
    assert_non_null(strstr(err.text, "bad.lua:3"));
    assert_non_null(strstr(err.text, "over limits.cpu"));
    assert_true(try_script(HEAD "while true do pcall(forever) end", &err) < 0);
    assert_non_null(strstr(err.text, "over limits.cpu"));
}

static void limits_are_named_as_they_are_written(void **state)
{
    (void)state;
    struct weir_lua_script script = {
        .limits = {.stall_ns = 1500000, .cpu_ns = 2 * WEIR_NS_PER_S, .wall_ns = 300 * WEIR_NS_PER_MS}};
    struct weir_vm vm = {.script = &script};
    char text[200];
    vm.logic.limits = script.limits;
    weir_preempt_describe(&vm, WEIR_REASON_CPU, text, sizeof text);
    assert_string_equal(text, "ended: over limits.cpu (2s)");
    weir_preempt_describe(&vm, WEIR_REASON_WALL, text, sizeof text);
    assert_string_equal(text, "ended: over limits.wall (300ms)");
    weir_preempt_describe(&vm, WEIR_REASON_STALL, text, sizeof text);
    assert_non_null(strstr(text, "ended: over limits.stall (1.5ms) where it can't be interrupted"));
    weir_preempt_describe(&vm, WEIR_REASON_DEADLINE, text, sizeof text);
    assert_string_equal(text, "ended: its deadline passed");
    weir_preempt_describe(&vm, WEIR_REASON_CANCELLED, text, sizeof text);
    assert_string_equal(text, "ended: shutdown");
}

/* --- xpcall --- */

static void xpcall_is_as_the_stock_one(void **state)
{
    (void)state;
    static const struct {
        const char *body, *result;
    } cases[] = {
        {"return select('#', xpcall(function() end, print))", "1"},
        {"return table.concat({select(2, xpcall(function(...) return ... end, print, 1, 2, 3))}, ',')",
         "\"1,2,3\""},
        {"return (select(2, xpcall(error, function(m) return m .. '!' end, 'x')))", "\"x!\""},
        {"return (select('#', xpcall(error, function() return 1, 2 end, 'x')))", "2"},
        {"return (xpcall(error, function(m) error(m) end, 'x'))", "false"},
        {"return (select(2, xpcall(xpcall, function(m) return 'outer' end)))", "\"outer\""},
        {"return (pcall(xpcall))", "false"},
        {"return (pcall(xpcall, print))", "false"},
        {"return (select(2, pcall(xpcall, print, 1))):match('function expected') or 'none'",
         "\"function expected\""},
        {"return (select(2, xpcall(function() weir.sleep(0) return 'slept' end, print)))", "\"slept\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char script[900], expected[60];
        snprintf(script, sizeof script,
                 HEAD "local function body() %s end\nreturn function() out(body()) end", cases[i].body);
        snprintf(expected, sizeof expected, "%s\n", cases[i].result);
        LUA_APP(app, {.name = "a", .to = "out=sink", .script = script});
        send_whole(&app, 1);
        wait_ms(&app, 1);
        if (strcmp(lua_got.len > 0 ? lua_got.data : "", expected) != 0)
            fail_msg("%s: %s%s", cases[i].body, lua_got.len > 0 ? lua_got.data : "nothing came", logged);
        lua_close_app(&app);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DOG_TEST(a_call_over_its_slice_gives_way_and_goes_on_in_its_turn),
        DOG_TEST(a_preempted_call_has_its_vm_to_itself),
        DOG_TEST(a_call_goes_on_wherever_it_was_preempted),
        DOG_TEST(an_order_that_comes_late_is_not_for_the_next_call),
        DOG_TEST(a_table_that_is_half_changed_is_seen_by_nobody),
        DOG_TEST(loading_may_stall_but_not_run_for_ever),
        DOG_TEST(limits_are_named_as_they_are_written),
        DOG_TEST(xpcall_is_as_the_stock_one),
    };
    return cmocka_run_group_tests_name("preempt", tests, NULL, NULL);
}
