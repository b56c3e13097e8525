/* core/gate.h - what admits events to a stage before its queue's bounds are asked. Controllers move it; a
 * stage that has none has no gate.
 *
 *   offer ── limit ── token bucket of its class ── the queue's bounds ──> queue ── shed_after ──> handler
 *              └────────────┴ refused: GATE                                           └ dropped: SHED
 *
 * A token bucket is the generic cell rate algorithm (ITU-T I.371, virtual scheduling): one atomic word per
 * class says when the next event of it may come; what is not used up to now is saved, as far as the burst
 * goes. Emitters read their clock once a turn, so a bucket saves at least what WEIR_GATE_JITTER_NS brings.
 *
 * The limit bounds events queued and running. The queue counts those queued, the gate those running
 * (weir_gate_begin, weir_gate_end), so whatever takes an event out of the queue gives its place back. Of n
 * classes the k-th (0 the highest) is let in up to limit × (1 - 0.1 k), at least 1: lower ones are refused
 * first.
 *
 * Owner: the graph, through its stage. Threads: emitters and takers only use atomics; the control thread
 * sets. */
#ifndef WEIR_CORE_GATE_H
#define WEIR_CORE_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hist.h"
#include "core/lane.h"

struct weir_gate;
struct weir_seat;
struct weir_stage;

#define WEIR_GATE_JITTER_NS 200000ULL

struct weir_gate_bounds {
    double rate[WEIR_CLASSES_MAX];  /* events per second of each class; INFINITY: any; 0: none */
    double burst;                   /* events of a class that may come at once, at least 1 */
    double limit;                   /* events queued and running; INFINITY: any */
    double share[WEIR_CLASSES_MAX]; /* what of the limit a class may take, 0..1, at least one event; all 0:
                                       the usual */
    double shed_after_s; /* an event that waited for longer is dropped when it is taken; INFINITY: never */
    bool overloaded;     /* a queue with `order: adaptive` gives the newest first */
};

/* A gate that is open, for `class_count` classes (1..WEIR_CLASSES_MAX). */
int weir_gate_create(size_t class_count, struct weir_gate **ret, struct weir_err *reterr);
/* Takes NULL. */
void weir_gate_destroy(struct weir_gate *g);

/* 1, 0.9, 0.8 … from the highest class down. */
static inline double weir_gate_usual_share(size_t class_index)
{
    return 1 - 0.1 * (double)class_index;
}

/* Sets the bounds. The bucket of a class that has had no event yet is full when it gets its first rate.
 * Later, what a class has saved survives a raise of its rate; a cut leaves it one event at most, so that it
 * takes effect at once. Control thread (one thread). */
void weir_gate_set(struct weir_gate *g, const struct weir_gate_bounds *b, uint64_t now_ns);
/* The bounds as last set. Any thread. */
void weir_gate_get(const struct weir_gate *g, struct weir_gate_bounds *ret);
bool weir_gate_overloaded(const struct weir_gate *g);

/* What a stage with a gate did for one class, over all workers. */
struct weir_gate_class_sum {
    int64_t offered; /* as in the ledger: the verdict has fallen */
    int64_t refused; /* of them by the gate, those that an edge's `route` then took elsewhere too */
    int64_t ended;   /* handlers' calls that have ended, whichever way */
    struct weir_hist_sum response_ns; /* from an event's arrival at its source to the end of its call here */
    struct weir_hist_sum wait_ns;     /* in the queue, of all that were taken: those shed or too late, too */
};

struct weir_gate_sum {
    size_t class_count;
    struct weir_gate_class_sum classes[WEIR_CLASSES_MAX];
};

/* Adds up what all workers counted; zeros without a gate. Any thread. */
void weir_gate_read(struct weir_stage *s, struct weir_gate_sum *ret);
/* What the gate of `s` has refused of that class; 0 without one. Any thread. */
int64_t weir_gate_refused(struct weir_stage *s, size_t class_index);
/* The shortest time in the queue (ns) of the events taken since the last call; UINT64_MAX: none was taken.
 * Control thread. */
uint64_t weir_gate_take_wait_min(struct weir_gate *g);
/* Events whose handler has begun and not ended. Any thread. */
int64_t weir_gate_running(const struct weir_gate *g);

/* ---- for core/port, core/waiter and core/seat ---- */

/* What one seat of a stage with a gate counts. One writer: the seat's worker. */
struct weir_gate_tally;

/* `timed`: its worker may handle the stage's events; others only offer. NULL: no memory. */
struct weir_gate_tally *weir_gate_tally_create(const struct weir_gate *g, bool timed);
/* Takes NULL. */
void weir_gate_tally_destroy(struct weir_gate_tally *t);
/* The verdict on an event of class `class_index` fell, for `seat` with a tally; `refused`: by the gate.
 * Worker thread. */
void weir_gate_count(struct weir_seat *seat, uint8_t class_index, bool refused);

/* Whether events queued and running at stage `s`, which has a gate, and `more` are within the limit of that
 * class. Any thread. */
bool weir_gate_fits(const struct weir_stage *s, uint8_t class_index, size_t more);
/* Takes a token of the class. false: there is none. Any thread. */
bool weir_gate_take_token(struct weir_gate *g, uint8_t class_index, uint64_t now_ns);
/* Gives one back: the event was not accepted in the end. Any thread. */
void weir_gate_return_token(struct weir_gate *g, uint8_t class_index);

/* In how many milliseconds (an hour at most) the class gets its next token; 0: it is not its rate that it has
 * to wait for, or nobody knows. Any thread. */
uint32_t weir_gate_retry_after_ms(const struct weir_gate *g, uint8_t class_index, uint64_t now_ns);

/* An event of `class_index` was taken after it had waited for `waited_ns`. Returns whether it is to be shed.
 * Worker thread. */
bool weir_gate_taken(struct weir_seat *seat, uint8_t class_index, uint64_t waited_ns);
/* A handler's call begins; before the event's place in the queue is given back. Worker thread. */
void weir_gate_begin(struct weir_gate *g);
/* … and ends, `response_ns` after the event's arrival. Worker thread. */
void weir_gate_end(struct weir_seat *seat, uint8_t class_index, uint64_t response_ns);

#endif
