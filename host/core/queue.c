#include "core/queue.h"

#include "core/event.h"
#include "core/gate.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/waiter.h"
#include "core/worker.h"

enum { COUNT_SHIFT = 40 };
static const uint64_t one_event = 1ULL << COUNT_SHIFT;
static const uint64_t bytes_mask = (1ULL << COUNT_SHIFT) - 1;

size_t weir_queue_depth(const struct weir_queue *q)
{
    return (size_t)(atomic_load_explicit(&q->load, memory_order_acquire) >> COUNT_SHIFT); /* weir_gate_fits says why */
}

size_t weir_queue_bytes(const struct weir_queue *q)
{
    return (size_t)(atomic_load_explicit(&q->load, memory_order_relaxed) & bytes_mask);
}

static enum weir_reason take_room(struct weir_queue *q, size_t bytes)
{
    uint64_t load = atomic_load(&q->load); /* seq_cst: weir_queue_release says why */
    do {
        if ((load >> COUNT_SHIFT) >= q->capacity)
            return WEIR_REASON_FULL;
        if ((load & bytes_mask) + bytes > q->bytes)
            return WEIR_REASON_BYTES;
    } while (!atomic_compare_exchange_weak(&q->load, &load, load + one_event + bytes));
    return WEIR_REASON_NONE;
}

/* Only one at a time comes here, so what is left can only grow meanwhile. */
static enum weir_reason take_share_locked(struct weir_queue *q, const struct weir_event *ev, bool waits)
{
    struct weir_fair *fair = q->shared.fair;
    uint64_t load = atomic_load(&q->load);
    size_t events = q->capacity - (size_t)(load >> COUNT_SHIFT), bytes = q->bytes - (size_t)(load & bytes_mask);
    if (!weir_fair_has_share(fair, ev, events, bytes, waits))
        return WEIR_REASON_SHARE;
    enum weir_reason why = take_room(q, ev->bytes);
    if (why != WEIR_REASON_NONE || weir_fair_hold(fair, ev))
        return why;
    atomic_fetch_sub(&q->load, one_event + ev->bytes);
    return WEIR_REASON_NOMEM;
}

enum weir_reason weir_queue_reserve_locked(struct weir_queue *q, const struct weir_event *ev, bool waits)
{
    return q->shared.fair == NULL ? take_room(q, ev->bytes) : take_share_locked(q, ev, waits);
}

enum weir_reason weir_queue_reserve(struct weir_queue *q, const struct weir_event *ev)
{
    if (q->shared.fair == NULL)
        return take_room(q, ev->bytes);
    weir_mutex_lock(&q->shared.mu);
    enum weir_reason why = take_share_locked(q, ev, false);
    weir_mutex_unlock(&q->shared.mu);
    return why;
}

bool weir_queue_has_line(const struct weir_queue *q)
{
    return atomic_load_explicit(&q->shared.waiting, memory_order_relaxed) > 0 && q->shared.fair == NULL;
}

void weir_queue_release(struct weir_worker *w, struct weir_stage *stage, const struct weir_event *ev)
{
    struct weir_queue *q = &stage->queue;
    if (q->shared.fair != NULL) {
        weir_mutex_lock(&q->shared.mu);
        weir_fair_give_up(q->shared.fair, ev);
        weir_mutex_unlock(&q->shared.mu);
    }
    atomic_fetch_sub(&q->load, one_event + ev->bytes);
    if (atomic_load(&q->shared.waiting) > 0) /* seq_cst on both sides: either this sees the waiter or the waiter sees the room */
        weir_waiter_admit(w, stage);
}

static uint64_t hash_of(const struct weir_queue_keys *keys, const struct weir_event *ev)
{
    switch (keys->by) {
    case WEIR_BY_NONE:
        break;
    case WEIR_BY_KEY:
        return ev->key;
    case WEIR_BY_SOURCE:
        return ev->source * 0x9e3779b97f4a7c15ULL >> 32;
    case WEIR_BY_FIELD:
        return weir_value_hash(ev->value, keys->field);
    }
    return 0;
}

void weir_queue_place(const struct weir_queue *q, struct weir_event *ev)
{
    if (q->keys.by == WEIR_BY_NONE)
        return;
    uint64_t h = hash_of(&q->keys, ev);
    ev->place = (uint32_t)(q->keys.fair ? h : h % WEIR_PARTITIONS);
}

void weir_queue_share(struct weir_stage *stage, struct weir_list *events)
{
    struct weir_shared_lane *shared = &stage->queue.shared;
    struct weir_list *node;
    bool takeable = false;
    weir_mutex_lock(&shared->mu);
    while ((node = weir_list_take_first(events)) != NULL)
        takeable = weir_shared_lane_push_locked(shared, WEIR_LIST_ENTRY(node, struct weir_event, node));
    weir_pool_set_ready_locked(stage->pool, stage, takeable);
    weir_mutex_unlock(&shared->mu);
    if (takeable)
        weir_pool_wake(stage->pool, stage);
}

static bool newest_first(const struct weir_stage *s)
{
    const struct weir_queue *q = &s->queue;
    if (s->gate != NULL)
        return weir_gate_overloaded(s->gate);
    return weir_queue_depth(q) * 2 >= q->capacity;
}

static size_t take_own(struct weir_seat *seat, struct weir_event **out, size_t max)
{
    struct weir_worker *w = seat->worker;
    size_t n = weir_lane_take(&seat->lane, out, max, newest_first(seat->stage));
    if (seat->lane.count == 0)
        w->ready[seat->stage->rank / 64] &= ~(1ULL << (seat->stage->rank % 64));
    return n;
}

static size_t take_shared(struct weir_seat *seat, struct weir_event **out, size_t max)
{
    struct weir_stage *stage = seat->stage;
    struct weir_shared_lane *shared = &stage->queue.shared;
    bool left;
    weir_mutex_lock(&shared->mu);
    size_t n = weir_shared_lane_take_locked(shared, out, max, newest_first(stage), stage->takes_batches, &left);
    weir_pool_set_ready_locked(stage->pool, stage, left);
    weir_mutex_unlock(&shared->mu);
    if (left)
        weir_pool_wake(stage->pool, stage);
    return n;
}

static bool shared_has_events(const struct weir_stage *stage)
{
    uint64_t word = atomic_load(&stage->pool->ready[stage->rank / 64]);
    return word >> (stage->rank % 64) & 1;
}

/* How much a worker takes from the shared lane at once: no more than it can handle soon, so that others get their part. */
static size_t shared_share(const struct weir_seat *seat, size_t max)
{
    size_t share = seat->stage->pool->blocking ? 1 : seat->share;
    if (seat->stage->takes_batches)
        share = max;
    return share < max ? share : max;
}

size_t weir_queue_take(struct weir_seat *seat, struct weir_event **out, size_t max)
{
    bool own = seat->lane.count > 0, shared = shared_has_events(seat->stage);
    size_t n = 0;
    if (!own) /* drop_oldest may have emptied it */
        seat->worker->ready[seat->stage->rank / 64] &= ~(1ULL << (seat->stage->rank % 64));
    if (own && !(shared && seat->shared_first))
        n = take_own(seat, out, max);
    else if (shared)
        n = take_shared(seat, out, shared_share(seat, max));
    seat->shared_first = !seat->shared_first;
    return n;
}
