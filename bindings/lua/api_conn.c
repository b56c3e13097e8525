/* weir.conn: handles of connections of `tcp` sources (io/tcp_conn.h). A handle holds a reference, not the
 * connection; its id travels. */
#include <lauxlib.h>

#include "core/event.h"
#include "core/seat.h"
#include "io/tcp_conn.h"
#include "io/tcp_sending.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/call.h"
#include "lua/request_ud.h"

struct conn_ud {
    struct weir_tcp_conn *c;
};

/* A call that waits for room. When it ends first, what it wanted to send is taken back. */
struct send_wait {
    struct weir_wait wait;
    struct weir_tcp_sending *sending;
    int rc;
};

WEIR_L_RAISES static struct weir_tcp_conn *check_conn(lua_State *L, const char *what)
{
    struct conn_ud *u = luaL_testudata(L, 1, "weir.conn");
    if (u == NULL || u->c == NULL)
        luaL_error(L, "%s needs a connection (write conn:%s)", what, what);
    return u->c;
}

/* weir.conn([id]) -> connection | nil, "closed" */
WEIR_L_RAISES static int l_conn(lua_State *L)
{
    uint64_t id;
    if (lua_isnoneornil(L, 1)) {
        struct weir_call *call = weir_call_with_event(L, "weir.conn");
        if (call->count > 1)
            return luaL_error(
                L,
                "weir.conn: a batch of %d events is handled; say which one by weir.conn(weir.meta(i).source)",
                (int)call->count);
        id = call->evs[0]->source;
    } else {
        int is_integer;
        id = (uint64_t)lua_tointegerx(L, 1, &is_integer);
        if (!is_integer)
            return luaL_error(L, "weir.conn: the id must be an integer, it is a %s", luaL_typename(L, 1));
    }
    struct conn_ud *u = lua_newuserdatauv(L, sizeof *u, 0);
    u->c = NULL;
    luaL_setmetatable(L, "weir.conn");
    u->c = weir_tcp_conn_find(id);
    return u->c != NULL ? 1 : weir_api_push_reason(L, "closed");
}

/* --- send --- */

static void on_sent(struct weir_tcp_sending *s, int rc)
{
    struct send_wait *w = s->arg;
    weir_tcp_sending_unref(s);
    w->sending = NULL;
    w->rc = rc;
    weir_call_continue(w->wait.call);
}

static bool stop_sending(struct weir_wait *wait)
{
    struct send_wait *w = WEIR_LIST_ENTRY(wait, struct send_wait, wait);
    weir_tcp_sending_recall(w->sending);
    w->sending = NULL;
    return true;
}

WEIR_L_RAISES static int push_sent(lua_State *L, int rc)
{
    switch (rc) {
    case WEIR_OK:
        lua_pushboolean(L, 1);
        return 1;
    case WEIR_E_CLOSED:
        return weir_api_push_reason(L, "closed");
    case WEIR_E_FULL:
        return weir_api_push_reason(L, "full");
    case WEIR_E_LIMIT:
        return luaL_error(L,
                          "conn:send: it is longer than the source's max_frame, or than its length can say");
    case WEIR_E_INVAL:
        return luaL_error(
            L, "conn:send: it is no frame of this connection (a line must not have a line's end in it; a "
               "frame with its own header must say its length); conn:write sends bytes as they are");
    default:
        return luaL_error(L, "conn:send: out of memory");
    }
}

WEIR_L_RAISES static int l_sent(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct send_wait *w = lua_touserdata(L, -1);
    return push_sent(L, w->rc);
}

WEIR_L_RAISES static int send_data(lua_State *L, const char *what, bool whole)
{
    struct weir_tcp_send send = {.whole = whole};
    struct weir_tcp_conn *c = check_conn(L, what);
    send.data = weir_api_check_string(L, 2, whole ? "conn:write: the data" : "conn:send: the data");
    send.len = lua_rawlen(L, 2);
    struct weir_call *call = weir_call_running(L, whole ? "conn:write" : "conn:send");
    struct weir_worker *w = call->vm->seat->worker;
    if (!c->waits || !weir_call_can_wait(L))
        return push_sent(L, weir_tcp_conn_send(c, w, &send, NULL));
    struct send_wait *wait = lua_newuserdatauv(L, sizeof *wait, 0);
    wait->wait.cancel = stop_sending;
    send.done = on_sent;
    send.arg = wait;
    int rc = weir_tcp_conn_send(c, w, &send, &wait->sending);
    if (rc != WEIR_E_FULL)
        return push_sent(L, rc);
    return weir_call_suspend(L, &wait->wait, l_sent);
}

/* conn:send(frame) -> true | nil, "closed" | nil, "full" */
WEIR_L_RAISES static int l_send(lua_State *L)
{
    return send_data(L, "send", false);
}

/* conn:write(bytes), as they are -> the same */
WEIR_L_RAISES static int l_write(lua_State *L)
{
    return send_data(L, "write", true);
}

/* --- the rest --- */

WEIR_L_RAISES static int l_close(lua_State *L)
{
    weir_tcp_conn_close(check_conn(L, "close"), NULL);
    return 0;
}

WEIR_L_RAISES static int l_abort(lua_State *L)
{
    weir_tcp_conn_close(check_conn(L, "abort"), "aborted");
    return 0;
}

enum field { ID = 1, REMOTE, SOURCE, TLS };

/* Upvalue: a table of names; a function is a method, a number a field. */
WEIR_L_RAISES static int l_index(lua_State *L)
{
    struct weir_tcp_conn *c = check_conn(L, "index");
    lua_pushvalue(L, 2);
    int type = lua_rawget(L, lua_upvalueindex(1));
    if (type == LUA_TFUNCTION)
        return 1;
    switch (type == LUA_TNUMBER ? lua_tointeger(L, -1) : 0) {
    case ID:
        lua_pushinteger(L, (lua_Integer)c->id);
        return 1;
    case REMOTE:
        lua_pushstring(L, c->remote);
        return 1;
    case SOURCE:
        lua_pushstring(L, c->stage);
        return 1;
    case TLS:
        return weir_request_ud_push_tls(L, c->tls);
    default:
        return luaL_error(L, "a connection has no '%s'",
                          lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2));
    }
}

WEIR_L_RAISES static int l_tostring(lua_State *L)
{
    struct conn_ud *u = luaL_checkudata(L, 1, "weir.conn");
    if (u->c == NULL)
        lua_pushliteral(L, "connection (closed)");
    else
        lua_pushfstring(L, "connection %I (%s)", (LUAI_UACINT)u->c->id, u->c->remote);
    return 1;
}

WEIR_L_RAISES static int l_eq(lua_State *L)
{
    struct conn_ud *a = luaL_testudata(L, 1, "weir.conn"), *b = luaL_testudata(L, 2, "weir.conn");
    lua_pushboolean(L, a != NULL && b != NULL && a->c == b->c);
    return 1;
}

WEIR_L_RAISES static int l_gc(lua_State *L)
{
    struct conn_ud *u = luaL_checkudata(L, 1, "weir.conn");
    weir_tcp_conn_unref(u->c);
    u->c = NULL;
    return 0;
}

WEIR_L_RAISES void weir_api_conn_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"send", l_send}, {"write", l_write}, {"close", l_close}, {"abort", l_abort}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_gc}, {"__tostring", l_tostring}, {"__eq", l_eq}, {NULL, NULL}};
    static const char *const fields[] = {
        [ID] = "id", [REMOTE] = "remote", [SOURCE] = "source", [TLS] = "tls"};
    luaL_newmetatable(L, "weir.conn");
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    for (int i = ID; i <= TLS; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, fields[i]);
    }
    lua_pushcclosure(L, l_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_conn);
    lua_setfield(L, -2, "conn");
}
