#include "lua/config.h"

#include <lauxlib.h>
#include <string.h>

#include "config/conf.h"
#include "core/graph.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "lua/script.h"

WEIR_L_RAISES void weir_config_push(lua_State *L, const struct weir_conf *c)
{
    size_t len, n = weir_conf_size(c);
    luaL_checkstack(L, 6, "config");
    switch (weir_conf_kind(c)) {
    case WEIR_CONF_NIL:
        lua_pushnil(L);
        break;
    case WEIR_CONF_BOOL:
        lua_pushboolean(L, weir_conf_bool(c));
        break;
    case WEIR_CONF_INT:
        lua_pushinteger(L, weir_conf_int(c));
        break;
    case WEIR_CONF_FLOAT:
        lua_pushnumber(L, weir_conf_float(c));
        break;
    case WEIR_CONF_STRING: {
        const char *s = weir_conf_string(c, &len);
        lua_pushlstring(L, s, len);
        break;
    }
    case WEIR_CONF_LIST:
        lua_createtable(L, (int)n, 0);
        for (size_t i = 0; i < n; i++) {
            weir_config_push(L, weir_conf_at(c, i));
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case WEIR_CONF_MAP:
        lua_createtable(L, 0, (int)n);
        for (size_t i = 0; i < n; i++) {
            weir_config_push(L, weir_conf_at(c, i));
            lua_setfield(L, -2, weir_conf_key(c, i));
        }
        break;
    }
}

WEIR_L_RAISES void weir_config_push_ctx(lua_State *L, const struct weir_vm *vm)
{
    lua_createtable(L, 0, 4);
    if (weir_conf_kind(vm->script->config) == WEIR_CONF_NIL)
        lua_newtable(L);
    else
        weir_config_push(L, vm->script->config);
    lua_setfield(L, -2, "config");
    if (vm->seat == NULL)
        return;
    lua_pushstring(L, vm->seat->stage->name);
    lua_setfield(L, -2, "stage");
    lua_pushinteger(L, (lua_Integer)vm->seat->worker->index);
    lua_setfield(L, -2, "worker");
    lua_pushinteger(L, (lua_Integer)vm->seat->stage->generation);
    lua_setfield(L, -2, "generation");
}

WEIR_L_RAISES int weir_config_push_class(lua_State *L, uint8_t class_index)
{
    const struct weir_graph *g = weir_vm_of(L)->seat->stage->graph;
    lua_pushstring(L, weir_graph_class_name(g, class_index));
    return 1;
}

WEIR_L_RAISES int weir_config_check_class(lua_State *L, int idx, const char *what)
{
    const struct weir_graph *g = weir_vm_of(L)->seat->stage->graph;
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "%s: the class must be a string, it is a %s", what, luaL_typename(L, idx));
    const char *name = lua_tostring(L, idx);
    int found = weir_graph_class(g, name, strlen(name));
    if (found >= 0)
        return found;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < g->class_count; i++) {
        luaL_addstring(&b, i == 0 ? "'" : ", '");
        luaL_addstring(&b, weir_graph_class_name(g, i));
        luaL_addstring(&b, "'");
    }
    luaL_pushresult(&b);
    return luaL_error(L, "%s: there is no class '%s'; the classes are %s", what, name, lua_tostring(L, -1));
}
