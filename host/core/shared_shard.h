/* core/shared_shard.h - one of the parts of a shared table: a hash map of entries under a lock of its own.
 * For core/shared_table.c and core/shared_watch.c only.
 *
 *   shard: buckets ──> entry ──> entry (chained)        expires_hint ≤ the expiry of every entry here
 *          watches ──> struct weir_shared_watch …       those who wait for a key of this shard
 *
 * Whatever is taken out under the lock (entries, values) goes to a struct weir_shared_remains and is freed
 * after the lock has been given back. Threads: any; every function named `_locked` wants the shard's lock. */
#ifndef WEIR_CORE_SHARED_SHARD_H
#define WEIR_CORE_SHARED_SHARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/sync.h"
#include "core/shared_table.h"
#include "core/value.h"

enum { WEIR_SHARED_FEW = 4, WEIR_SHARED_LINE = 64 };

struct weir_shared_entry {
    struct weir_shared_entry *next; /* [shard mu], all of it */
    uint64_t hash;
    uint64_t expires_ns; /* 0: never */
    struct weir_value value;
    uint32_t key_len;
    bool key_is_int;
    unsigned char key[]; /* an integer's own eight bytes, or the string's */
};

/* What one table may hold. Touched when it grows or shrinks, not when a number changes in its place. */
struct weir_shared_quota {
    size_t limit;                /* [const] bytes */
    _Atomic size_t used;         /* [atomic relaxed] bytes; a bound, which orders nothing */
    _Atomic uint64_t refused;    /* [atomic relaxed] */
    _Atomic uint64_t expired;    /* [atomic relaxed] entries reclaimed */
    _Atomic unsigned sweep_next; /* [atomic relaxed] the shard that the next sweep begins with */
};

/* Starts on a cache line, so that two cores in two shards do not meet. */
struct weir_shared_shard {
    struct weir_mutex mu;               /* rank WEIR_RANK_SHARED_TABLE */
    struct weir_shared_entry **buckets; /* [mu] `few` or on the heap */
    size_t bucket_count;                /* [mu] a power of two */
    struct weir_shared_quota *quota;    /* [const] the table's */
    struct weir_list watches;           /* [mu] */
    _Atomic size_t entries;             /* [atomic relaxed] written under mu, read by anyone */
    _Atomic uint64_t hits, misses;      /* [atomic relaxed] as above */
    _Atomic uint64_t
        expires_hint;   /* [atomic relaxed] as above; no entry expires before it. UINT64_MAX: none does */
    size_t sweep_at;    /* [mu] the bucket at which the sweep under way goes on */
    uint64_t sweep_min; /* [mu] the earliest expiry that it has seen */
    struct weir_shared_entry *few[WEIR_SHARED_FEW]; /* [mu] the buckets of a small shard */
} __attribute__((aligned(64)));

/* What is to be freed once the lock is given back. */
struct weir_shared_remains {
    struct weir_shared_entry *entries;
    struct weir_shared_entry **buckets;
    struct weir_value value;
};

void weir_shared_remains_init(struct weir_shared_remains *r);
/* Frees it. No lock is held. */
void weir_shared_remains_clear(struct weir_shared_remains *r);

void weir_shared_shard_init(struct weir_shared_shard *s, struct weir_shared_quota *quota);
/* Frees its entries; nobody watches any more. */
void weir_shared_shard_fini(struct weir_shared_shard *s);

/* Bytes that an entry of such a key counts, without its value; and a value. */
size_t weir_shared_entry_size(size_t key_len);
size_t weir_shared_value_size(struct weir_value v);

/* Takes `n` bytes from the quota; false: there are not so many. */
bool weir_shared_reserve(struct weir_shared_quota *q, size_t n);
void weir_shared_release(struct weir_shared_quota *q, size_t n);

/* The entry of a key, expired or not; NULL: none. */
struct weir_shared_entry *weir_shared_find_locked(struct weir_shared_shard *s,
                                                  const struct weir_shared_key *key, uint64_t hash);
/* Adds an entry whose bytes have been reserved. */
void weir_shared_insert_locked(struct weir_shared_shard *s, struct weir_shared_entry *e);
/* Takes an entry out, gives back its bytes, tells those who watch it. */
void weir_shared_remove_locked(struct weir_shared_shard *s, struct weir_shared_entry *e,
                               struct weir_shared_remains *r);
/* Tells an entry's expiry; 0: never. */
void weir_shared_set_expiry_locked(struct weir_shared_shard *s, struct weir_shared_entry *e,
                                   uint64_t expires_ns);
/* Takes all entries out. */
void weir_shared_empty_locked(struct weir_shared_shard *s, struct weir_shared_remains *r);
/* Tells those who watch the key of `e`; `written`: it has (had) another value, which ends their watches. */
void weir_shared_tell_locked(struct weir_shared_shard *s, const struct weir_shared_entry *e, bool written);

/* Doubles the buckets when there are more entries than they, if quota and memory allow it. No lock is held.
 */
void weir_shared_grow(struct weir_shared_shard *s);
/* Looks for expired entries in `shards` (WEIR_SHARED_SHARDS of them), one lock at a time, until `want` bytes
 * are reclaimed, or 4096 entries have been looked at. Returns how many bytes it reclaimed. No lock is held.
 */
size_t weir_shared_sweep(struct weir_shared_shard *shards, size_t want, uint64_t now_ns);

#endif
