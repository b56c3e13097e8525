/* core/shared_watch.h - waiting for a key of a shared table to change.
 *
 *   begin ──> queued in the key's shard ──(written, deleted, expired by somebody; time to live changed)──>
 * `changed` is posted to the worker │ end: true, it is the caller's again │ deliver: the caller's again
 *
 * A watch tells once. Owner: who began it; while queued or posted the shard, then the worker's inbox, hold
 * it. */
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
    bool written;     /* [shard mu] until it is delivered: the value changed; false: only how long it lives */
    bool key_is_int;  /* [const] */
    uint32_t key_len; /* [const] */
    unsigned char key[]; /* [const] */
};

/* A watch of a key, not begun; NULL: no memory. */
struct weir_shared_watch *weir_shared_watch_create(struct weir_shared_table *t,
                                                   const struct weir_shared_key *key,
                                                   struct weir_worker *worker);
/* It is the caller's: not begun, ended, or delivered. Takes NULL. */
void weir_shared_watch_destroy(struct weir_shared_watch *w);
/* Begins it, and says what the key has at that moment: a reference to the value (nil: none) and when it
 * expires, in ns (0: never). */
void weir_shared_watch_begin(struct weir_shared_watch *w, struct weir_value *ret_value,
                             uint64_t *ret_expires_ns);
/* Ends it; false: it has told already, and the message is on its way. */
bool weir_shared_watch_end(struct weir_shared_watch *w);

#endif
