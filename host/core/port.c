#include "core/port.h"

#include "base/clock.h"
#include "core/event.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/waiter.h"
#include "core/worker.h"

enum {
    FLUSH_COUNT = 32,    /* outbound events that are sent at once */
    ROUTE_HOPS_MAX = 16, /* `weir check` refuses loops of routes; this only bounds a chain */
    DROP_TRIES = 64,     /* oldest events dropped for one new one, when it is larger than they are */
};

const char *weir_verdict_text(enum weir_verdict v)
{
    static const char *const texts[] = {"accepted", "full", "rejected", "expired", "closed", "memory", "pending"};
    return texts[v];
}

static void count_rejected(struct weir_ledger *l, enum weir_reason reason)
{
    weir_ledger_add(&l->offered, 1);
    weir_ledger_add(&l->rejected, 1);
    weir_ledger_add(&l->reasons[reason], 1);
}

static bool goes_to_own_lane(const struct weir_worker *w, const struct weir_seat *seat)
{
    const struct weir_pool *pool = seat->stage->pool;
    if (seat->handler == NULL || pool->blocking || seat->stage->queue.shared.partitions != NULL)
        return false;
    if (w->obeyed & (WEIR_ORDER_RETIRE | WEIR_ORDER_CANCEL))
        return false;
    if (atomic_load_explicit(&pool->live, memory_order_relaxed) <= 1)
        return true; /* nobody else could take it */
    return seat->lane.count < seat->share && !atomic_load_explicit(&seat->saturated, memory_order_relaxed);
}

static void send_out(struct weir_worker *w, struct weir_seat *seat, struct weir_event *ev)
{
    if (seat->outbound_count++ == 0)
        weir_list_append(&w->outbound, &seat->outbound_node);
    weir_list_append(&seat->outbound, &ev->node);
    if (w->outbound_count++ == 0)
        w->outbound_since_ns = w->now_ns;
    if (w->outbound_count >= FLUSH_COUNT)
        weir_worker_flush(w);
}

/* The room is reserved: the event is the queue's. */
static void admit(struct weir_worker *w, struct weir_seat *seat, struct weir_event *ev)
{
    struct weir_stage *stage = seat->stage;
    weir_ledger_add(&seat->ledger.offered, 1);
    weir_ledger_add(&seat->ledger.accepted, 1);
    weir_ledger_add(&seat->ledger.queued, 1);
    weir_ledger_add(&seat->ledger.queued_bytes, ev->bytes);
    ev->enqueued_ns = w->now_ns;
    if (ev->request != NULL)
        ev->request->refused = false;
    if (goes_to_own_lane(w, seat)) {
        weir_lane_push(&seat->lane, ev);
        weir_worker_set_ready(w, stage->rank);
        return;
    }
    if (stage->queue.shared.partitions != NULL)
        ev->partition = weir_queue_partition(&stage->queue, ev);
    send_out(w, seat, ev);
}

static void drop(struct weir_worker *w, struct weir_seat *seat, struct weir_event *ev, enum weir_reason reason)
{
    weir_ledger_add(&seat->ledger.dropped, 1);
    weir_ledger_add(&seat->ledger.reasons[reason], 1);
    struct weir_request *request = ev->request;
    ev->request = NULL;
    if (request != NULL)
        request->ops->end(request, w, WEIR_REQUEST_DROPPED);
    weir_event_free(w, ev);
}

static struct weir_event *take_oldest(struct weir_worker *w, struct weir_seat *seat)
{
    struct weir_event *ev = weir_lane_take_oldest(&seat->lane);
    if (ev != NULL)
        return ev;
    struct weir_shared_lane *shared = &seat->stage->queue.shared;
    weir_worker_flush(w); /* what is on its way counts too */
    weir_mutex_lock(&shared->mu);
    ev = weir_shared_lane_take_oldest_locked(shared);
    weir_mutex_unlock(&shared->mu);
    return ev;
}

static enum weir_reason make_room(struct weir_worker *w, struct weir_seat *seat, struct weir_event *ev, enum weir_reason why)
{
    for (int i = 0; i < DROP_TRIES && why != WEIR_REASON_NONE; i++) {
        struct weir_event *oldest = take_oldest(w, seat);
        if (oldest == NULL)
            return why;
        weir_ledger_add(&seat->ledger.queued, -1);
        weir_ledger_add(&seat->ledger.queued_bytes, -(int64_t)oldest->bytes);
        weir_queue_release(w, seat->stage, oldest->bytes);
        drop(w, seat, oldest, WEIR_REASON_OLDEST);
        why = weir_queue_reserve(&seat->stage->queue, ev->bytes);
    }
    return why;
}

static enum weir_verdict offer(struct weir_worker *w, const struct weir_overflow_policy *policy, struct weir_stage *stage,
                               struct weir_event *ev, struct weir_emission *em, int hops);

static enum weir_verdict overflow(struct weir_worker *w, const struct weir_overflow_policy *policy, struct weir_seat *seat,
                                  struct weir_event *ev, struct weir_emission *em, enum weir_reason why, int hops)
{
    struct weir_ledger *l = &seat->ledger;
    switch (policy->policy) {
    case WEIR_OVERFLOW_WAIT:
        if (em != NULL && ev->bytes <= seat->stage->queue.bytes && !(w->obeyed & WEIR_ORDER_CANCEL) &&
            weir_waiter_begin(w, seat->stage, em, ev) == WEIR_OK)
            return WEIR_VERDICT_PENDING;
        break;
    case WEIR_OVERFLOW_DROP_NEWEST:
        weir_ledger_add(&l->offered, 1);
        weir_ledger_add(&l->accepted, 1);
        drop(w, seat, ev, WEIR_REASON_NEWEST);
        return WEIR_VERDICT_ACCEPTED;
    case WEIR_OVERFLOW_DROP_OLDEST:
        why = make_room(w, seat, ev, why);
        if (why != WEIR_REASON_NONE)
            break;
        admit(w, seat, ev);
        return WEIR_VERDICT_ACCEPTED;
    case WEIR_OVERFLOW_ROUTE:
        if (hops >= ROUTE_HOPS_MAX)
            break;
        count_rejected(l, WEIR_REASON_ROUTED);
        return offer(w, &policy->route->queue.overflow, policy->route, ev, em, hops + 1);
    case WEIR_OVERFLOW_REJECT:
        break;
    }
    count_rejected(l, why);
    return WEIR_VERDICT_FULL;
}

static uint32_t event_bytes(const struct weir_event *ev)
{
    return (uint32_t)(sizeof *ev + weir_value_size(ev->value) + (ev->request != NULL ? ev->request->size : 0));
}

static enum weir_verdict offer(struct weir_worker *w, const struct weir_overflow_policy *policy, struct weir_stage *stage,
                               struct weir_event *ev, struct weir_emission *em, int hops)
{
    struct weir_seat *seat = w->seats[stage->index];
    struct weir_queue *q = &stage->queue;
    if (atomic_load_explicit(&q->closed, memory_order_relaxed)) {
        count_rejected(&seat->ledger, WEIR_REASON_CLOSED);
        return WEIR_VERDICT_CLOSED;
    }
    if (ev->deadline_ns != 0 && w->now_ns > ev->deadline_ns) {
        count_rejected(&seat->ledger, WEIR_REASON_TOO_LATE);
        return WEIR_VERDICT_EXPIRED;
    }
    ev->bytes = event_bytes(ev);
    bool behind_waiters = atomic_load_explicit(&q->shared.waiting, memory_order_relaxed) > 0; /* nobody overtakes them */
    enum weir_reason why = behind_waiters ? WEIR_REASON_FULL : weir_queue_reserve(q, ev->bytes);
    if (why != WEIR_REASON_NONE)
        return overflow(w, policy, seat, ev, em, why, hops);
    admit(w, seat, ev);
    return WEIR_VERDICT_ACCEPTED;
}

enum weir_verdict weir_edge_offer(struct weir_worker *w, struct weir_edge *edge, struct weir_event *ev)
{
    return offer(w, &edge->overflow, edge->target, ev, NULL, 0);
}

void weir_edge_lose(struct weir_worker *w, struct weir_edge *edge)
{
    count_rejected(&w->seats[edge->target->index]->ledger, WEIR_REASON_NOMEM);
}

static void count_emitted(struct weir_seat *from, const struct weir_port *port)
{
    weir_ledger_add(&from->emitted[port->index], 1);
}

static struct weir_event *copy_event(struct weir_worker *w, const struct weir_event *ev)
{
    struct weir_event *copy = weir_event_create_from(w, ev);
    if (copy != NULL) {
        copy->value = weir_value_ref(ev->value);
        copy->key_value = weir_value_ref(ev->key_value);
        copy->key = ev->key;
    }
    return copy;
}

static enum weir_verdict emit_to_all(struct weir_seat *from, struct weir_port *port, struct weir_event *ev, struct weir_emission *em)
{
    struct weir_worker *w = from->worker;
    enum weir_verdict worst = WEIR_VERDICT_ACCEPTED;
    size_t pending = 0;
    for (size_t i = 0; i < port->edge_count; i++) {
        struct weir_edge *edge = &port->edges[i];
        struct weir_event *copy = copy_event(w, ev);
        enum weir_verdict v = WEIR_VERDICT_NOMEM;
        if (copy != NULL)
            v = offer(w, &edge->overflow, edge->target, copy, em, 0);
        else
            weir_edge_lose(w, edge);
        if (v == WEIR_VERDICT_PENDING) {
            pending++;
            continue;
        }
        if (v != WEIR_VERDICT_ACCEPTED)
            weir_event_free(w, copy);
        if (v > worst)
            worst = v;
    }
    if (pending > 0) {
        *em = (struct weir_emission){.done = em->done, .ev = ev, .from = from, .pending = pending, .worst = worst, .port = port};
        return WEIR_VERDICT_PENDING;
    }
    if (worst == WEIR_VERDICT_ACCEPTED) {
        count_emitted(from, port);
        weir_event_free(w, ev);
    }
    return worst;
}

/* A request has one holder, so it can't go to a list; configuration and binding refuse it before. */
static enum weir_verdict refuse_request(struct weir_event *ev)
{
    ev->request->refused = true;
    return WEIR_VERDICT_REJECTED;
}

enum weir_verdict weir_port_emit(struct weir_seat *from, struct weir_port *port, struct weir_event *ev, struct weir_emission *em)
{
    if (port->edge_count != 1)
        return ev->request == NULL ? emit_to_all(from, port, ev, em) : refuse_request(ev);
    struct weir_edge *edge = &port->edges[0];
    enum weir_verdict v = offer(from->worker, &edge->overflow, edge->target, ev, em, 0);
    if (v == WEIR_VERDICT_ACCEPTED)
        count_emitted(from, port);
    else if (v == WEIR_VERDICT_PENDING)
        *em = (struct weir_emission){.done = em->done, .from = from, .pending = 1, .port = port};
    else if (ev->request != NULL)
        ev->request->refused = true;
    return v;
}

/* One branch of a waiting emission has its verdict; `ev` is the event when it was refused. The emitter's worker. */
void weir_emission_branch(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    struct weir_worker *w = em->from->worker;
    bool fan_out = em->ev != NULL;
    if (verdict > em->worst)
        em->worst = verdict;
    if (fan_out)
        weir_event_free(w, ev);
    if (--em->pending > 0)
        return;
    struct weir_event *back = fan_out ? em->ev : ev;
    if (em->worst == WEIR_VERDICT_ACCEPTED) {
        count_emitted(em->from, em->port);
        if (fan_out)
            weir_event_free(w, back);
        back = NULL;
    } else if (back != NULL && back->request != NULL) {
        back->request->refused = true;
    }
    em->done(em, em->worst, back);
}
