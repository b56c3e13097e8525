#include "core/waiter.h"

#include "core/pool.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, WORK, SIDE, STAGES };

static struct rig *rig;
static struct weir_worker *w;

/* feed → work, which holds two events and makes senders wait. */
static int open_rig(void **state)
{
    (void)state;
    rig = rig_create(STAGES, 1);
    rig_pool(rig, 0, "main", 2, false);
    rig_stage(rig, FEED, "feed", 0, rig_handled, NULL)->queue.order = WEIR_ORDER_FIFO;
    struct weir_stage *s = rig_stage(rig, WORK, "work", 0, rig_handled, NULL);
    s->queue.capacity = 2;
    s->queue.overflow.policy = WEIR_OVERFLOW_WAIT;
    rig_stage(rig, SIDE, "side", 0, rig_handled, NULL);
    return 0;
}

static void finish(void)
{
    rig_wire_one(rig, FEED, "out", WORK);
    static const size_t both[] = {WORK, SIDE};
    rig_wire(rig, FEED, "both", both, 2);
    rig_finish(rig);
    w = rig_worker(rig, 0);
}

static int close_rig(void **state)
{
    rig_worker_end(w);
    rig_destroy(rig);
    return test_teardown(state);
}

struct wait {
    struct weir_emission em;
    struct weir_worker *worker;
    int verdict;                  /* -1: none yet */
    int64_t back;                 /* value of the event that came back; -1: none */
    struct weir_request *request; /* of it */
    bool refused;
};

static void on_done(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    struct wait *wait = (struct wait *)(void *)em;
    assert_int_equal(wait->verdict, -1); /* once */
    wait->verdict = (int)verdict;
    if (ev == NULL)
        return;
    wait->back = ev->value.integer;
    wait->request = ev->request;
    wait->refused = ev->request != NULL && ev->request->refused;
    ev->request = NULL;
    weir_event_free(wait->worker, ev);
}

static enum weir_verdict emit(struct weir_worker *from, size_t port, struct wait *wait, struct weir_event *ev)
{
    *wait = (struct wait){.em.done = on_done, .worker = from, .verdict = -1, .back = -1};
    return weir_port_emit(from->seats[FEED], &rig->g->stages[FEED].ports[port], ev, &wait->em);
}

static void fill(void)
{
    rig_emit_value(w, FEED, 0);
    rig_emit_value(w, FEED, 1);
}

static int64_t take_one(struct weir_worker *from)
{
    struct weir_event *ev;
    size_t n = rig_take(from, WORK, &ev, 1);
    if (n == 0)
        n = rig_take(from, WORK, &ev, 1); /* the other lane's turn */
    assert_int_equal(n, 1);
    int64_t value = ev->value.integer;
    rig_finish_event(from, WORK, ev);
    return value;
}

static void waiting_events_are_let_in_in_order(void **state)
{
    (void)state;
    finish();
    fill();
    struct wait waits[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(emit(w, 0, &waits[i], rig_event(w, 10 + i)), WEIR_VERDICT_PENDING);
    struct weir_ledger_sum sum = rig_ledger(rig, WORK);
    assert_int_equal(sum.waiting, 3);
    assert_int_equal(sum.offered, 2); /* the verdict has not fallen */
    rig_check_ledger(rig, WORK);
    assert_int_equal(weir_stage_emitted(&rig->g->stages[FEED], 0), 2);

    assert_int_equal(take_one(w), 0);
    assert_int_equal(waits[0].verdict, -1); /* told in the inbox, never inside */
    assert_true(weir_inbox_drain(&w->inbox));
    assert_int_equal(waits[0].verdict, WEIR_VERDICT_ACCEPTED);
    assert_int_equal(waits[1].verdict, -1);
    assert_int_equal(weir_stage_emitted(&rig->g->stages[FEED], 0), 3);
    rig_check_ledger(rig, WORK);

    assert_int_equal(take_one(w), 10); /* the turn of the shared lane, which it was let into */
    assert_int_equal(take_one(w), 1);
    assert_int_equal(take_one(w), 11);
    assert_int_equal(take_one(w), 12);
    weir_inbox_drain(&w->inbox);
    assert_int_equal(waits[2].verdict, WEIR_VERDICT_ACCEPTED);
    sum = rig_ledger(rig, WORK);
    assert_int_equal(sum.waiting, 0);
    assert_int_equal(sum.handled, 5);
}

static void a_new_event_does_not_pass_the_waiting(void **state)
{
    (void)state;
    finish();
    fill();
    struct wait first, second;
    emit(w, 0, &first, rig_event(w, 2));
    assert_int_equal(atomic_load(&rig->g->stages[WORK].queue.shared.waiting), 1);
    rig->g->stages[WORK].queue.capacity = 3; /* room appears without anybody leaving */
    assert_int_equal(emit(w, 0, &second, rig_event(w, 3)), WEIR_VERDICT_PENDING);
    weir_inbox_drain(&w->inbox);
    assert_int_equal(first.verdict, WEIR_VERDICT_ACCEPTED); /* the second's arrival let the first in */
    assert_int_equal(second.verdict, -1);
    rig->g->stages[WORK].queue.capacity = 2;
    rig_run(w);
    assert_int_equal(second.verdict, WEIR_VERDICT_ACCEPTED);
}

/* In an ordered queue what a worker emitted before a wait, and has not sent on yet, must arrive before what
 * waited. */
static void a_let_in_event_does_not_pass_those_on_their_way(void **state)
{
    (void)state;
    rig->g->stages[WORK].queue.keys.by = WEIR_BY_KEY;
    finish();
    struct weir_worker *other = rig_worker(rig, 0);
    rig_emit_value(w, FEED, 0);
    struct weir_event *ev;
    assert_int_equal(rig_take(other, WORK, &ev, 1), 0);
    weir_worker_flush(w);
    assert_int_equal(rig_take(other, WORK, &ev, 1), 1);
    rig_emit_value(w, FEED, 1); /* on its way: not flushed */
    struct wait wait;
    assert_int_equal(emit(w, 0, &wait, rig_event(w, 2)), WEIR_VERDICT_PENDING);
    rig_finish_event(other, WORK, ev); /* lets 2 in */
    assert_int_equal(take_one(other), 1);
    assert_int_equal(take_one(other), 2);
    weir_inbox_drain(&w->inbox);
    assert_int_equal(wait.verdict, WEIR_VERDICT_ACCEPTED);
    rig_worker_end(other);
}

static void another_worker_lets_in(void **state)
{
    (void)state;
    finish();
    fill();
    struct wait wait;
    struct weir_worker *other = rig_worker(rig, 0);
    assert_int_equal(emit(other, 0, &wait, rig_event(other, 2)), WEIR_VERDICT_PENDING);
    take_one(w);
    assert_false(weir_inbox_drain(&w->inbox));
    assert_true(weir_inbox_drain(&other->inbox)); /* the emitter's worker is told */
    assert_int_equal(wait.verdict, WEIR_VERDICT_ACCEPTED);
    assert_true(weir_list_empty(&other->waits));
    rig_run(w);
    rig_check_ledger(rig, WORK);
    rig_worker_end(other);
}

static void a_wait_ends_at_the_deadline_of_the_event(void **state)
{
    (void)state;
    finish();
    fill();
    struct rig_request request;
    rig_request_init(&request);
    struct weir_event *ev = rig_event(w, 2);
    ev->deadline_ns = w->now_ns + WEIR_NS_PER_MS;
    ev->request = &request.r;
    struct wait wait;
    assert_int_equal(emit(w, 0, &wait, ev), WEIR_VERDICT_PENDING);
    rig_advance(w, WEIR_NS_PER_MS);
    weir_waiter_sweep(w, false);
    assert_int_equal(wait.verdict, -1);
    rig_advance(w, 1);
    weir_waiter_sweep(w, false);
    assert_int_equal(wait.verdict, WEIR_VERDICT_EXPIRED);
    assert_int_equal(wait.back, 2);
    assert_ptr_equal(wait.request, &request.r); /* the sender's again */
    assert_true(wait.refused);
    struct weir_ledger_sum sum = rig_ledger(rig, WORK);
    assert_int_equal(sum.reasons[WEIR_REASON_TOO_LATE], 1);
    assert_int_equal(sum.waiting, 0);
    assert_int_equal(sum.offered, 3);
    rig_check_ledger(rig, WORK);
}

static void without_a_deadline_it_ends_at_the_wall_limit_of_the_stage(void **state)
{
    (void)state;
    rig->g->stages[WORK].wall_ns = 7 * WEIR_NS_PER_MS;
    finish();
    fill();
    struct wait wait;
    emit(w, 0, &wait, rig_event(w, 2));
    rig_advance(w, 7 * WEIR_NS_PER_MS + 1);
    weir_waiter_sweep(w, false);
    assert_int_equal(wait.verdict, WEIR_VERDICT_EXPIRED);
}

static void a_wait_ends_when_nobody_waits_for_the_answer(void **state)
{
    (void)state;
    finish();
    fill();
    struct rig_request request;
    rig_request_init(&request);
    struct weir_event *ev = rig_event(w, 2);
    ev->request = &request.r;
    struct wait wait;
    emit(w, 0, &wait, ev);
    weir_waiter_sweep(w, false);
    assert_int_equal(wait.verdict, -1);
    atomic_store(&request.gone, true);
    weir_waiter_sweep(w, false);
    assert_int_equal(wait.verdict, WEIR_VERDICT_EXPIRED);
    assert_int_equal(rig_ledger(rig, WORK).reasons[WEIR_REASON_LEFT], 1);
}

static void closing_ends_all_waits(void **state)
{
    (void)state;
    finish();
    fill();
    struct wait waits[2];
    emit(w, 0, &waits[0], rig_event(w, 2));
    emit(w, 0, &waits[1], rig_event(w, 3));
    weir_waiter_sweep(w, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(waits[i].verdict, WEIR_VERDICT_CLOSED);
        assert_int_equal(waits[i].back, 2 + i);
    }
    assert_int_equal(rig_ledger(rig, WORK).reasons[WEIR_REASON_CLOSED], 2);
    rig_check_ledger(rig, WORK);
}

static void a_cancelled_worker_begins_no_wait(void **state)
{
    (void)state;
    finish();
    fill();
    w->obeyed = WEIR_ORDER_CANCEL;
    struct wait wait;
    struct weir_event *ev = rig_event(w, 2);
    assert_int_equal(emit(w, 0, &wait, ev), WEIR_VERDICT_FULL);
    weir_event_free(w, ev);
    assert_true(weir_list_empty(&w->waits));
}

static void one_that_leaves_lets_a_smaller_one_behind_it_in(void **state)
{
    (void)state;
    rig->g->stages[WORK].queue.capacity = 10;
    rig->g->stages[WORK].queue.bytes = 4 * sizeof(struct weir_event);
    finish();
    for (int i = 0; i < 3; i++)
        rig_emit_value(w, FEED, i);
    struct wait large, small;
    struct weir_event *ev = rig_event_sized(w, 2 * sizeof *ev);
    ev->deadline_ns = w->now_ns + 10;
    assert_int_equal(emit(w, 0, &large, ev), WEIR_VERDICT_PENDING);
    assert_int_equal(emit(w, 0, &small, rig_event(w, 4)),
                     WEIR_VERDICT_PENDING); /* would fit, but has to stay behind */
    rig_advance(w, 11);
    weir_waiter_sweep(w, false);
    assert_int_equal(large.verdict, WEIR_VERDICT_EXPIRED);
    weir_inbox_drain(&w->inbox);
    assert_int_equal(small.verdict, WEIR_VERDICT_ACCEPTED);
}

static void one_larger_than_the_queue_does_not_wait(void **state)
{
    (void)state;
    rig->g->stages[WORK].queue.bytes = 2 * sizeof(struct weir_event);
    finish();
    fill();
    struct wait wait;
    struct weir_event *ev = rig_event_sized(w, 2 * sizeof *ev);
    assert_int_equal(emit(w, 0, &wait, ev), WEIR_VERDICT_FULL);
    weir_event_free(w, ev);
    assert_int_equal(rig_ledger(rig, WORK).reasons[WEIR_REASON_FULL], 1);
}

static void fan_out_waits_for_its_slowest_branch(void **state)
{
    (void)state;
    finish();
    fill();
    struct wait wait;
    assert_int_equal(emit(w, 1, &wait, rig_event(w, 2)), WEIR_VERDICT_PENDING);
    assert_int_equal(rig_ledger(rig, SIDE).accepted, 1);
    rig_run(w);
    assert_int_equal(wait.verdict, WEIR_VERDICT_ACCEPTED);
    assert_int_equal(wait.back, -1);
    assert_int_equal(weir_stage_emitted(&rig->g->stages[FEED], 1), 1);

    fill();
    atomic_store(&rig->g->stages[SIDE].queue.closed, true);
    assert_int_equal(emit(w, 1, &wait, rig_event(w, 3)), WEIR_VERDICT_PENDING);
    rig_run(w);
    assert_int_equal(wait.verdict, WEIR_VERDICT_CLOSED); /* the worst of both */
    assert_int_equal(wait.back, 3);                      /* the original */
    assert_int_equal(weir_stage_emitted(&rig->g->stages[FEED], 1), 1);
    assert_int_equal(rig_ledger(rig, WORK).handled, 6);
}

static void without_memory_the_sender_is_refused(void **state)
{
    (void)state;
    finish();
    NEEDS_INJECTION();
    fill();
    enum weir_verdict v = WEIR_VERDICT_FULL;
    struct wait wait;
    for (long n = 0; v != WEIR_VERDICT_PENDING; n++) {
        struct weir_event *ev = rig_event(w, 2);
        weir_mem_fail_after(n);
        v = emit(w, 0, &wait, ev);
        weir_mem_fail_after(-1);
        assert_true(v == WEIR_VERDICT_PENDING || v == WEIR_VERDICT_FULL);
        if (v == WEIR_VERDICT_FULL)
            weir_event_free(w, ev);
        rig_check_ledger(rig, WORK);
    }
    rig_run(w);
    assert_int_equal(wait.verdict, WEIR_VERDICT_ACCEPTED);
}

#define WAIT_TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WAIT_TEST(waiting_events_are_let_in_in_order),
        WAIT_TEST(a_new_event_does_not_pass_the_waiting),
        WAIT_TEST(a_let_in_event_does_not_pass_those_on_their_way),
        WAIT_TEST(another_worker_lets_in),
        WAIT_TEST(a_wait_ends_at_the_deadline_of_the_event),
        WAIT_TEST(without_a_deadline_it_ends_at_the_wall_limit_of_the_stage),
        WAIT_TEST(a_wait_ends_when_nobody_waits_for_the_answer),
        WAIT_TEST(closing_ends_all_waits),
        WAIT_TEST(a_cancelled_worker_begins_no_wait),
        WAIT_TEST(one_that_leaves_lets_a_smaller_one_behind_it_in),
        WAIT_TEST(one_larger_than_the_queue_does_not_wait),
        WAIT_TEST(fan_out_waits_for_its_slowest_branch),
        WAIT_TEST(without_memory_the_sender_is_refused),
    };
    return cmocka_run_group_tests_name("waiter", tests, NULL, NULL);
}
