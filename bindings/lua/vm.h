/* bindings/lua/vm.h - one Lua state: a VM belongs to one stage on one worker.
 *
 *   handler ──> vms ──> vm ──> calls, each a pooled coroutine
 *
 * Owner:   its handler's set (vms.c). Threads: the builder's (or the control thread) until it is attached, then its worker's alone, after
 * its detachment the reaper's. Errors:  all Lua work runs inside weir_vm_call
 * (set-up) or a call's coroutine (call.c). There is no other protected call in C. */
#ifndef WEIR_LUA_VM_H
#define WEIR_LUA_VM_H

#include <lua.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "core/reason.h"
#include "core/watch.h"
#include "core/worker.h"
#include "lua/block_cache.h"

struct weir_call;
struct weir_lua_script;
struct weir_port;
struct weir_seat;

/* Marks every function that may leave by longjmp. Across a call of one hold no lock, no malloc and no open
 * file that is not in a userdata or owned by the VM. */
#define WEIR_L_RAISES

enum { WEIR_VM_DOOM_TEXT = 2048, WEIR_VM_BUFFER_KEEP = 64 << 10 };

enum weir_vm_phase {
    WEIR_VM_LOADING, /* the main chunk of the script runs */
    WEIR_VM_INIT,    /* init(ctx) runs */
    WEIR_VM_SERVING, /* only handler calls run */
};

/* A growing buffer that the VM owns, so that a raise in the middle of filling it leaks nothing. It counts among the VM's memory. */
struct weir_vm_buffer {
    unsigned char *data;
    size_t len, cap;
};

/* A port of the stage and its name as this VM has it interned: most look-ups compare one pointer. */
struct weir_vm_port {
    const char *interned;
    struct weir_port *port;
};

/* What a userdata has in the worker's loop. It is closed when the VM is detached at the latest: another thread closes the VM itself. */
struct weir_vm_object {
    struct weir_list node; /* of the VM's objects; in no list: nothing is open */
    void (*close)(struct weir_vm_object *o); /* takes it out of the list */
};

/* What the host holds for calls of the VM (vm_hold.h). */
struct weir_vm_holds {
    struct weir_list list;   /* of struct weir_vm_hold */
    size_t bytes;            /* of all of them; among `used` */
    size_t own_after;        /* what Lua had after the last collection on their behalf */
    uint64_t pause_until_ns; /* no other one before, unless Lua has grown since */
};

struct weir_vm {
    lua_State *L;                         /* the main thread: runs only set-up */
    struct weir_seat *seat;               /* NULL: nothing but loading (weir check) */
    const struct weir_lua_script *script; /* outlives the VM */
    size_t used, limit, soft;             /* bytes held, the cap, where the collector is stepped */
    bool refused;                         /* the last growth was refused; Lua collects and tries again */
    bool broken;                          /* an allocation has failed: it takes no new calls */
    const void *refused_block;            /* the refused growth: of this block (NULL: a new one) */
    size_t refused_size;                  /* … to this size */
    bool refuse_once;                     /* the next growth, so that Lua collects */
    struct weir_block_cache blocks;       /* not among `used`: no object has them */
    enum weir_vm_phase phase;
    bool takes_batches;
    struct weir_call *running; /* whose coroutine runs now; NULL: none */
    bool blocked;              /* some C function outside the running coroutine can't be yielded through */
    bool suspending;           /* the yield under way is the host's, not the script's */
    size_t live;               /* calls begun and not ended, orphans too (call.h) */
    size_t idle_count;
    struct weir_call *held;       /* the preempted call that has the VM to itself; NULL: none */
    bool was_held;                /* … until now: its handler has not been told yet (settle) */
    bool attached;                /* its worker runs it; before: init may have begun fibers and timers */
    bool retired;                 /* it ends what it has begun and takes nothing new */
    size_t fibers;                /* of `live`, those without an event */
    struct weir_list idle;        /* calls that wait for work, with a coroutine */
    struct weir_list bare;        /* calls that wait for work, without one */
    struct weir_list suspended;   /* calls that wait for the host */
    struct weir_list ready;       /* calls that can go on as soon as the VM is free */
    struct weir_aside turn;       /* its place in the worker's turn, while calls are ready */
    struct weir_list timers;      /* weir.timer (api_time.c) */
    struct weir_list objects;     /* of struct weir_vm_object */
    struct weir_vm_holds holds;
    /* preempt.c */
    struct weir_watch *watch;        /* of the thread that runs the VM; NULL: nobody watches */
    struct weir_watch_logic logic;   /* what that has to know; set when the VM is made */
    lua_State *volatile current;     /* the coroutine that runs; read by the signal handler */
    volatile bool armed;             /* a hook was set since the last leave; set by the signal handler, too */
    bool preempting;                 /* the yield under way is that of a slice's end */
    enum weir_reason doom;           /* the limit that the running call is over; NONE: none */
    bool was_doomed;                 /* a call in it was */
    bool traced;                     /* doom_text has the traceback */
    char doom_text[WEIR_VM_DOOM_TEXT];
    uint64_t slice_began_ns;         /* when the running call was let on */
    struct weir_list orphans;     /* cancelled calls that the core will still tell about their emission */
    struct weir_list streams;     /* answers that are being streamed (stream_ud.c) */
    struct weir_list node;        /* of the handler's live or retired VMs */
    struct weir_message reap;     /* takes it to the reaper */
    struct weir_vm_buffer buffer; /* convert.c */
    struct weir_vm_port *ports;
    size_t port_count;
    int handle_ref; /* the script's handle or handle_batch */
    int init_ref;   /* its init; LUA_NOREF: none */
    int request_ref, stream_ref, array_ref, loaded_ref, ports_ref, vars_ref;
    const void *request_meta; /* specs: the metatable of their requests, which are full userdata; else NULL (request_ud.h) */
    const void *array_meta;   /* identity of the metatable of marked arrays */
    struct weir_request_ud **places; /* of the requests of all calls (request_handle.c) */
    size_t place_count, place_cap;
};

enum { WEIR_VM_THREAD_OF_CALL = 1, WEIR_VM_THREAD_WAITS = 2, WEIR_VM_THREAD_MASK = 3 };

/* Every thread of a VM has the VM's address in its extra space; the two low bits say what the thread is, so
 * that no script can resume or close a coroutine that is the host's or waits for it. */
static inline struct weir_vm *weir_vm_of(lua_State *L)
{
    return (struct weir_vm *)(*(uintptr_t *)lua_getextraspace(L) & ~(uintptr_t)WEIR_VM_THREAD_MASK);
}

static inline unsigned weir_vm_thread_bits(lua_State *co)
{
    return (unsigned)(*(uintptr_t *)lua_getextraspace(co) & WEIR_VM_THREAD_MASK);
}

static inline void weir_vm_thread_set(lua_State *co, unsigned bit, bool on)
{
    uintptr_t *space = lua_getextraspace(co);
    *space = on ? *space | bit : *space & ~(uintptr_t)bit;
}

/* Every VM that is made from now on is shown to `prepare`, with its `weir` table at the top of the stack, before its script can see it; NULL:
 * none is. For `weir test`, before there are workers. */
void weir_vm_set_prepare(void (*prepare)(lua_State *L, void *arg), void *arg);

/* Makes a VM with its libraries and runs the script's main chunk; `seat` is NULL for `weir check`. The
 * builder's thread. */
int weir_vm_create(const struct weir_lua_script *script, struct weir_seat *seat, struct weir_vm **ret, struct weir_err *reterr);
/* Runs init(ctx), if the script has one. */
int weir_vm_init(struct weir_vm *vm, struct weir_err *reterr);
/* The VM's place is its worker's from here on: fibers and timers that init began begin to run. Worker thread. */
void weir_vm_attach(struct weir_vm *vm);
/* Has the worker run the calls that are ready, in its turn. Worker thread. */
void weir_vm_schedule(struct weir_vm *vm);
/* It takes nothing new: its timers and background fibers end. Worker thread. */
void weir_vm_retire(struct weir_vm *vm);
/* Gives up all that it has in its worker: timers, streams. No call is under way. Worker thread. */
void weir_vm_detach(struct weir_vm *vm);
/* A VM that was detached, or never attached; any one thread. Takes NULL. */
void weir_vm_destroy(struct weir_vm *vm);

/* Runs `entry` with `args` as its one argument, a light userdata, protected. A Lua error becomes `reterr`,
 * with its traceback if it has one. */
int weir_vm_call(struct weir_vm *vm, lua_CFunction entry, void *args, struct weir_err *reterr);

/* The message handler of every protected call: turns an error value into a text with traceback. */
WEIR_L_RAISES int weir_l_traceback(lua_State *L);
/* The text of the error at the top of the stack, whatever it is, and whatever `status` says; valid while it
 * stays there. Never raises. */
const char *weir_vm_error_text(lua_State *L, int status);

/* Room for `more` bytes behind what the VM's buffer holds. When the limit leaves none there is a collection, without finalizers, which
 * could use the buffer; then it raises "not enough memory" as any allocation does. */
WEIR_L_RAISES void weir_vm_buffer_grow(lua_State *L, size_t more);
/* Gives back the memory of a VM's buffer. */
void weir_vm_buffer_free(struct weir_vm_buffer *b);
/* The same if it has grown large: a call has ended. */
static inline void weir_vm_buffer_shrink(struct weir_vm_buffer *b)
{
    b->len = 0;
    if (b->cap > WEIR_VM_BUFFER_KEEP)
        weir_vm_buffer_free(b);
}

#endif
