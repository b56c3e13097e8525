/* What scripts may reach with `libs: safe`, with a list, with all; require. */
#include "lua_fixture.h"

/* Runs `return <expression>` in a stage with `lib` and gives what it came to, as JSON. */
static const char *eval(const char *lib, const char *expression)
{
    static char got[8192];
    LUA_APP(app,
            {.name = "a",
             .to = "out=sink",
             .lib = lib,
             .script = "local weir = require 'weir'\nlocal _, path = pcall(function() return "
                       "debug.traceback():match('(/tmp/weir%-lua%-%w+)') end)\n"
                       "local env = setmetatable({weir = weir, path = path}, {__index = _G})\n"
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
    lua_write(&app, "code.lua", "\033LuaT");
    lua_write(&app, "outside.bin", "\033LuaT");
    lua_write(&app, "outside.txt", "return 'from text'");
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

/* Says of all rows that are not as expected what they are. */
static void check_rows(const struct row *rows, size_t n)
{
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        const char *got = eval(rows[i].lib, rows[i].expression);
        if (strstr(got, rows[i].want) == NULL) {
            print_error("%s with %s: expected %s, got %s\n", rows[i].expression, rows[i].lib, rows[i].want,
                        got);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
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
        {"io", "os.time", "os.time is not in libs: [io]; name it there"},
        {"io", "table.concat", "table.concat is not in libs: [io]"},
        {"io", "coroutine.wrap", "\"function\""},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

static void test_what_is_missing_names_what_to_use(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"safe", "io.open('x')", "io.open is not in libs: safe; use weir.fs.read"},
        {"safe", "io.read()", "io.read is not in libs: safe; use a stage with `source: stdin`"},
        {"safe", "io.popen('ls')", "io.popen is not in libs: safe; use weir.spawn"},
        {"safe", "os.execute('true')", "os.execute is not in libs: safe; use weir.spawn (libs: all)"},
        {"safe", "os.getenv('HOME')",
         "os.getenv is not in libs: safe; use `config:` of the stage with ${NAME}"},
        {"safe", "os.exit(3)", "os.exit is not in libs: safe; raise an error"},
        {"safe", "os.remove('x')", "os.remove is not in libs: safe; use weir.fs.remove"},
        {"safe", "os.rename('x', 'y')", "os.rename is not in libs: safe; use weir.fs.rename"},
        {"safe", "os.tmpname()", "os.tmpname is not in libs: safe; use weir.fs.write"},
        {"safe", "os.setlocale('C')", "os.setlocale is not in libs: safe; it would be the whole process's"},
        {"safe", "debug.getregistry()",
         "debug.getregistry is not in libs: safe; of it there is debug.traceback"},
        {"safe", "package.loadlib('x', '*')",
         "package.loadlib is not in libs: safe; native code is a stage with `plugin:`"},
        {"safe", "package.loaded", "package.loaded is not in libs: safe; require looks beneath"},
        {"safe", "dofile('x')", "dofile is not in libs: safe; use require"},
        {"safe", "string.dump(print)", "string.dump is not in libs: safe; bytecode is not loaded either"},
        {"safe", "string.trim == nil and ('x').trim == nil", "true"},
        {"safe", "require 'socket'", "; use weir.tcp"},
        {"safe", "require 'socket.http'", "; use weir.http"},
        {"safe", "require 'cjson'", "; use weir.json"},
        {"safe", "require 'lfs'", "; use weir.fs"},
    };
    check_rows(rows, sizeof rows / sizeof rows[0]);
}

/* How scripts got out of the sandboxes of Redis, HAProxy, nginx-lua, LuaSandbox, Factorio, Roblox, World of
 * Warcraft and others, or took the process with them. A row is the body of a function. */
static void check_bodies(const struct row *rows, size_t n)
{
    char expression[1024];
    size_t wrong = 0;
    for (size_t i = 0; i < n; i++) {
        snprintf(expression, sizeof expression, "(function() %s end)()", rows[i].expression);
        const char *got = eval(rows[i].lib, expression);
        if (strstr(got, rows[i].want) == NULL) {
            print_error("%s with %s: expected %s, got %s\n", rows[i].expression, rows[i].lib, rows[i].want,
                        got);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void test_known_escapes_by_shared_tables_and_metatables(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"safe", "getmetatable('').__index = {}",
         "attempt to index a boolean value"}, /* Redis CVE-2025-46818 */
        {"safe", "getmetatable('').__add = print", "attempt to index a boolean value"},
        {"safe", "setmetatable(string, {})", "cannot change a protected metatable"},
        {"safe", "weir.emit = nil", "weir.emit can't be set: weir is the host's, and read-only"},
        {"safe", "weir.new = 1", "weir.new can't be set"},
        {"safe", "weir.json.encode = nil", "weir.json.encode can't be set: weir.json is the host's"},
        {"safe", "rawset(weir, 'emit', print)", "rawset: the table is the host's"},
        {"safe", "rawset(weir.json, 'encode', print)", "rawset: the table is the host's"},
        {"safe", "setmetatable(weir, {})", "cannot change a protected metatable"},
        {"safe", "return getmetatable(weir)", "false"},
        {"safe", "table.insert(weir, 1)", "can't be set"},
        {"safe", "table.move({1}, 1, 1, 1, weir)", "can't be set"},
        {"safe", "local f, t = pairs(weir) t.emit = nil", "weir.emit can't be set"},
        {"safe", "local n = 0 for k, v in pairs(weir) do n = n + 1 end return n > 5 and next(weir) == nil",
         "true"},
        {"safe", "local seen for k in pairs(weir.json) do seen = seen or k == 'decode' end return seen",
         "true"},
        {"all", "weir.emit = nil", "weir.emit can't be set"},
        {"safe", "return getmetatable(weir.json.array{})", "false"},
        {"safe", "getmetatable(weir.json.array{}).__gc = print", "attempt to index a boolean value"},
        {"safe", "local e = {} local f = load('return getmetatable, string', 'n', 't', e) return f() == nil",
         "true"},
        {"safe", "local f = load('x = 1 return _ENV', 'n', 't', {}) return f().x == 1 and x == nil", "true"},
        {"safe", "setmetatable(_G, {__index = function(_, k) return k end}) return nothing_there",
         "\"nothing_there\""}, /* its own VM's */
        {"safe", "string.find = nil return ('x'):rep(2)", "\"xx\""},
        {"safe", "local t = require 'string' t.dump = 1 return string.dump", "1"},
        {"safe",
         "return rawget(io, 'open') == nil and rawget(package, 'loaded') == nil and rawget(debug, 'sethook') "
         "== nil",
         "true"},
        {"safe", "rawset(os, 'execute', 1) return os.execute", "1"},
        {"safe", "setmetatable(package, {__index = function() end})", "cannot change a protected metatable"},
    };
    check_bodies(rows, sizeof rows / sizeof rows[0]);
}

static void test_known_escapes_by_bytecode_and_finalizers(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"safe", "coroutine.wrap(string.dump)(print)", "string.dump is not in libs: safe"},
        {"safe", "return select(2, load(coroutine.wrap(function() coroutine.yield('\\27Lua') end)))",
         "attempt to load a binary chunk"},
        {"safe",
         "local n = 0 return select(2, load(function() n = n + 1 return n == 1 and '\\27Lua' or nil end, "
         "'n', 'bt'))",
         "attempt to load a binary chunk"},
        {"safe", "return select(2, load('\\27'))", "attempt to load a binary chunk"},
        {"safe", "load('x', 'n', 'b')", "only text can be loaded"},
        {"safe", "require 'code'", "attempt to load a binary chunk"},
        {"all", "return select(2, loadfile(path .. '/code.lua'))", "attempt to load a binary chunk"},
        {"all", "return select(2, loadfile(path .. '/code.lua', 'bt'))", "attempt to load a binary chunk"},
        {"all", "loadfile(path .. '/code.lua', 'b')", "only text can be loaded"},
        {"all", "dofile(path .. '/code.lua')", "attempt to load a binary chunk"},
        {"all", "package.path = path .. '/?.bin' require 'outside'", "attempt to load a binary chunk"},
        {"all", "package.path = path .. '/?.txt' return require 'outside'", "\"from text\""},
        {"safe", "setmetatable({}, {__gc = true})", "__gc is not in libs: safe"},
        /* 5.4 marks an object for finalizing when its metatable is set, so that a later __gc is not seen … */
        {"safe",
         "local ran = false do local m = {} setmetatable({}, m) m.__gc = function() ran = true end end "
         "collectgarbage() collectgarbage() return ran",
         "false"},
        /* … and setting it again is refused */
        {"safe", "local m = {} local t = setmetatable({}, m) m.__gc = print setmetatable(t, m)",
         "__gc is not in libs: safe"},
        {"safe",
         "local m = setmetatable({}, {__index = {__gc = print}}) setmetatable({}, m) return 'inherited is "
         "not seen'",
         "inherited is not seen"},
        {"safe", "local t <close> = setmetatable({}, {__close = function() error('closed') end}) return 1",
         "closed"},
        {"safe", "collectgarbage('generational')", "'generational' is not in libs: safe"},
        {"safe", "collectgarbage('stop')", "'stop' is not in libs: safe"},
        {"safe", "collectgarbage('setpause', 1)", "'setpause' is not in libs: safe"},
        {"safe", "for i = 1, 20 do collectgarbage() end return collectgarbage('step', 1 << 40) ~= nil",
         "true"},
        {"safe",
         "local t = setmetatable({}, {__mode = 'k'}) t[{}] = 1 collectgarbage() return next(t) == nil",
         "true"},
    };
    check_bodies(rows, sizeof rows / sizeof rows[0]);
}

static void test_what_took_other_hosts_down(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"safe",
         "coroutine.wrap(function() string.format('%s', setmetatable({}, {__tostring = function() "
         "coroutine.yield() end})) end)()",
         "attempt to yield across a C-call boundary"},
        {"safe", "string.format('%s', setmetatable({}, {__tostring = function() return {} end}))",
         "'__tostring' must return a string"},
        {"safe",
         "local e = setmetatable({}, {}) getmetatable(e).__tostring = function() error(e) end error(e)",
         "{}"},
        {"safe",
         "local e = setmetatable({}, {}) getmetatable(e).__tostring = function() error(e) end return "
         "tostring(pcall(tostring, e))",
         "false"},
        {"safe", "return select(2, xpcall(error, function(m) error(m) end, 'x')) ~= nil", "true"},
        {"safe", "table.sort({3, 1, 2, 5, 4, 9, 8, 7, 6, 12, 11, 10}, function() return true end)",
         "invalid order function for sorting"},
        {"safe", "coroutine.wrap(function() table.sort({1, 2, 3}, function() coroutine.yield() end) end)()",
         "attempt to yield across a C-call boundary"},
        {"safe",
         "local t = {3, 2, 1} table.sort(t, function(a, b) for i = 1, 3 do t[i] = nil end return a < b end)",
         "attempt to compare"},
        {"safe", "('x'):rep(2^63)", "number has no integer representation"},
        {"safe", "('x'):rep(1 << 62)", "not enough memory"},
        {"safe", "('xy'):rep(math.maxinteger)", "resulting string too large"},
        {"safe", "return #(''):rep(math.maxinteger)", "0"}, /* the stock one counts to it */
        {"safe", "utf8.char(table.unpack({}, 1, 1e7))",
         "too many results to unpack"}, /* Redis CVE-2025-46817 */
        {"safe", "table.unpack({}, math.mininteger, math.maxinteger)", "too many results to unpack"},
        {"safe", "table.unpack({}, 0, math.maxinteger)", "too many results to unpack"},
        {"safe", "select(-5, 1)", "index out of range"},
        {"safe", "select(math.mininteger, 1)", "index out of range"},
        {"safe", "return select('#', table.unpack({}, 1, 50000))", "50000"},
        {"safe", "('a'):rep(300000):find(('a?'):rep(300000))", "pattern too complex"},
        {"safe", "('x'):find(('('):rep(100))", "too many captures"},
        {"safe", "local function f(s) return (s:gsub('.', f)) end return f('x')", "C stack overflow"},
        {"safe",
         "local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k + 1] end return "
         "t[1]",
         "overflow"},
        {"safe", "local t = setmetatable({}, {__concat = function(a, b) return a .. b end}) return t .. t",
         "overflow"},
        {"safe",
         "local t = setmetatable({}, {__len = function() return math.maxinteger end, __index = function() "
         "return {} end}) table.concat(t)",
         "invalid value (table) at index 1"},
        {"safe", "table.insert(setmetatable({}, {__len = function() return 5 end}), 7, 1)",
         "position out of bounds"},
        {"safe", "load(('('):rep(1000) .. '1' .. (')'):rep(1000))", "null"},
        {"safe", "return select(2, load('return ' .. ('('):rep(1000) .. '1' .. (')'):rep(1000)))",
         "overflow"},
        {"safe", "return select(2, load('return ' .. ('{'):rep(1000)))", "overflow"},
        {"safe", "return select(2, load('x = ' .. ('a..'):rep(100000) .. 'a'))", "overflow"},
        {"safe", "return select(2, load(('x'):rep(70000) .. ' = [==[' .. ('y'):rep(70000)))",
         "unfinished long string"},
        {"safe", "load(function() return load(function() error('deep') end) and nil or '' end) return 'done'",
         "done"},
        {"safe",
         "local s = 'return 1' for i = 1, 150 do s = 'return load(' .. string.format('%q', s):sub(1, 20) .. "
         "')' end return load(s) ~= 1",
         "true"},
        {"safe", "string.format('%99999d', 1)", "invalid conversion"},
        {"safe", "return #string.format('%99.99f', -1e308) > 300", "true"},
        {"safe", "return string.format(('%'):rep(200))", "\"%%%%"},
        {"safe", "string.pack('i17', 1)", "integral size (17) out of limits"},
        {"safe", "string.pack('c' .. ('9'):rep(100), '')", "too many at once"},
        {"safe", "string.unpack('s8', ('\\255'):rep(8) .. 'x')", "data string too short"},
        {"safe", "string.unpack('i4', 'abcd', math.maxinteger)", "initial position out of string"},
        {"safe", "return tostring(tonumber(('0'):rep(1000000)))", "nil"},
        {"safe", "os.date(('%c'):rep(10000))", "os.date: a format of 20000 bytes is too long"},
        {"safe", "os.date('%Ez')", "invalid conversion specifier"},
        {"safe", "os.time{year = math.maxinteger, month = 1, day = 1}", "out-of-bound"},
        {"safe", "math.random(0, -1)", "interval is empty"},
        {"safe", "return math.tointeger(2^53) // 1 ~= nil and pcall(function() return 1 // 0 end)", "false"},
        {"safe", "return math.mininteger // -1 == math.mininteger and math.mininteger % -1 == 0", "true"},
        {"safe", "coroutine.wrap(coroutine.wrap(function() end))() return 'ended'", "ended"},
        {"safe", "local co co = coroutine.wrap(function() return co() end) co()", "cannot resume"},
        {"safe", "local function f() return coroutine.wrap(f)() end f()", "overflow"},
        {"safe",
         "local co = coroutine.create(function() local x <close> = setmetatable({}, {__close = function() "
         "error('c') end}) coroutine.yield() end) "
         "coroutine.resume(co) return select(2, coroutine.close(co))",
         "c"},
        {"safe", "goto out do local x <const> = 1 end ::out:: return 'out'", "out"},
        {"safe", "return #debug.traceback(('x'):rep(100000)) >= 100000", "true"},
        {"safe", "return debug.traceback(setmetatable({}, {__tostring = error})) ~= nil", "true"},
    };
    check_bodies(rows, sizeof rows / sizeof rows[0]);
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
        {"safe", "require '/etc/passwd'", "is no module's name"},
        {"safe", "require 'a/b'", "is no module's name"},
        {"safe", "require 'util\\0x'", "is no module's name"},
        {"safe", "require(('x'):rep(250))", "there is no module"},
        {"safe", "require(('x'):rep(100000))", "a module's name has up to 255 bytes"},
        {"safe", "require({})", "string expected, got table"},
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

static void test_libraries_that_block_are_warned_of(void **state)
{
    (void)state;
    static const struct {
        const char *lib;
        bool blocking, warned;
    } rows[] = {{"safe", false, false}, {"all", false, true},     {"io", false, true},
                {"os", false, true},    {"string", false, false}, {"all", true, false}};
    struct lua_app app;
    char file[160];
    lua_folder(&app);
    lua_write(&app, "x.lua", "return function() end");
    snprintf(file, sizeof file, "%s/x.lua", app.folder);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *lib = rows[i].lib;
        struct weir_lua_options o = {.file = file,
                                     .folder = app.folder,
                                     .libs = &lib,
                                     .lib_count = 1,
                                     .blocking = rows[i].blocking,
                                     .memory = 8 << 20,
                                     .limits = lua_limits};
        struct weir_handler_maker maker;
        struct weir_err err;
        int saved = log_begin();
        int rc = weir_lua_maker_create(&o, &maker, &err);
        log_end(saved);
        assert_int_equal(rc, WEIR_OK);
        maker.destroy(maker.self);
        assert_int_equal(strstr(logged, "put the stage into a pool with `blocking: true`") != NULL,
                         rows[i].warned);
    }
    lua_remove_folder(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_scripts_may_reach),
        cmocka_unit_test(test_what_is_missing_names_what_to_use),
        cmocka_unit_test(test_known_escapes_by_shared_tables_and_metatables),
        cmocka_unit_test(test_known_escapes_by_bytecode_and_finalizers),
        cmocka_unit_test(test_what_took_other_hosts_down),
        cmocka_unit_test(test_libraries_that_block_are_warned_of),
        cmocka_unit_test(test_require),
        cmocka_unit_test(test_an_unknown_library_is_named),
    };
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
