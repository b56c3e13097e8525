/* Stopping in order, a step at a time: workers are real, the time of the steps is the test's. */
#include "runtime/drain.h"

#include "core/pool.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, WORK };
enum { EVENTS = 10, RUNNING = 2 }; /* WORK begins two calls, all else waits */

static const uint64_t began_ns = 5000, drain_ns = 1000;
/* as drain.c has them */
static const uint64_t cancel_ns = 300 * WEIR_NS_PER_MS, leave_ns = 300 * WEIR_NS_PER_MS;

/* ---- steps ---- */

struct stepper {
    struct weir_drain *drain;
    uint64_t now_ns;
    unsigned seen; /* a bit for each phase that a step ended in */
};

static bool step(void *arg)
{
    struct stepper *s = arg;
    bool done = weir_drain_step(s->drain, s->now_ns);
    assert_true(done == (s->drain->phase == WEIR_DRAIN_DONE));
    s->seen |= 1U << s->drain->phase;
    return done;
}

/* Steps at the time `now_ns` until all is done; returns the phases that it saw. */
static unsigned step_to_the_end(struct rig *r, struct weir_drain *d, uint64_t now_ns)
{
    struct stepper s = {.drain = d, .now_ns = now_ns};
    rig_wait(r, step, &s);
    for (size_t i = 0; !d->stuck && i < r->g->pool_count; i++)
        assert_int_equal(r->g->pools[i].target, 0);
    return s.seen;
}

static bool all_pools_are_quiet(void *arg)
{
    struct rig *r = arg;
    for (size_t i = 0; i < r->g->pool_count; i++)
        if (!weir_pool_quiet(&r->g->pools[i]))
            return false;
    return true;
}

/* ---- two pools: events are fed on one and worked on by the other ---- */

static struct rig *two_pools(enum weir_reason (*work)(struct rig_handler *h, struct weir_event *ev))
{
    struct rig *r = rig_create(2, 2);
    rig_pool(r, 0, "main", 1, false);
    rig_pool(r, 1, "work", 1, false);
    rig_stage(r, FEED, "feed", 0, rig_handled, NULL);
    rig_stage(r, WORK, "work", 1, work, NULL)->concurrency = RUNNING;
    rig_wire_one(r, FEED, "out", WORK);
    rig_finish(r);
    rig_start(r);
    return r;
}

static enum weir_reason keep_for_long(struct rig_handler *h, struct weir_event *ev)
{
    return rig_keep(h, ev, 3600 * WEIR_NS_PER_S);
}

static struct rig_request requests[EVENTS];

static void emit_requests(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    for (int i = 0; i < EVENTS; i++) {
        struct weir_event *ev = rig_event(w, i);
        rig_request_init(&requests[i]);
        ev->request = &requests[i].r;
        assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    }
}

static bool as_many_run_as_can(void *arg)
{
    return rig_ledger(arg, WORK).running == RUNNING;
}

static void feed(struct rig *r)
{
    struct rig_task emit = {.run = emit_requests};
    rig_run_on(r->g->pools[0].workers[0], &emit);
    rig_wait(r, as_many_run_as_can, r);
}

static void end_calls(struct rig_task *t, struct weir_worker *w)
{
    struct rig_handler *h = (struct rig_handler *)(void *)w->seats[WORK]->handler;
    (void)t;
    WEIR_LIST_EACH(node, next, &h->calls)
    WEIR_LIST_ENTRY(node, struct rig_call, node)->due_ns = 0;
    rig_end_due(h);
}

static void each_request_ended_once(enum weir_request_end why)
{
    for (int i = 0; i < EVENTS; i++)
        rig_request_check(&requests[i], why);
}

/* What is left when nothing got an end of its own: the two that ran, and all that waited behind them. */
static void check_cut(struct rig *r)
{
    struct weir_ledger_sum l = rig_ledger(r, WORK);
    assert_int_equal(l.accepted, EVENTS);
    assert_int_equal(l.handled, 0);
    assert_int_equal(l.failed, RUNNING);
    assert_int_equal(l.reasons[WEIR_REASON_CANCELLED], RUNNING);
    assert_int_equal(l.dropped, EVENTS - RUNNING);
    assert_int_equal(l.reasons[WEIR_REASON_SHUTDOWN], EVENTS - RUNNING);
    each_request_ended_once(WEIR_REQUEST_DROPPED);
}

/* ---- in time ---- */

static void with_nothing_in_flight_it_ends_at_once(void **state)
{
    (void)state;
    struct rig *r = two_pools(rig_handled);
    struct weir_drain d;
    weir_drain_begin(&d, r->g, began_ns, drain_ns);
    assert_int_equal(d.phase, WEIR_DRAIN_DRAINING);
    unsigned seen = step_to_the_end(r, &d, began_ns);
    assert_false(seen & 1U << WEIR_DRAIN_CANCELLING);
    assert_true(seen & 1U << WEIR_DRAIN_LEAVING);
    assert_false(d.cut);
    assert_false(d.stuck);
    assert_true(weir_drain_step(&d, UINT64_MAX)); /* it stays done */
    rig_destroy(r);
}

static void sources_stop_and_what_they_made_is_handled(void **state)
{
    (void)state;
    struct rig_feed feed_of = {.total = SIZE_MAX, .per_tick = 20};
    struct rig *r = rig_create(2, 2);
    struct weir_drain d;
    rig_pool(r, 0, "main", 2, false);
    rig_pool(r, 1, "work", 2, true);
    rig_source(r, FEED, "feed", 0, &feed_of);
    rig_stage(r, WORK, "work", 1, rig_handled, NULL);
    rig_wire_one(r, FEED, "out", WORK);
    rig_finish(r);
    rig_start(r);
    weir_drain_begin(&d, r->g, began_ns, drain_ns);
    step_to_the_end(r, &d, began_ns);
    assert_false(d.cut);
    assert_int_equal(rig_ledger(r, WORK).handled, atomic_load(&feed_of.made));
    rig_destroy(r);
}

static void suspended_handlers_are_waited_for(void **state)
{
    (void)state;
    struct rig *r = two_pools(keep_for_long);
    struct weir_worker *worker = r->g->pools[1].workers[0];
    struct rig_task end = {.run = end_calls};
    struct weir_drain d;
    feed(r);
    weir_drain_begin(&d, r->g, began_ns, drain_ns);
    rig_wait(r, all_pools_are_quiet, r);
    for (int i = 0; i < 5; i++) {
        assert_false(weir_drain_step(&d, began_ns + drain_ns)); /* the last moment is in time */
        assert_int_equal(d.phase, WEIR_DRAIN_DRAINING);
    }
    for (int64_t left = EVENTS; left > 0; left -= RUNNING) {
        assert_int_equal(weir_graph_in_flight(r->g), left);
        rig_run_on(worker, &end);
        if (left > RUNNING)
            rig_wait(r, as_many_run_as_can, r); /* what waited is still begun */
    }
    step_to_the_end(r, &d, began_ns + drain_ns);
    assert_false(d.cut);
    assert_int_equal(rig_ledger(r, WORK).handled, EVENTS);
    each_request_ended_once(WEIR_REQUEST_UNANSWERED);
    rig_destroy(r);
}

/* ---- cut ---- */

static void after_the_drain_time_what_is_left_is_dropped_and_cancelled(void **state)
{
    (void)state;
    struct rig *r = two_pools(keep_for_long);
    struct weir_drain d;
    feed(r);
    weir_drain_begin(&d, r->g, began_ns, drain_ns);
    assert_false(weir_drain_step(&d, began_ns + drain_ns));
    assert_int_equal(d.phase, WEIR_DRAIN_DRAINING);
    assert_false(d.cut);
    assert_false(weir_drain_step(&d, began_ns + drain_ns + 1));
    assert_int_equal(d.phase, WEIR_DRAIN_CANCELLING);
    assert_true(d.cut);
    step_to_the_end(r, &d, began_ns + drain_ns + 1);
    assert_false(d.stuck);
    check_cut(r);
    rig_destroy(r);
}

static void a_second_hurry_does_nothing(void **state)
{
    (void)state;
    struct rig *r = two_pools(keep_for_long);
    struct weir_drain d = {.graph = r->g};
    weir_drain_hurry(&d, began_ns); /* nothing stops yet */
    assert_int_equal(d.phase, WEIR_DRAIN_IDLE);
    assert_false(d.cut);
    assert_false(weir_drain_step(&d, UINT64_MAX));
    feed(r);
    weir_drain_begin(&d, r->g, began_ns, drain_ns);
    weir_drain_hurry(&d, began_ns + 1); /* long before the drain time is over */
    assert_int_equal(d.phase, WEIR_DRAIN_CANCELLING);
    assert_true(d.until_ns == began_ns + 1 + cancel_ns);
    weir_drain_hurry(&d, began_ns + 2);
    assert_int_equal(d.phase, WEIR_DRAIN_CANCELLING);
    assert_true(d.until_ns == began_ns + 1 + cancel_ns);
    step_to_the_end(r, &d, began_ns + 2);
    weir_drain_hurry(&d, began_ns + 3);
    assert_int_equal(d.phase, WEIR_DRAIN_DONE);
    assert_true(d.cut);
    check_cut(r);
    rig_destroy(r);
}

static void a_hurry_when_all_has_ended_cuts_nothing(void **state)
{
    (void)state;
    struct rig *r = two_pools(rig_handled);
    struct weir_drain d;
    weir_drain_begin(&d, r->g, began_ns, drain_ns);
    rig_wait(r, all_pools_are_quiet, r);
    while (d.phase == WEIR_DRAIN_DRAINING)
        weir_drain_step(&d, began_ns);
    assert_int_equal(d.phase, WEIR_DRAIN_LEAVING);
    weir_drain_hurry(&d, began_ns);
    assert_int_equal(d.phase, WEIR_DRAIN_LEAVING);
    step_to_the_end(r, &d, began_ns);
    assert_false(d.cut);
    rig_destroy(r);
}

static void emit_to_a_closed_stage(struct rig_task *t, struct weir_worker *w)
{
    (void)t;
    assert_int_equal(rig_emit_value(w, FEED, 1), WEIR_VERDICT_CLOSED);
}

static void stages_are_closed_once_it_hurries(void **state)
{
    (void)state;
    struct rig *r = two_pools(keep_for_long);
    struct rig_task emit = {.run = emit_to_a_closed_stage};
    struct weir_drain d;
    weir_drain_begin(&d, r->g, began_ns, drain_ns);
    weir_drain_hurry(&d, began_ns);
    rig_run_on(r->g->pools[0].workers[0], &emit);
    step_to_the_end(r, &d, began_ns);
    assert_int_equal(rig_ledger(r, WORK).reasons[WEIR_REASON_CLOSED], 1);
    rig_destroy(r);
}

/* ---- stuck ---- */

static _Atomic bool in_handler;
static sem_t gate;

static enum weir_reason block(struct rig_handler *h, struct weir_event *ev)
{
    (void)h;
    (void)ev;
    atomic_store(&in_handler, true);
    while (sem_wait(&gate) != 0)
        ;
    return WEIR_REASON_NONE;
}

static bool blocks(void *arg)
{
    return atomic_load((_Atomic bool *)arg);
}

static bool other_pool_is_gone(void *arg)
{
    return weir_pool_gone(&((struct rig *)arg)->g->pools[0]);
}

static void a_handler_that_never_comes_back_is_told_of(void **state)
{
    (void)state;
    struct rig *r = two_pools(block);
    struct rig_task emit = {.run = emit_requests};
    struct weir_drain d;
    atomic_store(&in_handler, false);
    sem_init(&gate, 0, 0);
    rig_run_on(r->g->pools[0].workers[0], &emit);
    rig_wait(r, blocks, &in_handler);
    weir_drain_begin(&d, r->g, 0, drain_ns);
    uint64_t now = drain_ns + 1;
    assert_false(weir_drain_step(&d, now));
    assert_false(weir_drain_step(&d, now + cancel_ns));
    assert_int_equal(d.phase, WEIR_DRAIN_CANCELLING);
    now += cancel_ns + 1;
    assert_false(weir_drain_step(&d, now));
    assert_int_equal(d.phase, WEIR_DRAIN_LEAVING);
    rig_wait(r, other_pool_is_gone, r);
    assert_false(weir_drain_step(&d, now + leave_ns));
    assert_non_null(r->g->pools[0].workers[0]); /* none is destroyed before all have ended */
    assert_true(weir_drain_step(&d, now + leave_ns + 1));
    assert_true(d.stuck);
    assert_true(d.cut);
    for (int i = 0; i < EVENTS; i++)
        sem_post(&gate); /* it does come back: a test has to clean up */
    rig_stop(r);
    for (int i = 0; i < EVENTS; i++)
        assert_int_equal(atomic_load(&requests[i].ended), 1);
    rig_destroy(r);
    sem_destroy(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_nothing_in_flight_it_ends_at_once),
        TEST(sources_stop_and_what_they_made_is_handled),
        TEST(suspended_handlers_are_waited_for),
        TEST(after_the_drain_time_what_is_left_is_dropped_and_cancelled),
        TEST(a_second_hurry_does_nothing),
        TEST(a_hurry_when_all_has_ended_cuts_nothing),
        TEST(stages_are_closed_once_it_hurries),
        TEST(a_handler_that_never_comes_back_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
