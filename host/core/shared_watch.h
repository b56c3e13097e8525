/* core/shared_watch.h - waiting for a key of a shared table to change.
 *
 *   begin ──> queued in its shard ──(written, deleted, expired)──> out of the shard; `changed` is posted ──┐
 *               │      └──(another time to live)──> still queued; `changed` is posted ─────────────────────┤
 *               └── end: the caller's again                          deliver: heard says which of both <───┘
 *
 * At most one message is on its way, and nothing is lost: what is written meanwhile, that one tells. Owner: who
 * began it; while it is queued or posted, the shard and the worker's inbox hold it. */
#ifndef WEIR_CORE_SHARED_WATCH_H
#define WEIR_CORE_SHARED_WATCH_H

#include "base/inbox.h"
#include "core/shared_table.h"

struct weir_worker;

struct weir_shared_watch {
    struct weir_message changed;     /* its `deliver` is set by the owner before it begins */
    struct weir_list node;           /* [shard mu] */
    struct weir_shared_table *table; /* [const] */
    void *arg;                       /* the owner's */
    struct weir_worker *worker;      /* [const] whose inbox gets the message */
    uint64_t hash;                   /* [const] */
    bool queued;                     /* [shard mu] */
    bool posted;                     /* [shard mu] `changed` is on its way */
    bool written;                    /* [shard mu] the value changed */
    bool key_is_int;                 /* [const] */
    uint32_t key_len;                /* [const] */
    unsigned char key[];             /* [const] */
};

/* A watch of a key, not begun; NULL: no memory. */
struct weir_shared_watch *weir_shared_watch_create(struct weir_shared_table *t,
                                                   const struct weir_shared_key *key,
                                                   struct weir_worker *worker);
/* It is the caller's: not begun, ended, or heard that it was written. Takes NULL. */
void weir_shared_watch_destroy(struct weir_shared_watch *w);
/* Begins it, once, and says what the key has at that moment: a reference to the value (nil: none) and when it
 * expires, in ns (0: never). */
void weir_shared_watch_begin(struct weir_shared_watch *w, struct weir_value *ret_value,
                             uint64_t *ret_expires_ns);
/* `changed` was delivered; the first thing that its `deliver` does. true: the value was written, and it has
 * ended. false: it goes on, and `*ret_expires_ns` is when the entry expires now (0: never). Worker thread. */
bool weir_shared_watch_heard(struct weir_shared_watch *w, uint64_t *ret_expires_ns);
/* Ends it. false: a message is on its way, and it goes on until that is heard. The worker thread. */
bool weir_shared_watch_end(struct weir_shared_watch *w);

#endif
