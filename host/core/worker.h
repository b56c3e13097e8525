/* core/worker.h - one thread with one libuv loop: it polls, takes, handles, flushes and accounts.
 *
 *   turn:  send what the poll brought for shared lanes
 *          → rounds { every stage with events, downstream first: take a batch, handle it }  until idle or it is time to poll
 *          → one piece of work that was set aside → send what goes to other pools → deliver the inbox
 *          → poll (without waiting while there is work, else parked)
 *
 * In a round each stage that has events gets one batch, so nobody starves; inside a round downstream goes first, so that work
 * in progress leaves before new work enters. A worker parks only in the poll, and says so before it looks a last time. */
#ifndef WEIR_CORE_WORKER_H
#define WEIR_CORE_WORKER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/inbox.h"
#include "core/seat.h"
#include "core/timer.h"
#include "core/watch.h"

struct weir_event;
struct weir_graph;
struct weir_pool;

enum weir_worker_state {
    WEIR_WORKER_NEW,     /* made; no thread yet */
    WEIR_WORKER_RUNNING,
    WEIR_WORKER_GONE,    /* its thread is about to end or has ended; weir_worker_destroy joins it */
};

/* What the control thread wants of a worker; bits, obeyed in this order at the end of a turn. */
enum weir_worker_order {
    WEIR_ORDER_STOP_SOURCES = 1, /* make no new events; end idle connections */
    WEIR_ORDER_RETIRE = 2,       /* stop sources, give waiting events to the others, leave when nothing is left */
    WEIR_ORDER_CANCEL = 4,       /* begin nothing more, drop what waits, cancel what is suspended */
    WEIR_ORDER_LEAVE = 8,        /* CANCEL, then cut connections and leave. A request is ended on the worker that holds it and answered on the
                                    one that made it: let all workers of all pools be quiet after CANCEL before one gets this order */
};

/* Work that gave way to other work and is to go on in the worker's turn. Embedded in what it is about. */
struct weir_aside {
    struct weir_list node; /* in no list (weir_list_init): not set aside; weir_list_remove takes it back */
    void (*run)(struct weir_aside *a); /* in no list any more when it is called; worker thread */
};

struct weir_worker {
    unsigned index;           /* [const] its slot: unique among living workers */
    struct weir_pool *pool;   /* [const] */
    struct weir_graph *graph; /* [const] */
    struct weir_seat **seats; /* [const] by stage index; the slot's, they outlive the worker */
    pthread_t thread;         /* [owner: control] */
    pid_t tid;                /* [const] after `started`: the kernel's number of it */
    bool joined;              /* [owner: control] */
    _Atomic uint64_t idle_ns; /* [atomic relaxed, one writer] time parked, up to the last time */
    _Atomic uint64_t parked_ns; /* [atomic relaxed, one writer] since when it is parked; 0: it is not */
    struct weir_inbox inbox;
    _Atomic uint64_t polled_ns; /* [atomic relaxed, one writer] when it last came back from its poll */
    _Atomic uint64_t lag_ns;  /* [atomic relaxed] the longest time between two polls since weir_relief_take_lag */
    struct weir_message collect; /* weir_relief_collect */
    _Atomic bool collecting;  /* [atomic acq/rel] that is on its way */
    _Atomic int state;        /* [atomic acq/rel] enum weir_worker_state */
    _Atomic unsigned orders;  /* [atomic acq/rel] given by control */
    _Atomic unsigned quiet_for; /* [atomic acq/rel] the orders under which it was quiet: no source had anything under way; CANCEL: done */
    struct weir_watch watch;
    sem_t started;            /* the thread has started its sources, or failed to */
    struct weir_err start_err; /* [const] after `started` */
    struct weir_worker *parked_next; /* [pool mu] */
    bool parked;              /* [pool mu] on the pool's stack */
    bool in_pool;             /* [owner: worker] it went there and has not come back */
    bool woken;               /* [owner: worker] it came back because it was meant to */
    bool leaving;             /* [pool mu] its wake-up handle is closed */

    /* [owner: worker] from here on */
    uv_loop_t loop;
    uint64_t now_ns;            /* the last reading of the clock */
    uint64_t worked_ns;         /* of handlers, in all (weir_seat_worked) */
    struct weir_seat **by_rank; /* farthest downstream first */
    size_t words;               /* of the bit sets, which are by rank */
    uint64_t *ready;            /* seats whose own lane has events */
    uint64_t *saturated;        /* seats that may begin no call now */
    struct weir_event **batch;  /* room for the largest batch */
    struct weir_list outbound;  /* seats with accepted events that are not in their shared lane yet */
    size_t outbound_count;      /* events of them all */
    uint64_t outbound_since_ns;
    struct weir_list free_events;
    size_t free_count;
    uint64_t next_event_id;
    struct weir_timers timers;
    struct weir_list aside;     /* of struct weir_aside: oldest first */
    struct weir_list services;  /* of struct weir_service */
    struct weir_list waits;     /* of struct weir_waiter, whose emissions this worker made */
    size_t replies;             /* answers that calls of this worker wait for, or that are on their way here (core/reply.h) */
    uv_timer_t wait_timer;
    uv_prepare_t before_poll;
    uint64_t polled_ms;         /* the loop's time when the worker looked for work a last time */
    unsigned obeyed;
};

/* Makes a worker of `pool` in the slot `index` with a handler or source on each seat that the pool serves. Control thread. */
int weir_worker_create(struct weir_pool *pool, unsigned index, struct weir_worker **ret, struct weir_err *reterr);
/* Starts its thread and waits until its sources have started. Control thread. */
int weir_worker_start(struct weir_worker *w, struct weir_err *reterr);
/* Adds to the worker's orders and wakes it. Control thread. */
void weir_worker_order(struct weir_worker *w, unsigned orders);
/* Whether it has obeyed all its orders and no source of its has anything under way. Any thread. */
bool weir_worker_quiet(const struct weir_worker *w);
/* Waits for the end of its thread, if it was started. Control thread. */
void weir_worker_join(struct weir_worker *w);
/* Joins a worker that is GONE or was never started, closes its handlers and frees it. Takes NULL. Control thread. */
void weir_worker_destroy(struct weir_worker *w);

/* Delivers `m` on the worker's thread, soon. Any thread. */
void weir_worker_post(struct weir_worker *w, struct weir_message *m);
/* Reads the clock and keeps it in now_ns. For callbacks of the loop, which may come long after the last reading. Worker thread. */
uint64_t weir_worker_now(struct weir_worker *w);
/* How long it has been parked in all, up to `now_ns`. Any thread. */
uint64_t weir_worker_idle_ns(const struct weir_worker *w, uint64_t now_ns);
/* Sends what was emitted to other pools; otherwise at the end of the turn, or when it gets old. Worker thread. */
void weir_worker_flush(struct weir_worker *w);
/* The same when that is due by age. Worker thread. */
void weir_worker_flush_due(struct weir_worker *w);
/* Has `a` run later: one a turn, oldest first, after the turn's batches and before its poll. Until then it counts as work: the worker does not
 * park. Setting it aside twice is setting it aside once. Worker thread. */
void weir_worker_set_aside(struct weir_worker *w, struct weir_aside *a);
/* Whether the watchdog has found it stuck in a call that can't be interrupted. What others can take of its work they take (its pool is woken
 * for shared lanes that have events; its listening sockets are accepted from by another one); what they can't is what only it may touch: its
 * own lanes and the rest of its batch, no more than fits into a slice at the stage's mean service time when there are others. Any thread. */
static inline bool weir_worker_stuck(const struct weir_worker *w)
{
    return atomic_load_explicit(&w->watch.stuck, memory_order_acquire);
}
/* The worker whose thread this is; NULL elsewhere. */
struct weir_worker *weir_worker_current(void);

static inline void weir_worker_set_ready(struct weir_worker *w, size_t rank)
{
    w->ready[rank / 64] |= 1ULL << (rank % 64);
}

#endif
