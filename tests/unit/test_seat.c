#include "core/seat.h"

#include "core/pool.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, WORK };

static struct rig *rig;
static struct weir_worker *w;
static struct rig_request request;

static int open_rig(void **state)
{
    (void)state;
    rig = rig_create(2, 1);
    rig_pool(rig, 0, "main", 2, false);
    rig_stage(rig, FEED, "feed", 0, rig_handled, NULL);
    struct weir_stage *s = rig_stage(rig, WORK, "work", 0, rig_handled, NULL);
    s->queue.max_age_ns = WEIR_NS_PER_MS;
    s->concurrency = 2;
    rig_wire_one(rig, FEED, "out", WORK);
    rig_finish(rig);
    w = rig_worker(rig, 0);
    rig_request_init(&request);
    return 0;
}

static int close_rig(void **state)
{
    rig_worker_end(w);
    rig_destroy(rig);
    return test_teardown(state);
}

/* An event with a request, taken from the queue of WORK. */
static struct weir_event *taken(uint64_t deadline_in_ns)
{
    struct weir_event *ev = rig_event(w, 1);
    ev->request = &request.r;
    if (deadline_in_ns != 0)
        ev->deadline_ns = w->now_ns + deadline_in_ns;
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_take(w, WORK, &ev, 1), 1);
    return ev;
}

static void assert_expired(struct weir_event *ev, enum weir_reason why)
{
    assert_false(weir_seat_begin(w->seats[WORK], ev));
    struct weir_ledger_sum sum = rig_ledger(rig, WORK);
    assert_int_equal(sum.expired, 1);
    assert_int_equal(sum.reasons[why], 1);
    rig_check_ledger(rig, WORK);
    rig_request_check(&request, WEIR_REQUEST_EXPIRED);
}

static void an_event_past_its_deadline_expires(void **state)
{
    (void)state;
    struct weir_event *ev = taken(100);
    rig_advance(w, 101);
    assert_expired(ev, WEIR_REASON_DEADLINE);
}

static void an_event_older_than_the_queue_allows_expires(void **state)
{
    (void)state;
    struct weir_event *ev = taken(0);
    rig_advance(w, WEIR_NS_PER_MS + 1);
    assert_expired(ev, WEIR_REASON_MAX_AGE);
}

static void an_event_whose_client_left_expires(void **state)
{
    (void)state;
    struct weir_event *ev = taken(0);
    atomic_store(&request.gone, true);
    assert_expired(ev, WEIR_REASON_GONE);
}

/* Clocks are read at different times by different workers: one accepted "later" than now is young, not ages
 * old. */
static void an_event_accepted_by_a_later_clock_is_not_too_old(void **state)
{
    (void)state;
    struct weir_event *ev = taken(0);
    ev->enqueued_ns = w->now_ns + 5;
    assert_true(weir_seat_begin(w->seats[WORK], ev));
    weir_seat_end(w->seats[WORK], ev, WEIR_REASON_NONE, NULL);
    rig_request_check(&request, WEIR_REQUEST_UNANSWERED);
}

static void assert_ends(uint64_t deadline, uint64_t takes, bool refused, enum weir_reason reason,
                        enum weir_request_end why)
{
    struct weir_event *ev = taken(deadline);
    assert_true(weir_seat_begin(w->seats[WORK], ev));
    rig_check_ledger(rig, WORK);
    assert_int_equal(rig_ledger(rig, WORK).running, 1);
    rig_advance(w, takes);
    ev->request->refused = refused;
    weir_seat_end(w->seats[WORK], ev, reason, NULL);
    rig_check_ledger(rig, WORK);
    struct weir_ledger_sum sum = rig_ledger(rig, WORK);
    assert_int_equal(sum.running, 0);
    assert_int_equal(sum.handled, reason == WEIR_REASON_NONE);
    bool expired = reason == WEIR_REASON_DEADLINE || reason == WEIR_REASON_GONE;
    assert_int_equal(sum.expired, expired);
    assert_int_equal(sum.failed, reason != WEIR_REASON_NONE && !expired);
    assert_int_equal(sum.reasons[reason == WEIR_REASON_NONE ? WEIR_REASON_ERROR : reason], reason != WEIR_REASON_NONE);
    rig_request_check(&request, why);
}

static void a_plain_return_leaves_the_request_unanswered(void **state)
{
    (void)state;
    assert_ends(0, 10, false, WEIR_REASON_NONE, WEIR_REQUEST_UNANSWERED);
}

static void a_refused_emit_ends_it_as_refused(void **state)
{
    (void)state;
    assert_ends(0, 10, true, WEIR_REASON_NONE, WEIR_REQUEST_REFUSED);
}

static void an_error_ends_it_as_failed_even_after_a_refusal(void **state)
{
    (void)state;
    assert_ends(0, 10, true, WEIR_REASON_ERROR, WEIR_REQUEST_FAILED);
}

static void a_passed_deadline_ends_it_as_expired(void **state)
{
    (void)state;
    assert_ends(100, 101, false, WEIR_REASON_ERROR, WEIR_REQUEST_EXPIRED);
}

static void a_cancelled_call_ends_it_as_dropped(void **state)
{
    (void)state;
    assert_ends(0, 10, false, WEIR_REASON_CANCELLED, WEIR_REQUEST_DROPPED);
}

static void a_call_over_a_limit_fails_even_after_its_deadline(void **state)
{
    (void)state;
    assert_ends(100, 101, true, WEIR_REASON_CPU, WEIR_REQUEST_FAILED);
}

static void a_call_ended_at_its_deadline_has_expired(void **state)
{
    (void)state;
    assert_ends(100, 101, true, WEIR_REASON_DEADLINE, WEIR_REQUEST_EXPIRED);
}

static void a_call_whose_client_left_has_expired(void **state)
{
    (void)state;
    assert_ends(0, 10, false, WEIR_REASON_GONE, WEIR_REQUEST_EXPIRED);
}

/* ---- held ---- */

static int64_t value_taken(struct weir_worker *from)
{
    struct weir_event *ev;
    if (rig_take(from, WORK, &ev, 1) == 0)
        assert_int_equal(rig_take(from, WORK, &ev, 1), 1); /* the other lane's turn */
    int64_t value = ev->value.integer;
    rig_finish_event(from, WORK, ev);
    return value;
}

static void a_held_seat_is_saturated_until_it_is_released(void **state)
{
    (void)state;
    struct weir_seat *seat = w->seats[WORK];
    uint64_t bit = 1ULL << seat->stage->rank;
    struct weir_event *ev = taken(0);
    assert_true(weir_seat_begin(seat, ev));
    weir_seat_hold(seat);
    weir_seat_hold(seat);
    assert_true(atomic_load(&seat->saturated));
    assert_int_equal(w->saturated[0] & bit, bit);
    weir_seat_end(seat, ev, WEIR_REASON_NONE, NULL);
    assert_true(atomic_load(&seat->saturated)); /* an end of a call does not release it */
    weir_seat_release(seat);
    assert_false(atomic_load(&seat->saturated));
    assert_int_equal(w->saturated[0] & bit, 0);
}

static void a_released_seat_stays_saturated_by_its_calls(void **state)
{
    (void)state;
    struct weir_seat *seat = w->seats[WORK];
    struct weir_event *evs[2];
    for (int i = 0; i < 2; i++)
        rig_emit_value(w, FEED, i);
    rig_take(w, WORK, evs, 2);
    weir_seat_hold(seat);
    for (int i = 0; i < 2; i++)
        assert_true(weir_seat_begin(seat, evs[i]));
    weir_seat_release(seat);
    assert_true(atomic_load(&seat->saturated));
    weir_seat_end(seat, evs[0], WEIR_REASON_NONE, NULL);
    assert_false(atomic_load(&seat->saturated));
    weir_seat_end(seat, evs[1], WEIR_REASON_NONE, NULL);
}

static void what_waits_at_a_held_seat_goes_to_others(void **state)
{
    (void)state;
    struct weir_worker *other = rig_worker(rig, 0);
    atomic_store(&rig->g->pools[0].live, 2);
    rig_emit_value(w, FEED, 1);
    assert_int_equal(w->seats[WORK]->lane.count, 1);
    weir_seat_hold(w->seats[WORK]);
    assert_int_equal(w->seats[WORK]->lane.count, 0);
    rig_emit_value(w, FEED, 2); /* not to the own lane now */
    assert_int_equal(w->seats[WORK]->lane.count, 0);
    weir_worker_flush(w);
    assert_int_equal(value_taken(other), 1);
    assert_int_equal(value_taken(other), 2);
    weir_seat_release(w->seats[WORK]);
    atomic_store(&rig->g->pools[0].live, 0);
    rig_worker_end(other);
}

static void events_given_back_keep_their_place(void **state)
{
    (void)state;
    for (unsigned live = 1; live <= 2; live++) {
        struct weir_event *evs[4];
        atomic_store(&rig->g->pools[0].live, live);
        for (int i = 0; i < 4; i++)
            rig_emit_value(w, FEED, i);
        if (live == 2)
            weir_seat_spill(w->seats[WORK]);
        size_t n = rig_take(w, WORK, evs, 3);
        if (n == 0)
            n = rig_take(w, WORK, evs, 3);
        assert_int_equal(n, 3);
        assert_int_equal(evs[0]->value.integer, 0);
        rig_finish_event(w, WORK, evs[0]);
        weir_seat_give_back(w->seats[WORK], evs + 1, 2);
        weir_seat_give_back(w->seats[WORK], evs, 0); /* nothing */
        rig_check_ledger(rig, WORK);
        assert_int_equal(rig_ledger(rig, WORK).queued, 3);
        assert_int_equal(w->seats[WORK]->lane.count, live == 1 ? 3 : 0);
        for (int64_t i = 1; i < 4; i++)
            assert_int_equal(value_taken(w), i);
    }
    atomic_store(&rig->g->pools[0].live, 0);
}

static void an_answered_request_is_not_ended_again(void **state)
{
    (void)state;
    struct weir_event *ev = taken(0);
    assert_true(weir_seat_begin(w->seats[WORK], ev));
    ev->request = NULL; /* the handler answered it */
    weir_seat_end(w->seats[WORK], ev, WEIR_REASON_NONE, NULL);
    assert_int_equal(atomic_load(&request.ended), 0);
}

static void accepting_clears_an_earlier_refusal(void **state)
{
    (void)state;
    request.r.refused = true;
    struct weir_event *ev = taken(0);
    assert_false(request.r.refused);
    rig_finish_event(w, WORK, ev);
    rig_request_check(&request, WEIR_REQUEST_UNANSWERED);
}

static void a_seat_is_saturated_while_as_many_run_as_may(void **state)
{
    (void)state;
    struct weir_seat *seat = w->seats[WORK];
    uint64_t bit = 1ULL << seat->stage->rank;
    struct weir_event *evs[2];
    for (int i = 0; i < 2; i++)
        rig_emit_value(w, FEED, i);
    rig_take(w, WORK, evs, 2);
    assert_true(weir_seat_begin(seat, evs[0]));
    assert_false(atomic_load(&seat->saturated));
    assert_true(weir_seat_begin(seat, evs[1]));
    assert_true(atomic_load(&seat->saturated));
    assert_int_equal(w->saturated[0] & bit, bit);
    weir_seat_end(seat, evs[0], WEIR_REASON_NONE, NULL);
    assert_false(atomic_load(&seat->saturated));
    assert_int_equal(w->saturated[0] & bit, 0);
    weir_seat_end(seat, evs[1], WEIR_REASON_NONE, NULL);
}

static void times_are_recorded_and_the_share_follows_them(void **state)
{
    (void)state;
    struct weir_seat *seat = w->seats[WORK];
    assert_int_equal(seat->share, SIZE_MAX);
    for (int i = 0; i < 200; i++) {
        struct weir_event *ev;
        rig_emit_value(w, FEED, i);
        rig_take(w, WORK, &ev, 1);
        rig_advance(w, 500);
        assert_true(weir_seat_begin(seat, ev));
        rig_advance(w, WEIR_NS_PER_MS);
        weir_seat_end(seat, ev, WEIR_REASON_NONE, NULL);
    }
    struct weir_ledger_sum sum = rig_ledger(rig, WORK);
    assert_int_equal(sum.wait_ns.count, 200);
    assert_int_equal(sum.wait_ns.sum, 200 * 500);
    assert_int_equal(sum.service_ns.max, WEIR_NS_PER_MS);
    assert_in_range(seat->share, 9, 10); /* calls of 1 ms into a slice of 10 ms */
}

#define SEAT_TEST(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEAT_TEST(an_event_past_its_deadline_expires),
        SEAT_TEST(an_event_older_than_the_queue_allows_expires),
        SEAT_TEST(an_event_whose_client_left_expires),
        SEAT_TEST(an_event_accepted_by_a_later_clock_is_not_too_old),
        SEAT_TEST(a_plain_return_leaves_the_request_unanswered),
        SEAT_TEST(a_refused_emit_ends_it_as_refused),
        SEAT_TEST(an_error_ends_it_as_failed_even_after_a_refusal),
        SEAT_TEST(a_passed_deadline_ends_it_as_expired),
        SEAT_TEST(a_cancelled_call_ends_it_as_dropped),
        SEAT_TEST(a_call_over_a_limit_fails_even_after_its_deadline),
        SEAT_TEST(a_call_ended_at_its_deadline_has_expired),
        SEAT_TEST(a_call_whose_client_left_has_expired),
        SEAT_TEST(a_held_seat_is_saturated_until_it_is_released),
        SEAT_TEST(a_released_seat_stays_saturated_by_its_calls),
        SEAT_TEST(what_waits_at_a_held_seat_goes_to_others),
        SEAT_TEST(events_given_back_keep_their_place),
        SEAT_TEST(an_answered_request_is_not_ended_again),
        SEAT_TEST(accepting_clears_an_earlier_refusal),
        SEAT_TEST(a_seat_is_saturated_while_as_many_run_as_may),
        SEAT_TEST(times_are_recorded_and_the_share_follows_them),
    };
    return cmocka_run_group_tests_name("seat", tests, NULL, NULL);
}
