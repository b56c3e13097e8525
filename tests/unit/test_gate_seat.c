/* The gate of a stage at work: its limit, shedding, and what seats count for it. */
#include <math.h>

#include "core/gate.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "gate_fixture.h"
#include "support.h"

enum { FEED, WORK, STAGES };

static struct rig *rig;
static struct weir_worker *w;
static struct weir_gate *gate;

/* feed (pool other) → work (pool main) with a gate of three classes. */
static int open_rig(void **state)
{
    (void)state;
    rig = rig_create(STAGES, 2);
    rig_pool(rig, 0, "main", 2, false);
    rig_pool(rig, 1, "other", 2, false);
    rig->g->class_count = 3;
    rig_stage(rig, FEED, "feed", 0, rig_handled, NULL);
    struct weir_stage *s = rig_stage(rig, WORK, "work", 0, rig_handled, NULL);
    s->queue.order = WEIR_ORDER_ADAPTIVE;
    s->queue.capacity = 50;
    s->gate = gate = make(3);
    rig_wire_one(rig, FEED, "out", WORK);
    rig_finish(rig);
    w = rig_worker(rig, 0);
    return 0;
}

static int close_rig(void **state)
{
    assert_int_equal(weir_gate_running(gate), 0);
    rig_worker_end(w);
    assert_int_equal(weir_queue_depth(&rig->g->stages[WORK].queue), 0);
    rig_destroy(rig);
    return test_teardown(state);
}

static enum weir_verdict emit_class(uint8_t class_index, int64_t value)
{
    struct weir_event *ev = rig_event(w, value);
    ev->class_index = class_index;
    return rig_emit(w, FEED, ev);
}

static size_t accepted_of(uint8_t class_index, size_t offers)
{
    size_t n = 0;
    for (size_t i = 0; i < offers; i++)
        n += emit_class(class_index, (int64_t)i) == WEIR_VERDICT_ACCEPTED;
    return n;
}

static struct weir_gate_class_sum counts(size_t class_index)
{
    struct weir_gate_sum sum;
    weir_gate_read(&rig->g->stages[WORK], &sum);
    assert_int_equal(sum.class_count, 3);
    return sum.classes[class_index];
}

static void lower_classes_reach_the_limit_first(void **state)
{
    (void)state;
    struct weir_gate_bounds b = bounds(INFINITY, 1);
    b.limit = 10;
    weir_gate_set(gate, &b, w->now_ns);
    assert_int_equal(accepted_of(2, 20), 8);
    assert_int_equal(accepted_of(1, 20), 1);
    assert_int_equal(accepted_of(0, 20), 1);
    assert_int_equal(rig_ledger(rig, WORK).reasons[WEIR_REASON_GATE], 50);
    assert_int_equal(counts(0).refused, 19);
    assert_int_equal(counts(1).refused, 19);
    assert_int_equal(counts(2).refused, 12);
    assert_int_equal(counts(2).offered, 20);
    rig_run(w);
    b.limit = 0.3; /* one at least, or nothing would ever go on */
    weir_gate_set(gate, &b, w->now_ns);
    assert_int_equal(accepted_of(2, 20), 1);
    rig_run(w);
    assert_int_equal(accepted_of(0, 20), 1);
    rig_run(w);
}

static void what_runs_counts_towards_the_limit(void **state)
{
    (void)state;
    struct weir_gate_bounds b = bounds(INFINITY, 1);
    b.limit = 3;
    weir_gate_set(gate, &b, w->now_ns);
    struct weir_event *evs[2];
    assert_int_equal(accepted_of(0, 5), 3);
    assert_int_equal(rig_take(w, WORK, evs, 2), 2);
    assert_int_equal(accepted_of(0, 1), 0); /* the two are on their way: queued still */
    for (int i = 0; i < 2; i++)
        assert_true(weir_seat_begin(w->seats[WORK], evs[i]));
    assert_int_equal(weir_gate_running(gate), 2);
    assert_int_equal(accepted_of(0, 1), 0);
    weir_seat_end(w->seats[WORK], evs[0], WEIR_REASON_ERROR, NULL);
    assert_int_equal(weir_gate_running(gate), 1);
    assert_int_equal(accepted_of(0, 5), 1);
    weir_seat_end(w->seats[WORK], evs[1], WEIR_REASON_NONE, NULL);
    b.limit = INFINITY;
    weir_gate_set(gate, &b, w->now_ns);
    assert_int_equal(accepted_of(0, 5), 5);
    rig_run(w);
    assert_int_equal(counts(0).ended, 9);
}

static void what_waited_too_long_is_shed_and_its_request_answered(void **state)
{
    (void)state;
    struct weir_gate_bounds b = bounds(INFINITY, 1);
    b.shed_after_s = 0.02;
    weir_gate_set(gate, &b, w->now_ns);
    struct rig_request late, in_time;
    struct rig_request *requests[] = {&late, &in_time};
    for (int i = 0; i < 2; i++) {
        struct weir_event *ev = rig_event(w, i);
        rig_request_init(requests[i]);
        ev->request = &requests[i]->r;
        assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
        rig_advance(w, 1);
    }
    rig_advance(w, 20 * WEIR_NS_PER_MS - 1);
    struct weir_event *evs[2];
    assert_int_equal(rig_take(w, WORK, evs, 2), 2);
    assert_false(weir_seat_begin(w->seats[WORK], evs[0]));
    assert_int_equal(weir_gate_running(gate), 0);
    assert_true(weir_seat_begin(w->seats[WORK], evs[1]));
    weir_seat_end(w->seats[WORK], evs[1], WEIR_REASON_NONE, NULL);
    rig_request_check(&late, WEIR_REQUEST_DROPPED);
    rig_request_check(&in_time, WEIR_REQUEST_UNANSWERED);
    struct weir_ledger_sum sum = rig_ledger(rig, WORK);
    assert_int_equal(sum.dropped, 1);
    assert_int_equal(sum.reasons[WEIR_REASON_SHED], 1);
    assert_string_equal(weir_reason_text(WEIR_REASON_SHED), "shed");
    assert_string_equal(weir_reason_outcome(WEIR_REASON_SHED), "dropped");
    rig_check_ledger(rig, WORK);
    assert_int_equal(counts(0).ended, 1);
    assert_int_equal(counts(0).wait_ns.count, 2);
    assert_int_equal(weir_gate_take_wait_min(gate), 20 * WEIR_NS_PER_MS);
    assert_true(weir_gate_take_wait_min(gate) == UINT64_MAX);
}

static void an_expired_event_is_not_shed_and_not_running(void **state)
{
    (void)state;
    struct weir_gate_bounds b = bounds(INFINITY, 1);
    b.shed_after_s = 0;
    weir_gate_set(gate, &b, w->now_ns);
    struct weir_event *ev = rig_event(w, 1);
    ev->deadline_ns = w->now_ns + 10;
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    rig_advance(w, 11);
    rig_run(w);
    assert_int_equal(rig_ledger(rig, WORK).reasons[WEIR_REASON_DEADLINE], 1);
    assert_int_equal(rig_ledger(rig, WORK).dropped, 0);
    rig_check_ledger(rig, WORK);
}

static void response_times_are_counted_from_the_arrival_by_class(void **state)
{
    (void)state;
    struct weir_event *ev = rig_event(w, 1);
    ev->class_index = 1;
    ev->arrival_ns -= 300 * WEIR_NS_PER_MS; /* it was elsewhere before */
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    rig_advance(w, 100 * WEIR_NS_PER_MS);
    assert_int_equal(rig_take(w, WORK, &ev, 1), 1);
    assert_true(weir_seat_begin(w->seats[WORK], ev));
    rig_advance(w, 50 * WEIR_NS_PER_MS);
    weir_seat_end(w->seats[WORK], ev, WEIR_REASON_NONE, NULL);
    struct weir_gate_class_sum c = counts(1);
    assert_int_equal(c.ended, 1);
    assert_int_equal(c.response_ns.max, 450 * WEIR_NS_PER_MS);
    assert_int_equal(c.wait_ns.max, 100 * WEIR_NS_PER_MS);
    assert_int_equal(counts(0).offered + counts(2).offered, 0);
    assert_int_equal(counts(0).response_ns.count, 0);
}

static void adaptive_order_follows_the_gate(void **state)
{
    (void)state;
    struct weir_gate_bounds b = bounds(INFINITY, 1);
    accepted_of(0, 45); /* nearly full */
    struct weir_event *ev;
    rig_take(w, WORK, &ev, 1);
    assert_int_equal(ev->value.integer, 0);
    rig_finish_event(w, WORK, ev);
    b.overloaded = true;
    weir_gate_set(gate, &b, w->now_ns);
    rig_take(w, WORK, &ev, 1);
    assert_int_equal(ev->value.integer, 44);
    rig_finish_event(w, WORK, ev);
    rig_run(w);
}

static void seats_without_memory_for_the_counts_are_not_made(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    long live = weir_mem_live();
    struct weir_seat **seats = NULL;
    size_t slot = rig->g->pools[1].first_slot;
    for (long n = 0; seats == NULL; n++) {
        weir_mem_fail_after(n);
        seats = weir_graph_seats(rig->g, slot);
        weir_mem_fail_after(-1);
        if (seats == NULL)
            assert_int_equal(weir_mem_live(), live);
    }
    assert_int_equal(weir_mem_live(),
                     live + 4); /* seats, one tally; no times, since its pool does not serve the stage */
    assert_null(seats[FEED]->tally);
    assert_non_null(seats[WORK]->tally);
    assert_int_equal(counts(0).offered, 0); /* reads it too */
}

static void a_stage_without_one_reads_zeros(void **state)
{
    (void)state;
    static struct weir_gate_sum sum;
    weir_gate_read(&rig->g->stages[FEED], &sum);
    assert_int_equal(sum.class_count, 0);
    assert_int_equal(sum.classes[0].offered, 0);
}

#define STAGE_TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(lower_classes_reach_the_limit_first),
        STAGE_TEST(what_runs_counts_towards_the_limit),
        STAGE_TEST(what_waited_too_long_is_shed_and_its_request_answered),
        STAGE_TEST(an_expired_event_is_not_shed_and_not_running),
        STAGE_TEST(response_times_are_counted_from_the_arrival_by_class),
        STAGE_TEST(adaptive_order_follows_the_gate),
        STAGE_TEST(seats_without_memory_for_the_counts_are_not_made),
        STAGE_TEST(a_stage_without_one_reads_zeros),
    };
    return cmocka_run_group_tests_name("gate_seat", tests, NULL, NULL);
}
