/* weir.tcp.connect and its connections (io/tcp_stream.h). Connections belong to the VM: whatever call has the handle may use
 * it, one reader and one writer at a time. Failures of the world are nil, message, code. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "config/address.h"
#include "core/seat.h"
#include "io/tcp_stream.h"
#include "io/tls.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/api_tls.h"
#include "lua/call.h"
#include "lua/vm_hold.h"

static const uint64_t CONNECT_TIMEOUT_NS = 10 * WEIR_NS_PER_S;

/* A call that waits for a connection. */
struct waiter {
    struct weir_wait wait;
    struct weir_timer timer;
    uint64_t until_ns; /* of the operation that it is in; 0: without end */
    bool waiting, timed_out;    /* waiting: it is yet to be told */
    struct weir_call_hold held; /* by the call that waits, or has been told and not gone on yet */
};

struct stream_ud {
    struct weir_tcp_stream *s;    /* NULL: closed */
    struct weir_tls_client *tls;  /* what it is to connect with; a reference */
    struct weir_vm_object object; /* listed while `s` is open */
    struct weir_vm_hold hold;     /* of what it has received and is to send */
    struct weir_vm *vm;
    struct waiter reader, writer; /* the reader also waits for the connection to be made */
    size_t wanted;                /* what the reader waits for: WANT_LINE, WANT_SOME, or so many bytes */
    size_t seen;                  /* bytes of `in` that were searched for the line's end */
    bool connected;               /* the script has it: a wait is for bytes, not for the connection */
};

static const size_t WANT_LINE = SIZE_MAX, WANT_SOME = 0;

/* --- waiting --- */

static void close_stream(struct stream_ud *u)
{
    struct weir_tcp_stream *s = u->s;
    u->s = NULL;
    weir_list_remove(&u->object.node);
    weir_tcp_stream_close(s);
    weir_vm_unhold(&u->hold);
    weir_tls_client_unref(u->tls);
    u->tls = NULL;
}

static void close_object(struct weir_vm_object *o)
{
    close_stream(WEIR_LIST_ENTRY(o, struct stream_ud, object));
}

static void end_wait(struct stream_ud *u, struct waiter *w)
{
    weir_timer_unset(u->vm->seat->worker, &w->timer);
    w->waiting = false;
}

static bool stop_reading(struct weir_wait *wait)
{
    struct stream_ud *u = WEIR_LIST_ENTRY(wait, struct stream_ud, reader.wait);
    end_wait(u, &u->reader);
    u->reader.held.call = NULL;
    if (!u->connected)
        close_stream(u); /* no script has it */
    return true;
}

static bool stop_writing(struct weir_wait *wait)
{
    struct stream_ud *u = WEIR_LIST_ENTRY(wait, struct stream_ud, writer.wait);
    end_wait(u, &u->writer);
    u->writer.held.call = NULL;
    return true;
}

static void on_timeout(struct weir_timer *timer)
{
    struct waiter *w = WEIR_LIST_ENTRY(timer, struct waiter, timer);
    w->waiting = false;
    w->timed_out = true;
    weir_call_continue(w->wait.call);
}

/* Suspends the running call until something is new; `until_ns` 0: without end. */
WEIR_L_RAISES static int wait_for(lua_State *L, struct stream_ud *u, struct waiter *w, uint64_t until_ns, lua_KFunction k)
{
    w->timed_out = false;
    w->until_ns = until_ns;
    w->timer.fire = on_timeout;
    if (until_ns != 0 && weir_timer_set(u->vm->seat->worker, &w->timer, until_ns) != WEIR_OK)
        return luaL_error(L, "out of memory");
    w->wait.cancel = w == &u->reader ? stop_reading : stop_writing;
    w->waiting = true;
    weir_call_hold(&w->held, u->vm->running);
    return weir_call_suspend(L, &w->wait, k);
}

static void go_on(struct stream_ud *u, struct waiter *w)
{
    end_wait(u, w);
    weir_call_continue(w->wait.call);
}

static bool reader_can_go_on(struct stream_ud *u);

static bool writer_can_go_on(const struct weir_tcp_stream *s)
{
    return s->state == WEIR_TCP_STREAM_FAILED || s->out.len < WEIR_TCP_STREAM_BEHIND_MAX / 2;
}

/* A continued call may close the stream, or be the last that its VM waited for: nothing is touched after that, and of two that can go on
 * the second does in a turn of its own. */
static void on_progress(struct weir_tcp_stream *s)
{
    struct stream_ud *u = s->arg;
    bool writes = u->writer.waiting && writer_can_go_on(s);
    bool reads = u->reader.waiting && reader_can_go_on(u);
    if (reads && writes)
        weir_tcp_stream_nudge(s);
    if (reads)
        go_on(u, &u->reader);
    else if (writes)
        go_on(u, &u->writer);
}

WEIR_L_RAISES static int push_stream_failure(lua_State *L, const struct stream_ud *u)
{
    return weir_api_push_failure(L, u->s->why, u->s->code);
}

/* --- connect --- */

WEIR_L_RAISES static int connected(lua_State *L, struct stream_ud *u)
{
    if (u->s->state == WEIR_TCP_STREAM_UP) {
        u->connected = true;
        return 1; /* the handle is at the top */
    }
    int n = u->s->state == WEIR_TCP_STREAM_FAILED ? push_stream_failure(L, u)
                                                  : weir_api_push_failure(L, "the TLS handshake took too long", "TIMEOUT");
    close_stream(u);
    return n;
}

WEIR_L_RAISES static int l_connected(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    struct stream_ud *u = lua_touserdata(L, -1);
    u->reader.held.call = NULL;
    return connected(L, u);
}

WEIR_L_RAISES static void read_address(lua_State *L, struct weir_address *to)
{
    struct weir_err err;
    char text[WEIR_ADDRESS_HOST + 16];
    const char *host = weir_api_check_string(L, 1, "weir.tcp.connect: the address");
    if (lua_isinteger(L, 2))
        snprintf(text, sizeof text, strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, (int)lua_tointeger(L, 2));
    else
        snprintf(text, sizeof text, "%s", host);
    if (weir_address_parse(text, to, &err) != WEIR_OK)
        luaL_error(L, "weir.tcp.connect: %s", err.text);
}

WEIR_L_RAISES static struct stream_ud *push_stream(lua_State *L, struct weir_vm *vm)
{
    struct stream_ud *u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = (struct stream_ud){.vm = vm, .object.close = close_object};
    weir_list_init(&u->object.node);
    luaL_setmetatable(L, "weir.tcp");
    return u;
}

/* weir.tcp.connect(address | host, port [, {timeout=, tls=}]) -> connection | nil, message, code */
WEIR_L_RAISES static int l_connect(lua_State *L)
{
    static const char *const known[] = {"timeout", "tls", NULL};
    struct weir_call *call = weir_call_running(L, "weir.tcp.connect");
    struct weir_worker *w = call->vm->seat->worker;
    struct weir_address to;
    struct weir_err err;
    weir_call_check_can_wait(L, "weir.tcp.connect");
    if (weir_call_time_left(call) == 0)
        return weir_api_push_too_late(L);
    read_address(L, &to);
    int last = lua_isinteger(L, 2) ? 3 : 2;
    lua_settop(L, last);
    struct weir_api_options options = weir_api_options(L, last, "weir.tcp.connect", known);
    uint64_t timeout = weir_api_option_duration(&options, "timeout", CONNECT_TIMEOUT_NS);
    struct weir_api_tls tls = weir_api_tls_option(&options);
    struct stream_ud *u = push_stream(L, call->vm);
    if (tls.wanted && (u->tls = weir_api_tls_find(L, &tls)) == NULL)
        return weir_api_tls_load(L, &tls, last, l_connect); /* and then from the beginning */
    const char *name = !tls.wanted ? NULL : tls.name != NULL ? tls.name : to.host;
    if (weir_tcp_stream_open(w, &to, u->tls, name, timeout, on_progress, u, &u->s, &err) != WEIR_OK)
        return weir_api_push_failure(L, err.text, "EINVAL");
    weir_list_append(&call->vm->objects, &u->object.node);
    weir_vm_hold_begin(&u->hold, call->vm);
    u->s->holder = &u->hold.holder;
    u->wanted = WANT_SOME;
    return wait_for(L, u, &u->reader, weir_worker_now(w) + timeout + WEIR_NS_PER_MS, l_connected);
}

/* --- reading --- */

static bool line_is_there(struct stream_ud *u, size_t *ret_len)
{
    const struct weir_strbuf *in = &u->s->in;
    const char *end = in->len > u->seen ? memchr(in->data + u->seen, '\n', in->len - u->seen) : NULL;
    u->seen = in->len;
    if (end == NULL)
        return false;
    u->seen = 0;
    *ret_len = (size_t)(end - in->data) + 1;
    return true;
}

/* Whether what is wanted is there, and how many bytes of `in` it is. */
static bool is_there(struct stream_ud *u, size_t *ret_len)
{
    const struct weir_strbuf *in = &u->s->in;
    if (u->wanted == WANT_LINE)
        return line_is_there(u, ret_len);
    *ret_len = u->wanted == WANT_SOME ? in->len : u->wanted;
    return in->len >= *ret_len && in->len > 0;
}

static bool reader_can_go_on(struct stream_ud *u)
{
    size_t len;
    const struct weir_tcp_stream *s = u->s;
    if (s->state == WEIR_TCP_STREAM_DIALING || s->state == WEIR_TCP_STREAM_HANDSHAKE)
        return false;
    size_t seen = u->seen;
    bool there = is_there(u, &len);
    u->seen = there ? seen : u->seen;
    bool connecting = s->in.len == 0 && !s->eof && s->state == WEIR_TCP_STREAM_UP && !u->connected;
    return there || connecting || s->eof || s->refused || s->state == WEIR_TCP_STREAM_FAILED || s->in.len >= s->ahead_max;
}

WEIR_L_RAISES static int read_on(lua_State *L, struct stream_ud *u, uint64_t until);

WEIR_L_RAISES static int l_read_on(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct stream_ud *u = lua_touserdata(L, 1);
    u->reader.held.call = NULL;
    if (u->s == NULL)
        return weir_api_push_failure(L, "the connection was closed", "ECANCELED");
    if (u->reader.timed_out)
        return weir_api_push_failure(L, "nothing came in time", "TIMEOUT");
    return read_on(L, u, u->reader.until_ns);
}

WEIR_L_RAISES static int give(lua_State *L, struct stream_ud *u, size_t len)
{
    size_t shown = len;
    if (!weir_vm_has_room(u->vm, len))
        return weir_vm_hold_push_refusal(L, "conn:read");
    if (u->wanted == WANT_LINE && shown > 0 && u->s->in.data[shown - 1] == '\n')
        shown -= shown > 1 && u->s->in.data[shown - 2] == '\r' ? 2 : 1;
    lua_pushlstring(L, len > 0 ? u->s->in.data : "", shown);
    weir_strbuf_consume(&u->s->in, len);
    u->seen = 0;
    u->s->ahead_max = WEIR_TCP_STREAM_AHEAD_MAX;
    weir_tcp_stream_read_on(u->s);
    return 1;
}

WEIR_L_RAISES static int read_on(lua_State *L, struct stream_ud *u, uint64_t until)
{
    size_t len;
    struct weir_tcp_stream *s = u->s;
    if (is_there(u, &len))
        return give(L, u, len);
    if (s->state == WEIR_TCP_STREAM_FAILED)
        return push_stream_failure(L, u);
    if (s->eof && !s->truncated && u->wanted == WANT_LINE && s->in.len > 0)
        return give(L, u, s->in.len);
    if (s->eof && (s->truncated || s->in.len > 0))
        return weir_api_push_failure(L, "the peer ended in the middle", "TRUNCATED");
    if (s->eof)
        return weir_api_push_failure(L, "the peer has ended", "EOF");
    if (s->refused)
        return weir_vm_hold_push_refusal(L, "conn:read");
    if (u->wanted == WANT_LINE && s->in.len >= s->ahead_max)
        return weir_api_push_failure(L, "the line is longer than 64 KiB", "TOO_LARGE");
    return wait_for(L, u, &u->reader, until, l_read_on);
}

WEIR_L_RAISES static struct stream_ud *check_stream(lua_State *L, const char *what)
{
    struct stream_ud *u = luaL_testudata(L, 1, "weir.tcp");
    if (u == NULL)
        luaL_error(L, "%s needs a connection", what);
    return u;
}

/* conn:read([n | "line"] [, timeout]) -> string | nil, message, code */
WEIR_L_RAISES static int l_read(lua_State *L)
{
    struct stream_ud *u = check_stream(L, "conn:read");
    struct weir_call *call = weir_call_running(L, "conn:read");
    if (u->s == NULL)
        return weir_api_push_failure(L, "the connection was closed", "ECANCELED");
    if (weir_call_is_held(&u->reader.held))
        return luaL_error(L, "conn:read: another call reads from this connection");
    lua_settop(L, 3);
    u->seen = 0;
    if (lua_isnil(L, 2)) {
        u->wanted = WANT_SOME;
    } else if (lua_isinteger(L, 2) && lua_tointeger(L, 2) > 0 && (size_t)lua_tointeger(L, 2) <= call->vm->limit / 2) {
        u->wanted = (size_t)lua_tointeger(L, 2);
        if (u->wanted > u->s->ahead_max)
            u->s->ahead_max = u->wanted;
    } else if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "line") == 0) {
        u->wanted = WANT_LINE;
    } else {
        return luaL_error(L, "conn:read: expected a number of bytes up to half of limits.memory, or \"line\"");
    }
    uint64_t until = lua_isnil(L, 3) ? 0 : weir_worker_now(call->vm->seat->worker) + weir_api_check_seconds(L, 3, "conn:read: the timeout");
    weir_call_check_can_wait(L, "conn:read");
    if (u->s->refused || u->s->ahead_max > WEIR_TCP_STREAM_AHEAD_MAX) /* there may be room again; a long piece is wanted whole */
        weir_tcp_stream_read_on(u->s);
    return read_on(L, u, until);
}

/* --- writing --- */

WEIR_L_RAISES static int write_result(lua_State *L, struct stream_ud *u)
{
    if (u->s == NULL)
        return weir_api_push_failure(L, "the connection was closed", "ECANCELED");
    if (u->s->state == WEIR_TCP_STREAM_FAILED)
        return push_stream_failure(L, u);
    lua_pushboolean(L, 1);
    return 1;
}

WEIR_L_RAISES static int l_written(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct stream_ud *u = lua_touserdata(L, 1);
    u->writer.held.call = NULL;
    return write_result(L, u);
}

/* conn:write(data) -> true | nil, message, code. Suspends while more waits to be sent than the connection holds. */
WEIR_L_RAISES static int l_write(lua_State *L)
{
    size_t len;
    struct stream_ud *u = check_stream(L, "conn:write");
    weir_api_check_string(L, 2, "conn:write: the data");
    const char *data = lua_tolstring(L, 2, &len);
    weir_call_running(L, "conn:write");
    if (u->s == NULL || u->s->state == WEIR_TCP_STREAM_FAILED)
        return write_result(L, u);
    if (weir_call_is_held(&u->writer.held))
        return luaL_error(L, "conn:write: another call writes to this connection");
    weir_call_check_can_wait(L, "conn:write");
    if (weir_tcp_stream_write(u->s, data, len) == WEIR_E_LIMIT)
        return weir_vm_hold_push_refusal(L, "conn:write");
    if (u->s->state == WEIR_TCP_STREAM_FAILED || u->s->out.len < WEIR_TCP_STREAM_BEHIND_MAX)
        return write_result(L, u);
    return wait_for(L, u, &u->writer, 0, l_written);
}

WEIR_L_RAISES static int l_shutdown(lua_State *L)
{
    struct stream_ud *u = check_stream(L, "conn:shutdown");
    if (u->s != NULL)
        weir_tcp_stream_shutdown(u->s);
    return 0;
}

WEIR_L_RAISES static int l_close(lua_State *L)
{
    struct stream_ud *u = check_stream(L, "conn:close");
    if (weir_call_is_held(&u->reader.held) || weir_call_is_held(&u->writer.held))
        return luaL_error(L, "conn:close: another call waits for this connection");
    close_stream(u);
    return 0;
}

WEIR_L_RAISES static int l_gc(lua_State *L)
{
    close_stream(luaL_checkudata(L, 1, "weir.tcp"));
    return 0;
}

/* --- the table --- */

WEIR_L_RAISES void weir_api_tcp_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", l_read}, {"write", l_write}, {"shutdown", l_shutdown}, {"close", l_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", l_gc}, {"__close", l_gc}, {NULL, NULL}};
    luaL_newmetatable(L, "weir.tcp");
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    weir_api_tls_open(L);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_connect);
    lua_setfield(L, -2, "connect");
    lua_setfield(L, -2, "tcp");
}
