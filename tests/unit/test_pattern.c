/* (longer than 600 lines because most of it are tables of cases)
 * Lua's patterns: the same answers as the stock library's on any pattern and text, in bounded time. Half of
 * each test is the stock library in a state of its own. */
#include "test.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lua/lib.h"
#include "lua/pattern.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { RANDOM_PATTERNS = 20000 };
#else
enum { RANDOM_PATTERNS = 100000 };
#endif

static struct weir_vm vm = {.doom = WEIR_REASON_NONE}; /* what preempt.h looks at */

static lua_State *open_state(bool ours)
{
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    *(struct weir_vm **)lua_getextraspace(L) = &vm;
    luaL_openlibs(L);
    if (ours) {
        lua_getglobal(L, "string");
        weir_lib_string_open(L);
        lua_getglobal(L, "table");
        weir_lib_table_open(L);
        lua_getglobal(L, "utf8");
        weir_lib_utf8_open(L);
        lua_settop(L, 0);
    }
    return L;
}

/* Pushes what `code` compiles to, kept for the next time. */
static void push_compiled(lua_State *L, const char *code)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, code) != LUA_TNIL)
        return;
    lua_pop(L, 1);
    if (luaL_loadstring(L, code) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, code);
}

/* Runs `code` with `args` strings: all results in one text, or "error: …". */
static const char *run(lua_State *L, const char *code, const char *const *args, const size_t *lens, int count)
{
    static const char wrapper[] =
        "local f, tostring, format, type = ...\n"
        "local function show(v) if type(v) == 'string' then return format('%q', v) end return tostring(v) "
        "end\n"
        "local function collect(ok, ...)\n"
        "  if not ok then return 'error: ' .. tostring((...)):gsub('^[^:]*:%d+: ', '') end\n"
        "  local out = {}\n"
        "  for i = 1, select('#', ...) do out[i] = show((select(i, ...))) end\n"
        "  return table.concat(out, ' ')\n"
        "end\n"
        "return collect(pcall(f, select(5, ...)))\n";
    lua_settop(L, 0);
    push_compiled(L, wrapper);
    push_compiled(L, code);
    lua_getglobal(L, "tostring");
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "format");
    lua_remove(L, -2);
    lua_getglobal(L, "type");
    for (int i = 0; i < count; i++)
        lua_pushlstring(L, args[i], lens[i]);
    if (lua_pcall(L, 4 + count, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    return lua_tostring(L, -1);
}

static void same(lua_State *ours, lua_State *stock, const char *code, const char *const *args,
                 const size_t *lens, int count)
{
    const char *got = run(ours, code, args, lens, count), *want = run(stock, code, args, lens, count);
    if (strcmp(got, want) != 0)
        fail_msg("%s\nwith '%s' and '%s': expected %s, got %s", code, count > 0 ? args[0] : "",
                 count > 1 ? args[1] : "", want, got);
}

static uint64_t random_state = 88172645463325252U;

static unsigned pick(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % n;
}

/* Pieces that make patterns which sometimes match and are often malformed. */
static size_t make_pattern(char *out, size_t size)
{
    static const char *const pieces[] = {
        "a",      "b",     "c",     ".",      "%a", "%d",   "%s",     "%w",    "%S", "%p", "[ab]",
        "[^a]",   "[a-c]", "[%w_]", "(",      ")",  "()",   "*",      "+",     "-",  "?",  "a*",
        ".-",     "b+",    "a-",    "%1",     "%2", "%bab", "%b()",   "%f[a]", "$",  "^",  "%%",
        "[]",     "[^]",   "[]]",   "[",      "%f", "%b",   "]",      "[a-]",  "[%", " ",  "(a*)",
        "(.-)",   "%z",    "ab",    "%f[%w]", "%",  "x",    "[%a-z]", "\xe4",  "%l", "%U", "[%]]",
        "[^%s]+", "(a)%1", "%g",    "%c",     "%x", "%A",   "[b-a]",  "%.",    "%k"};
    size_t len = 0;
    if (pick(4) == 0)
        out[len++] = '^';
    for (unsigned n = pick(7); n > 0; n--) {
        const char *piece = pieces[pick(sizeof pieces / sizeof pieces[0])];
        size_t piece_len = strlen(piece);
        if (len + piece_len + 1 >= size)
            break;
        memcpy(out + len, piece, piece_len);
        len += piece_len;
    }
    if (pick(40) == 0)
        out[len++] = '\0';
    out[len] = '\0';
    return len;
}

static size_t make_subject(char *out, unsigned max)
{
    static const char letters[] = "aaabbbccab(ab) _.%]-1x\xe4Z";
    size_t len = pick(max);
    for (size_t i = 0; i < len; i++)
        out[i] = pick(50) == 0 ? '\0' : letters[pick(sizeof letters - 1)];
    out[len] = '\0';
    return len;
}

static void test_random_patterns_match_as_in_stock_lua(void **state)
{
    (void)state;
    static const char code[] = "local s, p = ...\n"
                               "local out = {}\n"
                               "local function try(name, ...)\n"
                               "  local r = table.pack(pcall(...))\n"
                               "  for i = 1, r.n do r[i] = tostring(r[i]):gsub('^.-:%d+: ', '') end\n"
                               "  out[#out + 1] = name .. table.concat(r, '|', 1, r.n)\n"
                               "end\n"
                               "try('f', string.find, s, p)\n"
                               "try('f2', string.find, s, p, 3)\n"
                               "try('f-', string.find, s, p, -2)\n"
                               "try('fp', string.find, s, p, 1, true)\n"
                               "try('m', string.match, s, p)\n"
                               "try('g', string.gsub, s, p, '<%0%1>')\n"
                               "try('g2', string.gsub, s, p, 'x', 2)\n"
                               "try('gt', string.gsub, s, p, {a = 'A', b = false, ab = 1})\n"
                               "try('gf', string.gsub, s, p, function(a, b) return b or a end)\n"
                               "try('w', function() local r = {} for a, b in string.gmatch(s, p) do r[#r + "
                               "1] = tostring(a) .. tostring(b) end "
                               "return table.concat(r, ',') end)\n"
                               "try('w2', function() local n = 0 for a in string.gmatch(s, p, 4) do n = n + "
                               "#tostring(a) end return n end)\n"
                               "return table.concat(out, '\\n')\n";
    lua_State *ours = open_state(true), *stock = open_state(false);
    for (int i = 0; i < RANDOM_PATTERNS; i++) {
        char subject[64], pattern[128];
        const char *const args[] = {subject, pattern};
        const size_t lens[] = {make_subject(subject, 40), make_pattern(pattern, sizeof pattern)};
        same(ours, stock, code, args, lens, 2);
        if (i % 5000 == 0) {
            lua_gc(ours, LUA_GCCOLLECT);
            lua_gc(stock, LUA_GCCOLLECT);
        }
    }
    lua_close(ours);
    lua_close(stock);
}

static void test_cases_match_as_in_stock_lua(void **state)
{
    (void)state;
    static const char *const cases[] = {
        /* find */
        "return string.find('', '')",
        "return string.find('alo', '')",
        "return string.find('a\\0o a\\0o a\\0o', 'a', 1)",
        "return string.find('a\\0a\\0a\\0a\\0\\0ab', '\\0ab', 2)",
        "return string.find('a\\0\\0a\\0ab', 'b\\0')",
        "return string.find('', '\\0')",
        "return string.find('alo123alo', '12')",
        "return string.find('alo123alo', '^12')",
        "return string.match('aaab', '.*b')",
        "return string.match('aaa', '.*a')",
        "return string.match('aaa', '.*b')",
        "return string.match('alo xyzK', '(%w+)K')",
        "return string.match('254 K', '(%d*)K')",
        "return string.match('alo ', '(%w*)$')",
        "return string.find('(alo)', '%(a')",
        "return string.find('x', 'x', 10)",
        "return string.find('x', '', 2)",
        "return string.find('x', '', 3)",
        "return string.find('abc', 'b', -1)",
        "return string.find('abc', 'b', -2)",
        "return string.find('abc', 'b', -100)",
        "return string.find('abc', 'b', math.mininteger)",
        "return string.find('abc', 'b', math.maxinteger)",
        "return string.find('a.c', '.', 2, true)",
        "return string.find('abc', '', 4, true)",
        "return string.find(('a'):rep(300) .. 'b', ('a'):rep(200) .. 'b', 1, true)",
        "return string.find(('ab'):rep(200), 'ba' .. 'c', 1, true)",
        "return string.find(('x'):rep(200000) .. 'y', ('x'):rep(100000) .. 'y', 1, true)",
        "return string.find(('x'):rep(2000) .. ('\\0'):rep(90000) .. 'y', ('\\0'):rep(80000) .. 'y', 1, "
        "true)",
        /* frontiers, balance, back references */
        "return string.gsub('aaa aa a aaa a', '%f[%w]%a', 'x')",
        "return string.gsub('[[]] [][] [[[[', '%f[[].', 'x')",
        "return string.gsub('01abc45de3', '%f[%d]', '.')",
        "return string.gsub('function', '%f[\\1-\\255]%w', '.')",
        "return string.find('a', '%f[a]')",
        "return string.find('a', '%f[^%z]')",
        "return string.find('a', '%f[^%l]')",
        "return string.find('aba', '%f[a%z]')",
        "return string.find(' alo aalo allo', '%f[%S].-%f[%s].-%f[%S]')",
        "return string.match('  (a(b)c) ', '%b()')",
        "return string.gsub('abc[[x]y', '%b[]', '-')",
        "return string.match('a', '%b')",
        "return string.match('a', '%ba')",
        "return string.match('xaax', '%baa')",
        "return string.match('a\\0b', '%b\\0b')",
        "return string.match('hello hello', '(%w+) %1')",
        "return string.match('=======', '^(=*)=%1$')",
        "return string.match('a', '%1')",
        "return string.match('aa', '()%1')",
        "return string.match('ab', '(a(%1))')",
        "return string.match('a', '(a')",
        "return string.match('a', 'a)')",
        "return string.match('a', '%0')",
        "return string.find('a', '%f')",
        /* sets */
        "return string.gsub('a]b-c^d', '[]^-]', '.')",
        "return string.gsub('abc', '[a-]', '.')",
        "return string.gsub('a-c%d', '[%a-z]', '.')",
        "return string.find('a', '[a')",
        "return string.find('a', '[]')",
        "return string.find('a', '[^]')",
        "return string.find('a', '[a%]')",
        "return string.find('a', '[a%')",
        "return string.find('a', '%')",
        "return string.gsub('alo', '[^%s]', '%0%0')",
        "return string.match('\\0\\0', '%z*')",
        "return string.match('ab\\0c', '[^\\0]+')",
        "return string.match('ab\\0c', '[%z]+')",
        "return string.match('ab', '[b-a]')",
        "return string.match('a\\xffb', '[\\xf0-\\xff]')",
        /* gsub */
        "return string.gsub('alo alo', 'x', 'y')",
        "return string.gsub('alo úlo  ', ' +$', '')",
        "return string.gsub('abc', '', '-')",
        "return string.gsub('', '', 'x')",
        "return string.gsub('abc', '%w', '%%%0')",
        "return string.gsub('abc', '(b)', '%1%1%0')",
        "return string.gsub('abc', 'b', '%2')",
        "return string.gsub('abc', 'b', '%x')",
        "return string.gsub('abc', 'b', '%')",
        "return string.gsub('hello world', '(%w+)', '%0 %0', 1)",
        "return string.gsub('a b cd', ' *', '-')",
        "return string.gsub('abc', '()', '%1')",
        "return string.gsub('a', 'a', true)",
        "return string.gsub('abc', 'b', function() return {} end)",
        "return string.gsub('abc', '%w', {a = 1, b = 2.5})",
        "return string.gsub('abc', 'b', 7)",
        "return string.gsub('abc', '^a', 'x')",
        "return string.gsub('aaa', '^a', 'x')",
        "return string.gsub('abc', 'b', 'x', 0)",
        "return string.gsub('abc', 'b', 'x', -1)",
        "return string.gsub('abc', 'b', function() error('oops', 0) end)",
        "return string.gsub('abc', 'b', coroutine.yield)",
        "return string.gsub('trocar tudo em |teste|b| e |beleza|al|', '|([^|]*)|([^|]*)|', function(a, b) "
        "return b:rep(#a) end)",
        "local t = {} string.gsub('first second word', '()%w+()', function(a, b) t[#t + 1] = a * 100 + b "
        "end) return table.concat(t, ' ')",
        "local s = ('x'):rep(100000) local r, n = s:gsub('x', {x = 'yy'}) return #r, n",
        "return (('a b '):rep(3):gsub('%s+', ' '))",
        "return string.gsub('x', 'x')",
        /* gmatch */
        "local t = {} for k, v in string.gmatch('a=1, b=2', '(%w+)=(%w+)') do t[#t + 1] = k .. v end return "
        "table.concat(t)",
        "local t = {} for p in string.gmatch('abcde', '()') do t[#t + 1] = p end return table.concat(t, ' ')",
        "local t = {} for p in string.gmatch('xuxx uu ppar r', '()(.)%2') do t[#t + 1] = p end return "
        "table.concat(t, ' ')",
        "local t = {} for p in string.gmatch('^a^', '^a') do t[#t + 1] = p end return table.concat(t, ' ')",
        "local t = {} for p in string.gmatch('abc', '.', -2) do t[#t + 1] = p end return table.concat(t, ' "
        "')",
        "return string.gmatch('a', 'a', 5)()",
        "for _ in string.gmatch('a', '(') do end",
        "return string.gmatch()",
        /* captures and depth */
        "return string.find('a', ('(a?)'):rep(32))",
        "return string.find('a', ('(a?)'):rep(33))",
        "return string.match(('a'):rep(300), ('a?'):rep(150))",
        "return string.match(('a'):rep(300), ('a?'):rep(250))",
        "return string.match(('a'):rep(300), ('a-'):rep(210) .. 'b')",
        "return string.match(('a'):rep(300), ('a*'):rep(210))",
        "return string.match(('a'):rep(10), ('b*'):rep(400) .. 'a')",
        "return #string.match(('a'):rep(300000), '.-b?$')",
        "return string.match(('(a'):rep(30), ('%(a'):rep(30))",
        "return string.find(('x'):rep(1000), ('(x)'):rep(31))",
        "return #string.match(('a'):rep(70000) .. 'b', '[%w]*')",
        "return #string.match(('a'):rep(70000) .. '!b', '[^!]*')",
        "return #string.match(('a_'):rep(5000) .. '!b', '[%w_]+')",
        /* long enough that what a match begins with is learnt */
        "return (('x'):rep(500) .. '12x3'):gsub('%d+', '#')",
        "return (('x'):rep(500) .. '<&>'):gsub('[<>&]', {['<'] = '&lt;'})",
        "return (('x'):rep(500) .. 'yz'):find('[^x](z)')",
        "return (('x'):rep(500) .. 'y'):find('([yz])()')",
        "return (('x'):rep(500) .. 'y'):find('()[yz]')",
        "return (('x'):rep(500)):find('[yz]')",
        "return (('x'):rep(500) .. 'ab'):find('%a?b')",
        "return (('x'):rep(500) .. '(a)'):find('%b()')",
        "return (('x'):rep(500) .. ' a'):find('%f[%s]')",
        "return (('x'):rep(500)):find('%d*$')",
        "return (('x'):rep(500)):gsub('%s?$', '!')",
        "return (('x'):rep(500)):find('$')",
        "return (('x'):rep(500)):find('$x')",
        "return (('x'):rep(500) .. '$y'):find('[$]y')",
        "return (('x'):rep(500)):find('[ab')",
        "return (('x'):rep(500)):find('a)')",
        "local n = 0 for k, v in (('x. '):rep(300) .. 'a=1, b=2'):gmatch('(%l)=(%d)') do n = n + v end "
        "return n",
        /* arguments */
        "return string.find({}, 'a')",
        "return string.find('a')",
        "return string.match('a', {})",
        "return string.gsub('a', 'a', print, 'x')",
        "return string.find(12345, 34)",
    };
    lua_State *ours = open_state(true), *stock = open_state(false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        same(ours, stock, cases[i], NULL, NULL, 0);
    lua_close(ours);
    lua_close(stock);
}

static void test_other_functions_do_as_in_stock_lua(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "return ('ab'):rep(3)",
        "return ('ab'):rep(3, ', ')",
        "return ('ab'):rep(0)",
        "return ('ab'):rep(-1)",
        "return (''):rep(10)",
        "return ('x'):rep(1, 'y')",
        "return (''):rep(3, 'ab')",
        "local a, b = ('abc'):rep(700001, '-') return #a, a == ('abc-'):rep(700000) .. 'abc'",
        "return #('x'):rep(3000000), ('x'):rep(3000000):find('[^x]')",
        "return ('x'):rep(2^63)",
        "return ('x'):rep(1 << 62, 'yy')",
        "return ('abc\\0d'):reverse()",
        "return (''):reverse()",
        "return ('aBc\\xe4'):upper()",
        "return ('aBC\\0'):lower()",
        "return (('aB'):rep(300000)):lower() == ('ab'):rep(300000)",
        "return string.format('%s %d %q', 'a', 1, 'b')",
        "return string.format('%d', 'x')",
        "return string.format('%y', 1)",
        "return string.format()",
        "return string.format('%s')",
        "return ('abc'):byte(), ('abc'):byte(2), ('abc'):byte(-1), ('abc'):byte(9)",
        "return ('abc'):byte(1, -1)",
        "return utf8.codepoint('aß', 1, -1)",
        "return utf8.codepoint('aß', 3)",
        "return table.unpack({1, 2, 3})",
        "return table.unpack({1, 2, 3}, 2)",
        "return table.unpack({1, 2, 3}, -1, 1)",
        "return table.unpack(1)",
        "return table.unpack({}, {})",
        "return string.pack('<i4', 7)",
        "return string.unpack('z', 'ab\\0')",
        "return string.packsize('i4i8')",
        "return string.pack('c10', 'a')",
        "return string.pack('i17', 1)",
        "local t = {1, 2, 3} table.insert(t, 4) table.insert(t, 1, 0) return table.concat(t, ',')",
        "return table.insert({1, 2}, 5, 1)",
        "return table.insert({}, 1, 2, 3)",
        "return table.insert({})",
        "local t = {1, 2, 3} return table.remove(t), table.remove(t, 1), #t",
        "return table.remove({})",
        "return table.remove({1}, 1)",
        "return #table.remove({{}}, 1)",
        "local t = {[0] = 'z'} return table.remove(t, 0), t[0]",
        "return table.concat({1, 2.5, 'x'}, ', ')",
        "return table.concat({1, {}, 3})",
        "return table.concat({}, 'x')",
        "return table.concat({1, 2, 3}, '-', 2)",
        "return table.concat({1, 2, 3}, '-', 2, 3)",
        "return table.concat({1, 2, 3}, '-', 3, 2)",
        "return table.concat({'a', 'b'}, 'x', math.maxinteger, math.maxinteger)",
        "return table.concat(1)",
        "return table.concat(setmetatable({}, {__index = function(_, i) return i end, __len = function() "
        "return 5 end}), ' ')",
        "return table.concat(table.move({1, 2, 3}, 1, 3, 2), ' ')",
        "return table.concat(table.move({1, 2, 3}, 2, 3, 1), ' ')",
        "return table.concat(table.move({1, 2, 3}, 1, 3, 3, {9, 9}), ' ')",
        "return table.move({}, 1, math.maxinteger, 2)",
        "return table.move({}, -1, math.maxinteger, 2)",
        "return #table.move({1}, 1, 0, 5)",
        "return table.move(1, 1, 2, 3)",
        "return table.move({}, 1, 2, 3, 4)",
        "return utf8.len('aß€𐍈')",
        "return utf8.len('a\\xff')",
        "return utf8.len('\\u{7fffffff}')",
        "return utf8.len('\\u{7fffffff}', 1, -1, true)",
        "return utf8.len('\\u{d800}')",
        "return utf8.len('\\u{d800}', 1, -1, true)",
        "return utf8.len('\\xc0\\x80')",
        "return utf8.len('abc', 4)",
        "return utf8.len('abc', 5)",
        "return utf8.len('abc', -2)",
        "return utf8.len('abc', 1, 5)",
        "return utf8.len('ß', 2)",
        "return utf8.len('\\xe2\\x82')",
        "return utf8.len('')",
        "return utf8.len('abc', 0)",
        "return utf8.len('aß', 1, 2)",
        "return utf8.offset('aß€x', 3)",
        "return utf8.offset('aß€x', -1)",
        "return utf8.offset('aß€x', -3)",
        "return utf8.offset('aß€x', 0, 3)",
        "return utf8.offset('aß€x', 1, 3)",
        "return utf8.offset('aß€x', 9)",
        "return utf8.offset('aß€x', 5)",
        "return utf8.offset('aß€x', 6)",
        "return utf8.offset('', 1)",
        "return utf8.offset('', 0)",
        "return utf8.offset('abc', 0)",
        "return utf8.offset('abc', 1, 5)",
        "return utf8.offset('abc', -9)",
        "return utf8.offset('\\x80\\x80', 0, 2)",
        "return utf8.char(72, 228, 8364, 66376, 0x7fffffff, 0)",
        "return utf8.char()",
        "return utf8.char(-1)",
        "return utf8.char(0x80000000)",
        "return utf8.char('x')",
        "return utf8.char(127, 128, 0x7ff, 0x800, 0xffff, 0x10000, 0x1fffff, 0x200000, 0x3ffffff, 0x4000000)",
    };
    lua_State *ours = open_state(true), *stock = open_state(false);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        same(ours, stock, cases[i], NULL, NULL, 0);
    lua_close(ours);
    lua_close(stock);
}

static void test_utf8_of_random_bytes_is_as_in_stock_lua(void **state)
{
    (void)state;
    static const char code[] = "local s, n = ...\n"
                               "local out = {}\n"
                               "local function try(...) local r = table.pack(pcall(...)) for i = 1, r.n do "
                               "r[i] = tostring(r[i]):gsub('^.-:%d+: ', '') end\n"
                               "  out[#out + 1] = table.concat(r, '|', 1, r.n) end\n"
                               "for i = -3, #s + 1 do try(utf8.len, s, i) try(utf8.len, s, i, #s, true) for "
                               "n = -3, 3 do try(utf8.offset, s, n, i) end end\n"
                               "return table.concat(out, '\\n')\n";
    lua_State *ours = open_state(true), *stock = open_state(false);
    for (int i = 0; i < 3000; i++) {
        static const unsigned char bytes[] = {'a',  0x80, 0xbf, 0xc2, 0xc0, 0xc1, 0xe0,
                                              0xe2, 0xed, 0xa0, 0xf0, 0xf4, 0x90, 0xf8,
                                              0x88, 0xfc, 0xfd, 0xfe, 0xff, 0,    0x82};
        char s[12];
        const char *const args[] = {s};
        size_t len = pick(9);
        for (size_t at = 0; at < len; at++)
            s[at] = (char)bytes[pick(sizeof bytes)];
        s[len] = '\0';
        same(ours, stock, code, args, &len, 1);
    }
    lua_close(ours);
    lua_close(stock);
}

static void test_sort(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "local t = {} for i = 1, 20000 do t[i] = (i * 7919) % 20011 end table.sort(t) for i = 2, #t do if "
        "t[i - 1] > t[i] then return i end end return 'sorted'",
        "local t = {} for i = 1, 20000 do t[i] = i % 7 end table.sort(t) for i = 2, #t do if t[i - 1] > t[i] "
        "then return i end end return 'sorted'",
        "local t = {} for i = 1, 5000 do t[i] = i end table.sort(t, function(a, b) return a > b end) for i = "
        "1, #t do if t[i] ~= 5001 - i then return i end end return 'sorted'",
        "for n = 0, 60 do local t = {} for i = 1, n do t[i] = (i * 37) % 11 end table.sort(t) for i = 2, n "
        "do if t[i - 1] > t[i] then return n end end if #t ~= n then return 'lost' end end return 'sorted'",
        "local t = {'b', 'a', 'c'} table.sort(t) return 'sorted', table.concat(t)",
        "local t = setmetatable({}, {__index = function(_, i) return i end, __newindex = function() end, "
        "__len = function() return 3 end}) table.sort(t) return 'sorted'",
    };
    lua_State *ours = open_state(true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = run(ours, cases[i], NULL, NULL, 0);
        if (strncmp(got, "\"sorted\"", 8) != 0)
            fail_msg("%s: %s", cases[i], got);
    }
    assert_string_equal(run(ours, "table.sort({1, 'x'})", NULL, NULL, 0),
                        "error: attempt to compare string with number");
    assert_string_equal(run(ours, "table.sort({1, 2}, 3)", NULL, NULL, 0),
                        "error: bad argument #2 to 'sort' (function expected, got number)");
    assert_string_equal(
        run(ours, "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function() return true end)",
            NULL, NULL, 0),
        "error: invalid order function for sorting");
    /* an order that knows nothing, and one that raises: every element is still there */
    assert_string_equal(run(ours,
                            "for seed = 1, 200 do\n"
                            "  local t, n, sum, calls = {}, 5 + seed, 0, 0\n"
                            "  for i = 1, n do t[i] = i end\n"
                            "  local x = seed\n"
                            "  pcall(table.sort, t, function() calls = calls + 1 if seed % 2 == 0 and calls "
                            "== seed * 2 then error 'stop' end\n"
                            "    x = (x * 1103515245 + 12345) % 2147483648 return x % 3 == 0 end)\n"
                            "  for i = 1, n do sum = sum + t[i] end\n"
                            "  if sum ~= n * (n + 1) / 2 then return seed end\n"
                            "end return 'all there'",
                            NULL, NULL, 0),
                        "\"all there\"");
    lua_close(ours);
}

/* CPU time, since others may have the processor. */
static uint64_t now_ms(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void test_a_hostile_pattern_costs_an_error_soon(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "return ('\"a'):rep(20):find(('.-'):rep(12) .. 'b')",
        "return ('a'):rep(30):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b')",
        "return ('a'):rep(5000):find('.-.-.-.-b')",
        "return ('a'):rep(5000):match(('a*'):rep(20) .. '[b]')",
        "return ('a'):rep(100000):find('.*.*b')",
        "return ('x'):rep(1000000):gsub('x*y', '')",
        "return ('x'):rep(1000000):gsub('x-[y]', '')",
        "return ('('):rep(1000000):gsub('%b()', '')",
        "return ('a'):rep(1000000):find('(.*)%1b')",
        "return ('a'):rep(1000000):find('(.-)%1b')",
        "return ('a'):rep(100000):find('[' .. ('b'):rep(100000) .. ']')",
        "return ('a'):rep(100000):find('%f[' .. ('b'):rep(100000) .. ']')",
        "return ('a'):rep(9000000):find(('a'):rep(3000000) .. 'b', 1, true)",
        "for _ in ('a'):rep(100000):gmatch('a-a-a-b') do end",
        "return ('a'):rep(2000):gsub('', ('x'):rep(1000000))",
    };
    lua_State *ours = open_state(true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t began = now_ms();
        const char *got = run(ours, cases[i], NULL, NULL, 0);
        uint64_t took = now_ms() - began;
        if (getenv("WEIR_PATTERN_TIMES") != NULL)
            printf("%4llu ms  %s: %.60s\n", (unsigned long long)took, cases[i], got);
        if (strstr(got, "the pattern took too many steps (limit ") == NULL)
            fail_msg("%s: %.200s", cases[i], got);
        assert_true(
            took <
            2000); /* minutes without the limit; 20 ms where nothing else runs and the build is optimized */
    }
    assert_non_null(
        strstr(run(ours, "return ('a'):rep(30):find(('a?'):rep(30) .. ('a'):rep(30) .. 'b')", NULL, NULL, 0),
               "string.find: the pattern took"));
    lua_close(ours);
}

static void test_ordinary_work_on_large_texts_is_within_the_limit(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "local s = ('hello world, '):rep(400000) local r, n = s:gsub('%w+', string.upper) return 'done'",
        "local s = ('k=v; '):rep(400000) local n = 0 for k, v in s:gmatch('(%w+)=(%w+)') do n = n + 1 end "
        "return 'done'",
        "local s = (' '):rep(5000000) return s:match('^%s*$') == s and 'done'",
        "local s = ('line\\n'):rep(1000000) return s:find('x') == nil and 'done'",
        "local s = ('a,b\\n'):rep(1000000) local r, n = s:gsub('[,\\n]', {[','] = ';'}) return 'done'",
    };
    lua_State *ours = open_state(true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = run(ours, cases[i], NULL, NULL, 0);
        if (strcmp(got, "\"done\"") != 0)
            fail_msg("%s: %.200s", cases[i], got);
    }
    lua_close(ours);
}

/* What takes long sees that its call is doomed and gives up at once. */
static void test_long_functions_end_with_their_call(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "return ('a'):rep(1000):find('.-.-[b]')",
        "return #('ab'):rep(10000000)",
        "return #big:upper()",
        "return #big:reverse()",
        "return big:find(('a'):rep(1000) .. 'b', 1, true)",
        "return utf8.len(big)",
        "return utf8.offset(big, 9000000)",
        "return table.concat(list)",
        "return table.insert(list, 1, 'x')",
        "return table.remove(list, 1)",
        "return table.move(list, 1, #list, 2)",
        "return table.sort(list)",
    };
    lua_State *ours = open_state(true);
    assert_int_equal(
        luaL_dostring(ours, "big, list = ('a'):rep(10000000), {} for i = 1, 100000 do list[i] = 'x' end"),
        LUA_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vm.doom = WEIR_REASON_CPU;
        lua_settop(ours, 0);
        bool failed = luaL_dostring(ours, cases[i]) != LUA_OK;
        vm.doom = WEIR_REASON_NONE;
        if (!failed || lua_touserdata(ours, -1) != vm.doom_text)
            fail_msg("%s: %s", cases[i], failed ? luaL_tolstring(ours, -1, NULL) : "no error");
    }
    lua_close(ours);
}

static void test_what_is_too_much_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *code, *want;
    } cases[] = {
        {"return table.move({1}, 1, 1e9, 2)",
         "table.move: 1000000000 elements are too many at once (at most 8388608)"},
        {"return string.pack('c2147483647', '')",
         "string.pack: the sizes in the format come to 2147483647 bytes"},
        {"return string.pack((' '):rep(2000000))",
         "string.pack: a format of 2000000 bytes is too long (at most 1048576)"},
        {"return string.packsize((' '):rep(2000000))",
         "string.packsize: a format of 2000000 bytes is too long"},
        {"return string.unpack((' '):rep(2000000), '')",
         "string.unpack: a format of 2000000 bytes is too long"},
        {"return string.format(('%d'):rep(6000), table.unpack({}, 1, 6000))",
         "string.format: 6001 arguments are too many at once (at most 2500)"},
        {"return string.format('%s%s', ('x'):rep(9000000), ('y'):rep(9000000))",
         "string.format: 18000004 bytes of strings are too many at once (at most 4194304)"},
        {"return string.format('%q', ('x'):rep(600000))", "are too many at once (at most 524288 with %q)"},
        {"return table.unpack({}, 1, 300000)", "too many results to unpack (at most 250000)"},
        {"return table.unpack({}, math.mininteger, math.maxinteger)", "too many results to unpack"},
        {"return ('x'):rep(300000):byte(1, -1)", "string slice too long (at most 250000 at once)"},
        {"return utf8.codepoint(('x'):rep(300000), -300000, -1)",
         "string slice too long (at most 250000 at once)"},
        {"return select('#', ('x'):rep(300000):byte(math.mininteger, 200000))", "200000"},
        {"return ('x'):rep(300000):byte(-1), ('x'):rep(300000):byte(300000), ('x'):rep(300000):byte(5, 1)",
         "120 120"},
    };
    lua_State *ours = open_state(true);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *got = run(ours, cases[i].code, NULL, NULL, 0);
        if (strstr(got, cases[i].want) == NULL)
            fail_msg("%s: expected %s, got %.200s", cases[i].code, cases[i].want, got);
    }
    lua_close(ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases_match_as_in_stock_lua),
        cmocka_unit_test(test_other_functions_do_as_in_stock_lua),
        cmocka_unit_test(test_random_patterns_match_as_in_stock_lua),
        cmocka_unit_test(test_utf8_of_random_bytes_is_as_in_stock_lua),
        cmocka_unit_test(test_sort),
        cmocka_unit_test(test_a_hostile_pattern_costs_an_error_soon),
        cmocka_unit_test(test_ordinary_work_on_large_texts_is_within_the_limit),
        cmocka_unit_test(test_long_functions_end_with_their_call),
        cmocka_unit_test(test_what_is_too_much_is_refused),
    };
    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
