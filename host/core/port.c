#include "core/port.h"

#include "base/clock.h"
#include "core/event.h"
#include "core/gate.h"
#include "core/pool.h"
#include "core/relief.h"
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

/* The verdict on an event of that class falls. */
static void count_offered(struct weir_seat *seat, uint8_t class_index, bool by_gate)
{
    weir_ledger_add(&seat->ledger.offered, 1);
    if (seat->tally != NULL)
        weir_gate_count(seat, class_index, by_gate);
}

static void count_rejected(struct weir_seat *seat, uint8_t class_index, enum weir_reason reason)
{
    struct weir_ledger *l = &seat->ledger;
    count_offered(seat, class_index, reason == WEIR_REASON_GATE);
    weir_ledger_add(&l->rejected, 1);
    weir_ledger_add(&l->reasons[reason], 1);
}

static void count_routed(struct weir_seat *seat, uint8_t class_index, bool by_gate)
{
    count_offered(seat, class_index, by_gate);
    weir_ledger_add(&seat->ledger.rejected, 1);
    weir_ledger_add(&seat->ledger.reasons[WEIR_REASON_ROUTED], 1);
}

static bool goes_to_own_lane(const struct weir_worker *w, const struct weir_seat *seat)
{
    const struct weir_pool *pool = seat->stage->pool;
    if (seat->handler == NULL || pool->blocking || seat->stage->queue.keys.by != WEIR_BY_NONE)
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
    count_offered(seat, ev->class_index, false);
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
    send_out(w, seat, ev);
}

static void drop(struct weir_worker *w, struct weir_seat *seat, struct weir_event *ev, enum weir_reason reason)
{
    weir_ledger_add(&seat->ledger.dropped, 1);
    weir_ledger_add(&seat->ledger.reasons[reason], 1);
    struct weir_request *request = ev->request;
    ev->request = NULL;
    weir_request_note(request, seat->stage, reason, 0);
    if (request != NULL)
        request->ops->end(request, w, WEIR_REQUEST_DROPPED);
    weir_event_free(w, ev);
}

/* A place among the bounds, and within the gate's limit: of several emitters that passed ask_gate() at once, some find it exceeded here. */
static enum weir_reason take_place(struct weir_worker *w, struct weir_stage *stage, const struct weir_event *ev)
{
    enum weir_reason why = weir_queue_reserve(&stage->queue, ev);
    if (why != WEIR_REASON_NONE || stage->gate == NULL || weir_gate_fits(stage, ev->class_index, 0))
        return why;
    weir_queue_release(w, stage, ev);
    return WEIR_REASON_GATE;
}

/* The gate granted it, but it is not accepted. */
static void leave_gate(struct weir_stage *stage, const struct weir_event *ev)
{
    if (stage->gate != NULL)
        weir_gate_return_token(stage->gate, ev->class_index);
}

/* What `ev` may have the place of; those on other workers' own lanes are out of reach. NULL: nothing. */
static struct weir_event *take_victim(struct weir_worker *w, struct weir_seat *seat, const struct weir_event *ev, enum weir_reason reason)
{
    bool oldest = reason == WEIR_REASON_OLDEST;
    struct weir_shared_lane *shared = &seat->stage->queue.shared;
    struct weir_event *victim = oldest ? weir_lane_take_oldest(&seat->lane, ev->class_index) : weir_lane_take_below(&seat->lane, ev->class_index);
    if (victim != NULL)
        return victim;
    weir_worker_flush(w); /* what is on its way counts too */
    weir_mutex_lock(&shared->mu);
    victim = oldest ? weir_shared_lane_take_oldest_locked(shared, ev) : weir_shared_lane_take_below_locked(shared, ev->class_index);
    weir_mutex_unlock(&shared->mu);
    return victim;
}

/* Drops one event, OLDEST or DISPLACED, for `ev`. false: there is none to drop. */
static bool drop_for(struct weir_worker *w, struct weir_seat *seat, const struct weir_event *ev, enum weir_reason reason)
{
    struct weir_event *victim = take_victim(w, seat, ev, reason);
    if (victim == NULL)
        return false;
    weir_ledger_add(&seat->ledger.queued, -1);
    weir_ledger_add(&seat->ledger.queued_bytes, -(int64_t)victim->bytes);
    weir_queue_release(w, seat->stage, victim);
    drop(w, seat, victim, reason);
    return true;
}

/* Drops others, OLDEST or DISPLACED, until the bounds have a place for `ev`. NONE: it has it; else why not. */
static enum weir_reason make_room(struct weir_worker *w, struct weir_seat *seat, const struct weir_event *ev, enum weir_reason why,
                                  enum weir_reason reason)
{
    for (int i = 0; i < DROP_TRIES && why != WEIR_REASON_NONE && why != WEIR_REASON_GATE; i++) {
        if (!drop_for(w, seat, ev, reason))
            break;
        why = take_place(w, seat->stage, ev);
    }
    return why;
}

/* A higher class may have the place of a lower one, unless somebody waits for room: then nothing that was accepted is dropped. */
static bool displaces(const struct weir_overflow_policy *policy, const struct weir_stage *stage)
{
    return policy != NULL && stage->queue.order == WEIR_ORDER_CLASS && policy->policy != WEIR_OVERFLOW_WAIT &&
           atomic_load_explicit(&stage->queue.shared.waiting, memory_order_relaxed) == 0;
}

/* Whether the gate's limit has a place for `ev`, or others can be displaced for it. */
static bool fits(struct weir_worker *w, const struct weir_overflow_policy *policy, struct weir_stage *stage, const struct weir_event *ev)
{
    for (int i = 0; !weir_gate_fits(stage, ev->class_index, 1); i++)
        if (i == DROP_TRIES || !displaces(policy, stage) || !drop_for(w, w->seats[stage->index], ev, WEIR_REASON_DISPLACED))
            return false;
    return true;
}

static enum weir_reason ask_bounds(struct weir_worker *w, const struct weir_overflow_policy *policy, struct weir_stage *stage,
                                   const struct weir_event *ev)
{
    enum weir_reason why = weir_queue_has_line(&stage->queue) ? WEIR_REASON_FULL : take_place(w, stage, ev);
    bool bound = why == WEIR_REASON_FULL || why == WEIR_REASON_BYTES;
    return bound && displaces(policy, stage) ? make_room(w, w->seats[stage->index], ev, why, WEIR_REASON_DISPLACED) : why;
}

/* Apart from ask(), whose way without a gate is to stay short. */
__attribute__((noinline)) static enum weir_reason ask_gate(struct weir_worker *w, const struct weir_overflow_policy *policy,
                                                           struct weir_stage *stage, const struct weir_event *ev)
{
    if (!weir_gate_take_token(stage->gate, ev->class_index, w->now_ns))
        return WEIR_REASON_GATE;
    enum weir_reason why = fits(w, policy, stage, ev) ? ask_bounds(w, policy, stage, ev) : WEIR_REASON_GATE;
    if (why == WEIR_REASON_GATE)
        leave_gate(stage, ev);
    return why;
}

/* The gate, then the bounds. NONE: the event has its place, and is to be admitted. GATE: refused. Else the bounds forbid it; the caller
 * finds it another way in, or has it leave the gate. `policy`: of the edge it comes by; NULL: no other event is dropped for it. */
static enum weir_reason ask(struct weir_worker *w, const struct weir_overflow_policy *policy, struct weir_stage *stage, struct weir_event *ev)
{
    weir_queue_place(&stage->queue, ev);
    return stage->gate != NULL ? ask_gate(w, policy, stage, ev) : ask_bounds(w, policy, stage, ev);
}

static void note_refusal(const struct weir_worker *w, const struct weir_stage *stage, const struct weir_event *ev, enum weir_reason why)
{
    if (ev->request == NULL)
        return;
    bool by_gate = why == WEIR_REASON_GATE;
    weir_request_note(ev->request, stage, why, by_gate ? weir_gate_retry_after_ms(stage->gate, ev->class_index, w->now_ns) : 0);
}

static enum weir_verdict offer(struct weir_worker *w, const struct weir_overflow_policy *policy, struct weir_stage *stage,
                               struct weir_event *ev, struct weir_emission *em, int hops);

static enum weir_verdict overflow(struct weir_worker *w, const struct weir_overflow_policy *policy, struct weir_seat *seat,
                                  struct weir_event *ev, struct weir_emission *em, enum weir_reason why, int hops)
{
    bool by_gate = why == WEIR_REASON_GATE;
    switch (by_gate && policy->policy != WEIR_OVERFLOW_ROUTE ? WEIR_OVERFLOW_REJECT : policy->policy) {
    case WEIR_OVERFLOW_WAIT:
        if (em != NULL && ev->bytes <= seat->stage->queue.bytes && !(w->obeyed & WEIR_ORDER_CANCEL) &&
            weir_waiter_begin(w, seat->stage, em, ev) == WEIR_OK)
            return WEIR_VERDICT_PENDING;
        break;
    case WEIR_OVERFLOW_DROP_NEWEST:
        count_offered(seat, ev->class_index, false);
        weir_ledger_add(&seat->ledger.accepted, 1);
        drop(w, seat, ev, WEIR_REASON_NEWEST);
        return WEIR_VERDICT_ACCEPTED;
    case WEIR_OVERFLOW_DROP_OLDEST:
        why = make_room(w, seat, ev, why, WEIR_REASON_OLDEST);
        if (why != WEIR_REASON_NONE)
            break;
        admit(w, seat, ev);
        return WEIR_VERDICT_ACCEPTED;
    case WEIR_OVERFLOW_ROUTE:
        if (hops >= ROUTE_HOPS_MAX)
            break;
        count_routed(seat, ev->class_index, by_gate);
        if (!by_gate)
            leave_gate(seat->stage, ev);
        return offer(w, &policy->route->queue.overflow, policy->route, ev, em, hops + 1);
    case WEIR_OVERFLOW_REJECT:
        break;
    }
    count_rejected(seat, ev->class_index, why);
    note_refusal(w, seat->stage, ev, why);
    if (!by_gate)
        leave_gate(seat->stage, ev);
    return why == WEIR_REASON_GATE ? WEIR_VERDICT_REJECTED : WEIR_VERDICT_FULL;
}

static uint32_t event_bytes(const struct weir_event *ev)
{
    return (uint32_t)(sizeof *ev + weir_value_size(ev->value) + (ev->request != NULL ? ev->request->size : 0));
}

static enum weir_verdict offer(struct weir_worker *w, const struct weir_overflow_policy *policy, struct weir_stage *stage,
                               struct weir_event *ev, struct weir_emission *em, int hops)
{
    struct weir_seat *seat = w->seats[stage->index];
    if (atomic_load_explicit(&stage->queue.closed, memory_order_relaxed)) {
        count_rejected(seat, ev->class_index, WEIR_REASON_CLOSED);
        weir_request_note(ev->request, stage, WEIR_REASON_CLOSED, 0);
        return WEIR_VERDICT_CLOSED;
    }
    if (ev->deadline_ns != 0 && w->now_ns > ev->deadline_ns) {
        count_rejected(seat, ev->class_index, WEIR_REASON_TOO_LATE);
        return WEIR_VERDICT_EXPIRED;
    }
    ev->bytes = event_bytes(ev);
    enum weir_reason why = ask(w, policy, stage, ev);
    if (why != WEIR_REASON_NONE)
        return overflow(w, policy, seat, ev, em, why, hops);
    admit(w, seat, ev);
    return WEIR_VERDICT_ACCEPTED;
}

enum weir_verdict weir_edge_offer(struct weir_worker *w, struct weir_edge *edge, struct weir_event *ev)
{
    return offer(w, &edge->overflow, edge->target, ev, NULL, 0);
}

void weir_edge_lose(struct weir_worker *w, struct weir_edge *edge, uint8_t class_index)
{
    count_rejected(w->seats[edge->target->index], class_index, WEIR_REASON_NOMEM);
}

static void count_emitted(struct weir_seat *from, const struct weir_port *port)
{
    weir_ledger_add(&from->emitted[port->index], 1);
}

static struct weir_event *copy_event(struct weir_worker *w, const struct weir_event *ev)
{
    struct weir_event *copy = weir_event_create_from(w, ev);
    if (copy != NULL)
        copy->value = weir_value_ref(ev->value);
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
            weir_edge_lose(w, edge, ev->class_index);
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
    if (weir_relief_refuses(from->worker->graph, from, port, ev))
        return WEIR_VERDICT_REJECTED;
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
static enum weir_verdict reserve(struct weir_worker *w, struct weir_stage *target, struct weir_event *ev, enum weir_reason *ret_why)
{
    *ret_why = WEIR_REASON_CLOSED;
    if (atomic_load_explicit(&target->queue.closed, memory_order_relaxed))
        return WEIR_VERDICT_CLOSED;
    *ret_why = WEIR_REASON_TOO_LATE;
    if (ev->deadline_ns != 0 && w->now_ns > ev->deadline_ns)
        return WEIR_VERDICT_EXPIRED;
    *ret_why = ask(w, NULL, target, ev);
    if (*ret_why == WEIR_REASON_NONE)
        return WEIR_VERDICT_ACCEPTED;
    if (*ret_why == WEIR_REASON_GATE)
        return WEIR_VERDICT_REJECTED;
    leave_gate(target, ev);
    return WEIR_VERDICT_FULL;
}

/* Gives back what was reserved before edge `edge` of part `part`. */
static void unreserve(struct weir_worker *w, const struct weir_parts *ps, size_t part, size_t edge)
{
    for (size_t i = 0; i < ps->count && i <= part; i++) {
        size_t edges = i < part ? ps->parts[i].port->edge_count : edge;
        for (size_t e = 0; e < edges; e++) {
            struct weir_stage *target = ps->parts[i].port->edges[e].target;
            leave_gate(target, ps->parts[i].ev);
            weir_queue_place(&target->queue, ps->parts[i].ev); /* another may have been asked since */
            weir_queue_release(w, target, ps->parts[i].ev);
        }
    }
}

static bool begin_waiting(struct weir_worker *w, struct weir_parts *ps, size_t part, struct weir_edge *edge)
{
    struct weir_stage *target = edge->target;
    if (edge->overflow.policy != WEIR_OVERFLOW_WAIT || (w->obeyed & WEIR_ORDER_CANCEL) || !fits_at_all(ps, target))
        return false;
    if (ps->until_ns == 0)
        ps->until_ns = w->now_ns + target->wall_ns;
    ps->waits_for = edge;
    ps->waiting_part = part;
    weir_ledger_add(&w->seats[target->index]->ledger.waiting, 1);
    return true;
}

/* `edge` refused, or got no copy of, part `part`. */
static void refuse_all(struct weir_worker *w, const struct weir_parts *ps, size_t part, const struct weir_edge *edge, enum weir_reason why)
{
    count_rejected(w->seats[edge->target->index], ps->parts[part].ev->class_index, why);
    for (size_t i = 0; i < ps->count; i++) {
        if (ps->parts[i].ev->request == NULL)
            continue;
        ps->parts[i].ev->request->refused = true;
        note_refusal(w, edge->target, ps->parts[i].ev, why);
    }
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
    refuse_all(w, ps, ps->waiting_part, edge, why);
}

static void free_copies(struct weir_worker *w, struct weir_list *copies)
{
    struct weir_list *node;
    while ((node = weir_list_take_first(copies)) != NULL)
        weir_event_free(w, WEIR_LIST_ENTRY(node, struct weir_event, node));
}

/* The events of the parts that go to several stages, one for each edge, in their order. On failure `ret_edge` of `ret_part` is the one that gets none. */
static bool make_copies(struct weir_worker *w, const struct weir_parts *ps, struct weir_list *copies, size_t *ret_part,
                        struct weir_edge **ret_edge)
{
    weir_list_init(copies);
    for (size_t i = 0; i < ps->count; i++) {
        struct weir_port *port = ps->parts[i].port;
        for (size_t e = 0; port->edge_count > 1 && e < port->edge_count; e++) {
            struct weir_event *copy = copy_event(w, ps->parts[i].ev);
            if (copy == NULL) {
                free_copies(w, copies);
                *ret_part = i;
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
        weir_queue_place(&port->edges[e].target->queue, ev);
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
            enum weir_verdict v = reserve(w, edge->target, ps->parts[i].ev, &why);
            if (v == WEIR_VERDICT_ACCEPTED)
                continue;
            unreserve(w, ps, i, e);
            if (v == WEIR_VERDICT_FULL && may_wait && begin_waiting(w, ps, i, edge))
                return WEIR_VERDICT_PENDING;
            refuse_all(w, ps, i, edge, why);
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
    size_t lost_part;
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
    if (!make_copies(w, ps, &copies, &lost_part, &lost)) {
        unreserve(w, ps, ps->count, 0);
        refuse_all(w, ps, lost_part, lost, WEIR_REASON_NOMEM);
        return WEIR_VERDICT_NOMEM;
    }
    for (size_t i = 0; i < ps->count; i++)
        admit_part(ps->from, &ps->parts[i], &copies);
    return WEIR_VERDICT_ACCEPTED;
}
