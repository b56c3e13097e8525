/* base/inbox.h - messages to a loop thread, from any thread.
 *
 *   poster: lock, append, wake if `parked`, unlock      owner: parked = true, drain, poll, parked = false
 *
 * The owner says it is parked before it looks at `filled` a last time, the poster sets `filled` before it looks at `parked`,
 * so one of the two sees the other: no wake-up is lost, and none is sent to a loop that is awake. The poster touches nothing after
 * the unlock: from then on the owner may have delivered the message and be gone. */
#ifndef WEIR_BASE_INBOX_H
#define WEIR_BASE_INBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "base/sync.h"

/* Embedded in whatever is sent. The poster gives it away; `deliver` runs on the owner's thread and frees it, if need be. */
struct weir_message {
    struct weir_list node;
    void (*deliver)(struct weir_message *m);
};

struct weir_inbox {
    struct weir_mutex mu;     /* rank WEIR_RANK_INBOX */
    struct weir_list waiting; /* [mu] */
    _Atomic bool filled;      /* [atomic acq/rel] set under mu by posters; lets the owner look without the lock */
    _Atomic bool parked;      /* [atomic seq_cst] set by the owner before it polls, cleared by who wakes it */
    uv_async_t wake;          /* [const] carries no data: wake-ups merge */
};

/* Makes the inbox of the thread that runs `loop`. Owner thread, or before it starts. A negative uv code on failure. */
int weir_inbox_init(struct weir_inbox *in, uv_loop_t *loop);
/* Closes the wake-up handle; run the loop once more before freeing. Nothing may be posted from now on. Owner thread. */
void weir_inbox_close(struct weir_inbox *in);
/* After the loop has closed the handle. */
void weir_inbox_fini(struct weir_inbox *in);
/* Gives `m` to the owner. Never waits for it. Any thread. */
void weir_inbox_post(struct weir_inbox *in, struct weir_message *m);
/* Delivers what is waiting; returns whether there was anything. Owner thread. */
bool weir_inbox_drain(struct weir_inbox *in);
/* Says that the owner is about to poll without end; false: something is waiting, do not. Owner thread. */
bool weir_inbox_park(struct weir_inbox *in);
void weir_inbox_unpark(struct weir_inbox *in);

#endif
