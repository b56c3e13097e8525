/* core/port.h - a named output of a stage: its edges, and how an event is sent along them. */
#ifndef WEIR_CORE_PORT_H
#define WEIR_CORE_PORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy.h"
#include "core/reason.h"

struct weir_event;
struct weir_seat;
struct weir_stage;
struct weir_worker;

/* Worse is greater: a fan-out returns the greatest of its branches. */
enum weir_verdict {
    WEIR_VERDICT_ACCEPTED,
    WEIR_VERDICT_FULL,
    WEIR_VERDICT_REJECTED, /* by the gate, or a request to a fan-out */
    WEIR_VERDICT_EXPIRED,
    WEIR_VERDICT_CLOSED,
    WEIR_VERDICT_NOMEM,
    WEIR_VERDICT_PENDING, /* waits for room; the emission's `done` follows */
};

/* "full", "rejected", "expired", "closed", "memory": what weir.emit returns. */
const char *weir_verdict_text(enum weir_verdict v);

/* What an emit does when the target is full. What the target's gate refuses (core/gate.h) is REJECTED under all of them but `route`, which
 * takes it to the other stage; nobody waits for a gate. */
struct weir_overflow_policy {
    enum weir_overflow policy;
    struct weir_stage *route; /* WEIR_OVERFLOW_ROUTE: the other stage */
};

struct weir_edge {
    struct weir_stage *target;            /* [const] */
    struct weir_overflow_policy overflow; /* [const] the edge's own, else the target queue's */
    _Atomic bool cycle_noted;             /* [atomic relaxed] it was logged that a call along it would wait for itself */
};

struct weir_port {
    const char *name;        /* [const] */
    size_t index;            /* [const] in its stage */
    struct weir_edge *edges; /* [const] */
    size_t edge_count;       /* [const] more than one: fan-out */
};

/* An emit that waits. The emitter embeds it and keeps it in place until `done`. */
struct weir_emission {
    /* The verdict fell. ACCEPTED: the event is gone; else `ev` is the emitter's again (its request too). The emitter's worker thread, never
     * inside weir_port_emit. */
    void (*done)(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev);
    struct weir_event *ev; /* [owner: worker] fan-out: the original */
    struct weir_seat *from; /* [owner: worker] */
    size_t pending;        /* [owner: worker] branches that wait */
    enum weir_verdict worst; /* [owner: worker] of the others */
    struct weir_port *port;  /* [owner: worker] */
};

/* Offers `ev` to the target of `edge`, as an emit that can't wait. ACCEPTED: given away; else the caller owns it still. Worker thread. */
enum weir_verdict weir_edge_offer(struct weir_worker *w, struct weir_edge *edge, struct weir_event *ev);
/* The same for an event of that class that there was no memory for: counts it rejected. */
void weir_edge_lose(struct weir_worker *w, struct weir_edge *edge, uint8_t class_index);

/* Sends `ev` along `port` of the stage of `from`, on the worker of `from`. ACCEPTED: given away. PENDING (only with `em`, not NULL): given away,
 * `em->done` tells later. Anything else: the caller owns it still. Without `em` a full `wait` queue answers FULL. A fan-out of more
 * than one edge gives every branch a copy; `ev` must then hold no request. Never waits. Worker thread. */
enum weir_verdict weir_port_emit(struct weir_seat *from, struct weir_port *port, struct weir_event *ev, struct weir_emission *em);

/* One of several events that go together, and the port it goes to. */
struct weir_part {
    struct weir_port *port;
    struct weir_event *ev; /* NULL once it was given away */
};

/* Events that are all accepted or none. The emitter keeps it in place while it waits. */
struct weir_parts {
    struct weir_seat *from;
    struct weir_part *parts;
    size_t count;
    struct weir_edge *waits_for; /* whose target had no room the last time; NULL: it does not wait */
    size_t waiting_part;         /* for which part */
    uint64_t until_ns;           /* when waiting ends for those that have no deadline; 0: it has not begun */
};

/* Reserves room for every event of `ps` at all edges of its port, then gives them all away, in their order. ACCEPTED: all are given away. Else
 * nothing was offered but to the stage that refused, which has counted it, and the caller owns all of them still. A full queue refuses whatever its
 * policy says, a gate likewise, but with `may_wait` an edge that says `wait` and will have room answers PENDING: nothing is reserved; the caller tries again a
 * little later, or gives up. At most one has a request, and its port one edge. Never waits. The worker thread of `from`. */
enum weir_verdict weir_parts_emit(struct weir_parts *ps, bool may_wait);
/* Ends a wait (PENDING): counts the refusal, for `why`. As above. */
void weir_parts_give_up(struct weir_parts *ps, enum weir_reason why);

#endif
