/* load, tonumber and collectgarbage, and what every setting of `libs` has in common: only text is loaded
 * (bytecode can crash the interpreter), and no call of these holds the worker. */
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "lua/lib.h"

enum {
    LOAD_PIECE = 4096,       /* bytes compiled between looks at the limits */
    NUMERAL_MAX = 64 << 10,  /* bytes of a numeral; a longer text is no number to tonumber */
    DATE_FORMAT_MAX = 1024,  /* bytes of os.date's format */
    COLLECT_STEPS = 16,      /* steps of the collector between chances to be preempted */
    COLLECT_STEP_MAX = 1024, /* KiB that collectgarbage("step", n) may ask for */
};

void weir_lib_look(lua_State *L)
{
    if (weir_preempt_doomed(L))
        weir_preempt_raise(L);
}

void weir_lib_check_slice(lua_State *L, size_t len, const char *text)
{
    if (len <= WEIR_LIB_VALUES_MAX)
        return;
    lua_Integer size = (lua_Integer)len, i = luaL_optinteger(L, 2, 1), j = luaL_optinteger(L, 3, i);
    i = i >= 0 ? i : i < -size ? 1 : size + i + 1;
    j = j > size ? size : j >= 0 ? j : j < -size ? 0 : size + j + 1;
    if (j - i >= WEIR_LIB_VALUES_MAX)
        luaL_error(L, "%s (at most %d at once)", text, WEIR_LIB_VALUES_MAX);
}

void weir_lib_wrap(lua_State *L, const char *name, lua_CFunction wrapper)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, wrapper, 1);
    lua_setfield(L, -2, name);
}

/* --- load --- */

struct text {
    const char *at;
    size_t left;
};

WEIR_L_RAISES static const char *read_piece(lua_State *L, void *arg, size_t *ret_len)
{
    struct text *t = arg;
    const char *piece = t->at;
    weir_lib_look(L);
    *ret_len = t->left < LOAD_PIECE ? t->left : LOAD_PIECE;
    t->at += *ret_len;
    t->left -= *ret_len;
    return *ret_len > 0 ? piece : NULL;
}

int weir_lib_load_text(lua_State *L, const char *text, size_t len, const char *name)
{
    struct text t = {text, len};
    return lua_load(L, read_piece, &t, name, "t");
}

/* load(chunk [, name [, mode [, env]]]) of text alone. */
WEIR_L_RAISES static int l_load(lua_State *L)
{
    const char *mode = luaL_optstring(L, 3, "t");
    if (strchr(mode, 't') == NULL)
        return luaL_error(L, "load: only text can be loaded (mode \"t\")");
    if (lua_type(L, 1) != LUA_TSTRING) {
        if (lua_gettop(L) < 3)
            lua_settop(L, 3);
        lua_pushliteral(L, "t");
        lua_replace(L, 3);
        return weir_lib_stock(L);
    }
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    if (weir_lib_load_text(L, text, len, luaL_optstring(L, 2, text)) != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (!lua_isnone(L, 4)) {
        lua_pushvalue(L, 4);
        if (lua_setupvalue(L, -2, 1) == NULL)
            lua_pop(L, 1);
    }
    return 1;
}

/* loadfile(path [, mode [, env]]) of text alone. */
WEIR_L_RAISES static int l_loadfile(lua_State *L)
{
    const char *mode = luaL_optstring(L, 2, "t");
    if (strchr(mode, 't') == NULL)
        return luaL_error(L, "loadfile: only text can be loaded (mode \"t\")");
    if (lua_gettop(L) < 2)
        lua_settop(L, 2);
    lua_pushliteral(L, "t");
    lua_replace(L, 2);
    return weir_lib_stock(L);
}

WEIR_L_RAISES static int dofile_end(lua_State *L, int status, lua_KContext extra)
{
    (void)status; /* it has returned, at once or after a yield */
    (void)extra;
    return lua_gettop(L) - 1;
}

WEIR_L_RAISES static int l_dofile(lua_State *L)
{
    const char *path = luaL_optstring(L, 1, NULL);
    lua_settop(L, 1);
    if (luaL_loadfilex(L, path, "t") != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, LUA_MULTRET, 0, dofile_end);
    return dofile_end(L, LUA_OK, 0);
}

/* --- tonumber, os.date --- */

WEIR_L_RAISES static int l_tonumber(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) > NUMERAL_MAX) {
        lua_pushnil(L);
        return 1;
    }
    return weir_lib_stock(L);
}

WEIR_L_RAISES static int l_date(lua_State *L)
{
    size_t len;
    luaL_optlstring(L, 1, "", &len);
    if (len > DATE_FORMAT_MAX)
        return luaL_error(L, "os.date: a format of %I bytes is too long (at most %d)", (LUAI_UACINT)len,
                          DATE_FORMAT_MAX);
    return weir_lib_stock(L);
}

void weir_lib_os_open(lua_State *L)
{
    weir_lib_wrap(L, "date", l_date);
}

/* --- collectgarbage --- */

enum { BREATH = 2 }; /* upvalue 1: the stock one; 2: a Lua function that does nothing, once it is needed */

/* Goes on until `cycles` more are through. In between it calls a Lua function that does nothing, which is
 * where a hook can preempt it: a large heap takes longer than a slice. */
WEIR_L_RAISES static int collect(lua_State *L, int status, lua_KContext cycles)
{
    (void)status;
    for (;;) {
        for (int i = 0; i < COLLECT_STEPS; i++)
            if (lua_gc(L, LUA_GCSTEP, 0) != 0 && --cycles == 0) {
                lua_pushinteger(L, 0);
                return 1;
            }
        weir_lib_look(L);
        lua_pushvalue(L, lua_upvalueindex(BREATH));
        lua_callk(L, 0, 0, cycles, collect);
    }
}

WEIR_L_RAISES static int begin_collecting(lua_State *L)
{
    if (lua_isnil(L, lua_upvalueindex(BREATH))) {
        if (luaL_loadstring(L, "") != LUA_OK)
            return lua_error(L);
        lua_replace(L, lua_upvalueindex(BREATH));
    }
    return collect(L, LUA_OK, 2); /* the one under way has passed by what died since it began */
}

void weir_lib_push_collect(lua_State *L)
{
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushcclosure(L, begin_collecting, BREATH);
}

WEIR_L_RAISES static int l_collectgarbage(lua_State *L)
{
    const char *what = luaL_optstring(L, 1, "collect");
    if (strcmp(what, "collect") == 0)
        return begin_collecting(L);
    if (strcmp(what, "step") == 0) {
        lua_Integer n = luaL_optinteger(L, 2, 0);
        lua_pushboolean(L, lua_gc(L, LUA_GCSTEP,
                                  n < 0                  ? 0
                                  : n > COLLECT_STEP_MAX ? COLLECT_STEP_MAX
                                                         : (int)n));
        return 1;
    }
    if (strcmp(what, "count") != 0 && strcmp(what, "isrunning") != 0)
        return luaL_error(
            L, "collectgarbage: '%s' is not in libs: safe (count, collect, step, isrunning are)", what);
    return weir_lib_stock(L);
}

/* --- opening --- */

void weir_lib_base_open(lua_State *L, bool all)
{
    weir_lib_wrap(L, "load", l_load);
    weir_lib_wrap(L, "loadfile", l_loadfile);
    weir_lib_wrap(L, "tonumber", l_tonumber);
    lua_pushcfunction(L, l_dofile);
    lua_setfield(L, -2, "dofile");
    if (all)
        return; /* the collector is the script's to set */
    lua_getfield(L, -1, "collectgarbage");
    lua_pushnil(L);
    lua_pushcclosure(L, l_collectgarbage, 2);
    lua_setfield(L, -2, "collectgarbage");
}

/* A searcher of Lua files as the stock one, which would load bytecode. Upvalue: `package`. */
WEIR_L_RAISES static int l_search(lua_State *L)
{
    luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "searchpath");
    lua_pushvalue(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "path");
    lua_call(L, 2, 2);
    if (lua_isnil(L, 2))
        return 1; /* why */
    lua_settop(L, 2);
    if (luaL_loadfilex(L, lua_tostring(L, 2), "t") != LUA_OK)
        return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", lua_tostring(L, 1),
                          lua_tostring(L, 2), lua_tostring(L, -1));
    lua_insert(L, 2);
    return 2;
}

void weir_lib_package_open(lua_State *L)
{
    lua_getfield(L, -1, "searchers");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, l_search, 1);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 1);
}
