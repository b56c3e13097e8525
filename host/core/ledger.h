/* core/ledger.h - what became of every event of a stage, counted where it happens.
 *
 *   offered  = accepted + rejected
 *   accepted = handled + expired + dropped + failed + queued + running
 *
 * Every worker has a ledger for every stage and is its only writer, so counting takes plain additions. Each step moves its counts
 * together, in the ledger of the worker that takes the step: both equations hold for every single ledger at the end of its
 * worker's turn, with `queued` signed (one worker accepts what another takes). Readers add the ledgers up; what was counted
 * while they read shows as `unsettled`. */
#ifndef WEIR_CORE_LEDGER_H
#define WEIR_CORE_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hist.h"
#include "core/reason.h"

struct weir_ledger {
    /* [atomic acq/rel, one writer] signed, see above */
    _Atomic int64_t offered, rejected, accepted, handled, failed, expired, dropped, queued, running, waiting;
    _Atomic int64_t queued_bytes;
    _Atomic int64_t reasons[WEIR_REASON_COUNT];
    struct weir_hist wait_ns;    /* from acceptance to the handler's start */
    struct weir_hist service_ns; /* from the handler's start to its end, suspended time too */
};

static inline void weir_ledger_add(_Atomic int64_t *cell, int64_t n)
{
    /* release: who reads that an event ended reads, after that, that it was accepted, on whichever worker that was */
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_release);
}

/* A stage's ledgers added up. */
struct weir_ledger_sum {
    int64_t offered, rejected, accepted, handled, failed, expired, dropped, queued, running, waiting;
    int64_t queued_bytes;
    int64_t unsettled; /* what does not add up because it moved during the reading; 0 at rest */
    int64_t reasons[WEIR_REASON_COUNT];
    struct weir_hist_sum wait_ns, service_ns;
};

/* Adds `n` ledgers up into `*sum` (which it clears): what ended first, then what is under way, `accepted` last. Any thread. */
void weir_ledger_read(struct weir_ledger *const *ledgers, size_t n, struct weir_ledger_sum *sum);
/* Whether both equations hold exactly. The ledger's worker, at the end of its turn. */
bool weir_ledger_holds(const struct weir_ledger *l);

#endif
