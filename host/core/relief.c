#include "core/relief.h"

#include "core/event.h"
#include "core/gate.h"
#include "core/pool.h"
#include "core/port.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

enum { RETRY_AFTER_MS = 1000 /* a level of pressure lasts for about as long */ };

void weir_relief_set(struct weir_graph *g, const struct weir_relief_levels *levels)
{
    unsigned shrink = levels->shrink < WEIR_RELIEF_SHRINK_MAX ? levels->shrink : WEIR_RELIEF_SHRINK_MAX;
    unsigned most = (unsigned)g->class_count - 1; /* the highest is never refused */
    unsigned shed = levels->shed < most ? levels->shed : most;
    uint32_t word = shrink | (levels->close ? 1U << 4 : 0) | (levels->stop ? 1U << 5 : 0) | shed << 8;
    atomic_store_explicit(&g->relief, word, memory_order_relaxed);
}

bool weir_relief_refuse(struct weir_seat *from, const struct weir_port *port, struct weir_event *ev)
{
    struct weir_worker *w = from->worker;
    if (from->stage->kind != WEIR_STAGE_SOURCE || !weir_relief_sheds_class(w->graph, ev->class_index))
        return false;
    for (size_t i = 0; i < port->edge_count; i++) {
        struct weir_seat *seat = w->seats[port->edges[i].target->index];
        weir_ledger_add(&seat->ledger.offered, 1);
        weir_ledger_add(&seat->ledger.rejected, 1);
        weir_ledger_add(&seat->ledger.reasons[WEIR_REASON_OVERLOAD], 1);
        if (seat->tally != NULL)
            weir_gate_count(seat, ev->class_index, false);
        weir_request_note(ev->request, seat->stage, WEIR_REASON_OVERLOAD, RETRY_AFTER_MS);
    }
    if (ev->request != NULL)
        ev->request->refused = true;
    return true;
}

uint64_t weir_relief_take_lag(struct weir_worker *w, uint64_t now_ns)
{
    uint64_t longest = atomic_exchange_explicit(&w->lag_ns, 0, memory_order_relaxed); /* one that is noted just now may be lost */
    uint64_t began = atomic_load_explicit(&w->polled_ns, memory_order_relaxed);
    bool parked = atomic_load_explicit(&w->parked_ns, memory_order_relaxed) != 0;
    uint64_t lasts = parked || began == 0 || now_ns < began ? 0 : now_ns - began;
    return lasts > longest ? lasts : longest;
}

static void on_collect(struct weir_message *m)
{
    struct weir_worker *w = WEIR_LIST_ENTRY(m, struct weir_worker, collect);
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        struct weir_handler *h = w->seats[i]->handler;
        if (h != NULL && h->ops->collect != NULL && !(w->obeyed & WEIR_ORDER_CANCEL))
            h->ops->collect(h);
    }
    atomic_store_explicit(&w->collecting, false, memory_order_release);
}

void weir_relief_collect(struct weir_worker *w)
{
    if (atomic_load_explicit(&w->state, memory_order_acquire) != WEIR_WORKER_RUNNING ||
        atomic_exchange_explicit(&w->collecting, true, memory_order_acq_rel))
        return;
    w->collect.deliver = on_collect;
    weir_mutex_lock(&w->pool->mu);
    if (!w->leaving)
        weir_worker_post(w, &w->collect);
    weir_mutex_unlock(&w->pool->mu);
}
