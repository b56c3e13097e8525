/* core/waiter.h - an event that waits for room in a queue whose policy is `wait`. It is in two lists: the queue's, in order of
 * arrival, and that of the worker that emitted it, which ends the wait when the event's deadline passes. Whoever takes it out of
 * the queue's list, under the shared lane's lock, decides its verdict. Its owner is the worker that emitted it. */
#ifndef WEIR_CORE_WAITER_H
#define WEIR_CORE_WAITER_H

#include "base/inbox.h"
#include "base/list.h"
#include "core/port.h"

struct weir_waiter {
    struct weir_message verdict_fell; /* posted to the worker by whoever let the event in */
    struct weir_list node;            /* [shared lane mu] of the queue's waiters */
    struct weir_list worker_node;     /* [owner: worker] of the worker's waits */
    bool queued;                      /* [shared lane mu] in the queue's list */
    struct weir_worker *worker;       /* [const] */
    struct weir_stage *stage;         /* [const] that it waits for */
    struct weir_emission *emission;   /* [const] */
    struct weir_event *ev;            /* [shared lane mu] until it is accepted; NULL then */
    uint64_t until_ns;                /* [const] */
};

/* Makes `ev` wait for room in `stage`. WEIR_OK: it waits; else (no memory) the caller owns it still. Worker thread. */
int weir_waiter_begin(struct weir_worker *w, struct weir_stage *stage, struct weir_emission *em, struct weir_event *ev);
/* Lets waiters in, longest first, as far as there is room. Worker thread (any worker). */
void weir_waiter_admit(struct weir_worker *w, struct weir_stage *stage);
/* Ends this worker's waits that are too late, or `all` of them (verdict CLOSED). Worker thread. */
void weir_waiter_sweep(struct weir_worker *w, bool all);


/* One branch of a waiting emission has its verdict; `ev` is the event when it was refused. The emitter's worker. core/port.c. */
void weir_emission_branch(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev);

#endif
