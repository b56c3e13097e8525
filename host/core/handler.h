/* core/handler.h - the table that a binding implements for a stage's logic, one instance per seat (a stage on a worker).
 *
 *   worker                         handler
 *   takes a batch ───────────────> handle(h, evs, n)      the events are the handler's now
 *                                    weir_seat_begin(seat, ev)       once each; false: it had expired, it is gone
 *                                    … runs the logic, which emits, answers, suspends …
 *   counts, answers, frees <──────── weir_seat_end(seat, ev, …)      once each, now or in a later turn
 *   offers them to others  <──────── weir_seat_give_back(seat, evs, n)   those that it does not begin
 */
#ifndef WEIR_CORE_HANDLER_H
#define WEIR_CORE_HANDLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct weir_event;
struct weir_handler;
struct weir_seat;

struct weir_handler_ops {
    /* Its worker's thread runs: begins what the logic has set up for then. Before sources start and before the first batch. NULL: nothing to
     * do. Worker thread. */
    void (*start)(struct weir_handler *h);
    /* Handles a batch of `n` ≥ 1 events, oldest first. Never waits in an event-driven pool. Worker thread. */
    void (*handle)(struct weir_handler *h, struct weir_event **evs, size_t n);
    /* The drain time is over: ends every suspended call with `CANCELLED`. None of them waits in an emit any more. May be called again, when
     * nothing is left to end. What it has set aside (weir_worker_set_aside) it takes out of the worker's list. Worker thread. */
    void (*cancel)(struct weir_handler *h);
    /* Frees it; no call is under way. On the worker's thread, whose loop runs until the handles that this closes are gone, or, when the
     * thread was never started, on the one that made it. */
    void (*close)(struct weir_handler *h);
    /* Memory is short: collects garbage, beside its work and under its limits, and gives up what it only keeps ready. NULL: it has none.
     * Worker thread, not inside another call of the handler. */
    void (*collect)(struct weir_handler *h);
    /* Bytes it holds (the VM's memory). Worker thread, or the control thread before it starts. */
    size_t (*memory)(const struct weir_handler *h);
};

struct weir_handler {
    const struct weir_handler_ops *ops; /* [const] */
    struct weir_seat *seat;             /* [const] */
};

/* How a stage gets its handlers. `make` runs on the control thread before the worker has started, and calls
 * the logic's own set-up (Lua: loads the file, calls init). It must not touch the worker. */
struct weir_handler_maker {
    int (*make)(void *self, struct weir_seat *seat, struct weir_handler **ret, struct weir_err *reterr);
    /* The log was rotated: open files anew. Control thread. NULL: nothing to do. */
    void (*reopen)(void *self);
    void (*destroy)(void *self); /* after the last handler has closed */
    void *self;
};

#endif
