/* Requests: reading, answering, moving, streaming. */
#include "lua_fixture.h"

static void test_a_request_is_read(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=sink",
             .script =
                 "local weir = require 'weir'\nreturn function(r)\n"
                 "  local names = {} for k, v in pairs(r.headers) do names[#names + 1] = k .. '=' .. v end\n"
                 "  weir.emit('out', {r.method, r.path, r.query, r.target, r.version, r.headers.Host, "
                 "r.headers['X-COUNT'], r.headers.none == nil,\n"
                 "    r.body, r.remote, r.id, r.class, r:age() >= 0, r:alive(), table.concat(names, ' '), "
                 "tostring(r)})\n"
                 "  r:reply(204)\nend"});
    lua_send_request(&app, "a", fake_request("body", false));
    assert_string_equal(lua_arrived(),
                        "[\"GET\",\"/a%20b\",\"q=1\",\"/"
                        "a%20b?q=1\",\"1.1\",\"example.org\",\"3\",true,\"body\",\"127.0.0.1:5\",77,"
                        "\"normal\",true,true,\"host=example.org x-count=3\",\"request GET /a%20b?q=1\"]\n");
    assert_int_equal(seen.status, 204);
    lua_close_app(&app);
}

/* Each row: what the handler does with `r`; the status, the end of the message it raises, "" for none. */
static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int status;
        const char *seen_body, *error;
    } rows[] = {
        {"r:reply(200, 'hi')", 200, "hi", ""},
        {"r:reply(200, {a = 'b'}, 'hi')", 200, "hi", ""},
        {"r:reply(200, nil, 5)", 200, "5", ""},
        {"r:reply{body = 'x'}", 200, "x", ""},
        {"r:reply{status = 404, headers = {A = 1}, body = 'x'}", 404, "x", ""},
        {"r:reply{file = 'a/b.txt'}", 200, "", ""},
        {"r:reply(200) r:reply(200)", 200, "", "reply: the request was answered already"},
        {"r:reply(200) return r.path", 200, "", "path: the request was answered already"},
        {"r:reply(99)", 0, "", "reply: the status must be 200 to 999, it is 99"},
        {"r:reply('200')", 0, "", "reply: the status must be an integer, it is a string"},
        {"r:reply(200, {}, {})", 0, "",
         "reply: the body must be a string, it is a table (weir.json.encode makes text of a table)"},
        {"r:reply(200, {a = {}, b = true})", 0, "",
         "reply: header 'b' must be a string, a number or a list of them, it is a boolean"},
        {"r:reply(200, {a = 'x\\ny'})", 0, "", "reply: header 'a': a line break"},
        {"r:reply{stauts = 1}", 0, "", "reply: there is no 'stauts'; it takes status, headers, body, file"},
        {"r:reply{file = 'a', body = 'b'}", 0, "", "reply: body and file can't be given together"},
        {"r.path = 1", 0, "", "a request's 'path' can't be set; what travels along goes into req.vars"},
        {"r.headers.x = 1", 0, "",
         "the headers of a request can't be changed; give those of the answer to req:reply"},
        {"return r.paht", 0, "", "a request has no 'paht'"},
        {"r.vars.x = print require 'weir'.emit('out', r)", 0, "", "req.vars.x: a function can't be sent"},
        {"r.vars = {r} require 'weir'.emit('out', r)", 0, "", "req.vars: a request can't be sent in vars"},
        {"require 'weir'.emit('both', r)", 0, "",
         "weir.emit: a request can't be sent to 'both', which goes to several stages"},
        {"require 'weir'.emit('out', {r, r})", 0, "", "event[2]: only one request can be sent with an event"},
        {"getmetatable(r).x = 1", 0, "", "attempt to index a boolean value"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char script[500];
        snprintf(script, sizeof script,
                 "local weir = require 'weir'\nreturn function(r) local _, why = pcall(function() %s end) "
                 "weir.emit('log', tostring(why)) end",
                 rows[i].body);
        LUA_APP(app, {.name = "a", .script = script, .to = "out=b log=sink both=b,sink"},
                {.name = "b", .script = "return print"});
        lua_send_request(&app, "a", fake_request("", false));
        const char *got = lua_arrived();
        if (seen.status != rows[i].status || strcmp(seen.body, rows[i].seen_body) != 0 ||
            strstr(got, rows[i].error) == NULL)
            fail_msg("%s: status %d, body %s, %s", rows[i].body, seen.status, seen.body, got);
        assert_int_equal(seen.ended, rows[i].status == 0 ? WEIR_REQUEST_UNANSWERED : -1);
        assert_int_equal(seen.live, 0);
        lua_close_app(&app);
    }
}

static void test_a_request_moves(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=b",
             .script = "local weir = require 'weir'\n"
                       "return function(req)\n"
                       "  req.vars.user = 'ann' assert(weir.emit('out', {page = 1, req = req}))\n"
                       "  why = select(2, pcall(function() return req.path end)) end"},
            {.name = "b",
             .script = "return function(e) e.req:reply(200, {['X-Path'] = e.req.path, n = 7, list = {'a', "
                       "2}}, e.req.vars.user) end"});
    lua_send_request(&app, "a", fake_request("", false));
    assert_int_equal(seen.status, 200);
    assert_string_equal(seen.body, "ann");
    assert_non_null(strstr(seen.headers, "X-Path: /a%20b\n"));
    assert_non_null(strstr(seen.headers, "n: 7\n"));
    assert_non_null(strstr(seen.headers, "list: a\nlist: 2\n"));
    assert_int_equal(seen.ended, -1);
    assert_int_equal(seen.live, 0);
    lua_close_app(&app);
}

static void test_a_refused_request_stays_with_its_sender(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=sink",
             .script =
                 "local weir = require 'weir'\nreturn function(req) local ok, why = weir.emit('out', {req})\n"
                 "  if req.query == 'q=1' then req:reply(503, why) end end"});
    weir_graph_stage(app.g, "sink")->queue.capacity = 0;
    lua_send_request(&app, "a", fake_request("", false));
    assert_int_equal(seen.status, 503);
    assert_string_equal(seen.body, "full");
    lua_close_app(&app);
}

static void test_a_request_is_of_no_use_after_its_call(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nlocal kept, headers\nreturn function(r)\n"
                            "  if r == 1 then weir.emit('out', {select(2, pcall(function() return kept.path "
                            "end)), select(2, pcall(kept.reply, kept, 200)),\n"
                            "    select(2, pcall(function() return headers.host end)), tostring(kept), "
                            "(select(2, pcall(weir.emit, 'out', kept)))})\n"
                            "  else kept, headers = r, r.headers end\nend"});
    lua_send_request(&app, "a", fake_request("", false));
    assert_int_equal(seen.ended, WEIR_REQUEST_UNANSWERED);
    lua_send_int(&app, "a", 1);
    const char *got = lua_arrived();
    assert_int_equal(count_of(got, "the request is over: the call that had it has ended"), 5);
    lua_close_app(&app);
}

/* The same call handles both events, and the second has a request too: what was kept from the first is another handle. */
static void test_a_kept_request_never_stands_for_a_later_one(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nlocal kept, headers\nreturn function(r)\n"
                            "  if not kept then kept, headers = r, r.headers return r:reply(200) end\n"
                            "  weir.emit('out', {kept == r, headers == r.headers, select(2, pcall(kept.reply, kept, 201)),\n"
                            "    select(2, pcall(function() return headers.host end)), tostring(kept)})\n"
                            "  r:reply(202)\nend"});
    lua_send_request(&app, "a", fake_request("", false));
    lua_send_request(&app, "a", fake_request("", false));
    const char *got = lua_arrived();
    assert_int_equal(strncmp(got, "[false,false,", 13), 0);
    assert_int_equal(count_of(got, "the request is over: the call that had it has ended"), 3);
    assert_int_equal(seen.status, 202);
    assert_int_equal(seen.live, 0);
    lua_close_app(&app);
}

/* All of them are light userdata, and have one metatable. */
static void test_other_light_userdata_are_no_requests(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nlocal null = weir.json.null\nreturn function(r)\n"
                            "  local function why(f, ...) return select(2, pcall(f, ...)) end\n"
                            "  weir.emit('out', {why(function() return null.x end), why(function() null.x = 1 end), why(pairs, null), "
                            "why(pairs, r), why(r.reply, null), tostring(null):match '^userdata: ' ~= nil})\n  r:reply(200)\nend"});
    lua_send_request(&app, "a", fake_request("", false));
    const char *got = lua_arrived();
    assert_int_equal(count_of(got, "attempt to index weir.json.null"), 2);
    assert_non_null(strstr(got, "pairs: a table expected, this is a light userdata"));
    assert_non_null(strstr(got, "pairs: a table expected, this is a request"));
    assert_non_null(strstr(got, "req:reply needs a request, this is a userdata"));
    assert_non_null(strstr(got, ",true]\n"));
    lua_close_app(&app);
}

/* Batches that grow: the call gets new places, and what was kept from the old ones is over. Tables hash the low half of a handle, so requests
 * of one call differ there. */
static void test_requests_of_batches(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nlocal kept, seen = {}, {}\nreturn {handle_batch = function(evs)\n"
                            "  for _, r in ipairs(kept) do assert(select(2, pcall(r.reply, r, 500)):find 'is over') end\n"
                            "  for i = 1, evs.n do\n    local r = evs[i]\n"
                            "    assert(not kept[r] and r == evs[i])\n    kept[#kept + 1], kept[r] = r, true\n"
                            "    local low = ('%p'):format(r):sub(-8)\n    assert(not seen[low] and r.path == '/a%20b')\n"
                            "    seen[low] = true\n"
                            "    if i % 2 == 0 then r:reply(200 + i) end\n  end\n"
                            "  if evs.n == 9 then weir.emit('out', #kept) end\nend}"});
    static const int sizes[] = {1, 3, 2, 9};
    const struct weir_value held = {.kind = WEIR_VALUE_REQUEST};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int k = 0; k < sizes[i]; k++)
            assert_int_equal(lua_offer(&app, "a", held, fake_request("", false)), WEIR_VERDICT_ACCEPTED);
        lua_pump(&app);
        assert_int_equal(seen.live, 1 - sizes[i]); /* each new one sets it to 1 */
    }
    assert_string_equal(lua_arrived(), "15\n");
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.failed), 0);
    lua_close_app(&app);
}

static void test_a_failed_call_leaves_its_request_to_the_host(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a", .script = "return function(r) error('x') end"});
    int saved = log_begin();
    lua_send_request(&app, "a", fake_request("", false));
    log_end(saved);
    assert_int_equal(seen.ended, WEIR_REQUEST_FAILED);
    lua_close_app(&app);
}

static void test_a_stream_waits_for_its_client(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nreturn function(r)\n"
                            "  local s = r:start(200, {['Content-Type'] = 'text/plain'})\n"
                            "  weir.emit('out', {s:write('a'), s:write('b')})\n"
                            "  weir.emit('out', {s:write('c')})\n"
                            "  weir.emit('out', {s:close(), s:write('d')})\nend"});
    struct weir_request *r = fake_request("", false);
    seen.slow_after = 1;
    lua_send_request(&app, "a", r);
    assert_string_equal(lua_arrived(), "");
    seen.slow_after = 0;
    fake_wait_ends(WEIR_OK, NULL);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "[true,true]\n");
    fake_wait_ends(WEIR_E_TIMEOUT, NULL);
    lua_pump(&app);
    assert_string_equal(lua_arrived(), "{\"2\":\"timeout\"}\n{\"1\":true,\"3\":\"closed\"}\n");
    assert_string_equal(seen.streamed, "abc");
    assert_int_equal(seen.closed, 1);
    lua_close_app(&app);
}

static void test_a_stream_left_open_is_cut(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "local s <close> = r:start(200) s:write('a')",
        "r:start(200):write('a') collectgarbage()",
        "pcall(function() local s <close> = r:start(200) error('x') end)",
        "kept = r:start(200) kept:write('a')",
        "kept = r:start(200) kept:write('a') error('x')",
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char script[200];
        snprintf(script, sizeof script, "return function(r) %s end", ways[i]);
        LUA_APP(app, {.name = "a", .script = script});
        lua_send_request(&app, "a", fake_request("", false));
        assert_int_equal(seen.closed, 0);
        lua_close_app(&app);
    }
}

static void test_closing_a_stream_that_was_cut_says_so(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nlocal kept\nreturn function(r)\n"
                            "  if not kept then kept = r:start(200) return end\n"
                            "  local s = r:start(200)\n"
                            "  weir.emit('out', {select('#', kept:close()), select(2, kept:close()),"
                            " s:close(), s:close()}) end"});
    lua_send_request(&app, "a", fake_request("", false));
    lua_send_request(&app, "a", fake_request("", false));
    assert_string_equal(lua_arrived(), "[2,\"closed\",true,true]\n");
    lua_close_app(&app);
}

static void test_streams_left_open_are_told_once_a_second(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a", .script = "return function(r) r:start(200):write('a') end"});
    weir_clock_set_virtual(100 * WEIR_NS_PER_S);
    int saved = log_begin();
    for (int i = 0; i < 5; i++)
        lua_send_request(&app, "a", fake_request("", false));
    weir_clock_set_virtual(102 * WEIR_NS_PER_S);
    lua_send_request(&app, "a", fake_request("", false));
    log_end(saved);
    weir_clock_set_virtual(0);
    assert_int_equal(count_of(logged, "a.lua:1: a handler returned without stream:close()"), 2);
    assert_non_null(strstr(logged, "stage a: "));
    assert_non_null(strstr(logged, "\"left_out\":4"));
    lua_close_app(&app);
}

static void test_a_cancelled_writer_has_its_stream_cut(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a", .script = "return function(r) local s = r:start(200) s:write('a') end"});
    struct weir_request *r = fake_request("", false);
    seen.slow_after = 0;
    lua_send_request(&app, "a", r);
    assert_non_null(seen.waiting);
    lua_cancel(&app);
    assert_int_equal(seen.closed, 0);
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.reasons[WEIR_REASON_CANCELLED]), 1);
    lua_close_app(&app);
}

static void test_a_streamed_body_is_read_in_chunks(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\nreturn function(r) local all = {} for chunk in "
                            "r.read, r do all[#all + 1] = chunk end\n"
                            "  r:reply(200, table.concat(all, '|')) end"});
    lua_send_request(&app, "a", fake_request("", true));
    fake_wait_ends(WEIR_OK, "one");
    fake_wait_ends(WEIR_OK, "two");
    fake_wait_ends(WEIR_OK, NULL);
    assert_string_equal(seen.body, "one|two");
    lua_send_request(&app, "a", fake_request("whole", false));
    assert_string_equal(seen.body, "whole");
    lua_send_request(&app, "a", fake_request("", true));
    lua_cancel(&app);
    assert_null(seen.waiting);
    assert_int_equal(seen.ended, WEIR_REQUEST_DROPPED);
    lua_close_app(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_read),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_request_moves),
        cmocka_unit_test(test_a_refused_request_stays_with_its_sender),
        cmocka_unit_test(test_a_request_is_of_no_use_after_its_call),
        cmocka_unit_test(test_a_kept_request_never_stands_for_a_later_one),
        cmocka_unit_test(test_other_light_userdata_are_no_requests),
        cmocka_unit_test(test_requests_of_batches),
        cmocka_unit_test(test_a_failed_call_leaves_its_request_to_the_host),
        cmocka_unit_test(test_a_stream_waits_for_its_client),
        cmocka_unit_test(test_a_stream_left_open_is_cut),
        cmocka_unit_test(test_closing_a_stream_that_was_cut_says_so),
        cmocka_unit_test(test_streams_left_open_are_told_once_a_second),
        cmocka_unit_test(test_a_cancelled_writer_has_its_stream_cut),
        cmocka_unit_test(test_a_streamed_body_is_read_in_chunks),
    };
    return cmocka_run_group_tests_name("request_ud", tests, NULL, NULL);
}
