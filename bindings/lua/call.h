/* bindings/lua/call.h - one handler call: an event (or a batch) and the pooled coroutine that handles it.
 * Here is the only lua_resume of calls.
 *
 *            ┌──────────────── the host's yield ───────────────┐
 *   idle ──> running ──> suspended ──(emission, stream, body)──> running ──> ended: idle again
 *                            └── cancelled ──> (orphan, until a pending emission comes back) ──> idle
 *
 * A coroutine's body is a C function that calls the handler by lua_pcallk, so that errors, `__close` and
 * suspension work in it. A script may suspend anywhere it could yield, inside coroutines of its own too
 * (coro.c). Owner: the VM; calls live until it closes, so that a handle left over from an ended call finds
 * another serial number, never a freed call. Threads: the VM's. */
#ifndef WEIR_LUA_CALL_H
#define WEIR_LUA_CALL_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/port.h"
#include "core/reason.h"
#include "io/http_request.h"
#include "lua/vm.h"

struct weir_event;

enum weir_call_wait {
    WEIR_CALL_WAITS_NOT,
    WEIR_CALL_WAITS_EMIT,
    WEIR_CALL_WAITS_STREAM,
    WEIR_CALL_WAITS_BODY
};

struct weir_call {
    struct weir_list node; /* of the VM's idle, bare, suspended or orphaned calls */
    struct weir_vm *vm;
    lua_State *co;           /* NULL while bare */
    int co_ref;              /* keeps it alive */
    uint64_t serial;         /* counts up when a call ends */
    struct weir_event **evs; /* the events it handles; &one for a single one */
    size_t count;
    struct weir_event *one;
    enum weir_reason reason;  /* how it ended */
    enum weir_call_wait wait; /* what it is suspended on */
    bool has_vars;            /* vars of a request of it are Lua tables now (request_ud.c) */
    bool cancelled;           /* its events have ended; what it waits for must still come */
    struct weir_emission emission;
    enum weir_verdict verdict; /* of the emission that it waited for */
    struct weir_event
        *moved_from; /* of its events, the one whose request the waiting emission carries; NULL: none */
    struct weir_http_wait http_wait;
    struct weir_http_request *reading; /* WEIR_CALL_WAITS_BODY */
    size_t open_streams;               /* that it started */
    struct weir_stream_ud *writing;    /* WEIR_CALL_WAITS_STREAM */
    int http_rc;
    const void *http_data;
    size_t http_len;
};

/* A call ready to be started with `count` events; NULL: no memory, or the VM's limit. */
struct weir_call *weir_call_take(struct weir_vm *vm, struct weir_event **evs, size_t count);
/* Runs it until it ends or suspends. The VM's worker; not inside another call. */
void weir_call_start(struct weir_call *call);
/* What it waited for has come. As above. */
void weir_call_continue(struct weir_call *call);
/* A cancelled call's emission has come back: it is done with. */
void weir_call_forget(struct weir_call *call);
/* Ends every suspended call of the VM with WEIR_REASON_CANCELLED. */
void weir_call_cancel_all(struct weir_vm *vm);
/* The VM's Lua state is closed. */
void weir_call_free_all(struct weir_vm *vm);

/* Whether the code that runs on `L` now can suspend its call. */
bool weir_call_can_wait(lua_State *L);
/* Suspends the running call on `wait`; `k` runs when the call continues. A C function returns what this
 * returns. */
WEIR_L_RAISES int weir_call_suspend(lua_State *L, enum weir_call_wait wait, lua_KFunction k);
/* Raises "<what> can't wait here: …" when the code that runs on `L` can't suspend. */
WEIR_L_RAISES void weir_call_check_can_wait(lua_State *L, const char *what);
/* The running call; raises, naming `what`, when there is none (the script loads, or init runs). */
WEIR_L_RAISES struct weir_call *weir_call_running(lua_State *L, const char *what);

/* Logs that a call failed with `text`; the first of a site, then one a second with the count of those left
 * out. handler.c. */
void weir_lua_report_failure(struct weir_vm *vm, const struct weir_call *call, const char *text);
/* A call returned and left a stream open, which is cut: says so in the log, at most once a second. */
void weir_lua_report_open_stream(struct weir_vm *vm);

#endif
