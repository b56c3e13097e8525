/* What port.c and waiter.c do with what a gate says: every way into a stage, under every policy. */
#include <math.h>

#include "core/gate.h"
#include "core/waiter.h"
#include "port_fixture.h"

static struct weir_gate *gate;

/* WORK gets a gate that lets `burst` events in, and none after them; SPARE has none. */
static void finish_gated(struct weir_overflow_policy policy, double burst)
{
    struct weir_err err;
    struct weir_stage *s = &rig->g->stages[WORK];
    assert_int_equal(weir_gate_create(1, &s->gate, &err), WEIR_OK);
    gate = s->gate;
    finish(policy);
    struct weir_gate_bounds b = {.rate = {0.05}, .burst = burst, .limit = INFINITY, .shed_after_s = INFINITY};
    weir_gate_set(gate, &b, w->now_ns);
}

static struct weir_gate_class_sum gated(void)
{
    static struct weir_gate_sum sum;
    weir_gate_read(&rig->g->stages[WORK], &sum);
    return sum.classes[0];
}

/* The counts of the gate are those of the ledger. */
static void assert_gated(int64_t offered, int64_t refused)
{
    assert_int_equal(gated().offered, offered);
    assert_int_equal(gated().refused, refused);
    assert_int_equal(rig_ledger(rig, WORK).offered, offered);
    rig_check_ledger(rig, WORK);
}

static void never_told(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    (void)em, (void)verdict, (void)ev;
    fail();
}

static void what_the_gate_refuses_is_rejected_before_the_bounds_are_asked(void **state)
{
    (void)state;
    static const enum weir_overflow policies[] = {WEIR_OVERFLOW_REJECT, WEIR_OVERFLOW_WAIT,
                                                  WEIR_OVERFLOW_DROP_NEWEST, WEIR_OVERFLOW_DROP_OLDEST};
    finish_gated((struct weir_overflow_policy){WEIR_OVERFLOW_REJECT, NULL}, 2);
    struct weir_port *port = &rig->g->stages[FEED].ports[0];
    struct rig_request request;
    rig_emit_value(w, FEED, 0);
    rig_emit_value(w, FEED, 1);
    for (size_t i = 0; i < 4; i++) {
        struct weir_emission em = {.done = never_told};
        struct weir_event *ev = rig_event(w, 2);
        rig_request_init(&request);
        ev->request = &request.r;
        port->edges[0].overflow.policy = policies[i];
        assert_int_equal(weir_port_emit(w->seats[FEED], port, ev, &em),
                         WEIR_VERDICT_REJECTED); /* nobody waits for it */
        assert_true(request.r.refused);
        assert_ptr_equal(request.r.refusal.stage, &rig->g->stages[WORK]);
        assert_int_equal(request.r.refusal.reason, WEIR_REASON_GATE);
        assert_int_equal(request.r.refusal.retry_after_ms, 20000);
        ev->request = NULL;
        weir_event_free(w, ev);
        assert_int_equal(reason(WORK, WEIR_REASON_GATE), (int64_t)i + 1);
    }
    assert_int_equal(reason(WORK, WEIR_REASON_FULL), 0);
    assert_ledger(WORK, 6, 2, 0, 2);
    assert_gated(6, 4);
    assert_int_equal(emitted(), 2);
}

static void what_the_gate_refuses_can_be_routed(void **state)
{
    (void)state;
    finish_gated((struct weir_overflow_policy){WEIR_OVERFLOW_ROUTE, &rig->g->stages[SPARE]}, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_emit_value(w, FEED, 3), WEIR_VERDICT_FULL); /* the other stage's verdict */
    assert_ledger(WORK, 4, 1, 0, 1);
    assert_ledger(SPARE, 3, 2, 0, 2);
    assert_int_equal(reason(WORK, WEIR_REASON_ROUTED), 3);
    assert_int_equal(reason(WORK, WEIR_REASON_GATE), 0);
    assert_gated(4, 3);
}

static void what_the_bounds_refuse_costs_the_gate_nothing(void **state)
{
    (void)state;
    finish_gated((struct weir_overflow_policy){WEIR_OVERFLOW_REJECT, NULL}, 4);
    for (int i = 0; i < 20; i++)
        assert_int_equal(rig_emit_value(w, FEED, i), i < 2 ? WEIR_VERDICT_ACCEPTED : WEIR_VERDICT_FULL);
    rig->g->stages[FEED].ports[0].edges[0].overflow =
        (struct weir_overflow_policy){WEIR_OVERFLOW_ROUTE, &rig->g->stages[SPARE]};
    rig_emit_value(w, FEED, 20);
    rig_run(w);
    for (int i = 0; i < 2; i++) /* two more are left of the four */
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
    rig_run(w);
    assert_int_equal(rig_ledger(rig, WORK).handled, 4);
    assert_gated(23, 0);
    rig->g->stages[FEED].ports[0].edges[0].overflow.policy = WEIR_OVERFLOW_REJECT;
    assert_int_equal(rig_emit_value(w, FEED, 0), WEIR_VERDICT_REJECTED);
}

static void drop_oldest_makes_room_only_for_what_the_gate_lets_in(void **state)
{
    (void)state;
    finish_gated((struct weir_overflow_policy){WEIR_OVERFLOW_DROP_OLDEST, NULL}, 4);
    for (int i = 0; i < 6; i++)
        assert_int_equal(rig_emit_value(w, FEED, i), i < 4 ? WEIR_VERDICT_ACCEPTED : WEIR_VERDICT_REJECTED);
    assert_ledger(WORK, 6, 4, 2, 2);
    assert_gated(6, 2);
    assert_int_equal(take_one(WORK), 2);
    assert_int_equal(take_one(WORK), 3);
    assert_int_equal(weir_gate_running(gate), 0);
}

static void a_fan_out_is_rejected_by_one_gate_and_goes_to_the_others(void **state)
{
    (void)state;
    struct weir_err err;
    assert_int_equal(weir_gate_create(1, &rig->g->stages[SPARE].gate, &err), WEIR_OK);
    static const size_t to[] = {WORK, SPARE, LAST};
    rig_wire(rig, FEED, "out", to, 3);
    rig_finish(rig);
    w = rig_worker(rig, 0);
    struct weir_gate_bounds b = {.rate = {0}, .burst = 1, .limit = INFINITY, .shed_after_s = INFINITY};
    weir_gate_set(rig->g->stages[SPARE].gate, &b, w->now_ns);
    assert_int_equal(rig_emit_value(w, FEED, 0), WEIR_VERDICT_REJECTED);
    assert_ledger(WORK, 1, 1, 0, 1);
    assert_ledger(SPARE, 1, 0, 0, 0);
    assert_ledger(LAST, 1, 1, 0, 1);
}

/* FEED's port 0 goes to the gated WORK, port 1 to SPARE. */
static enum weir_verdict emit_both(struct weir_parts *ps, struct weir_part *parts, int64_t value)
{
    for (size_t i = 0; i < 2; i++)
        parts[i] = (struct weir_part){&rig->g->stages[FEED].ports[i], rig_event(w, value)};
    *ps = (struct weir_parts){.from = w->seats[FEED], .parts = parts, .count = 2};
    return weir_parts_emit(ps, true);
}

static void free_parts(struct weir_part *parts)
{
    for (size_t i = 0; i < 2; i++)
        weir_event_free(w, parts[i].ev);
}

static void all_or_none_asks_the_gate_and_gives_back_what_it_granted(void **state)
{
    (void)state;
    struct weir_parts ps;
    struct weir_part parts[2];
    finish_gated((struct weir_overflow_policy){WEIR_OVERFLOW_WAIT, NULL}, 3);
    assert_int_equal(emit_both(&ps, parts, 0), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_both(&ps, parts, 1), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(take_one(WORK), 0); /* WORK has room, SPARE is full */
    for (int i = 0; i < 10; i++) {
        assert_int_equal(emit_both(&ps, parts, 2), WEIR_VERDICT_FULL);
        free_parts(parts);
    }
    assert_gated(2, 0); /* only who refused has counted it */
    assert_int_equal(reason(SPARE, WEIR_REASON_FULL), 10);
    rig_run(w);
    assert_int_equal(emit_both(&ps, parts, 3), WEIR_VERDICT_ACCEPTED); /* the third of the gate's three */
    assert_int_equal(emit_both(&ps, parts, 4), WEIR_VERDICT_REJECTED);
    free_parts(parts);
    assert_int_equal(reason(WORK, WEIR_REASON_GATE), 1);
    assert_gated(4, 1);
    assert_ledger(SPARE, 13, 3, 0, 1);
}

static void all_or_none_waits_for_room_but_never_for_the_gate(void **state)
{
    (void)state;
    struct weir_parts ps;
    struct weir_part parts[2];
    finish_gated((struct weir_overflow_policy){WEIR_OVERFLOW_WAIT, NULL}, 3);
    rig_emit_value(w, FEED, 0);
    rig_emit_value(w, FEED, 1);
    assert_int_equal(emit_both(&ps, parts, 2), WEIR_VERDICT_PENDING);
    for (int i = 0; i < 5; i++)
        assert_int_equal(weir_parts_emit(&ps, true), WEIR_VERDICT_PENDING);
    assert_gated(2, 0); /* the verdict has not fallen */
    struct weir_gate_bounds none = {.rate = {0}, .burst = 1, .limit = INFINITY, .shed_after_s = INFINITY};
    weir_gate_set(gate, &none, w->now_ns);
    assert_int_equal(weir_parts_emit(&ps, true), WEIR_VERDICT_REJECTED);
    free_parts(parts);
    assert_int_equal(rig_ledger(rig, WORK).waiting, 0);
    assert_gated(3, 1);
}

static void free_refused(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    (void)em;
    assert_true(verdict == WEIR_VERDICT_ACCEPTED || verdict == WEIR_VERDICT_EXPIRED);
    weir_event_free(w, ev);
}

static void what_was_let_in_to_wait_is_counted_when_its_verdict_falls(void **state)
{
    (void)state;
    finish_gated((struct weir_overflow_policy){WEIR_OVERFLOW_WAIT, NULL}, 10);
    struct weir_port *port = &rig->g->stages[FEED].ports[0];
    struct weir_emission told[2];
    rig_emit_value(w, FEED, 0);
    rig_emit_value(w, FEED, 1);
    for (int i = 0; i < 2; i++) {
        told[i] = (struct weir_emission){.done = free_refused};
        struct weir_event *ev = rig_event(w, 2 + i);
        ev->deadline_ns = i == 0 ? 0 : w->now_ns + 10;
        assert_int_equal(weir_port_emit(w->seats[FEED], port, ev, &told[i]), WEIR_VERDICT_PENDING);
    }
    assert_gated(2, 0);
    assert_int_equal(take_one(WORK), 0);
    assert_gated(3, 0);
    rig_advance(w, 11);
    weir_waiter_sweep(w, false);
    weir_inbox_drain(&w->inbox);
    assert_gated(4, 0);
    assert_int_equal(reason(WORK, WEIR_REASON_TOO_LATE), 1);
    rig_run(w);
    assert_int_equal(gated().ended, 3);
}

static void a_failed_event_is_refused_by_the_gate_of_on_error(void **state)
{
    (void)state;
    struct weir_err err;
    rig->logics[LAST].handle = rig_failed;
    assert_int_equal(weir_gate_create(1, &rig->g->stages[WORK].gate, &err), WEIR_OK);
    gate = rig->g->stages[WORK].gate;
    rig->g->stages[LAST].on_error =
        (struct weir_edge){.target = &rig->g->stages[WORK], .overflow = {WEIR_OVERFLOW_REJECT, NULL}};
    rig_wire_one(rig, FEED, "out", LAST);
    rig_finish(rig);
    w = rig_worker(rig, 0);
    struct weir_gate_bounds b = {.rate = {0.05}, .burst = 1, .limit = INFINITY, .shed_after_s = INFINITY};
    weir_gate_set(gate, &b, w->now_ns);
    for (int i = 0; i < 3; i++)
        rig_emit_value(w, FEED, i);
    rig_run(w);
    assert_int_equal(rig_ledger(rig, LAST).failed, 3);
    assert_int_equal(rig_ledger(rig, WORK).handled, 1);
    assert_int_equal(reason(WORK, WEIR_REASON_GATE), 2);
    assert_gated(3, 2);
}

static enum weir_verdict emit_of_class(int64_t value, uint8_t class_index)
{
    struct weir_event *ev = rig_event(w, value);
    ev->class_index = class_index;
    return rig_emit(w, FEED, ev);
}

/* WORK gives higher classes first, and has a gate for two of them that lets in 3 in all, by `rate`. */
static void finish_limited(enum weir_overflow policy, double rate)
{
    struct weir_err err;
    assert_int_equal(weir_gate_create(2, &rig->g->stages[WORK].gate, &err), WEIR_OK);
    gate = rig->g->stages[WORK].gate;
    rig->g->stages[WORK].queue.order = WEIR_ORDER_CLASS;
    rig->g->stages[WORK].queue.capacity = 10;
    finish((struct weir_overflow_policy){policy, NULL});
    struct weir_gate_bounds b = {.rate = {rate, rate}, .burst = 3, .limit = 3, .share = {1, 1}, .shed_after_s = INFINITY};
    weir_gate_set(gate, &b, w->now_ns);
}

static void within_the_limit_a_higher_class_has_the_place_of_a_lower_one(void **state)
{
    (void)state;
    finish_limited(WEIR_OVERFLOW_REJECT, INFINITY);
    for (int i = 0; i < 4; i++)
        assert_int_equal(emit_of_class(i, 1), i < 3 ? WEIR_VERDICT_ACCEPTED : WEIR_VERDICT_REJECTED);
    assert_int_equal(emit_of_class(10, 0), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_of_class(11, 0), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_of_class(12, 0), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_of_class(13, 0), WEIR_VERDICT_REJECTED); /* of its own nothing gives way */
    assert_int_equal(reason(WORK, WEIR_REASON_DISPLACED), 3);
    assert_int_equal(reason(WORK, WEIR_REASON_GATE), 2);
    rig_run(w);
    assert_int_equal(rig_ledger(rig, WORK).handled, 3);
    rig_check_ledger(rig, WORK);
}

static void nothing_gives_way_to_what_the_rate_refuses(void **state)
{
    (void)state;
    finish_limited(WEIR_OVERFLOW_REJECT, 0.05);
    for (int i = 0; i < 3; i++)
        assert_int_equal(emit_of_class(i, 0), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_of_class(3, 0), WEIR_VERDICT_REJECTED);
    rig_run(w);
    for (int i = 0; i < 3; i++)
        assert_int_equal(emit_of_class(i, 1), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_of_class(4, 0), WEIR_VERDICT_REJECTED); /* its tokens are spent */
    assert_int_equal(reason(WORK, WEIR_REASON_DISPLACED), 0);
    rig_check_ledger(rig, WORK);
}

static void nothing_gives_way_where_emitters_wait(void **state)
{
    (void)state;
    finish_limited(WEIR_OVERFLOW_WAIT, INFINITY);
    for (int i = 0; i < 3; i++)
        assert_int_equal(emit_of_class(i, 1), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_of_class(10, 0), WEIR_VERDICT_REJECTED);
    assert_int_equal(reason(WORK, WEIR_REASON_DISPLACED), 0);
}

#define PORT_TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PORT_TEST(what_the_gate_refuses_is_rejected_before_the_bounds_are_asked),
        PORT_TEST(what_the_gate_refuses_can_be_routed),
        PORT_TEST(what_the_bounds_refuse_costs_the_gate_nothing),
        PORT_TEST(drop_oldest_makes_room_only_for_what_the_gate_lets_in),
        PORT_TEST(a_fan_out_is_rejected_by_one_gate_and_goes_to_the_others),
        PORT_TEST(all_or_none_asks_the_gate_and_gives_back_what_it_granted),
        PORT_TEST(all_or_none_waits_for_room_but_never_for_the_gate),
        PORT_TEST(what_was_let_in_to_wait_is_counted_when_its_verdict_falls),
        PORT_TEST(a_failed_event_is_refused_by_the_gate_of_on_error),
        PORT_TEST(within_the_limit_a_higher_class_has_the_place_of_a_lower_one),
        PORT_TEST(nothing_gives_way_to_what_the_rate_refuses),
        PORT_TEST(nothing_gives_way_where_emitters_wait),
    };
    return cmocka_run_group_tests_name("gate_port", tests, NULL, NULL);
}
