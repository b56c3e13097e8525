/* MessagePack to Lua values: msgpack-c's parser template with callbacks that build on the Lua stack. A
 * container is pushed when it begins; its items follow above it, and each finished item (or key and value) is
 * moved into it. */
#include <lauxlib.h>
#include <math.h>
#include <msgpack/unpack.h>
#include <msgpack/unpack_define.h>

#include "lua/convert.h"
#include "lua/json.h"
#include "lua/request_ud.h"

struct reader {
    lua_State *L;
    size_t index; /* the event whose request an extension stands for */
    bool had_request;
};

/* What the parser keeps of each value: of an array how far it is, of a possible key whether it can be one. */
struct object {
    uint32_t next;
    bool no_key;
};

#define CALLBACK WEIR_L_RAISES static inline int

static inline struct object cb_root(struct reader *r)
{
    (void)r; /* the parser's signature */
    return (struct object){.next = 0, .no_key = false};
}

#define INTEGER_CALLBACK(name, type)                                                                         \
    CALLBACK cb##name(struct reader *r, type v, struct object *o)                                            \
    {                                                                                                        \
        o->no_key = false;                                                                                   \
        lua_pushinteger(r->L, (lua_Integer)v);                                                               \
        return 0;                                                                                            \
    }
INTEGER_CALLBACK(_uint8, uint8_t)
INTEGER_CALLBACK(_uint16, uint16_t)
INTEGER_CALLBACK(_uint32, uint32_t)
INTEGER_CALLBACK(_int8, int8_t)
INTEGER_CALLBACK(_int16, int16_t)
INTEGER_CALLBACK(_int32, int32_t)
INTEGER_CALLBACK(_int64, int64_t)

CALLBACK cb_uint64(struct reader *r, uint64_t v, struct object *o)
{
    o->no_key = false;
    if (v <= INT64_MAX)
        lua_pushinteger(r->L, (lua_Integer)v);
    else
        lua_pushnumber(r->L, (lua_Number)v); /* Lua has no integer of that size */
    return 0;
}

CALLBACK cb_double(struct reader *r, double v, struct object *o)
{
    o->no_key = isnan(v);
    lua_pushnumber(r->L, v);
    return 0;
}

CALLBACK cb_float(struct reader *r, float v, struct object *o)
{
    return cb_double(r, (double)v, o);
}

/* Lua tables hold no nil, so inside one it is weir.json.null. */
CALLBACK cb_nil(struct reader *r, struct object *o)
{
    o->no_key = true;
    lua_pushlightuserdata(r->L, weir_json_null());
    return 0;
}

CALLBACK cb_true(struct reader *r, struct object *o)
{
    o->no_key = false;
    lua_pushboolean(r->L, 1);
    return 0;
}

CALLBACK cb_false(struct reader *r, struct object *o)
{
    o->no_key = false;
    lua_pushboolean(r->L, 0);
    return 0;
}

CALLBACK cb_array(struct reader *r, unsigned int n, struct object *o)
{
    o->next = 0;
    o->no_key = true;
    luaL_checkstack(r->L, 4, NULL);
    lua_createtable(r->L, (int)n, 0);
    if (n == 0) { /* marked, as weir.json.array does: nothing else tells it from an empty map */
        lua_rawgeti(r->L, LUA_REGISTRYINDEX, weir_vm_of(r->L)->array_ref);
        lua_setmetatable(r->L, -2);
    }
    return 0;
}

CALLBACK cb_map(struct reader *r, unsigned int n, struct object *o)
{
    o->no_key = true;
    luaL_checkstack(r->L, 4, NULL);
    lua_createtable(r->L, 0, (int)n);
    return 0;
}

CALLBACK cb_array_item(struct reader *r, struct object *array, struct object item)
{
    (void)item; /* it is on the Lua stack */
    lua_rawseti(r->L, -2, ++array->next);
    return 0;
}

CALLBACK cb_map_item(struct reader *r, struct object *map, struct object key, struct object value)
{
    (void)map;
    (void)value; /* on the Lua stack, as the key and the map */
    if (key.no_key)
        luaL_error(r->L,
                   "the event can't be read: a map in it has a key that is no string, number or boolean");
    lua_rawset(r->L, -3);
    return 0;
}

CALLBACK cb_str(struct reader *r, const char *base, const char *s, unsigned int len, struct object *o)
{
    (void)base; /* the parser's signature */
    o->no_key = false;
    lua_pushlstring(r->L, s, len);
    return 0;
}

CALLBACK cb_bin(struct reader *r, const char *base, const char *s, unsigned int len, struct object *o)
{
    return cb_str(r, base, s, len, o);
}

/* `s` begins with the extension's type; `len` counts it too. */
CALLBACK cb_ext(struct reader *r, const char *base, const char *s, unsigned int len, struct object *o)
{
    (void)base;
    o->no_key = true;
    if (len != 1 || s[0] != WEIR_VALUE_EXT_REQUEST)
        luaL_error(r->L, "the event can't be read: it has a MessagePack extension of type %d", (int)s[0]);
    if (r->had_request)
        luaL_error(r->L, "the event can't be read: it has two request handles");
    r->had_request = true;
    weir_request_ud_push(r->L, r->index);
    return 0;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wconversion" /* as written by its authors */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#define msgpack_unpack_struct(name)    struct parser##name
#define msgpack_unpack_func(ret, name) static inline ret parser##name
#define msgpack_unpack_callback(name)  cb##name
#define msgpack_unpack_object          struct object
#define msgpack_unpack_user            struct reader
#include <msgpack/unpack_template.h>
#pragma GCC diagnostic pop

WEIR_L_RAISES static void push_bytes(lua_State *L, const struct weir_blob *blob, size_t index)
{
    struct parser_context parser;
    parser_init(&parser);
    parser.user = (struct reader){.L = L, .index = index, .had_request = false};
    size_t used = 0;
    if (parser_execute(&parser, (const char *)blob->data, blob->len, &used) != 1)
        luaL_error(L, "the event can't be read: its bytes are no MessagePack value of at most 30 levels");
    if (lua_touserdata(L, -1) == weir_json_null()) { /* nil with nothing around it is nil */
        lua_pop(L, 1);
        lua_pushnil(L);
    }
}

WEIR_L_RAISES void weir_convert_push(lua_State *L, struct weir_value v, size_t index)
{
    switch (v.kind) {
    case WEIR_VALUE_NIL:
        lua_pushnil(L);
        break;
    case WEIR_VALUE_BOOL:
        lua_pushboolean(L, v.boolean);
        break;
    case WEIR_VALUE_INT:
        lua_pushinteger(L, v.integer);
        break;
    case WEIR_VALUE_FLOAT:
        lua_pushnumber(L, v.number);
        break;
    case WEIR_VALUE_REQUEST:
        weir_request_ud_push(L, index);
        break;
    case WEIR_VALUE_BYTES:
        push_bytes(L, v.blob, index);
        break;
    }
}
