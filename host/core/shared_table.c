/* The operations. Each looks at its key under the shard's lock; when it needs what only can be had without
 * the lock (memory for an entry, room that a sweep may find) it lets go, gets it, and looks again. */
#include "core/shared_table.h"

#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/shared_shard.h"
#include "core/shared_watch.h"
#include "core/value_equal.h"

struct weir_shared_table {
    void *block;              /* [const] what was allocated; the table begins on a cache line in it */
    const char *name;         /* [const] */
    uint64_t ttl_ns;          /* [const] */
    unsigned char secret[16]; /* [const] */
    struct weir_shared_quota quota __attribute__((aligned(64)));
    struct weir_shared_shard shards[WEIR_SHARED_SHARDS];
};

_Static_assert(sizeof(struct weir_shared_shard) % WEIR_SHARED_LINE == 0, "shards do not share cache lines");
_Static_assert(crypto_shorthash_KEYBYTES == 16 && crypto_shorthash_BYTES == 8, "SipHash-2-4");

int weir_shared_table_create(const char *name, size_t bytes, uint64_t ttl_ns, const unsigned char secret[16],
                             struct weir_shared_table **ret, struct weir_err *reterr)
{
    void *block = weir_calloc(1, sizeof(struct weir_shared_table) + WEIR_SHARED_LINE);
    if (block == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "shared table '%s': out of memory", name);
    uintptr_t start = ((uintptr_t)block + WEIR_SHARED_LINE - 1) & ~(uintptr_t)(WEIR_SHARED_LINE - 1);
    struct weir_shared_table *t =
        (struct weir_shared_table *)start; /* within the block, which has a line more than it takes */
    t->block = block;
    t->name = name;
    t->ttl_ns = ttl_ns;
    memcpy(t->secret, secret, sizeof t->secret);
    t->quota.limit = bytes;
    for (size_t i = 0; i < WEIR_SHARED_SHARDS; i++)
        weir_shared_shard_init(&t->shards[i], &t->quota);
    *ret = t;
    return WEIR_OK;
}

void weir_shared_table_destroy(struct weir_shared_table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < WEIR_SHARED_SHARDS; i++)
        weir_shared_shard_fini(&t->shards[i]);
    weir_free(t->block);
}

const char *weir_shared_table_name(const struct weir_shared_table *t)
{
    return t->name;
}

static uint64_t hash_of(const struct weir_shared_table *t, const struct weir_shared_key *key)
{
    unsigned char out[crypto_shorthash_BYTES];
    uint64_t hash;
    crypto_shorthash(out, key->bytes, key->len, t->secret);
    memcpy(&hash, out, sizeof hash);
    return hash;
}

static struct weir_shared_shard *shard_of(struct weir_shared_table *t, uint64_t hash)
{
    return &t->shards[hash >> 58];
}

/* A counter that is written under its shard's lock only. */
static void count_locked(_Atomic uint64_t *cell)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* The key's entry; one that has expired is taken out instead. The clock is read only when there is something
 * to compare it with. */
static struct weir_shared_entry *find_live_locked(struct weir_shared_shard *s,
                                                  const struct weir_shared_key *key, uint64_t hash,
                                                  struct weir_shared_remains *r)
{
    struct weir_shared_entry *e = weir_shared_find_locked(s, key, hash);
    if (e == NULL || e->expires_ns == 0 || e->expires_ns > weir_clock_ns())
        return e;
    atomic_fetch_add_explicit(&s->quota->expired, 1, memory_order_relaxed);
    weir_shared_remove_locked(s, e, r);
    return NULL;
}

int weir_shared_table_get(struct weir_shared_table *t, const struct weir_shared_key *key,
                          struct weir_value *ret)
{
    uint64_t hash = hash_of(t, key);
    struct weir_shared_shard *s = shard_of(t, hash);
    struct weir_shared_remains r;
    weir_shared_remains_init(&r);
    weir_mutex_lock(&s->mu);
    struct weir_shared_entry *e = find_live_locked(s, key, hash, &r);
    count_locked(e != NULL ? &s->hits : &s->misses);
    if (e != NULL)
        *ret = weir_value_ref(e->value);
    weir_mutex_unlock(&s->mu);
    weir_shared_remains_clear(&r);
    return e != NULL ? WEIR_OK : WEIR_E_NOTFOUND;
}

/* --- Changes --- */

enum verb { SET, ADD, INCR, SWAP };
enum { NEED_ENTRY = 1 }; /* not an answer: look again with a spare entry */

struct change {
    struct weir_shared_table *t;
    const struct weir_shared_key *key;
    uint64_t hash, ttl_ns;
    enum verb verb;
    struct weir_value value;         /* what is to be there; one reference. INCR: worked out under the lock */
    struct weir_value by, init;      /* INCR */
    struct weir_value expected;      /* SWAP: the very value, not an equal one */
    struct weir_shared_entry *spare; /* for a key that is not there */
    bool stored;                     /* the reference of `value` is the entry's now */
    bool crowded;                    /* more entries than buckets */
    size_t missing;                  /* FULL: how many bytes it wanted */
    struct weir_shared_remains remains;
};

/* When an entry written now expires. */
static uint64_t expiry(const struct change *c)
{
    uint64_t ttl = c->ttl_ns == WEIR_SHARED_DEFAULT_TTL ? c->t->ttl_ns : c->ttl_ns;
    if (ttl == WEIR_SHARED_FOREVER)
        return 0;
    uint64_t now = weir_clock_ns();
    return ttl > UINT64_MAX - 1 - now ? UINT64_MAX - 1 : now + ttl;
}

static bool reserve(struct change *c, size_t n)
{
    if (weir_shared_reserve(&c->t->quota, n))
        return true;
    c->missing = n;
    return false;
}

/* Puts the value in the place of an entry's. */
static int replace_locked(struct weir_shared_shard *s, struct change *c, struct weir_shared_entry *e)
{
    size_t old = weir_shared_value_size(e->value), new = weir_shared_value_size(c->value);
    if (new > old && !reserve(c, new - old))
        return WEIR_E_FULL;
    if (old > new)
        weir_shared_release(s->quota, old - new);
    c->remains.value = e->value;
    e->value = c->value;
    c->stored = true;
    weir_shared_tell_locked(s, e, true);
    return WEIR_OK;
}

static int insert_locked(struct weir_shared_shard *s, struct change *c)
{
    struct weir_shared_entry *e = c->spare;
    if (e == NULL)
        return NEED_ENTRY;
    if (!reserve(c, weir_shared_entry_size(c->key->len) + weir_shared_value_size(c->value)))
        return WEIR_E_FULL;
    c->spare = NULL;
    e->value = c->value;
    c->stored = true;
    weir_shared_insert_locked(s, e);
    weir_shared_set_expiry_locked(s, e, expiry(c));
    weir_shared_tell_locked(s, e, true);
    c->crowded = atomic_load_explicit(&s->entries, memory_order_relaxed) > s->bucket_count;
    return WEIR_OK;
}

static bool is_number(struct weir_value v)
{
    return v.kind == WEIR_VALUE_INT || v.kind == WEIR_VALUE_FLOAT;
}

static double as_float(struct weir_value v)
{
    return v.kind == WEIR_VALUE_INT ? (double)v.integer : v.number;
}

static int sum(struct weir_value a, struct weir_value b, struct weir_value *ret)
{
    int64_t whole;
    if (!is_number(a))
        return WEIR_E_INVAL;
    if (a.kind != WEIR_VALUE_INT || b.kind != WEIR_VALUE_INT) {
        *ret = (struct weir_value){.kind = WEIR_VALUE_FLOAT, .number = as_float(a) + as_float(b)};
        return WEIR_OK;
    }
    if (__builtin_add_overflow(a.integer, b.integer, &whole))
        return WEIR_E_LIMIT;
    *ret = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = whole};
    return WEIR_OK;
}

static int incr_locked(struct weir_shared_shard *s, struct change *c, struct weir_shared_entry *e)
{
    int rc = sum(e != NULL ? e->value : c->init, c->by, &c->value);
    if (rc < 0)
        return rc;
    return e != NULL ? replace_locked(s, c, e) : insert_locked(s, c);
}

/* The same object, not just an equal one. */
static bool is_same(struct weir_value a, struct weir_value b)
{
    if (a.kind != WEIR_VALUE_BYTES || b.kind != WEIR_VALUE_BYTES)
        return weir_value_equal(a, b) == 1; /* scalars: nothing is allocated */
    return a.blob == b.blob;
}

static int put_locked(struct weir_shared_shard *s, struct change *c, struct weir_shared_entry *e)
{
    if (c->value.kind == WEIR_VALUE_NIL) {
        if (e != NULL)
            weir_shared_remove_locked(s, e, &c->remains);
        return WEIR_OK;
    }
    int rc = e != NULL ? replace_locked(s, c, e) : insert_locked(s, c);
    if (rc == WEIR_OK && e != NULL)
        weir_shared_set_expiry_locked(s, e, expiry(c));
    return rc;
}

static int apply_locked(struct weir_shared_shard *s, struct change *c)
{
    struct weir_shared_entry *e = find_live_locked(s, c->key, c->hash, &c->remains);
    if (c->verb == INCR)
        return incr_locked(s, c, e);
    if (c->verb == ADD && e != NULL)
        return WEIR_E_EXISTS;
    if (c->verb == SWAP && !is_same(e != NULL ? e->value : WEIR_VALUE_NOTHING, c->expected))
        return WEIR_E_EXISTS;
    return put_locked(s, c, e);
}

static struct weir_shared_entry *make_entry(const struct change *c)
{
    struct weir_shared_entry *e = weir_malloc(weir_shared_entry_size(c->key->len));
    if (e == NULL)
        return NULL;
    e->hash = c->hash;
    e->key_is_int = c->key->is_int;
    e->key_len = c->key->len;
    memcpy(e->key, c->key->bytes, c->key->len);
    return e;
}

/* Applies a change. Its value's reference has gone either way, its spare too. */
static int apply(struct change *c)
{
    struct weir_shared_shard *s = shard_of(c->t, c->hash);
    bool swept = false;
    int rc;
    for (;;) {
        weir_shared_remains_init(&c->remains);
        weir_mutex_lock(&s->mu);
        rc = apply_locked(s, c);
        weir_mutex_unlock(&s->mu);
        weir_shared_remains_clear(&c->remains);
        if (rc == NEED_ENTRY) {
            c->spare = make_entry(c);
            if (c->spare != NULL)
                continue;
            rc = WEIR_E_NOMEM;
        }
        if (rc != WEIR_E_FULL || swept || weir_shared_sweep(c->t->shards, c->missing, weir_clock_ns()) == 0)
            break;
        swept = true;
    }
    if (rc == WEIR_E_FULL)
        atomic_fetch_add_explicit(&c->t->quota.refused, 1, memory_order_relaxed);
    if (c->crowded)
        weir_shared_grow(s);
    if (!c->stored && c->verb != INCR)
        weir_value_unref(c->value);
    weir_free(c->spare);
    return rc;
}

static struct change change_of(struct weir_shared_table *t, const struct weir_shared_key *key, enum verb verb,
                               struct weir_value value, uint64_t ttl_ns)
{
    return (struct change){
        .t = t, .key = key, .hash = hash_of(t, key), .verb = verb, .value = value, .ttl_ns = ttl_ns};
}

int weir_shared_table_set(struct weir_shared_table *t, const struct weir_shared_key *key,
                          struct weir_value value, uint64_t ttl_ns)
{
    struct change c = change_of(t, key, SET, value, ttl_ns);
    return apply(&c);
}

int weir_shared_table_add(struct weir_shared_table *t, const struct weir_shared_key *key,
                          struct weir_value value, uint64_t ttl_ns)
{
    struct change c = change_of(t, key, ADD, value, ttl_ns);
    return apply(&c);
}

int weir_shared_table_incr(struct weir_shared_table *t, const struct weir_shared_key *key,
                           struct weir_value by, struct weir_value init, uint64_t ttl_ns,
                           struct weir_value *ret)
{
    struct change c = change_of(t, key, INCR, WEIR_VALUE_NOTHING, ttl_ns);
    c.by = by;
    c.init = init;
    int rc = apply(&c);
    if (rc == WEIR_OK)
        *ret = c.value;
    return rc;
}

/* The value there is, nil when there is none, as a new reference; does not count as a hit or a miss. */
static struct weir_value look(struct weir_shared_table *t, const struct weir_shared_key *key)
{
    uint64_t hash = hash_of(t, key);
    struct weir_shared_shard *s = shard_of(t, hash);
    struct weir_shared_remains r;
    weir_shared_remains_init(&r);
    weir_mutex_lock(&s->mu);
    struct weir_shared_entry *e = find_live_locked(s, key, hash, &r);
    struct weir_value v = e != NULL ? weir_value_ref(e->value) : WEIR_VALUE_NOTHING;
    weir_mutex_unlock(&s->mu);
    weir_shared_remains_clear(&r);
    return v;
}

/* Tables are compared without the lock: a value that is found equal is swapped only if it is still the one
 * that is there. The reference held meanwhile keeps another from taking its address. Each round that fails
 * saw somebody else's write succeed. */
int weir_shared_table_cas(struct weir_shared_table *t, const struct weir_shared_key *key,
                          struct weir_value old, struct weir_value value, uint64_t ttl_ns,
                          struct weir_value *ret_now)
{
    for (;;) {
        struct weir_value now = look(t, key);
        int equal = weir_value_equal(now, old);
        if (equal != 1) {
            weir_value_unref(value);
            if (equal == 0)
                *ret_now = now;
            else
                weir_value_unref(now);
            return equal == 0 ? WEIR_E_EXISTS : equal;
        }
        struct change c = change_of(t, key, SWAP, weir_value_ref(value), ttl_ns);
        c.expected = now;
        int rc = apply(&c);
        weir_value_unref(now);
        if (rc != WEIR_E_EXISTS) {
            weir_value_unref(value);
            return rc;
        }
    }
}

/* --- The rest --- */

bool weir_shared_table_delete(struct weir_shared_table *t, const struct weir_shared_key *key)
{
    uint64_t hash = hash_of(t, key);
    struct weir_shared_shard *s = shard_of(t, hash);
    struct weir_shared_remains r;
    weir_shared_remains_init(&r);
    weir_mutex_lock(&s->mu);
    struct weir_shared_entry *e = find_live_locked(s, key, hash, &r);
    if (e != NULL)
        weir_shared_remove_locked(s, e, &r);
    weir_mutex_unlock(&s->mu);
    weir_shared_remains_clear(&r);
    return e != NULL;
}

int weir_shared_table_ttl(struct weir_shared_table *t, const struct weir_shared_key *key, uint64_t *ret_ns)
{
    uint64_t hash = hash_of(t, key), now = weir_clock_ns();
    struct weir_shared_shard *s = shard_of(t, hash);
    struct weir_shared_remains r;
    weir_shared_remains_init(&r);
    weir_mutex_lock(&s->mu);
    struct weir_shared_entry *e = find_live_locked(s, key, hash, &r);
    if (e != NULL)
        *ret_ns = e->expires_ns == 0 ? 0 : e->expires_ns > now ? e->expires_ns - now : 1;
    weir_mutex_unlock(&s->mu);
    weir_shared_remains_clear(&r);
    return e != NULL ? WEIR_OK : WEIR_E_NOTFOUND;
}

bool weir_shared_table_expire(struct weir_shared_table *t, const struct weir_shared_key *key, uint64_t ttl_ns)
{
    struct change c = change_of(t, key, SET, WEIR_VALUE_NOTHING, ttl_ns);
    struct weir_shared_shard *s = shard_of(t, c.hash);
    weir_shared_remains_init(&c.remains);
    weir_mutex_lock(&s->mu);
    struct weir_shared_entry *e = find_live_locked(s, key, c.hash, &c.remains);
    if (e != NULL) {
        weir_shared_set_expiry_locked(s, e, expiry(&c));
        weir_shared_tell_locked(s, e, false);
    }
    weir_mutex_unlock(&s->mu);
    weir_shared_remains_clear(&c.remains);
    return e != NULL;
}

void weir_shared_table_clear(struct weir_shared_table *t)
{
    for (size_t i = 0; i < WEIR_SHARED_SHARDS; i++) {
        struct weir_shared_remains r;
        weir_shared_remains_init(&r);
        weir_mutex_lock(&t->shards[i].mu);
        weir_shared_empty_locked(&t->shards[i], &r);
        weir_mutex_unlock(&t->shards[i].mu);
        weir_shared_remains_clear(&r);
    }
}

static bool is_live(const struct weir_shared_entry *e, uint64_t now_ns)
{
    return e->expires_ns == 0 || e->expires_ns > now_ns;
}

static struct weir_shared_extent measure_locked(const struct weir_shared_shard *s, uint64_t now_ns)
{
    struct weir_shared_extent x = {0, 0};
    for (size_t i = 0; i < s->bucket_count; i++) {
        for (const struct weir_shared_entry *e = s->buckets[i]; e != NULL; e = e->next) {
            x.items += is_live(e, now_ns);
            x.bytes += is_live(e, now_ns) ? e->key_len : 0;
        }
    }
    return x;
}

static void copy_locked(const struct weir_shared_shard *s, uint64_t now_ns, struct weir_shared_item *items,
                        unsigned char *bytes)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < s->bucket_count; i++) {
        for (const struct weir_shared_entry *e = s->buckets[i]; e != NULL; e = e->next) {
            if (!is_live(e, now_ns))
                continue;
            items[n++] = (struct weir_shared_item){weir_value_ref(e->value), e->key_is_int, e->key_len, at};
            memcpy(bytes + at, e->key, e->key_len);
            at += e->key_len;
        }
    }
}

bool weir_shared_table_copy(struct weir_shared_table *t, size_t index, struct weir_shared_item *items,
                            unsigned char *bytes, struct weir_shared_extent *extent)
{
    struct weir_shared_shard *s = &t->shards[index];
    uint64_t now = weir_clock_ns();
    weir_mutex_lock(&s->mu);
    struct weir_shared_extent need = measure_locked(s, now);
    bool fits = need.items <= extent->items && need.bytes <= extent->bytes;
    if (fits)
        copy_locked(s, now, items, bytes);
    weir_mutex_unlock(&s->mu);
    *extent = need;
    return fits;
}

void weir_shared_table_read(struct weir_shared_table *t, struct weir_shared_figures *ret)
{
    *ret = (struct weir_shared_figures){
        .bytes = atomic_load_explicit(&t->quota.used, memory_order_relaxed),
        .limit = t->quota.limit,
        .refused = atomic_load_explicit(&t->quota.refused, memory_order_relaxed),
        .expired = atomic_load_explicit(&t->quota.expired, memory_order_relaxed),
    };
    for (size_t i = 0; i < WEIR_SHARED_SHARDS; i++) {
        ret->entries += atomic_load_explicit(&t->shards[i].entries, memory_order_relaxed);
        ret->hits += atomic_load_explicit(&t->shards[i].hits, memory_order_relaxed);
        ret->misses += atomic_load_explicit(&t->shards[i].misses, memory_order_relaxed);
    }
}

/* --- Watches --- */

struct weir_shared_watch *weir_shared_watch_create(struct weir_shared_table *t,
                                                   const struct weir_shared_key *key,
                                                   struct weir_worker *worker)
{
    struct weir_shared_watch *w = weir_calloc(1, sizeof *w + key->len);
    if (w == NULL)
        return NULL;
    weir_list_init(&w->node);
    w->table = t;
    w->worker = worker;
    w->hash = hash_of(t, key);
    w->key_is_int = key->is_int;
    w->key_len = key->len;
    memcpy(w->key, key->bytes, key->len);
    return w;
}

void weir_shared_watch_destroy(struct weir_shared_watch *w)
{
    weir_free(w);
}

void weir_shared_watch_begin(struct weir_shared_watch *w, struct weir_value *ret_value,
                             uint64_t *ret_expires_ns)
{
    struct weir_shared_shard *s = shard_of(w->table, w->hash);
    const struct weir_shared_key key = {w->key, w->key_len, w->key_is_int};
    struct weir_shared_remains r;
    weir_shared_remains_init(&r);
    weir_mutex_lock(&s->mu);
    struct weir_shared_entry *e = find_live_locked(s, &key, w->hash, &r);
    *ret_value = e != NULL ? weir_value_ref(e->value) : WEIR_VALUE_NOTHING;
    *ret_expires_ns = e != NULL ? e->expires_ns : 0;
    w->queued = true;
    w->written = false;
    weir_list_append(&s->watches, &w->node);
    weir_mutex_unlock(&s->mu);
    weir_shared_remains_clear(&r);
}

bool weir_shared_watch_heard(struct weir_shared_watch *w, uint64_t *ret_expires_ns)
{
    struct weir_shared_shard *s = shard_of(w->table, w->hash);
    const struct weir_shared_key key = {w->key, w->key_len, w->key_is_int};
    struct weir_shared_remains r;
    weir_shared_remains_init(&r);
    weir_mutex_lock(&s->mu);
    bool written = w->written;
    w->posted = false;
    if (!written) {
        struct weir_shared_entry *e = find_live_locked(s, &key, w->hash, &r); /* an expired one posts anew */
        *ret_expires_ns = e != NULL ? e->expires_ns : 0;
    }
    weir_mutex_unlock(&s->mu);
    weir_shared_remains_clear(&r);
    return written;
}

bool weir_shared_watch_end(struct weir_shared_watch *w)
{
    struct weir_shared_shard *s = shard_of(w->table, w->hash);
    weir_mutex_lock(&s->mu);
    bool ended = !w->posted;
    if (ended && w->queued) {
        weir_list_remove(&w->node);
        w->queued = false;
    }
    weir_mutex_unlock(&s->mu);
    return ended;
}
