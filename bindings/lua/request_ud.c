#include "lua/request_ud.h"

#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/event.h"
#include "core/seat.h"
#include "core/worker.h"
#include "io/http_request.h"
#include "io/tls.h"
#include "lua/answer.h"
#include "lua/call.h"
#include "lua/config.h"
#include "lua/convert.h"
#include "lua/json.h"
#include "lua/request_handle.h"
#include "lua/script.h"
#include "lua/stream_ud.h"

enum field { METHOD = 1, PATH, QUERY, TARGET, VERSION, HEADERS, BODY, REMOTE, ID, CLASS, VARS, SCHEME, TLS };

/* The handle of a spec: a full userdata. */
static struct weir_request_ud *test_full(lua_State *L, int idx)
{
    const void *meta = weir_vm_of(L)->request_meta;
    if (meta == NULL || lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx))
        return NULL;
    bool ours = lua_topointer(L, -1) == meta;
    lua_pop(L, 1);
    return ours ? lua_touserdata(L, idx) : NULL;
}

struct weir_request_ud *weir_request_ud_test(lua_State *L, int idx)
{
    uint64_t handle = weir_request_handle_at(L, idx);
    if (handle == 0)
        return test_full(L, idx);
    return weir_request_handle_is_headers(handle) ? NULL : weir_request_handle_find(weir_vm_of(L), handle);
}

static const char *fate_text(const struct weir_request_ud *u)
{
    switch (u->fate) {
    case WEIR_REQUEST_UD_ANSWERED:
        return "the request was answered already";
    case WEIR_REQUEST_UD_STARTED:
        return "the answer was started already (write to its stream)";
    default:
        return "the request was given away by weir.emit";
    }
}

const char *weir_request_ud_unusable(const struct weir_request_ud *u)
{
    if (u->call == NULL || u->call->serial != u->serial)
        return u->fate != WEIR_REQUEST_UD_HELD ? fate_text(u)
                                               : "the request is over: the call that had it has ended";
    if (u->call->vm->running != u->call)
        return "the request belongs to another call";
    return u->call->evs[u->index]->request != u->request || u->request == NULL ? fate_text(u) : NULL;
}

struct weir_event *weir_request_ud_event(const struct weir_request_ud *u)
{
    return u->call->evs[u->index];
}

WEIR_L_RAISES static struct weir_request_ud *push_full(lua_State *L, const struct weir_vm *vm)
{
    struct weir_request_ud *u = lua_newuserdatauv(L, sizeof *u, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->request_ref);
    lua_setmetatable(L, -2);
    return u;
}

WEIR_L_RAISES void weir_request_ud_push(lua_State *L, size_t index)
{
    struct weir_vm *vm = weir_vm_of(L);
    struct weir_call *call = vm->running;
    struct weir_request *r = call != NULL ? call->evs[index]->request : NULL;
    if (r == NULL) {
        lua_pushnil(L);
        return;
    }
    struct weir_request_ud *u = vm->request_meta == NULL ? weir_request_handle_push(L, call, index) : push_full(L, vm);
    u->call = call;
    u->serial = call->serial;
    u->index = index;
    u->request = r;
    u->http = weir_http_request_of(r);
    u->fate = WEIR_REQUEST_UD_HELD;
    u->body_read = false;
}

/* --- reading it --- */

WEIR_L_RAISES static void check_usable(lua_State *L, const struct weir_request_ud *u, const char *what)
{
    const char *why = weir_request_ud_unusable(u);
    if (why != NULL)
        luaL_error(L, "%s: %s", what, why);
    if (u->http == NULL)
        luaL_error(L, "%s: it is no HTTP request", what);
}

/* The request that a method is called for. */
WEIR_L_RAISES static struct weir_request_ud *check(lua_State *L, const char *what)
{
    struct weir_request_ud *u = weir_request_ud_test(L, 1);
    if (u == NULL)
        luaL_error(L, "req:%s needs a request, this is a %s (write req:%s, with a colon)", what, luaL_typename(L, 1), what);
    check_usable(L, u, what);
    return u;
}

static int push_text(lua_State *L, struct weir_http_text t)
{
    lua_pushlstring(L, t.data != NULL ? t.data : "", t.len);
    return 1;
}

/* Where the vars of an event are kept while it is handled: under the address of its place in the call. */
static const void *vars_key(const struct weir_request_ud *u)
{
    return &u->call->evs[u->index];
}

WEIR_L_RAISES static int push_vars(lua_State *L, struct weir_request_ud *u)
{
    weir_call_running(L, "req.vars");
    if (weir_request_ud_push_vars(L, u))
        return 1;
    struct weir_vm *vm = weir_vm_of(L);
    if (u->http->vars.kind == WEIR_VALUE_BYTES)
        weir_convert_push(L, u->http->vars, u->index);
    if (u->http->vars.kind != WEIR_VALUE_BYTES || !lua_istable(L, -1))
        lua_newtable(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->vars_ref);
    lua_pushvalue(L, -2);
    u->call->has_vars = true;
    lua_rawsetp(L, -2, vars_key(u));
    lua_pop(L, 1);
    return 1;
}

WEIR_L_RAISES bool weir_request_ud_push_vars(lua_State *L, const struct weir_request_ud *u)
{
    if (!u->call->has_vars)
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, u->call->vm->vars_ref);
    if (lua_rawgetp(L, -1, vars_key(u)) == LUA_TNIL) {
        lua_pop(L, 2);
        return false;
    }
    lua_remove(L, -2);
    return true;
}

void weir_request_ud_forget_vars(struct weir_call *call)
{
    lua_State *L = call->vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->vm->vars_ref);
    for (size_t i = 0; i < call->count; i++) {
        if (lua_rawgetp(L, -1, &call->evs[i]) !=
            LUA_TNIL) { /* an existing key can be cleared without allocating */
            lua_pushnil(L);
            lua_rawsetp(L, -3, &call->evs[i]);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    call->has_vars = false;
}

WEIR_L_RAISES static int push_version(lua_State *L, const struct weir_http_request *r)
{
    lua_pushstring(L, r->version_minor == 0 ? "1.0" : "1.1");
    return 1;
}

WEIR_L_RAISES static int push_body(lua_State *L, const struct weir_http_request *r)
{
    if (r->body_streamed)
        return luaL_error(L, "body: the source streams it (body: stream); read it with req:read()");
    return push_text(L, r->body);
}

WEIR_L_RAISES static void set_text(lua_State *L, const char *key, const char *text)
{
    if (text[0] == '\0')
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, key);
}

/* What the connection has agreed on; nil over a plain one. */
WEIR_L_RAISES int weir_request_ud_push_tls(lua_State *L, const struct weir_tls_info *info)
{
    if (info == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_createtable(L, 0, 6);
    set_text(L, "version", info->version);
    set_text(L, "cipher", info->cipher);
    set_text(L, "alpn", info->alpn);
    set_text(L, "server_name", info->server_name);
    set_text(L, "client_subject", info->client_subject);
    lua_pushboolean(L, info->resumed);
    lua_setfield(L, -2, "resumed");
    return 1;
}

WEIR_L_RAISES static int push_field(lua_State *L, struct weir_request_ud *u, enum field field)
{
    const struct weir_http_request *r = u->http;
    switch (field) {
    case METHOD:
        return push_text(L, r->method);
    case PATH:
        return push_text(L, r->path);
    case QUERY:
        return push_text(L, r->query);
    case TARGET:
        return push_text(L, r->target);
    case VERSION:
        return push_version(L, r);
    case HEADERS:
        weir_request_handle_push_headers(L, weir_request_handle_at(L, 1));
        return 1;
    case BODY:
        return push_body(L, r);
    case REMOTE:
        return push_text(L, r->remote);
    case ID:
        lua_pushinteger(L, (lua_Integer)r->id);
        return 1;
    case CLASS:
        return weir_config_push_class(L, weir_request_ud_event(u)->class_index);
    case VARS:
        return push_vars(L, u);
    case SCHEME:
        lua_pushstring(L, r->tls != NULL ? "https" : "http");
        return 1;
    case TLS:
        return weir_request_ud_push_tls(L, r->tls);
    }
    return 0;
}

WEIR_L_RAISES static int index_headers(lua_State *L);

/* A light userdata that is none of ours: weir.json.null, or one of a C library. */
WEIR_L_RAISES static int refuse_other(lua_State *L)
{
    bool null = lua_touserdata(L, 1) == weir_json_null();
    return luaL_error(L, "attempt to index %s", null ? "weir.json.null (a null of JSON, or nil in a table that was sent)"
                                                     : "a light userdata value");
}

/* Upvalue: a table of names; a function is a method, a number a field. */
WEIR_L_RAISES static int l_index(lua_State *L)
{
    uint64_t handle = weir_request_handle_at(L, 1);
    if (handle == 0)
        return refuse_other(L);
    if (weir_request_handle_is_headers(handle))
        return index_headers(L);
    lua_pushvalue(L, 2);
    int type = lua_rawget(L, lua_upvalueindex(1));
    if (type == LUA_TFUNCTION)
        return 1;
    if (type != LUA_TNUMBER)
        return luaL_error(L, "a request has no '%s'",
                          lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : luaL_typename(L, 2));
    struct weir_request_ud *u = weir_request_handle_find(weir_vm_of(L), handle);
    check_usable(L, u, lua_tostring(L, 2));
    return push_field(L, u, (enum field)lua_tointeger(L, -1));
}

WEIR_L_RAISES static int l_newindex(lua_State *L)
{
    uint64_t handle = weir_request_handle_at(L, 1);
    if (weir_request_handle_is_headers(handle))
        return luaL_error(L, "the headers of a request can't be changed; give those of the answer to req:reply");
    if (handle == 0)
        return refuse_other(L);
    struct weir_request_ud *u = weir_request_handle_find(weir_vm_of(L), handle);
    check_usable(L, u, "a request's field");
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
    if (strcmp(name, "vars") != 0)
        return luaL_error(L, "a request's '%s' can't be set; what travels along goes into req.vars", name);
    weir_call_running(L, "req.vars");
    if (!lua_istable(L, 3))
        return luaL_error(L, "req.vars must be a table, this is a %s", luaL_typename(L, 3));
    lua_rawgeti(L, LUA_REGISTRYINDEX, weir_vm_of(L)->vars_ref);
    lua_pushvalue(L, 3);
    u->call->has_vars = true;
    lua_rawsetp(L, -2, vars_key(u));
    return 0;
}

WEIR_L_RAISES static int l_tostring(lua_State *L)
{
    uint64_t handle = weir_request_handle_at(L, 1);
    if (handle == 0 || weir_request_handle_is_headers(handle)) {
        lua_pushfstring(L, "%s: %p", handle != 0 ? "request headers" : "userdata", lua_touserdata(L, 1));
        return 1;
    }
    const struct weir_request_ud *u = weir_request_handle_find(weir_vm_of(L), handle);
    const char *why = weir_request_ud_unusable(u);
    if (why != NULL || u->http == NULL)
        lua_pushfstring(L, "request (%s)", why != NULL ? why : "not of HTTP");
    else {
        lua_pushliteral(L, "request ");
        push_text(L, u->http->method);
        lua_pushliteral(L, " ");
        push_text(L, u->http->target);
        lua_concat(L, 4);
    }
    return 1;
}

WEIR_L_RAISES static int l_age(lua_State *L)
{
    struct weir_request_ud *u = check(L, "age");
    uint64_t now = weir_clock_ns();
    lua_pushnumber(L, now > u->http->arrival_ns ? (double)(now - u->http->arrival_ns) / 1e9 : 0.0);
    return 1;
}

WEIR_L_RAISES static int l_alive(lua_State *L)
{
    struct weir_request_ud *u = check(L, "alive");
    lua_pushboolean(L, !u->request->ops->gone(u->request));
    return 1;
}

/* --- answering it --- */

/* The request leaves the event: whoever is called next consumes it. */
static struct weir_http_request *take(struct weir_request_ud *u, enum weir_request_ud_fate fate)
{
    struct weir_http_request *r = u->http;
    weir_request_ud_event(u)->request = NULL;
    u->fate = fate;
    u->http = NULL;
    u->request = NULL;
    return r;
}

WEIR_L_RAISES static int l_reply(lua_State *L)
{
    struct weir_request_ud *u = check(L, "reply");
    struct weir_answer a;
    if (u->call->visits == WEIR_CALL_LOOKS)
        return luaL_error(L, "req:reply can't be used here: a classifier only looks at the request");
    weir_answer_read(L, "reply", true, &a);
    struct weir_vm *vm = weir_vm_of(L);
    struct weir_worker *w = vm->seat->worker;
    struct weir_http_request *r = take(u, WEIR_REQUEST_UD_ANSWERED);
    if (a.file != NULL)
        weir_http_reply_file(r, w, a.status, a.headers, a.header_count,
                             a.root != NULL ? a.root : vm->script->folder, a.file);
    else
        weir_http_reply(r, w, a.status, a.headers, a.header_count, a.body, a.len);
    lua_pushboolean(L, 1);
    return 1;
}

WEIR_L_RAISES static int l_start(lua_State *L)
{
    struct weir_request_ud *u = check(L, "start");
    struct weir_answer a;
    weir_call_running(L, "req:start");
    weir_answer_read(L, "start", false, &a);
    struct weir_stream_ud *s = weir_stream_ud_push(L);
    struct weir_http_request *r = take(u, WEIR_REQUEST_UD_STARTED);
    struct weir_vm *vm = weir_vm_of(L);
    weir_stream_ud_begin(s, weir_http_start(r, vm->seat->worker, a.status, a.headers, a.header_count), vm);
    return 1;
}

/* --- its body --- */

static bool stop_reading(struct weir_wait *wait)
{
    weir_http_read_cancel(wait->call->reading, &wait->call->http_wait);
    return true;
}

/* The chunk is valid only now; the continuation is the first thing that runs, if the VM is free. */
static void body_came(struct weir_http_wait *wait, int rc, const void *data, size_t len)
{
    struct weir_call *call = WEIR_LIST_ENTRY(wait, struct weir_call, http_wait);
    call->http_rc = rc;
    call->http_data = data;
    call->http_len = len;
    if (rc == WEIR_OK && len > 0 && weir_call_must_wait(call)) {
        weir_free(call->http_copy); /* of an earlier chunk for which Lua had no memory */
        call->http_data = call->http_copy = weir_malloc(len);
        if (call->http_copy == NULL)
            call->http_rc = WEIR_E_NOMEM;
        else
            memcpy(call->http_copy, data, len);
    }
    weir_call_continue(call);
}

WEIR_L_RAISES static int l_read_end(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    struct weir_call *call = weir_vm_of(L)->running;
    if (call->http_rc != WEIR_OK)
        return weir_stream_push_failure(L, call->http_rc);
    if (call->http_len == 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, call->http_data, call->http_len);
    weir_free(call->http_copy);
    call->http_copy = NULL;
    return 1;
}

WEIR_L_RAISES static int l_read(lua_State *L)
{
    struct weir_request_ud *u = check(L, "read");
    if (!u->http->body_streamed) { /* a whole body is one chunk, so that a handler works with both kinds of
                                      source */
        bool more = !u->body_read && u->http->body.len > 0;
        u->body_read = true;
        if (!more)
            lua_pushnil(L);
        return more ? push_text(L, u->http->body) : 1;
    }
    weir_call_check_can_wait(L, "req:read");
    struct weir_call *call = u->call;
    call->http_wait.done = body_came;
    call->reading = u->http;
    weir_http_read(u->http, call->vm->seat->worker, &call->http_wait);
    call->own_wait.cancel = stop_reading;
    return weir_call_suspend(L, &call->own_wait, l_read_end);
}

/* --- its headers --- */

/* Of the headers at index 1. */
WEIR_L_RAISES static const struct weir_http_request *headers_owner(lua_State *L)
{
    const struct weir_request_ud *u = weir_request_handle_find(weir_vm_of(L), weir_request_handle_at(L, 1));
    check_usable(L, u, "headers");
    return u->http;
}

WEIR_L_RAISES static int index_headers(lua_State *L)
{
    char lower[128];
    const struct weir_http_request *r = headers_owner(L);
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "a header's name is a string, this is a %s", luaL_typename(L, 2));
    size_t len;
    const char *name = lua_tolstring(L, 2, &len);
    if (len >= sizeof lower)
        return 0;
    for (size_t i = 0; i < len; i++)
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    const struct weir_http_text *value = weir_http_request_header(r, lower, len);
    return value != NULL ? push_text(L, *value) : 0;
}

WEIR_L_RAISES static int l_headers_next(lua_State *L)
{
    if (!weir_request_handle_is_headers(weir_request_handle_at(L, 1)))
        return luaL_error(L, "this walks the headers of a request, not a %s", luaL_typename(L, 1));
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(1));
    const struct weir_http_request *r = headers_owner(L);
    if (i >= (lua_Integer)r->header_count)
        return 0;
    lua_pushinteger(L, i + 1);
    lua_replace(L, lua_upvalueindex(1));
    push_text(L, r->headers[i].name);
    push_text(L, r->headers[i].value);
    return 2;
}

WEIR_L_RAISES static int l_pairs(lua_State *L)
{
    uint64_t handle = weir_request_handle_at(L, 1);
    if (!weir_request_handle_is_headers(handle))
        return luaL_error(L, "pairs: a table expected, this is a %s", handle != 0 ? "request" : "light userdata");
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, l_headers_next, 1);
    lua_pushvalue(L, 1);
    return 2;
}

WEIR_L_RAISES void weir_request_ud_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"age", l_age},     {"alive", l_alive}, {"reply", l_reply},
                                       {"start", l_start}, {"read", l_read},   {NULL, NULL}};
    static const char *const fields[] = {
        [METHOD] = "method",   [PATH] = "path",       [QUERY] = "query", [TARGET] = "target",
        [VERSION] = "version", [HEADERS] = "headers", [BODY] = "body",   [REMOTE] = "remote",
        [ID] = "id",           [CLASS] = "class",     [VARS] = "vars", [SCHEME] = "scheme", [TLS] = "tls"};
    struct weir_vm *vm = weir_vm_of(L);
    lua_newtable(L); /* without a __name, which would be that of every light userdata */
    luaL_newlib(L, methods);
    for (int i = METHOD; i <= TLS; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, fields[i]);
    }
    lua_pushcclosure(L, l_index, 1);
    lua_setfield(L, -2, "__index");
    static const luaL_Reg meta[] = {
        {"__newindex", l_newindex}, {"__tostring", l_tostring}, {"__pairs", l_pairs}, {NULL, NULL}};
    luaL_setfuncs(L, meta, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushlightuserdata(L, NULL);
    lua_insert(L, -2);
    lua_setmetatable(L, -2); /* of all light userdata */
    lua_pop(L, 1);
    weir_request_handle_open(L);
    lua_newtable(L);
    vm->vars_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
