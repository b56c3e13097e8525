/* runtime/drain.h - stopping in order: sources, queues, workers, handlers.
 *
 *   running ─stop─> draining ─nothing in flight─> leaving ─all workers gone─> stopped
 *                      │ drain time over, or a second stop        ^
 *                      └──> cancelling: queued events dropped, suspended calls ended ─all workers say so─┘
 *
 * A step per tick of the control thread's timer; no step waits. */
#ifndef WEIR_RUNTIME_DRAIN_H
#define WEIR_RUNTIME_DRAIN_H

#include <stdbool.h>
#include <stdint.h>

struct weir_graph;

enum weir_drain_phase { WEIR_DRAIN_IDLE, WEIR_DRAIN_DRAINING, WEIR_DRAIN_CANCELLING, WEIR_DRAIN_LEAVING, WEIR_DRAIN_DONE };

/* All fields belong to the control thread. */
struct weir_drain {
    struct weir_graph *graph;
    enum weir_drain_phase phase;
    uint64_t until_ns;        /* when the phase is given up */
    int64_t offered_before;   /* of the last tick that found nothing in flight; -1: it found something */
    bool cut;                 /* something was dropped or cancelled */
    bool stuck;               /* a worker did not leave: it blocks in a handler, and its memory must stay */
};

/* Begins to stop; what is in flight has `drain_ns` to end; UINT64_MAX: as long as it takes. */
void weir_drain_begin(struct weir_drain *d, struct weir_graph *graph, uint64_t now_ns, uint64_t drain_ns);
/* While it waits for what is in flight: no longer than until then. */
void weir_drain_limit(struct weir_drain *d, uint64_t until_ns);
/* Gives up waiting for what is in flight. */
void weir_drain_hurry(struct weir_drain *d, uint64_t now_ns);
/* One step. Returns whether all is done. */
bool weir_drain_step(struct weir_drain *d, uint64_t now_ns);

#endif
