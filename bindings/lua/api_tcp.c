/* weir.tcp.connect and its connections (io/tcp_stream.h), weir.dns.resolve. Connections belong to the VM: whatever call has the handle may use
 * it, one reader and one writer at a time. Failures of the world are nil, message, code. */
#include <lauxlib.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/address.h"
#include "core/seat.h"
#include "io/tcp_stream.h"
#include "io/tls.h"
#include "lua/api.h"
#include "lua/call.h"
#include "lua/script.h"

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
    struct weir_vm_object object; /* listed while `s` is open */
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

WEIR_L_RAISES static int push_failure(lua_State *L, const char *text, const char *code)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, code);
    return 3;
}

WEIR_L_RAISES static int push_stream_failure(lua_State *L, const struct stream_ud *u)
{
    return push_failure(L, u->s->why, u->s->code);
}

/* --- TLS contexts, kept by the VM under what was asked for --- */

WEIR_L_RAISES static int l_tls_gc(lua_State *L)
{
    struct weir_tls_client **client = lua_touserdata(L, 1);
    weir_tls_client_unref(*client);
    *client = NULL;
    return 0;
}

WEIR_L_RAISES static const char *tls_text(lua_State *L, int idx, const char *name)
{
    if (!lua_istable(L, idx))
        return NULL;
    int type = weir_api_push_option(L, idx, name);
    if (type != LUA_TNIL && type != LUA_TSTRING)
        luaL_error(L, "weir.tcp.connect: tls.%s must be a string, it is a %s", name, luaL_typename(L, -1));
    const char *s = lua_tostring(L, -1); /* the table keeps it */
    lua_pop(L, 1);
    return s;
}

/* The path stays on the stack. */
WEIR_L_RAISES static const char *tls_path(lua_State *L, int idx, const char *name)
{
    const char *path = tls_text(L, idx, name);
    return path != NULL ? weir_api_push_path(L, path) : NULL;
}

/* The context for the value of `tls` at `idx`; NULL with nil, message, code pushed. */
WEIR_L_RAISES static struct weir_tls_client *find_tls(lua_State *L, int idx)
{
    struct weir_tls_client_settings settings = {
        .ca = tls_path(L, idx, "ca"), .certificate = tls_path(L, idx, "certificate"), .key = tls_path(L, idx, "key")};
    if (lua_istable(L, idx) && weir_api_push_option(L, idx, "verify") == LUA_TBOOLEAN)
        settings.insecure = !lua_toboolean(L, -1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "weir.tls.clients");
    lua_pushfstring(L, "%s\n%s\n%s\n%d", settings.ca != NULL ? settings.ca : "", settings.certificate != NULL ? settings.certificate : "",
                    settings.key != NULL ? settings.key : "", (int)settings.insecure);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TUSERDATA)
        return *(struct weir_tls_client **)lua_touserdata(L, -1);
    lua_pop(L, 1);
    struct weir_err err;
    struct weir_tls_client **client = lua_newuserdatauv(L, sizeof(struct weir_tls_client *), 0);
    *client = NULL;
    luaL_setmetatable(L, "weir.tls.client");
    if (weir_tls_client_open(&settings, client, &err) != WEIR_OK) {
        push_failure(L, err.text, "TLS_CONFIG");
        return NULL;
    }
    lua_rawset(L, -3);
    return *client;
}

/* --- connect --- */

WEIR_L_RAISES static int connected(lua_State *L, struct stream_ud *u)
{
    if (u->s->state == WEIR_TCP_STREAM_UP) {
        u->connected = true;
        return 1; /* the handle is at the top */
    }
    int n = u->s->state == WEIR_TCP_STREAM_FAILED ? push_stream_failure(L, u)
                                                  : push_failure(L, "the TLS handshake took too long", "TIMEOUT");
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

/* weir.tcp.connect(address | host, port [, {timeout=, tls=}]) -> connection | nil, message, code */
WEIR_L_RAISES static int l_connect(lua_State *L)
{
    struct weir_call *call = weir_call_running(L, "weir.tcp.connect");
    struct weir_worker *w = call->vm->seat->worker;
    struct weir_address to;
    struct weir_err err;
    uint64_t timeout = CONNECT_TIMEOUT_NS;
    const char *name = NULL;
    struct weir_tls_client *tls = NULL;
    weir_call_check_can_wait(L, "weir.tcp.connect");
    read_address(L, &to);
    int options = lua_isinteger(L, 2) ? 3 : 2;
    lua_settop(L, options);
    if (lua_istable(L, options)) {
        if (weir_api_push_option(L, options, "timeout") != LUA_TNIL)
            timeout = weir_api_check_seconds(L, -1, "weir.tcp.connect: `timeout`");
        if (weir_api_push_option(L, options, "tls") != LUA_TNIL && lua_toboolean(L, -1)) {
            int at = lua_gettop(L);
            name = tls_text(L, at, "name");
            tls = find_tls(L, at);
            if (tls == NULL)
                return 3;
            name = name != NULL ? name : to.host;
        }
    } else if (!lua_isnil(L, options)) {
        return luaL_error(L, "weir.tcp.connect: the options must be a table, they are a %s", luaL_typename(L, options));
    }
    struct stream_ud *u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = (struct stream_ud){.vm = call->vm, .object.close = close_object};
    weir_list_init(&u->object.node);
    luaL_setmetatable(L, "weir.tcp");
    if (weir_tcp_stream_open(w, &to, tls, name, timeout, on_progress, u, &u->s, &err) != WEIR_OK)
        return push_failure(L, err.text, "EINVAL");
    weir_list_append(&call->vm->objects, &u->object.node);
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
    return there || connecting || s->eof || s->state == WEIR_TCP_STREAM_FAILED || s->in.len >= s->ahead_max;
}

WEIR_L_RAISES static int read_on(lua_State *L, struct stream_ud *u, uint64_t until);

WEIR_L_RAISES static int l_read_on(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct stream_ud *u = lua_touserdata(L, 1);
    u->reader.held.call = NULL;
    if (u->s == NULL)
        return push_failure(L, "the connection was closed", "ECANCELED");
    if (u->reader.timed_out)
        return push_failure(L, "nothing came in time", "TIMEOUT");
    return read_on(L, u, u->reader.until_ns);
}

WEIR_L_RAISES static int give(lua_State *L, struct stream_ud *u, size_t len)
{
    size_t shown = len;
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
        return push_failure(L, "the peer ended in the middle", "TRUNCATED");
    if (s->eof)
        return push_failure(L, "the peer has ended", "EOF");
    if (u->wanted == WANT_LINE && s->in.len >= s->ahead_max)
        return push_failure(L, "the line is longer than 64 KiB", "TOO_LARGE");
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
        return push_failure(L, "the connection was closed", "ECANCELED");
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
        weir_tcp_stream_read_on(u->s);
    } else if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), "line") == 0) {
        u->wanted = WANT_LINE;
    } else {
        return luaL_error(L, "conn:read: expected a number of bytes up to half of limits.memory, or \"line\"");
    }
    uint64_t until = lua_isnil(L, 3) ? 0 : weir_worker_now(call->vm->seat->worker) + weir_api_check_seconds(L, 3, "conn:read: the timeout");
    weir_call_check_can_wait(L, "conn:read");
    return read_on(L, u, until);
}

/* --- writing --- */

WEIR_L_RAISES static int write_result(lua_State *L, struct stream_ud *u)
{
    if (u->s == NULL)
        return push_failure(L, "the connection was closed", "ECANCELED");
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
    if (weir_tcp_stream_write(u->s, data, len) == WEIR_E_NOMEM)
        return luaL_error(L, "conn:write: out of memory");
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

/* --- weir.dns --- */

/* A look-up; it frees itself when the loop has let go of it. */
struct lookup {
    uv_getaddrinfo_t request;
    struct weir_wait wait;
    struct addrinfo *found;
    int status;
    struct lookup **box; /* the userdata; NULL: nobody waits any more */
};

static void free_lookup(struct lookup *l)
{
    uv_freeaddrinfo(l->found);
    weir_free(l);
}

static bool stop_looking(struct weir_wait *wait)
{
    struct lookup *l = WEIR_LIST_ENTRY(wait, struct lookup, wait);
    *l->box = NULL;
    l->box = NULL;
    (void)uv_cancel((uv_req_t *)&l->request); /* one that runs already can't be */
    return true;
}

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct lookup *l = request->data;
    l->status = status;
    l->found = found;
    if (l->box == NULL)
        free_lookup(l);
    else
        weir_call_continue(l->wait.call);
}

WEIR_L_RAISES static void push_addresses(lua_State *L, const struct addrinfo *found)
{
    lua_Integer n = 0;
    char text[INET6_ADDRSTRLEN + 32];
    lua_newtable(L);
    for (; found != NULL; found = found->ai_next) {
        if (getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0)
            continue;
        lua_pushstring(L, text);
        lua_rawseti(L, -2, ++n);
    }
}

/* The look-up's box is at the top, as when the call was suspended. */
WEIR_L_RAISES static int l_found(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct lookup **box = lua_touserdata(L, -1), *l = *box;
    if (l->status != 0)
        return push_failure(L, uv_strerror(l->status), l->status == UV_EAI_NONAME || l->status == UV_EAI_NODATA || l->status == UV_EAI_AGAIN ? "ENOTFOUND" : uv_err_name(l->status));
    push_addresses(L, l->found);
    return 1;
}

WEIR_L_RAISES static int l_lookup_gc(lua_State *L)
{
    struct lookup **box = lua_touserdata(L, 1);
    if (*box != NULL) /* it has ended: while it runs, the call that waits keeps the box */
        free_lookup(*box);
    *box = NULL;
    return 0;
}

/* weir.dns.resolve(name [, "ipv4" | "ipv6"]) -> {address, …} | nil, message, code */
WEIR_L_RAISES static int l_resolve(lua_State *L)
{
    static const char *const families[] = {"any", "ipv4", "ipv6", NULL};
    static const int values[] = {AF_UNSPEC, AF_INET, AF_INET6};
    struct weir_call *call = weir_call_running(L, "weir.dns.resolve");
    const char *name = weir_api_check_string(L, 1, "weir.dns.resolve: the name");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = values[luaL_checkoption(L, 2, "any", families)]};
    weir_call_check_can_wait(L, "weir.dns.resolve");
    struct lookup **box = lua_newuserdatauv(L, sizeof(struct lookup *), 0);
    *box = NULL;
    luaL_setmetatable(L, "weir.dns.lookup");
    struct lookup *l = *box = weir_calloc(1, sizeof *l);
    if (l == NULL)
        return luaL_error(L, "weir.dns.resolve: out of memory");
    l->request.data = l;
    l->box = box;
    int rc = uv_getaddrinfo(&call->vm->seat->worker->loop, &l->request, on_found, name, NULL, &hints);
    if (rc != 0)
        return push_failure(L, uv_strerror(rc), uv_err_name(rc));
    l->wait.cancel = stop_looking;
    return weir_call_suspend(L, &l->wait, l_found);
}

/* --- the tables --- */

WEIR_L_RAISES static void make_class(lua_State *L, const char *name, lua_CFunction gc, const luaL_Reg *methods)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
    if (methods != NULL) {
        lua_newtable(L);
        luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__close");
    }
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

WEIR_L_RAISES void weir_api_tcp_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"read", l_read}, {"write", l_write}, {"shutdown", l_shutdown}, {"close", l_close}, {NULL, NULL}};
    make_class(L, "weir.tcp", l_gc, methods);
    make_class(L, "weir.tls.client", l_tls_gc, NULL);
    make_class(L, "weir.dns.lookup", l_lookup_gc, NULL);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_connect);
    lua_setfield(L, -2, "connect");
    lua_setfield(L, -2, "tcp");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_resolve);
    lua_setfield(L, -2, "resolve");
    lua_setfield(L, -2, "dns");
}
