#include "core/pool.h"

#include "core/graph.h"
#include "core/pause.h"
#include "core/seat.h"
#include "core/worker.h"

void weir_pool_set_ready_locked(struct weir_pool *p, struct weir_stage *stage, bool ready)
{
    _Atomic uint64_t *word = &p->ready[stage->rank / 64];
    uint64_t bit = 1ULL << (stage->rank % 64);
    bool set = atomic_load_explicit(word, memory_order_relaxed) & bit; /* only this stage's lock changes this bit */
    if (ready && !set)
        atomic_fetch_or(word, bit);
    else if (!ready && set)
        atomic_fetch_and(word, ~bit);
}

static void unlink_locked(struct weir_pool *p, struct weir_worker *w)
{
    struct weir_worker **at = &p->parked;
    while (*at != w)
        at = &(*at)->parked_next;
    *at = w->parked_next;
    w->parked = false;
    atomic_fetch_sub(&p->parked_count, 1);
}

static struct weir_worker *newest_able_locked(struct weir_pool *p, const struct weir_stage *stage)
{
    for (struct weir_worker *w = p->parked; w != NULL; w = w->parked_next)
        if (!atomic_load_explicit(&w->seats[stage->index]->saturated, memory_order_relaxed))
            return w;
    return NULL;
}

void weir_pool_wake(struct weir_pool *p, struct weir_stage *stage)
{
    if (atomic_load(&p->parked_count) == 0 || atomic_load(&p->waking) || weir_stage_is_paused(stage))
        return;
    weir_mutex_lock(&p->mu);
    /* `waking` is true only while a worker that was chosen is on its way: a try that finds nobody must not hide another stage's event. */
    struct weir_worker *w = atomic_load(&p->waking) ? NULL : newest_able_locked(p, stage);
    if (w != NULL) {
        unlink_locked(p, w);
        atomic_store(&p->waking, true);
        uv_async_send(&w->inbox.wake); /* under the lock: the worker can't leave meanwhile */
    }
    weir_mutex_unlock(&p->mu);
}

void weir_pool_wake_ready(struct weir_pool *p, struct weir_stage *stage)
{
    if ((atomic_load(&p->ready[stage->rank / 64]) >> (stage->rank % 64) & 1) != 0)
        weir_pool_wake(p, stage);
}

void weir_pool_park(struct weir_pool *p, struct weir_worker *w)
{
    weir_mutex_lock(&p->mu);
    w->parked_next = p->parked;
    p->parked = w;
    w->parked = true;
    atomic_fetch_add(&p->parked_count, 1);
    weir_mutex_unlock(&p->mu);
}

bool weir_pool_unpark(struct weir_pool *p, struct weir_worker *w)
{
    weir_mutex_lock(&p->mu);
    bool woken = !w->parked; /* by weir_pool_wake, which meant this worker */
    if (w->parked)
        unlink_locked(p, w);
    else
        atomic_store(&p->waking, false); /* before it looks at `ready`: a later event wakes anew */
    weir_mutex_unlock(&p->mu);
    return woken;
}

static void destroy_made(struct weir_pool *p, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        weir_worker_destroy(p->workers[i]);
        p->workers[i] = NULL;
    }
}

static int grow(struct weir_pool *p, unsigned size, struct weir_err *reterr)
{
    unsigned old = p->target;
    for (unsigned i = old; i < size; i++) {
        if (p->workers[i] != NULL)
            return weir_err_set(reterr, WEIR_E_EXISTS, "pool '%s': worker %u is still leaving; try again later", p->name, i);
    }
    for (unsigned i = old; i < size; i++) {
        int rc = weir_worker_create(p, p->first_slot + i, &p->workers[i], reterr);
        if (rc < 0) {
            destroy_made(p, old, i);
            return rc;
        }
    }
    for (unsigned i = old; i < size; i++) {
        int rc = weir_worker_start(p->workers[i], reterr);
        if (rc < 0) { /* the ones that run stay: the pool is larger than before, never smaller */
            destroy_made(p, i, size);
            return rc;
        }
        p->target = i + 1;
        atomic_fetch_add_explicit(&p->live, 1, memory_order_relaxed);
    }
    return WEIR_OK;
}

int weir_pool_resize(struct weir_pool *p, unsigned size, struct weir_err *reterr)
{
    if (size < 1 || size > p->slot_count)
        return weir_err_set(reterr, WEIR_E_INVAL, "pool '%s': %u workers asked for, expected 1 to %u", p->name, size, p->slot_count);
    weir_pool_reap(p);
    if (size > p->target)
        return grow(p, size, reterr);
    while (p->target > size) {
        p->target--;
        atomic_fetch_sub_explicit(&p->live, 1, memory_order_relaxed);
        weir_worker_order(p->workers[p->target], WEIR_ORDER_RETIRE);
    }
    return WEIR_OK;
}

unsigned weir_pool_reap(struct weir_pool *p)
{
    unsigned left = 0;
    for (unsigned i = 0; i < p->slot_count; i++) {
        struct weir_worker *w = p->workers[i];
        if (w == NULL)
            continue;
        if (atomic_load_explicit(&w->state, memory_order_acquire) != WEIR_WORKER_GONE) {
            left++;
            continue;
        }
        weir_worker_destroy(w);
        p->workers[i] = NULL;
        if (i < p->target) { /* it was told to leave, not to retire: the host stops */
            p->target = i;
            atomic_store_explicit(&p->live, i, memory_order_relaxed);
        }
    }
    return left;
}

void weir_pool_join(struct weir_pool *p)
{
    for (unsigned i = 0; i < p->slot_count; i++)
        if (p->workers[i] != NULL)
            weir_worker_join(p->workers[i]);
}

bool weir_pool_gone(const struct weir_pool *p)
{
    for (unsigned i = 0; i < p->slot_count; i++)
        if (p->workers[i] != NULL &&
            atomic_load_explicit(&p->workers[i]->state, memory_order_acquire) == WEIR_WORKER_RUNNING)
            return false;
    return true;
}

void weir_pool_clear(struct weir_pool *p)
{
    destroy_made(p, 0, p->slot_count);
    p->target = 0;
    atomic_store_explicit(&p->live, 0, memory_order_relaxed);
}

void weir_pool_order(struct weir_pool *p, unsigned orders)
{
    for (unsigned i = 0; i < p->slot_count; i++)
        if (p->workers[i] != NULL)
            weir_worker_order(p->workers[i], orders);
}

bool weir_pool_quiet(struct weir_pool *p)
{
    for (unsigned i = 0; i < p->slot_count; i++)
        if (p->workers[i] != NULL && !weir_worker_quiet(p->workers[i]))
            return false;
    return true;
}

double weir_pool_busy(struct weir_pool *p, struct weir_pool_load *last, uint64_t now_ns)
{
    uint64_t idle = 0;
    unsigned workers = 0;
    for (unsigned i = 0; i < p->slot_count; i++) {
        if (p->workers[i] == NULL)
            continue;
        idle += weir_worker_idle_ns(p->workers[i], now_ns);
        workers++;
    }
    double span = (double)(now_ns - last->at_ns) * workers;
    double busy = span <= 0 || idle < last->idle_ns ? 0 : 1.0 - (double)(idle - last->idle_ns) / span;
    *last = (struct weir_pool_load){.at_ns = now_ns, .idle_ns = idle};
    return busy < 0 ? 0 : busy > 1 ? 1 : busy;
}
