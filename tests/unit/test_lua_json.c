/* weir.json, and weir.log, which writes its fields with it. */
#include "lua_fixture.h"

static const char *eval(const char *expression)
{
    static char got[8192];
    LUA_APP(
        app,
        {.name = "a",
         .to = "out=sink",
         .script =
             "local weir = require 'weir'\nlocal json = weir.json\nlocal env = setmetatable({json = json, "
             "weir = weir}, {__index = _G})\n"
             "return function(s) local r = table.pack(pcall(assert(load('return ' .. s, '=e', 't', env))))\n"
             "  for i = 1, r.n do r[i] = tostring(r[i]) end weir.emit('out', table.concat(r, ' ', 2)) end"});
    lua_send_text(&app, "a", expression);
    snprintf(got, sizeof got, "%s", lua_arrived());
    lua_close_app(&app);
    size_t len = strlen(got);
    got[len > 1 ? len - 2 : 0] = '\0'; /* the quotes and the end of the line */
    return got + 1;
}

static void check_rows(const char *const (*rows)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *got = eval(rows[i][0]);
        if (strcmp(got, rows[i][1]) != 0)
            fail_msg("%s: expected %s, got %s", rows[i][0], rows[i][1], got);
    }
}

static void test_encode(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"json.encode(nil)", "null"},
        {"json.encode(1)", "1"},
        {"json.encode(1.0)", "1.0"},
        {"json.encode(0.1)", "0.1"},
        {"json.encode(1/3)", "0.3333333333333333"},
        {"json.encode(math.mininteger)", "-9223372036854775808"},
        {"json.encode{}", "{}"},
        {"json.encode(json.array())", "[]"},
        {"json.encode(json.array{1})", "[1]"},
        {"json.encode{1, 2, {3}}", "[1,2,[3]]"},
        {"json.encode{1, nil, 3}", "{\\\"1\\\":1,\\\"3\\\":3}"},
        {"json.encode{json.null}", "[null]"},
        {"json.encode{a = {true}}", "{\\\"a\\\":[true]}"},
        {"json.encode('\\n\"')", "\\\"\\\\n\\\\\\\"\\\""},
        {"json.encode(0/0)", "nil NaN and infinity have no JSON"},
        {"json.encode{a = {1, print}}", "nil a[2]: a function has no JSON"},
        {"json.encode('\\255')", "nil a string that is not UTF-8 has no JSON"},
        {"json.encode{[true] = 1}", "nil a key must be a string without NUL, or a number"},
        {"(function() local t = {} t.t = t return json.encode(t) end)():find('nested') or 'ok'",
         "e:1: attempt to index a nil value"},
        {"json.array(setmetatable({}, {}))", "e:1: weir.json.array: the table has a metatable already"},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void test_decode(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"json.decode('9007199254740993')", "9007199254740993"},
        {"math.type(json.decode('3'))", "integer"},
        {"math.type(json.decode('3.0'))", "float"},
        {"json.decode('\"a\\\\u0000b\"'):byte(2)", "0"},
        {"json.decode('[1,2]')[2]", "2"},
        {"json.decode('{\"a\":{\"b\":null}}').a.b == json.null", "true"},
        {"json.encode(json.decode('[]'))", "[]"},
        {"json.encode(json.decode('{}'))", "{}"},
        {"json.decode('{\"a\":1,}')", "nil line 1 column 8: string or '}' expected near '}'"},
        {"json.decode('')", "nil line 1 column 0: '[' or '{' expected near end of file"},
        {"json.decode('[1] x')", "nil line 1 column 5: end of file expected near 'x'"},
        {"json.decode('{\"a\":1,\"a\":2}')", "nil line 1 column 10: duplicate object key near '\\\"a\\\"'"},
        {"json.decode('99999999999999999999')",
         "nil line 1 column 20: too big integer near '99999999999999999999'"},
        {"json.decode(('['):rep(200) .. (']'):rep(200))", "nil nested deeper than 128 levels"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = eval(rows[i][0]);
        bool fails = strncmp(rows[i][1], "nil line", 8) == 0; /* the rest is the library's wording */
        if (strncmp(got, rows[i][1], fails ? 11 : sizeof "nil nested deeper") != 0)
            fail_msg("%s: expected %s, got %s", rows[i][0], rows[i][1], got);
    }
}

static void test_log_lines_have_their_fields(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .script = "local weir = require 'weir'\nreturn function(v)\n"
                            "weir.log.info('hello', {n = 1, list = {1, 2}}) weir.log.warn('odd', {f = "
                            "print}) weir.log.debug('not shown') weir.log.info('alone')\n"
                            "print('a', nil, 2) print() weir.log.error(7, {1, 2}) end"});
    int saved = log_begin();
    lua_send_int(&app, "a", 1);
    log_end(saved);
    assert_non_null(strstr(logged, "info  stage a: hello {\""));
    assert_non_null(strstr(logged, "\"list\":[1,2]"));
    assert_non_null(strstr(logged, "warn  stage a: odd {\"fields_error\":\".f: a function has no JSON\"}"));
    assert_non_null(strstr(logged, "info  stage a: alone\n"));
    assert_null(strstr(logged, "not shown"));
    assert_non_null(strstr(logged, "info  stage a: a\tnil\t2\n"));
    assert_non_null(strstr(logged, "error stage a: 7 {\"values\":[1,2]}\n"));
    lua_close_app(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_log_lines_have_their_fields),
    };
    return cmocka_run_group_tests_name("lua json", tests, NULL, NULL);
}
