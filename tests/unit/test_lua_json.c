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

/* What the reader does in several ways: strings with and without escapes, tables that are made at once or grow. */
static void test_decode_every_way(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"json.decode('\"J\\\\u00f6rg \\\\ud83d\\\\ude00 \\\\\\\\ \\\\/ \\\\n\"') == 'J\\u{f6}rg \\u{1f600} \\\\ / \\n'", "true"},
        {"json.decode('\"J\\u{f6}rg\"') == 'J\\u{f6}rg'", "true"},
        {"#json.decode('\"' .. ('\\\\t'):rep(100000) .. '\"')", "100000"},
        {"json.decode(' \\t\\r\\n[ 1 , -2 , {} , \"\" ] ')[2]", "-2"},
        {"json.decode('-9223372036854775808') == math.mininteger", "true"},
        {"json.decode('9223372036854775807') == math.maxinteger", "true"},
        {"json.decode('9223372036854775808'):find('64 bits')", "e:1: attempt to index a nil value"},
        {"json.decode('-0'), json.decode('-0.0')", "0 -0.0"},
        {"json.decode('1e2'), json.decode('2.5E-3'), json.decode('1e+22')", "100.0 0.0025 1e+22"},
        {"json.decode('0.30000000000000004') == 0.1 + 0.2", "true"},
        {"json.decode('4.9406564584124654e-324') == 0x1p-1074", "true"},
        {"json.decode('123456789012345678901234567890.5') == 123456789012345678901234567890.5", "true"},
        {"(function() local t = {} for i = 1, 1000 do t[i] = i end local u = json.decode(json.encode(t)) "
         "for i = 1, 1000 do assert(u[i] == i) end return #u end)()",
         "1000"},
        {"(function() local t = {} for i = 1, 1000 do t['key' .. i] = {i} end local u, n = json.decode(json.encode(t)), 0 "
         "for k, v in pairs(u) do assert(t[k][1] == v[1]) n = n + 1 end return n end)()",
         "1000"},
        {"(function() for n = 14, 36 do local t = {} for i = 1, n do t[i] = '\"k' .. i .. '\":' .. i end "
         "local u = json.decode('{' .. table.concat(t, ',') .. '}') for i = 1, n do assert(u['k' .. i] == i) end end return 'good' end)()",
         "good"},
        {"json.decode(('['):rep(128) .. (']'):rep(128)) ~= nil", "true"},
        {"(function() local t = {1} local text = json.encode{a = t, b = t} return #text end)()", "17"},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void test_what_is_no_json_is_told_with_its_place(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"json.decode('{\"a\":1,\\n \"b\" 2}')", "nil line 2 column 6: ':' must follow the key"},
        {"json.decode('[1 2]')", "nil line 1 column 4: ',' or ']' must follow an array's item"},
        {"json.decode('[\"\\u{e4}\", x]')",
         "nil line 1 column 7: a value must be a string, a number, an object, an array, true, false or null"},
        {"json.decode('tru')", "nil line 1 column 1: a value must be a string, a number, an object, an array, true, false or null"},
        {"json.decode(' ')", "nil line 1 column 2: the text ends where a value must be"},
        {"json.decode('01')", "nil line 1 column 1: a number must not begin with 0"},
        {"json.decode('1.')", "nil line 1 column 3: a digit must follow the point"},
        {"json.decode('1e')", "nil line 1 column 3: a digit must follow the exponent's sign"},
        {"json.decode('-')", "nil line 1 column 1: a digit must follow the minus"},
        {"json.decode('1e999')", "nil line 1 column 1: a number that is larger than any double"},
        {"json.decode('\"abc')", "nil line 1 column 5: the text ends inside a string"},
        {"json.decode('\"a\\nb\"')", "nil line 1 column 3: a control character in a string must be escaped"},
        {"json.decode('\"a\\0\"')", "nil line 1 column 3: a control character in a string must be escaped"},
        {"json.decode('\"\\xc3\"')", "nil line 1 column 2: bytes that are not UTF-8"},
        {"json.decode('\"\\\\x\"')", "nil line 1 column 2: there is no such escape in JSON"},
        {"json.decode('\"\\\\u12g4\"')", "nil line 1 column 2: four hexadecimal digits must follow \\\\u"},
        {"json.decode('\"\\\\ud800\"')", "nil line 1 column 2: half of a surrogate pair is no character"},
        {"json.decode('{\"a\\\\u0000\":1}')", "nil line 1 column 2: a key can't have a NUL in it"},
        {"json.decode('{\"a\":1,}')", "nil line 1 column 8: a key must follow the comma"},
        {"json.decode('{1:2}')", "nil line 1 column 2: a key must be a string in quotes"},
        {"json.decode('{\"' .. ('k'):rep(50) .. '\":1,\"' .. ('k'):rep(50) .. '\":1}')",
         "nil line 1 column 57: a key that was there already in this object"},
        {"(function() local t = {} for i = 1, 40 do t[i] = '\"k' .. i .. '\":' .. i end t[41] = '\"k3\":1' "
         "return select(2, json.decode('{' .. table.concat(t, ',') .. '}')):match(': (.*)') end)()",
         "a key that was there already in this object"},
        {"json.decode(7)", "e:1: weir.json.decode: the text must be a string, it is a number"},
        {"select(2, pcall(json.decode))", "weir.json.decode: the text must be a string, nothing was given"},
        {"select(2, pcall(json.array, 1))", "weir.json.array: it takes a table, this is a number"},
        {"select(2, pcall(json.encode))", "weir.json.encode: no value was given (nil is one)"},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

/* The text is put together in host memory, which is the VM's: what does not fit ends the call, and the next has room again. */
static void test_the_text_counts_as_memory(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .memory = 4 << 20,
                  .script = "local weir = require 'weir'\nreturn function(n)\n"
                            "  local s = ('x'):rep(100000)\n"
                            "  local t = {} for i = 1, n do t[i] = s end\n"
                            "  weir.emit('out', #weir.json.encode(t)) end"});
    int saved = log_begin();
    lua_send_int(&app, "a", 1000);
    log_end(saved);
    assert_non_null(strstr(logged, "not enough memory"));
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.reasons[WEIR_REASON_MEMORY]), 1);
    lua_send_int(&app, "a", 10);
    assert_string_equal(lua_arrived(), "1000031\n");
    lua_close_app(&app);
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
        cmocka_unit_test(test_decode_every_way),
        cmocka_unit_test(test_what_is_no_json_is_told_with_its_place),
        cmocka_unit_test(test_the_text_counts_as_memory),
        cmocka_unit_test(test_log_lines_have_their_fields),
    };
    return cmocka_run_group_tests_name("lua json", tests, NULL, NULL);
}
