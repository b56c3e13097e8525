/* core/reply.h - the request of a stage that waits for another stage's answer (weir.call).
 *
 *   caller ── create ──> WAITING ──(the holder answers or gives up)──> CAME ── message to the caller's worker ──> done
 *                           └──(the caller leaves)──> LEFT: gone; the holder's answer is dropped, and the reply with it
 *
 * Who moves it out of WAITING decides; the loser finds out and leaves it to the other. It has a chain: the stages that wait for what is done
 * with it, so that no stage comes to wait for itself.
 * Owner:   WAITING: the holder of the request and the caller together; LEFT: the holder; CAME: the message, then the caller. Threads: those of
 * the two; the chain is [const] once it was sent. Answers are counted values: nothing of the answering VM crosses. */
#ifndef WEIR_CORE_REPLY_H
#define WEIR_CORE_REPLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/inbox.h"
#include "core/request.h"
#include "core/value.h"

struct weir_edge;
struct weir_stage;
struct weir_worker;

/* Whether an event asks for an answer (weir_event.call). */
enum weir_event_call {
    WEIR_EVENT_CALL_NONE,     /* it never did */
    WEIR_EVENT_CALL_DUE,      /* its request is a reply, as long as it has one */
    WEIR_EVENT_CALL_ANSWERED, /* … or the caller was gone */
    WEIR_EVENT_CALL_PASSED_ON,
};

struct weir_reply {
    struct weir_request base;
    struct weir_message message;            /* to the caller's worker */
    struct weir_worker *worker;             /* [const] the caller's */
    void (*done)(struct weir_reply *r);     /* [owner: caller] it came: the caller owns it. The caller's worker thread; never inside its calls here */
    void *caller;                           /* [owner: caller] */
    uint64_t until_ns;                      /* [owner: caller] when it gives up by itself; 0: something else ends it. For its use alone */
    _Atomic int state;                      /* [atomic acq/rel] WAITING, CAME, LEFT; the message's inbox publishes the answer */
    bool left;                              /* [owner: caller] it came too late: nobody is told */
    bool answered;                          /* CAME: `value` is the answer; else `end` says why there is none */
    enum weir_request_end end;
    struct weir_value value;                /* holds a reference */
    size_t words;                           /* [const] */
    uint64_t chain[];                       /* bits by stage index */
};

/* A reply that `w` waits for; NULL: no memory. Its base goes into an event. Its chain is empty. The caller's worker. */
struct weir_reply *weir_reply_create(struct weir_worker *w, void (*done)(struct weir_reply *r), void *caller);
/* The reply that `r` is; NULL: it is another kind of request, or NULL. */
struct weir_reply *weir_reply_of(struct weir_request *r);

/* Before it is sent: `stage` waits for it, and everyone in the chain of `of`. */
void weir_reply_add(struct weir_reply *r, const struct weir_stage *stage);
void weir_reply_add_chain(struct weir_reply *r, const struct weir_reply *of);
/* Whether an event sent along `edge` can come to a stage of the chain: its target, or where a full queue routes to. */
bool weir_reply_closes_cycle(const struct weir_reply *r, const struct weir_edge *edge);

/* The holder's answer; takes the reference. false: the caller has gone. The reply is no longer the holder's, whichever. Any worker thread. */
bool weir_reply_answer(struct weir_reply *r, struct weir_value value);
/* The caller waits no longer; `done` will not be called. The reply is not the caller's any more. The caller's worker. */
void weir_reply_leave(struct weir_reply *r);
/* One that came. Takes NULL. The caller's worker. */
void weir_reply_free(struct weir_reply *r);

#endif
