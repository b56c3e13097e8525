/* io/feed.h - how a source sends events into its port: one at a time, in order, and none while one waits, so
 * that backpressure reaches what the source reads from.
 *
 *   send ──(room)──> verdict            ┌──(too long for the stage behind)── set aside ──> again ──┐
 *     └──(no room, overflow: wait)──> waits <───────────────────────────────────────────────────────┘
 *                                       └──(room, or refused)──> resume
 *
 * While the process is short of something (core/relief.h), what can wait is held: of classes that are refused now, and all of it while nothing is
 * accepted.
 *
 * The wait of an event ends by the limits of the stage behind, which are not its source's: without a deadline of
 * its own it is begun anew. One per stream. Owner: the source's instance, in place while an event waits. Threads:
 * the worker's. */
#ifndef WEIR_IO_FEED_H
#define WEIR_IO_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "core/port.h"
#include "core/timer.h"
#include "core/value.h"
#include "core/worker.h"

struct weir_seat;

struct weir_feed {
    struct weir_seat *seat;
    struct weir_port *port;
    uint64_t source; /* of its events: what order_by: source and weir.meta().source see; the owner may set it */
    struct weir_value key; /* of its events; nil: none. private: weir_feed_set_key */
    bool has_class;      /* the owner may set it: its events are of this class, else of the application's default one */
    uint8_t class_index;
    void *arg;       /* the owner's */
    /* The event that waited has its verdict: produce on. Never inside weir_feed_send. */
    void (*resume)(struct weir_feed *f);
    struct weir_emission emission; /* private, as the rest */
    struct weir_aside again;
    struct weir_timer held;
    struct weir_event *ev; /* whose wait is to be begun anew, or that is held; NULL: none */
    enum weir_verdict verdict;     /* of the event that waited last */
    bool waiting;
};

void weir_feed_init(struct weir_feed *f, struct weir_seat *seat, struct weir_port *port, void (*resume)(struct weir_feed *f));
/* Frees what was to be sent again: the source ends, and its worker's waits have ended. Again: nothing. */
void weir_feed_fini(struct weir_feed *f);
/* Takes the reference `key`: that of events from now on. */
void weir_feed_set_key(struct weir_feed *f, struct weir_value key);
/* Sends one event with `value`, whose reference it takes, whatever comes of it. WEIR_OK: it is gone, and `*ret` is the verdict (a refused one
 * is counted by the stage that refused it); PENDING: it waits, produce nothing until `resume`. WEIR_E_NOMEM: there was no memory for it,
 * and nothing was counted. */
int weir_feed_send(struct weir_feed *f, struct weir_value value, enum weir_verdict *ret);
static inline bool weir_feed_waiting(const struct weir_feed *f)
{
    return f->waiting;
}
/* A number for a stream that no other stream of this process has. Any thread. */
uint64_t weir_feed_next_source(void);

#endif
