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

enum weir_reason weir_queue_reserve(struct weir_queue *q, size_t bytes)
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

void weir_queue_release(struct weir_worker *w, struct weir_stage *stage, size_t bytes)
{
    struct weir_queue *q = &stage->queue;
    atomic_fetch_sub(&q->load, one_event + bytes);
    if (atomic_load(&q->shared.waiting) > 0) /* seq_cst on both sides: either this sees the waiter or the waiter sees the room */
        weir_waiter_admit(w, stage);
}

uint8_t weir_queue_partition(const struct weir_queue *q, const struct weir_event *ev)
{
    uint64_t h = 0;
    switch (q->order_by) {
    case WEIR_ORDER_BY_NONE:
        break;
    case WEIR_ORDER_BY_KEY:
        h = ev->key;
        break;
    case WEIR_ORDER_BY_SOURCE:
        h = ev->source * 0x9e3779b97f4a7c15ULL >> 32;
        break;
    case WEIR_ORDER_BY_FIELD:
        h = weir_value_hash(ev->value, q->order_field);
        break;
    }
    return (uint8_t)(h % WEIR_PARTITIONS);
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
