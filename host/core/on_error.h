/* core/on_error.h - what a failed event becomes for the stage named by `on_error`: a new event whose value is a map
 *
 *   {stage = "page", reason = "cpu", generation = 3, id = 4711, error = "page.lua:3: …", event = <the value of the failed event>}
 *
 * `error` is not there when there is no text, `event` when the value is too large or too deep to be put into a map. A request
 * in it is the string "<request>": it was answered. The new event has arrival, class, source, key and trace of the failed one,
 * and no deadline, which may be what it failed of. */
#ifndef WEIR_CORE_ON_ERROR_H
#define WEIR_CORE_ON_ERROR_H

#include "core/reason.h"

struct weir_event;
struct weir_seat;

/* Offers it to the seat's stage's `on_error` stage, if it has one; a verdict other than accepted is counted there. Never waits.
 * Worker thread. */
void weir_on_error_offer(struct weir_seat *seat, const struct weir_event *ev, enum weir_reason reason, const char *error);

#endif
