#include "runtime/drain.h"

#include "base/clock.h"
#include "base/log.h"
#include "core/graph.h"
#include "core/pause.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/worker.h"

static const uint64_t cancel_ns = 300 * WEIR_NS_PER_MS; /* for a handler that blocks to come back */
static const uint64_t leave_ns = 300 * WEIR_NS_PER_MS;

static void order_all(struct weir_graph *g, unsigned orders)
{
    for (size_t i = 0; i < g->pool_count; i++)
        weir_pool_order(&g->pools[i], orders);
}

static bool all_quiet(struct weir_graph *g)
{
    for (size_t i = 0; i < g->pool_count; i++)
        if (!weir_pool_quiet(&g->pools[i]))
            return false;
    return true;
}

static int64_t offered_in_all(struct weir_graph *g)
{
    int64_t n = 0;
    for (size_t s = 0; s < g->stage_count; s++) {
        for (size_t i = 0; i < g->slot_count; i++) {
            struct weir_seat **seats = atomic_load_explicit(&g->slots[i], memory_order_acquire);
            if (seats != NULL)
                n += atomic_load_explicit(&seats[s]->ledger.offered, memory_order_acquire);
        }
    }
    return n;
}

/* An event that moves while the ledgers are read can be missed once; when two readings a tick apart find nothing and nothing was
 * offered between them, there is nothing. */
static bool nothing_in_flight(struct weir_drain *d)
{
    int64_t offered = offered_in_all(d->graph);
    bool empty = weir_graph_in_flight(d->graph) == 0;
    bool settled = empty && offered == d->offered_before;
    d->offered_before = empty ? offered : -1;
    return settled;
}

static void enter(struct weir_drain *d, enum weir_drain_phase phase, uint64_t until_ns, unsigned orders)
{
    d->phase = phase;
    d->until_ns = until_ns;
    d->offered_before = -1;
    order_all(d->graph, orders);
}

void weir_drain_begin(struct weir_drain *d, struct weir_graph *graph, uint64_t now_ns, uint64_t drain_ns)
{
    *d = (struct weir_drain){.graph = graph};
    weir_stage_resume_all(graph); /* the order wakes the workers */
    enter(d, WEIR_DRAIN_DRAINING, drain_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + drain_ns, WEIR_ORDER_STOP_SOURCES);
}

void weir_drain_limit(struct weir_drain *d, uint64_t until_ns)
{
    if (d->phase == WEIR_DRAIN_DRAINING && until_ns < d->until_ns)
        d->until_ns = until_ns;
}

void weir_drain_hurry(struct weir_drain *d, uint64_t now_ns)
{
    if (d->phase != WEIR_DRAIN_DRAINING)
        return;
    d->cut = true;
    for (size_t i = 0; i < d->graph->stage_count; i++)
        atomic_store_explicit(&d->graph->stages[i].queue.closed, true, memory_order_relaxed);
    enter(d, WEIR_DRAIN_CANCELLING, now_ns + cancel_ns, WEIR_ORDER_CANCEL);
}

/* Destroys the workers once the last one of all pools has ended: until then any may have something for another. Returns whether
 * that is done. */
static bool end_workers(struct weir_graph *g)
{
    for (size_t i = 0; i < g->pool_count; i++)
        if (!weir_pool_gone(&g->pools[i]))
            return false;
    for (size_t i = 0; i < g->pool_count; i++)
        weir_pool_clear(&g->pools[i]);
    return true;
}

bool weir_drain_step(struct weir_drain *d, uint64_t now_ns)
{
    bool late = now_ns > d->until_ns;
    switch (d->phase) {
    case WEIR_DRAIN_IDLE:
        break;
    case WEIR_DRAIN_DRAINING:
        if (all_quiet(d->graph) && nothing_in_flight(d))
            enter(d, WEIR_DRAIN_LEAVING, now_ns + leave_ns, WEIR_ORDER_LEAVE);
        else if (late)
            weir_drain_hurry(d, now_ns);
        break;
    case WEIR_DRAIN_CANCELLING:
        if (late || (all_quiet(d->graph) && nothing_in_flight(d)))
            enter(d, WEIR_DRAIN_LEAVING, now_ns + leave_ns, WEIR_ORDER_LEAVE);
        break;
    case WEIR_DRAIN_LEAVING:
        d->stuck = !end_workers(d->graph);
        if (!d->stuck || late)
            d->phase = WEIR_DRAIN_DONE;
        break;
    case WEIR_DRAIN_DONE:
        break;
    }
    return d->phase == WEIR_DRAIN_DONE;
}
