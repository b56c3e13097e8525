/* core/lane.h - the events of one stage that wait on one worker: a list per class, in order of acceptance.
 * Owner: the worker; an event in it belongs to the lane. Threads: the owner only, no lock. Bounds are the queue's (core/queue.h).
 * The shared lane (core/shared_lane.h) has one of these under its lock. */
#ifndef WEIR_CORE_LANE_H
#define WEIR_CORE_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/policy.h"

struct weir_event;

enum { WEIR_CLASSES_MAX = 8 };

struct weir_lane {
    size_t count;
    struct weir_list all;                      /* oldest first; the only list unless by class */
    struct weir_list classes[WEIR_CLASSES_MAX]; /* with WEIR_ORDER_CLASS: oldest first, [0] is the highest */
    enum weir_order order;
};

void weir_lane_init(struct weir_lane *l, enum weir_order order);
/* Gives `ev` to the lane. */
void weir_lane_push(struct weir_lane *l, struct weir_event *ev);
/* Gives back an event that was taken: it is the oldest again. Those of a batch from the last to the first. */
void weir_lane_put_back(struct weir_lane *l, struct weir_event *ev);
/* Moves up to `max` events to `out` and their ownership with them, in the lane's order; `newest_first` is what WEIR_ORDER_ADAPTIVE
 * asks (others ignore it). Returns the count. Never waits. */
size_t weir_lane_take(struct weir_lane *l, struct weir_event **out, size_t max, bool newest_first);
/* Takes `ev`, one of the lane's, out. */
void weir_lane_remove(struct weir_lane *l, struct weir_event *ev);
/* Takes the event that waits longest; with WEIR_ORDER_CLASS: of the lowest class that has one, unless that is above `class_index` (0: any
 * will do). NULL: there is none. For drop_oldest. */
struct weir_event *weir_lane_take_oldest(struct weir_lane *l, uint8_t class_index);
/* With WEIR_ORDER_CLASS: takes the newest of a class below `class_index`, of the lowest. NULL: there is none. */
struct weir_event *weir_lane_take_below(struct weir_lane *l, uint8_t class_index);

#endif
