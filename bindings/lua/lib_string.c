/* The functions of `string` that patterns have no part in. rep, reverse, lower and upper work in pieces;
 * format, pack, packsize and unpack are stock, with a bound on what they are given. */
#include <ctype.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "lua/lib.h"

enum {
    PIECE = 1 << 20,            /* bytes copied between looks at the limits */
    TURN_PIECE = 1 << 18,       /* bytes changed one by one */
    FORMAT_ARGS_MAX = 2500,     /* one takes up to 8 us */
    FORMAT_BYTES_MAX = 4 << 20, /* of the format and its strings */
    QUOTE_BYTES_MAX =
        512 << 10, /* the same with %q, which takes each byte by itself, and makes up to four of it */
    PACK_FORMAT_MAX = 1 << 20,  /* bytes of a format of pack */
    PACK_PADDING_MAX = 4 << 20, /* the sizes in it, which are filled byte by byte */
};

/* --- rep --- */

/* Fills `size` bytes with the first `unit` of them, again and again. What is copied is always a whole number
 * of units, but for the last. */
WEIR_L_RAISES static void fill(lua_State *L, char *out, size_t unit, size_t size)
{
    size_t block = unit, done = 0;
    for (size_t have = unit; have < size;) {
        size_t n = block < size - have ? block : size - have;
        memcpy(out + have, out, n);
        have += n;
        if (block < PIECE)
            block = have;
        weir_lib_work(L, &done, n, PIECE);
    }
}

WEIR_L_RAISES static int l_rep(lua_State *L)
{
    size_t len, sep_len;
    const char *s = luaL_checklstring(L, 1, &len);
    lua_Integer n = luaL_checkinteger(L, 2);
    const char *sep = luaL_optlstring(L, 3, "", &sep_len);
    size_t unit = len + sep_len;
    if (n <= 0 || unit == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (unit < len || unit > (size_t)PTRDIFF_MAX / (lua_Unsigned)n)
        return luaL_error(L, "resulting string too large");
    luaL_Buffer b;
    size_t size = unit * (size_t)n - sep_len;
    char *out = luaL_buffinitsize(L, &b, size);
    memcpy(out, s, len);
    if (n > 1) {
        memcpy(out + len, sep, sep_len);
        fill(L, out, unit, size);
    }
    luaL_pushresultsize(&b, size);
    return 1;
}

/* --- byte by byte --- */

WEIR_L_RAISES static int l_reverse(lua_State *L)
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, len);
    for (size_t i = 0, to; i < len; weir_lib_look(L))
        for (to = len - i < TURN_PIECE ? len : i + TURN_PIECE; i < to; i++)
            out[i] = s[len - 1 - i];
    luaL_pushresultsize(&b, len);
    return 1;
}

/* Written twice, since a call for each byte takes three times as long. */
WEIR_L_RAISES static int l_lower(lua_State *L)
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, len);
    for (size_t i = 0, to; i < len; weir_lib_look(L))
        for (to = len - i < TURN_PIECE ? len : i + TURN_PIECE; i < to; i++)
            out[i] = (char)tolower((unsigned char)s[i]);
    luaL_pushresultsize(&b, len);
    return 1;
}

WEIR_L_RAISES static int l_upper(lua_State *L)
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, len);
    for (size_t i = 0, to; i < len; weir_lib_look(L))
        for (to = len - i < TURN_PIECE ? len : i + TURN_PIECE; i < to; i++)
            out[i] = (char)toupper((unsigned char)s[i]);
    luaL_pushresultsize(&b, len);
    return 1;
}

/* --- stock ones with bounds --- */

/* The bytes of the string arguments from `from` on, one that is given twice counted twice. */
static size_t string_bytes(lua_State *L, int from)
{
    size_t sum = 0;
    for (int i = lua_gettop(L); i >= from; i--)
        if (lua_type(L, i) == LUA_TSTRING)
            sum += lua_rawlen(L, i);
    return sum;
}

/* string.byte(s [, i [, j]]) */
WEIR_L_RAISES static int l_byte(lua_State *L)
{
    size_t len;
    luaL_checklstring(L, 1, &len);
    weir_lib_check_slice(L, len, "string slice too long");
    return weir_lib_stock(L);
}

WEIR_L_RAISES static int l_format(lua_State *L)
{
    int args = lua_gettop(L);
    size_t bytes = string_bytes(L, 1);
    if (args > FORMAT_ARGS_MAX)
        return luaL_error(L, "string.format: %d arguments are too many at once (at most %d)", args,
                          FORMAT_ARGS_MAX);
    if (bytes > QUOTE_BYTES_MAX) {
        bool quotes = strstr(luaL_checkstring(L, 1), "%q") != NULL;
        size_t max = quotes ? QUOTE_BYTES_MAX : FORMAT_BYTES_MAX;
        if (bytes > max)
            return luaL_error(
                L, "string.format: %I bytes of strings are too many at once (at most %I%s); use table.concat",
                (LUAI_UACINT)bytes, (LUAI_UACINT)max, quotes ? " with %q" : "");
    }
    return weir_lib_stock(L);
}

/* The numbers in a format of pack, added up. */
static uint64_t pack_sizes(const char *format)
{
    uint64_t sum = 0;
    while (*format != '\0') {
        uint64_t n = 0;
        for (; isdigit((unsigned char)*format); format++)
            n = n < INT_MAX ? n * 10 + (uint64_t)(*format - '0') : n;
        sum += n;
        format += *format != '\0';
    }
    return sum;
}

WEIR_L_RAISES static const char *check_pack_format(lua_State *L, const char *name)
{
    size_t len;
    const char *format = luaL_checklstring(L, 1, &len);
    if (len > PACK_FORMAT_MAX)
        luaL_error(L, "%s: a format of %I bytes is too long (at most %d)", name, (LUAI_UACINT)len,
                   PACK_FORMAT_MAX);
    return format;
}

WEIR_L_RAISES static int l_pack(lua_State *L)
{
    uint64_t padding = pack_sizes(check_pack_format(L, "string.pack"));
    if (padding > PACK_PADDING_MAX)
        return luaL_error(
            L,
            "string.pack: the sizes in the format come to %I bytes, which are too many at once (at most %d)",
            (LUAI_UACINT)padding, PACK_PADDING_MAX);
    return weir_lib_stock(L);
}

WEIR_L_RAISES static int l_packsize(lua_State *L)
{
    check_pack_format(L, "string.packsize");
    return weir_lib_stock(L);
}

WEIR_L_RAISES static int l_unpack(lua_State *L)
{
    check_pack_format(L, "string.unpack");
    return weir_lib_stock(L);
}

void weir_lib_string_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"rep", l_rep}, {"reverse", l_reverse}, {"lower", l_lower}, {"upper", l_upper}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    weir_lib_wrap(L, "byte", l_byte);
    weir_lib_wrap(L, "format", l_format);
    weir_lib_wrap(L, "pack", l_pack);
    weir_lib_wrap(L, "packsize", l_packsize);
    weir_lib_wrap(L, "unpack", l_unpack);
    weir_lib_match_open(L);
}
