/* core/seat.h - a stage on a worker: its lane, its handler or source, its ledger. Every worker has a seat for every stage,
 * since any worker may emit to any stage; only the workers of the stage's pool have a handler or source on it.
 * Owner: the worker's thread, but for the ledger's counters, which anyone may read. */
#ifndef WEIR_CORE_SEAT_H
#define WEIR_CORE_SEAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/handler.h"
#include "core/lane.h"
#include "core/ledger.h"
#include "core/source.h"

struct weir_event;
struct weir_gate_tally;
struct weir_stage;
struct weir_worker;

struct weir_seat {
    struct weir_stage *stage;   /* [const] */
    struct weir_worker *worker; /* [const] while the worker lives */
    struct weir_handler *handler; /* [const] while the worker runs; NULL: not served here */
    struct weir_source *source;   /* [const] while the worker runs; NULL: none */
    struct weir_lane lane;        /* [owner: worker] */
    struct weir_list outbound;    /* [owner: worker] accepted for another pool, not yet in its shared lane */
    size_t outbound_count;        /* [owner: worker] */
    struct weir_list outbound_node; /* [owner: worker] of the worker's list of seats with outbound events */
    size_t running;             /* [owner: worker] calls begun and not ended */
    uint64_t begun;             /* [owner: worker] calls in all */
    bool held;                  /* [owner: worker] the handler takes nothing now (weir_seat_hold) */
    _Atomic bool saturated;     /* [atomic relaxed, one writer] held, or as many run as `concurrency` allows; others look before they wake */
    bool shared_first;          /* [owner: worker] whose turn it is, when both lanes have events */
    double mean_service_ns;     /* [owner: worker] moving average */
    size_t share;               /* [owner: worker] events that fit into a slice at that mean: what the own lane may hold */
    _Atomic int64_t unfinished;   /* [atomic relaxed, one writer] functions that calls have put off until after their end: a drain waits for them */
    _Atomic int64_t handler_bytes; /* [atomic relaxed] what the handler holds: published by its owner at the end of a batch */
    _Atomic int64_t worked_ns;    /* [atomic relaxed, one writer] time of its worker that its handler had (weir_seat_worked) */
    _Atomic int64_t collected_ns; /* [atomic relaxed, one writer] … of it, taken by collecting garbage */
    struct weir_ledger ledger;
    struct weir_gate_tally *tally; /* [const] what its stage's gate counts here; NULL: it has none. Owned by the graph, as the seat */
    _Atomic int64_t emitted[];  /* [atomic relaxed, one writer] per port of the stage: accepted emits of this seat */
};

/* For its worker: one writer, so that a plain addition will do. */
static inline void weir_seat_add_time(_Atomic int64_t *cell, uint64_t ns)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + (int64_t)ns, memory_order_relaxed);
}

/* Why `ev`, which waits, has expired by the worker's last reading of the clock: DEADLINE, MAX_AGE or GONE; NONE: it has not. Only reads, takes
 * no lock. Worker thread. */
enum weir_reason weir_seat_why_expired(const struct weir_seat *seat, const struct weir_event *ev);
/* Begins `ev` here: waits for nothing, counts it as running and its time in the queue. false: it had expired (deadline, max_age, client
 * gone) or is shed by the stage's gate; it is counted, answered and freed. Worker thread. */
bool weir_seat_begin(struct weir_seat *seat, struct weir_event *ev);
/* Ends `ev`: counts it handled (`reason` WEIR_REASON_NONE), expired (DEADLINE, GONE) or failed, has the host answer a request it still holds
 * (504 when it expired, 500 when it failed), and frees it. A failed one is kept among the last failures and offered to the stage's
 * `on_error` stage, with `error`, the text and traceback (NULL: there is none; copied). Reads the clock once and may flush what was
 * emitted to other pools. Worker thread. */
void weir_seat_end(struct weir_seat *seat, struct weir_event *ev, enum weir_reason reason, const char *error);

/* Its handler had the worker from `began_ns`, when worker->worked_ns was `before_ns`, to the last reading of the clock. What is noted in
 * between for this seat or another one is not counted twice. Worker thread. */
void weir_seat_worked(struct weir_seat *seat, uint64_t began_ns, uint64_t before_ns);

/* The handler can begin no call now although `concurrency` allows it (all its VMs are taken by preempted calls, or a new one is being
 * made): until weir_seat_release nothing is taken for this seat, and others take the stage's events, those of the own lane too if there are
 * others. Holding it twice is holding it once. Worker thread. */
void weir_seat_hold(struct weir_seat *seat);
void weir_seat_release(struct weir_seat *seat);
/* Of the batch that handle() was given: the events that it has not begun and won't (it has held the seat) go back to the head of the
 * queue, in their order; others take them if there are others. Worker thread, in handle(). */
void weir_seat_give_back(struct weir_seat *seat, struct weir_event **evs, size_t n);
/* Gives what waits in the own lane to the other workers. Worker thread. */
void weir_seat_spill(struct weir_seat *seat);

enum { WEIR_POLL_AFTER_NS = 200000 }; /* with work in hand: sockets wait no longer than this and one batch */

/* Has the handler begin what of the stage's events is due to this worker in a turn. Returns whether there was any. Worker thread. */
bool weir_seat_run(struct weir_seat *seat);
/* Says how much its handler holds. Worker thread. */
void weir_seat_publish_memory(struct weir_seat *seat);

#endif
