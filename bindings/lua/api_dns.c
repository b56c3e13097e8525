/* weir.dns.resolve: names, by the system's resolver in libuv's threads. Failures of the world are nil,
 * message, code. */
#include <lauxlib.h>
#include <netdb.h>

#include "base/mem.h"
#include "core/seat.h"
#include "io/file_threads.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/call.h"

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
    weir_file_threads_end();
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
    int rc = l->status;
    bool unknown = rc == UV_EAI_NONAME || rc == UV_EAI_NODATA || rc == UV_EAI_AGAIN;
    if (rc != 0)
        return weir_api_push_failure(L, uv_strerror(rc), unknown ? "ENOTFOUND" : uv_err_name(rc));
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
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_family = values[luaL_checkoption(L, 2, "any", families)]};
    weir_call_check_can_wait(L, "weir.dns.resolve");
    if (weir_call_time_left(call) == 0)
        return weir_api_push_too_late(L);
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
        return weir_api_push_failure(L, uv_strerror(rc), uv_err_name(rc));
    weir_file_threads_begin();
    l->wait.cancel = stop_looking;
    return weir_call_suspend(L, &l->wait, l_found);
}

WEIR_L_RAISES void weir_api_dns_open(lua_State *L)
{
    luaL_newmetatable(L, "weir.dns.lookup");
    lua_pushcfunction(L, l_lookup_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_resolve);
    lua_setfield(L, -2, "resolve");
    lua_setfield(L, -2, "dns");
}
