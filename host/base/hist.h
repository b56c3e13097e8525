/* base/hist.h - a log-linear histogram of durations: eight buckets to each power of two, so a quantile is off by at most
 * one eighth, in 2.4 KiB. Threads: one writer; readers on any thread see each bucket whole and the set of them as it was a
 * moment ago. */
#ifndef WEIR_BASE_HIST_H
#define WEIR_BASE_HIST_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_HIST_SUB_BITS = 3,
    WEIR_HIST_SUB = 1 << WEIR_HIST_SUB_BITS,
    WEIR_HIST_TOP_BIT = 40, /* 2^40 ns is 18 minutes; what is longer counts in the last bucket */
    WEIR_HIST_BUCKETS = (WEIR_HIST_TOP_BIT - WEIR_HIST_SUB_BITS + 1) * WEIR_HIST_SUB,
};

struct weir_hist {
    _Atomic uint64_t buckets[WEIR_HIST_BUCKETS]; /* [atomic relaxed] one writer; counts order nothing */
    _Atomic uint64_t sum;                        /* [atomic relaxed] of the values */
    _Atomic uint64_t max;                        /* [atomic relaxed] */
};

/* A sum of histograms, for reading. One thread. */
struct weir_hist_sum {
    uint64_t buckets[WEIR_HIST_BUCKETS];
    uint64_t count, sum, max;
};

static inline size_t weir_hist_bucket(uint64_t v)
{
    if (v < WEIR_HIST_SUB)
        return (size_t)v;
    int top = 63 - __builtin_clzll(v);
    if (top >= WEIR_HIST_TOP_BIT)
        return WEIR_HIST_BUCKETS - 1;
    int shift = top - WEIR_HIST_SUB_BITS;
    return (size_t)(shift + 1) * WEIR_HIST_SUB + (size_t)((v >> shift) & (WEIR_HIST_SUB - 1));
}

static inline void weir_hist_add_relaxed(_Atomic uint64_t *cell, uint64_t n)
{
    /* one writer: a plain addition, not a locked one */
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Counts `v`. The writer's thread. */
static inline void weir_hist_record(struct weir_hist *h, uint64_t v)
{
    weir_hist_add_relaxed(&h->buckets[weir_hist_bucket(v)], 1);
    weir_hist_add_relaxed(&h->sum, v);
    if (v > atomic_load_explicit(&h->max, memory_order_relaxed))
        atomic_store_explicit(&h->max, v, memory_order_relaxed);
}

/* The largest value that falls into bucket `i`. */
uint64_t weir_hist_upper(size_t i);
/* Adds what `h` holds to `to`. Any thread. */
void weir_hist_merge(struct weir_hist_sum *to, const struct weir_hist *h);
/* The value that `quantile` (0..1) of the recorded ones do not exceed, 0 when there are none. */
uint64_t weir_hist_quantile(const struct weir_hist_sum *s, double quantile);
/* How many recorded values are at most `limit` (to the bucket's precision). */
uint64_t weir_hist_count_to(const struct weir_hist_sum *s, uint64_t limit);

#endif
