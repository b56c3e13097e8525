#include "core/shared_shard.h"

#include <string.h>

#include "base/mem.h"
#include "core/shared_watch.h"
#include "core/worker.h"

enum {
    SWEEP_ENTRIES = 4096, /* looked at by one sweep */
    SWEEP_BUCKETS = 512,  /* under one hold of a lock */
};

static size_t entries_of(const struct weir_shared_shard *s)
{
    return atomic_load_explicit(&s->entries, memory_order_relaxed);
}

static void set_entries_locked(struct weir_shared_shard *s, size_t n)
{
    atomic_store_explicit(&s->entries, n, memory_order_relaxed);
}

void weir_shared_remains_init(struct weir_shared_remains *r)
{
    r->entries = NULL;
    r->buckets = NULL;
    r->value = WEIR_VALUE_NOTHING;
}

static void free_entries(struct weir_shared_entry *e)
{
    while (e != NULL) {
        struct weir_shared_entry *next = e->next;
        weir_value_unref(e->value);
        weir_free(e);
        e = next;
    }
}

void weir_shared_remains_clear(struct weir_shared_remains *r)
{
    free_entries(r->entries);
    weir_free(r->buckets);
    weir_value_unref(r->value);
    weir_shared_remains_init(r);
}

void weir_shared_shard_init(struct weir_shared_shard *s, struct weir_shared_quota *quota)
{
    weir_mutex_init(&s->mu, WEIR_RANK_SHARED_TABLE, "shared table");
    s->buckets = s->few;
    s->bucket_count = WEIR_SHARED_FEW;
    s->quota = quota;
    weir_list_init(&s->watches);
    atomic_init(&s->expires_hint, UINT64_MAX);
    s->sweep_min = UINT64_MAX;
}

void weir_shared_shard_fini(struct weir_shared_shard *s)
{
    for (size_t i = 0; i < s->bucket_count; i++)
        free_entries(s->buckets[i]);
    if (s->buckets != s->few)
        weir_free(s->buckets);
    weir_mutex_fini(&s->mu);
}

size_t weir_shared_entry_size(size_t key_len)
{
    size_t size = offsetof(struct weir_shared_entry, key) + key_len;
    return size < sizeof(struct weir_shared_entry) ? sizeof(struct weir_shared_entry) : size;
}

size_t weir_shared_value_size(struct weir_value v)
{
    return v.kind == WEIR_VALUE_BYTES ? sizeof *v.blob + v.blob->len : 0;
}

bool weir_shared_reserve(struct weir_shared_quota *q, size_t n)
{
    size_t used = atomic_load_explicit(&q->used, memory_order_relaxed);
    do {
        if (n > q->limit || used > q->limit - n)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&q->used, &used, used + n, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void weir_shared_release(struct weir_shared_quota *q, size_t n)
{
    if (n > 0)
        atomic_fetch_sub_explicit(&q->used, n, memory_order_relaxed);
}

static struct weir_shared_entry **bucket_of(const struct weir_shared_shard *s, uint64_t hash)
{
    return &s->buckets[hash & (s->bucket_count - 1)]; /* the shard was chosen by the top bits */
}

struct weir_shared_entry *weir_shared_find_locked(struct weir_shared_shard *s,
                                                  const struct weir_shared_key *key, uint64_t hash)
{
    struct weir_shared_entry *e = *bucket_of(s, hash);
    while (e != NULL && (e->hash != hash || e->key_is_int != key->is_int || e->key_len != key->len ||
                         memcmp(e->key, key->bytes, key->len) != 0))
        e = e->next;
    return e;
}

void weir_shared_insert_locked(struct weir_shared_shard *s, struct weir_shared_entry *e)
{
    struct weir_shared_entry **bucket = bucket_of(s, e->hash);
    e->next = *bucket;
    *bucket = e;
    set_entries_locked(s, entries_of(s) + 1);
}

static void unlink_locked(struct weir_shared_shard *s, struct weir_shared_entry *e)
{
    struct weir_shared_entry **at = bucket_of(s, e->hash);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    set_entries_locked(s, entries_of(s) - 1);
}

void weir_shared_remove_locked(struct weir_shared_shard *s, struct weir_shared_entry *e,
                               struct weir_shared_remains *r)
{
    unlink_locked(s, e);
    weir_shared_release(s->quota, weir_shared_entry_size(e->key_len) + weir_shared_value_size(e->value));
    weir_shared_tell_locked(s, e, true);
    e->next = r->entries;
    r->entries = e;
}

void weir_shared_set_expiry_locked(struct weir_shared_shard *s, struct weir_shared_entry *e,
                                   uint64_t expires_ns)
{
    e->expires_ns = expires_ns;
    if (expires_ns == 0)
        return;
    if (expires_ns < atomic_load_explicit(&s->expires_hint, memory_order_relaxed))
        atomic_store_explicit(&s->expires_hint, expires_ns, memory_order_relaxed);
    if (expires_ns < s->sweep_min)
        s->sweep_min = expires_ns; /* the sweep may have passed its bucket */
}

static void restart_sweep_locked(struct weir_shared_shard *s)
{
    s->sweep_at = 0;
    s->sweep_min = UINT64_MAX;
}

void weir_shared_empty_locked(struct weir_shared_shard *s, struct weir_shared_remains *r)
{
    for (size_t i = 0; i < s->bucket_count; i++)
        while (s->buckets[i] != NULL)
            weir_shared_remove_locked(s, s->buckets[i], r);
    if (s->buckets != s->few) {
        weir_shared_release(s->quota, s->bucket_count * sizeof(struct weir_shared_entry *));
        r->buckets = s->buckets;
        memset(s->few, 0, sizeof s->few);
        s->buckets = s->few;
        s->bucket_count = WEIR_SHARED_FEW;
    }
    atomic_store_explicit(&s->expires_hint, UINT64_MAX, memory_order_relaxed);
    restart_sweep_locked(s);
}

void weir_shared_tell_locked(struct weir_shared_shard *s, const struct weir_shared_entry *e, bool written)
{
    WEIR_LIST_EACH(node, following, &s->watches)
    {
        struct weir_shared_watch *w = WEIR_LIST_ENTRY(node, struct weir_shared_watch, node);
        if (w->hash != e->hash || w->key_is_int != e->key_is_int || w->key_len != e->key_len ||
            memcmp(w->key, e->key, e->key_len) != 0)
            continue;
        if (written) {
            w->written = true;
            w->queued = false;
            weir_list_remove(node);
        }
        if (!w->posted)
            weir_worker_post(w->worker, &w->changed); /* under the lock: who can't end it finds it posted */
        w->posted = true;
    }
}

static void rehash_locked(struct weir_shared_shard *s, struct weir_shared_entry **buckets, size_t count)
{
    struct weir_shared_entry **old = s->buckets;
    size_t old_count = s->bucket_count;
    s->buckets = buckets;
    s->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct weir_shared_entry *e = old[i], *next; e != NULL; e = next) {
            next = e->next;
            struct weir_shared_entry **bucket = bucket_of(s, e->hash);
            e->next = *bucket;
            *bucket = e;
        }
    }
    restart_sweep_locked(s);
}

void weir_shared_grow(struct weir_shared_shard *s)
{
    struct weir_shared_entry **unused = NULL;
    weir_mutex_lock(&s->mu);
    size_t have = s->bucket_count, want = have * 2;
    bool full = entries_of(s) > have;
    weir_mutex_unlock(&s->mu);
    if (!full || !weir_shared_reserve(s->quota, want * sizeof(struct weir_shared_entry *)))
        return; /* longer chains do no harm but to time */
    struct weir_shared_entry **buckets = weir_calloc(want, sizeof(struct weir_shared_entry *));
    size_t give_back = want * sizeof(struct weir_shared_entry *);
    if (buckets != NULL) {
        weir_mutex_lock(&s->mu);
        unused = buckets;
        if (s->bucket_count == have) { /* else another thread was here first */
            unused = s->buckets != s->few ? s->buckets : NULL;
            give_back = unused != NULL ? have * sizeof(struct weir_shared_entry *) : 0;
            rehash_locked(s, buckets, want);
        }
        weir_mutex_unlock(&s->mu);
    }
    weir_shared_release(s->quota, give_back);
    weir_free(unused);
}

/* The chain at `sweep_at`. Returns the bytes it reclaimed. */
static size_t sweep_bucket_locked(struct weir_shared_shard *s, uint64_t now_ns, size_t *looked,
                                  struct weir_shared_remains *r)
{
    size_t freed = 0;
    for (struct weir_shared_entry *e = s->buckets[s->sweep_at], *next; e != NULL; e = next) {
        next = e->next;
        (*looked)++;
        if (e->expires_ns != 0 && e->expires_ns <= now_ns) {
            freed += weir_shared_entry_size(e->key_len) + weir_shared_value_size(e->value);
            atomic_fetch_add_explicit(&s->quota->expired, 1, memory_order_relaxed);
            weir_shared_remove_locked(s, e, r);
        } else if (e->expires_ns != 0 && e->expires_ns < s->sweep_min) {
            s->sweep_min = e->expires_ns;
        }
    }
    return freed;
}

/* Goes on with the shard's sweep for some buckets. `*ret_ended`: it has seen all of them. */
static size_t sweep_some(struct weir_shared_shard *s, uint64_t now_ns, size_t *looked, bool *ret_ended)
{
    struct weir_shared_remains r;
    size_t freed = 0;
    weir_shared_remains_init(&r);
    weir_mutex_lock(&s->mu);
    for (size_t i = 0; i < SWEEP_BUCKETS && s->sweep_at < s->bucket_count; i++, s->sweep_at++)
        freed += sweep_bucket_locked(s, now_ns, looked, &r);
    *ret_ended = s->sweep_at >= s->bucket_count;
    if (*ret_ended) {
        atomic_store_explicit(&s->expires_hint, s->sweep_min, memory_order_relaxed);
        restart_sweep_locked(s);
    }
    weir_mutex_unlock(&s->mu);
    weir_shared_remains_clear(&r);
    return freed;
}

size_t weir_shared_sweep(struct weir_shared_shard *shards, size_t want, uint64_t now_ns)
{
    struct weir_shared_quota *q = shards[0].quota;
    unsigned first = atomic_load_explicit(&q->sweep_next, memory_order_relaxed);
    size_t freed = 0, looked = 0;
    for (unsigned i = 0; i < WEIR_SHARED_SHARDS && freed < want && looked < SWEEP_ENTRIES; i++) {
        struct weir_shared_shard *s = &shards[(first + i) % WEIR_SHARED_SHARDS];
        bool ended = false;
        while (!ended && freed < want && looked < SWEEP_ENTRIES &&
               atomic_load_explicit(&s->expires_hint, memory_order_relaxed) <= now_ns)
            freed += sweep_some(s, now_ns, &looked, &ended);
        atomic_store_explicit(&q->sweep_next, (first + i) % WEIR_SHARED_SHARDS, memory_order_relaxed);
    }
    return freed;
}
