/* core/watch.h - what a thread tells the watchdog (core/watchdog.h) about the logic it runs, and what the watchdog tells it.
 *
 *   owner:     enter: since when, and limits, stage … if other logic ran before; then serial + 1 (odd: logic runs)
 *              leave: serial + 1 (even)
 *   watchdog:  the same odd serial as before, and by its own clock it is over
 *                slice   -> order PREEMPT: give way if possible
 *                stall   -> order STALL: give way or be ended; again each `stall` while the serial stays the same
 *                           (not in a blocking pool, where a call holds up nobody and may be anywhere)
 *                cpu     -> order CPU (the thread's clock; read only when the time that passed says that it may be)
 *                wall    -> order WALL
 *              and with each order, and each tick as long as it is not taken, the signal, whose handler calls `interrupt`
 *              slice after an order STALL (or a higher one) that nobody took: STUCK: logged once, others take over (weir_worker_stuck)
 *
 * Orders carry the serial they are meant for, so one that comes late means nothing to the next call. Under ThreadSanitizer, which puts
 * signals off, none are sent: the logic looks for orders itself.
 * Owner: the thread that is watched; it embeds one. Calls are not nested. Everything here is what that thread calls, but for the
 * watchdog's part. Cost of enter and leave: a few loads and stores; no clock is read unless the call has had more than a slice already. */
#ifndef WEIR_CORE_WATCH_H
#define WEIR_CORE_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <time.h>

#include "base/list.h"

struct weir_stage;
struct weir_worker;
struct weir_watchdog;

enum weir_watch_order { WEIR_WATCH_NONE, WEIR_WATCH_PREEMPT, WEIR_WATCH_STALL, WEIR_WATCH_CPU, WEIR_WATCH_WALL };

enum { WEIR_WATCH_PLACE_MAX = 512, WEIR_WATCH_ORDER_BITS = 3 };

struct weir_watch_limits {
    uint64_t slice_ns, stall_ns, cpu_ns, wall_ns;
};

/* Some logic, as the watchdog has to know it: made once (weir_watch_logic_init), entered again and again. Owner: who has the logic, and
 * threads: its; the watch has a copy. */
struct weir_watch_logic {
    uint64_t id; /* of no other one, ever: the thread that entered it last need not copy it again */
    struct weir_watch_limits limits;
    struct weir_stage *stage;     /* whose; NULL: no stage's */
    void (*interrupt)(void *arg); /* in the signal handler on the thread that runs it: async-signal-safe only */
    void *arg;
};

/* What the watchdog knows of one thread. [owner: watchdog] but where it says otherwise. */
struct weir_watch_seen {
    _Atomic uint64_t serial;     /* [atomic acq/rel] the odd one that it saw last; 0: none */
    _Atomic uint64_t cpu_ns;     /* [atomic relaxed] the thread's CPU clock then */
    uint64_t at_ns;              /* when */
    uint64_t ordered_ns;         /* when it gave the last order */
    uint64_t stalled_ns;         /* since when an order STALL or higher is not taken; 0: none is */
    uint64_t asked_ns;           /* when it asked for the place; 0: it has not */
    enum weir_watch_order given; /* the highest so far */
    uint64_t beats;              /* at the last look */
    uint64_t beat_ns;            /* when those had changed */
    bool silent;                 /* that they stopped was logged */
    struct weir_stage *stage;    /* of the call that is stuck; NULL: it has none */
};

struct weir_watch {
    /* [atomic relaxed, one writer: owner] but for `serial`, which the owner stores with release after what it guards */
    _Atomic uint64_t serial;                   /* odd: logic runs */
    _Atomic uint64_t began_ns;                 /* since when its wall limit counts; 0: it has none */
    _Atomic uint64_t ran_ns;                   /* CPU time of its earlier slices */
    _Atomic uint64_t cpu_began_ns;             /* the thread's CPU clock at enter; 0: not read */
    /* of the logic that it entered last */
    uint64_t logic;                            /* [owner] its id; 0: none yet */
    _Atomic uint64_t slice_ns, stall_ns, cpu_ns, wall_ns;
    _Atomic(struct weir_stage *) stage;
    void (*interrupt)(void *arg); /* [owner] */
    void *arg;                    /* [owner] */
    _Atomic bool idle;            /* [atomic seq_cst] it waits for work: nothing to watch until it says otherwise */
    _Atomic uint64_t beats;       /* [atomic relaxed] of weir_watch_beat; 0: it does not beat */

    char apart[64]; /* what the watchdog writes is in other cache lines than what the owner writes with each call */
    _Atomic uint64_t order;       /* [atomic acq/rel] serial << ORDER_BITS | order; set by the watchdog, taken by the owner */
    _Atomic bool wants_place;     /* [atomic acq/rel] `interrupt` is to fill `where`: set by the watchdog, cleared once it has */
    _Atomic uint64_t placed;      /* [atomic acq/rel] the serial for which it has */
    _Atomic bool stuck;           /* [atomic acq/rel] set and cleared by the watchdog */
    char where[WEIR_WATCH_PLACE_MAX]; /* written by `interrupt`; the watchdog reads it once `placed` says so */

    struct weir_list node;        /* [watchdog mu] */
    struct weir_watchdog *dog;    /* [const] once added */
    const char *name;             /* [const] "worker", "builder", "control": for the log */
    struct weir_worker *worker;   /* [const] NULL: the thread is none */
    pthread_t thread;             /* [const] once added */
    clockid_t cpu_clock;          /* [const] once added: the thread's */
    struct weir_watch_seen seen;
};

/* The calling thread's; NULL: it is not watched. Any thread. */
struct weir_watch *weir_watch_current(void);
/* CPU time since the last enter if the clock was read then, else since the watchdog saw that first; 0: it has not. Before the next enter. */
uint64_t weir_watch_cpu_ns(const struct weir_watch *w);
/* The thread's CPU clock. */
uint64_t weir_watch_clock_ns(void);
/* It is about to wait for work; it has some. The second wakes a watchdog that dozes. */
void weir_watch_rest(struct weir_watch *w);
void weir_watch_rouse(struct weir_watch *w);

/* "I am alive": for threads that run no logic for long; silence of more than 5 s is logged, from the first beat on. */
static inline void weir_watch_beat(struct weir_watch *w)
{
    atomic_store_explicit(&w->beats, atomic_load_explicit(&w->beats, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Fills it; any thread. */
void weir_watch_logic_init(struct weir_watch_logic *logic, const struct weir_watch_limits *limits, struct weir_stage *stage,
                           void (*interrupt)(void *arg), void *arg);

static inline void weir_watch_copy_logic(struct weir_watch *w, const struct weir_watch_logic *logic)
{
    w->logic = logic->id;
    atomic_store_explicit(&w->slice_ns, logic->limits.slice_ns, memory_order_relaxed);
    atomic_store_explicit(&w->stall_ns, logic->limits.stall_ns, memory_order_relaxed);
    atomic_store_explicit(&w->cpu_ns, logic->limits.cpu_ns, memory_order_relaxed);
    atomic_store_explicit(&w->wall_ns, logic->limits.wall_ns, memory_order_relaxed);
    atomic_store_explicit(&w->stage, logic->stage, memory_order_relaxed);
    w->interrupt = logic->interrupt;
    w->arg = logic->arg;
}

/* `logic` (copied) begins or goes on, having had `ran_ns` of CPU time before; its wall limit counts from `began_ns`, 0: it has none. */
static inline void weir_watch_enter(struct weir_watch *w, const struct weir_watch_logic *logic, uint64_t ran_ns, uint64_t began_ns)
{
    if (w->logic != logic->id)
        weir_watch_copy_logic(w, logic);
    atomic_store_explicit(&w->began_ns, began_ns, memory_order_relaxed);
    if ((ran_ns | atomic_load_explicit(&w->ran_ns, memory_order_relaxed)) != 0) { /* else both are 0, and so is the clock */
        atomic_store_explicit(&w->ran_ns, ran_ns, memory_order_relaxed);
        atomic_store_explicit(&w->cpu_began_ns, ran_ns >= logic->limits.slice_ns ? weir_watch_clock_ns() : 0, memory_order_relaxed);
    }
    uint64_t serial = atomic_load_explicit(&w->serial, memory_order_relaxed);
    atomic_store_explicit(&w->serial, serial + 1, memory_order_release); /* the compiler keeps the order for the signal handler, too */
}

/* It has ended or given way. Orders for it are void from here on. */
static inline void weir_watch_leave(struct weir_watch *w)
{
    uint64_t serial = atomic_load_explicit(&w->serial, memory_order_relaxed);
    atomic_store_explicit(&w->serial, serial + 1, memory_order_release);
}

/* Whether logic runs on this thread now: calls are not nested. The watch's own thread. */
static inline bool weir_watch_runs(const struct weir_watch *w)
{
    return (atomic_load_explicit(&w->serial, memory_order_relaxed) & 1) != 0;
}

/* The order for the call that runs, which stays; NONE: there is none. */
static inline enum weir_watch_order weir_watch_order(const struct weir_watch *w)
{
    uint64_t word = atomic_load_explicit(&w->order, memory_order_acquire);
    if (word >> WEIR_WATCH_ORDER_BITS != atomic_load_explicit(&w->serial, memory_order_relaxed))
        return WEIR_WATCH_NONE;
    return (enum weir_watch_order)(word & ((1U << WEIR_WATCH_ORDER_BITS) - 1));
}

/* The same, and takes it: the watchdog knows then that the logic can hear it. */
static inline enum weir_watch_order weir_watch_take_order(struct weir_watch *w)
{
    uint64_t word = atomic_exchange_explicit(&w->order, 0, memory_order_acq_rel);
    if (word >> WEIR_WATCH_ORDER_BITS != atomic_load_explicit(&w->serial, memory_order_relaxed))
        return WEIR_WATCH_NONE;
    return (enum weir_watch_order)(word & ((1U << WEIR_WATCH_ORDER_BITS) - 1));
}

/* In `interrupt`: whether it is to write where the logic is into `where`. */
static inline bool weir_watch_wants_place(const struct weir_watch *w)
{
    return atomic_load_explicit(&w->wants_place, memory_order_acquire);
}

#endif
