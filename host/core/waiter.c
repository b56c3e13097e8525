#include "core/waiter.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/event.h"
#include "core/gate.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

enum { SWEEP_MS = 5, FAIR_TRIES = 16 };

static void on_sweep(uv_timer_t *timer)
{
    struct weir_worker *w = timer->data;
    weir_worker_now(w);
    weir_waiter_sweep(w, false);
}

static void leave_worker(struct weir_waiter *wt)
{
    struct weir_worker *w = wt->worker;
    weir_list_remove(&wt->worker_node);
    if (weir_list_empty(&w->waits))
        uv_timer_stop(&w->wait_timer);
    weir_free(wt);
}

/* The end of a wait, on the emitter's worker. */
static void finish(struct weir_waiter *wt, enum weir_verdict verdict)
{
    struct weir_emission *em = wt->emission;
    struct weir_event *ev = wt->ev;
    leave_worker(wt);
    weir_emission_branch(em, verdict, ev);
}

static void on_let_in(struct weir_message *m)
{
    finish(WEIR_LIST_ENTRY(m, struct weir_waiter, verdict_fell), WEIR_VERDICT_ACCEPTED);
}

static bool join_line_locked(struct weir_shared_lane *shared, struct weir_waiter *wt)
{
    if (shared->fair == NULL)
        weir_list_append(&shared->waiters, &wt->node);
    else if (!weir_fair_wait(shared->fair, wt))
        return false;
    atomic_fetch_add(&shared->waiting, 1);
    return true;
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
    weir_worker_flush(w); /* what this worker emitted before must not arrive after it */
    struct weir_shared_lane *shared = &stage->queue.shared;
    weir_mutex_lock(&shared->mu);
    bool queued = join_line_locked(shared, wt);
    weir_mutex_unlock(&shared->mu);
    if (!queued) {
        leave_worker(wt);
        return WEIR_E_NOMEM;
    }
    weir_ledger_add(&w->seats[stage->index]->ledger.waiting, 1);
    weir_waiter_admit(w, stage); /* there may have been room between the refusal and the entry in the list */
    return WEIR_OK;
}

/* Its event is still its own. */
static void leave_line_locked(struct weir_shared_lane *shared, struct weir_waiter *wt)
{
    if (shared->fair == NULL)
        weir_list_remove(&wt->node);
    else
        weir_fair_stop_waiting(shared->fair, wt);
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

/* Who is let in now, with room for its event; NULL: nobody. When fair, keys take turns; no more are asked than can be while others wait for
 * the lock: when the queue is empty the first has room. */
static struct weir_waiter *choose_locked(struct weir_queue *q)
{
    struct weir_shared_lane *shared = &q->shared;
    for (int tries = shared->fair == NULL ? 1 : FAIR_TRIES; tries > 0; tries--) {
        struct weir_waiter *wt = NULL;
        if (shared->fair != NULL)
            wt = weir_fair_next_waiter(shared->fair);
        else if (!weir_list_empty(&shared->waiters))
            wt = WEIR_LIST_ENTRY(shared->waiters.next, struct weir_waiter, node);
        if (wt == NULL)
            return NULL;
        if (weir_queue_reserve_locked(q, wt->ev, true) == WEIR_REASON_NONE)
            return wt;
    }
    return NULL;
}

/* Lets one waiter in; its worker may have ended and freed it when this returns. */
static bool let_one_in(struct weir_worker *w, struct weir_stage *stage)
{
    struct weir_shared_lane *shared = &stage->queue.shared;
    weir_mutex_lock(&shared->mu);
    struct weir_waiter *wt = choose_locked(&stage->queue);
    if (wt != NULL) {
        struct weir_event *ev = wt->ev;
        leave_line_locked(shared, wt);
        wt->ev = NULL;
        count_let_in(w, stage, ev);
        ev->enqueued_ns = w->now_ns;
        if (ev->request != NULL)
            ev->request->refused = false;
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
        leave_line_locked(shared, wt);
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
