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

/* --- all or none --- */

static bool is_gone(const struct weir_event *ev)
{
    return ev->request != NULL && ev->request->ops->gone(ev->request);
}

/* Whether its queue, were it empty, had room for all that `ps` brings to it. */
static bool fits_at_all(const struct weir_parts *ps, const struct weir_stage *target)
{
    size_t events = 0, bytes = 0;
    for (size_t i = 0; i < ps->count; i++)
        for (size_t e = 0; e < ps->parts[i].port->edge_count; e++)
            if (ps->parts[i].port->edges[e].target == target) {
                events++;
                bytes += ps->parts[i].ev->bytes;
            }
    return events <= target->queue.capacity && bytes <= target->queue.bytes;
}

/* Room at one target. ACCEPTED: reserved; else why not. */
static enum weir_verdict reserve(const struct weir_worker *w, struct weir_queue *q, const struct weir_event *ev, enum weir_reason *ret_why)
{
    *ret_why = WEIR_REASON_CLOSED;
    if (atomic_load_explicit(&q->closed, memory_order_relaxed))
        return WEIR_VERDICT_CLOSED;
    *ret_why = WEIR_REASON_TOO_LATE;
    if (ev->deadline_ns != 0 && w->now_ns > ev->deadline_ns)
        return WEIR_VERDICT_EXPIRED;
    bool behind_waiters = atomic_load_explicit(&q->shared.waiting, memory_order_relaxed) > 0;
    *ret_why = behind_waiters ? WEIR_REASON_FULL : weir_queue_reserve(q, ev->bytes);
    return *ret_why == WEIR_REASON_NONE ? WEIR_VERDICT_ACCEPTED : WEIR_VERDICT_FULL;
}

/* Gives back what was reserved before edge `edge` of part `part`. */
static void unreserve(struct weir_worker *w, const struct weir_parts *ps, size_t part, size_t edge)
{
    for (size_t i = 0; i < ps->count && i <= part; i++) {
        size_t edges = i < part ? ps->parts[i].port->edge_count : edge;
        for (size_t e = 0; e < edges; e++)
            weir_queue_release(w, ps->parts[i].port->edges[e].target, ps->parts[i].ev->bytes);
    }
}

static bool begin_waiting(struct weir_worker *w, struct weir_parts *ps, struct weir_edge *edge)
{
    struct weir_stage *target = edge->target;
    if (edge->overflow.policy != WEIR_OVERFLOW_WAIT || (w->obeyed & WEIR_ORDER_CANCEL) || !fits_at_all(ps, target))
        return false;
    if (ps->until_ns == 0)
        ps->until_ns = w->now_ns + target->wall_ns;
    ps->waits_for = edge;
    weir_ledger_add(&w->seats[target->index]->ledger.waiting, 1);
    return true;
}

static void mark_refused(const struct weir_parts *ps)
{
    for (size_t i = 0; i < ps->count; i++)
        if (ps->parts[i].ev->request != NULL)
            ps->parts[i].ev->request->refused = true;
}

static void refuse_all(struct weir_worker *w, const struct weir_parts *ps, const struct weir_edge *edge, enum weir_reason why)
{
    count_rejected(&w->seats[edge->target->index]->ledger, why);
    mark_refused(ps);
}

static void stop_waiting(struct weir_worker *w, struct weir_parts *ps)
{
    weir_ledger_add(&w->seats[ps->waits_for->target->index]->ledger.waiting, -1);
    ps->waits_for = NULL;
}

void weir_parts_give_up(struct weir_parts *ps, enum weir_reason why)
{
    struct weir_worker *w = ps->from->worker;
    const struct weir_edge *edge = ps->waits_for;
    stop_waiting(w, ps);
    refuse_all(w, ps, edge, why);
}

static void free_copies(struct weir_worker *w, struct weir_list *copies)
{
    struct weir_list *node;
    while ((node = weir_list_take_first(copies)) != NULL)
        weir_event_free(w, WEIR_LIST_ENTRY(node, struct weir_event, node));
}

/* The events of the parts that go to several stages, one for each edge, in their order. On failure `ret_edge` is the one that gets none. */
static bool make_copies(struct weir_worker *w, const struct weir_parts *ps, struct weir_list *copies, struct weir_edge **ret_edge)
{
    weir_list_init(copies);
    for (size_t i = 0; i < ps->count; i++) {
        struct weir_port *port = ps->parts[i].port;
        for (size_t e = 0; port->edge_count > 1 && e < port->edge_count; e++) {
            struct weir_event *copy = copy_event(w, ps->parts[i].ev);
            if (copy == NULL) {
                free_copies(w, copies);
                *ret_edge = &port->edges[e];
                return false;
            }
            copy->bytes = ps->parts[i].ev->bytes;
            weir_list_append(copies, &copy->node);
        }
    }
    return true;
}

/* Everything is reserved and made. */
static void admit_part(struct weir_seat *from, struct weir_part *part, struct weir_list *copies)
{
    struct weir_worker *w = from->worker;
    struct weir_port *port = part->port;
    count_emitted(from, port);
    for (size_t e = 0; e < port->edge_count; e++) {
        struct weir_event *ev = part->ev;
        if (port->edge_count > 1)
            ev = WEIR_LIST_ENTRY(weir_list_take_first(copies), struct weir_event, node);
        admit(w, w->seats[port->edges[e].target->index], ev);
    }
    if (port->edge_count != 1)
        weir_event_free(w, part->ev);
    part->ev = NULL;
}

/* The first edge without room ends it. ACCEPTED: all is reserved. */
static enum weir_verdict reserve_all(struct weir_worker *w, struct weir_parts *ps, bool may_wait)
{
    for (size_t i = 0; i < ps->count; i++) {
        for (size_t e = 0; e < ps->parts[i].port->edge_count; e++) {
            struct weir_edge *edge = &ps->parts[i].port->edges[e];
            enum weir_reason why;
            enum weir_verdict v = reserve(w, &edge->target->queue, ps->parts[i].ev, &why);
            if (v == WEIR_VERDICT_ACCEPTED)
                continue;
            unreserve(w, ps, i, e);
            if (v == WEIR_VERDICT_FULL && may_wait && begin_waiting(w, ps, edge))
                return WEIR_VERDICT_PENDING;
            refuse_all(w, ps, edge, why);
            return v;
        }
    }
    return WEIR_VERDICT_ACCEPTED;
}

/* Whether a wait has come to its end without room. */
static bool waited_in_vain(const struct weir_worker *w, const struct weir_parts *ps, enum weir_reason *ret_why)
{
    *ret_why = WEIR_REASON_TOO_LATE;
    if (w->now_ns > ps->until_ns)
        return true;
    *ret_why = WEIR_REASON_LEFT;
    for (size_t i = 0; i < ps->count; i++)
        if (is_gone(ps->parts[i].ev))
            return true;
    return false;
}

enum weir_verdict weir_parts_emit(struct weir_parts *ps, bool may_wait)
{
    struct weir_worker *w = ps->from->worker;
    struct weir_list copies;
    struct weir_edge *lost;
    enum weir_reason why;
    if (ps->waits_for != NULL && waited_in_vain(w, ps, &why)) {
        weir_parts_give_up(ps, why);
        return WEIR_VERDICT_EXPIRED;
    }
    if (ps->waits_for != NULL)
        stop_waiting(w, ps);
    for (size_t i = 0; i < ps->count; i++)
        ps->parts[i].ev->bytes = event_bytes(ps->parts[i].ev);
    enum weir_verdict v = reserve_all(w, ps, may_wait);
    if (v != WEIR_VERDICT_ACCEPTED)
        return v;
    if (!make_copies(w, ps, &copies, &lost)) {
        unreserve(w, ps, ps->count, 0);
        refuse_all(w, ps, lost, WEIR_REASON_NOMEM);
        return WEIR_VERDICT_NOMEM;
    }
    for (size_t i = 0; i < ps->count; i++)
        admit_part(ps->from, &ps->parts[i], &copies);
    return WEIR_VERDICT_ACCEPTED;
}
