#include "core/worker.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/event.h"
#include "core/graph.h"
#include "core/pool.h"
#include "core/relief.h"
#include "core/service.h"
#include "core/stage.h"
#include "core/waiter.h"
#include "core/watchdog.h"

enum {
    READ_CLOCK_ROUNDS = 16,
    FLUSH_AFTER_NS = 20000, /* an accepted event reaches another pool no later than this and one call */
};

static _Thread_local struct weir_worker *current;

struct weir_worker *weir_worker_current(void)
{
    return current;
}

void weir_worker_post(struct weir_worker *w, struct weir_message *m)
{
    weir_inbox_post(&w->inbox, m);
}

/* The first reading of the clock since the poll, by a callback of the loop or at the end of the poll: callbacks may run logic, so
 * nobody must take this worker for a parked one from here on. */
static void leave_park(struct weir_worker *w, uint64_t parked_ns)
{
    atomic_store_explicit(&w->polled_ns, w->now_ns, memory_order_relaxed);
    atomic_store_explicit(&w->parked_ns, 0, memory_order_relaxed);
    weir_hist_add_relaxed(&w->idle_ns, w->now_ns - parked_ns);
    weir_watch_rouse(&w->watch);
    if (w->in_pool)
        w->woken = weir_pool_unpark(w->pool, w);
    w->in_pool = false;
}

uint64_t weir_worker_now(struct weir_worker *w)
{
    w->now_ns = weir_clock_ns();
    uint64_t parked_ns = atomic_load_explicit(&w->parked_ns, memory_order_relaxed);
    if (parked_ns != 0)
        leave_park(w, parked_ns);
    return w->now_ns;
}

void weir_worker_order(struct weir_worker *w, unsigned orders)
{
    atomic_fetch_or_explicit(&w->orders, orders, memory_order_acq_rel);
    weir_mutex_lock(&w->pool->mu);
    if (!w->leaving)
        uv_async_send(&w->inbox.wake);
    weir_mutex_unlock(&w->pool->mu);
}

void weir_worker_flush(struct weir_worker *w)
{
    struct weir_list *node;
    while ((node = weir_list_take_first(&w->outbound)) != NULL) {
        struct weir_seat *seat = WEIR_LIST_ENTRY(node, struct weir_seat, outbound_node);
        w->outbound_count -= seat->outbound_count;
        seat->outbound_count = 0;
        weir_queue_share(seat->stage, &seat->outbound);
    }
}

void weir_worker_flush_due(struct weir_worker *w)
{
    if (w->outbound_count > 0 && w->now_ns - w->outbound_since_ns > FLUSH_AFTER_NS)
        weir_worker_flush(w);
}

/* ---- a round ---- */

static bool takes_shared(const struct weir_worker *w)
{
    if (w->obeyed & WEIR_ORDER_CANCEL)
        return false;
    return !(w->obeyed & WEIR_ORDER_RETIRE) || atomic_load_explicit(&w->pool->live, memory_order_relaxed) == 0;
}

/* The seats of word `i` that can begin a call now. */
static uint64_t runnable(const struct weir_worker *w, size_t i)
{
    if (w->obeyed & WEIR_ORDER_CANCEL)
        return 0;
    uint64_t shared = takes_shared(w) ? atomic_load(&w->pool->ready[i]) : 0;
    uint64_t paused = atomic_load_explicit(&w->pool->paused[i], memory_order_relaxed);
    return (w->ready[i] | shared) & ~w->saturated[i] & ~paused;
}

static bool has_work(const struct weir_worker *w)
{
    if (!weir_list_empty(&w->aside))
        return true;
    for (size_t i = 0; i < w->words; i++)
        if (runnable(w, i) != 0)
            return true;
    return false;
}

static bool run_round(struct weir_worker *w)
{
    bool ran = false;
    for (size_t i = 0; i < w->words; i++) {
        uint64_t bits = runnable(w, i);
        while (bits != 0) {
            size_t rank = i * 64 + (size_t)__builtin_ctzll(bits);
            bits &= bits - 1;
            ran |= weir_seat_run(w->by_rank[rank]);
        }
    }
    return ran;
}

static void run_rounds(struct weir_worker *w)
{
    uint64_t began = w->now_ns;
    for (unsigned round = 1; run_round(w) && w->now_ns - began < WEIR_POLL_AFTER_NS; round++) {
        if (round % READ_CLOCK_ROUNDS == 0)
            weir_worker_now(w); /* the end of a call reads it, but calls may suspend and events expire for long */
        weir_worker_flush_due(w);
    }
}

void weir_worker_set_aside(struct weir_worker *w, struct weir_aside *a)
{
    if (weir_list_empty(&a->node)) /* else it is there already: its reasons to run may come together */
        weir_list_append(&w->aside, &a->node);
}

/* One a turn: each may use up a slice, and sockets and short calls come first. */
static void run_aside(struct weir_worker *w)
{
    struct weir_list *node = weir_list_take_first(&w->aside);
    if (node == NULL)
        return;
    struct weir_aside *a = WEIR_LIST_ENTRY(node, struct weir_aside, node);
    weir_worker_flush(w); /* what others wait for does not wait for it */
    a->run(a);
    weir_worker_now(w);
}

/* ---- orders ---- */

static void each_source(struct weir_worker *w, void (*fn)(struct weir_source *s))
{
    for (size_t i = 0; i < w->graph->stage_count; i++)
        if (w->seats[i]->source != NULL)
            fn(w->seats[i]->source);
}

static void stop_source(struct weir_source *s)
{
    s->ops->stop(s);
}

static void close_source(struct weir_source *s)
{
    s->ops->close(s);
}

static void close_handlers(struct weir_worker *w)
{
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        struct weir_seat *seat = w->seats[i];
        if (seat->handler != NULL)
            seat->handler->ops->close(seat->handler);
        seat->handler = NULL;
        atomic_store_explicit(&seat->handler_bytes, 0, memory_order_relaxed);
    }
}

static bool sources_idle(const struct weir_worker *w)
{
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        struct weir_source *s = w->seats[i]->source;
        if (s != NULL && !s->ops->idle(s))
            return false;
    }
    return true;
}

static void spill_lanes(struct weir_worker *w)
{
    for (size_t i = 0; i < w->graph->stage_count; i++)
        weir_seat_spill(w->seats[i]);
}

static void drop_queued(struct weir_worker *w, struct weir_seat *seat)
{
    struct weir_stage *stage = seat->stage;
    struct weir_shared_lane *shared = &stage->queue.shared;
    for (;;) {
        weir_mutex_lock(&shared->mu);
        struct weir_event *ev = weir_shared_lane_take_oldest_locked(shared, NULL);
        weir_mutex_unlock(&shared->mu);
        if (ev == NULL)
            return;
        weir_ledger_add(&seat->ledger.queued, -1);
        weir_ledger_add(&seat->ledger.queued_bytes, -(int64_t)ev->bytes);
        weir_ledger_add(&seat->ledger.dropped, 1);
        weir_ledger_add(&seat->ledger.reasons[WEIR_REASON_SHUTDOWN], 1);
        weir_queue_release(w, stage, ev);
        if (ev->request != NULL)
            ev->request->ops->end(ev->request, w, WEIR_REQUEST_DROPPED);
        ev->request = NULL;
        weir_event_free(w, ev);
    }
}

/* Repeated at the end of each turn: an answer or another worker may bring something still. */
static void cancel_all(struct weir_worker *w)
{
    spill_lanes(w);
    weir_worker_flush(w);
    weir_waiter_sweep(w, true);
    weir_inbox_drain(&w->inbox); /* waits that were let in just before: no emission outlives the call that made it */
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        struct weir_handler *h = w->seats[i]->handler;
        if (h != NULL)
            h->ops->cancel(h);
    }
    weir_worker_flush(w);
    for (size_t i = 0; i < w->graph->stage_count; i++)
        drop_queued(w, w->seats[i]);
}

static bool nothing_left(const struct weir_worker *w)
{
    if (!weir_list_empty(&w->outbound) || !weir_list_empty(&w->waits) || w->replies > 0 || !sources_idle(w))
        return false;
    for (size_t i = 0; i < w->graph->stage_count; i++)
        if (w->seats[i]->running > 0 || w->seats[i]->lane.count > 0 || atomic_load_explicit(&w->seats[i]->unfinished, memory_order_relaxed) > 0)
            return false;
    return true;
}

/* Wakes others for what is ready and this worker can't take. */
static void pass_on(const struct weir_worker *w)
{
    for (size_t i = 0; i < w->words; i++) {
        uint64_t bits = atomic_load(&w->pool->ready[i]) & ~runnable(w, i);
        for (; bits != 0; bits &= bits - 1)
            weir_pool_wake(w->pool, w->by_rank[i * 64 + (size_t)__builtin_ctzll(bits)]->stage);
    }
}

/* Returns whether the worker should leave. */
static bool obey(struct weir_worker *w)
{
    unsigned orders = atomic_load_explicit(&w->orders, memory_order_acquire);
    if (orders == 0)
        return false;
    unsigned given = orders;
    if (orders & WEIR_ORDER_LEAVE)
        orders |= WEIR_ORDER_CANCEL;
    unsigned fresh = orders & ~w->obeyed;
    w->obeyed = orders;
    if (fresh & (WEIR_ORDER_STOP_SOURCES | WEIR_ORDER_RETIRE))
        each_source(w, stop_source);
    if (fresh & WEIR_ORDER_RETIRE) {
        spill_lanes(w);
        pass_on(w);
    }
    if (orders & WEIR_ORDER_CANCEL)
        cancel_all(w);
    if ((orders & WEIR_ORDER_CANCEL) || sources_idle(w))
        atomic_store_explicit(&w->quiet_for, given, memory_order_release);
    return (orders & WEIR_ORDER_LEAVE) || ((orders & WEIR_ORDER_RETIRE) && nothing_left(w));
}

/* ---- the turn ---- */

/* A loop runs timers that are due before it polls. What they did (ended a call, say) is not in has_work, which was asked before, so the
 * poll must not sleep then: the time moved on since. Nor may it once a callback took the worker out of its park. */
static void on_before_poll(uv_prepare_t *prepare)
{
    struct weir_worker *w = prepare->data;
    if (uv_now(&w->loop) != w->polled_ms || atomic_load_explicit(&w->parked_ns, memory_order_relaxed) == 0)
        uv_stop(&w->loop);
}

static bool timer_is_due(struct weir_worker *w)
{
    uv_update_time(&w->loop);
    w->polled_ms = uv_now(&w->loop);
    return uv_backend_timeout(&w->loop) == 0;
}

static void park(struct weir_worker *w)
{
    w->woken = false;
    w->in_pool = takes_shared(w); /* else a wake-up for others' work would end here */
    if (w->in_pool)
        weir_pool_park(w->pool, w);
    w->now_ns = weir_clock_ns();
    weir_relief_note_turn(w);
    atomic_store_explicit(&w->parked_ns, w->now_ns, memory_order_relaxed);
    weir_watch_rest(&w->watch);
}

static void poll_loop(struct weir_worker *w)
{
    bool idle = !has_work(w) && weir_inbox_park(&w->inbox);
    if (!idle) {
        uv_run(&w->loop, UV_RUN_NOWAIT);
        weir_worker_now(w);
        weir_relief_note_turn(w);
        return;
    }
    park(w);
    uv_run(&w->loop, timer_is_due(w) || has_work(w) ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    weir_worker_now(w); /* leaves the park, if no callback has done that */
    if (w->woken)
        pass_on(w);
    weir_inbox_unpark(&w->inbox);
}

static void check_ledgers(const struct weir_worker *w)
{
#ifdef WEIR_TESTING
    for (size_t i = 0; i < w->graph->stage_count; i++)
        assert(weir_ledger_holds(&w->seats[i]->ledger));
#else
    (void)w;
#endif
}

static void run_turns(struct weir_worker *w)
{
    for (;;) {
        weir_worker_flush(w); /* what the poll brought is there before the first batch, which may take long */
        run_rounds(w);
        run_aside(w);
        weir_worker_flush(w);
        if (weir_inbox_drain(&w->inbox))
            weir_worker_flush(w);
        check_ledgers(w);
        if (obey(w))
            return;
        poll_loop(w);
    }
}

static void start_handlers(struct weir_worker *w)
{
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        struct weir_handler *h = w->seats[i]->handler;
        if (h != NULL && h->ops->start != NULL)
            h->ops->start(h);
    }
}

static int start_sources(struct weir_worker *w)
{
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        struct weir_source *s = w->seats[i]->source;
        int rc = s == NULL ? WEIR_OK : s->ops->start(s, &w->start_err);
        if (rc < 0)
            return rc;
    }
    return WEIR_OK;
}

/* Closes what lives in the loop and runs it dry. */
static void close_loop(struct weir_worker *w)
{
    each_source(w, close_source);
    close_handlers(w); /* while the loop runs still: they may have handles in it */
    weir_service_close_all(w);
    weir_timers_close(w);
    uv_timer_stop(&w->wait_timer);
    uv_close((uv_handle_t *)&w->wait_timer, NULL);
    uv_close((uv_handle_t *)&w->before_poll, NULL);
    weir_mutex_lock(&w->pool->mu); /* from here on nobody wakes it: it is on no stack and gets no orders */
    w->leaving = true;
    weir_inbox_close(&w->inbox);
    weir_mutex_unlock(&w->pool->mu);
    uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void *run_thread(void *arg)
{
    struct weir_worker *w = arg;
    current = w;
    w->tid = gettid();
    weir_watchdog_add(w->graph->watchdog, &w->watch, "worker", w);
    weir_worker_now(w);
    start_handlers(w);
    int rc = start_sources(w);
    w->start_err.code = rc;
    sem_post(&w->started);
    if (rc == WEIR_OK)
        run_turns(w);
    close_loop(w);
    weir_watchdog_remove(&w->watch);
    atomic_store_explicit(&w->state, WEIR_WORKER_GONE, memory_order_release);
    return NULL;
}

/* ---- making and ending one ---- */

static int make_seat(struct weir_worker *w, struct weir_seat *seat, struct weir_err *reterr)
{
    struct weir_stage *stage = seat->stage;
    seat->worker = w;
    if (stage->pool != w->pool)
        return WEIR_OK;
    if (stage->kind == WEIR_STAGE_SOURCE)
        return stage->source.make(stage->source.self, seat, &seat->source, reterr);
    int rc = stage->handler.make(stage->handler.self, seat, &seat->handler, reterr);
    if (rc == WEIR_OK)
        weir_seat_publish_memory(seat);
    return rc;
}

static int make_loop(struct weir_worker *w, struct weir_err *reterr)
{
    int rc = uv_loop_init(&w->loop);
    if (rc < 0)
        return weir_err_set(reterr, WEIR_E_IO, "worker %u: no event loop: %s", w->index, uv_strerror(rc));
    rc = weir_inbox_init(&w->inbox, &w->loop);
    if (rc < 0) {
        uv_loop_close(&w->loop);
        return weir_err_set(reterr, WEIR_E_IO, "worker %u: no wake-up handle: %s", w->index, uv_strerror(rc));
    }
    weir_timers_init(w);
    uv_timer_init(&w->loop, &w->wait_timer);
    w->wait_timer.data = w;
    uv_prepare_init(&w->loop, &w->before_poll);
    w->before_poll.data = w;
    uv_prepare_start(&w->before_poll, on_before_poll);
    return WEIR_OK;
}

static int make_arrays(struct weir_worker *w, struct weir_err *reterr)
{
    struct weir_graph *g = w->graph;
    size_t largest = 1;
    for (size_t i = 0; i < g->stage_count; i++)
        if (weir_stage_batch_limit(&g->stages[i]) > largest)
            largest = weir_stage_batch_limit(&g->stages[i]);
    w->words = (g->stage_count + 63) / 64;
    w->ready = weir_calloc(w->words, sizeof *w->ready);
    w->saturated = weir_calloc(w->words, sizeof *w->saturated);
    w->by_rank = weir_calloc(g->stage_count, sizeof(struct weir_seat *));
    w->batch = weir_calloc(largest, sizeof(struct weir_event *));
    w->seats = weir_graph_seats(g, w->index);
    if (w->ready == NULL || w->saturated == NULL || w->by_rank == NULL || w->batch == NULL || w->seats == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "worker %u: out of memory", w->index);
    for (size_t i = 0; i < g->stage_count; i++)
        w->by_rank[g->stages[i].rank] = w->seats[i];
    return WEIR_OK;
}

static void free_sources(struct weir_worker *w)
{
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        struct weir_seat *seat = w->seats[i];
        if (seat->source != NULL)
            seat->source->ops->destroy(seat->source);
        seat->source = NULL;
    }
}

static void free_arrays(struct weir_worker *w)
{
    weir_free(w->ready);
    weir_free(w->saturated);
    weir_free(w->by_rank);
    weir_free(w->batch);
    weir_free(w);
}

int weir_worker_create(struct weir_pool *pool, unsigned index, struct weir_worker **ret, struct weir_err *reterr)
{
    struct weir_worker *w = weir_calloc(1, sizeof *w);
    if (w == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "worker %u: out of memory", index);
    w->index = index;
    w->pool = pool;
    w->graph = pool->graph;
    w->next_event_id = pool->event_ids[index - pool->first_slot];
    weir_list_init(&w->outbound);
    weir_list_init(&w->free_events);
    weir_list_init(&w->waits);
    weir_list_init(&w->services);
    weir_list_init(&w->aside);
    int rc = make_arrays(w, reterr);
    if (rc == WEIR_OK)
        rc = make_loop(w, reterr);
    if (rc < 0) {
        free_arrays(w);
        return rc;
    }
    sem_init(&w->started, 0, 0); /* not libuv's: ThreadSanitizer can't see into it */
    for (size_t i = 0; i < w->graph->stage_count && rc == WEIR_OK; i++)
        rc = make_seat(w, w->seats[i], reterr);
    if (rc < 0) {
        weir_worker_destroy(w);
        return rc;
    }
    *ret = w;
    return WEIR_OK;
}

int weir_worker_start(struct weir_worker *w, struct weir_err *reterr)
{
    atomic_store_explicit(&w->state, WEIR_WORKER_RUNNING, memory_order_release);
    int failed = WEIR_FAULT(THREAD_CREATE) ? EAGAIN : pthread_create(&w->thread, NULL, run_thread, w);
    if (failed != 0) {
        atomic_store_explicit(&w->state, WEIR_WORKER_NEW, memory_order_release);
        return weir_err_set(reterr, WEIR_E_IO, "pool '%s': can't start a worker thread: %s", w->pool->name, strerror(failed));
    }
    while (sem_wait(&w->started) != 0)
        ; /* a signal came */
    if (w->start_err.code < 0)
        return weir_err_set(reterr, w->start_err.code, "%s", w->start_err.text);
    return WEIR_OK;
}

void weir_worker_join(struct weir_worker *w)
{
    if (atomic_load_explicit(&w->state, memory_order_acquire) != WEIR_WORKER_NEW && !w->joined)
        pthread_join(w->thread, NULL);
    w->joined = true;
}

void weir_worker_destroy(struct weir_worker *w)
{
    if (w == NULL)
        return;
    if (atomic_load_explicit(&w->state, memory_order_acquire) == WEIR_WORKER_NEW)
        close_loop(w); /* no thread has it */
    else
        weir_worker_join(w);
    weir_inbox_drain(&w->inbox); /* what came back to it late; its thread has ended, so this one stands in */
    w->pool->event_ids[w->index - w->pool->first_slot] = w->next_event_id; /* ids go on where they ended */
    free_sources(w);
    struct weir_list *node;
    while ((node = weir_list_take_first(&w->free_events)) != NULL)
        weir_free(WEIR_LIST_ENTRY(node, struct weir_event, node));
    weir_inbox_fini(&w->inbox);
    uv_loop_close(&w->loop);
    sem_destroy(&w->started);
    free_arrays(w);
}
