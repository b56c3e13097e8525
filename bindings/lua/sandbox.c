#include "lua/sandbox.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "lua/coro.h"
#include "lua/log.h"
#include "lua/require.h"
#include "lua/script.h"

struct library {
    const char *name;
    lua_CFunction open;
    bool safe; /* part of `safe`, perhaps cut down */
};

static const struct library libraries[] = {
    {LUA_STRLIBNAME, luaopen_string, true}, {LUA_TABLIBNAME, luaopen_table, true},
    {LUA_MATHLIBNAME, luaopen_math, true},  {LUA_UTF8LIBNAME, luaopen_utf8, true},
    {LUA_OSLIBNAME, luaopen_os, true},      {LUA_DBLIBNAME, luaopen_debug, true},
    {LUA_IOLIBNAME, luaopen_io, false},     {LUA_LOADLIBNAME, luaopen_package, false},
};

enum { LIBRARY_COUNT = sizeof libraries / sizeof libraries[0] };

static bool names(char *const *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

static bool is_library(const char *name)
{
    for (size_t i = 0; i < LIBRARY_COUNT; i++)
        if (strcmp(libraries[i].name, name) == 0)
            return true;
    return strcmp(name, "safe") == 0 || strcmp(name, "all") == 0 || strcmp(name, "base") == 0 ||
           strcmp(name, LUA_COLIBNAME) == 0;
}

int weir_sandbox_check(const struct weir_lua_options *options, struct weir_err *reterr)
{
    for (size_t i = 0; i < options->lib_count; i++)
        if (!is_library(options->libs[i]))
            return weir_err_set(reterr, WEIR_E_CONFIG,
                                "libs: there is no library '%s'; there are safe, all, base, coroutine, "
                                "string, table, math, utf8, os, debug, io, package",
                                options->libs[i]);
    return WEIR_OK;
}

/* --- functions of `safe` --- */

/* Upvalue 1: what is missing, upvalue 2: the setting that keeps it out. */
WEIR_L_RAISES static int l_missing(lua_State *L)
{
    return luaL_error(L, "%s is not in libs: %s", lua_tostring(L, lua_upvalueindex(1)),
                      lua_tostring(L, lua_upvalueindex(2)));
}

/* __index of a cut down library: a field that the stock library has is named. Upvalue 1: the library, 2: the
 * setting. */
WEIR_L_RAISES static int l_missing_field(lua_State *L)
{
    const char *field = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    return luaL_error(L, "%s.%s is not in libs: %s", lua_tostring(L, lua_upvalueindex(1)), field,
                      lua_tostring(L, lua_upvalueindex(2)));
}

/* load(chunk [, name [, mode [, env]]]) of text alone. Upvalue: the stock load. */
WEIR_L_RAISES static int l_load(lua_State *L)
{
    int n = lua_gettop(L);
    const char *mode = luaL_optstring(L, 3, "t");
    if (strchr(mode, 't') == NULL)
        return luaL_error(L, "load: only text can be loaded (mode \"t\")");
    if (n < 3)
        lua_settop(L, n = 3);
    lua_pushliteral(L, "t");
    lua_replace(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

/* setmetatable(table, meta) without finalizers, which can't be stopped when they run away. Upvalue: the stock
 * setmetatable. */
WEIR_L_RAISES static int l_setmetatable(lua_State *L)
{
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "setmetatable: __gc is not in libs: safe (use `local x <close>`)");
        lua_pop(L, 1);
    }
    int n = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, 1);
    return 1;
}

/* collectgarbage of what asks or collects; its settings are the host's. Upvalue: the stock one. */
WEIR_L_RAISES static int l_collectgarbage(lua_State *L)
{
    const char *what = luaL_optstring(L, 1, "collect");
    if (strcmp(what, "collect") != 0 && strcmp(what, "count") != 0 && strcmp(what, "step") != 0 &&
        strcmp(what, "isrunning") != 0)
        return luaL_error(
            L, "collectgarbage: '%s' is not in libs: safe (count, collect, step, isrunning are)", what);
    int n = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

/* --- putting it together --- */

/* Replaces the global `name` by `wrapper`, whose upvalue is what was there. */
WEIR_L_RAISES static void wrap_global(lua_State *L, const char *name, lua_CFunction wrapper)
{
    lua_getglobal(L, name);
    lua_pushcclosure(L, wrapper, 1);
    lua_setglobal(L, name);
}

WEIR_L_RAISES static void set_missing(lua_State *L, const char *name, const char *setting)
{
    lua_pushstring(L, name);
    lua_pushstring(L, setting);
    lua_pushcclosure(L, l_missing, 2);
    lua_setglobal(L, name);
}

/* Gives the table at the top a metatable that names what is missing. */
WEIR_L_RAISES static void explain_missing(lua_State *L, const char *library, const char *setting)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, library);
    lua_pushstring(L, setting);
    lua_pushcclosure(L, l_missing_field, 2);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

/* Leaves in the library at the top only the named fields (ending in NULL), and explains the rest. */
WEIR_L_RAISES static void keep_only(lua_State *L, const char *library, const char *const *fields)
{
    lua_newtable(L);
    for (; *fields != NULL; fields++) {
        lua_getfield(L, -2, *fields);
        lua_setfield(L, -2, *fields);
    }
    explain_missing(L, library, "safe");
    lua_remove(L, -2);
    lua_pushvalue(L, -1);
    lua_setglobal(L, library);
}

WEIR_L_RAISES static void open_library(lua_State *L, const struct library *lib, bool whole)
{
    static const char *const os_fields[] = {"time", "clock", "date", "difftime", NULL};
    static const char *const debug_fields[] = {"traceback", NULL};
    luaL_requiref(L, lib->name, lib->open, 1);
    if (!whole && lib->open == luaopen_os)
        keep_only(L, lib->name, os_fields);
    if (!whole && lib->open == luaopen_debug)
        keep_only(L, lib->name, debug_fields);
    if (!whole && lib->open == luaopen_string) {
        lua_pushnil(L);
        lua_setfield(L, -2, "dump");
        explain_missing(L, lib->name, "safe");
    }
    lua_pop(L, 1);
}

WEIR_L_RAISES static void open_missing(lua_State *L, const struct library *lib, const char *setting)
{
    lua_newtable(L);
    explain_missing(L, lib->name, setting);
    lua_setglobal(L, lib->name);
}

/* The methods of strings can't be exchanged for all who use the VM. */
WEIR_L_RAISES static void protect_strings(lua_State *L)
{
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1)) {
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

WEIR_L_RAISES static void open_base(lua_State *L, bool all, const char *setting)
{
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    lua_pop(L, 1);
    lua_pushcfunction(L, weir_l_print);
    lua_setglobal(L, "print");
    wrap_global(L, "load", l_load); /* bytecode can crash the interpreter: in no setting */
    if (all)
        return;
    wrap_global(L, "setmetatable", l_setmetatable);
    wrap_global(L, "collectgarbage", l_collectgarbage);
    set_missing(L, "dofile", setting);
    set_missing(L, "loadfile", setting);
}

WEIR_L_RAISES void weir_sandbox_open(lua_State *L, const struct weir_lua_script *script)
{
    int weir = lua_gettop(L);
    bool all = names(script->libs, script->lib_count, "all");
    bool safe = !all && (script->lib_count == 0 || names(script->libs, script->lib_count, "safe"));
    const char *setting = safe ? "safe" : "its list";
    open_base(L, all, setting);
    weir_coro_open(L);
    lua_setglobal(L, LUA_COLIBNAME);
    for (size_t i = 0; i < LIBRARY_COUNT; i++) {
        bool named = names(script->libs, script->lib_count, libraries[i].name);
        if (all || named || (safe && libraries[i].safe))
            open_library(L, &libraries[i], all || named);
        else
            open_missing(L, &libraries[i], setting);
    }
    if (!all)
        protect_strings(L);
    lua_settop(L, weir);
    weir_require_open(L, weir);
    lua_settop(L, weir);
}
