/* core/fair.h - the events of a queue with `fair_by`, by key: each key has a list, and keys with events take
 * turns.
 *
 *   place of a key: while it holds less than the room that is left, in events and in bytes (dynamic
 * thresholds; Choudhury and Hahne, 'Dynamic queue length thresholds for shared-memory packet switches',
 * IEEE/ACM ToN 6(2), 1998, with alpha 1). So n keys that send more than is handled come to hold capacity / (n
 * + 1) each, and as much stays free for a key that comes. turn of a key: one event, then it goes behind the
 * others (McKenney, 'Stochastic fairness queueing', INFOCOM 1990, but with a list for each key, not for each
 * hash). A key that had no events comes before those whose events have waited for a turn, once, and has to go
 * through a round before it can do so again: who sends seldom does not wait for those who send without end
 * (Hoeiland-Joergensen et al., RFC 8290, 'The Flow Queue CoDel Packet Scheduler', section 4). FRESH_MAX such
 * keys in a row, then one of the round, so that the round always goes on. With `order: class` each class has a round
 * of its own, and a key that sends two classes counts as two.
 *
 * A key is there while it holds room, waits for it, or goes through its round. Events without a key have one
 * in common.
 * Owner: the shared lane. Threads: under its lock. */
#ifndef WEIR_CORE_FAIR_H
#define WEIR_CORE_FAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "core/lane.h"
#include "core/policy.h"

struct weir_event;
struct weir_waiter;

/* A key of weir_fair.rounds, for those who look at its events. */
struct weir_fair_key {
    struct weir_list turn;      /* of its class's fresh keys or its round */
    struct weir_list waiting;   /* of weir_fair.waiting while somebody waits */
    struct weir_list events;    /* oldest first */
    struct weir_list waiters;   /* longest first */
    struct weir_fair_key *next; /* of the same bucket; of the spare ones */
    uint64_t place;             /* weir_event.place of its events */
    size_t held, held_bytes;    /* room it has, of events that wait, are on their way, or were just taken */
    uint8_t round;
    bool fresh; /* it has a place among the fresh ones */
};

struct weir_fair {
    enum weir_order order;
    /* Of each class, all in [0] unless by class; keys whose turn comes first stand first. */
    struct weir_list fresh[WEIR_CLASSES_MAX];  /* with events, had none before */
    struct weir_list rounds[WEIR_CLASSES_MAX]; /* with events, or without: then it is forgotten at its turn */
    unsigned ahead[WEIR_CLASSES_MAX];          /* fresh keys taken from since one of the round was */
    struct weir_list waiting;     /* keys with waiters */
    size_t count;                 /* events in all lists */
    size_t held[WEIR_CLASSES_MAX], held_bytes[WEIR_CLASSES_MAX]; /* room that the keys of a round have */
    size_t key_count, spare_count;
    struct weir_fair_key *spare;
    size_t bucket_count; /* a power of 2 */
    struct weir_fair_key **buckets;
};

/* `capacity`: of the queue. Fails only for want of memory. */
int weir_fair_create(enum weir_order order, size_t capacity, struct weir_fair **ret, struct weir_err *reterr);
/* It holds no event and no room any more. Takes NULL. */
void weir_fair_destroy(struct weir_fair *f);

/* Whether the key of `ev` may take room for it, where `events` and `bytes` are left, and what lower classes
 * have, which would give way. Others of its key that wait come first unless it is one of them. */
bool weir_fair_has_share(const struct weir_fair *f, const struct weir_event *ev, size_t events, size_t bytes,
                         bool waits);
/* It takes it. false: no memory. */
bool weir_fair_hold(struct weir_fair *f, const struct weir_event *ev);
/* … and gives it back. */
void weir_fair_give_up(struct weir_fair *f, const struct weir_event *ev);

/* Events whose keys hold room for them. */
void weir_fair_push(struct weir_fair *f, struct weir_event *ev);
/* Up to `max`, one of each key in turn. */
size_t weir_fair_take(struct weir_fair *f, struct weir_event **out, size_t max, bool newest_first);
/* One that was taken is the oldest of its key, whose turn it is, again. Those of a batch from the last to the
 * first. */
void weir_fair_put_back(struct weir_fair *f, struct weir_event *ev);
void weir_fair_remove(struct weir_fair *f, struct weir_event *ev);
/* The oldest of the key of `ev`; when that has none, or `ev` is NULL, of a key of the lowest class that has
 * events. NULL: there is none, or it is of a higher class than `ev`. */
struct weir_event *weir_fair_take_oldest(struct weir_fair *f, const struct weir_event *ev);
/* The newest of a class below `class_index`, of the lowest. NULL: there is none. */
struct weir_event *weir_fair_take_below(struct weir_fair *f, uint8_t class_index);

/* `wt` waits for room for its event, behind others of its key. false: no memory. */
bool weir_fair_wait(struct weir_fair *f, struct weir_waiter *wt);
/* It does no more. */
void weir_fair_stop_waiting(struct weir_fair *f, struct weir_waiter *wt);
/* The longest waiter of the next key with waiters, keys in turn; NULL: nobody waits. */
struct weir_waiter *weir_fair_next_waiter(struct weir_fair *f);

#endif
