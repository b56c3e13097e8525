/* controller/bounds.h - what a gate lets in that several controllers have a say in: the least of what each would. Pure.
 *
 *   begin ──> add, for each controller ──> end: the gate's bounds
 */
#ifndef WEIR_CONTROLLER_BOUNDS_H
#define WEIR_CONTROLLER_BOUNDS_H

#include "controller/controller.h"
#include "core/gate.h"

/* Everything is let in. */
void weir_bounds_begin(struct weir_gate_bounds *b);
/* … and no more than `at` says: the least rate of each class, the least number that each class may be queued and running by, the shortest wait;
 * overloaded when one says so. A burst counts only where a rate is set. */
void weir_bounds_add(struct weir_gate_bounds *b, const struct weir_setpoint *at);
/* Makes them a gate's: shares of the limit, and a burst. */
void weir_bounds_end(struct weir_gate_bounds *b);

#endif
