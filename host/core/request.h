/* core/request.h - the part of a request that the core knows: somebody waits for exactly one answer to it.
 * Protocols embed it (io/http_request.h). A request has one holder at a time: its source, an event, a running handler; whoever
 * holds it answers it through its protocol, or gives it up with `end` and the host answers. */
#ifndef WEIR_CORE_REQUEST_H
#define WEIR_CORE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reason.h"

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

struct weir_stage;

/* Which queue or gate refused or dropped a request's event last, and why. */
struct weir_refusal {
    const struct weir_stage *stage; /* NULL: none has */
    uint32_t retry_after_ms;        /* when there may be room; 0: not known */
    uint8_t reason;                 /* enum weir_reason */
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
    struct weir_refusal refusal;        /* [owner: holder] */
};

/* Takes NULL. The holder's thread. */
static inline void weir_request_note(struct weir_request *r, const struct weir_stage *stage, enum weir_reason reason, uint32_t retry_after_ms)
{
    if (r != NULL)
        r->refusal = (struct weir_refusal){.stage = stage, .retry_after_ms = retry_after_ms, .reason = (uint8_t)reason};
}

#endif
