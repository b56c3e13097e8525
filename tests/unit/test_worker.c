/* Linked with --wrap for the functions below: what a worker calls is counted. */
#include "core/worker.h"

#include <string.h>

#include "base/fault.h"
#include "core/pool.h"
#include "core/stage.h"
#include "support.h"

int __real_pthread_mutex_lock(pthread_mutex_t *mu);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mu);
int __real_uv_run(uv_loop_t *loop, uv_run_mode mode);
int __wrap_uv_run(uv_loop_t *loop, uv_run_mode mode);
int __real_uv_async_send(uv_async_t *handle);
int __wrap_uv_async_send(uv_async_t *handle);

static _Thread_local size_t locks, polls, wakes; /* of this thread */
static _Atomic size_t all_polls;                 /* of all workers */
static _Atomic bool late_runs;            /* time passes between a worker's last look for work and its poll */
static const uv_async_t *_Atomic watched; /* whose wake-ups count in watched_wakes */
static _Atomic size_t watched_wakes;

int __wrap_pthread_mutex_lock(pthread_mutex_t *mu)
{
    locks++;
    return __real_pthread_mutex_lock(mu);
}

static void pass_time(uint64_t ns)
{
    uint64_t until = weir_clock_ns() + ns;
    while (weir_clock_ns() < until)
        ;
}

int __wrap_uv_run(uv_loop_t *loop, uv_run_mode mode)
{
    polls++;
    if (weir_worker_current() != NULL)
        atomic_fetch_add(&all_polls, 1);
    if (atomic_load(&late_runs) && weir_worker_current() != NULL && mode == UV_RUN_ONCE)
        pass_time(2 * WEIR_NS_PER_MS);
    return __real_uv_run(loop, mode);
}

int __wrap_uv_async_send(uv_async_t *handle)
{
    wakes++;
    if (handle == atomic_load(&watched))
        atomic_fetch_add(&watched_wakes, 1);
    return __real_uv_async_send(handle);
}

/* ---- a hop inside a pool ---- */

enum { RING = 10, HOPS = 10000 };

static size_t hop_locks, hop_polls, hop_wakes;
static _Atomic bool ring_done;

/* The value says how many hops are left. */
static enum weir_reason hop(struct rig_handler *h, struct weir_event *ev)
{
    if (ev->value.integer == HOPS)
        locks = polls = wakes = 0;
    if (ev->value.integer == 0) {
        hop_locks = locks;
        hop_polls = polls;
        hop_wakes = wakes;
        atomic_store(&ring_done, true);
        return WEIR_REASON_NONE;
    }
    ev->value.integer--;
    assert_int_equal(rig_forward(h, ev, 0, false), WEIR_VERDICT_ACCEPTED);
    return WEIR_REASON_NONE;
}

static bool is_set(void *flag)
{
    return atomic_load((_Atomic bool *)flag);
}

static void fill_hops(struct weir_event *ev, size_t number, void *arg)
{
    (void)number;
    (void)arg;
    ev->value.integer = HOPS;
}

static void a_hop_inside_a_pool_takes_no_lock_and_calls_no_system(void **state)
{
    (void)state;
    struct rig *r = rig_create(RING + 1, 1);
    struct rig_feed feed = {.total = 1, .fill = fill_hops};
    rig_pool(r, 0, "main", 1, false);
    rig_source(r, RING, "feed", 0, &feed);
    for (size_t i = 0; i < RING; i++)
        rig_stage(r, i, "ring", 0, hop, NULL);
    for (size_t i = 0; i < RING; i++)
        rig_wire_one(r, i, "out", (i + 1) % RING);
    rig_wire_one(r, RING, "out", 0);
    rig_finish(r);
    atomic_store(&ring_done, false);
    weir_clock_set_virtual(WEIR_NS_PER_S); /* time stands: no poll is due */
    rig_start(r);
    rig_wait(r, is_set, &ring_done);
    weir_clock_set_virtual(0);
    rig_drain(r);
    int64_t handled = 0;
    for (size_t i = 0; i < RING; i++)
        handled += rig_ledger(r, i).handled;
    assert_int_equal(handled, HOPS + 1);
    rig_stop(r);
    rig_destroy(r);
    assert_int_equal(hop_locks, 0);
    assert_int_equal(hop_wakes, 0);
    assert_int_equal(hop_polls, 0);
}

/* ---- wake-ups ---- */

enum { BURST = 64, BURSTS = 50 };

static struct rig *two;
static sem_t burst_sent;
static _Atomic int handled_in_burst;

/* The first call of a burst waits until the burst is all there: what is sent meanwhile must wake nobody. */
static enum weir_reason note_burst(struct rig_handler *h, struct weir_event *ev)
{
    (void)h;
    (void)ev;
    if (atomic_fetch_add(&handled_in_burst, 1) == 0)
        while (sem_wait(&burst_sent) != 0)
            ;
    return WEIR_REASON_NONE;
}

static void send_burst(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    for (int i = 0; i < BURST; i++)
        assert_int_equal(rig_emit_value(w, 0, i), WEIR_VERDICT_ACCEPTED);
    weir_worker_flush(w);
    sem_post(&burst_sent);
}

static bool burst_handled(void *arg)
{
    struct weir_pool *p = arg;
    return atomic_load(&handled_in_burst) == BURST && atomic_load(&p->parked_count) == 1;
}

static void a_parked_worker_gets_one_wake_up_per_burst(void **state)
{
    (void)state;
    two = rig_create(2, 2);
    rig_pool(two, 0, "main", 1, false);
    rig_pool(two, 1, "other", 1, false);
    rig_stage(two, 0, "feed", 0, rig_handled, NULL);
    rig_stage(two, 1, "work", 1, note_burst, NULL);
    rig_wire_one(two, 0, "out", 1);
    rig_finish(two);
    sem_init(&burst_sent, 0, 0);
    rig_start(two);
    struct weir_pool *other = &two->g->pools[1];
    atomic_store(&watched, &other->workers[0]->inbox.wake);
    atomic_store(&watched_wakes, 0);
    atomic_store(&handled_in_burst, BURST);
    for (int i = 0; i < BURSTS; i++) {
        struct rig_task task = {.run = send_burst};
        rig_wait(two, burst_handled, other);
        atomic_store(&handled_in_burst, 0);
        rig_run_on(two->g->pools[0].workers[0], &task);
    }
    rig_wait(two, burst_handled, other);
    assert_int_equal(atomic_load(&watched_wakes), BURSTS);
    atomic_store(&watched, NULL);
    rig_drain(two);
    rig_stop(two);
    rig_destroy(two);
    sem_destroy(&burst_sent);
}

/* ---- concurrency ---- */

/* Suspended for 1 ms. Its timer is due before the poll at times: what the end of the call makes possible must
 * not wait for the next event. */
static enum weir_reason suspend(struct rig_handler *h, struct weir_event *ev)
{
    (void)ev;
    assert_true(h->h.seat->running <= h->h.seat->stage->concurrency);
    return rig_keep(h, ev, WEIR_NS_PER_MS);
}

static void saturated_stages_wait_without_spinning(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 1);
    struct rig_feed feed = {.total = 400};
    rig_pool(r, 0, "main", 1, false);
    rig_source(r, 0, "feed", 0, &feed);
    rig_stage(r, 1, "slow", 0, suspend, NULL)->concurrency = 1;
    rig_wire_one(r, 0, "out", 1);
    rig_finish(r);
    atomic_store(&all_polls, 0);
    rig_start(r);
    rig_feed_wait(r, &feed, 1);
    rig_drain(r);
    size_t count = atomic_load(&all_polls);
    struct weir_ledger_sum sum = rig_ledger(r, 1);
    assert_int_equal(sum.handled, atomic_load(&feed.made));
    assert_true(sum.service_ns.count > 0);
    rig_stop(r);
    rig_destroy(r);
    assert_true(count < 10000); /* some polls for each of 400 ticks; a spin makes a million */
}

/* The loop runs the timers that came due since before it polls; what they made possible has to be seen. */
static void a_timer_that_is_due_just_before_the_poll_does_not_let_it_sleep(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 1);
    struct rig_feed feed = {.total = 20};
    rig_pool(r, 0, "main", 1, false);
    rig_source(r, 0, "feed", 0, &feed);
    rig_stage(r, 1, "slow", 0, suspend, NULL)->concurrency = 1;
    rig_wire_one(r, 0, "out", 1);
    rig_finish(r);
    atomic_store(&late_runs, true);
    rig_start(r);
    rig_feed_wait(r, &feed, 1);
    rig_drain(r);
    atomic_store(&late_runs, false);
    assert_int_equal(rig_ledger(r, 1).handled, 20);
    rig_stop(r);
    rig_destroy(r);
}

static enum weir_reason hold(struct rig_handler *h, struct weir_event *ev)
{
    return rig_keep(h, ev, 1000 * WEIR_NS_PER_S); /* until it is cancelled */
}

static bool both_run(void *arg)
{
    struct rig *r = arg;
    return rig_ledger(r, 1).running == 2;
}

static void emit_one(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    rig_emit_value(w, 0, 1);
}

static void what_a_saturated_worker_can_t_take_another_does(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 1);
    rig_pool(r, 0, "main", 2, false);
    rig_stage(r, 0, "feed", 0, rig_handled, NULL);
    rig_stage(r, 1, "held", 0, hold, NULL)->concurrency = 1;
    rig_wire_one(r, 0, "out", 1);
    rig_finish(r);
    rig_start(r);
    for (int i = 0; i < 2; i++) { /* both from the same worker */
        struct rig_task task = {.run = emit_one};
        rig_run_on(r->g->pools[0].workers[0], &task);
    }
    rig_wait(r, both_run, r);
    assert_int_equal(rig_ledger(r, 1).running, 2);
    rig_stop(r);
    assert_int_equal(rig_ledger(r, 1).reasons[WEIR_REASON_CANCELLED], 2);
    rig_destroy(r);
}

/* Events that came before the first call took the worker's only place are not stuck behind it. */
static void emit_two(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    rig_emit_value(w, 0, 1);
    rig_emit_value(w, 0, 2);
}

static void what_waits_behind_a_suspended_call_goes_to_others(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 1);
    rig_pool(r, 0, "main", 2, false);
    rig_stage(r, 0, "feed", 0, rig_handled, NULL);
    rig_stage(r, 1, "held", 0, hold, NULL)->concurrency = 1;
    rig_wire_one(r, 0, "out", 1);
    rig_finish(r);
    rig_start(r);
    struct rig_task task = {.run = emit_two};
    rig_run_on(r->g->pools[0].workers[0], &task);
    rig_wait(r, both_run, r);
    rig_stop(r);
    rig_destroy(r);
}

static bool one_runs_and_all_sleep(void *arg)
{
    struct rig *r = arg;
    return rig_ledger(r, 1).running == 1 && atomic_load(&r->g->pools[1].parked_count) == 2;
}

static void emit_held(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    assert_int_equal(weir_port_emit(w->seats[0], &w->graph->stages[0].ports[0], rig_event(w, 1), NULL),
                     WEIR_VERDICT_ACCEPTED);
}

/* One for a stage that both workers can serve, then one for the stage that the newest parked one can't: a
 * single wake-up goes out. */
static void emit_free_and_held(struct rig_task *t, struct weir_worker *w)
{
    assert_int_equal(weir_port_emit(w->seats[0], &w->graph->stages[0].ports[1], rig_event(w, 1), NULL),
                     WEIR_VERDICT_ACCEPTED);
    emit_held(t, w);
}

static void a_woken_worker_passes_on_what_it_can_t_take(void **state)
{
    (void)state;
    struct rig *r = rig_create(3, 2);
    rig_pool(r, 0, "main", 1, false);
    rig_pool(r, 1, "other", 2, false);
    rig_stage(r, 0, "feed", 0, rig_handled, NULL);
    rig_stage(r, 1, "held", 1, hold, NULL)->concurrency = 1;
    rig_stage(r, 2, "free", 1, rig_handled, NULL);
    rig_wire_one(r, 0, "held", 1);
    rig_wire_one(r, 0, "free", 2);
    rig_finish(r);
    rig_start(r);
    rig_run_on(r->g->pools[0].workers[0], &(struct rig_task){.run = emit_held});
    rig_wait(r, one_runs_and_all_sleep, r);
    rig_run_on(r->g->pools[0].workers[0], &(struct rig_task){.run = emit_free_and_held});
    rig_wait(r, both_run, r);
    rig_stop(r);
    assert_int_equal(rig_ledger(r, 2).handled, 1);
    rig_destroy(r);
}

static bool pool_is_quiet(void *arg)
{
    return weir_pool_quiet(arg);
}

static void a_cancelled_pool_begins_nothing(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 2);
    rig_pool(r, 0, "main", 1, false);
    rig_pool(r, 1, "other", 2, false);
    rig_stage(r, 0, "feed", 0, rig_handled, NULL);
    rig_stage(r, 1, "held", 1, hold, NULL);
    rig_wire_one(r, 0, "held", 1);
    rig_finish(r);
    rig_start(r);
    weir_pool_order(&r->g->pools[1], WEIR_ORDER_STOP_SOURCES | WEIR_ORDER_CANCEL);
    rig_wait(r, pool_is_quiet, &r->g->pools[1]);
    for (int i = 0; i < 5; i++)
        rig_run_on(r->g->pools[0].workers[0], &(struct rig_task){.run = emit_held});
    rig_run_on(r->g->pools[1].workers[0],
               &(struct rig_task){.run = emit_held}); /* a late answer could make one, too */
    rig_stop(r);
    struct weir_ledger_sum sum = rig_ledger(r, 1);
    assert_int_equal(sum.reasons[WEIR_REASON_SHUTDOWN], 6);
    assert_int_equal(sum.service_ns.count, 0); /* none began */
    rig_destroy(r);
}

/* ---- batches ---- */

static void a_batch_is_no_larger_than_the_stage_allows(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 1);
    struct rig_feed feed = {.total = 500, .per_tick = 500};
    rig_pool(r, 0, "main", 1, false);
    rig_source(r, 0, "feed", 0, &feed);
    rig_stage(r, 1, "work", 0, rig_handled, NULL)->batch_max = 7;
    rig_wire_one(r, 0, "out", 1);
    rig_finish(r);
    rig_start(r);
    rig_feed_wait(r, &feed, 1);
    rig_drain(r);
    assert_int_equal(atomic_load(&r->logics[1].largest_batch), 7);
    rig_stop(r);
    rig_destroy(r);
}

/* ---- cancelling ---- */

enum { CUT_FEED, CUT_HELD, CUT_FULL };
static struct rig_request requests[6];

static enum weir_reason wait_for_room(struct rig_handler *h, struct weir_event *ev)
{
    struct weir_event *out = weir_event_create_from(h->h.seat->worker, ev);
    assert_non_null(out);
    out->request = ev->request;
    ev->request = NULL;
    return rig_emit_waiting(h, &h->h.seat->stage->ports[0], ev, out);
}

static void send_requests(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    for (size_t i = 0; i < 6; i++) {
        struct weir_event *ev = rig_event(w, (int64_t)i);
        rig_request_init(&requests[i]);
        ev->request = &requests[i].r;
        assert_int_equal(rig_emit(w, CUT_FEED, ev), WEIR_VERDICT_ACCEPTED);
    }
}

static struct rig *cut_rig;

static bool all_placed(void *arg)
{
    (void)arg;
    struct weir_ledger_sum full = rig_ledger(cut_rig, CUT_FULL);
    return full.running == 1 && full.queued == 2 && full.waiting == 3;
}

/* One call held, two events queued behind it, three emits that wait for room: all end, each request once. */
static void cancelling_ends_calls_queues_and_waits(void **state)
{
    (void)state;
    for (unsigned workers = 1; workers <= 2; workers++) {
        struct rig *r = cut_rig = rig_create(3, 2);
        rig_pool(r, 0, "main", 1, false);
        rig_pool(r, 1, "other", workers, false);
        rig_stage(r, CUT_FEED, "feed", 0, rig_handled, NULL);
        rig_stage(r, CUT_HELD, "wait", 0, wait_for_room, NULL);
        struct weir_stage *full = rig_stage(r, CUT_FULL, "full", 1, hold, NULL);
        full->concurrency = 1;
        full->queue.capacity = 2;
        full->queue.keys.by = WEIR_BY_KEY; /* one key: one call at a time, on whichever worker */
        full->queue.overflow.policy = WEIR_OVERFLOW_WAIT;
        rig_wire_one(r, CUT_FEED, "out", CUT_HELD);
        rig_wire_one(r, CUT_HELD, "out", CUT_FULL);
        rig_finish(r);
        rig_start(r);
        struct rig_task task = {.run = send_requests};
        rig_run_on(r->g->pools[0].workers[0], &task);
        rig_wait(r, all_placed, NULL);
        rig_stop(r);
        for (size_t i = 0; i < 6; i++)
            assert_int_equal(atomic_load(&requests[i].ended), 1);
        struct weir_ledger_sum sum = rig_ledger(r, CUT_FULL);
        assert_int_equal(sum.reasons[WEIR_REASON_CANCELLED], 1);
        assert_int_equal(sum.reasons[WEIR_REASON_SHUTDOWN] + sum.reasons[WEIR_REASON_CLOSED], 5);
        rig_destroy(r);
    }
}

/* ---- making one ---- */

static void making_one_survives_any_failed_allocation(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 1);
    struct rig_feed feed = {.total = 1};
    rig_pool(r, 0, "main", 2, false);
    rig_source(r, 0, "feed", 0, &feed);
    rig_stage(r, 1, "work", 0, rig_handled, NULL);
    rig_wire_one(r, 0, "out", 1);
    rig_finish(r);
    long before = 0;
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_worker *w = NULL;
        weir_mem_fail_after(n);
        rc = weir_worker_create(&r->g->pools[0], 0, &w, NULL);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && w == NULL));
        weir_worker_destroy(w);
        bool seats = atomic_load(&r->g->slots[0]) != NULL; /* they stay with the slot */
        if (seats && before == 0)
            before = weir_mem_live();
        assert_true(!seats || weir_mem_live() == before);
    }
    rig_destroy(r);
}

static void one_without_a_thread_is_an_error(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct rig *r = rig_create(1, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, 0, "work", 0, rig_handled, NULL);
    rig_finish(r);
    struct weir_worker *w = NULL;
    struct weir_err err;
    assert_int_equal(weir_worker_create(&r->g->pools[0], 0, &w, &err), WEIR_OK);
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 1);
    assert_int_equal(weir_worker_start(w, &err), WEIR_E_IO);
    assert_non_null(strstr(err.text, "pool 'main'"));
    weir_worker_destroy(w);
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hop_inside_a_pool_takes_no_lock_and_calls_no_system),
        TEST(a_parked_worker_gets_one_wake_up_per_burst),
        TEST(saturated_stages_wait_without_spinning),
        TEST(a_timer_that_is_due_just_before_the_poll_does_not_let_it_sleep),
        TEST(what_a_saturated_worker_can_t_take_another_does),
        TEST(what_waits_behind_a_suspended_call_goes_to_others),
        TEST(a_woken_worker_passes_on_what_it_can_t_take),
        TEST(a_cancelled_pool_begins_nothing),
        TEST(a_batch_is_no_larger_than_the_stage_allows),
        TEST(cancelling_ends_calls_queues_and_waits),
        TEST(making_one_survives_any_failed_allocation),
        TEST(one_without_a_thread_is_an_error),
    };
    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
