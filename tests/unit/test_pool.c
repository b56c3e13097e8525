#include "core/pool.h"

#include <sched.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "core/stage.h"
#include "core/worker.h"
#include "support.h"

enum { FEED, WORK, NEXT, LAST };

/* ---- growing and failing to ---- */

static struct rig *small_rig(struct rig_feed *feed)
{
    struct rig *r = rig_create(2, 1);
    rig_pool(r, 0, "main", 4, false);
    rig_source(r, FEED, "feed", 0, feed);
    rig_stage(r, WORK, "work", 0, rig_handled, NULL);
    rig_wire_one(r, FEED, "out", WORK);
    rig_finish(r);
    return r;
}

static void a_size_out_of_range_is_refused(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 0};
    struct rig *r = small_rig(&feed);
    struct weir_pool *p = &r->g->pools[0];
    struct weir_err err;
    assert_int_equal(weir_pool_resize(p, 0, &err), WEIR_E_INVAL);
    assert_int_equal(weir_pool_resize(p, p->slot_count + 1, &err), WEIR_E_INVAL);
    assert_non_null(strstr(err.text, "pool 'main'"));
    assert_int_equal(p->target, 0);
    rig_destroy(r);
}

static void no_worker_starts_when_one_can_t_be_made(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 0};
    struct rig *r = small_rig(&feed);
    struct weir_pool *p = &r->g->pools[0];
    struct weir_err err;
    r->logics[WORK].fail_make_at = 3;
    assert_int_equal(weir_pool_resize(p, 4, &err), WEIR_E_SCRIPT);
    assert_string_equal(err.text, "stage 'work': told to fail");
    assert_int_equal(p->target, 0);
    assert_int_equal(atomic_load(&p->live), 0);
    assert_int_equal(atomic_load(&r->logics[WORK].closed), 2); /* the two that were made */
    for (unsigned i = 0; i < p->slot_count; i++)
        assert_null(p->workers[i]);

    r->logics[WORK].fail_make_at = 0;
    assert_int_equal(weir_pool_resize(p, 2, &err), WEIR_OK);
    r->logics[WORK].fail_make_at = 6; /* the second of two more */
    assert_int_equal(weir_pool_resize(p, 4, &err), WEIR_E_SCRIPT);
    assert_int_equal(p->target, 2);
    assert_int_equal(atomic_load(&p->live), 2);
    rig_stop(r);
    rig_destroy(r);
}

static void a_thread_that_can_t_start_leaves_those_before_it(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct rig_feed feed = {.total = 0};
    struct rig *r = small_rig(&feed);
    struct weir_pool *p = &r->g->pools[0];
    struct weir_err err;
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 1);
    assert_int_equal(weir_pool_resize(p, 3, &err), WEIR_E_IO);
    assert_int_equal(p->target, 0);
    assert_int_equal(weir_pool_resize(p, 1, &err), WEIR_OK);
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 1);
    assert_int_equal(weir_pool_resize(p, 3, &err), WEIR_E_IO);
    assert_int_equal(p->target, 1);
    assert_int_equal(weir_pool_resize(p, 3, &err), WEIR_OK);
    assert_int_equal(p->target, 3);
    rig_stop(r);
    rig_destroy(r);
}

static void growing_survives_any_failed_allocation(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 0};
    struct rig *r = small_rig(&feed);
    struct weir_pool *p = &r->g->pools[0];
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_pool_resize(p, 2, NULL);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && p->target == 0 && p->workers[0] == NULL));
    }
    assert_int_equal(p->target, 2);
    rig_stop(r);
    rig_destroy(r);
}

static void joining_ends_workers_that_were_told_to_leave(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 0};
    struct rig *r = small_rig(&feed);
    struct weir_pool *p = &r->g->pools[0];
    assert_int_equal(weir_pool_resize(p, 3, NULL), WEIR_OK);
    weir_pool_order(p, WEIR_ORDER_STOP_SOURCES | WEIR_ORDER_CANCEL | WEIR_ORDER_LEAVE);
    weir_pool_join(p);
    weir_pool_clear(p);
    assert_int_equal(p->target, 0);
    assert_int_equal(weir_pool_reap(p), 0);
    rig_destroy(r);
}

static void a_slot_is_used_again_and_its_counts_go_on(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 10};
    struct rig *r = small_rig(&feed);
    struct weir_pool *p = &r->g->pools[0];
    assert_int_equal(weir_pool_resize(p, 2, NULL), WEIR_OK);
    rig_feed_wait(r, &feed, 2);
    assert_int_equal(weir_pool_resize(p, 1, NULL), WEIR_OK);
    rig_reap(r, 0);
    assert_null(p->workers[1]);
    assert_int_equal(weir_pool_resize(p, 2, NULL), WEIR_OK);
    assert_non_null(p->workers[1]);
    rig_feed_wait(r, &feed, 3);
    rig_drain(r);
    assert_int_equal(rig_ledger(r, WORK).handled, 30);
    rig_stop(r);
    rig_destroy(r);
}

/* As if a call were under way, and as if it had ended. */
static void begin_call(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    w->seats[WORK]->running = 1;
}

static void end_call(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    w->seats[WORK]->running = 0;
}

static void a_worker_that_is_leaving_keeps_its_slot(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 0};
    struct rig *r = small_rig(&feed);
    struct weir_pool *p = &r->g->pools[0];
    struct weir_err err;
    assert_int_equal(weir_pool_resize(p, 2, NULL), WEIR_OK);
    struct rig_task begin = {.run = begin_call}, end = {.run = end_call};
    rig_run_on(p->workers[1], &begin);
    assert_int_equal(weir_pool_resize(p, 1, NULL), WEIR_OK);
    assert_int_equal(weir_pool_resize(p, 2, &err), WEIR_E_EXISTS);
    assert_non_null(strstr(err.text, "still leaving"));
    rig_run_on(p->workers[1], &end);
    rig_reap(r, 0);
    assert_int_equal(weir_pool_resize(p, 2, &err), WEIR_OK);
    rig_stop(r);
    rig_destroy(r);
}

static void do_nothing(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    (void)w;
}

static bool is_past(void *arg)
{
    return weir_clock_ns() >= *(uint64_t *)arg;
}

static void busy_is_the_share_of_time_not_spent_in_the_poll(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 0};
    struct rig *r = small_rig(&feed);
    struct weir_pool *p = &r->g->pools[0];
    struct weir_pool_load load = {0};
    assert_true(weir_pool_busy(p, &load, 1000) == 0.0); /* nobody there */
    assert_int_equal(weir_pool_resize(p, 2, NULL), WEIR_OK);
    rig_feed_wait(r, &feed, 2);
    uint64_t now = weir_clock_ns(), later = now + 100 * WEIR_NS_PER_MS;
    weir_pool_busy(p, &load, now);
    rig_wait(r, is_past, &later);
    rig_run_on(p->workers[0],
               &(struct rig_task){.run = do_nothing}); /* time asleep counts when the sleep ends */
    rig_run_on(p->workers[1], &(struct rig_task){.run = do_nothing});
    double busy = weir_pool_busy(p, &load, weir_clock_ns());
    assert_true(busy >= 0.0 && busy < 0.5);
    rig_stop(r);
    rig_destroy(r);
}

/* ---- shrinking with work in hand ---- */

static _Atomic int by_second; /* events that the second worker handled */

static enum weir_reason take_long(struct rig_handler *h, struct weir_event *ev)
{
    (void)ev;
    if (h->h.seat->worker->index == 1)
        atomic_fetch_add(&by_second, 1);
    uint64_t until =
        weir_clock_ns() + 300 * WEIR_NS_PER_US; /* longer than a worker stays away from its orders */
    while (weir_clock_ns() < until)
        ;
    return WEIR_REASON_NONE;
}

static void emit_fifty(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    for (int i = 0; i < 50; i++)
        rig_emit_value(w, FEED, i);
    assert_int_equal(w->seats[WORK]->lane.count, 50); /* all in its own lane */
}

static void a_retiring_worker_gives_its_lane_to_the_others(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 1);
    rig_pool(r, 0, "main", 2, false);
    rig_stage(r, FEED, "feed", 0, rig_handled, NULL);
    rig_stage(r, WORK, "work", 0, take_long, NULL)->batch_max = 1;
    rig_wire_one(r, FEED, "out", WORK);
    rig_finish(r);
    rig_start(r);
    atomic_store(&by_second, 0);
    struct rig_task task = {.run = emit_fifty};
    rig_run_on(r->g->pools[0].workers[1], &task);
    assert_int_equal(weir_pool_resize(&r->g->pools[0], 1, NULL), WEIR_OK);
    rig_reap(r, 0);
    rig_drain(r);
    assert_int_equal(rig_ledger(r, WORK).handled, 50);
    assert_true(atomic_load(&by_second) < 50);
    rig_stop(r);
    rig_destroy(r);
}

/* A wake-up that reached a worker on its way out would be lost, and with it the event. */
static void events_find_the_workers_that_stay(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 2);
    struct rig_feed feed = {.total = 20000, .per_tick = 3};
    rig_pool(r, 0, "main", 1, false);
    rig_pool(r, 1, "other", 4, false);
    rig_source(r, FEED, "feed", 0, &feed);
    rig_stage(r, WORK, "work", 1, rig_handled, NULL);
    rig_wire_one(r, FEED, "out", WORK);
    rig_finish(r);
    rig_start(r);
    for (unsigned i = 0; atomic_load(&feed.done) < 1; i++) {
        assert_int_equal(weir_pool_resize(&r->g->pools[1], 1 + i % 4, NULL), WEIR_OK);
        rig_reap(r, 1);
    }
    rig_drain(r);
    assert_int_equal(rig_ledger(r, WORK).handled, 20000);
    rig_stop(r);
    rig_destroy(r);
}

/* ---- order ---- */

enum { KEYS = 16, PER_KEY = 400 };

struct seen {
    _Atomic int64_t last[KEYS]; /* the number handled last */
    _Atomic int running[KEYS];
    _Atomic int breaches, overlaps, most_at_once, at_once;
};

static struct seen seen[2];

static void enter(struct seen *s, const struct weir_event *ev)
{
    size_t key = (size_t)(ev->value.integer % KEYS);
    int64_t number = ev->value.integer / KEYS;
    if (atomic_fetch_add(&s->running[key], 1) != 0)
        atomic_fetch_add(&s->overlaps, 1);
    if (atomic_exchange(&s->last[key], number) != number - 1)
        atomic_fetch_add(&s->breaches, 1);
    int now = atomic_fetch_add(&s->at_once, 1) + 1;
    if (now > atomic_load(&s->most_at_once))
        atomic_store(&s->most_at_once, now);
}

static void leave(struct seen *s, const struct weir_event *ev)
{
    atomic_fetch_sub(&s->at_once, 1);
    atomic_fetch_sub(&s->running[(size_t)(ev->value.integer % KEYS)], 1);
}

/* Sends it on, then suspends now and then. */
static enum weir_reason ordered_first(struct rig_handler *h, struct weir_event *ev)
{
    enter(&seen[0], ev);
    assert_int_equal(rig_forward(h, ev, 0, false), WEIR_VERDICT_ACCEPTED);
    leave(&seen[0], ev);
    return ev->value.integer % 37 == 0 ? rig_keep(h, ev, WEIR_NS_PER_MS) : WEIR_REASON_NONE;
}

static enum weir_reason ordered_second(struct rig_handler *h, struct weir_event *ev)
{
    (void)h;
    enter(&seen[1], ev);
    for (int i = 0; i < 50; i++)
        atomic_load(&seen[1].at_once); /* some time in which another could come in */
    leave(&seen[1], ev);
    return WEIR_REASON_NONE;
}

static void fill_keys(struct weir_event *ev, size_t number, void *arg)
{
    (void)arg;
    ev->key = number % KEYS + 1;
    ev->value.integer = (int64_t)number;
}

/* Two ordered stages one after the other on two pools of four workers, the first of which suspends: no key
 * overtakes itself. */
static void order_holds_over_two_stages_with_many_workers(void **state)
{
    (void)state;
    struct rig *r = rig_create(3, 3);
    struct rig_feed feed = {.total = KEYS * PER_KEY, .fill = fill_keys};
    memset(seen, 0, sizeof seen);
    for (size_t k = 0; k < KEYS; k++)
        seen[0].last[k] = seen[1].last[k] = -1;
    rig_pool(r, 0, "main", 1, false);
    rig_pool(r, 1, "four", 4, false);
    rig_pool(r, 2, "more", 4, true);
    rig_source(r, FEED, "feed", 0, &feed);
    struct weir_queue *first = &rig_stage(r, WORK, "first", 1, ordered_first, NULL)->queue;
    struct weir_queue *second = &rig_stage(r, NEXT, "second", 2, ordered_second, NULL)->queue;
    first->keys.by = second->keys.by = WEIR_BY_KEY;
    second->capacity = 100000;
    second->bytes = WEIR_QUEUE_BYTES_MAX;
    rig_wire_one(r, FEED, "out", WORK);
    rig_wire_one(r, WORK, "out", NEXT);
    rig_finish(r);
    rig_start(r);
    for (unsigned i = 0; atomic_load(&feed.done) < 1; i++) { /* over growth, too */
        assert_int_equal(weir_pool_resize(&r->g->pools[1], 2 + i % 4, NULL), WEIR_OK);
        rig_reap(r, 1);
    }
    rig_drain(r);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(atomic_load(&seen[i].breaches), 0);
        assert_int_equal(atomic_load(&seen[i].overlaps), 0);
    }
    assert_int_equal(rig_ledger(r, NEXT).handled, KEYS * PER_KEY);
    rig_stop(r);
    rig_destroy(r);
}

/* ---- growing and shrinking while events flow ---- */

static enum weir_reason pass_or_fail(struct rig_handler *h, struct weir_event *ev)
{
    rig_forward(h, ev, 0, false);
    return ev->value.integer % 10 == 0 ? WEIR_REASON_ERROR : WEIR_REASON_NONE;
}

static void nothing_is_lost_while_pools_change_size(void **state)
{
    (void)state;
    enum { TOTAL = 30000 };
    struct rig *r = rig_create(4, 3);
    struct rig_feed feed = {.total = TOTAL};
    rig_pool(r, 0, "source", 1, false);
    rig_pool(r, 1, "main", 4, false);
    rig_pool(r, 2, "disk", 4, true);
    rig_source(r, FEED, "feed", 0, &feed);
    rig_stage(r, WORK, "work", 1, pass_or_fail, NULL);
    rig_stage(r, NEXT, "next", 1, pass_or_fail, NULL)->queue.capacity = 100000;
    rig_stage(r, LAST, "last", 2, rig_handled, NULL)->queue.capacity = 100000;
    for (size_t s = NEXT; s <= LAST; s++)
        r->g->stages[s].queue.bytes = WEIR_QUEUE_BYTES_MAX;
    rig_wire_one(r, FEED, "out", WORK);
    rig_wire_one(r, WORK, "out", NEXT);
    rig_wire_one(r, NEXT, "out", LAST);
    rig_finish(r);
    rig_start(r);
    for (unsigned i = 0; atomic_load(&feed.done) < 1; i++) {
        int rc = weir_pool_resize(&r->g->pools[1 + i % 2], 1 + i * 7 % 5, NULL);
        assert_true(rc == WEIR_OK || rc == WEIR_E_EXISTS); /* one of its workers is still leaving */
        if (i % 3 == 0)
            rig_reap(r, 1);
    }
    rig_drain(r);
    for (size_t s = WORK; s <= LAST; s++) {
        struct weir_ledger_sum sum = rig_ledger(r, s);
        assert_int_equal(sum.accepted, TOTAL);
        assert_int_equal(sum.handled + sum.failed, TOTAL);
        rig_check_ledger(r, s);
    }
    rig_stop(r);
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_size_out_of_range_is_refused),
        TEST(no_worker_starts_when_one_can_t_be_made),
        TEST(a_thread_that_can_t_start_leaves_those_before_it),
        TEST(growing_survives_any_failed_allocation),
        TEST(joining_ends_workers_that_were_told_to_leave),
        TEST(a_slot_is_used_again_and_its_counts_go_on),
        TEST(a_worker_that_is_leaving_keeps_its_slot),
        TEST(busy_is_the_share_of_time_not_spent_in_the_poll),
        TEST(a_retiring_worker_gives_its_lane_to_the_others),
        TEST(events_find_the_workers_that_stay),
        TEST(order_holds_over_two_stages_with_many_workers),
        TEST(nothing_is_lost_while_pools_change_size),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
