/* bindings/lua/api_tls.h - the option `tls` of functions that connect: true, or {name=, ca=, certificate=,
 * key=, verify=}. Its files are read once for all VMs of a stage, by libuv's threads (io/tls_cache.h), while
 * the first call waits. */
#ifndef WEIR_LUA_API_TLS_H
#define WEIR_LUA_API_TLS_H

#include <lua.h>
#include <stdbool.h>

#include "io/tls.h"
#include "lua/api_options.h"

/* Its texts stay on the stack. */
struct weir_api_tls {
    bool wanted;
    const char *name; /* what the peer's certificate must be for; NULL: the host */
    struct weir_tls_client_settings settings;
};

WEIR_L_RAISES struct weir_api_tls weir_api_tls_option(const struct weir_api_options *options);
/* A reference to its context; NULL: it has to be loaded. */
struct weir_tls_client *weir_api_tls_find(lua_State *L, const struct weir_api_tls *tls);
/* Suspends the call while it is loaded, and then returns what `again` does, called with the stack as it is up
 * to `top`; or nil, message, "TLS_CONFIG". A C function returns what this returns. */
WEIR_L_RAISES int weir_api_tls_load(lua_State *L, const struct weir_api_tls *tls, int top,
                                    lua_CFunction again);
/* The metatable that this needs. */
WEIR_L_RAISES void weir_api_tls_open(lua_State *L);

#endif
