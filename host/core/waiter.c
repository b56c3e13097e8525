#include "core/waiter.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/event.h"
#include "core/gate.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

enum { SWEEP_MS = 5 };

static void on_sweep(uv_timer_t *timer)
{
    struct weir_worker *w = timer->data;
    weir_worker_now(w);
    weir_waiter_sweep(w, false);
}

/* The end of a wait, on the emitter's worker. */
static void finish(struct weir_waiter *wt, enum weir_verdict verdict)
{
    struct weir_worker *w = wt->worker;
    struct weir_emission *em = wt->emission;
    struct weir_event *ev = wt->ev;
    weir_list_remove(&wt->worker_node);
    if (weir_list_empty(&w->waits))
        uv_timer_stop(&w->wait_timer);
    weir_free(wt);
    weir_emission_branch(em, verdict, ev);
}

static void on_let_in(struct weir_message *m)
{
    finish(WEIR_LIST_ENTRY(m, struct weir_waiter, verdict_fell), WEIR_VERDICT_ACCEPTED);
}

int weir_waiter_begin(struct weir_worker *w, struct weir_stage *stage, struct weir_emission *em, struct weir_event *ev)
{
    struct weir_waiter *wt = weir_malloc(sizeof *wt);
    if (wt == NULL)
        return WEIR_E_NOMEM;
    *wt = (struct weir_waiter){.verdict_fell.deliver = on_let_in, .queued = true, .worker = w, .stage = stage, .emission = em, .ev = ev,
                               .until_ns = ev->deadline_ns != 0 ? ev->deadline_ns : w->now_ns + stage->wall_ns};
    if (weir_list_empty(&w->waits))
        uv_timer_start(&w->wait_timer, on_sweep, SWEEP_MS, SWEEP_MS);
    weir_list_append(&w->waits, &wt->worker_node);
    weir_ledger_add(&w->seats[stage->index]->ledger.waiting, 1);
    weir_worker_flush(w); /* what this worker emitted before must not arrive after it */
    struct weir_shared_lane *shared = &stage->queue.shared;
    weir_mutex_lock(&shared->mu);
    weir_list_append(&shared->waiters, &wt->node);
    atomic_fetch_add(&shared->waiting, 1);
    weir_mutex_unlock(&shared->mu);
    weir_waiter_admit(w, stage); /* there may have been room between the refusal and the entry in the list */
    return WEIR_OK;
}

static void leave_list_locked(struct weir_shared_lane *shared, struct weir_waiter *wt)
{
    weir_list_remove(&wt->node);
    wt->queued = false;
    atomic_fetch_sub(&shared->waiting, 1);
}

/* The verdict falls, on whichever worker. */
static void count_offered(struct weir_seat *seat, const struct weir_event *ev)
{
    weir_ledger_add(&seat->ledger.waiting, -1);
    weir_ledger_add(&seat->ledger.offered, 1);
    if (seat->tally != NULL)
        weir_gate_count(seat, ev->class_index, false);
}

/* Its gate was asked when it came. */
static void count_let_in(struct weir_worker *w, struct weir_stage *stage, const struct weir_event *ev)
{
    struct weir_ledger *l = &w->seats[stage->index]->ledger;
    count_offered(w->seats[stage->index], ev);
    weir_ledger_add(&l->accepted, 1);
    weir_ledger_add(&l->queued, 1);
    weir_ledger_add(&l->queued_bytes, ev->bytes);
}

/* Lets the first waiter in; its worker may have ended and freed it when this returns. */
static bool let_one_in(struct weir_worker *w, struct weir_stage *stage)
{
    struct weir_shared_lane *shared = &stage->queue.shared;
    struct weir_waiter *wt = NULL;
    weir_mutex_lock(&shared->mu);
    if (!weir_list_empty(&shared->waiters)) {
        struct weir_waiter *first = WEIR_LIST_ENTRY(shared->waiters.next, struct weir_waiter, node);
        if (weir_queue_reserve(&stage->queue, first->ev->bytes) == WEIR_REASON_NONE)
            wt = first;
    }
    if (wt != NULL) {
        struct weir_event *ev = wt->ev;
        wt->ev = NULL;
        leave_list_locked(shared, wt);
        count_let_in(w, stage, ev);
        ev->enqueued_ns = w->now_ns;
        if (ev->request != NULL)
            ev->request->refused = false;
        if (shared->partitions != NULL)
            ev->partition = weir_queue_partition(&stage->queue, ev);
        if (weir_shared_lane_push_locked(shared, ev))
            weir_pool_set_ready_locked(stage->pool, stage, true);
        weir_worker_post(wt->worker, &wt->verdict_fell); /* under the lock: who can't take it back finds it in the inbox */
    }
    weir_mutex_unlock(&shared->mu);
    return wt != NULL;
}

void weir_waiter_admit(struct weir_worker *w, struct weir_stage *stage)
{
    while (let_one_in(w, stage))
        weir_pool_wake(stage->pool, stage);
}

/* Takes the event back if it waits still and should not. A breach of 'no callback under a lock': `gone` only reads, as its contract
 * says, and without the lock the event could be let in, handled and freed meanwhile. */
static bool take_back(struct weir_waiter *wt, bool always)
{
    struct weir_shared_lane *shared = &wt->stage->queue.shared;
    weir_mutex_lock(&shared->mu);
    bool mine = wt->queued; /* else it was let in, and the message is on its way */
    const struct weir_request *request = mine ? wt->ev->request : NULL;
    mine = mine && (always || (request != NULL && request->ops->gone(request)));
    if (mine)
        leave_list_locked(shared, wt);
    weir_mutex_unlock(&shared->mu);
    return mine;
}

void weir_waiter_sweep(struct weir_worker *w, bool all)
{
    WEIR_LIST_EACH(node, next, &w->waits)
    {
        struct weir_waiter *wt = WEIR_LIST_ENTRY(node, struct weir_waiter, worker_node);
        bool late = w->now_ns > wt->until_ns;
        if (!take_back(wt, all || late))
            continue;
        struct weir_stage *stage = wt->stage;
        struct weir_ledger *l = &w->seats[stage->index]->ledger;
        count_offered(w->seats[stage->index], wt->ev);
        weir_ledger_add(&l->rejected, 1);
        weir_ledger_add(&l->reasons[all ? WEIR_REASON_CLOSED : late ? WEIR_REASON_TOO_LATE : WEIR_REASON_LEFT], 1);
        finish(wt, all ? WEIR_VERDICT_CLOSED : WEIR_VERDICT_EXPIRED);
        weir_waiter_admit(w, stage); /* a smaller one behind it may fit */
    }
}
