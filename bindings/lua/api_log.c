/* weir.log.debug|info|warn|error(message, fields), and print, which is weir.log.info of its arguments. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "core/seat.h"
#include "core/stage.h"
#include "lua/api.h"
#include "lua/json.h"
#include "lua/log.h"
#include "lua/script.h"

void weir_lua_log_where(const struct weir_vm *vm, char *buffer, size_t size)
{
    if (vm->seat != NULL)
        snprintf(buffer, size, "stage %s", vm->seat->stage->name);
    else
        snprintf(buffer, size, "%s", vm->script->file);
}

WEIR_L_RAISES static void add_text(lua_State *L, const char *text, size_t len)
{
    struct weir_vm_buffer *out = &weir_vm_of(L)->buffer;
    weir_vm_buffer_grow(L, len);
    memcpy(out->data + out->len, text, len);
    out->len += len;
}

/* The fields at `idx` as the text of a JSON object, in the VM's buffer until that is used again; NULL: there are none. */
WEIR_L_RAISES static const char *fields_text(lua_State *L, int idx)
{
    static const char values[] = "{\"values\":", error[] = "{\"fields_error\":";
    struct weir_vm_buffer *out = &weir_vm_of(L)->buffer;
    struct weir_json_why why;
    if (!lua_istable(L, idx))
        return NULL;
    out->len = 0;
    add_text(L, values, sizeof values - 1);
    size_t start = out->len;
    bool ok = weir_json_write(L, idx, &why);
    bool object = ok && out->data[start] == '{'; /* else the log's fields, which are an object, get it as one of them */
    if (!ok) {
        lua_pushfstring(L, "%s: %s", why.path, why.text);
        out->len = 0;
        add_text(L, error, sizeof error - 1);
        if (!weir_json_write(L, -1, &why)) /* a key in the path was cut in the middle of a character */
            add_text(L, "\"?\"", 3);
        lua_pop(L, 1);
    }
    add_text(L, object ? "" : "}", object ? 1 : 2); /* with its NUL */
    const char *text = (const char *)out->data + (object ? start : 0);
    out->len = 0;
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
    weir_log(level, where, fields_text(L, 2), "%s", text);
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
