#include "core/seat.h"

#include "core/event.h"
#include "core/failures.h"
#include "core/gate.h"
#include "core/graph.h"
#include "core/on_error.h"
#include "core/pool.h"
#include "core/relief.h"
#include "core/stage.h"
#include "core/tap.h"
#include "core/worker.h"

enum { MEAN_WEIGHT = 16 };

static void count_reason(struct weir_ledger *l, enum weir_reason reason)
{
    if (reason != WEIR_REASON_NONE)
        weir_ledger_add(&l->reasons[reason], 1);
}

/* In an ordered queue: the event's partition may go on. */
static void release_partition(struct weir_seat *seat, const struct weir_event *ev)
{
    struct weir_stage *stage = seat->stage;
    struct weir_shared_lane *shared = &stage->queue.shared;
    if (shared->partitions == NULL)
        return;
    weir_worker_flush(seat->worker); /* what this event emitted is in the next queue before the key's next event can emit */
    weir_mutex_lock(&shared->mu);
    bool ready = weir_shared_lane_release_locked(shared, ev->place);
    if (ready)
        weir_pool_set_ready_locked(stage->pool, stage, true);
    weir_mutex_unlock(&shared->mu);
    if (ready)
        weir_pool_wake(stage->pool, stage);
}

static bool has_others(const struct weir_seat *seat)
{
    return atomic_load_explicit(&seat->stage->pool->live, memory_order_relaxed) > 1;
}

/* After a change of `held` or `running`. */
static void set_saturated(struct weir_seat *seat)
{
    struct weir_worker *w = seat->worker;
    size_t rank = seat->stage->rank;
    bool saturated = seat->held || seat->running >= seat->stage->concurrency;
    atomic_store_explicit(&seat->saturated, saturated, memory_order_relaxed);
    if (saturated)
        w->saturated[rank / 64] |= 1ULL << (rank % 64);
    else
        w->saturated[rank / 64] &= ~(1ULL << (rank % 64));
}

void weir_seat_spill(struct weir_seat *seat)
{
    struct weir_list events;
    struct weir_event *ev;
    weir_list_init(&events);
    while ((ev = weir_lane_take_oldest(&seat->lane, 0)) != NULL)
        weir_list_append(&events, &ev->node);
    seat->worker->ready[seat->stage->rank / 64] &= ~(1ULL << (seat->stage->rank % 64));
    if (!weir_list_empty(&events))
        weir_queue_share(seat->stage, &events);
}

void weir_seat_hold(struct weir_seat *seat)
{
    if (seat->held)
        return;
    seat->held = true;
    set_saturated(seat);
    if (!has_others(seat))
        return;
    weir_seat_spill(seat);
    weir_pool_wake_ready(seat->stage->pool, seat->stage); /* who takes from it was to be this one */
}

void weir_seat_release(struct weir_seat *seat)
{
    seat->held = false;
    set_saturated(seat);
}

void weir_seat_give_back(struct weir_seat *seat, struct weir_event **evs, size_t n)
{
    struct weir_stage *stage = seat->stage;
    struct weir_shared_lane *shared = &stage->queue.shared;
    if (n == 0)
        return;
    if (stage->queue.keys.by == WEIR_BY_NONE && !has_others(seat)) {
        for (size_t i = n; i-- > 0;)
            weir_lane_put_back(&seat->lane, evs[i]);
        weir_worker_set_ready(seat->worker, stage->rank);
        return;
    }
    bool takeable = false;
    weir_mutex_lock(&shared->mu);
    for (size_t i = n; i-- > 0;)
        takeable = weir_shared_lane_put_back_locked(shared, evs[i]);
    weir_pool_set_ready_locked(stage->pool, stage, takeable);
    weir_mutex_unlock(&shared->mu);
    if (takeable)
        weir_pool_wake(stage->pool, stage);
}

void weir_seat_worked(struct weir_seat *seat, uint64_t began_ns, uint64_t before_ns)
{
    struct weir_worker *w = seat->worker;
    uint64_t inside = w->worked_ns - before_ns, all = w->now_ns > began_ns ? w->now_ns - began_ns : 0;
    if (all <= inside)
        return;
    w->worked_ns += all - inside;
    weir_seat_add_time(&seat->worked_ns, all - inside);
}

static void leave_queue(struct weir_seat *seat, const struct weir_event *ev)
{
    weir_ledger_add(&seat->ledger.queued, -1);
    weir_ledger_add(&seat->ledger.queued_bytes, -(int64_t)ev->bytes);
    weir_queue_release(seat->worker, seat->stage, ev);
}

enum weir_reason weir_seat_why_expired(const struct weir_seat *seat, const struct weir_event *ev)
{
    uint64_t now = seat->worker->now_ns;
    if (ev->deadline_ns != 0 && now > ev->deadline_ns)
        return WEIR_REASON_DEADLINE;
    uint64_t max_age = seat->stage->queue.max_age_ns;
    if (max_age != 0 && now > ev->enqueued_ns && now - ev->enqueued_ns > max_age) /* another worker's clock reading may be the later */
        return WEIR_REASON_MAX_AGE;
    if (ev->request != NULL && ev->request->ops->gone(ev->request))
        return WEIR_REASON_GONE;
    return WEIR_REASON_NONE;
}

static void end_request(struct weir_seat *seat, struct weir_event *ev, enum weir_request_end why)
{
    struct weir_request *request = ev->request;
    ev->request = NULL;
    if (request != NULL)
        request->ops->end(request, seat->worker, why);
}

/* `why` a taken event is not begun: it expired; or the gate sheds it. NONE: it is begun, and counts as running for the gate before it
 * leaves the queue. Apart from weir_seat_begin, whose way without a gate is to stay short. */
__attribute__((noinline)) static enum weir_reason ask_gate(struct weir_seat *seat, const struct weir_event *ev, uint64_t waited,
                                                           enum weir_reason why)
{
    struct weir_gate *gate = seat->stage->gate;
    bool shed = weir_gate_taken(seat, ev->class_index, waited);
    if (why == WEIR_REASON_NONE && shed)
        why = WEIR_REASON_SHED;
    if (why == WEIR_REASON_NONE)
        weir_gate_begin(gate);
    return why;
}

/* Ends `ev`, which has left the queue and is not begun. */
__attribute__((noinline)) static void end_taken(struct weir_seat *seat, struct weir_event *ev, enum weir_reason why)
{
    struct weir_ledger *l = &seat->ledger;
    bool shed = why == WEIR_REASON_SHED;
    weir_ledger_add(shed ? &l->dropped : &l->expired, 1);
    count_reason(l, why);
    release_partition(seat, ev);
    if (shed)
        weir_request_note(ev->request, seat->stage, why, 0);
    end_request(seat, ev, shed ? WEIR_REQUEST_DROPPED : WEIR_REQUEST_EXPIRED);
    weir_event_free(seat->worker, ev);
}

bool weir_seat_begin(struct weir_seat *seat, struct weir_event *ev)
{
    struct weir_worker *w = seat->worker;
    struct weir_ledger *l = &seat->ledger;
    uint64_t waited = w->now_ns > ev->enqueued_ns ? w->now_ns - ev->enqueued_ns : 0;
    enum weir_reason why = weir_seat_why_expired(seat, ev);
    if (seat->stage->gate != NULL)
        why = ask_gate(seat, ev, waited, why);
    leave_queue(seat, ev);
    if (why != WEIR_REASON_NONE) {
        end_taken(seat, ev, why);
        return false;
    }
    ev->started_ns = w->now_ns;
    seat->begun++;
    seat->running++;
    weir_ledger_add(&l->running, 1);
    weir_hist_record(&l->wait_ns, waited);
    if (ev->request != NULL)
        ev->request->waited_ns += waited;
    if (seat->running >= seat->stage->concurrency)
        set_saturated(seat);
    struct weir_taps *taps = atomic_load_explicit(&seat->stage->taps, memory_order_acquire);
    if (taps != NULL)
        weir_taps_pass(taps, seat, ev);
    return true;
}

static void note_service(struct weir_seat *seat, uint64_t ns)
{
    weir_hist_record(&seat->ledger.service_ns, ns);
    seat->mean_service_ns += ((double)ns - seat->mean_service_ns) / MEAN_WEIGHT;
    double fit = (double)seat->stage->slice_ns / (seat->mean_service_ns + 1.0);
    seat->share = fit < 1.0 ? 1 : (size_t)fit;
}

/* Over a limit is a failure, however late it is by then; a handler that fails or returns after its deadline has only been too late. */
static enum weir_request_end why_unanswered(const struct weir_event *ev, enum weir_reason reason, uint64_t now)
{
    switch (reason) {
    case WEIR_REASON_CPU:
    case WEIR_REASON_WALL:
    case WEIR_REASON_STALL:
    case WEIR_REASON_MEMORY:
        return WEIR_REQUEST_FAILED;
    default:
        break;
    }
    if (weir_reason_is_expired(reason) || (ev->deadline_ns != 0 && now > ev->deadline_ns))
        return WEIR_REQUEST_EXPIRED;
    if (reason == WEIR_REASON_CANCELLED)
        return WEIR_REQUEST_DROPPED;
    if (reason != WEIR_REASON_NONE)
        return WEIR_REQUEST_FAILED;
    return ev->request->refused ? WEIR_REQUEST_REFUSED : WEIR_REQUEST_UNANSWERED;
}

static void count_end(struct weir_seat *seat, const struct weir_event *ev, enum weir_reason reason, const char *error)
{
    struct weir_ledger *l = &seat->ledger;
    weir_ledger_add(&l->running, -1);
    if (reason == WEIR_REASON_NONE) {
        weir_ledger_add(&l->handled, 1);
        return;
    }
    count_reason(l, reason);
    if (weir_reason_is_expired(reason)) {
        weir_ledger_add(&l->expired, 1);
        return;
    }
    weir_failures_note(seat->stage->graph->failures, seat, ev, reason, error);
    weir_on_error_offer(seat, ev, reason, error); /* before it counts as ended: what is in flight is never nothing in between */
    weir_ledger_add(&l->failed, 1);
}

void weir_seat_end(struct weir_seat *seat, struct weir_event *ev, enum weir_reason reason, const char *error)
{
    struct weir_worker *w = seat->worker;
    uint64_t now = weir_worker_now(w);
    seat->running--;
    if (seat->tally != NULL) /* before it counts as ended: when nothing is in flight, the gate counts nothing either */
        weir_gate_end(seat, ev->class_index, now > ev->arrival_ns ? now - ev->arrival_ns : 0);
    if (atomic_load_explicit(&seat->saturated, memory_order_relaxed))
        set_saturated(seat);
    count_end(seat, ev, reason, error);
    note_service(seat, now - ev->started_ns);
    release_partition(seat, ev);
    if (ev->request != NULL)
        end_request(seat, ev, why_unanswered(ev, reason, now));
    weir_event_free(w, ev);
    weir_worker_flush_due(w);
}

/* ---- a turn ---- */

void weir_seat_publish_memory(struct weir_seat *seat)
{
    const struct weir_handler *h = seat->handler;
    atomic_store_explicit(&seat->handler_bytes, (int64_t)h->ops->memory(h), memory_order_relaxed);
}

/* How many events its handler gets in one go: sockets are to wait for no more than WEIR_POLL_AFTER_NS and one call. */
static size_t turn_share(const struct weir_seat *seat, size_t max)
{
    double fit = WEIR_POLL_AFTER_NS / (seat->mean_service_ns + 1.0);
    if (seat->stage->takes_batches || seat->stage->pool->blocking || fit >= (double)max)
        return max;
    return fit < 1.0 ? 1 : (size_t)fit;
}

/* Hands up to `max` events to the handler, and more of them when none was begun: what expired or was shed costs little, and is not to take as many
 * turns as calls would. */
static bool handle_some(struct weir_seat *seat, size_t max)
{
    struct weir_worker *w = seat->worker;
    struct weir_handler *h = seat->handler;
    uint64_t began = w->now_ns, before = w->worked_ns, calls = seat->begun;
    size_t n = weir_queue_take(seat, w->batch, max);
    if (n == 0)
        return false;
    do
        h->ops->handle(h, w->batch, n);
    while (seat->begun == calls && !seat->held && weir_worker_now(w) - began < WEIR_POLL_AFTER_NS && (n = weir_queue_take(seat, w->batch, max)) > 0);
    weir_seat_worked(seat, began, before);
    return true;
}

bool weir_seat_run(struct weir_seat *seat)
{
    struct weir_worker *w = seat->worker;
    size_t room = seat->stage->concurrency - seat->running;
    size_t batch = weir_relief_batch(w->graph, atomic_load_explicit(&seat->stage->batch, memory_order_relaxed));
    size_t max = batch < room ? batch : room;
    if (!handle_some(seat, turn_share(seat, max)))
        return false;
    weir_seat_publish_memory(seat);
    bool suspended = seat->running >= seat->stage->concurrency; /* by calls that outlived the batch: it may take long */
    if (suspended && atomic_load_explicit(&w->pool->live, memory_order_relaxed) > 1)
        weir_seat_spill(seat);
    return true;
}
