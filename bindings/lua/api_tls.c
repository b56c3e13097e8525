#include "lua/api_tls.h"

#include <lauxlib.h>

#include "base/mem.h"
#include "core/seat.h"
#include "io/tls_cache.h"
#include "lua/call.h"
#include "lua/script.h"

/* A call that waits for a context. It outlives the call, if that ends first. */
struct loading {
    struct weir_wait wait;
    struct loading **box; /* the userdata, at the top of the stack; NULL: nobody waits any more */
    lua_CFunction again;
    int top;
    struct weir_err err; /* code WEIR_OK: it is there */
};

WEIR_L_RAISES struct weir_api_tls weir_api_tls_option(const struct weir_api_options *options)
{
    static const char *const known[] = {"name", "ca", "certificate", "key", "verify", NULL};
    lua_State *L = options->L;
    struct weir_api_tls tls = {.wanted = false};
    int type = weir_api_option_push(options, "tls");
    if (type != LUA_TNIL && type != LUA_TBOOLEAN && type != LUA_TTABLE)
        luaL_error(L, "%s: `tls` must be true, false or a table, it is a %s", options->what,
                   luaL_typename(L, -1));
    tls.wanted = lua_toboolean(L, -1);
    if (type != LUA_TTABLE)
        return tls;
    int at = lua_gettop(L);
    const char *what = lua_pushfstring(L, "%s: tls", options->what);
    struct weir_api_options o = weir_api_options(L, at, what, known);
    tls.name = weir_api_option_text(&o, "name");
    tls.settings = (struct weir_tls_client_settings){.ca = weir_api_option_path(&o, "ca"),
                                                     .certificate = weir_api_option_path(&o, "certificate"),
                                                     .key = weir_api_option_path(&o, "key"),
                                                     .insecure = !weir_api_option_bool(&o, "verify", true)};
    return tls;
}

struct weir_tls_client *weir_api_tls_find(lua_State *L, const struct weir_api_tls *tls)
{
    return weir_tls_cache_find(weir_vm_of(L)->script->tls, &tls->settings);
}

/* --- loading --- */

static bool stop_waiting(struct weir_wait *wait)
{
    struct loading *l = WEIR_LIST_ENTRY(wait, struct loading, wait);
    *l->box = NULL;
    l->box = NULL; /* it is loaded all the same, for the next one */
    return true;
}

static void on_loaded(void *arg, const struct weir_err *err)
{
    struct loading *l = arg;
    if (l->box == NULL) {
        weir_free(l);
        return;
    }
    if (err != NULL)
        l->err = *err;
    weir_call_continue(l->wait.call);
}

WEIR_L_RAISES static int l_loaded(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    struct loading **box = lua_touserdata(L, -1);
    struct loading l = **box;
    weir_free(*box);
    *box = NULL;
    if (l.err.code != WEIR_OK)
        return weir_api_push_failure(L, l.err.text, "TLS_CONFIG");
    lua_settop(L, l.top);
    return l.again(L);
}

WEIR_L_RAISES static int l_gc(lua_State *L)
{
    struct loading **box = lua_touserdata(L, 1);
    weir_free(*box); /* it never began: while it runs, the call that waits keeps the box */
    *box = NULL;
    return 0;
}

WEIR_L_RAISES int weir_api_tls_load(lua_State *L, const struct weir_api_tls *tls, int top,
                                    lua_CFunction again)
{
    struct weir_vm *vm = weir_vm_of(L);
    struct loading **box = lua_newuserdatauv(L, sizeof(struct loading *), 0);
    *box = NULL;
    luaL_setmetatable(L, "weir.tls.loading");
    struct loading *l = *box = weir_calloc(1, sizeof *l);
    if (l == NULL ||
        weir_tls_cache_load(vm->script->tls, vm->seat->worker, &tls->settings, on_loaded, l) != WEIR_OK)
        return luaL_error(L, "out of memory");
    l->box = box;
    l->again = again;
    l->top = top;
    l->wait.cancel = stop_waiting;
    return weir_call_suspend(L, &l->wait, l_loaded);
}

WEIR_L_RAISES void weir_api_tls_open(lua_State *L)
{
    luaL_newmetatable(L, "weir.tls.loading");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
