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

static void any_sample_keeps_it_in_bounds(void **state)
{
    (void)state;
    static const double depths[] = {0, 1, 100, 101, 1e6, INFINITY}, waits[] = {0, 0.5, 2, INFINITY};
    for (size_t d = 0; d < 6; d++) {
        for (size_t w = 0; w < 4; w++) {
            for (double threads = 0; threads < MAX + 5; threads += 3) {
                struct weir_sample s = {.elapsed_s = 1, .depth = depths[d], .wait_min_s = waits[w], .threads = threads,
                                        .threads_min = 2, .threads_max = 7, .idle_count = 3, .idle_s = {9, 6, 1}};
                struct weir_setpoint at;
                weir_setpoint_init(&at);
                at.threads = threads;
                (void)weir_pool_queue_type.step(settings, NULL, &s, &at);
                assert_true(at.threads >= 2 && at.threads <= 7);
            }
        }
    }
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
        cmocka_unit_test(any_sample_keeps_it_in_bounds),
        cmocka_unit_test(each_rule_has_its_case),
    };
    return cmocka_run_group_tests_name("pool_queue", tests, NULL, NULL);
}
