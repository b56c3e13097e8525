/* io/sole.h - sources of which an application has one stream however many workers there are (timer, stdin,
 * files): one worker of the stage's pool runs it. Pools shrink from their newest worker, so the one in the
 * pool's first slot stays until the host stops. */
#ifndef WEIR_IO_SOLE_H
#define WEIR_IO_SOLE_H

#include <stdbool.h>

#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

/* For weir_source_maker.make: whether the stream runs on this seat; the others get no source (NULL). Any
 * thread. */
static inline bool weir_sole_here(const struct weir_seat *seat)
{
    return seat->worker->index == seat->stage->pool->first_slot;
}

/* For assert in a source's stop: it is the end, not a worker that leaves others behind. Worker thread. */
static inline bool weir_sole_ends(const struct weir_seat *seat)
{
    return (seat->worker->obeyed & WEIR_ORDER_RETIRE) == 0;
}

#endif
