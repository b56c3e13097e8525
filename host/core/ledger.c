#include "core/ledger.h"

#include <stdlib.h>
#include <string.h>

static int64_t sum_cell(struct weir_ledger *const *ledgers, size_t n, size_t offset)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        const _Atomic int64_t *cell = (const _Atomic int64_t *)(const void *)((const char *)ledgers[i] + offset);
        sum += atomic_load_explicit(cell, memory_order_acquire); /* acquire keeps the order of readings that the header promises */
    }
    return sum;
}

#define SUM(field) sum_cell(ledgers, n, offsetof(struct weir_ledger, field))

void weir_ledger_read(struct weir_ledger *const *ledgers, size_t n, struct weir_ledger_sum *sum)
{
    memset(sum, 0, sizeof *sum);
    sum->handled = SUM(handled);
    sum->failed = SUM(failed);
    sum->expired = SUM(expired);
    sum->dropped = SUM(dropped);
    sum->running = SUM(running);
    sum->queued = SUM(queued);
    sum->queued_bytes = SUM(queued_bytes);
    sum->waiting = SUM(waiting);
    sum->rejected = SUM(rejected);
    sum->accepted = SUM(accepted);
    sum->offered = SUM(offered);
    int64_t ended = sum->handled + sum->failed + sum->expired + sum->dropped + sum->running + sum->queued;
    sum->unsettled = llabs(sum->accepted - ended) + llabs(sum->offered - sum->accepted - sum->rejected);
    for (size_t i = 0; i < n; i++) {
        for (size_t r = 0; r < WEIR_REASON_COUNT; r++)
            sum->reasons[r] += atomic_load_explicit(&ledgers[i]->reasons[r], memory_order_relaxed);
        weir_hist_merge(&sum->wait_ns, &ledgers[i]->wait_ns);
        weir_hist_merge(&sum->service_ns, &ledgers[i]->service_ns);
    }
}

bool weir_ledger_holds(const struct weir_ledger *l)
{
#define GET(field) atomic_load_explicit(&l->field, memory_order_relaxed)
    return GET(offered) == GET(accepted) + GET(rejected) &&
           GET(accepted) == GET(handled) + GET(expired) + GET(dropped) + GET(failed) + GET(queued) + GET(running);
#undef GET
}
