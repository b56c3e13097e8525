/* core/request.h - the part of a request that the core knows: somebody waits for exactly one answer to it.
 * Protocols embed it (io/http_request.h). A request has one holder at a time: its source, an event, a running handler; whoever
 * holds it answers it through its protocol, or gives it up with `end` and the host answers. */
#ifndef WEIR_CORE_REQUEST_H
#define WEIR_CORE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_strbuf;
struct weir_worker;
struct weir_request;

/* Why a request was given up unanswered. HTTP says 500, 500, 503, 503, 504. */
enum weir_request_end {
    WEIR_REQUEST_UNANSWERED, /* its handler returned without an answer */
    WEIR_REQUEST_FAILED,     /* its handler failed */
    WEIR_REQUEST_REFUSED,    /* its last emit was refused by a queue */
    WEIR_REQUEST_DROPPED,    /* a drop_* policy took it */
    WEIR_REQUEST_EXPIRED,    /* its deadline, or its queue's max_age, passed */
};

struct weir_request_ops {
    /* Whether nobody waits for the answer any more. Only reads and takes no lock: it is asked under a queue's lock, too. The holder's thread. */
    bool (*gone)(const struct weir_request *r);
    /* Gives the request up: the host answers it and frees it. `w` is the calling worker. The holder's thread; never waits. */
    void (*end)(struct weir_request *r, struct weir_worker *w, enum weir_request_end why);
    /* Appends what was asked, a JSON object, for people and tests. Only reads. The holder's thread. NULL: it can't be shown. */
    void (*describe)(const struct weir_request *r, struct weir_strbuf *out);
};

struct weir_request {
    const struct weir_request_ops *ops; /* [const] */
    size_t size;                        /* [const] bytes it counts for in a queue */
    uint64_t waited_ns;                 /* [owner: holder] spent in queues so far */
    bool refused;                       /* [owner: holder] its last emit was refused */
};

#endif
