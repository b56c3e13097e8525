/* core/shared_table.h - a table that all workers share: keys to values, with expiry, within a bound of bytes.
 *
 *   key ─ SipHash under the process's own secret ─> one of 64 shards, each a hash map under its own lock
 * (core/shared_shard.h)
 *
 * Every operation on one key is atomic: it happens under the lock of its shard, whole or not at all. A lock
 * is held for as long as a look-up takes; nothing is freed, posted or compared deeply under it. A number
 * changes in its place, without allocation.
 *
 * Bytes: each entry counts for its structure, its key and its value, and the bucket arrays count too, as they
 * were asked for from malloc. The sum never exceeds the limit: what does not fit is refused. Nothing that has
 * not expired is ever removed to make room. Expired entries are gone for all readers at once, and their bytes
 * come back when somebody meets them, or, when the table is full, by a bounded sweep.
 *
 * Owner: the set of tables (core/shared_tables.h). Threads: any. Nothing here waits for longer than a shard's
 * lock. */
#ifndef WEIR_CORE_SHARED_TABLE_H
#define WEIR_CORE_SHARED_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/value.h"

struct weir_shared_table;

enum {
    WEIR_SHARED_SHARDS = 64,
    WEIR_SHARED_KEY_MAX = 65535, /* bytes of a key */
};

/* An entry that never expires; the table's own time to live. All other times to live are ns from now. */
#define WEIR_SHARED_FOREVER     0
#define WEIR_SHARED_DEFAULT_TTL UINT64_MAX

/* A key is a string or an integer; "1" and 1 are two keys. Borrowed by every call. */
struct weir_shared_key {
    const void *bytes; /* the string's, or the int64_t's own eight */
    uint32_t len;      /* at most WEIR_SHARED_KEY_MAX */
    bool is_int;
};

static inline struct weir_shared_key weir_shared_key_int(const int64_t *i)
{
    return (struct weir_shared_key){i, sizeof *i, true};
}

static inline struct weir_shared_key weir_shared_key_string(const char *s, uint32_t len)
{
    return (struct weir_shared_key){s, len, false};
}

/* Makes a table that holds at most `bytes`, whose entries live `ttl_ns` unless told otherwise
 * (WEIR_SHARED_FOREVER). Keeps `name`. `secret`: 16 random bytes. */
int weir_shared_table_create(const char *name, size_t bytes, uint64_t ttl_ns, const unsigned char secret[16],
                             struct weir_shared_table **ret, struct weir_err *reterr);
/* Nobody uses it any more. Takes NULL. */
void weir_shared_table_destroy(struct weir_shared_table *t);

const char *weir_shared_table_name(const struct weir_shared_table *t);

/* A reference to the value; WEIR_E_NOTFOUND. */
int weir_shared_table_get(struct weir_shared_table *t, const struct weir_shared_key *key,
                          struct weir_value *ret);

/* These take the reference of `value`, whatever they answer. Errors: FULL: the table would hold more than its
 * limit; NOMEM. Nothing has changed then. A nil value deletes. The time to live begins anew. */
int weir_shared_table_set(struct weir_shared_table *t, const struct weir_shared_key *key,
                          struct weir_value value, uint64_t ttl_ns);
/* Only when there is none: EXISTS. */
int weir_shared_table_add(struct weir_shared_table *t, const struct weir_shared_key *key,
                          struct weir_value value, uint64_t ttl_ns);
/* Only when the key's value equals `old` (core/value_equal.h; nil: when there is none): EXISTS, and
 * `*ret_now` is a reference to what there is. `old` stays the caller's. */
int weir_shared_table_cas(struct weir_shared_table *t, const struct weir_shared_key *key,
                          struct weir_value old, struct weir_value value, uint64_t ttl_ns,
                          struct weir_value *ret_now);

/* Adds the number `by` to the key's number, or to `init` when there is none; then `ttl_ns` counts, else the
 * entry keeps its time. Two integers give an integer, else a float comes of it. Errors: INVAL: what is there
 * is no number; LIMIT: the integer would overflow; FULL, NOMEM. */
int weir_shared_table_incr(struct weir_shared_table *t, const struct weir_shared_key *key,
                           struct weir_value by, struct weir_value init, uint64_t ttl_ns,
                           struct weir_value *ret);

/* Whether there was one. */
bool weir_shared_table_delete(struct weir_shared_table *t, const struct weir_shared_key *key);
/* How long the entry has to live, in ns, 0: for ever; NOTFOUND. */
int weir_shared_table_ttl(struct weir_shared_table *t, const struct weir_shared_key *key, uint64_t *ret_ns);
/* Has it live so long from now. Whether there is one. */
bool weir_shared_table_expire(struct weir_shared_table *t, const struct weir_shared_key *key,
                              uint64_t ttl_ns);
/* Deletes all entries, shard by shard. */
void weir_shared_table_clear(struct weir_shared_table *t);

/* An entry in a copy. */
struct weir_shared_item {
    struct weir_value value; /* one reference, the caller's */
    bool key_is_int;
    uint32_t key_len;
    size_t key_at; /* in the copy's bytes */
};

/* How much a copy has room for; how much it took, or would take. */
struct weir_shared_extent {
    size_t items, bytes;
};

/* Copies what shard `index` holds, at one moment, into `items` and `bytes`; `extent` says how large they are
 * and, afterwards, how much is in them. false: it does not fit; nothing was copied, and `extent` says what
 * was needed at that moment. */
bool weir_shared_table_copy(struct weir_shared_table *t, size_t index, struct weir_shared_item *items,
                            unsigned char *bytes, struct weir_shared_extent *extent);

struct weir_shared_figures {
    size_t entries; /* expired ones that nobody has met are among them */
    size_t bytes, limit;
    uint64_t hits, misses; /* of get */
    uint64_t refused;      /* answers FULL */
    uint64_t expired;      /* entries reclaimed */
};

void weir_shared_table_read(struct weir_shared_table *t, struct weir_shared_figures *ret);

#endif
