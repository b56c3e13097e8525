/* The size of a pool by the length of its queues, in closed loops of a simulated pool: events that come at a rate and take a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "controller/pool_queue.h"

enum { MIN = 1, MAX = 40, SETTINGS = 3 };
static const double settings[SETTINGS] = {1, 100, 5}; /* sample, threshold, idle */

/* A pool in steps of a millisecond: fluid in, whole workers out; the workers used last are used first. */
struct sim {
    double now_s, depth, threads, idle_since[MAX], stepped_s;
};

static void run_ms(struct sim *m, double rate, double service_s)
{
    m->now_s += 0.001;
    m->depth += rate * 0.001;
    double could = m->threads * 0.001 / service_s, did = could < m->depth ? could : m->depth;
    m->depth -= did;
    double busy = ceil(m->threads * did / could - 1e-9);
    for (int i = 0; i < (int)busy; i++)
        m->idle_since[i] = m->now_s;
}

static struct weir_sample look(const struct sim *m)
{
    struct weir_sample s = {.now_s = m->now_s, .elapsed_s = m->now_s - m->stepped_s, .depth = floor(m->depth), .capacity = 1024,
                            .threads = m->threads, .threads_min = MIN, .threads_max = MAX, .wait_min_s = m->depth >= 1 ? 1e-4 : 0};
    for (int i = (int)m->threads - 1; i >= 0; i--)
        if (m->now_s - m->idle_since[i] > 0.0015)
            s.idle_s[s.idle_count++] = m->now_s - m->idle_since[i];
    return s;
}

static void run(struct sim *m, double rate, double service_s, double seconds)
{
    for (double end = m->now_s + seconds; m->now_s < end;) {
        run_ms(m, rate, service_s);
        struct weir_sample s = look(m);
        if (!weir_pool_queue_type.ready(settings, &s))
            continue;
        struct weir_setpoint at;
        weir_setpoint_init(&at);
        at.threads = m->threads;
        (void)weir_pool_queue_type.step(settings, NULL, &s, &at);
        for (int i = (int)m->threads; i < (int)at.threads; i++)
            m->idle_since[i] = m->now_s;
        m->threads = at.threads;
        m->stepped_s = m->now_s;
    }
}

static void a_pool_grows_to_what_the_load_needs_and_back(void **state)
{
    (void)state;
    static const double rates[] = {50, 100, 200, 500, 1000};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct sim m = {.threads = MIN};
        double needs = rates[i] * 0.02;
        run(&m, rates[i], 0.02, 200);
        if (m.threads < needs || m.threads > ceil(1.2 * needs) + 1)
            fail_msg("%g per second: %g workers for %g", rates[i], m.threads, needs);
        assert_true(m.depth < 150);
        run(&m, 0, 0.02, settings[2] + settings[0] + 0.01);
        assert_true(m.threads <= MIN);
    }
}

/* Seconds of work a second brings, by the time. */
static double spike(double now_s)
{
    return now_s > 30 && now_s < 60 ? 16 : 2;
}

static double sine(double now_s)
{
    return 10 + 8 * sin(now_s / 20);
}

/* Mostly little, now and then a lot: a Pareto distribution with an index of 1.5, cut at a hundred times its least. */
static double heavy_tail(double now_s)
{
    uint64_t x = (uint64_t)(now_s * 10) * 0x9e3779b97f4a7c15ULL;
    x ^= x >> 29;
    double u = ((double)((x * 0xbf58476d1ce4e5b9ULL) >> 11) + 1) / 9007199254740993.0;
    double work = pow(u, -1 / 1.5);
    return work < 100 ? work : 100;
}

static void a_load_that_changes_is_followed(void **state)
{
    (void)state;
    static double (*const loads[])(double now_s) = {spike, sine, heavy_tail};
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        struct sim m = {.threads = MIN};
        double most = 0;
        for (int tenth = 0; tenth < 3000; tenth++) {
            run(&m, loads[i](m.now_s) / 0.02, 0.02, 0.1);
            assert_true(m.threads >= MIN && m.threads <= MAX);
            most = m.threads > most ? m.threads : most;
        }
        assert_true(most > 2);
        run(&m, 0, 0.02, 60); /* what is left, and then nothing */
        assert_true(m.depth < 1);
        assert_true(m.threads <= MIN);
    }
}

static void any_sample_keeps_it_in_bounds(void **state)
{
    (void)state;
    static const double depths[] = {-1, 0, 1, 100, 101, 1e6, INFINITY, NAN}, waits[] = {-1, 0, 0.5, 2, INFINITY, NAN};
    static const double threads[] = {-5, 0, 1, 2, 2.5, 4, 7, 8, 1e9, INFINITY};
    for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
        for (size_t w = 0; w < sizeof waits / sizeof waits[0]; w++) {
            for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
                struct weir_sample s = {.elapsed_s = 1, .depth = depths[d], .wait_min_s = waits[w], .threads = threads[t],
                                        .threads_min = 2, .threads_max = 7, .idle_count = 1000, .idle_s = {9, 6, 1}};
                struct weir_setpoint at;
                weir_setpoint_init(&at);
                at.threads = threads[t];
                const char *rule = weir_pool_queue_type.step(settings, NULL, &s, &at);
                assert_true(at.threads >= 2 && at.threads <= 7);
                assert_true((rule == NULL) == (fabs(at.threads - threads[t]) < 1));
            }
        }
    }
}

static void what_is_no_number_changes_nothing(void **state)
{
    (void)state;
    struct weir_sample s = {.elapsed_s = 1, .depth = 500, .threads_min = 1, .threads_max = 9};
    struct weir_setpoint at;
    weir_setpoint_init(&at);
    at.threads = NAN;
    assert_null(weir_pool_queue_type.step(settings, NULL, &s, &at));
    at.threads = 3;
    s.threads_max = NAN;
    const char *rule = weir_pool_queue_type.step(settings, NULL, &s, &at);
    assert_true(rule == NULL ? at.threads > 2.9 && at.threads < 3.1 : at.threads > 3.9 && at.threads < 4.1);
}

/* More waiting never means fewer workers. */
static void a_longer_queue_wants_no_fewer_workers(void **state)
{
    (void)state;
    double before = 0;
    for (double depth = 0; depth < 300; depth += 10) {
        struct weir_sample s = {.elapsed_s = 1, .depth = depth, .threads_min = 1, .threads_max = 9, .idle_count = 2, .idle_s = {6, 6}};
        struct weir_setpoint at;
        weir_setpoint_init(&at);
        at.threads = 5;
        (void)weir_pool_queue_type.step(settings, NULL, &s, &at);
        assert_true(at.threads >= before);
        before = at.threads;
    }
}

static double chance(uint64_t *x, double most)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return most * (double)(*x >> 11) / 9007199254740992.0;
}

static double size_after(const struct weir_sample *s, double threads)
{
    struct weir_setpoint at;
    weir_setpoint_init(&at);
    at.threads = threads;
    (void)weir_pool_queue_type.step(settings, NULL, s, &at);
    return at.threads;
}

/* From anywhere: a longer queue or a longer wait never means fewer workers, nor a worker more that was idle for long more of them. */
static void what_is_worse_wants_no_fewer_workers_from_any_state(void **state)
{
    (void)state;
    uint64_t x = 0x5eda;
    size_t grew = 0, shrank = 0;
    for (int i = 0; i < 20000; i++) {
        struct weir_sample s = {.elapsed_s = 1, .depth = floor(chance(&x, 150)), .wait_min_s = chance(&x, 1.5), .threads_min = MIN,
                                .threads_max = MAX, .idle_count = (size_t)chance(&x, 6)};
        for (size_t k = 0; k < s.idle_count; k++)
            s.idle_s[k] = chance(&x, 10);
        double threads = floor(1 + chance(&x, MAX)), before = size_after(&s, threads);
        struct weir_sample deeper = s, later = s, idler = s;
        deeper.depth += floor(chance(&x, 150));
        later.wait_min_s += chance(&x, 2);
        idler.idle_s[idler.idle_count++] = 9;
        assert_true(size_after(&deeper, threads) >= before);
        assert_true(size_after(&later, threads) >= before);
        assert_true(size_after(&idler, threads) <= before);
        grew += before > threads;
        shrank += before < threads;
    }
    assert_true(grew > 1000 && shrank > 1000); /* else little was shown */
}

static const char *decide(struct weir_sample s, double *threads)
{
    struct weir_setpoint at;
    weir_setpoint_init(&at);
    at.threads = *threads;
    s.threads_min = 1;
    s.threads_max = 10;
    const char *rule = weir_pool_queue_type.step(settings, NULL, &s, &at);
    *threads = at.threads;
    return rule;
}

static void each_rule_has_its_case(void **state)
{
    (void)state;
    double n = 3;
    assert_null(decide((struct weir_sample){.depth = 100}, &n));
    assert_string_equal(decide((struct weir_sample){.depth = 101}, &n), "queue over threshold");
    assert_true(n > 3 && n < 5);
    assert_string_equal(decide((struct weir_sample){.depth = 2, .wait_min_s = 1.5}, &n), "events wait for longer than a sample");
    n = 6;
    assert_string_equal(decide((struct weir_sample){.idle_count = 3, .idle_s = {7, 5, 4.9}}, &n), "idle");
    assert_true(n > 3 && n < 5);
    assert_false(weir_pool_queue_type.ready(settings, &(struct weir_sample){.elapsed_s = 0.99}));
    assert_true(weir_pool_queue_type.ready(settings, &(struct weir_sample){.elapsed_s = 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_grows_to_what_the_load_needs_and_back),
        cmocka_unit_test(a_load_that_changes_is_followed),
        cmocka_unit_test(any_sample_keeps_it_in_bounds),
        cmocka_unit_test(what_is_no_number_changes_nothing),
        cmocka_unit_test(a_longer_queue_wants_no_fewer_workers),
        cmocka_unit_test(what_is_worse_wants_no_fewer_workers_from_any_state),
        cmocka_unit_test(each_rule_has_its_case),
    };
    return cmocka_run_group_tests_name("pool_queue", tests, NULL, NULL);
}
