/* weir.log.debug|info|warn|error(message, fields), and print, which is weir.log.info of its arguments. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/seat.h"
#include "core/stage.h"
#include "lua/api.h"
#include "lua/log.h"
#include "lua/script.h"

void weir_lua_log_where(const struct weir_vm *vm, char *buffer, size_t size)
{
    if (vm->seat != NULL)
        snprintf(buffer, size, "stage %s", vm->seat->stage->name);
    else
        snprintf(buffer, size, "%s", vm->script->file);
}

/* The fields at `idx` as the text of a JSON object, to be freed; NULL: there are none. Never raises. */
static char *fields_text(lua_State *L, int idx)
{
    struct weir_json_why why;
    int precision;
    if (!lua_istable(L, idx))
        return NULL;
    json_t *tree = weir_json_from_lua(L, idx, &precision, &why);
    if (tree != NULL && !json_is_object(tree)) { /* the log's fields are an object */
        json_t *outer = json_pack("{s:o}", "values", tree);
        tree = outer;
    }
    if (tree == NULL)
        tree = json_pack("{s:s++}", "fields_error", why.path, ": ", why.text);
    char *text = tree != NULL ? weir_json_text(tree, precision) : NULL;
    json_decref(tree);
    return text;
}

WEIR_L_RAISES static int write_log(lua_State *L, enum weir_log_level level)
{
    if (!weir_log_enabled(level))
        return 0;
    char where[128];
    if (lua_isnone(L, 1))
        luaL_error(L, "weir.log: no message was given");
    lua_settop(L, 2);
    const char *text = luaL_tolstring(L, 1, NULL);
    if (!lua_isnoneornil(L, 2) && !lua_istable(L, 2))
        luaL_error(L, "weir.log: fields must be a table, they are a %s", luaL_typename(L, 2));
    weir_lua_log_where(weir_vm_of(L), where, sizeof where);
    char *fields = fields_text(L, 2);
    weir_log(level, where, fields, "%s", text);
    free(fields); /* jansson's memory */
    return 0;
}

WEIR_L_RAISES static int l_debug(lua_State *L)
{
    return write_log(L, WEIR_LOG_DEBUG);
}

WEIR_L_RAISES static int l_info(lua_State *L)
{
    return write_log(L, WEIR_LOG_INFO);
}

WEIR_L_RAISES static int l_warn(lua_State *L)
{
    return write_log(L, WEIR_LOG_WARN);
}

WEIR_L_RAISES static int l_error(lua_State *L)
{
    return write_log(L, WEIR_LOG_ERROR);
}

WEIR_L_RAISES int weir_l_print(lua_State *L)
{
    int n = lua_gettop(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    if (n > 0)
        lua_replace(L, 1);
    lua_settop(L, 1);
    return write_log(L, WEIR_LOG_INFO);
}

WEIR_L_RAISES void weir_api_log_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"debug", l_debug}, {"info", l_info}, {"warn", l_warn}, {"error", l_error}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "log");
}
