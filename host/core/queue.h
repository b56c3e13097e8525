/* core/queue.h - the bounded queue in front of a stage.
 *
 *                        ┌ lane of worker 0 ┐
 *   emit ── gate ────────┼ lane of worker 1 ┼──> worker of the stage's pool
 *      │   (the bounds)  └ shared lane ─────┘
 *      └ full: reject · wait (a list of waiters) · drop_newest · drop_oldest · route
 *
 * The bounds hold for the sum of all lanes: one atomic word counts events and bytes of them. An emit inside the pool goes to the
 * worker's own lane, no lock taken, as long as that holds no more than a slice's worth of work; else, from another pool, in a blocking
 * pool, or with order_by or fair_by, to the shared lane. */
#ifndef WEIR_CORE_QUEUE_H
#define WEIR_CORE_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy.h"
#include "core/port.h"
#include "core/reason.h"
#include "core/shared_lane.h"

enum weir_queue_by { WEIR_BY_NONE, WEIR_BY_KEY, WEIR_BY_SOURCE, WEIR_BY_FIELD };

/* What tells the events of a queue apart. */
struct weir_queue_keys {
    enum weir_queue_by by; /* [const] NONE: nothing does */
    const char *field;     /* [const] with FIELD */
    bool fair;             /* [const] keys have a share each (core/fair.h); else they keep their order */
};

#define WEIR_QUEUE_CAPACITY_MAX ((1ULL << 24) - 2) /* events and bytes share one word: 24 and 40 bits, */
#define WEIR_QUEUE_BYTES_MAX    (1ULL << 39)       /* with room for a reservation that is being refused */

struct weir_queue {
    size_t capacity, bytes;       /* [const] */
    uint64_t max_age_ns;          /* [const] 0: none */
    struct weir_overflow_policy overflow; /* [const] */
    enum weir_order order;        /* [const] */
    struct weir_queue_keys keys;  /* [const] */
    _Alignas(64) _Atomic uint64_t load; /* [atomic seq_cst] events << 40 | bytes, of all lanes and what is on its way there */
    _Atomic bool closed;          /* [atomic relaxed] takes no more */
    struct weir_shared_lane shared;
};

struct weir_event;
struct weir_list;
struct weir_seat;

/* Says where among the queue's keys `ev` belongs: before it is given room, and after another queue has. */
void weir_queue_place(const struct weir_queue *q, struct weir_event *ev);
/* Reserves room for `ev`, which has its place and its size. NONE: reserved; else the bound that forbids it: FULL, BYTES, SHARE (its key's);
 * NOMEM. `waits`: it is one of the waiters. Any thread. */
enum weir_reason weir_queue_reserve(struct weir_queue *q, const struct weir_event *ev);
enum weir_reason weir_queue_reserve_locked(struct weir_queue *q, const struct weir_event *ev, bool waits);
/* Whether an event that comes now has to wait behind others, whatever its key. Any thread. */
bool weir_queue_has_line(const struct weir_queue *q);
/* Gives the room of an event that left back, and lets waiters in. Worker thread (any worker). */
void weir_queue_release(struct weir_worker *w, struct weir_stage *stage, const struct weir_event *ev);
/* Moves accepted events to the shared lane and wakes a worker. Any thread. */
void weir_queue_share(struct weir_stage *stage, struct weir_list *events);
/* Takes up to `max` events for the seat's worker, from its own lane or from the shared one. Never waits. Worker thread. */
size_t weir_queue_take(struct weir_seat *seat, struct weir_event **out, size_t max);

/* Events and bytes that wait now. Any thread. */
size_t weir_queue_depth(const struct weir_queue *q);
size_t weir_queue_bytes(const struct weir_queue *q);

#endif
