/* Lua values to MessagePack. The formats are msgpack-c's own templates, writing straight into the VM's
 * buffer. A map is walked once: its header is written first and put right at the end. A table with a length
 * has its keys looked at before that, to tell whether it is an array. */
#include <lauxlib.h>
#include <string.h>

#include "lua/convert.h"
#include "lua/json.h"
#include "lua/request_ud.h"

/* msgpack/pack_template.h asks for these names: what a writer is, and how it appends. Its functions return
 * what the appending returns; ours raises instead of failing. */
struct writer {
    struct weir_vm *vm;
    struct weir_vm_buffer *out;
    lua_State *L;
    const char *what;
    size_t start; /* where this value began in `out` */
    struct weir_request_ud *request;
    int depth;
    int tables[WEIR_VALUE_MAX_DEPTH +
               1]; /* where on the Lua stack the tables above are; each one's current key is right above it */
};

WEIR_L_RAISES static void more_room(struct writer *w, size_t len)
{
    if (w->out->len - w->start + len > WEIR_VALUE_MAX_BYTES)
        luaL_error(w->L, "%s: larger than %d bytes", w->what, WEIR_VALUE_MAX_BYTES);
    weir_vm_buffer_grow(w->L, len);
}

WEIR_L_RAISES static inline int append(struct writer *w, const void *bytes, size_t len)
{
    if (w->out->cap - w->out->len < len || w->out->len - w->start + len > WEIR_VALUE_MAX_BYTES)
        more_room(w, len);
    memcpy(w->out->data + w->out->len, bytes, len);
    w->out->len += len;
    return 0;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function" /* the template defines one for every format */
#pragma GCC diagnostic ignored "-Wconversion"      /* as written by its authors */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <msgpack/pack_define.h>
#include <msgpack/timestamp.h>
#define msgpack_pack_inline_func(name)             static inline int put##name
#define msgpack_pack_inline_func_cint(name)        static inline int put##name
#define msgpack_pack_user                          struct writer *
#define msgpack_pack_append_buffer(user, buf, len) return append((user), (buf), (len))
#include <msgpack/pack_template.h>
#pragma GCC diagnostic pop

WEIR_L_RAISES static void encode_value(struct writer *w, int idx);

static bool is_name(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || s[i] == '_';
        if (!letter && (i == 0 || s[i] < '0' || s[i] > '9'))
            return false;
    }
    return len > 0;
}

/* Adds one step of a path, for the key at `key`, to the buffer at the top of the Lua stack. */
WEIR_L_RAISES static void add_step(lua_State *L, luaL_Buffer *b, int key)
{
    size_t len;
    const char *s;
    switch (lua_type(L, key)) {
    case LUA_TSTRING:
        s = lua_tolstring(L, key, &len);
        if (is_name(s, len)) {
            luaL_addchar(b, '.');
            luaL_addlstring(b, s, len);
            break;
        }
        lua_pushfstring(L, "[\"%s\"]", s);
        luaL_addvalue(b);
        break;
    case LUA_TNUMBER:
        lua_pushvalue(L, key); /* lua_tolstring would change the key in place */
        lua_pushfstring(L, "[%s]", lua_tostring(L, -1));
        lua_remove(L, -2);
        luaL_addvalue(b);
        break;
    case LUA_TBOOLEAN:
        luaL_addstring(b, lua_toboolean(L, key) ? "[true]" : "[false]");
        break;
    default:
        lua_pushfstring(L, "[a %s]", luaL_typename(L, key));
        luaL_addvalue(b);
    }
}

/* Raises "event.items[3].cb: why", naming the value that the first `depth` tables on the way lead to. */
WEIR_L_RAISES static int refuse(struct writer *w, int depth, const char *why)
{
    lua_State *L = w->L;
    luaL_checkstack(L, 8, NULL);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, w->what);
    for (int i = 0; i < depth; i++)
        add_step(L, &b, w->tables[i] + 1);
    luaL_addstring(&b, ": ");
    luaL_addstring(&b, why);
    luaL_pushresult(&b);
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
    return lua_error(L);
}

WEIR_L_RAISES static int refuse_depth(struct writer *w)
{
    for (int inner = 1; inner <= w->depth; inner++) /* the first that comes round */
        for (int outer = 0; outer < inner; outer++)
            if (lua_rawequal(w->L, w->tables[inner], w->tables[outer]))
                return refuse(w, inner, "a table that contains itself can't be sent");
    return refuse(w, w->depth, "tables nested deeper than 30 levels can't be sent");
}

WEIR_L_RAISES static void encode_key(struct writer *w, int idx)
{
    int type = lua_type(w->L, idx);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
        lua_pushfstring(w->L, "a %s can't be a key of what is sent", luaL_typename(w->L, idx));
        w->depth--;
        refuse(w, w->depth, lua_tostring(w->L, -1));
    }
    encode_value(w, idx);
}

/* The header of a map of `count` entries instead of the one byte at `at`. */
WEIR_L_RAISES static void patch_header(struct writer *w, size_t at, size_t count)
{
    unsigned char head[5];
    size_t n = 1;
    if (count < 16) {
        head[0] = (unsigned char)(0x80 | count);
    } else if (count < 65536) {
        head[0] = 0xde;
        head[1] = (unsigned char)(count >> 8);
        head[2] = (unsigned char)count;
        n = 3;
    } else {
        head[0] = 0xdf;
        for (int i = 0; i < 4; i++)
            head[1 + i] = (unsigned char)(count >> (24 - 8 * i));
        n = 5;
    }
    if (n > 1) {
        append(w, head, n - 1); /* room; the contents move up into it */
        unsigned char *data = w->out->data;
        memmove(data + at + n, data + at + 1, w->out->len - at - n);
    }
    memcpy(w->out->data + at, head, n);
}

WEIR_L_RAISES static void encode_map(struct writer *w, int t)
{
    size_t at = w->out->len, count = 0;
    append(w, "", 1);
    lua_pushnil(w->L);
    while (lua_next(w->L, t)) {
        encode_key(w, t + 1);
        encode_value(w, t + 2);
        lua_settop(w->L, t + 1);
        count++;
    }
    patch_header(w, at, count);
}

/* Whether all keys are 1..n. Only keys are looked at, before anything is encoded: work that is thrown away when a named key turns up
 * would double with each level. */
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
        lua_pop(L, 1);
    }
    return count == n;
}

WEIR_L_RAISES static void encode_array(struct writer *w, int t, size_t n)
{
    put_array(w, n);
    for (size_t i = 1; i <= n; i++) {
        lua_pushinteger(w->L, (lua_Integer)i); /* the key, where refuse() looks for it */
        lua_rawgeti(w->L, t, (lua_Integer)i);
        encode_value(w, t + 2);
        lua_settop(w->L, t);
    }
}

static bool is_marked_array(struct writer *w, int t)
{
    if (!lua_getmetatable(w->L, t))
        return false;
    bool marked = lua_topointer(w->L, -1) == w->vm->array_meta;
    lua_pop(w->L, 1);
    return marked;
}

WEIR_L_RAISES static void encode_table(struct writer *w, int idx)
{
    lua_State *L = w->L;
    if (!lua_checkstack(L, 12))
        luaL_error(L, "%s: out of memory", w->what);
    lua_pushvalue(L, idx); /* a copy whose key and value are right above it */
    int t = lua_gettop(L);
    w->tables[w->depth] = t;
    if (w->depth == WEIR_VALUE_MAX_DEPTH)
        refuse_depth(w);
    w->depth++;
    size_t n = lua_rawlen(L, t);
    if (n == 0 && is_marked_array(w, t))
        put_array(w, 0);
    else if (n > 0 && is_array(L, t, n))
        encode_array(w, t, n);
    else
        encode_map(w, t);
    w->depth--;
    lua_settop(L, t - 1);
}

WEIR_L_RAISES static void encode_userdata(struct writer *w, int idx)
{
    struct weir_request_ud *r = weir_request_ud_test(w->L, idx);
    if (r == NULL)
        refuse(w, w->depth, "a userdata can't be sent");
    if (w->request != NULL)
        refuse(w, w->depth, "only one request can be sent with an event");
    const char *why = weir_request_ud_unusable(r);
    if (why != NULL)
        refuse(w, w->depth, why);
    w->request = r;
    append(w, (const unsigned char[]){0xc7, 0, WEIR_VALUE_EXT_REQUEST}, 3); /* ext 8 of no bytes */
}

WEIR_L_RAISES static void encode_value(struct writer *w, int idx)
{
    lua_State *L = w->L;
    size_t len;
    const char *s;
    switch (lua_type(L, idx)) {
    case LUA_TSTRING:
        s = lua_tolstring(L, idx, &len);
        if (len > WEIR_VALUE_MAX_BYTES)
            refuse(w, w->depth, "a string of more than 16 MiB can't be sent");
        put_str(w, len);
        put_str_body(w, s, len);
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, idx))
            put_int64(w, lua_tointeger(L, idx));
        else
            put_double(w, lua_tonumber(L, idx));
        break;
    case LUA_TBOOLEAN:
        if (lua_toboolean(L, idx))
            put_true(w);
        else
            put_false(w);
        break;
    case LUA_TTABLE:
        encode_table(w, idx);
        break;
    case LUA_TNIL:
        put_nil(w);
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, idx) == weir_json_null()) {
            put_nil(w);
            break;
        }
        /* fall through */
    case LUA_TUSERDATA:
        encode_userdata(w, idx);
        break;
    default:
        lua_pushfstring(L, "a %s can't be sent", luaL_typename(L, idx));
        refuse(w, w->depth, lua_tostring(L, -1));
    }
}

/* Values that need no bytes; false: `idx` is none of them. */
WEIR_L_RAISES static bool encode_scalar(lua_State *L, int idx, const char *what, struct weir_encoded *ret)
{
    struct weir_value *v = &ret->scalar;
    const char *why;
    switch (lua_type(L, idx)) {
    case LUA_TNIL:
    case LUA_TNONE:
        *v = WEIR_VALUE_NOTHING;
        return true;
    case LUA_TBOOLEAN:
        *v = (struct weir_value){.kind = WEIR_VALUE_BOOL, .boolean = lua_toboolean(L, idx) != 0};
        return true;
    case LUA_TNUMBER:
        if (lua_isinteger(L, idx))
            *v = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = lua_tointeger(L, idx)};
        else
            *v = (struct weir_value){.kind = WEIR_VALUE_FLOAT, .number = lua_tonumber(L, idx)};
        return true;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, idx) == weir_json_null()) {
            *v = WEIR_VALUE_NOTHING;
            return true;
        }
        /* fall through */
    case LUA_TUSERDATA:
        ret->request = weir_request_ud_test(L, idx);
        if (ret->request == NULL)
            return false;
        why = weir_request_ud_unusable(ret->request);
        if (why != NULL)
            luaL_error(L, "%s: %s", what, why);
        *v = (struct weir_value){.kind = WEIR_VALUE_REQUEST, .integer = 0};
        return true;
    default:
        return false;
    }
}

WEIR_L_RAISES void weir_convert_encode(lua_State *L, int idx, const char *what, struct weir_encoded *ret)
{
    ret->request = NULL;
    ret->len = 0;
    if (encode_scalar(L, idx, what, ret))
        return;
    struct weir_vm *vm = weir_vm_of(L);
    struct writer w;
    w.vm = vm;
    w.out = &vm->buffer;
    w.L = L;
    w.what = what;
    w.start = vm->buffer.len;
    w.request = NULL;
    w.depth = 0; /* the array of tables need not be cleared */
    encode_value(&w, lua_absindex(L, idx));
    ret->scalar.kind = WEIR_VALUE_BYTES;
    ret->start = w.start;
    ret->len = vm->buffer.len - w.start;
    ret->request = w.request;
}

bool weir_convert_take(struct weir_vm *vm, const struct weir_encoded *enc, struct weir_value *ret)
{
    if (enc->scalar.kind != WEIR_VALUE_BYTES) {
        *ret = enc->scalar;
        return true;
    }
    struct weir_blob *blob = weir_blob_create(enc->len);
    if (blob == NULL)
        return false;
    memcpy(blob->data, vm->buffer.data + enc->start, enc->len);
    *ret = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
    return true;
}
