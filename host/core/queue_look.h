/* core/queue_look.h - looking into queues, and taking events out of them, from outside while the host runs.
 *
 *   control: begin ── a message to each worker that has a part ──> worker: its own lane, a slice at a time ──> tell
 *            done? ──> read ──> end                                         (one of them: the shared lane, too)
 *
 * A lane belongs to its worker, so only that one touches it; a slice holds it well under a millisecond, and what is left goes on in a
 * later turn. A worker that does not answer (its handler blocks) is left behind: `end` gives its part up, and it does nothing any more.
 * Owner: the control thread; parts that are under way keep the memory until they have been given back. */
#ifndef WEIR_CORE_QUEUE_LOOK_H
#define WEIR_CORE_QUEUE_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/value.h"

enum { WEIR_LOOK_EVENTS_MAX = 1000 }; /* shown at once */

struct weir_graph;
struct weir_look;
struct weir_stage;

enum weir_look_verb {
    WEIR_LOOK_TOUCH,  /* nothing: each worker of the stage's pool has seen what was changed before */
    WEIR_LOOK_AGES,   /* since when the oldest event of each queue waits */
    WEIR_LOOK_PEEK,   /* the events that wait longest */
    WEIR_LOOK_DROP,   /* takes events out, the longest waiting first: dropped, for PURGED */
    WEIR_LOOK_EXPIRE, /* ends those that have expired, of the longest waiting ones */
};

struct weir_look_options {
    struct weir_graph *graph;
    struct weir_stage *stage; /* NULL with AGES: all */
    enum weir_look_verb verb;
    size_t max;               /* PEEK: at most WEIR_LOOK_EVENTS_MAX; DROP: so many, SIZE_MAX: all */
    uint64_t before_ns;       /* DROP: accepted before then */
    void (*tell)(void *arg);  /* the last part has answered; any thread, no lock held. NULL: nobody is told */
    void *arg;
};

/* An event that waits. */
struct weir_looked {
    uint64_t id, enqueued_ns, arrival_ns, deadline_ns;
    struct weir_value key, value; /* a reference each */
    size_t bytes;
    uint8_t class_index;
    bool has_request;
};

/* Asks the workers. NOMEM: nothing was asked. Control thread, as all of these. */
int weir_look_begin(const struct weir_look_options *o, struct weir_look **ret, struct weir_err *reterr);
/* Whether all workers have answered. */
bool weir_look_done(const struct weir_look *l);
/* What those that have answered say: AGES: since when the oldest event of `s` waits, 0: none does. */
uint64_t weir_look_oldest(struct weir_look *l, struct weir_stage *s);
/* PEEK: the events, longest waiting first, up to the look's `max`; returns how many; valid until `end`. */
size_t weir_look_events(struct weir_look *l, const struct weir_looked **ret);
/* DROP, EXPIRE: how many have been ended. */
int64_t weir_look_ended(const struct weir_look *l);
/* The i-th worker that has not answered, from 0: its pool and number there. false: there are not so many. */
bool weir_look_missing(const struct weir_look *l, size_t i, const char **ret_pool, unsigned *ret_worker);
/* Gives it up or away. Takes NULL. */
void weir_look_end(struct weir_look *l);

#endif
