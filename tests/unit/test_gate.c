#include "core/gate.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "gate_fixture.h"

static const uint64_t start_ns = WEIR_NS_PER_S; /* a machine that has just started can save as well */

static void set_rate(struct weir_gate *g, double rate, double burst, uint64_t now_ns)
{
    struct weir_gate_bounds b = bounds(rate, burst);
    weir_gate_set(g, &b, now_ns);
}

/* How many come through at one moment, up to `max`. */
static uint64_t at_once(struct weir_gate *g, uint8_t class_index, uint64_t now_ns, uint64_t max)
{
    uint64_t n = 0;
    while (n < max && weir_gate_take_token(g, class_index, now_ns))
        n++;
    return n;
}

/* Offers an event each `every_ns` of (from, to]; returns how many came through. */
static uint64_t offer_all(struct weir_gate *g, uint64_t from_ns, uint64_t to_ns, uint64_t every_ns)
{
    uint64_t n = 0;
    for (uint64_t t = from_ns + every_ns; t <= to_ns; t += every_ns)
        n += weir_gate_take_token(g, 0, t);
    return n;
}

/* ---- making one ---- */

static void creating_one_fails_cleanly(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct weir_err err;
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_gate *g = NULL;
        weir_mem_fail_after(n);
        rc = weir_gate_create(3, &g, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && g == NULL));
        weir_gate_destroy(g);
        assert_int_equal(weir_mem_live(), 0);
    }
    struct weir_gate *g = make(3);
    struct weir_gate_tally *t = NULL;
    for (long n = 0; t == NULL; n++) {
        weir_mem_fail_after(n);
        t = weir_gate_tally_create(g, true);
        weir_mem_fail_after(-1);
        assert_true(n < 2 ? t == NULL : t != NULL);
        assert_int_equal(weir_mem_live(), t == NULL ? 1 : 3);
    }
    weir_gate_tally_destroy(t);
    weir_gate_tally_destroy(NULL);
    weir_gate_destroy(g);
}

static void it_has_one_to_eight_classes(void **state)
{
    (void)state;
    struct weir_gate *g = NULL;
    struct weir_err err;
    assert_int_equal(weir_gate_create(0, &g, &err), WEIR_E_INVAL);
    assert_int_equal(weir_gate_create(WEIR_CLASSES_MAX + 1, &g, &err), WEIR_E_INVAL);
    assert_string_equal(err.text, "gate: 9 classes, expected 1 to 8");
    assert_null(g);
    weir_gate_destroy(make(WEIR_CLASSES_MAX));
}

static void a_new_one_is_open_and_says_so(void **state)
{
    (void)state;
    struct weir_gate *g = make(2);
    struct weir_gate_bounds b;
    weir_gate_get(g, &b);
    assert_true(isinf(b.rate[0]) && isinf(b.rate[1]) && isinf(b.limit) && isinf(b.shed_after_s));
    assert_false(b.overloaded);
    assert_true(b.burst == 1);
    assert_int_equal(at_once(g, 0, start_ns, 1000000), 1000000);
    weir_gate_destroy(g);
}

static void it_tells_the_bounds_it_was_given(void **state)
{
    (void)state;
    struct weir_gate *g = make(2);
    struct weir_gate_bounds b = {.rate = {12.5, 0.25},
                                 .burst = 7,
                                 .limit = 33,
                                 .shed_after_s = 0.5,
                                 .overloaded = true},
                            got;
    weir_gate_set(g, &b, start_ns);
    weir_gate_get(g, &got);
    assert_true(got.rate[0] == 12.5 && got.rate[1] == 0.25 && got.burst == 7 && got.limit == 33 &&
                got.shed_after_s == 0.5);
    assert_true(got.overloaded && weir_gate_overloaded(g));
    weir_gate_destroy(g);
}

/* ---- the bucket ---- */

/* What comes at once from a full bucket, as gate.h says. */
static double burst_at(double rate, double burst)
{
    double jitter = rate * (double)WEIR_GATE_JITTER_NS / 1e9;
    return 1 + floor(burst - 1 > jitter ? burst - 1 : jitter);
}

static void rates_are_exact(void **state)
{
    (void)state;
    static const double rates[] = {0.05, 1, 1.7, 29.97, 1000, 4999, 5001, 123456.7, 1e6, 5e6};
    static const double bursts[] = {1, 2.5, 10, 1000};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        for (size_t k = 0; k < sizeof bursts / sizeof bursts[0]; k++) {
            struct weir_gate *g = make(1);
            set_rate(g, rates[i], bursts[k], start_ns);
            double burst = (double)at_once(g, 0, start_ns, 10000);
            assert_true(fabs(burst - burst_at(rates[i], bursts[k])) <= (rates[i] > 5000 ? 1 : 0));
            double expected = 5000;
            uint64_t interval = (uint64_t)(1e9 / rates[i]), span = (uint64_t)(expected / rates[i] * 1e9);
            double n = (double)offer_all(g, start_ns, start_ns + span, interval / 8);
            assert_true(fabs(n - expected) <= 1 + 1e-4 * expected);
            weir_gate_destroy(g);
        }
    }
}

static void what_is_saved_is_bounded_by_the_burst(void **state)
{
    (void)state;
    struct weir_gate *g = make(1);
    set_rate(g, 100, 20, start_ns);
    assert_int_equal(at_once(g, 0, start_ns, 100), 20);
    assert_int_equal(at_once(g, 0, start_ns + 9 * WEIR_NS_PER_MS, 100), 0);
    assert_int_equal(at_once(g, 0, start_ns + 50 * WEIR_NS_PER_MS, 100), 5);
    assert_int_equal(at_once(g, 0, start_ns + 3600 * WEIR_NS_PER_S, 100), 20);
    weir_gate_destroy(g);
}

static void events_that_come_on_the_beat_all_pass_and_a_little_faster_not(void **state)
{
    (void)state;
    struct weir_gate *g = make(1);
    set_rate(g, 10, 1, start_ns);
    uint64_t t = start_ns;
    for (int i = 0; i < 1000; i++, t += 100 * WEIR_NS_PER_MS)
        assert_true(weir_gate_take_token(g, 0, t));
    assert_int_equal(offer_all(g, t, t + 100 * WEIR_NS_PER_S, 90 * WEIR_NS_PER_MS),
                     556); /* every second one */
    weir_gate_destroy(g);
}

/* A worker's clock stands still while it reads what came in: events on the beat that show up together are not
 * refused. */
static void a_clock_read_once_a_turn_costs_no_admission(void **state)
{
    (void)state;
    struct weir_gate *g = make(1);
    set_rate(g, 100000, 1, start_ns);
    at_once(g, 0, start_ns, 1000);
    for (uint64_t t = start_ns + 100000; t < start_ns + WEIR_NS_PER_S; t += 100000)
        assert_int_equal(at_once(g, 0, t, 10), 10);
    weir_gate_destroy(g);
}

static void a_rate_of_zero_refuses_all_and_an_infinite_one_none(void **state)
{
    (void)state;
    static const double nothing[] = {0, -1, NAN, 1e-12};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        struct weir_gate *g = make(1);
        set_rate(g, nothing[i], 100, start_ns);
        assert_int_equal(offer_all(g, start_ns, start_ns + 3600 * WEIR_NS_PER_S, WEIR_NS_PER_S), 0);
        set_rate(g, INFINITY, 1, start_ns);
        assert_int_equal(at_once(g, 0, start_ns, 1000), 1000);
        weir_gate_destroy(g);
    }
}

static void after_zero_it_begins_with_nothing_saved(void **state)
{
    (void)state;
    struct weir_gate *g = make(1);
    set_rate(g, 0, 10, start_ns);
    uint64_t t = start_ns + 100 * WEIR_NS_PER_S;
    set_rate(g, 10, 10, t);
    assert_int_equal(at_once(g, 0, t, 100), 0);
    assert_int_equal(at_once(g, 0, t + 99 * WEIR_NS_PER_MS, 100), 0);
    assert_int_equal(at_once(g, 0, t + 100 * WEIR_NS_PER_MS, 100), 1);
    weir_gate_destroy(g);
}

static void classes_have_buckets_of_their_own(void **state)
{
    (void)state;
    struct weir_gate *g = make(3);
    struct weir_gate_bounds b = bounds(0, 1);
    b.rate[0] = 10;
    b.rate[2] = 30;
    b.burst = 5;
    weir_gate_set(g, &b, start_ns);
    assert_int_equal(at_once(g, 0, start_ns, 100), 5);
    assert_int_equal(at_once(g, 1, start_ns, 100), 0);
    assert_int_equal(at_once(g, 2, start_ns, 3), 3);
    assert_int_equal(at_once(g, 7, start_ns, 100), 2); /* a class that there is not is the last one */
    assert_int_equal(at_once(g, 2, start_ns + 101 * WEIR_NS_PER_MS, 100), 3);
    assert_int_equal(at_once(g, 0, start_ns + 100 * WEIR_NS_PER_MS, 100), 1);
    weir_gate_destroy(g);
}

static void who_is_refused_learns_when_the_next_token_comes(void **state)
{
    (void)state;
    struct weir_gate *g = make(2);
    struct weir_gate_bounds b = bounds(0.05, 1);
    b.rate[1] = 0;
    weir_gate_set(g, &b, start_ns);
    assert_int_equal(weir_gate_retry_after_ms(g, 0, start_ns), 0);
    assert_int_equal(at_once(g, 0, start_ns, 2), 1);
    assert_int_equal(weir_gate_retry_after_ms(g, 0, start_ns), 20000);
    assert_int_equal(weir_gate_retry_after_ms(g, 0, start_ns + 10 * WEIR_NS_PER_S + 1), 10000);
    assert_int_equal(weir_gate_retry_after_ms(g, 0, start_ns + 20 * WEIR_NS_PER_S), 0);
    assert_int_equal(weir_gate_retry_after_ms(g, 1, start_ns), 0); /* never, for all that is known */
    set_rate(g, 1e-5, 1, start_ns);
    assert_int_equal(weir_gate_retry_after_ms(g, 0, start_ns), 3600 * 1000);
    weir_gate_destroy(g);
}

static void a_token_given_back_can_be_taken_again(void **state)
{
    (void)state;
    struct weir_gate *g = make(1);
    set_rate(g, 10, 3, start_ns);
    assert_int_equal(at_once(g, 0, start_ns, 100), 3);
    weir_gate_return_token(g, 0);
    weir_gate_return_token(g, 0);
    assert_int_equal(at_once(g, 0, start_ns, 100), 2);
    set_rate(g, INFINITY, 3, start_ns);
    weir_gate_return_token(g, 0); /* there is nothing to give back to */
    assert_int_equal(at_once(g, 0, start_ns, 7), 7);
    set_rate(g, 10, 3, start_ns + WEIR_NS_PER_S);
    assert_int_equal(at_once(g, 0, start_ns + WEIR_NS_PER_S, 100), 1);
    weir_gate_destroy(g);
}

/* ---- rates that move ---- */

static void a_cut_takes_effect_at_once(void **state)
{
    (void)state;
    static const double before[] = {INFINITY, 5e6, 1000};
    for (size_t i = 0; i < 3; i++) {
        struct weir_gate *g = make(1);
        set_rate(g, before[i], 1000, start_ns);
        uint64_t t = start_ns + 60 * WEIR_NS_PER_S; /* a full bucket */
        if (i == 0)
            assert_true(weir_gate_take_token(g, 0, t - 1));
        set_rate(g, 10, 1000, t);
        assert_int_equal(at_once(g, 0, t, 10000), 1);
        assert_int_equal(offer_all(g, t, t + 10 * WEIR_NS_PER_S, WEIR_NS_PER_MS), 100);
        weir_gate_destroy(g);
    }
}

static void the_first_rate_finds_a_full_bucket_however_often_it_was_opened(void **state)
{
    (void)state;
    struct weir_gate *g = make(2);
    set_rate(g, INFINITY, INFINITY, start_ns);
    set_rate(g, INFINITY, INFINITY, start_ns + 1);
    weir_gate_take_token(g, 1, start_ns + 1); /* the other class is in use */
    set_rate(g, INFINITY, INFINITY, start_ns + 2);
    set_rate(g, 10, 5, start_ns + 2);
    assert_int_equal(at_once(g, 0, start_ns + 2, 100), 5);
    assert_int_equal(at_once(g, 1, start_ns + 2, 100), 1);
    weir_gate_destroy(g);
}

static void a_raise_keeps_what_was_saved(void **state)
{
    (void)state;
    struct weir_gate *g = make(1);
    set_rate(g, 10, 100, start_ns);
    assert_int_equal(at_once(g, 0, start_ns, 1000), 100);
    uint64_t t = start_ns + 550 * WEIR_NS_PER_MS; /* five and a half events */
    set_rate(g, 1000, 100, t);
    assert_int_equal(at_once(g, 0, t, 1000), 5);
    assert_int_equal(at_once(g, 0, t + WEIR_NS_PER_MS / 2 + 1000, 1000), 1);
    assert_int_equal(offer_all(g, t + WEIR_NS_PER_MS, t + 101 * WEIR_NS_PER_MS, WEIR_NS_PER_MS / 4), 100);
    weir_gate_destroy(g);
}

static void a_raise_shortens_the_wait_for_the_next(void **state)
{
    (void)state;
    struct weir_gate *g = make(1);
    set_rate(g, 0.05, 1, start_ns);
    assert_int_equal(at_once(g, 0, start_ns, 10), 1);
    uint64_t t = start_ns + 10 * WEIR_NS_PER_S; /* half an event */
    set_rate(g, 10, 1, t);
    assert_int_equal(at_once(g, 0, t + 49 * WEIR_NS_PER_MS, 10), 0);
    assert_int_equal(at_once(g, 0, t + 50 * WEIR_NS_PER_MS, 10), 1);
    weir_gate_destroy(g);
}

static void a_larger_burst_is_not_saved_already(void **state)
{
    (void)state;
    struct weir_gate *g = make(1);
    set_rate(g, 100, 2, start_ns);
    uint64_t t = start_ns + 100 * WEIR_NS_PER_S;
    set_rate(g, 100, 50, t);
    assert_int_equal(at_once(g, 0, t, 1000), 2);
    assert_int_equal(at_once(g, 0, t + 200 * WEIR_NS_PER_MS, 1000), 20);
    set_rate(g, 100, 5, t + 100 * WEIR_NS_PER_S);
    assert_int_equal(at_once(g, 0, t + 100 * WEIR_NS_PER_S, 1000), 5);
    weir_gate_destroy(g);
}

/* However often the rate moves: what comes through is what the rates add up to. */
static void moving_often_neither_leaks_nor_starves(void **state)
{
    (void)state;
    srand(7);
    for (int turn = 0; turn < 20; turn++) {
        struct weir_gate *g = make(1);
        double top = pow(10, turn % 5), sum = 0, n = 0;
        uint64_t t = start_ns, hold = 1 + (uint64_t)rand() % 10;
        set_rate(g, top, 1, t);
        n += (double)at_once(g, 0, t, 10) - 1;
        for (int i = 0; i < 400; i++) {
            double rate = top * (0.05 + 0.95 * rand() / RAND_MAX);
            set_rate(g, rate, 1, t);
            sum += rate * (double)hold * 0.02;
            n += (double)offer_all(g, t, t + hold * 20 * WEIR_NS_PER_MS, WEIR_NS_PER_MS / 25);
            t += hold * 20 * WEIR_NS_PER_MS;
            if (n > 20000)
                break;
        }
        assert_true(fabs(n - sum) <= 2 + 0.01 * sum);
        weir_gate_destroy(g);
    }
}

/* ---- threads ---- */

enum { THREADS = 4, STEPS = 200000 };

struct taker {
    pthread_t thread;
    struct weir_gate *g;
    uint64_t taken;
    _Atomic bool *go;
};

static void *take_in_own_time(void *arg)
{
    struct taker *t = arg;
    while (!atomic_load(t->go))
        ;
    for (uint64_t i = 0; i <= STEPS; i++)
        t->taken += weir_gate_take_token(t->g, 0, start_ns + i * 500);
    return NULL;
}

/* Over the same tenth of a second, in whatever order: as many come through as if it were one. */
static void threads_share_a_rate_exactly(void **state)
{
    (void)state;
    static const double rates[] = {50, 12345, 1e6};
    for (size_t r = 0; r < 3; r++) {
        struct taker takers[THREADS];
        _Atomic bool go = false;
        struct weir_gate *g = make(1);
        set_rate(g, rates[r], 1, start_ns);
        for (size_t i = 0; i < THREADS; i++) {
            takers[i] = (struct taker){.g = g, .go = &go};
            assert_int_equal(pthread_create(&takers[i].thread, NULL, take_in_own_time, &takers[i]), 0);
        }
        atomic_store(&go, true);
        double n = 0, expected = rates[r] * STEPS * 500 / 1e9 + burst_at(rates[r], 1);
        for (size_t i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(takers[i].thread, NULL), 0);
            n += (double)takers[i].taken;
        }
        assert_true(fabs(n - expected) <= 2 + 1e-4 * expected);
        weir_gate_destroy(g);
    }
}

static void *take_until_told(void *arg)
{
    struct taker *t = arg;
    while (!atomic_load(t->go))
        t->taken += weir_gate_take_token(t->g, 0, weir_clock_ns());
    return NULL;
}

/* While rates move: no more than the highest of them allows. */
static void threads_never_get_more_than_the_highest_rate(void **state)
{
    (void)state;
    struct taker takers[2];
    _Atomic bool end = false;
    struct weir_gate *g = make(1);
    uint64_t began = weir_clock_ns(), now = began;
    set_rate(g, 50000, 1, began);
    for (size_t i = 0; i < 2; i++) {
        takers[i] = (struct taker){.g = g, .go = &end};
        assert_int_equal(pthread_create(&takers[i].thread, NULL, take_until_told, &takers[i]), 0);
    }
    for (unsigned i = 0; now - began < 200 * WEIR_NS_PER_MS; i++) {
        set_rate(g, i % 3 == 0 ? 0 : i % 3 == 1 ? 1000 : 50000, 1, now);
        now = weir_clock_ns();
    }
    atomic_store(&end, true);
    double n = 0;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(takers[i].thread, NULL), 0);
        n += (double)takers[i].taken;
    }
    double span_s = (double)(weir_clock_ns() - began) / 1e9;
    assert_true(n <= 50000 * span_s + burst_at(50000, 1) + 2);
    weir_gate_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(creating_one_fails_cleanly),
        TEST(it_has_one_to_eight_classes),
        TEST(a_new_one_is_open_and_says_so),
        TEST(it_tells_the_bounds_it_was_given),
        TEST(rates_are_exact),
        TEST(what_is_saved_is_bounded_by_the_burst),
        TEST(events_that_come_on_the_beat_all_pass_and_a_little_faster_not),
        TEST(a_clock_read_once_a_turn_costs_no_admission),
        TEST(a_rate_of_zero_refuses_all_and_an_infinite_one_none),
        TEST(after_zero_it_begins_with_nothing_saved),
        TEST(classes_have_buckets_of_their_own),
        TEST(who_is_refused_learns_when_the_next_token_comes),
        TEST(a_token_given_back_can_be_taken_again),
        TEST(a_cut_takes_effect_at_once),
        TEST(the_first_rate_finds_a_full_bucket_however_often_it_was_opened),
        TEST(a_raise_keeps_what_was_saved),
        TEST(a_raise_shortens_the_wait_for_the_next),
        TEST(a_larger_burst_is_not_saved_already),
        TEST(moving_often_neither_leaks_nor_starves),
        TEST(threads_share_a_rate_exactly),
        TEST(threads_never_get_more_than_the_highest_rate),
    };
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
