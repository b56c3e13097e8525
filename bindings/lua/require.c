#include "lua/require.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "lua/lib.h"
#include "lua/script.h"
#include "lua/stock.h"

enum { NAME_MAX_LEN = 255 };

/* Marks a module that is being loaded. */
static char loading;

WEIR_L_RAISES static void check_name(lua_State *L, const char *name, size_t len)
{
    if (len > NAME_MAX_LEN)
        luaL_error(L, "require: a module's name has up to %d bytes, this one has %I", NAME_MAX_LEN,
                   (LUAI_UACINT)len);
    bool good = *name != '\0' && *name != '.' && strstr(name, "..") == NULL && strlen(name) == len;
    for (const char *at = name; good && *at != '\0'; at++)
        good = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') ||
               strchr("_-.", *at) != NULL;
    if (!good)
        luaL_error(L,
                   "require: '%s' is no module's name (letters, digits, '_', '-', with dots between folders)",
                   name);
}

/* Pushes the chunk of the file; false: there is no such file. */
WEIR_L_RAISES static bool push_file(lua_State *L, const char *path)
{
    const struct weir_lua_script *s = weir_vm_of(L)->script;
    struct weir_err err;
    const struct weir_lua_module *m = weir_script_module(s, path, &err);
    if (m == NULL && err.code == WEIR_E_NOTFOUND)
        return false;
    if (m == NULL)
        luaL_error(L, "require: %s", err.text);
    int status = weir_script_load_module(L, s, m);
    if (status != LUA_OK)
        luaL_error(L, "require: %s", weir_vm_error_text(L, status));
    return true;
}

/* Pushes the table `field` of the global `package`; false and nothing: the script does not have that library.
 */
WEIR_L_RAISES static bool push_of_package(lua_State *L, const char *field)
{
    int top = lua_gettop(L);
    if (lua_getglobal(L, LUA_LOADLIBNAME) == LUA_TTABLE) {
        lua_pushstring(L, field);
        if (lua_rawget(L, -2) == LUA_TTABLE) { /* raw: what is missing raises otherwise (sandbox.c) */
            lua_replace(L, top + 1);
            return true;
        }
    }
    lua_settop(L, top);
    return false;
}

/* Pushes the chunk of a module that comes with weir; false: there is none of that name. */
WEIR_L_RAISES static bool push_ours(lua_State *L, const char *name)
{
    for (const struct weir_stock_module *m = weir_stock_modules; m->name != NULL; m++) {
        if (strcmp(m->name, name) != 0)
            continue;
        const char *chunk = lua_pushfstring(L, "=[%s]", name);
        if (weir_lib_load_text(L, (const char *)m->text, m->len, chunk) != LUA_OK)
            luaL_error(L, "require: %s", weir_vm_error_text(L, LUA_ERRSYNTAX));
        return true;
    }
    return false;
}

/* Asks the stock searchers, when the script has `package`: pushes a loader and its data; or false and
 * nothing. */
WEIR_L_RAISES static bool push_stock(lua_State *L, const char *name)
{
    int top = lua_gettop(L);
    if (!push_of_package(L, "searchers"))
        return false;
    int searchers = lua_gettop(L);
    for (lua_Integer i = 1; lua_rawgeti(L, searchers, i) != LUA_TNIL; i++) {
        lua_pushstring(L, name);
        lua_call(L, 1, 2);
        if (lua_isfunction(L, -2)) {
            lua_rotate(L, top + 1, 2);
            lua_settop(L, top + 2);
            return true;
        }
        lua_settop(L, searchers);
    }
    lua_settop(L, top);
    return false;
}

/* Stack of a require: the name, the table of loaded modules, the mark, then the chunk's result. */
enum { NAME = 1, LOADED = 2, MARK = 3, RESULT = 4 };

static bool is_loading(lua_State *L, int idx)
{
    return lua_type(L, idx) == LUA_TLIGHTUSERDATA && lua_touserdata(L, idx) == &loading;
}

/* __close of the mark: however the require ends, its module is not being loaded any more. */
WEIR_L_RAISES static int l_unmark(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, weir_vm_of(L)->loaded_ref);
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (!is_loading(L, -1))
        return 0;
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_rawset(L, -3);
    return 0;
}

/* Says that the module is being loaded, until the running C function ends. */
WEIR_L_RAISES static void push_mark(lua_State *L)
{
    lua_newuserdatauv(L, 1, 1);
    lua_pushvalue(L, NAME);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, "weir.require.mark");
    lua_toclose(L, MARK);
    lua_pushvalue(L, NAME);
    lua_pushlightuserdata(L, &loading);
    lua_rawset(L, LOADED);
}

WEIR_L_RAISES static int l_require_end(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* the chunk has returned, at once or after a yield */
    (void)ctx;
    lua_pushvalue(L, NAME);
    lua_rawget(L, LOADED); /* a chunk may set its own entry */
    if (lua_isnil(L, RESULT) && !is_loading(L, -1))
        return 1;
    if (lua_isnil(L, RESULT))
        lua_pushboolean(L, 1);
    else
        lua_pushvalue(L, RESULT);
    lua_pushvalue(L, NAME);
    lua_pushvalue(L, -2);
    lua_rawset(L, LOADED);
    return 1;
}

/* Modules of LuaRocks that a handler would have blocked its worker with, and what does their work here. */
static const char *instead_of(const char *name)
{
    static const struct {
        const char *module, *use;
    } known[] = {
        {"socket", "weir.tcp"},
        {"socket.http", "weir.http"},
        {"http.request", "weir.http"},
        {"ssl", "weir.tcp"},
        {"ssl.https", "weir.http"},
        {"cjson", "weir.json"},
        {"cjson.safe", "weir.json"},
        {"dkjson", "weir.json"},
        {"json", "weir.json"},
        {"lfs", "weir.fs"},
        {"posix", "weir.fs"},
        {"luv", "the `weir` table"},
        {"cqueues", "coroutines"},
        {"rex_pcre", "weir.re"},
        {"lrexlib", "weir.re"},
        {"MessagePack", "weir.msgpack"},
        {"bit", "Lua 5.4's operators"},
        {"bit32", "Lua 5.4's operators"},
        {"ffi", "a stage with `plugin:`"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].module, name) == 0)
            return known[i].use;
    return NULL;
}

/* Pushes the loader and its arguments; returns how many. */
WEIR_L_RAISES static int push_loader(lua_State *L, const char *name)
{
    const char *path = luaL_gsub(L, name, ".", "/");
    const char *file = lua_pushfstring(L, "%s.lua", path), *init = lua_pushfstring(L, "%s/init.lua", path);
    if (push_file(L, file) || push_file(L, init) || push_ours(L, name)) {
        lua_pushvalue(L, NAME);
        return 1;
    }
    if (push_stock(L, name)) {
        lua_pushvalue(L, NAME);
        lua_insert(L, -2);
        return 2;
    }
    const char *folder = weir_vm_of(L)->script->folder;
    const char *use = instead_of(name);
    return luaL_error(L, "require: there is no module '%s': neither %s/%s nor %s/%s%s%s", name, folder, file,
                      folder, init, use != NULL ? "; use " : "", use != NULL ? use : "");
}

WEIR_L_RAISES static int l_require(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, NAME, &len);
    lua_settop(L, NAME);
    lua_rawgeti(L, LUA_REGISTRYINDEX, weir_vm_of(L)->loaded_ref);
    lua_pushvalue(L, NAME);
    int type = lua_rawget(L, LOADED);
    if (is_loading(L, -1))
        return luaL_error(L, "require: '%s' requires itself, directly or through others", name);
    if (type != LUA_TNIL)
        return 1;
    lua_settop(L, LOADED);
    check_name(L, name, len);
    push_mark(L);
    int args = push_loader(L, name);
    lua_rotate(L, RESULT, args + 1); /* under the texts of its paths */
    lua_settop(L, RESULT + args);
    lua_callk(L, args, 1, 0, l_require_end);
    return l_require_end(L, LUA_OK, 0);
}

/* Pushes a table of the libraries as the script sees them. */
WEIR_L_RAISES static void push_libraries(lua_State *L)
{
    static const char *const names[] = {LUA_GNAME,      LUA_COLIBNAME,   LUA_TABLIBNAME,
                                        LUA_STRLIBNAME, LUA_MATHLIBNAME, LUA_UTF8LIBNAME,
                                        LUA_OSLIBNAME,  LUA_DBLIBNAME,   LUA_IOLIBNAME};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        lua_getglobal(L, names[i]);
        lua_setfield(L, -2, names[i]);
    }
}

WEIR_L_RAISES void weir_require_open(lua_State *L, int weir_index)
{
    struct weir_vm *vm = weir_vm_of(L);
    luaL_newmetatable(L, "weir.require.mark");
    lua_pushcfunction(L, l_unmark);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    if (!push_of_package(L, "loaded"))
        push_libraries(L);
    lua_pushvalue(L, weir_index);
    lua_setfield(L, -2, "weir");
    vm->loaded_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, weir_index);
    lua_pushcfunction(L, l_require);
    lua_setglobal(L, "require");
}
