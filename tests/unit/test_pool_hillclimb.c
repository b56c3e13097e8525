/* The size of a pool by what more workers bring, in closed loops of a simulated pool whose throughput is a
 * curve over its size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "controller/pool_hillclimb.h"

enum { MIN = 1, MAX = 64, SETTINGS = 5 };
static const struct weir_controller_type *const type = &weir_pool_hillclimb_type;
static const double settings[SETTINGS] = {1, 100, 5, 0.05, 1}; /* sample, threshold, idle, cost, thrashing */
static const double without_detection[SETTINGS] = {1, 100, 5, 0.05, 0};

/* --- workloads: events per second by workers --- */

static double blocking(double n)
{
    return n / 0.02;
}

/* Gunther's law with a lock (a tenth of the time) and with what workers cost each other. */
static double contended(double n)
{
    return 50 * n / (1 + 0.1 * (n - 1) + 0.01 * n * (n - 1));
}

/* Half of the time in the lock: more workers bring ever less, but do no harm. */
static double amdahl(double n)
{
    return 50 * n / (1 + 0.5 * (n - 1));
}

/* The thesis' figure: four CPUs, a critical section whose end wakes all who wait. */
static double woken_all(double n)
{
    return n <= 8 ? 110 * pow(n / 8, 0.6) : 110 * pow(8 / n, 1.2);
}

/* Two CPUs and a lock that is spun for: its holder gets a share of them that falls with each who spins. */
static double spinning(double n)
{
    return n <= 2 ? 400 * n : 1600 / n;
}

/* One worker too many and the working set does not fit any more. */
static double cliff(double n)
{
    return n <= 12 ? 30 * n : 40;
}

static double flat(double n)
{
    (void)n;
    return 500;
}

/* --- the pool --- */

/* In steps of a millisecond: fluid in, whole workers out; the workers used last are used first. */
struct sim {
    double now_s, depth, threads, idle_since[MAX], stepped_s, handled, sum;
    double capacity; /* of the queue: what comes beyond it is refused */
    double (*curve)(double n);
    const double *settings;
    bool noisy;
    uint64_t seed;
    double noise;
    double state[32];
};

static void init(struct sim *m, double (*curve)(double n), double threads)
{
    *m = (struct sim){
        .threads = threads, .curve = curve, .settings = settings, .capacity = 1024, .noise = 1, .seed = 1};
    assert_true(type->state_size <= sizeof m->state);
}

static double uniform(struct sim *m)
{
    m->seed = m->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (double)(m->seed >> 11) / 9007199254740992.0;
}

/* What other programs take: up to a third each twentieth of a second, and a tide. */
static double disturbed(struct sim *m)
{
    if (fmod(m->now_s, 0.05) < 0.001)
        m->noise = 0.7 + 0.6 * uniform(m);
    return m->noise * (1 + 0.05 * sin(m->now_s / 7));
}

static void run_ms(struct sim *m, double rate)
{
    m->now_s += 0.001;
    m->depth = fmin(m->depth + rate * 0.001, m->capacity);
    double could = m->curve(m->threads) * 0.001 * (m->noisy ? disturbed(m) : 1), did = fmin(could, m->depth);
    m->depth -= did;
    m->handled += did;
    m->sum += did;
    double busy = ceil(m->threads * did / could - 1e-9);
    for (int i = 0; i < (int)busy; i++)
        m->idle_since[i] = m->now_s;
}

static struct weir_sample look(const struct sim *m)
{
    struct weir_sample s = {.now_s = m->now_s,
                            .elapsed_s = m->now_s - m->stepped_s,
                            .depth = floor(m->depth),
                            .capacity = m->capacity,
                            .handled = floor(m->handled),
                            .taken = floor(m->handled),
                            .service_s = m->threads / m->curve(m->threads),
                            .threads = m->threads,
                            .threads_min = MIN,
                            .threads_max = MAX,
                            .wait_min_s = m->depth >= 1 ? 1e-4 : 0};
    for (int i = (int)m->threads - 1; i >= 0; i--)
        if (m->now_s - m->idle_since[i] > 0.0015)
            s.idle_s[s.idle_count++] = m->now_s - m->idle_since[i];
    return s;
}

static void run(struct sim *m, double rate, double seconds)
{
    for (double end = m->now_s + seconds; m->now_s < end;) {
        run_ms(m, rate);
        struct weir_sample s = look(m);
        if (!type->ready(m->settings, &s))
            continue;
        struct weir_setpoint at;
        weir_setpoint_init(&at);
        at.threads = m->threads;
        const char *rule = type->step(m->settings, m->state, &s, &at);
        assert_true(at.threads >= MIN && at.threads <= MAX);
        assert_true((rule == NULL) == (fabs(at.threads - m->threads) < 1));
        for (int i = (int)m->threads; i < (int)at.threads; i++)
            m->idle_since[i] = m->now_s;
        m->threads = at.threads;
        m->stepped_s = m->now_s;
        m->handled = 0;
    }
}

static double best_of(double (*curve)(double n))
{
    double best = 0;
    for (double n = MIN; n <= MAX; n++)
        best = fmax(best, curve(n));
    return best;
}

/* Events per second over the next `seconds`. */
static double throughput(struct sim *m, double rate, double seconds)
{
    m->sum = 0;
    run(m, rate, seconds);
    return m->sum / seconds;
}

/* --- closed loops --- */

static void a_pool_grows_to_what_the_load_needs_and_back(void **state)
{
    (void)state;
    static const double rates[] = {50, 100, 200, 500, 1000};
    for (size_t i = 0; i < 2 * sizeof rates / sizeof rates[0]; i++) {
        struct sim m;
        double rate = rates[i / 2], needs = rate * 0.02, most = 0;
        init(&m, blocking, MIN);
        m.capacity = i % 2 == 0
                         ? 1024
                         : 1e9; /* a backlog of any length is worked off, and then no worker stays for it */
        run(&m, rate, 100);
        for (int second = 0; second < 100; second++) {
            run(&m, rate, 1);
            most = fmax(most, m.threads);
        }
        if (m.threads < needs || most > ceil(1.2 * needs) + 1)
            fail_msg("%g per second: %g workers, %g at most, for %g", rate, m.threads, most, needs);
        assert_true(m.depth < 150);
        run(&m, 0, settings[2] + settings[0] + 0.01);
        assert_true(m.threads <= MIN);
    }
}

static double (*const curves[])(double n) = {contended, amdahl, woken_all, spinning, cliff, flat, blocking};
static const char *const names[] = {"contended", "amdahl", "woken all", "spinning",
                                    "cliff",     "flat",   "blocking"};

static void workers_in_each_others_way_are_as_many_as_do_the_most(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof curves / sizeof curves[0]; c++) {
        for (int i = 0; i < 4; i++) {
            struct sim m;
            init(&m, curves[c], i % 2 == 0 ? MIN : MAX);
            m.noisy = i >= 2;
            run(&m, 1e5, 60);
            double best = best_of(curves[c]), did = throughput(&m, 1e5, 600);
            print_message("%s from %d%s: %.3f of the best, %g workers\n", names[c], i % 2 == 0 ? MIN : MAX,
                          m.noisy ? ", noisy" : "", did / best, m.threads);
            if (!(did >= 0.9 * best))
                fail_msg("%s: %g of %g", names[c], did, best);
        }
    }
}

static void without_detection_it_collapses(void **state)
{
    (void)state;
    static double (*const falling[])(double n) = {woken_all, spinning, cliff};
    for (size_t c = 0; c < 3; c++) {
        struct sim m;
        init(&m, falling[c], MIN);
        m.settings = without_detection;
        run(&m, 1e5, 100);
        assert_true(m.threads >= MAX);
        assert_true(throughput(&m, 1e5, 100) < 0.25 * best_of(falling[c]));
    }
}

static void work_that_changes_is_found_again(void **state)
{
    (void)state;
    static double (*const parts[])(double n) = {woken_all, blocking, spinning, cliff,
                                                contended, spinning, blocking, cliff};
    struct sim m;
    init(&m, woken_all, MIN);
    m.noisy = true;
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        m.curve = parts[p];
        run(&m, 1e5, 90);
        double did = throughput(&m, 1e5, 120), best = best_of(parts[p]);
        if (!(did >= 0.9 * best))
            fail_msg("part %zu: %g of %g, %g workers", p, did, best, m.threads);
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

/* Mostly little, now and then a lot: a Pareto distribution with an index of 1.5, cut at a hundred times its
 * least. */
static double heavy_tail(double now_s)
{
    uint64_t x = (uint64_t)(now_s * 10) * 0x9e3779b97f4a7c15ULL;
    x ^= x >> 29;
    double u = ((double)((x * 0xbf58476d1ce4e5b9ULL) >> 11) + 1) / 9007199254740993.0;
    return fmin(pow(u, -1 / 1.5), 100);
}

static void a_load_that_changes_is_followed(void **state)
{
    (void)state;
    static double (*const loads[])(double now_s) = {spike, sine, heavy_tail};
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        struct sim m;
        double most = 0, came = 0;
        init(&m, blocking, MIN);
        m.capacity = 1e9;
        for (int tenth = 0; tenth < 3000; tenth++) {
            double rate = loads[i](m.now_s) / 0.02;
            came += rate * 0.1;
            run(&m, rate, 0.1);
            most = fmax(most, m.threads);
        }
        assert_true(most > 2);
        run(&m, 0, 60); /* what is left, and then nothing */
        assert_true(m.depth < 1);
        assert_true(m.threads <= MIN);
        assert_true(fabs(m.sum - came) < 0.03 * came);
    }
}

/* --- single steps --- */

static const char *decide(void *state, const double *set, struct weir_sample s, double *threads)
{
    struct weir_setpoint at;
    weir_setpoint_init(&at);
    at.threads = *threads;
    s.threads_min = 2;
    s.threads_max = 7;
    const char *rule = type->step(set, state, &s, &at);
    *threads = at.threads;
    return rule;
}

static void any_samples_keep_it_in_bounds(void **state)
{
    (void)state;
    static const double values[] = {-1, 0, 1e-300, 0.5, 1, 3, 101, 1e6, 1e300, INFINITY, -INFINITY, NAN};
    enum { VALUES = sizeof values / sizeof values[0] };
    struct sim m;
    double threads = 3;
    init(&m, flat, 3);
    for (int i = 0; i < 200000; i++) {
        struct weir_sample s = {.elapsed_s = values[(int)(uniform(&m) * VALUES)],
                                .depth = values[(int)(uniform(&m) * VALUES)],
                                .wait_min_s = values[(int)(uniform(&m) * VALUES)],
                                .handled = values[(int)(uniform(&m) * VALUES)],
                                .idle_count = (size_t)(uniform(&m) * 100),
                                .idle_s = {9, 6, NAN, 1}};
        double before = threads;
        (void)type->ready(settings, &s);
        const char *rule = decide(m.state, settings, s, &threads);
        assert_true(threads >= 2 && threads <= 7);
        assert_true((rule == NULL) == (fabs(threads - before) < 1));
        if (uniform(&m) < 0.05)
            threads = 2 + floor(uniform(&m) * 6); /* somebody else sets it */
    }
    init(&m, contended, threads); /* and none of that has broken it */
    m.noisy = true;
    run(&m, 1e5, 100);
    assert_true(throughput(&m, 1e5, 200) >= 0.9 * best_of(contended));
}

static void what_is_no_number_changes_nothing(void **state)
{
    (void)state;
    double of_type[32] = {0}, n = NAN;
    assert_null(
        decide(of_type, settings, (struct weir_sample){.elapsed_s = 1, .depth = 500, .handled = 100}, &n));
    n = 3;
    assert_null(
        decide(of_type, settings, (struct weir_sample){.elapsed_s = NAN, .depth = 500, .handled = 100}, &n));
    assert_null(
        decide(of_type, settings, (struct weir_sample){.elapsed_s = 1, .depth = NAN, .handled = 100}, &n));
    assert_true(n > 2.9 && n < 3.1);
}

static void out_of_its_range_it_goes_to_the_nearest(void **state)
{
    (void)state;
    double of_type[32] = {0}, n = 1;
    assert_string_equal(decide(of_type, settings, (struct weir_sample){.elapsed_s = 1}, &n),
                        "out of its range");
    assert_true(n > 1.9 && n < 2.1);
    n = 50;
    assert_string_equal(decide(of_type, settings, (struct weir_sample){.elapsed_s = 1}, &n),
                        "out of its range");
    assert_true(n > 6.9 && n < 7.1);
}

static void it_waits_for_enough(void **state)
{
    (void)state;
    struct weir_sample s = {.elapsed_s = 0.99, .depth = 500, .handled = 100, .service_s = 0.02};
    assert_false(type->ready(settings, &s));
    s.elapsed_s = 1;
    assert_true(type->ready(settings, &s));
    s.handled = 9; /* too few to tell */
    assert_false(type->ready(settings, &s));
    s.depth = 0; /* but enough to let workers go */
    assert_true(type->ready(settings, &s));
    s.depth = 500;
    s.handled = 100;
    s.service_s = 0.5; /* most were begun under another size */
    assert_false(type->ready(settings, &s));
    s.elapsed_s = 2;
    assert_true(type->ready(settings, &s));
    s.service_s = 50;
    s.handled = 0;
    s.elapsed_s = 10; /* long enough */
    assert_true(type->ready(settings, &s));
}

static void each_rule_has_its_case(void **state)
{
    (void)state;
    double st[32] = {0}, n = 4;
    struct weir_sample full = {.elapsed_s = 1, .depth = 500, .handled = 100};
    assert_null(decide(st, settings, (struct weir_sample){.elapsed_s = 1, .depth = 100}, &n));
    assert_string_equal(decide(st, settings, full, &n), "queue over threshold: tries more");
    assert_true(n > 4.9 && n < 5.1);
    full.handled = 125;
    assert_string_equal(decide(st, settings, full, &n), "more did more: tries still more");
    assert_true(n > 6.9 && n < 7.1);
    full.handled = 60;
    assert_string_equal(decide(st, settings, full, &n), "thrashing: back");
    assert_true(n > 4.9 && n < 5.1);
    full.handled = 125;
    const char *rule = NULL;
    for (int i = 0; i < 5 && rule == NULL; i++)
        rule = decide(st, settings, full, &n);
    assert_string_equal(rule, "tries fewer");
    assert_true(n > 3.9 && n < 4.1);
    full.handled = 100;
    assert_string_equal(decide(st, settings, full, &n), "fewer did less: back");
    full.depth = 300; /* it is going to be empty: no more are needed */
    for (int i = 0; i < 6; i++, full.depth -= 40)
        assert_null(decide(st, settings, full, &n));
    full = (struct weir_sample){.elapsed_s = 10, .depth = 3, .wait_min_s = 10};
    assert_null(decide(st, settings, full, &n)); /* 100 were there */
    assert_string_equal(decide(st, settings, full, &n), "nothing was handled");
    assert_true(n > 5.9 && n < 6.1);
    assert_string_equal(decide(st, settings,
                               (struct weir_sample){.elapsed_s = 1, .idle_count = 3, .idle_s = {7, 5, 4.9}},
                               &n),
                        "idle");
    assert_true(n > 3.9 && n < 4.1);
    full.depth = 101;
    assert_string_equal(decide(st, without_detection, full, &n), "queue over threshold");
    assert_true(n > 4.9 && n < 5.1);
}

/* A queue that is longer never means fewer workers in the next step; nor does a longer wait. */
static void a_longer_queue_wants_no_fewer_workers(void **state)
{
    (void)state;
    for (int detects = 0; detects < 2; detects++) {
        double before = 0;
        for (double depth = 0; depth < 300; depth += 10) {
            double st[32] = {0}, n = 5;
            struct weir_sample s = {
                .elapsed_s = 1, .depth = depth, .handled = 50, .idle_count = 2, .idle_s = {6, 6}};
            (void)decide(st, detects ? settings : without_detection, s, &n);
            assert_true(n >= before);
            before = n;
        }
    }
}

static void the_same_samples_give_the_same_decisions(void **state)
{
    (void)state;
    struct sim a, b;
    init(&a, contended, 1);
    init(&b, contended, 1);
    a.noisy = b.noisy = true;
    for (int i = 0; i < 300; i++) {
        run(&a, 1e5, 1);
        run(&b, 1e5, 1);
        assert_true(fabs(a.threads - b.threads) < 0.5);
    }
    assert_memory_equal(a.state, b.state, sizeof a.state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pool_grows_to_what_the_load_needs_and_back),
        cmocka_unit_test(workers_in_each_others_way_are_as_many_as_do_the_most),
        cmocka_unit_test(without_detection_it_collapses),
        cmocka_unit_test(work_that_changes_is_found_again),
        cmocka_unit_test(a_load_that_changes_is_followed),
        cmocka_unit_test(any_samples_keep_it_in_bounds),
        cmocka_unit_test(what_is_no_number_changes_nothing),
        cmocka_unit_test(out_of_its_range_it_goes_to_the_nearest),
        cmocka_unit_test(it_waits_for_enough),
        cmocka_unit_test(each_rule_has_its_case),
        cmocka_unit_test(a_longer_queue_wants_no_fewer_workers),
        cmocka_unit_test(the_same_samples_give_the_same_decisions),
    };
    return cmocka_run_group_tests_name("pool_hillclimb", tests, NULL, NULL);
}
