/* bindings/lua/request_ud.h - the request that a handler sees: a light userdata that stands for the request of one event of the running
 * call. It owns nothing: the event holds the request, and the host answers it if the handler does not. Whether it still stands for one
 * is asked at each use (weir_request_ud_unusable).
 *
 * What the script has is a number (request_handle.h); req.headers is such a number too.
 *
 * Requests of specs (weir test) are full userdata, which begin with a struct weir_request_ud: vm->request_meta and request_ref are their
 * metatable. */
#ifndef WEIR_LUA_REQUEST_UD_H
#define WEIR_LUA_REQUEST_UD_H

#include <stddef.h>
#include <stdint.h>

#include "lua/vm.h"

struct weir_tls_info;
struct weir_call;
struct weir_event;
struct weir_http_request;
struct weir_request;

/* What the handle itself did with it. */
enum weir_request_ud_fate { WEIR_REQUEST_UD_HELD, WEIR_REQUEST_UD_ANSWERED, WEIR_REQUEST_UD_STARTED };

struct weir_request_ud {
    struct weir_call *call; /* valid as long as the VM; NULL: the handle that was looked up is of a call that is over */
    uint64_t serial;        /* of the call when this was made */
    size_t index;           /* which of the call's events has it */
    struct weir_request *request;
    struct weir_http_request *http; /* NULL: another protocol's */
    enum weir_request_ud_fate fate;
    bool body_read; /* req:read() gave the whole body */
};

/* Registers the metatables. */
WEIR_L_RAISES void weir_request_ud_open(lua_State *L);
/* Pushes the handle for the request of event `index` of the running call; nil when that has none (any more).
 */
WEIR_L_RAISES void weir_request_ud_push(lua_State *L, size_t index);
/* The handle at `idx`, or NULL when it is something else. Never raises. */
struct weir_request_ud *weir_request_ud_test(lua_State *L, int idx);
/* NULL when it stands for a request that the running call holds; else why not: ask before anything else. */
const char *weir_request_ud_unusable(const struct weir_request_ud *u);
/* The event that holds it; it is usable. */
struct weir_event *weir_request_ud_event(const struct weir_request_ud *u);
/* Pushes the vars as the script has them and says so; false, and nothing pushed, when it has not touched
 * them. */
WEIR_L_RAISES bool weir_request_ud_push_vars(lua_State *L, const struct weir_request_ud *u);
/* Pushes what was agreed on, as a table: `req.tls`, `conn.tls`; NULL: nil. Returns 1. */
WEIR_L_RAISES int weir_request_ud_push_tls(lua_State *L, const struct weir_tls_info *info);
/* The call has ended: its vars go. Allocates nothing, raises nothing. */
void weir_request_ud_forget_vars(struct weir_call *call);

#endif
