/* weir.shared as scripts see it. Each script emits what it found as text; the sink keeps it. */
#include "lua_fixture.h"

#include "core/shared_table.h"
#include "core/shared_tables.h"

#define SCRIPT(body)                                                                                         \
    "local weir = require 'weir'\n"                                                                          \
    "local t = weir.shared 'sessions'\n"                                                                     \
    "local function say(...)\n"                                                                              \
    "  local n, all = select('#', ...), {...}\n"                                                             \
    "  for i = 1, n do all[i] = all[i] == nil and 'nil' or math.type(all[i]) == 'float' and 'f' .. all[i]\n" \
    "    or tostring(all[i]) end\n"                                                                          \
    "  weir.emit('out', table.concat(all, ' '))\n"                                                           \
    "end\n"                                                                                                  \
    "return function(event)\n" body "\nend\n"

/* The name of a table that the fixture's graph makes when it is asked for. */
static struct weir_shared_table *table_of(struct lua_app *app)
{
    struct weir_shared_table *t;
    struct weir_err err;
    assert_int_equal(weir_shared_tables_get(app->g->shared, "sessions", &t, &err), WEIR_OK);
    return t;
}

static void run(const char *script, const char *expected)
{
    LUA_APP(app, {.name = "a", .to = "out=sink", .script = script});
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), expected);
    lua_close_app(&app);
}

static void test_values_keep_their_types(void **state)
{
    (void)state;
    run(SCRIPT("say(t:get 'k')\n"
               "say(t:set('k', 9007199254740993), t:get 'k')\n"
               "say(t:set('k', 1.0), t:get 'k')\n"
               "say(t:set('k', false), t:get 'k')\n"
               "say(t:set('k', 'a\\0b'), #t:get 'k')\n"
               "t:set('k', {1, 2, {x = 'y', deep = {true}}})\n"
               "local v = t:get 'k'; say(#v, v[3].x, v[3].deep[1])\n"
               "v[1] = 5; say(t:get('k')[1])\n"
               "say(t:set(7, 'seven'), t:get(7), t:get(7.0), t:get '7')\n"
               "say(t:set('k', nil), t:get 'k')\n"
               "say(t:delete(7), t:delete(7))\n"),
        "\"nil\"\n\"true 9007199254740993\"\n\"true f1.0\"\n\"true false\"\n\"true 3\"\n\"3 y true\"\n\"1\"\n"
        "\"true seven seven nil\"\n\"true nil\"\n\"true false\"\n");
}

static void test_add_incr_and_cas(void **state)
{
    (void)state;
    run(SCRIPT("say(t:add('k', 1)); say(t:add('k', 2)); say(t:incr 'k'); say(t:incr('k', 5)); "
               "say(t:incr('k', 0.5))\n"
               "say(t:incr('new', 2, 40)); say(t:incr('max', math.maxinteger)); say(t:incr 'max')\n"
               "t:set('s', 'text'); say(t:incr 's')\n"
               "say(t:cas('c', nil, {a = 1, b = {2, 3}})); say(t:cas('c', {b = {2, 3}, a = 1}, 'x'))\n"
               "say(t:cas('c', 'y', 'z')); say(t:cas('c', 'x', nil)); say(t:get 'c'); say(t:cas('c', 'x', "
               "'y'))\n"),
        "\"true\"\n\"nil exists\"\n\"2\"\n\"7\"\n\"f7.5\"\n\"42\"\n\"9223372036854775807\"\n\"nil "
        "overflow\"\n"
        "\"nil not a number\"\n\"true\"\n\"true\"\n\"nil changed x\"\n\"true\"\n\"nil\"\n\"nil changed "
        "nil\"\n");
}

static void test_times_to_live(void **state)
{
    (void)state;
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script =
                      SCRIPT("if event == 1 then\n"
                             "  t:set('k', 'v', {ttl = 10}); t:incr('n', 1, 0, {ttl = 2.5}); t:set('f', 1)\n"
                             "  say(t:ttl 'k', t:ttl 'n', t:ttl 'f' == math.huge, t:ttl 'none')\n"
                             "  say(t:expire('f', 4), t:ttl 'f', t:expire('k', false), t:expire('none', 1))\n"
                             "else say(t:get 'k', t:get 'n', t:get 'f', t:ttl 'f') end\n")});
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), "\"f10.0 f2.5 true nil\"\n\"true f4.0 true false\"\n");
    weir_clock_set_virtual(1003 * WEIR_NS_PER_S);
    lua_send_int(&app, "a", 2);
    assert_string_equal(lua_arrived(), "\"v nil 1 f1.0\"\n");
    weir_clock_set_virtual(1004 * WEIR_NS_PER_S);
    lua_send_int(&app, "a", 2);
    assert_string_equal(lua_arrived(), "\"v nil nil nil\"\n");
    lua_close_app(&app);
}

static void test_mistakes_are_named(void **state)
{
    (void)state;
    run(SCRIPT(
            "local function why(...) local _, m = pcall(...); say((m:gsub('^.-:%d+: ', ''))) end\n"
            "why(t.get); why(t.get, t, nil); why(t.get, t, 1.5); why(t.get, t, {}); why(t.set, t, 'k'); "
            "why(t.cas, t, 1, 2); why(t.keys, t, -1)\n"
            "why(t.set, t, 'k', print); why(t.set, t, 'k', {a = {print}}); why(t.set, t, 'k', 1, {tll = 1})\n"
            "why(t.set, t, 'k', 1, {ttl = 0}); why(t.set, t, 'k', 1, 5); why(t.add, t, 'k', nil)\n"
            "why(t.incr, t, 'k', '1'); why(t.get, t, ('x'):rep(70000)); why(weir.shared, 5)\n"
            "why(function() return t.foo() end); why(function() t.x = 1 end)\n"
            "say(tostring(getmetatable(t)), weir.shared 'sessions' == t, tostring(t))\n"),
        "\"weir.shared: call it as t:get(...), with a colon, t being what weir.shared(name) gave\"\n"
        "\"t:get: the key must be a string or an integer, it is nil\"\n"
        "\"t:get: the key must be a string or an integer, it is a float\"\n"
        "\"t:get: the key must be a string or an integer, it is a table\"\n"
        "\"t:set: the value is missing (nil deletes)\"\n"
        "\"t:cas: the old and the new value are needed (nil: none)\"\n"
        "\"t:keys: how many must be an integer, at least 0\"\n"
        "\"value: a function can't be sent\"\n"
        "\"value.a[1]: a function can't be sent\"\n"
        "\"t:set: unknown option 'tll' (known: ttl)\"\n"
        "\"t:set: the ttl must be a number of seconds above 0, or false for no end\"\n"
        "\"t:set: the options must be a table such as {ttl = 60}, they are a number\"\n"
        "\"t:add: nil can't be added\"\n"
        "\"t:incr: what is added must be a number, it is a string\"\n"
        "\"t:get: the key has 70000 bytes, at most 65535 are allowed\"\n"
        "\"weir.shared: the name must be a string, it is a number\"\n"
        "\"attempt to call a nil value (field 'foo')\"\n"
        "\"attempt to index a weir.shared value (upvalue 't')\"\n"
        "\"false true weir.shared: sessions\"\n");
}

static void test_an_undeclared_table_is_refused_with_the_declared_ones(void **state)
{
    (void)state;
    static const char script[] = "local weir = require 'weir'\n"
                                 "return function(name)\n"
                                 "  local ok, e = pcall(weir.shared, name)\n"
                                 "  weir.emit('out', ok and 'fine' or e)\nend\n";
    LUA_APP(app, {.name = "a", .to = "out=sink", .script = script});
    struct weir_err err;
    weir_shared_tables_undeclared(app.g->shared, false, 0, 0);
    lua_send_text(&app, "a", "sessions");
    assert_string_equal(lua_arrived(),
                        "\"weir.shared: there is no shared table 'sessions'; weir.yaml declares none "
                        "(`shared: {NAME: {bytes: 16MiB}}` would)\"\n");
    assert_int_equal(weir_shared_tables_declare(app.g->shared, "sessions", 5000, 0, &err), WEIR_OK);
    assert_int_equal(weir_shared_tables_declare(app.g->shared, "counters", 5000, 0, &err), WEIR_OK);
    lua_send_text(&app, "a", "sesions");
    assert_string_equal(
        lua_arrived(),
        "\"weir.shared: there is no shared table 'sesions'; weir.yaml declares 'sessions', 'counters'; "
        "did you mean 'sessions'?\"\n");
    lua_send_text(&app, "a", "sessions");
    assert_string_equal(lua_arrived(), "\"fine\"\n");
    lua_close_app(&app);
}

static void test_a_full_table_says_so(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=sink",
             .script =
                 "local weir = require 'weir'\n"
                 "return function()\n"
                 "  local t, x = weir.shared 'small', ('x'):rep(200)\n"
                 "  local n, last, why = 0, nil, nil\n" /* over all shards: one may be full for a new bucket array, and others not */
                 "  for i = 1, 3000 do local ok, reason = t:set(i, i); n = n + (ok and 1 or 0); last, why = ok, reason or why end\n"
                 "  local entries, bytes = t:size()\n"
                 "  weir.emit('out', {n > 10, last == nil, why, entries == n, bytes <= 5000, bytes > 4900,\n"
                 "    {t:add(x, 1)}, {t:incr(x)}, {t:cas(x, nil, 1)}, t:incr(1)})\n"
                 "  t:clear()\n"
                 "  weir.emit('out', {t:size()})\nend\n"});
    struct weir_err err;
    assert_int_equal(weir_shared_tables_declare(app.g->shared, "small", 5000, 0, &err), WEIR_OK);
    lua_send_int(&app, "a", 1);
    assert_string_equal(
        lua_arrived(),
        "[true,true,\"full\",true,true,true,{\"2\":\"full\"},{\"2\":\"full\"},{\"2\":\"full\"},2]\n[0,0]\n");
    lua_close_app(&app);
}

static void test_pairs_and_keys_see_everything_once(void **state)
{
    (void)state;
    run(SCRIPT("for i = 1, 500 do t:set(i, i * 2); t:set('k' .. i, {i}) end\n"
               "local ints, strings, sum = 0, 0, 0\n"
               "for k, v in t:pairs() do\n"
               "  if math.type(k) == 'integer' then ints = ints + 1; assert(v == k * 2)\n"
               "  else strings = strings + 1; assert('k' .. v[1] == k) end\n"
               "  sum = sum + 1; t:delete(k)\n"
               "end\n"
               "say(ints, strings, sum, (t:size()))\n"
               "for i = 1, 100 do t:set(i, 'x') end\n"
               "local seen = {}; for _, k in ipairs(t:keys()) do assert(not seen[k]); seen[k] = true end\n"
               "say(#t:keys(), #t:keys(7), #t:keys(0), seen[100])\n"
               "local n = 0; for k in pairs(t) do n = n + 1; if n == 3 then break end end\n"
               "say(n)\n"),
        "\"500 500 1000 0\"\n\"100 7 0 true\"\n\"3\"\n");
}

static void test_a_script_can_name_its_table_while_it_loads_but_not_use_it(void **state)
{
    (void)state;
    struct lua_app app;
    lua_folder(&app);
    struct weir_err err;
    struct weir_graph g = {.stage_count = 0};
    struct weir_stage stage = {.name = "a", .memory = 8 << 20, .graph = &g};
    const struct lua_stage_spec fine = {
        .name = "a", .script = "local t = require('weir').shared 'x'\nreturn function() t:get(1) end\n"};
    assert_int_equal(lua_open_stage(&app, &stage, &fine, &err), WEIR_OK);
    stage.handler.destroy(stage.handler.self);
    const struct lua_stage_spec bad = {
        .name = "a", .script = "local t = require('weir').shared 'x'\nt:set('loaded', 1)\nreturn print\n"};
    assert_int_equal(lua_open_stage(&app, &stage, &bad, &err), WEIR_E_SCRIPT);
    assert_non_null(strstr(
        err.text,
        "a.lua:2: t:set can't be used while the script is being loaded; use it in init or in a handler"));
    lua_remove_folder(&app);
}

static void test_stages_share_a_table(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "writer",
             .to = "out=reader",
             .script = SCRIPT("t:incr('n', event); weir.emit('out', event)")},
            {.name = "reader", .to = "out=sink", .script = SCRIPT("say(t:get 'n')")});
    lua_send_int(&app, "writer", 5);
    lua_send_int(&app, "writer", 6);
    assert_string_equal(lua_arrived(), "\"5\"\n\"11\"\n");
    struct weir_shared_figures f;
    weir_shared_table_read(table_of(&app), &f);
    assert_int_equal(f.hits, 2);
    lua_close_app(&app);
}

/* --- watch --- */

#define WATCHER SCRIPT("say('saw', t:watch('k', 5))")

static void set_now(struct lua_app *app, int64_t value, uint64_t ttl_ns)
{
    struct weir_shared_key k = weir_shared_key_string("k", 1);
    assert_int_equal(weir_shared_table_set(table_of(app), &k,
                                           (struct weir_value){.kind = WEIR_VALUE_INT, .integer = value},
                                           ttl_ns),
                     WEIR_OK);
}

static void advance(struct lua_app *app, uint64_t to_ns)
{
    weir_clock_set_virtual(to_ns);
    weir_worker_now(app->w);
    weir_timers_run(app->w);
    lua_pump(app);
}

static void test_a_watch_ends_with_a_write(void **state)
{
    (void)state;
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    LUA_APP(app, {.name = "a", .to = "out=sink", .script = WATCHER});
    set_now(&app, 1, 0);
    lua_send_int(&app, "a", 1);
    lua_send_int(&app, "a", 2);
    assert_string_equal(lua_arrived(), "");
    struct weir_shared_key other = weir_shared_key_string("other", 5);
    assert_int_equal(weir_shared_table_set(table_of(&app), &other,
                                           (struct weir_value){.kind = WEIR_VALUE_INT, .integer = 1}, 0),
                     WEIR_OK);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "");
    set_now(&app, 7, 0);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "\"saw 7\"\n\"saw 7\"\n");
    lua_send_int(&app, "a", 3);
    struct weir_shared_key k = weir_shared_key_string("k", 1);
    assert_true(weir_shared_table_delete(table_of(&app), &k));
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "\"saw nil\"\n");
    lua_close_app(&app);
}

static void test_a_watch_ends_with_its_timeout_or_the_entry(void **state)
{
    (void)state;
    const uint64_t start = 1000 * WEIR_NS_PER_S;
    weir_clock_set_virtual(start);
    LUA_APP(app, {.name = "a", .to = "out=sink", .script = WATCHER});
    lua_send_int(&app, "a", 1);
    advance(&app, start + 4 * WEIR_NS_PER_S);
    assert_string_equal(lua_arrived(), "");
    advance(&app, start + 5 * WEIR_NS_PER_S);
    assert_string_equal(lua_arrived(), "\"saw nil timeout\"\n");
    set_now(&app, 1, WEIR_NS_PER_S); /* expires before the timeout, with nobody else to look */
    lua_send_int(&app, "a", 1);
    advance(&app, start + 6 * WEIR_NS_PER_S);
    assert_string_equal(lua_arrived(), "\"saw nil\"\n");
    set_now(&app, 1, WEIR_NS_PER_S); /* its life is prolonged while it is watched: no change */
    lua_send_int(&app, "a", 1);
    struct weir_shared_key k = weir_shared_key_string("k", 1);
    assert_true(weir_shared_table_expire(table_of(&app), &k, 3 * WEIR_NS_PER_S));
    advance(&app, start + 8 * WEIR_NS_PER_S);
    assert_string_equal(lua_arrived(), "");
    advance(&app, start + 9 * WEIR_NS_PER_S);
    assert_string_equal(lua_arrived(), "\"saw nil\"\n");
    lua_close_app(&app);
}

/* The write finds a watch whose message about another time to live is on its way still. */
static void test_a_watch_sees_a_write_that_follows_an_expire(void **state)
{
    (void)state;
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    LUA_APP(app, {.name = "a", .to = "out=sink", .script = WATCHER});
    struct weir_shared_key k = weir_shared_key_string("k", 1);
    set_now(&app, 1, 0);
    lua_send_int(&app, "a", 1);
    assert_true(weir_shared_table_expire(table_of(&app), &k, 3 * WEIR_NS_PER_S));
    assert_true(weir_shared_table_expire(table_of(&app), &k, 4 * WEIR_NS_PER_S));
    set_now(&app, 2, 0);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "\"saw 2\"\n");
    lua_send_int(&app, "a", 1);
    assert_true(weir_shared_table_expire(table_of(&app), &k, 3 * WEIR_NS_PER_S));
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "");
    set_now(&app, 3, 0);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "\"saw 3\"\n");
    lua_close_app(&app);
}

static void test_a_watch_of_a_known_value_misses_nothing(void **state)
{
    (void)state;
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    LUA_APP(app, {.name = "a", .to = "out=sink", .script = SCRIPT("say('saw', t:watch('k', nil, event))")});
    set_now(&app, 5, 0);
    lua_send_int(&app, "a", 4); /* not what is there: at once */
    assert_string_equal(lua_arrived(), "\"saw 5\"\n");
    lua_send_int(&app, "a", 5);
    assert_string_equal(lua_arrived(), "");
    set_now(&app, 6, 0);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "\"saw 6\"\n");
    lua_close_app(&app);
}

static void test_a_watch_that_is_cancelled_leaves_nothing(void **state)
{
    (void)state;
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    LUA_APP(app, {.name = "a", .to = "out=sink", .script = WATCHER});
    lua_send_int(&app, "a", 1);
    lua_cancel(&app); /* before it is told */
    set_now(&app, 1, 0);
    lua_pump(&app);
    lua_send_int(&app, "a", 1);
    set_now(&app, 2, 0); /* told, but the message is still in the inbox */
    for (size_t i = 0; i < app.g->stage_count; i++)
        app.w->seats[i]->handler->ops->cancel(app.w->seats[i]->handler);
    lua_pump(&app);
    lua_send_int(&app, "a", 1);
    struct weir_shared_key k = weir_shared_key_string("k", 1);
    assert_true(weir_shared_table_expire(table_of(&app), &k, WEIR_NS_PER_S)); /* told, and queued still */
    for (size_t i = 0; i < app.g->stage_count; i++)
        app.w->seats[i]->handler->ops->cancel(app.w->seats[i]->handler);
    set_now(&app, 3, 0);
    lua_pump(&app);
    set_now(&app, 4, 0);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "");
    lua_close_app(&app); /* counts the memory */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_values_keep_their_types),
        TEST(test_add_incr_and_cas),
        TEST(test_times_to_live),
        TEST(test_mistakes_are_named),
        TEST(test_an_undeclared_table_is_refused_with_the_declared_ones),
        TEST(test_a_full_table_says_so),
        TEST(test_pairs_and_keys_see_everything_once),
        TEST(test_a_script_can_name_its_table_while_it_loads_but_not_use_it),
        TEST(test_stages_share_a_table),
        TEST(test_a_watch_ends_with_a_write),
        TEST(test_a_watch_ends_with_its_timeout_or_the_entry),
        TEST(test_a_watch_sees_a_write_that_follows_an_expire),
        TEST(test_a_watch_of_a_known_value_misses_nothing),
        TEST(test_a_watch_that_is_cancelled_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
