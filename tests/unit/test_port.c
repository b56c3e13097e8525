#include "core/port.h"

#include "port_fixture.h"

static enum weir_verdict emit_request(struct rig_request *request, int64_t value)
{
    rig_request_init(request);
    struct weir_event *ev = rig_event(w, value);
    ev->request = &request->r;
    return rig_emit(w, FEED, ev);
}

static void reject_tells_the_sender(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_REJECT, NULL});
    struct rig_request a, b, c;
    assert_int_equal(emit_request(&a, 0), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_request(&b, 1), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_request(&c, 2), WEIR_VERDICT_FULL);
    rig_request_check(&c, WEIR_REQUEST_REFUSED); /* by the sender, who held it still */
    assert_ledger(WORK, 3, 2, 0, 2);
    assert_int_equal(emitted(), 2);
    rig_run(w);
    rig_request_check(&a, WEIR_REQUEST_UNANSWERED);
    rig_request_check(&b, WEIR_REQUEST_UNANSWERED);
}

static void drop_newest_accepts_and_drops_the_new_one(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_DROP_NEWEST, NULL});
    struct rig_request request;
    rig_emit_value(w, FEED, 0);
    rig_emit_value(w, FEED, 1);
    assert_int_equal(emit_request(&request, 2), WEIR_VERDICT_ACCEPTED);
    rig_request_check(&request, WEIR_REQUEST_DROPPED);
    assert_ledger(WORK, 3, 3, 1, 2);
    assert_int_equal(reason(WORK, WEIR_REASON_NEWEST), 1);
    assert_int_equal(emitted(), 3);
    assert_int_equal(take_one(WORK), 0);
    assert_int_equal(take_one(WORK), 1);
}

static void drop_oldest_makes_room_in_the_own_lane(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_DROP_OLDEST, NULL});
    struct rig_request request;
    emit_request(&request, 0);
    rig_emit_value(w, FEED, 1);
    assert_int_equal(rig_emit_value(w, FEED, 2), WEIR_VERDICT_ACCEPTED);
    rig_request_check(&request, WEIR_REQUEST_DROPPED);
    assert_ledger(WORK, 3, 3, 1, 2);
    assert_int_equal(reason(WORK, WEIR_REASON_OLDEST), 1);
    assert_int_equal(take_one(WORK), 1);
    assert_int_equal(take_one(WORK), 2);
}

static void drop_oldest_makes_room_in_the_shared_lane(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_DROP_OLDEST, NULL});
    atomic_store(&rig->g->pools[0].live, 2);
    w->seats[WORK]->share = 0;
    for (int i = 0; i < 4; i++) /* also from what is on its way there */
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
    assert_ledger(WORK, 4, 4, 2, 2);
    w->seats[WORK]->share = 10;
    assert_int_equal(take_one(WORK), 2);
    assert_int_equal(take_one(WORK), 3);
}

static void drop_oldest_drops_several_for_a_large_one_and_refuses_one_too_large(void **state)
{
    (void)state;
    rig->g->stages[WORK].queue.capacity = 10;
    rig->g->stages[WORK].queue.bytes = 4 * sizeof(struct weir_event);
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_DROP_OLDEST, NULL});
    for (int i = 0; i < 4; i++)
        rig_emit_value(w, FEED, i);
    assert_int_equal(rig_emit(w, FEED, rig_event_sized(w, 2 * sizeof(struct weir_event))),
                     WEIR_VERDICT_ACCEPTED);
    assert_ledger(WORK, 5, 5, 3, 2);
    assert_int_equal(rig_emit(w, FEED, rig_event_sized(w, 4 * sizeof(struct weir_event))), WEIR_VERDICT_FULL);
    assert_int_equal(reason(WORK, WEIR_REASON_BYTES), 1);
    rig_check_ledger(rig, WORK);
}

/* When the dropped events were all that the own lane held and the new one goes to the shared lane, the worker
 * must not go on looking. */
static void an_own_lane_emptied_by_drop_oldest_is_not_ready(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_DROP_OLDEST, NULL});
    rig_emit_value(w, FEED, 0);
    rig_emit_value(w, FEED, 1);
    atomic_store(&rig->g->pools[0].live, 2);
    w->seats[WORK]->share = 0;
    rig_emit_value(w, FEED, 2);
    rig_emit_value(w, FEED, 3);
    assert_int_equal(w->seats[WORK]->lane.count, 0);
    w->seats[WORK]->share = 10;
    rig_run(w);
    struct weir_event *none;
    assert_int_equal(rig_take(w, WORK, &none, 1), 0);
    assert_int_equal(w->ready[0], 0);
}

static void route_offers_elsewhere_and_returns_that_verdict(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_ROUTE, &rig->g->stages[SPARE]});
    struct rig_request request;
    for (int i = 0; i < 4; i++)
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(emit_request(&request, 4), WEIR_VERDICT_FULL);
    rig_request_check(&request, WEIR_REQUEST_REFUSED);
    assert_ledger(WORK, 5, 2, 0, 2);
    assert_ledger(SPARE, 3, 2, 0, 2);
    assert_int_equal(reason(WORK, WEIR_REASON_ROUTED), 3);
    assert_int_equal(reason(SPARE, WEIR_REASON_FULL), 1);
    assert_int_equal(emitted(), 4);
}

static void routes_chain_with_the_policy_of_each_queue(void **state)
{
    (void)state;
    rig->g->stages[SPARE].queue.overflow =
        (struct weir_overflow_policy){WEIR_OVERFLOW_ROUTE, &rig->g->stages[LAST]};
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_ROUTE, &rig->g->stages[SPARE]});
    for (int i = 0; i < 6; i++)
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
    assert_ledger(WORK, 6, 2, 0, 2);
    assert_ledger(SPARE, 4, 2, 0, 2);
    assert_ledger(LAST, 2, 2, 0, 2);
}

static void a_loop_of_routes_ends(void **state)
{
    (void)state;
    rig->g->stages[SPARE].queue.overflow =
        (struct weir_overflow_policy){WEIR_OVERFLOW_ROUTE, &rig->g->stages[WORK]};
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_ROUTE, &rig->g->stages[SPARE]});
    for (int i = 0; i < 4; i++)
        rig_emit_value(w, FEED, i);
    assert_int_equal(rig_emit_value(w, FEED, 4), WEIR_VERDICT_FULL);
    rig_check_ledger(rig, WORK);
    rig_check_ledger(rig, SPARE);
}

static void an_edge_overrides_the_policy_of_the_queue(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_REJECT, NULL});
    rig->g->stages[FEED].ports[0].edges[0].overflow.policy = WEIR_OVERFLOW_DROP_OLDEST;
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
    assert_ledger(WORK, 3, 3, 1, 2);
}

static void a_closed_stage_takes_nothing(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_WAIT, NULL});
    atomic_store(&rig->g->stages[WORK].queue.closed, true);
    assert_int_equal(rig_emit_value(w, FEED, 0), WEIR_VERDICT_CLOSED);
    assert_int_equal(reason(WORK, WEIR_REASON_CLOSED), 1);
    assert_ledger(WORK, 1, 0, 0, 0);
}

static void an_event_past_its_deadline_is_refused(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_DROP_OLDEST, NULL});
    struct weir_event *ev = rig_event(w, 0);
    ev->deadline_ns = w->now_ns - 1;
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_EXPIRED);
    assert_int_equal(reason(WORK, WEIR_REASON_TOO_LATE), 1);
    ev = rig_event(w, 0);
    ev->deadline_ns = w->now_ns;
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    rig_check_ledger(rig, WORK);
}

static void wait_without_an_emission_answers_full(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_WAIT, NULL});
    rig_emit_value(w, FEED, 0);
    rig_emit_value(w, FEED, 1);
    assert_int_equal(rig_emit_value(w, FEED, 2), WEIR_VERDICT_FULL);
    assert_ledger(WORK, 3, 2, 0, 2);
}

/* ---- fan-out ---- */

static void finish_fan_out(void)
{
    static const size_t to[] = {WORK, SPARE, LAST};
    rig_wire(rig, FEED, "out", to, 3);
    rig_finish(rig);
    w = rig_worker(rig, 0);
}

static void a_request_is_not_sent_to_a_list(void **state)
{
    (void)state;
    finish_fan_out();
    struct rig_request request;
    rig_request_init(&request);
    struct weir_event *ev = rig_event(w, 1);
    ev->request = &request.r;
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_REJECTED);
    rig_request_check(&request, WEIR_REQUEST_REFUSED); /* it was the sender's still */
    assert_int_equal(emitted(), 0);
}

static void fan_out_gives_each_branch_a_copy(void **state)
{
    (void)state;
    finish_fan_out();
    struct weir_event *ev = rig_event_sized(w, 10), *copies[3];
    uint64_t id = ev->id;
    ev->key = 7;
    ev->class_index = 3;
    ev->deadline_ns = w->now_ns + 1000;
    ev->trace.flags = 9;
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(rig_take(w, WORK + i, &copies[i], 1), 1);
        assert_true(copies[i]->id != id);
        assert_int_equal(copies[i]->key, 7);
        assert_int_equal(copies[i]->class_index, 3);
        assert_int_equal(copies[i]->trace.flags, 9);
        assert_int_equal(copies[i]->deadline_ns, w->now_ns + 1000);
        assert_ptr_equal(copies[i]->value.blob, copies[0]->value.blob); /* one immutable value */
    }
    assert_int_equal(atomic_load(&copies[0]->value.blob->refs), 3);
    for (size_t i = 0; i < 3; i++)
        rig_finish_event(w, WORK + i, copies[i]);
    assert_int_equal(emitted(), 1);
}

static void fan_out_returns_the_worst_verdict_and_its_branches_are_independent(void **state)
{
    (void)state;
    finish_fan_out();
    for (int i = 0; i < 2; i++)
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_emit_value(w, FEED, 2), WEIR_VERDICT_FULL);
    atomic_store(&rig->g->stages[SPARE].queue.closed, true);
    assert_int_equal(rig_emit_value(w, FEED, 3), WEIR_VERDICT_CLOSED);
    assert_int_equal(emitted(), 2); /* only what went everywhere */
    assert_ledger(WORK, 4, 2, 0, 2);
    assert_ledger(SPARE, 4, 2, 0, 2);
    assert_ledger(LAST, 4, 4, 0, 4);
}

static void fan_out_without_memory_refuses_what_it_can_t_copy(void **state)
{
    (void)state;
    finish_fan_out();
    NEEDS_INJECTION();
    enum weir_verdict v = WEIR_VERDICT_NOMEM;
    for (long n = 0; v != WEIR_VERDICT_ACCEPTED; n++) {
        struct weir_event *ev = rig_event_sized(w, 5);
        weir_mem_fail_after(n);
        v = rig_emit(w, FEED, ev);
        weir_mem_fail_after(-1);
        assert_true(v == WEIR_VERDICT_ACCEPTED || v == WEIR_VERDICT_NOMEM);
        for (size_t s = WORK; s <= LAST; s++)
            rig_check_ledger(rig, s);
        rig_run(w);
    }
    assert_int_equal(rig_ledger(rig, WORK).handled, 3);
    assert_int_equal(rig_ledger(rig, LAST).handled, 1);
}

static void verdicts_have_texts(void **state)
{
    (void)state;
    finish((struct weir_overflow_policy){WEIR_OVERFLOW_REJECT, NULL});
    assert_string_equal(weir_verdict_text(WEIR_VERDICT_FULL), "full");
    assert_string_equal(weir_verdict_text(WEIR_VERDICT_REJECTED), "rejected");
    assert_string_equal(weir_verdict_text(WEIR_VERDICT_EXPIRED), "expired");
    assert_string_equal(weir_verdict_text(WEIR_VERDICT_CLOSED), "closed");
    assert_string_equal(weir_reason_text(WEIR_REASON_TOO_LATE), "expired");
    assert_string_equal(weir_reason_outcome(WEIR_REASON_TOO_LATE), "rejected");
    assert_string_equal(weir_reason_outcome(WEIR_REASON_NONE), "handled");
}

#define PORT_TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PORT_TEST(reject_tells_the_sender),
        PORT_TEST(drop_newest_accepts_and_drops_the_new_one),
        PORT_TEST(drop_oldest_makes_room_in_the_own_lane),
        PORT_TEST(drop_oldest_makes_room_in_the_shared_lane),
        PORT_TEST(drop_oldest_drops_several_for_a_large_one_and_refuses_one_too_large),
        PORT_TEST(an_own_lane_emptied_by_drop_oldest_is_not_ready),
        PORT_TEST(route_offers_elsewhere_and_returns_that_verdict),
        PORT_TEST(routes_chain_with_the_policy_of_each_queue),
        PORT_TEST(a_loop_of_routes_ends),
        PORT_TEST(an_edge_overrides_the_policy_of_the_queue),
        PORT_TEST(a_closed_stage_takes_nothing),
        PORT_TEST(an_event_past_its_deadline_is_refused),
        PORT_TEST(wait_without_an_emission_answers_full),
        PORT_TEST(fan_out_gives_each_branch_a_copy),
        PORT_TEST(a_request_is_not_sent_to_a_list),
        PORT_TEST(fan_out_returns_the_worst_verdict_and_its_branches_are_independent),
        PORT_TEST(fan_out_without_memory_refuses_what_it_can_t_copy),
        PORT_TEST(verdicts_have_texts),
    };
    return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
