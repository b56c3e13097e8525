/* bindings/lua/call.h - what a VM runs: a handler call (an event, or a batch) or a fiber (a function that the script had
 * begun in the background), each in a pooled coroutine. Here is the only lua_resume of calls.
 *
 *   idle ──> running ──────────────────────────────────────────────> ended: idle again
 *             │  ^  └─ slice over (preempt.c) ─> preempted: the VM is its alone ─┐
 *             │  └──────────────── in its worker's turn ─────────────────────────┘
 *             └─ waits for the host ──> suspended ──(the wait is over)──> ready ──> running
 *                                          └── deadline, wall, shutdown ──> cancelled ──> ended
 *
 * A suspended call whose wait is over goes on at once, or, when a preempted call has the VM, as soon as that one has let go
 * of it. A cancelled call whose wait can't be called off is an orphan until that comes back.
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
#include "core/timer.h"
#include "core/worker.h"
#include "io/http_request.h"
#include "lua/vm.h"

struct weir_event;

/* What a suspended call waits for. Embedded in whatever brings it back by weir_call_continue (or in the call). */
struct weir_wait {
    /* The call ends without it. true: it will not come any more; false: it will, and then says weir_call_forget.
     * Never raises, never continues the call. Worker thread. */
    bool (*cancel)(struct weir_wait *wait);
    struct weir_call *call; /* set by weir_call_suspend */
};

enum weir_call_state {
    WEIR_CALL_BARE, /* waits for work, without a coroutine */
    WEIR_CALL_IDLE, /* … and with one */
    WEIR_CALL_RUNNING,
    WEIR_CALL_SUSPENDED,
    WEIR_CALL_READY,
    WEIR_CALL_PREEMPTED,
    WEIR_CALL_ORPHAN,
};

/* Whether it is of a stage, or of a function that runs in place for a source (source_script.c): such a call can neither wait nor send. */
enum weir_call_visits { WEIR_CALL_OF_STAGE, WEIR_CALL_LOOKS, WEIR_CALL_ANSWERS };

struct weir_call {
    struct weir_list node; /* of the VM's list of calls in this state */
    struct weir_vm *vm;
    lua_State *co;           /* NULL while bare */
    int co_ref;              /* keeps it alive */
    enum weir_call_state state;
    uint64_t serial;         /* counts up when a call ends */
    struct weir_event **evs; /* the events it handles; &one for a single one; fibers: NULL */
    size_t count;            /* fibers: 0 */
    struct weir_event *one;
    enum weir_reason reason; /* how it ended, or is to end once its VM is free */
    char *error;             /* the text of that, for its events; NULL: none */
    int args;                /* fibers, before they run: the function and its arguments on the coroutine's stack */
    int deferred_ref;        /* the functions that weir.defer was given; LUA_NOREF: none */
    enum weir_call_visits visits;
    bool fiber;
    bool background;         /* a fiber that no drain waits for */
    bool orphan;             /* cancelled, and what it waited for is still to come */
    bool has_vars;           /* vars of a request of it are Lua tables now (request_ud.c) */
    struct weir_request_ud *places; /* of the requests of its events, by index; kept from call to call (request_handle.c) */
    uint32_t first_place, places_made;
    uint64_t began_ns;       /* when it began; its wall limit counts from here */
    uint64_t ran_ns;         /* CPU time of its earlier slices */
    struct weir_wait *wait;  /* what it is suspended on */
    struct weir_timer limit; /* while suspended: the end of its deadline or wall limit */
    struct weir_aside aside; /* while preempted */
    /* what the parts of the `weir` table need while one waits */
    struct weir_wait own_wait;  /* for waits that have no object of their own */
    struct weir_timer timer;    /* weir.sleep; the timeout of other waits */
    struct weir_emission emission;
    enum weir_verdict verdict;     /* of the emission that it waited for */
    struct weir_event *moved_from; /* of its events, the one whose request the waiting emission carries; NULL: none */
    struct weir_http_wait http_wait;
    struct weir_http_request *reading; /* whose body it waits for */
    size_t open_streams;               /* that it started */
    struct weir_stream_ud *writing;    /* the stream it waits to write to */
    int http_rc;
    const void *http_data;
    size_t http_len;
    void *http_copy; /* of http_data, when the call could not go on at once */
    struct weir_reply *reply;          /* weir.call: that it waits for, or that came and was not taken yet; NULL: none */
    const char *reply_failure;         /* why there won't be one; static */
    bool reply_came, reply_emitting;   /* its event waits for room still */
};

/* Who has something that one call at a time may wait for: until it goes on, which may be later than when it was told to. */
struct weir_call_hold {
    struct weir_call *call; /* NULL: nobody */
    uint64_t serial;        /* of the call then: one that has ended holds nothing */
};

static inline void weir_call_hold(struct weir_call_hold *h, struct weir_call *call)
{
    *h = (struct weir_call_hold){.call = call, .serial = call->serial};
}

static inline bool weir_call_is_held(const struct weir_call_hold *h)
{
    return h->call != NULL && h->call->serial == h->serial;
}

/* A call ready to be started with `count` events (0: a fiber); NULL: no memory, or the VM's limit. */
struct weir_call *weir_call_take(struct weir_vm *vm, struct weir_event **evs, size_t count);
/* Runs it until it ends, suspends or is preempted. The VM's worker; not inside another call; the VM is free. */
void weir_call_start(struct weir_call *call);
/* What it waited for has come: it goes on, now if its VM is free. As above. */
void weir_call_continue(struct weir_call *call);
/* Whether weir_call_continue would have to let it wait: what is valid only now must be copied. */
static inline bool weir_call_must_wait(const struct weir_call *call)
{
    return call->vm->held != NULL;
}
/* A cancelled call's wait has come back: it is done with. */
void weir_call_forget(struct weir_call *call);
/* Begins a fiber of the function and the `args` arguments at the top of `L`, which it pops, on the worker's next turn. false: there are
 * as many as the stage's `concurrency` allows. */
WEIR_L_RAISES bool weir_call_begin_fiber(lua_State *L, int args, bool background);
/* Ends a call that is suspended, ready or preempted, with `reason`; now, or as soon as its VM is free. */
void weir_call_cancel(struct weir_call *call, enum weir_reason reason);
/* Runs what is ready. The VM's turn (weir_vm_schedule). */
void weir_call_run_ready(struct weir_vm *vm);
/* Ends every call of the VM that is under way, with `reason`; fibers too. */
void weir_call_cancel_all(struct weir_vm *vm, enum weir_reason reason);
/* Ends the VM's background fibers: it takes no new calls. */
void weir_call_cancel_fibers(struct weir_vm *vm);
/* The VM's Lua state is closed. */
void weir_call_free_all(struct weir_vm *vm);

/* What is left of its event's time in ns; 0: nothing, what would be begun now comes to nothing. UINT64_MAX: it has no deadline. */
uint64_t weir_call_time_left(const struct weir_call *call);
/* Whether the code that runs on `L` now can suspend its call. */
bool weir_call_can_wait(lua_State *L);
/* Suspends the running call on `wait`; `k` runs when the call continues, with the stack as it was. A C function returns what this
 * returns. */
WEIR_L_RAISES int weir_call_suspend(lua_State *L, struct weir_wait *wait, lua_KFunction k);
/* Raises "<what> can't wait here: …" when the code that runs on `L` can't suspend. */
WEIR_L_RAISES void weir_call_check_can_wait(lua_State *L, const char *what);
/* The running call; raises, naming `what`, when there is none (the script loads, or init runs). */
WEIR_L_RAISES struct weir_call *weir_call_running(lua_State *L, const char *what);
/* The same; raises for fibers too, which have no event. */
WEIR_L_RAISES struct weir_call *weir_call_with_event(lua_State *L, const char *what);

/* Logs that a call failed with `text`; the first of a site, then one a second with the count of those left
 * out. handler.c. */
void weir_lua_report_failure(struct weir_vm *vm, const struct weir_call *call, const char *text);
/* A call returned and left a stream open that was started at `place` ("app.lua:12"), which is cut: says so in the log, at most once a
 * second. */
void weir_lua_report_open_stream(struct weir_vm *vm, const char *place);
/* A VM takes no new calls any more: an allocation failed in it, or a call was doomed. As above. */
void weir_lua_report_replaced(struct weir_vm *vm, bool doomed);
/* A timer was due and its function could not begin. As above. */
void weir_lua_report_timer(struct weir_vm *vm, const char *why);

#endif
