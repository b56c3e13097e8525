#include "lua/api_options.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "config/nearest.h"
#include "lua/api.h"
#include "lua/script.h"

/* "what: there is no option 'x'; did you mean 'y'?", or else which ones there are. */
WEIR_L_RAISES static void refuse_name(lua_State *L, const char *what, const char *name,
                                      const char *const *known)
{
    const char *best = weir_nearest_of(name, known);
    luaL_Buffer text;
    if (best != NULL)
        luaL_error(L, "%s: there is no option '%s'; did you mean '%s'?", what, name, best);
    luaL_buffinit(L, &text);
    for (const char *const *at = known; *at != NULL; at++) {
        luaL_addstring(&text, at == known ? "" : ", ");
        luaL_addstring(&text, *at);
    }
    luaL_pushresult(&text);
    luaL_error(L, "%s: there is no option '%s'; it takes %s", what, name, lua_tostring(L, -1));
}

WEIR_L_RAISES static void check_name(lua_State *L, const char *what, const char *const *known)
{
    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "%s: an option's name must be a string, there is a %s", what, luaL_typename(L, -2));
    const char *name = lua_tostring(L, -2);
    for (const char *const *at = known; *at != NULL; at++)
        if (strcmp(*at, name) == 0)
            return;
    refuse_name(L, what, name, known);
}

WEIR_L_RAISES struct weir_api_options weir_api_options(lua_State *L, int idx, const char *what,
                                                       const char *const *known)
{
    struct weir_api_options o = {.L = L, .what = what};
    if (lua_isnoneornil(L, idx))
        return o;
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: the options must be a table, they are a %s", what, luaL_typename(L, idx));
    o.idx = lua_absindex(L, idx);
    lua_pushnil(L);
    while (lua_next(L, o.idx)) {
        check_name(L, what, known);
        lua_pop(L, 1);
    }
    return o;
}

WEIR_L_RAISES int weir_api_option_push(const struct weir_api_options *o, const char *name)
{
    if (o->idx == 0) {
        lua_pushnil(o->L);
        return LUA_TNIL;
    }
    lua_pushstring(o->L, name);
    return lua_rawget(o->L, o->idx);
}

WEIR_L_RAISES const char *weir_api_option_text(const struct weir_api_options *o, const char *name)
{
    lua_State *L = o->L;
    size_t len;
    int type = weir_api_option_push(o, name);
    if (type != LUA_TNIL && type != LUA_TSTRING)
        luaL_error(L, "%s: `%s` must be a string, it is a %s", o->what, name, luaL_typename(L, -1));
    const char *s = lua_tolstring(L, -1, &len); /* the table keeps it */
    if (s != NULL && strlen(s) != len)
        luaL_error(L, "%s: `%s` has a NUL byte in it", o->what, name);
    lua_pop(L, 1);
    return s;
}

WEIR_L_RAISES const char *weir_api_option_path(const struct weir_api_options *o, const char *name)
{
    const char *path = weir_api_option_text(o, name);
    return path != NULL ? weir_api_push_path(o->L, path) : NULL;
}

WEIR_L_RAISES bool weir_api_option_bool(const struct weir_api_options *o, const char *name, bool fallback)
{
    lua_State *L = o->L;
    int type = weir_api_option_push(o, name);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        luaL_error(L, "%s: `%s` must be true or false, it is a %s", o->what, name, luaL_typename(L, -1));
    bool set = type == LUA_TNIL ? fallback : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return set;
}

WEIR_L_RAISES lua_Integer weir_api_option_integer(const struct weir_api_options *o, const char *name,
                                                  lua_Integer fallback, lua_Integer min, lua_Integer max)
{
    lua_State *L = o->L;
    lua_Integer i = fallback;
    int type = weir_api_option_push(o, name);
    if (type != LUA_TNIL) {
        int is_integer;
        i = lua_tointegerx(L, -1, &is_integer);
        if (type != LUA_TNUMBER || !is_integer || i < min || i > max) {
            if (max == LUA_MAXINTEGER)
                luaL_error(L, "%s: `%s` must be an integer, at least %I", o->what, name, (LUAI_UACINT)min);
            luaL_error(L, "%s: `%s` must be an integer from %I to %I", o->what, name, (LUAI_UACINT)min,
                       (LUAI_UACINT)max);
        }
    }
    lua_pop(L, 1);
    return i;
}

WEIR_L_RAISES size_t weir_api_option_bytes(const struct weir_api_options *o, const char *name,
                                           size_t fallback)
{
    size_t limit = weir_vm_of(o->L)->limit;
    size_t n = (size_t)weir_api_option_integer(o, name, (lua_Integer)fallback, 0, LUA_MAXINTEGER);
    return n < limit ? n : limit;
}

WEIR_L_RAISES uint64_t weir_api_option_duration(const struct weir_api_options *o, const char *name,
                                                uint64_t fallback_ns)
{
    char what[96];
    uint64_t ns = fallback_ns;
    if (weir_api_option_push(o, name) != LUA_TNIL) {
        snprintf(what, sizeof what, "%s: `%s`", o->what, name);
        ns = weir_api_check_seconds(o->L, -1, what);
    }
    lua_pop(o->L, 1);
    return ns;
}

/* --- answers --- */

WEIR_L_RAISES int weir_api_push_reason(lua_State *L, const char *reason)
{
    lua_pushnil(L);
    lua_pushstring(L, reason);
    return 2;
}

WEIR_L_RAISES int weir_api_push_failure(lua_State *L, const char *text, const char *code)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, code);
    return 3;
}

WEIR_L_RAISES const char *weir_api_push_path(lua_State *L, const char *path)
{
    if (path[0] == '/')
        return path;
    return lua_pushfstring(L, "%s/%s", weir_vm_of(L)->script->folder, path);
}

WEIR_L_RAISES int weir_api_push_too_late(lua_State *L)
{
    return weir_api_push_failure(L, "not begun: the event's deadline has passed", "TIMEOUT");
}
