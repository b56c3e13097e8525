/* core/shared_lane.h - the part of a queue that any worker of the pool takes from, under a lock of rank WEIR_RANK_SHARED_LANE, a
 * batch at a time. It also keeps what ordered, fair and `wait` queues need: partitions, keys and waiters.
 *
 *   ordered:  keys hash to WEIR_PARTITIONS; a partition with events and no running call is in `ready`; taking from it makes it
 *             running, and the end of the call makes it ready again. So a key's events are handled one call at a time in the order
 *             of acceptance, whichever worker takes them. */
#ifndef WEIR_CORE_SHARED_LANE_H
#define WEIR_CORE_SHARED_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/list.h"
#include "base/sync.h"
#include "core/fair.h"
#include "core/lane.h"
#include "core/policy.h"

struct weir_event;

enum { WEIR_PARTITIONS = 64 };

struct weir_partition {
    struct weir_list node;   /* of `ready` */
    struct weir_list events; /* oldest first */
    size_t running;          /* events of the call that runs; 0: none */
};

struct weir_shared_lane {
    struct weir_mutex mu;
    struct weir_lane lane;              /* [mu] */
    struct weir_partition *partitions;  /* [mu] NULL: not ordered */
    struct weir_list ready;             /* [mu] partitions that can be taken from */
    struct weir_fair *fair;             /* [mu] instead of `lane`, whose keys have a share each; NULL: not fair */
    struct weir_list waiters;           /* [mu] of core/waiter.h, longest first, unless fair */
    _Atomic size_t waiting;             /* [atomic seq_cst] how many waiters */
};

/* `ordered`: with partitions. `fair_capacity`: that of the queue when it is fair; else 0. Fails only for want of memory. */
int weir_shared_lane_init(struct weir_shared_lane *l, enum weir_order order, bool ordered, size_t fair_capacity, struct weir_err *reterr);
/* It holds no event any more. */
void weir_shared_lane_fini(struct weir_shared_lane *l);
/* Gives `ev` (its partition set, when ordered) to the lane. Returns whether the lane has something to take now. */
bool weir_shared_lane_push_locked(struct weir_shared_lane *l, struct weir_event *ev);
/* Moves up to `max` events to `out`; ordered: one of each ready partition, or with `whole` all that fit of each. `*left`: whether
 * there is something to take still. Returns the count. */
size_t weir_shared_lane_take_locked(struct weir_shared_lane *l, struct weir_event **out, size_t max, bool newest_first, bool whole,
                                    bool *left);
/* The call that had an event of `partition` has ended it. Returns whether the partition became ready by it. */
bool weir_shared_lane_release_locked(struct weir_shared_lane *l, uint32_t partition);
/* Gives back an event that was taken and won't be begun: it is the oldest of the lane or of its partition again, which it no longer
 * keeps running. Those of a batch from the last to the first. Returns whether the lane has something to take now. */
bool weir_shared_lane_put_back_locked(struct weir_shared_lane *l, struct weir_event *ev);
/* Takes `ev`, one of the lane's, out. */
void weir_shared_lane_remove_locked(struct weir_shared_lane *l, struct weir_event *ev);
/* Takes the event that waits longest, of any partition; when fair, of the key of `ev` (weir_fair_take_oldest), with classes none
 * of a higher one than `ev`'s. `ev` NULL: any. NULL: there is none. */
struct weir_event *weir_shared_lane_take_oldest_locked(struct weir_shared_lane *l, const struct weir_event *ev);
/* With `order: class`: takes the newest of a class below `class_index`, of the lowest. NULL: there is none. */
struct weir_event *weir_shared_lane_take_below_locked(struct weir_shared_lane *l, uint8_t class_index);

#endif
