/* What scripts may reach with `libs: safe`, with a list, with all; require. */
#include "lua_fixture.h"

/* Runs `return <expression>` in a stage with `lib` and gives what it came to, as JSON. */
static const char *eval(const char *lib, const char *expression)
{
    static char got[8192];
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .lib = lib,
                  .script =
                      "local weir = require 'weir'\nlocal env = setmetatable({weir = weir}, {__index = _G})\n"
                      "return function(s) local ok, v = pcall(function() return assert(load('return ' .. s, "
                      "'=e', 't', env))() end)\n"
                      "  if type(v) == 'function' then v = 'function' end weir.emit('out', v) end"});
    lua_write(&app, "util.lua", "return {name = ...}");
    lua_write(&app, "quiet.lua", "x = 1");
    lua_write(&app, "loop.lua", "return require 'loop'");
    lua_write(&app, "bad.lua", "local x =");
    lua_write(&app, "raises.lua", "tries = (tries or 0) + 1 error('raised ' .. tries)");
    char command[128];
    snprintf(command, sizeof command, "mkdir %s/pack", app.folder);
    assert_int_equal(system(command), 0);
    lua_write(&app, "pack/init.lua", "return 'init'");
    lua_write(&app, "pack/part.lua", "coroutine.wrap(function() coroutine.yield() end)() return 'part'");
    lua_send_text(&app, "a", expression);
    snprintf(got, sizeof got, "%s", lua_arrived());
    lua_close_app(&app);
    return got;
}

struct row {
    const char *lib, *expression, *want; /* `want` is part of it */
};

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *got = eval(rows[i].lib, rows[i].expression);
        if (strstr(got, rows[i].want) == NULL)
            fail_msg("%s with %s: expected %s, got %s", rows[i].expression, rows[i].lib, rows[i].want, got);
    }
}

static void test_what_scripts_may_reach(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"safe", "io.open", "io.open is not in libs: safe"},
        {"safe", "os.execute('true')", "os.execute is not in libs: safe"},
        {"safe", "os.getenv", "os.getenv is not in libs: safe"},
        {"safe", "type(os.time())", "\"number\""},
        {"safe", "type(os.date())", "\"string\""},
        {"safe", "debug.sethook", "debug.sethook is not in libs: safe"},
        {"safe", "type(debug.traceback())", "\"string\""},
        {"safe", "package.path", "package.path is not in libs: safe"},
        {"safe", "dofile('x')", "dofile is not in libs: safe"},
        {"safe", "loadfile('x')", "loadfile is not in libs: safe"},
        {"safe", "string.dump(print)", "string.dump is not in libs: safe"},
        {"safe", "('x').dump", "string.dump is not in libs: safe"},
        {"safe", "load('return 7')()", "7"},
        {"safe", "load('return x', 'n', 't', {x = 8})()", "8"},
        {"safe", "load('return 7', 'n', 'b')", "load: only text can be loaded"},
        {"safe", "select(2, load('\\27Lua'))", "attempt to load a binary chunk"},
        {"safe", "select(2, load('\\27Lua', 'n', 'bt'))", "attempt to load a binary chunk"},
        {"safe", "setmetatable({}, {__gc = print})", "__gc is not in libs: safe"},
        {"safe", "getmetatable('')", "false"},
        {"safe", "collectgarbage('count') > 0", "true"},
        {"safe", "collectgarbage('generational')", "is not in libs: safe (count"},
        {"safe", "require('os').execute", "os.execute is not in libs: safe"},
        {"safe", "rawequal(require 'string', string)", "true"},
        {"safe", "utf8.char(8364)", "\xe2\x82\xac"},
        {"all", "io.open", "\"function\""},
        {"all", "debug.sethook", "\"function\""},
        {"all", "type(package.path)", "\"string\""},
        {"all", "select(2, load('\\27Lua'))", "attempt to load a binary chunk"},
        {"all", "dofile", "\"function\""},
        {"all", "getmetatable('').__index == string", "true"},
        {"all", "(setmetatable({}, {__gc = print}) and 1)", "1"},
        {"io", "io.open", "\"function\""},
        {"io", "os.time", "os.time is not in libs: its list"},
        {"io", "table.concat", "table.concat is not in libs: its list"},
        {"io", "coroutine.wrap", "\"function\""},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void test_require(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"safe", "require('util').name", "\"util\""},
        {"safe", "require('util') == require('util')", "true"},
        {"safe", "require 'quiet'", "true"},
        {"safe", "require 'pack'", "\"init\""},
        {"safe", "require 'pack.part'", "\"part\""},
        {"safe", "require('weir') == weir", "true"},
        {"safe", "require 'loop'", "'loop' requires itself"},
        {"safe", "require 'bad'", "bad.lua:1: unexpected symbol near <eof>"},
        {"safe", "require 'gone'", "there is no module 'gone': neither "},
        {"safe", "require '../x'", "is no module's name"},
        {"safe", "require 'a..b'", "is no module's name"},
        {"safe", "require '.x'", "is no module's name"},
        {"safe", "require ''", "is no module's name"},
        {"safe", "pcall(require, 'raises') or select(2, pcall(require, 'raises'))", "raised 2"},
        {"all", "require('util').name", "\"util\""},
        {"all", "require('string') == string", "true"},
        {"all", "require 'gone'", "there is no module 'gone'"},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void test_an_unknown_library_is_named(void **state)
{
    (void)state;
    const char *lib = "sting";
    struct weir_lua_options o = {
        .file = "x.lua", .folder = ".", .libs = &lib, .lib_count = 1, .memory = 1 << 20};
    struct weir_err err;
    assert_int_equal(weir_lua_check(&o, &err), WEIR_E_CONFIG);
    assert_non_null(strstr(err.text, "there is no library 'sting'; there are safe, all"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_scripts_may_reach),
        cmocka_unit_test(test_require),
        cmocka_unit_test(test_an_unknown_library_is_named),
    };
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
