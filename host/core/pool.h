/* core/pool.h - a set of workers that serve the same stages.
 * Owner: the graph; sized by the control thread. Workers park on a stack, so that the newest parked, whose caches are warmest, is
 * woken first; a wake-up that is under way stands for all that follow until the woken one has looked. */
#ifndef WEIR_CORE_POOL_H
#define WEIR_CORE_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sync.h"

struct weir_graph;
struct weir_stage;
struct weir_worker;

struct weir_pool {
    const char *name;         /* [const] */
    size_t index;             /* [const] in the graph */
    struct weir_graph *graph; /* [const] */
    bool blocking;            /* [const] handlers may block: shared lanes only, one event at a time */
    unsigned min, max;        /* [const] */
    unsigned first_slot, slot_count; /* [const] slots of its workers; slot_count bounds its size */
    struct weir_worker **workers; /* [owner: control] by slot from first_slot; NULL: none */
    uint64_t *event_ids;      /* [owner: control] by slot: how many its past workers gave out */
    unsigned target;          /* [owner: control] the size asked for */
    _Atomic unsigned live;    /* [atomic relaxed] workers that take work */
    struct weir_mutex mu;     /* rank WEIR_RANK_POOL */
    struct weir_worker *parked; /* [mu] newest first */
    _Atomic unsigned parked_count; /* [atomic seq_cst] */
    _Atomic bool waking;      /* [atomic seq_cst] written under mu: a worker was chosen and has not looked at `ready` yet */
    _Atomic uint64_t *ready;  /* [atomic seq_cst] by stage rank: shared lanes that have events; set and cleared under that lane's lock */
    _Atomic uint64_t *paused; /* [atomic relaxed] by stage rank: stages that take nothing now (core/pause.h); orders nothing */
    size_t words;             /* [const] of `ready` and `paused` */
};

/* Brings the pool to `size` workers (1..slot_count). Growing: all new workers are made, with their handlers, before one starts, and if
 * one can't be made the size stays; if one can't start, those that started before it stay. Shrinking: the newest retire; they leave when their calls and connections have ended, weir_pool_reap collects them.
 * Control thread. */
int weir_pool_resize(struct weir_pool *p, unsigned size, struct weir_err *reterr);
/* Destroys workers that have left; returns how many are still there, retiring ones included. Control thread. */
unsigned weir_pool_reap(struct weir_pool *p);
/* The end, in two steps, since a worker may post to one of another pool until its thread has ended: waits for the threads, which were told to
 * leave (or asks whether they have); then, when those of all pools have ended, destroys the workers. Control thread. */
void weir_pool_join(struct weir_pool *p);
bool weir_pool_gone(const struct weir_pool *p);
void weir_pool_clear(struct weir_pool *p);
/* Gives `orders` to every worker. Control thread. */
void weir_pool_order(struct weir_pool *p, unsigned orders);
/* Whether every worker says it is quiet. Control thread. */
bool weir_pool_quiet(struct weir_pool *p);
/* Share of their time that the workers have not been parked since the last call, 0..1. Control thread. */
struct weir_pool_load {
    uint64_t at_ns, idle_ns;
};
double weir_pool_busy(struct weir_pool *p, struct weir_pool_load *last, uint64_t now_ns);

/* Marks the shared lane of `stage` as having (or not having) events. Under that lane's lock. */
void weir_pool_set_ready_locked(struct weir_pool *p, struct weir_stage *stage, bool ready);
/* Wakes the newest parked worker that can begin a call of `stage`, unless a wake-up is on its way: the worker that it reaches passes on
 * what it can't do itself. Any thread, no lane's lock held. */
void weir_pool_wake(struct weir_pool *p, struct weir_stage *stage);
/* The same if the shared lane of `stage` has events. */
void weir_pool_wake_ready(struct weir_pool *p, struct weir_stage *stage);
/* The worker, which takes from shared lanes, is about to poll without end, is back. The second returns whether weir_pool_wake meant it.
 * Worker thread. */
void weir_pool_park(struct weir_pool *p, struct weir_worker *w);
bool weir_pool_unpark(struct weir_pool *p, struct weir_worker *w);

#endif
