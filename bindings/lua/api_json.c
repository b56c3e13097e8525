/* weir.json on jansson. A tree of jansson's is built without calling anything that raises, or kept in a
 * userdata while something does. */
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/api.h"

enum {
    DEPTH_MAX = 128,      /* levels of nesting, both ways */
    PRECISION_LEAST = 15, /* digits that every decimal fraction of as many survives */
    PRECISION_FULL = 17,  /* … that every double survives */
};

void *weir_json_null(void)
{
    static char null; /* only its address counts */
    return &null;
}

/* --- Lua to JSON --- */

struct builder {
    lua_State *L;
    const void *array_meta;
    int depth, precision;
    struct weir_json_why *why;
};

static json_t *fail(struct builder *b, const char *text)
{
    snprintf(b->why->text, sizeof b->why->text, "%s", text);
    b->why->path[0] = '\0';
    return NULL;
}

static json_t *fail_type(struct builder *b, int idx)
{
    snprintf(b->why->text, sizeof b->why->text, "a %s has no JSON", lua_typename(b->L, lua_type(b->L, idx)));
    b->why->path[0] = '\0';
    return NULL;
}

/* Puts a step in front of the path, on the way back from where it failed. */
static void prepend_step(struct builder *b, const char *step, bool name)
{
    char path[sizeof b->why->path];
    int n = snprintf(path, sizeof path, name ? ".%s%s" : "[%s]%s", step, b->why->path);
    if (n > 0)
        memcpy(b->why->path, path, sizeof path);
}

static void note_precision(struct builder *b, double d)
{
    char text[40];
    for (int p = b->precision; p < PRECISION_FULL; p++) {
        snprintf(text, sizeof text, "%.*g", p, d);
        if (strtod(text, NULL) == d)
            return;
        b->precision = p + 1;
    }
}

static json_t *build(struct builder *b, int idx);

static json_t *build_number(struct builder *b, int idx)
{
    if (lua_isinteger(b->L, idx))
        return json_integer(lua_tointeger(b->L, idx));
    double d = lua_tonumber(b->L, idx);
    if (!isfinite(d))
        return fail(b, "NaN and infinity have no JSON");
    note_precision(b, d);
    return json_real(d);
}

static json_t *build_string(struct builder *b, int idx)
{
    size_t len;
    const char *s = lua_tolstring(b->L, idx, &len); /* a string: nothing is converted */
    json_t *j = json_stringn(s, len);
    return j != NULL ? j : fail(b, "a string that is not UTF-8 has no JSON");
}

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

static json_t *build_object(struct builder *b, int t)
{
    json_t *object = json_object();
    lua_pushnil(b->L);
    while (object != NULL && lua_next(b->L, t)) {
        char number[64];
        size_t len = 0;
        const char *key = key_text(b->L, t + 1, number, sizeof number, &len);
        json_t *value = key != NULL && strlen(key) == len
                            ? build(b, t + 2)
                            : fail(b, "a key must be a string without NUL, or a number");
        if (value == NULL && key != NULL)
            prepend_step(b, key, true);
        if (value == NULL || json_object_set_new(object, key, value) != 0) {
            if (value != NULL)
                fail(b, "a key that is not UTF-8 has no JSON");
            json_decref(object);
            return NULL;
        }
        lua_settop(b->L, t + 1);
    }
    return object != NULL ? object : fail(b, "out of memory");
}

static json_t *build_array(struct builder *b, int t, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 1; array != NULL && i <= n; i++) {
        lua_rawgeti(b->L, t, (lua_Integer)i);
        json_t *value = build(b, t + 1);
        lua_settop(b->L, t);
        if (value != NULL && json_array_append_new(array, value) == 0)
            continue;
        char step[24];
        snprintf(step, sizeof step, "%zu", i);
        prepend_step(b, step, false);
        json_decref(array);
        return NULL;
    }
    return array != NULL ? array : fail(b, "out of memory");
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

static bool is_marked(struct builder *b, int t)
{
    if (!lua_getmetatable(b->L, t))
        return false;
    bool marked = lua_topointer(b->L, -1) == b->array_meta;
    lua_pop(b->L, 1);
    return marked;
}

static json_t *build_table(struct builder *b, int idx)
{
    if (b->depth == DEPTH_MAX)
        return fail(b, "nested deeper than 128 levels (or a table that contains itself)");
    if (!lua_checkstack(b->L, 8))
        return fail(b, "out of memory");
    b->depth++;
    lua_pushvalue(b->L, idx);
    int t = lua_gettop(b->L);
    size_t n = lua_rawlen(b->L, t);
    bool array = is_marked(b, t) || (n > 0 && is_array(b->L, t, n));
    json_t *j = array ? build_array(b, t, n) : build_object(b, t);
    lua_settop(b->L, t - 1);
    b->depth--;
    return j;
}

static json_t *build(struct builder *b, int idx)
{
    switch (lua_type(b->L, idx)) {
    case LUA_TNIL:
        return json_null();
    case LUA_TBOOLEAN:
        return json_boolean(lua_toboolean(b->L, idx));
    case LUA_TNUMBER:
        return build_number(b, idx);
    case LUA_TSTRING:
        return build_string(b, idx);
    case LUA_TTABLE:
        return build_table(b, idx);
    case LUA_TLIGHTUSERDATA:
        return lua_touserdata(b->L, idx) == weir_json_null() ? json_null() : fail_type(b, idx);
    default:
        return fail_type(b, idx);
    }
}

json_t *weir_json_from_lua(lua_State *L, int idx, int *precision, struct weir_json_why *why)
{
    struct builder b = {
        .L = L, .array_meta = weir_vm_of(L)->array_meta, .precision = PRECISION_LEAST, .why = why};
    json_t *tree = build(&b, lua_absindex(L, idx));
    *precision = b.precision;
    return tree;
}

char *weir_json_text(const json_t *tree, int precision)
{
    return json_dumps(tree, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION((size_t)precision));
}

/* --- JSON to Lua --- */

struct box {
    json_t *tree; /* until the collector takes the box, should something raise */
    char *text;
};

WEIR_L_RAISES static int l_box_gc(lua_State *L)
{
    struct box *box = luaL_checkudata(L, 1, "weir.json.box");
    json_decref(box->tree);
    free(box->text); /* jansson's memory */
    box->tree = NULL;
    box->text = NULL;
    return 0;
}

WEIR_L_RAISES static struct box *push_box(lua_State *L)
{
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0);
    box->tree = NULL;
    box->text = NULL;
    luaL_setmetatable(L, "weir.json.box");
    return box;
}

WEIR_L_RAISES static int push_failure(lua_State *L, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    return 2;
}

WEIR_L_RAISES static bool push_tree(lua_State *L, const json_t *j, int depth);

WEIR_L_RAISES static bool push_array(lua_State *L, const json_t *j, int depth)
{
    size_t n = json_array_size(j);
    lua_createtable(L, (int)n, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, weir_vm_of(L)->array_ref);
    lua_setmetatable(L, -2);
    for (size_t i = 0; i < n; i++) {
        if (!push_tree(L, json_array_get(j, i), depth + 1))
            return false;
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return true;
}

WEIR_L_RAISES static bool push_object(lua_State *L, json_t *j, int depth)
{
    lua_createtable(L, 0, (int)json_object_size(j));
    for (void *at = json_object_iter(j); at != NULL; at = json_object_iter_next(j, at)) {
        lua_pushstring(L, json_object_iter_key(at));
        if (!push_tree(L, json_object_iter_value(at), depth + 1))
            return false;
        lua_rawset(L, -3);
    }
    return true;
}

/* false: nested too deep. */
WEIR_L_RAISES static bool push_tree(lua_State *L, const json_t *j, int depth)
{
    luaL_checkstack(L, 8, "weir.json.decode");
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        return depth < DEPTH_MAX &&
               push_object(L, (json_t *)j, depth); /* jansson's iterators want it writable and do not write */
    case JSON_ARRAY:
        return depth < DEPTH_MAX && push_array(L, j, depth);
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(j), json_string_length(j));
        return true;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(j));
        return true;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(j));
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(j));
        return true;
    case JSON_NULL:
        lua_pushlightuserdata(L, weir_json_null());
        return true;
    }
    return false;
}

WEIR_L_RAISES static int l_decode(lua_State *L)
{
    size_t len;
    json_error_t error;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_settop(L, 1);
    struct box *box = push_box(L);
    box->tree = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (box->tree == NULL) {
        lua_pushnil(L);
        lua_pushfstring(L, "line %d column %d: %s", error.line, error.column, error.text);
        return 2;
    }
    if (!push_tree(L, box->tree, 0)) {
        lua_settop(L, 2);
        return push_failure(L, "nested deeper than 128 levels");
    }
    json_decref(box->tree); /* sooner than the collector would */
    box->tree = NULL;
    return 1;
}

WEIR_L_RAISES static int l_encode(lua_State *L)
{
    struct weir_json_why why;
    int precision;
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct box *box = push_box(L);
    json_t *tree = weir_json_from_lua(L, 1, &precision, &why);
    if (tree == NULL) {
        lua_pushnil(L);
        if (why.path[0] != '\0')
            lua_pushfstring(L, "%s: %s", why.path[0] == '.' ? why.path + 1 : why.path, why.text);
        else
            lua_pushstring(L, why.text);
        return 2;
    }
    box->text = weir_json_text(tree, precision);
    json_decref(tree);
    if (box->text == NULL)
        return push_failure(L, "out of memory");
    lua_pushstring(L, box->text);
    free(box->text); /* jansson's memory */
    box->text = NULL;
    return 1;
}

WEIR_L_RAISES static int l_array(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getmetatable(L, 1) && lua_topointer(L, -1) != weir_vm_of(L)->array_meta)
        return luaL_argerror(L, 1, "it has a metatable already");
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, weir_vm_of(L)->array_ref);
    lua_setmetatable(L, 1);
    return 1;
}

WEIR_L_RAISES void weir_api_json_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"encode", l_encode}, {"decode", l_decode}, {"array", l_array}, {NULL, NULL}};
    struct weir_vm *vm = weir_vm_of(L);
    luaL_newmetatable(L, "weir.json.box");
    lua_pushcfunction(L, l_box_gc);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newmetatable(L, "weir.json.array");
    vm->array_meta = lua_topointer(L, -1);
    vm->array_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, weir_json_null());
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
}
