#include "base/hist.h"

uint64_t weir_hist_upper(size_t i)
{
    if (i < WEIR_HIST_SUB)
        return i;
    unsigned shift = (unsigned)(i / WEIR_HIST_SUB) - 1;
    uint64_t low = (uint64_t)(WEIR_HIST_SUB + i % WEIR_HIST_SUB) << shift;
    return low + (1ULL << shift) - 1;
}

void weir_hist_merge(struct weir_hist_sum *to, const struct weir_hist *h)
{
    for (size_t i = 0; i < WEIR_HIST_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        to->buckets[i] += n;
        to->count += n;
    }
    to->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
    if (max > to->max)
        to->max = max;
}

uint64_t weir_hist_quantile(const struct weir_hist_sum *s, double quantile)
{
    double want = quantile * (double)s->count;
    uint64_t seen = 0;
    for (size_t i = 0; i < WEIR_HIST_BUCKETS; i++) {
        seen += s->buckets[i];
        if (seen != 0 && (double)seen >= want) {
            uint64_t upper = weir_hist_upper(i);
            return upper < s->max ? upper : s->max;
        }
    }
    return 0;
}

uint64_t weir_hist_count_to(const struct weir_hist_sum *s, uint64_t limit)
{
    uint64_t n = 0;
    for (size_t i = 0; i < WEIR_HIST_BUCKETS && weir_hist_upper(i) <= limit; i++)
        n += s->buckets[i];
    return n;
}
