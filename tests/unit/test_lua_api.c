/* weir.emit of events, weir.meta, weir.stage, weir.queue. */
#include <math.h>

#include "lua_fixture.h"

static void test_an_unknown_port_is_named_with_the_known_ones(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "page=sink file=sink",
             .script =
                 "local weir = require 'weir'\n"
                 "return function(e) local _, why = pcall(weir.emit, 'pgae', e) weir.emit('page', why) end"});
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(),
                        "\"weir.emit: stage 'a' has no port 'pgae'; its ports are 'page', 'file'\"\n");
    lua_close_app(&app);
}

static void test_a_full_queue_answers_full(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=b log=sink",
             .script = "local weir = require 'weir'\nreturn function() for i = 1, 3 do weir.emit('log', "
                       "{weir.emit('out', i)}) end end"},
            {.name = "b", .capacity = 2, .script = "return function() end"});
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), "[true]\n[true]\n{\"2\":\"full\"}\n");
    lua_close_app(&app);
}

static void test_meta_tells_of_the_event(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=b",
             .script =
                 "local weir = require 'weir'\n"
                 "return function(v) weir.emit('out', v, {class = 'gold', deadline = 10, key = 'k'}) end"},
            {.name = "b",
             .to = "out=sink",
             .script = "local weir = require 'weir'\nreturn function(v) local m = weir.meta()\n"
                       "weir.emit('out', {m.class, m.deadline > 9 and m.deadline <= 10, m.key, "
                       "m.source, m.age >= 0, math.type(m.id)}) end"});
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), "[\"gold\",true,\"k\",0,true,\"integer\"]\n");
    lua_close_app(&app);
}

static void test_wrong_arguments_are_named_through_pcall_too(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"weir.emit", "weir.emit: the port must be a string, nothing was given"},
        {"weir.emit, 3", "weir.emit: the port must be a string, it is a number"},
        {"weir.emit, 'out', 1, {class = 1}", "weir.emit: the class must be a string, it is a number"},
        {"weir.emit, 'out', 1, {class = 'x'}", "weir.emit: there is no class 'x'"},
        {"weir.queue", "weir.queue: the stage must be a string, nothing was given"},
        {"weir.queue, 1", "weir.queue: the stage must be a string, it is a number"},
        {"weir.log.info", "weir.log: no message was given"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char script[300];
        snprintf(script, sizeof script,
                 "local weir = require 'weir'\nreturn function()\n"
                 "weir.emit('out', select(2, pcall(%s))) end",
                 rows[i][0]);
        LUA_APP(app, {.name = "a", .to = "out=sink", .script = script});
        lua_send_int(&app, "a", 1);
        const char *got = lua_arrived();
        if (strstr(got, rows[i][1]) == NULL)
            fail_msg("%s: got %s", rows[i][0], got);
        lua_close_app(&app);
    }
}

static void test_a_stage_reads_its_own_load(void **state)
{
    (void)state;
    LUA_APP(
        app,
        {.name = "a",
         .to = "out=sink",
         .script =
             "local weir = require 'weir'\nreturn function(v) local s, q = weir.stage(), weir.queue('sink')\n"
             "local _, why = pcall(weir.queue, 'snk')\n"
             "weir.emit('out', {s.stage, s.capacity, s.running, s.handled, s.wait_p99 >= 0, q.stage, "
             "q.depth, why, s.admission.refused, s.admission.overloaded, s.admission.rate == nil, s.admission.limit == nil}) end"});
    lua_send_int(&app, "a", 1);
    assert_string_equal(lua_arrived(), "[\"a\",1024,1,0,true,\"sink\",0,\"weir.queue: there is no stage "
                                       "'snk'; the stages are 'a', 'sink', 'host'\",0,false,true,true]\n");
    lua_close_app(&app);
}

static void test_a_stage_reads_what_its_gate_lets_in(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink b=b",
                  .script = "local weir = require 'weir'\nreturn function(v)\n"
                            "  local _, why = weir.emit('b', v)\n"
                            "  local a = weir.queue('b').admission\n"
                            "  weir.emit('out', {why or 'ok', a.rate or 'any', a.limit or 'any', a.refused, a.overloaded, "
                            "a.classes.gold.refused, a.classes.normal.refused, a.classes.normal.rate or 'any'})\nend"},
            {.name = "b", .script = "return function() end", .gated = true});
    struct weir_gate *gate = weir_graph_stage(app.g, "b")->gate;
    struct weir_gate_bounds b = {.rate = {INFINITY, 0.5}, .burst = 1, .limit = 7, .shed_after_s = INFINITY};
    lua_send_int(&app, "a", 1);
    weir_gate_set(gate, &b, app.w->now_ns);
    lua_send_int(&app, "a", 2);
    b.rate[0] = 8;
    b.overloaded = true;
    weir_gate_set(gate, &b, app.w->now_ns);
    lua_send_int(&app, "a", 3);
    assert_string_equal(lua_arrived(), "[\"ok\",\"any\",\"any\",0,false,0,0,\"any\"]\n"
                                       "[\"ok\",\"any\",7.0,0,false,0,0,0.5]\n"
                                       "[\"rejected\",8.5,7.0,1,true,0,1,0.5]\n");
    lua_close_app(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_unknown_port_is_named_with_the_known_ones),
        cmocka_unit_test(test_a_full_queue_answers_full),
        cmocka_unit_test(test_meta_tells_of_the_event),
        cmocka_unit_test(test_wrong_arguments_are_named_through_pcall_too),
        cmocka_unit_test(test_a_stage_reads_its_own_load),
        cmocka_unit_test(test_a_stage_reads_what_its_gate_lets_in),
    };
    return cmocka_run_group_tests_name("lua_api", tests, NULL, NULL);
}
