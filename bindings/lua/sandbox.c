#include "lua/sandbox.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "base/log.h"
#include "lua/coro.h"
#include "lua/lib.h"
#include "lua/log.h"
#include "lua/require.h"
#include "lua/script.h"

struct library {
    const char *name;
    lua_CFunction open;
    bool safe;                   /* part of `safe`, perhaps cut down */
    void (*bound)(lua_State *L); /* lib.h; NULL: no function of it takes long */
};

static const struct library libraries[] = {
    {LUA_STRLIBNAME, luaopen_string, true, weir_lib_string_open},
    {LUA_TABLIBNAME, luaopen_table, true, weir_lib_table_open},
    {LUA_MATHLIBNAME, luaopen_math, true, NULL},
    {LUA_UTF8LIBNAME, luaopen_utf8, true, weir_lib_utf8_open},
    {LUA_OSLIBNAME, luaopen_os, true, weir_lib_os_open},
    {LUA_DBLIBNAME, luaopen_debug, true, NULL},
    {LUA_IOLIBNAME, luaopen_io, false, NULL},
    {LUA_LOADLIBNAME, luaopen_package, false, weir_lib_package_open},
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

void weir_sandbox_warn(const struct weir_lua_options *options)
{
    static const char *const blocking[] = {"all", LUA_IOLIBNAME, LUA_OSLIBNAME, LUA_LOADLIBNAME};
    for (size_t i = 0; i < sizeof blocking / sizeof blocking[0] && !options->blocking; i++)
        if (names((char *const *)options->libs, options->lib_count, blocking[i])) {
            weir_log(WEIR_LOG_WARN, "lua", NULL,
                     "%s: it has libs: %s in an event-driven pool, where io.read, os.execute and the like "
                     "hold up all that its worker "
                     "does; put the stage into a pool with `blocking: true`",
                     options->file, blocking[i]);
            return;
        }
}

/* --- what is missing --- */

/* What to use instead; `field` NULL: of all others of the library. */
static const struct advice {
    const char *library, *field, *text;
} advices[] = {
    {"io", "open", "use weir.fs.read or weir.fs.write"},
    {"io", "lines", "use weir.fs.read"},
    {"io", "read", "use a stage with `source: stdin`"},
    {"io", "write", "use weir.log, or a stage with `sink: stdout`"},
    {"io", "stdout", "use weir.log, or a stage with `sink: stdout`"},
    {"io", "stderr", "use weir.log"},
    {"io", "popen", "use weir.spawn (libs: all)"},
    {"io", NULL, "use weir.fs"},
    {"os", "execute", "use weir.spawn (libs: all)"},
    {"os", "getenv", "use `config:` of the stage with ${NAME} in it"},
    {"os", "exit", "raise an error, which ends the call; the process is the host's"},
    {"os", "remove", "use weir.fs.remove"},
    {"os", "rename", "use weir.fs.rename"},
    {"os", "tmpname", "use weir.fs.write"},
    {"os", "setlocale", "it would be the whole process's"},
    {"debug", NULL, "of it there is debug.traceback"},
    {"package", "loadlib", "native code is a stage with `plugin:`"},
    {"package", NULL, "require looks beneath the application's folder"},
    {"string", "dump", "bytecode is not loaded either"},
};

static const char *advice_for(const char *library, const char *field)
{
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++)
        if (strcmp(advices[i].library, library) == 0 &&
            (advices[i].field == NULL || (field != NULL && strcmp(advices[i].field, field) == 0)))
            return advices[i].text;
    return NULL;
}

/* What stands for a global function. Upvalue 1: its name, 2: the setting that keeps it out, 3: what to use.
 */
WEIR_L_RAISES static int l_missing(lua_State *L)
{
    return luaL_error(L, "%s is not in libs: %s; %s", lua_tostring(L, lua_upvalueindex(1)),
                      lua_tostring(L, lua_upvalueindex(2)), lua_tostring(L, lua_upvalueindex(3)));
}

/* __index of a library that is cut down or absent: says so. Upvalue 1: the library, 2: the setting, 3: the
 * one field that is missing, or nil: all. */
WEIR_L_RAISES static int l_missing_field(lua_State *L)
{
    const char *library = lua_tostring(L, lua_upvalueindex(1)),
               *setting = lua_tostring(L, lua_upvalueindex(2)),
               *field = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL,
               *only = lua_tostring(L, lua_upvalueindex(3));
    if (only != NULL && (field == NULL || strcmp(field, only) != 0))
        return 0;
    const char *advice = strcmp(setting, "safe") == 0 ? advice_for(library, field) : "name it there";
    return luaL_error(L, "%s.%s is not in libs: %s%s%s", library, field != NULL ? field : luaL_typename(L, 2),
                      setting, advice != NULL ? "; " : "", advice != NULL ? advice : "");
}

WEIR_L_RAISES static void set_missing(lua_State *L, const char *name, const char *setting, const char *advice)
{
    lua_pushstring(L, name);
    lua_pushstring(L, setting);
    lua_pushstring(L, advice);
    lua_pushcclosure(L, l_missing, 3);
    lua_setfield(L, -2, name);
}

/* Gives the table at the top a metatable that names what is missing. */
WEIR_L_RAISES static void explain_missing(lua_State *L, const char *library, const char *setting,
                                          const char *only)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, library);
    lua_pushstring(L, setting);
    lua_pushstring(L, only); /* nil for NULL */
    lua_pushcclosure(L, l_missing_field, 3);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
}

/* --- what is the host's --- */

static char protected_key; /* in the metatable of a table that scripts can't change */

/* __newindex. Upvalue: the table's name. */
WEIR_L_RAISES static int l_read_only(lua_State *L)
{
    const char *field = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2);
    return luaL_error(L, "%s.%s can't be set: %s is the host's, and read-only",
                      lua_tostring(L, lua_upvalueindex(1)), field, lua_tostring(L, lua_upvalueindex(1)));
}

/* The iterator of __pairs, which keeps the table behind it to itself. Upvalue: that. */
WEIR_L_RAISES static int l_next_protected(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_next(L, lua_upvalueindex(1)) != 0)
        return 2;
    lua_pushnil(L);
    return 1;
}

WEIR_L_RAISES static int l_pairs_protected(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, l_next_protected, 1);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

/* Puts an empty table before the one at `idx`, which is read through it. */
WEIR_L_RAISES static void protect(lua_State *L, int idx, const char *name)
{
    lua_newtable(L);
    lua_createtable(L, 0, 5);
    lua_pushvalue(L, idx);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name);
    lua_pushcclosure(L, l_read_only, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, idx);
    lua_pushcclosure(L, l_pairs_protected, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushboolean(L, 1);
    lua_rawsetp(L, -2, &protected_key);
    lua_setmetatable(L, -2);
    lua_replace(L, idx);
}

/* The `weir` table and the tables in it. */
WEIR_L_RAISES static void protect_weir(lua_State *L, int weir)
{
    lua_pushnil(L);
    while (lua_next(L, weir) != 0) {
        if (lua_istable(L, -1) && lua_type(L, -2) == LUA_TSTRING) {
            const char *name = lua_pushfstring(L, "weir.%s", lua_tostring(L, -2));
            protect(L, weir + 2, name);
            lua_settop(L, weir + 2); /* the key and the table, now protected */
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, weir);
        } else {
            lua_pop(L, 1);
        }
    }
    protect(L, weir, "weir");
}

/* No script gets at the metatables of what the host makes; with one it could add __gc. */
WEIR_L_RAISES static void hide_metatables(lua_State *L)
{
    int top = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, LUA_REGISTRYINDEX) != 0) {
        if (lua_istable(L, -1) && lua_type(L, -2) == LUA_TSTRING &&
            strncmp(lua_tostring(L, -2), "weir.", 5) == 0) {
            lua_pushboolean(L, 0);
            lua_setfield(L, -2, "__metatable");
        }
        lua_settop(L, top + 1);
    }
    lua_pushliteral(L, ""); /* the methods of strings can't be exchanged by way of their metatable */
    if (lua_getmetatable(L, -1)) {
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_settop(L, top);
}

/* --- functions of `safe` --- */

/* setmetatable(table, meta) without finalizers, which can't be stopped when they run away. A __gc that the
 * metatable gets later is not seen by Lua 5.4. Upvalue: the stock setmetatable. */
WEIR_L_RAISES static int l_setmetatable(lua_State *L)
{
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L,
                              "setmetatable: __gc is not in libs: safe; use `local x <close>` or weir.defer");
        lua_pop(L, 1);
    }
    return weir_lib_stock(L);
}

/* rawset(table, key, value), but not on what is read-only. Upvalue: the stock one. */
WEIR_L_RAISES static int l_rawset(lua_State *L)
{
    if (lua_getmetatable(L, 1)) {
        if (lua_rawgetp(L, -1, &protected_key) != LUA_TNIL)
            return luaL_error(L, "rawset: the table is the host's, and read-only");
        lua_pop(L, 2);
    }
    return weir_lib_stock(L);
}

/* --- putting it together --- */

/* Puts a table with only the named fields (ending in NULL) of the library at the top in its place, and
 * explains the rest. */
WEIR_L_RAISES static void keep_only(lua_State *L, const char *library, const char *const *fields)
{
    lua_newtable(L);
    for (; *fields != NULL; fields++) {
        lua_getfield(L, -2, *fields);
        lua_setfield(L, -2, *fields);
    }
    explain_missing(L, library, "safe", NULL);
    lua_replace(L, -2);
    lua_pushvalue(L, -1);
    lua_setglobal(L, library);
}

WEIR_L_RAISES static void open_library(lua_State *L, const struct library *lib, bool whole)
{
    static const char *const os_fields[] = {"time", "clock", "date", "difftime", NULL};
    static const char *const debug_fields[] = {"traceback", NULL};
    luaL_requiref(L, lib->name, lib->open, 1);
    if (lib->bound != NULL)
        lib->bound(L);
    if (!whole && lib->open == luaopen_os)
        keep_only(L, lib->name, os_fields);
    if (!whole && lib->open == luaopen_debug)
        keep_only(L, lib->name, debug_fields);
    if (!whole && lib->open == luaopen_string) {
        lua_pushnil(L);
        lua_setfield(L, -2, "dump");
        explain_missing(L, lib->name, "safe", "dump");
    }
    lua_pop(L, 1);
}

WEIR_L_RAISES static void open_missing(lua_State *L, const struct library *lib, const char *setting)
{
    lua_newtable(L);
    explain_missing(L, lib->name, setting, NULL);
    lua_setglobal(L, lib->name);
}

WEIR_L_RAISES static void open_base(lua_State *L, bool all, const char *setting)
{
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    weir_lib_base_open(L, all);
    lua_pushcfunction(L, weir_l_print);
    lua_setfield(L, -2, "print");
    weir_lib_wrap(L, "rawset", l_rawset);
    if (!all) {
        weir_lib_wrap(L, "setmetatable", l_setmetatable);
        set_missing(L, "dofile", setting, "use require");
        set_missing(L, "loadfile", setting, "use require");
    }
    lua_pop(L, 1);
}

/* "safe", or the list as it was written. */
WEIR_L_RAISES static const char *push_setting(lua_State *L, const struct weir_lua_script *script, bool safe)
{
    if (safe)
        return lua_pushliteral(L, "safe");
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < script->lib_count; i++) {
        luaL_addstring(&b, i == 0 ? "[" : ", ");
        luaL_addstring(&b, script->libs[i]);
    }
    luaL_addstring(&b, "]");
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

WEIR_L_RAISES void weir_sandbox_open(lua_State *L, const struct weir_lua_script *script)
{
    int weir = lua_gettop(L);
    bool all = names(script->libs, script->lib_count, "all");
    bool safe = !all && (script->lib_count == 0 || names(script->libs, script->lib_count, "safe"));
    const char *setting = push_setting(L, script, safe);
    int top = lua_gettop(L);
    open_base(L, all, setting);
    weir_coro_open(L);
    lua_setglobal(L, LUA_COLIBNAME);
    for (size_t i = 0; i < LIBRARY_COUNT; i++) {
        bool named = names(script->libs, script->lib_count, libraries[i].name);
        if (all || named || (safe && libraries[i].safe))
            open_library(L, &libraries[i], all || named);
        else
            open_missing(L, &libraries[i], setting);
        lua_settop(L, top);
    }
    if (!all)
        hide_metatables(L);
    lua_settop(L, weir);
    protect_weir(L, weir);
    weir_require_open(L, weir);
    lua_settop(L, weir);
}
