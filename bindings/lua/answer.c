#include "lua/answer.h"

#include <lauxlib.h>
#include <string.h>

/* The text at `idx` (a string or a number, which becomes one), valid while it is on the stack. */
WEIR_L_RAISES static struct weir_http_text read_text(lua_State *L, int idx, const char *what,
                                                     const char *name)
{
    if (!lua_isstring(L, idx))
        luaL_error(L, "%s: header '%s' must be a string, a number or a list of them, it is a %s", what, name,
                   luaL_typename(L, idx));
    struct weir_http_text t;
    t.data = lua_tolstring(L, idx, &t.len);
    return t;
}

WEIR_L_RAISES static void add_header(lua_State *L, const char *what, struct weir_answer *a,
                                     struct weir_http_text name, int idx)
{
    if (a->header_count == WEIR_ANSWER_HEADERS_MAX)
        luaL_error(L, "%s: more than %d headers", what, WEIR_ANSWER_HEADERS_MAX);
    a->headers[a->header_count].name = name;
    a->headers[a->header_count].value = read_text(L, idx, what, name.data);
    a->header_count++;
}

/* Every value is left on the stack: a number becomes a string that nothing else keeps. */
WEIR_L_RAISES static void read_headers(lua_State *L, int idx, const char *what, struct weir_answer *a)
{
    if (lua_isnoneornil(L, idx))
        return;
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: headers must be a table, they are a %s", what, luaL_typename(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        luaL_checkstack(L, 6, what);
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: a header's name must be a string, it is a %s", what, luaL_typename(L, -2));
        struct weir_http_text name;
        name.data = lua_tolstring(L, -2, &name.len);
        if (!lua_istable(L, -1)) {
            add_header(L, what, a, name, lua_gettop(L));
        } else {
            int list = lua_gettop(L);
            lua_Integer n = (lua_Integer)lua_rawlen(L, list);
            for (lua_Integer i = 1; i <= n; i++) {
                luaL_checkstack(L, 6, what);
                lua_rawgeti(L, list, i);
                add_header(L, what, a, name, lua_gettop(L));
            }
            lua_pushvalue(L, list - 1); /* the key, for lua_next, above the values that stay */
            continue;
        }
        lua_pushvalue(L, -2);
    }
    struct weir_err err;
    if (weir_http_check_headers(a->headers, a->header_count, &err) != WEIR_OK)
        luaL_error(L, "%s: %s", what, err.text);
}

WEIR_L_RAISES static int read_status(lua_State *L, int idx, const char *what)
{
    int whole;
    lua_Integer status = lua_tointegerx(L, idx, &whole);
    if (!whole || lua_type(L, idx) != LUA_TNUMBER)
        luaL_error(L, "%s: the status must be an integer, it is a %s", what,
                   lua_isnil(L, idx) ? "nil" : luaL_typename(L, idx));
    if (status < 200 || status > 999)
        luaL_error(L, "%s: the status must be 200 to 999, it is %I", what, (LUAI_UACINT)status);
    return (int)status;
}

WEIR_L_RAISES static void read_body(lua_State *L, int idx, const char *what, struct weir_answer *a)
{
    if (lua_isnoneornil(L, idx))
        return;
    if (!lua_isstring(L, idx))
        luaL_error(L, "%s: the body must be a string, it is a %s (weir.json.encode makes text of a table)",
                   what, luaL_typename(L, idx));
    a->body = lua_tolstring(L, idx, &a->len);
}

WEIR_L_RAISES static void check_keys(lua_State *L, int idx, const char *what, bool with_body)
{
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        bool known =
            strcmp(key, "status") == 0 || strcmp(key, "headers") == 0 ||
            (with_body && (strcmp(key, "body") == 0 || strcmp(key, "file") == 0 || strcmp(key, "root") == 0));
        if (!known)
            luaL_error(L, "%s: there is no '%s'; it takes status, headers%s", what, key,
                       with_body ? ", body, file, root" : "");
        lua_pop(L, 1);
    }
}

WEIR_L_RAISES static void read_table(lua_State *L, const char *what, bool with_body, struct weir_answer *a)
{
    check_keys(L, 2, what, with_body);
    lua_getfield(L, 2, "status");
    a->status = lua_isnil(L, -1) ? 200 : read_status(L, -1, what);
    if (with_body) {
        lua_getfield(L, 2, "body");
        read_body(L, lua_gettop(L), what, a);
        lua_getfield(L, 2, "file");
        if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "%s: file must be a string, it is a %s", what, luaL_typename(L, -1));
        a->file = lua_tostring(L, -1);
        lua_getfield(L, 2, "root");
        if (!lua_isnil(L, -1) && (lua_type(L, -1) != LUA_TSTRING || a->file == NULL))
            luaL_error(L, "%s: root must be a string, the folder that file is in", what);
        a->root = lua_tostring(L, -1);
        if (a->file != NULL && a->body != NULL)
            luaL_error(L, "%s: body and file can't be given together", what);
        if (a->file != NULL && strlen(a->file) != lua_rawlen(L, -2))
            luaL_error(L, "%s: the file's name has a NUL in it", what);
    }
    lua_getfield(L, 2, "headers");
    read_headers(L, lua_gettop(L), what, a);
}

WEIR_L_RAISES void weir_answer_read(lua_State *L, const char *what, bool with_body, struct weir_answer *ret)
{
    ret->status = 200;
    ret->header_count = 0;
    ret->body = "";
    ret->len = 0;
    ret->file = NULL;
    ret->root = NULL;
    if (lua_istable(L, 2)) {
        ret->body = NULL;
        read_table(L, what, with_body, ret);
        if (ret->body == NULL)
            ret->body = "";
        return;
    }
    ret->status = read_status(L, 2, what);
    int headers = lua_istable(L, 3) || lua_isnoneornil(L, 3) ? 3 : 0, body = headers != 0 ? 4 : 3;
    if (!with_body && body == 3)
        luaL_error(L, "%s: headers must be a table, they are a %s", what, luaL_typename(L, 3));
    if (with_body)
        read_body(L, body, what, ret);
    if (headers != 0)
        read_headers(L, 3, what, ret);
}
