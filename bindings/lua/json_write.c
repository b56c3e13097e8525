/* Straight into the VM's buffer. Nothing here allocates in Lua's memory, so no collection begins and no finalizer runs; the buffer itself
 * may need one, without finalizers (vm.h). */
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json_chars.h"
#include "base/number.h"
#include "lua/json.h"
#include "lua/lib.h"

enum { POLL_EVERY = 4096 }; /* values between two looks at the limits */

struct writer {
    lua_State *L;
    struct weir_vm_buffer *out;
    const void *array_meta;
    struct weir_json_why *why;
    int depth;
    unsigned until_poll;
};

static bool fail(struct writer *w, const char *text)
{
    snprintf(w->why->text, sizeof w->why->text, "%s", text);
    w->why->path[0] = '\0';
    return false;
}

static bool fail_type(struct writer *w, int idx)
{
    snprintf(w->why->text, sizeof w->why->text, "a %s has no JSON", lua_typename(w->L, lua_type(w->L, idx)));
    w->why->path[0] = '\0';
    return false;
}

/* Puts a step in front of the path, on the way back from where it failed. false. */
static bool prepend_step(struct writer *w, const char *step, bool name)
{
    char path[sizeof w->why->path];
    int n = snprintf(path, sizeof path, name ? ".%s%s" : "[%s]%s", step, w->why->path);
    if (n > 0) /* a path that is too long is cut */
        memcpy(w->why->path, path, sizeof path);
    return false;
}

/* Room for `len` bytes more; their place. */
WEIR_L_RAISES static inline char *room(struct writer *w, size_t len)
{
    if (w->out->cap - w->out->len < len)
        weir_vm_buffer_grow(w->L, len);
    return (char *)w->out->data + w->out->len;
}

WEIR_L_RAISES static void put(struct writer *w, const void *bytes, size_t len)
{
    memcpy(room(w, len), bytes, len);
    w->out->len += len;
}

WEIR_L_RAISES static inline void put_char(struct writer *w, char c)
{
    *room(w, 1) = c;
    w->out->len++;
}

WEIR_L_RAISES static void put_escape(struct writer *w, unsigned char c)
{
    static const char escapes[][3] = {['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f",
                                      ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\"};
    static const char hex[] = "0123456789abcdef";
    if (escapes[c][0] != '\0') { /* only bytes up to the backslash come here */
        put(w, escapes[c], 2);
        return;
    }
    char text[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    put(w, text, sizeof text);
}

/* What follows the plain beginning of a string. false: it is no UTF-8. */
WEIR_L_RAISES static bool put_odd(struct writer *w, const unsigned char *s, size_t len)
{
    for (size_t n = 0; len > 0; s += n, len -= n) {
        if (*s < 0x20 || *s == '"' || *s == '\\') {
            put_escape(w, *s);
            n = 1;
            continue;
        }
        n = *s < 0x80 ? weir_json_chars_plain(s, len) : weir_json_chars_utf8(s, len);
        if (n == 0)
            return false;
        put(w, s, n);
    }
    return true;
}

/* false: the string is no UTF-8. */
WEIR_L_RAISES static bool write_string(struct writer *w, const char *s, size_t len)
{
    char *to = room(w, len + 2);
    size_t plain = weir_json_chars_plain((const unsigned char *)s, len);
    *to = '"';
    memcpy(to + 1, s, plain);
    w->out->len += 1 + plain;
    if (plain < len && !put_odd(w, (const unsigned char *)s + plain, len - plain))
        return false;
    put_char(w, '"');
    return true;
}

WEIR_L_RAISES static bool write_number(struct writer *w, int idx)
{
    if (lua_isinteger(w->L, idx)) {
        w->out->len += weir_number_put_int(room(w, WEIR_NUMBER_MAX), lua_tointeger(w->L, idx));
        return true;
    }
    double d = lua_tonumber(w->L, idx);
    if (!isfinite(d))
        return fail(w, "NaN and infinity have no JSON");
    w->out->len += weir_number_put_float(room(w, WEIR_NUMBER_MAX), d);
    return true;
}

WEIR_L_RAISES static bool write_value(struct writer *w, int idx);

/* The key at the stack's index `k` as text; NULL: it can't be one. */
static const char *key_text(lua_State *L, int k, char *number, size_t size, size_t *ret_len)
{
    if (lua_type(L, k) == LUA_TSTRING)
        return lua_tolstring(L, k, ret_len);
    if (lua_type(L, k) != LUA_TNUMBER)
        return NULL;
    int n = lua_isinteger(L, k) ? snprintf(number, size, LUA_INTEGER_FMT, (LUAI_UACINT)lua_tointeger(L, k))
                                : snprintf(number, size, LUA_NUMBER_FMT, (LUAI_UACNUMBER)lua_tonumber(L, k));
    *ret_len = (size_t)n;
    return number;
}

WEIR_L_RAISES static bool write_entry(struct writer *w, int t)
{
    char number[64];
    size_t len = 0;
    const char *key = key_text(w->L, t + 1, number, sizeof number, &len);
    if (key == NULL || strlen(key) != len)
        return fail(w, "a key must be a string without NUL, or a number");
    if (!write_string(w, key, len))
        return fail(w, "a key that is not UTF-8 has no JSON");
    put_char(w, ':');
    return write_value(w, t + 2) || prepend_step(w, key, true);
}

WEIR_L_RAISES static bool write_object(struct writer *w, int t)
{
    lua_State *L = w->L;
    char before = '{';
    lua_pushnil(L);
    while (lua_next(L, t)) {
        put_char(w, before);
        before = ',';
        if (!write_entry(w, t))
            return false;
        lua_settop(L, t + 1);
    }
    if (before == '{')
        put_char(w, '{');
    put_char(w, '}');
    return true;
}

WEIR_L_RAISES static bool write_array(struct writer *w, int t, size_t n)
{
    lua_State *L = w->L;
    put_char(w, '[');
    for (size_t i = 1; i <= n; i++) {
        if (i > 1)
            put_char(w, ',');
        lua_rawgeti(L, t, (lua_Integer)i);
        if (!write_value(w, t + 1)) {
            char step[24];
            snprintf(step, sizeof step, "%zu", i);
            return prepend_step(w, step, false);
        }
        lua_settop(L, t);
    }
    put_char(w, ']');
    return true;
}

/* Whether the table's keys are exactly 1..n. */
static bool is_array(lua_State *L, int t, size_t n)
{
    size_t count = 0;
    lua_pushnil(L);
    while (lua_next(L, t)) {
        lua_Integer k = lua_isinteger(L, t + 1) ? lua_tointeger(L, t + 1) : 0;
        if (k < 1 || (lua_Unsigned)k > n) {
            lua_settop(L, t);
            return false;
        }
        count++;
        lua_settop(L, t + 1);
    }
    return count == n;
}

static bool is_marked(const struct writer *w, int t)
{
    if (!lua_getmetatable(w->L, t))
        return false;
    bool marked = lua_topointer(w->L, -1) == w->array_meta;
    lua_pop(w->L, 1);
    return marked;
}

WEIR_L_RAISES static bool write_table(struct writer *w, int idx)
{
    lua_State *L = w->L;
    if (w->depth == WEIR_JSON_DEPTH_MAX)
        return fail(w, "nested deeper than 128 levels (or a table that contains itself)");
    luaL_checkstack(L, 8, "weir.json.encode");
    w->depth++;
    lua_pushvalue(L, idx); /* a copy whose key and value are right above it */
    int t = lua_gettop(L);
    size_t n = lua_rawlen(L, t);
    bool array = is_marked(w, t) || (n > 0 && is_array(L, t, n));
    bool ok = array ? write_array(w, t, n) : write_object(w, t);
    lua_settop(L, t - 1);
    w->depth--;
    return ok;
}

WEIR_L_RAISES static bool write_value(struct writer *w, int idx)
{
    size_t len;
    const char *s;
    if (--w->until_poll == 0) {
        w->until_poll = POLL_EVERY;
        weir_lib_look(w->L);
    }
    switch (lua_type(w->L, idx)) {
    case LUA_TSTRING:
        s = lua_tolstring(w->L, idx, &len);
        return write_string(w, s, len) || fail(w, "a string that is not UTF-8 has no JSON");
    case LUA_TNUMBER:
        return write_number(w, idx);
    case LUA_TTABLE:
        return write_table(w, idx);
    case LUA_TBOOLEAN:
        if (lua_toboolean(w->L, idx))
            put(w, "true", 4);
        else
            put(w, "false", 5);
        return true;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(w->L, idx) != weir_json_null())
            return fail_type(w, idx);
        /* fall through */
    case LUA_TNIL:
        put(w, "null", 4);
        return true;
    default:
        return fail_type(w, idx);
    }
}

WEIR_L_RAISES bool weir_json_write(lua_State *L, int idx, struct weir_json_why *why)
{
    struct weir_vm *vm = weir_vm_of(L);
    struct writer w = {.L = L, .out = &vm->buffer, .array_meta = vm->array_meta, .why = why, .until_poll = POLL_EVERY};
    size_t start = w.out->len;
    int top = lua_gettop(L);
    if (write_value(&w, lua_absindex(L, idx)))
        return true;
    w.out->len = start;
    lua_settop(L, top);
    return false;
}
