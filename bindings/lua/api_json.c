/* weir.json: encode, decode, array, null. */
#include <lauxlib.h>
#include <string.h>

#include "lua/api.h"
#include "lua/json.h"

void *weir_json_null(void)
{
    static char null; /* only its address counts */
    return &null;
}

WEIR_L_RAISES static int l_decode(lua_State *L)
{
    const char *text = weir_api_check_string(L, 1, "weir.json.decode: the text");
    lua_settop(L, 1);
    weir_vm_of(L)->buffer.len = 0;
    if (weir_json_read(L, text, lua_rawlen(L, 1)))
        return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

WEIR_L_RAISES static int l_encode(lua_State *L)
{
    struct weir_json_why why;
    struct weir_vm_buffer *buffer = &weir_vm_of(L)->buffer;
    if (lua_isnone(L, 1))
        luaL_error(L, "weir.json.encode: no value was given (nil is one)");
    lua_settop(L, 1);
    buffer->len = 0;
    if (!weir_json_write(L, 1, &why)) {
        lua_pushnil(L);
        if (why.path[0] != '\0')
            lua_pushfstring(L, "%s: %s", why.path[0] == '.' ? why.path + 1 : why.path, why.text);
        else
            lua_pushstring(L, why.text);
        return 2;
    }
    lua_pushlstring(L, (const char *)buffer->data, buffer->len);
    buffer->len = 0;
    return 1;
}

WEIR_L_RAISES static int l_array(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_isnil(L, 1)) {
        lua_newtable(L);
        lua_replace(L, 1);
    }
    if (!lua_istable(L, 1))
        luaL_error(L, "weir.json.array: it takes a table, this is a %s", luaL_typename(L, 1));
    if (lua_getmetatable(L, 1) && lua_topointer(L, -1) != weir_vm_of(L)->array_meta)
        luaL_error(L, "weir.json.array: the table has a metatable already");
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
    luaL_newmetatable(L, "weir.json.array");
    vm->array_meta = lua_topointer(L, -1);
    vm->array_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, weir_json_null());
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
}
