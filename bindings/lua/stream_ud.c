#include "lua/stream_ud.h"

#include <lauxlib.h>
#include <stdio.h>

#include "io/http_request.h"
#include "lua/call.h"

static void close_stream(struct weir_stream_ud *u, bool whole)
{
    struct weir_http_stream *stream = u->stream;
    if (stream == NULL)
        return;
    u->stream = NULL;
    u->owner->open_streams--;
    weir_list_remove(&u->node);
    weir_http_stream_close(stream, whole);
}

void weir_stream_ud_cut(struct weir_stream_ud *u)
{
    u->cut = u->cut || u->stream != NULL;
    close_stream(u, false);
}

void weir_stream_ud_cut_all(struct weir_vm *vm)
{
    while (!weir_list_empty(&vm->streams))
        weir_stream_ud_cut(WEIR_LIST_ENTRY(vm->streams.next, struct weir_stream_ud, node));
}

void weir_stream_ud_end_call(struct weir_call *call)
{
    WEIR_LIST_EACH(node, next, &call->vm->streams)
    {
        struct weir_stream_ud *u = WEIR_LIST_ENTRY(node, struct weir_stream_ud, node);
        if (u->owner != call)
            continue;
        if (u->writer != NULL) { /* another call has it and waits: it goes on, and ends it */
            call->open_streams--;
            u->owner = u->writer;
            u->owner->open_streams++;
            continue;
        }
        if (call->reason == WEIR_REASON_NONE)
            weir_lua_report_open_stream(call->vm, u->place);
        weir_stream_ud_cut(u);
    }
}

/* The innermost line of a script that is being run. */
static void note_place(lua_State *L, char *place, size_t size)
{
    lua_Debug ar;
    snprintf(place, size, "?");
    for (int level = 1; lua_getstack(L, level, &ar) && lua_getinfo(L, "Sl", &ar); level++) {
        if (ar.currentline < 0)
            continue; /* a C function, such as pcall */
        snprintf(place, size, "%s:%d", ar.short_src, ar.currentline);
        return;
    }
}

WEIR_L_RAISES struct weir_stream_ud *weir_stream_ud_push(lua_State *L)
{
    struct weir_stream_ud *u = lua_newuserdatauv(L, sizeof *u, 0); /* an empty box first: __gc can take it */
    u->stream = NULL;
    u->cut = false;
    u->owner = NULL;
    u->writer = NULL;
    weir_list_init(&u->node);
    note_place(L, u->place, sizeof u->place);
    lua_rawgeti(L, LUA_REGISTRYINDEX, weir_vm_of(L)->stream_ref);
    lua_setmetatable(L, -2);
    return u;
}

void weir_stream_ud_begin(struct weir_stream_ud *u, struct weir_http_stream *stream, struct weir_vm *vm)
{
    u->stream = stream;
    if (stream == NULL)
        return;
    u->owner = vm->running;
    u->owner->open_streams++;
    weir_list_append(&vm->streams, &u->node);
}

WEIR_L_RAISES int weir_stream_push_failure(lua_State *L, int rc)
{
    const char *why = weir_err_text(rc);
    if (rc == WEIR_E_CLOSED)
        why = "closed";
    else if (rc == WEIR_E_TIMEOUT)
        why = "timeout";
    else if (rc == WEIR_E_LIMIT)
        why = "limit";
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static void room_came(struct weir_http_wait *wait, int rc, const void *data, size_t len)
{
    (void)data; /* only reads have any */
    (void)len;
    struct weir_call *call = WEIR_LIST_ENTRY(wait, struct weir_call, http_wait);
    call->http_rc = rc;
    weir_call_continue(call);
}

static bool stop_writing(struct weir_wait *wait)
{
    struct weir_stream_ud *u = wait->call->writing;
    u->writer = NULL;
    weir_stream_ud_cut(u);
    return true;
}

WEIR_L_RAISES static int write_result(lua_State *L, int rc)
{
    if (rc != WEIR_OK)
        return weir_stream_push_failure(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

WEIR_L_RAISES static int l_write_end(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    struct weir_call *call = weir_vm_of(L)->running;
    call->writing->writer = NULL;
    return write_result(L, call->http_rc);
}

/* The stream at index 1. pcall(stream.write, …) would have luaL_checkudata speak of a function '?'. */
WEIR_L_RAISES static struct weir_stream_ud *check(lua_State *L, const char *what)
{
    struct weir_stream_ud *u = luaL_testudata(L, 1, "weir.stream");
    if (u == NULL)
        luaL_error(L, "stream:%s needs a stream (write stream:%s), this is a %s", what, what, luaL_typename(L, 1));
    return u;
}

WEIR_L_RAISES static int l_write(lua_State *L)
{
    size_t len;
    struct weir_stream_ud *u = check(L, "write");
    if (!lua_isstring(L, 2))
        luaL_error(L, "stream:write: the chunk must be a string, it is a %s", luaL_typename(L, 2));
    const char *chunk = lua_tolstring(L, 2, &len);
    struct weir_call *call = weir_call_running(L, "stream:write");
    if (u->writer != NULL)
        return luaL_error(L, "stream:write: another call is waiting to write to this stream");
    if (u->stream == NULL)
        return weir_stream_push_failure(L, WEIR_E_CLOSED);
    weir_call_check_can_wait(L, "stream:write");
    call->http_wait.done = room_came;
    int rc = weir_http_stream_write(u->stream, chunk, len, &call->http_wait);
    if (rc != WEIR_E_FULL)
        return write_result(L, rc);
    call->writing = u;
    u->writer = call;
    call->own_wait.cancel = stop_writing;
    return weir_call_suspend(L, &call->own_wait, l_write_end);
}

WEIR_L_RAISES static int l_close(lua_State *L)
{
    struct weir_stream_ud *u = check(L, "close");
    if (u->writer != NULL)
        return luaL_error(L, "stream:close: another call is waiting to write to this stream");
    if (u->cut)
        return weir_stream_push_failure(L, WEIR_E_CLOSED);
    close_stream(u, true);
    lua_pushboolean(L, 1);
    return 1;
}

WEIR_L_RAISES static int l_gc(lua_State *L)
{
    weir_stream_ud_cut(luaL_checkudata(L, 1, "weir.stream"));
    return 0;
}

WEIR_L_RAISES static int l_tostring(lua_State *L)
{
    struct weir_stream_ud *u = luaL_checkudata(L, 1, "weir.stream");
    lua_pushstring(L, u->stream != NULL ? "stream (open)" : "stream (closed)");
    return 1;
}

WEIR_L_RAISES void weir_stream_ud_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"write", l_write}, {"close", l_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", l_gc}, {"__close", l_gc}, {"__tostring", l_tostring}, {NULL, NULL}};
    luaL_newmetatable(L, "weir.stream");
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    weir_vm_of(L)->stream_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
