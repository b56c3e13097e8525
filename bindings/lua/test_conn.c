/* The clients of applications under test: a request is sent on a socket pair to the host's own HTTP server, so that a handler
 * gets what it would get, and the answer is what a client would read. Here are also the requests as specs see them. */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/http_request.h"
#include "io/http_server.h"
#include "lua/test_inner.h"

static const uint64_t COME_NS = 10 * WEIR_NS_PER_S; /* really: a request on a socket pair has come by then */

static void on_request(struct weir_http_server *s, struct weir_http_request *r, void *arg)
{
    struct weir_test_app *app = arg;
    (void)s;
    if (app->expecting != NULL)
        app->expecting->request = r;
    else
        r->base.ops->end(&r->base, weir_worker_current(), WEIR_REQUEST_REFUSED);
    app->expecting = NULL;
}

static struct weir_http_server *server_of(struct weir_test_app *app, struct weir_pool *pool, bool streamed)
{
    struct weir_http_server **place = &app->servers[pool->index * 2 + streamed];
    struct weir_worker *w = app->workers[pool->index];
    struct weir_http_settings settings;
    if (*place != NULL)
        return *place;
    weir_http_settings_default(&settings);
    settings.stream_body = streamed;
    settings.max_connections = SIZE_MAX / 2;
    settings.deadline_ns = 0; /* that of the event counts */
    struct weir_http_options o = {
        .loop = &w->loop, .worker = w, .settings = &settings, .on_request = on_request, .arg = app};
    return weir_http_server_create(&o, place, NULL) == WEIR_OK ? *place : NULL;
}

void weir_test_conn_close_servers(struct weir_test_app *app)
{
    for (size_t i = 0; i < app->g->pool_count * 2; i++)
        if (app->servers[i] != NULL)
            weir_http_server_close(app->servers[i]);
}

void weir_test_conn_free_servers(struct weir_test_app *app)
{
    for (size_t i = 0; i < app->g->pool_count * 2; i++)
        weir_http_server_destroy(app->servers[i]);
}

static bool write_some(struct weir_test_conn *c)
{
    if (c->out_pos == c->out.len)
        return false;
    ssize_t n = send(c->fd, c->out.data + c->out_pos, c->out.len - c->out_pos, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0)
        c->out_pos += (size_t)n;
    return n > 0;
}

static bool read_some(struct weir_test_conn *c)
{
    if (c->eof || !weir_strbuf_reserve(&c->in, 65536))
        return false;
    ssize_t n = recv(c->fd, c->in.data + c->in.len, 65536, MSG_DONTWAIT);
    if (n > 0) {
        c->in.len += (size_t)n;
        c->in.data[c->in.len] = '\0';
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        c->eof = true;
    }
    return n > 0 || c->eof;
}

bool weir_test_conn_move(struct weir_test_conn *c)
{
    if (c->fd < 0)
        return false;
    bool wrote = write_some(c);
    return read_some(c) || wrote;
}

void weir_test_conn_close(struct weir_test_conn *c)
{
    if (c->app->expecting == c)
        c->app->expecting = NULL;
    if (c->request != NULL)
        c->request->base.ops->end(&c->request->base, c->worker, WEIR_REQUEST_UNANSWERED);
    if (c->fd >= 0)
        close(c->fd);
    weir_strbuf_fini(&c->out);
    weir_strbuf_fini(&c->in);
    weir_list_remove(&c->node);
    weir_free(c);
}

static struct weir_test_conn *make_conn(struct weir_test_app *app, struct weir_worker *w, struct weir_http_server *server,
                                        const char *remote)
{
    int fds[2];
    struct weir_test_conn *c = weir_calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        weir_free(c);
        return NULL;
    }
    c->app = app;
    c->worker = w;
    c->fd = fds[0];
    c->id = ++app->conn_count;
    weir_list_append(&app->conns, &c->node);
    if (weir_http_server_adopt(server, fds[1], remote) == WEIR_OK)
        return c;
    weir_test_conn_close(c);
    return NULL;
}

/* Pushes a field of the table that the request at `idx` was made of. */
WEIR_L_RAISES static int spec_field(lua_State *L, int idx, const char *name)
{
    lua_getiuservalue(L, idx, 1);
    int type = lua_istable(L, -1) ? lua_getfield(L, -1, name) : (lua_pushnil(L), LUA_TNIL);
    lua_remove(L, -2);
    return type;
}

WEIR_L_RAISES struct weir_test_conn *weir_test_conn_open(lua_State *L, struct weir_test_app *app, struct weir_pool *pool, int idx)
{
    size_t len;
    if (weir_request_ud_test(L, idx) == NULL || spec_field(L, idx, "raw") != LUA_TSTRING)
        luaL_error(L, "this request was not made by t.request: it can't be sent");
    const char *raw = lua_tolstring(L, -1, &len);
    spec_field(L, idx, "remote");
    const char *remote = luaL_optstring(L, -1, "127.0.0.1");
    spec_field(L, idx, "stream");
    struct weir_http_server *server = server_of(app, pool, lua_toboolean(L, -1));
    struct weir_test_conn *c = server != NULL ? make_conn(app, app->workers[pool->index], server, remote) : NULL;
    if (c == NULL)
        luaL_error(L, "a request can't be sent: no memory, or no descriptor, for a socket pair");
    weir_strbuf_add(&c->out, raw, len);
    app->expecting = c;
    uint64_t began = weir_test_real_ns();
    while (c->request == NULL && c->in.len == 0 && !c->eof && weir_test_real_ns() - began < COME_NS) {
        weir_test_conn_move(c);
        uv_run(&c->worker->loop, UV_RUN_NOWAIT);
    }
    app->expecting = NULL;
    lua_pop(L, 3);
    if (c->request == NULL && c->in.len == 0 && !c->eof)
        luaL_error(L, "the request did not come whole: its body is shorter than its Content-Length says");
    return c;
}

WEIR_L_RAISES static struct weir_test_conn *check_conn(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    lua_Integer id = luaL_checkinteger(L, 2);
    WEIR_LIST_EACH(node, following, &app->conns)
    {
        struct weir_test_conn *c = WEIR_LIST_ENTRY(node, struct weir_test_conn, node);
        if (c->id == id)
            return c;
    }
    return NULL;
}

/* host.received(app, connection) -> bytes so far, whether the server has closed it */
WEIR_L_RAISES static int l_received(lua_State *L)
{
    struct weir_test_conn *c = check_conn(L);
    if (c == NULL)
        return 0;
    lua_pushlstring(L, c->in.data != NULL ? c->in.data : "", c->in.len);
    lua_pushboolean(L, c->eof);
    return 2;
}

/* host.hang_up(app, connection): the client goes, or is no longer of interest */
WEIR_L_RAISES static int l_hang_up(lua_State *L)
{
    struct weir_test_conn *c = check_conn(L);
    if (c == NULL)
        return 0;
    close(c->fd);
    c->fd = -1;
    c->eof = true;
    if (c->emission.pending == 0)
        weir_test_conn_close(c);
    return 0;
}

/* ---- requests of specs ---- */

/* host.request(table) -> request: table.raw is what goes over the wire */
WEIR_L_RAISES static int l_request(lua_State *L)
{
    struct weir_test_run *run = weir_test_run_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    struct weir_request_ud *u = lua_newuserdatauv(L, sizeof *u, 1);
    *u = (struct weir_request_ud){.call = &run->call, .serial = run->call.serial, .request = &run->made};
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->vm.request_ref);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

/* The request that a sink, or a queue, holds. */
static const struct weir_http_request *find_kept(struct weir_test_run *run, const struct weir_request *r)
{
    WEIR_LIST_EACH(node, following, &run->apps)
    {
        struct weir_test_app *app = WEIR_LIST_ENTRY(node, struct weir_test_app, node);
        WEIR_LIST_EACH(one, after, &app->kept)
        {
            struct weir_test_capture *c = WEIR_LIST_ENTRY(one, struct weir_test_capture, node);
            if (c->request == r)
                return weir_http_request_of(c->request);
        }
    }
    return NULL;
}

WEIR_L_RAISES static void push_headers(lua_State *L, const struct weir_http_request *r)
{
    lua_createtable(L, 0, (int)r->header_count);
    for (size_t i = 0; i < r->header_count; i++) {
        lua_pushlstring(L, r->headers[i].name.data, r->headers[i].name.len);
        lua_pushlstring(L, r->headers[i].value.data, r->headers[i].value.len);
        lua_rawset(L, -3);
    }
}

WEIR_L_RAISES static int push_kept_field(lua_State *L, const struct weir_http_request *r, const char *name)
{
    const struct {
        const char *name;
        struct weir_http_text text;
    } texts[] = {{"method", r->method}, {"path", r->path},     {"query", r->query},
                 {"target", r->target}, {"remote", r->remote}, {"body", r->body}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(texts[i].name, name) == 0) {
            lua_pushlstring(L, texts[i].text.data != NULL ? texts[i].text.data : "", texts[i].text.len);
            return 1;
        }
    if (strcmp(name, "headers") == 0)
        push_headers(L, r);
    else
        lua_pushnil(L);
    return 1;
}

WEIR_L_RAISES static int l_index(lua_State *L)
{
    struct weir_test_run *run = weir_test_run_of(L);
    struct weir_request_ud *u = weir_request_ud_test(L, 1);
    const char *name = luaL_checkstring(L, 2);
    if (u == NULL || u->request == &run->made) {
        spec_field(L, 1, name);
        return 1;
    }
    const struct weir_http_request *r = find_kept(run, u->request);
    if (r == NULL)
        return luaL_error(L, "the request is over: nobody holds it any more");
    return push_kept_field(L, r, name);
}

WEIR_L_RAISES static int l_tostring(lua_State *L)
{
    lua_pushliteral(L, "request under test");
    return 1;
}

WEIR_L_RAISES void weir_test_conn_open_lib(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"request", l_request}, {"received", l_received}, {"hang_up", l_hang_up}, {NULL, NULL}};
    struct weir_vm *vm = weir_vm_of(L);
    luaL_setfuncs(L, functions, 0);
    luaL_newmetatable(L, "weir.test.request");
    lua_pushcfunction(L, l_index);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_tostring);
    lua_setfield(L, -2, "__tostring");
    vm->request_meta = lua_topointer(L, -1);
    vm->request_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
