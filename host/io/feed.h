/* io/feed.h - how a stream source sends events into its port: one at a time, in order, and none while one waits, so that backpressure
 * reaches what the source reads from. One per stream. Owner: the source's instance, in place while an event waits. Threads: the worker's. */
#ifndef WEIR_IO_FEED_H
#define WEIR_IO_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "core/port.h"
#include "core/value.h"

struct weir_seat;

struct weir_feed {
    struct weir_seat *seat;
    struct weir_port *port;
    uint64_t source; /* of its events: what order_by: source and weir.meta().source see; the owner may set it */
    void *arg;       /* the owner's */
    /* The event that waited has its verdict: produce on. Never inside weir_feed_send. */
    void (*resume)(struct weir_feed *f);
    struct weir_emission emission; /* private */
    enum weir_verdict verdict;     /* of the event that waited last */
    bool waiting;
};

void weir_feed_init(struct weir_feed *f, struct weir_seat *seat, struct weir_port *port, void (*resume)(struct weir_feed *f));
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
