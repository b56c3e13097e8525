/* utf8.len, offset and char: those that go through a whole text, or make one of many arguments; codepoint
 * with a bound. The rest is stock. */
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>

#include "lua/lib.h"

enum { LOOK_BYTES = 1 << 17, CODE_MAX = 0x7fffffff, BYTES_MAX = 6 };

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Bytes of the character at `s`, of which `room` are there; 0: it is none. Strict: no surrogates, nothing
 * above 10ffff. */
static size_t char_bytes(const char *s, size_t room, bool strict)
{
    static const uint32_t least[BYTES_MAX + 1] = {0, 0, 0x80, 0x800, 0x10000, 0x200000, 0x4000000};
    unsigned char first = (unsigned char)*s;
    if (first < 0x80)
        return 1;
    size_t n = 0;
    while (n < 8 && (first & (0x80U >> n)) != 0)
        n++;
    if (n < 2 || n > BYTES_MAX || n > room)
        return 0;
    uint32_t code = first & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if (!continues(s[i]))
            return 0;
        code = code << 6 | ((unsigned char)s[i] & 0x3fU);
    }
    if (code < least[n] || (strict && (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))))
        return 0;
    return n;
}

/* A position from 1, counted from the end if it is negative; 0: before the text. */
static lua_Integer position(lua_Integer i, size_t len)
{
    if (i >= 0)
        return i;
    return (size_t) - (i + 1) >= len ? 0 : (lua_Integer)len + i + 1;
}

/* utf8.len(s [, i [, j [, lax]]]) */
WEIR_L_RAISES static int l_len(lua_State *L)
{
    size_t len, done = 0;
    const char *s = luaL_checklstring(L, 1, &len);
    lua_Integer i = position(luaL_optinteger(L, 2, 1), len), j = position(luaL_optinteger(L, 3, -1), len),
                n = 0;
    bool lax = lua_toboolean(L, 4);
    luaL_argcheck(L, 1 <= i && i - 1 <= (lua_Integer)len, 2, "initial position out of bounds");
    luaL_argcheck(L, j - 1 < (lua_Integer)len, 3, "final position out of bounds");
    for (lua_Integer at = i - 1; at < j; n++) {
        size_t bytes = char_bytes(s + at, len - (size_t)at, !lax);
        if (bytes == 0) {
            lua_pushnil(L);
            lua_pushinteger(L, at + 1);
            return 2;
        }
        at += (lua_Integer)bytes;
        weir_lib_work(L, &done, bytes, LOOK_BYTES);
    }
    lua_pushinteger(L, n);
    return 1;
}

/* Goes `n` characters (to the start of the one at `at` for 0) through `s`; -1: there are not so many. */
WEIR_L_RAISES static lua_Integer walk(lua_State *L, const char *s, lua_Integer len, lua_Integer at,
                                      lua_Integer n)
{
    size_t done = 0;
    if (n == 0)
        while (at > 0 && continues(s[at])) {
            at--;
            weir_lib_work(L, &done, 1, LOOK_BYTES);
        }
    for (; n < 0 && at > 0; n++)
        do { /* to the start of the one before */
            at--;
            weir_lib_work(L, &done, 1, LOOK_BYTES);
        } while (at > 0 && continues(s[at]));
    if (n <= 0)
        return n == 0 ? at : -1;
    for (n--; n > 0 && at < len; n--)
        do { /* to the start of the next one; there is a NUL at the end */
            at++;
            weir_lib_work(L, &done, 1, LOOK_BYTES);
        } while (continues(s[at]));
    return n == 0 ? at : -1;
}

/* utf8.offset(s, n [, i]) */
WEIR_L_RAISES static int l_offset(lua_State *L)
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    lua_Integer n = luaL_checkinteger(L, 2),
                i = position(luaL_optinteger(L, 3, n >= 0 ? 1 : (lua_Integer)len + 1), len);
    luaL_argcheck(L, 1 <= i && i - 1 <= (lua_Integer)len, 3, "position out of bounds");
    if (n != 0 && continues(s[i - 1]))
        return luaL_error(L, "initial position is a continuation byte");
    lua_Integer at = walk(L, s, (lua_Integer)len, i - 1, n);
    if (at < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, at + 1);
    return 1;
}

static size_t encode(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : code < 0x200000 ? 4 : code < 0x4000000 ? 5 : 6;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(uint8_t)((0xff00U >> n) | code);
    return n;
}

/* utf8.char(...) */
WEIR_L_RAISES static int l_char(lua_State *L)
{
    luaL_Buffer b;
    int n = lua_gettop(L);
    size_t done = 0;
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        char text[BYTES_MAX];
        lua_Unsigned code = (lua_Unsigned)luaL_checkinteger(L, i);
        luaL_argcheck(L, code <= CODE_MAX, i, "value out of range");
        luaL_addlstring(&b, text, encode((uint32_t)code, text));
        weir_lib_work(L, &done, 1, LOOK_BYTES);
    }
    luaL_pushresult(&b);
    return 1;
}

/* utf8.codepoint(s [, i [, j [, lax]]]) */
WEIR_L_RAISES static int l_codepoint(lua_State *L)
{
    size_t len;
    luaL_checklstring(L, 1, &len);
    weir_lib_check_slice(L, len, "string slice too long");
    return weir_lib_stock(L);
}

void weir_lib_utf8_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"len", l_len}, {"offset", l_offset}, {"char", l_char}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    weir_lib_wrap(L, "codepoint", l_codepoint);
}
