/* The size of batches by the throughput they bring, in closed loops of a simulated stage: each batch has a
 * price, and so has each event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "controller/batch_throughput.h"

enum { MIN = 1, MAX = 1000, SETTINGS = 4, CAPACITY = 4096 };
static const struct weir_controller_type *const type = &weir_batch_throughput_type;
static const double settings[SETTINGS] = {0.5, 0.1, 0.05, 0.93}; /* sample, bound, cost, keep */

/* What a batch of `n` events costs in seconds. */
struct price {
    double batch, event;
    double serves; /* events that one `batch` pays for; 0: any number */
};

/* The thesis' stage: the first of 200 events costs as much as 17.4 others. Its throughput at 80 and at 190 is
 * that of the thesis' figure, on a machine that is 40 times as fast. */
static const struct price thesis = {17.4 * 2e-5, 2e-5, 200};

static double cost_of(const struct price *p, double n)
{
    double times = p->serves > 0 ? ceil(n / p->serves) : 1;
    return times * p->batch + n * p->event;
}

static double best_of(const struct price *p)
{
    double best = 0;
    for (double n = MIN; n <= MAX; n++)
        best = fmax(best, n / cost_of(p, n));
    return best;
}

/* One worker, which takes up to `batch` of what waits, and does them. */
struct sim {
    struct price price;
    bool at_once; /* the handler gets the whole batch */
    bool noisy;
    double now_s, came, taken, batch, stepped_s;
    double handled, service_sum, busy, sum, longest;
    double (*load)(double now_s); /* events per second */
    double at[CAPACITY];          /* when they came, a ring */
    size_t head, count;
    uint64_t seed;
    double state[32];
};

static double uniform(struct sim *m)
{
    m->seed = m->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (double)(m->seed >> 11) / 9007199254740992.0;
}

static void init(struct sim *m, struct price price, double batch, double (*load)(double now_s))
{
    *m = (struct sim){.price = price, .at_once = true, .batch = batch, .load = load, .seed = 1};
    assert_true(type->state_size <= sizeof m->state);
}

static void arrive(struct sim *m, double until_s)
{
    const double tick = 0.0005;
    for (double t = m->now_s; t < until_s; t += tick) {
        double part = fmin(tick, until_s - t);
        for (m->came += m->load(t) * part; m->came >= 1; m->came--)
            if (m->count < CAPACITY)
                m->at[(m->head + m->count++) % CAPACITY] = t;
    }
    m->now_s = until_s;
}

static void control(struct sim *m)
{
    struct weir_sample s = {.now_s = m->now_s,
                            .elapsed_s = m->now_s - m->stepped_s,
                            .depth = (double)m->count,
                            .capacity = CAPACITY,
                            .handled = m->handled,
                            .taken = m->handled,
                            .service_s = m->handled > 0 ? m->service_sum / m->handled : 0,
                            .threads = 1,
                            .busy = m->busy / (m->now_s - m->stepped_s),
                            .batch = m->batch,
                            .batch_min = MIN,
                            .batch_max = MAX,
                            .takes_batches = m->at_once};
    if (s.elapsed_s <= 0 || !type->ready(settings, &s))
        return;
    struct weir_setpoint at;
    weir_setpoint_init(&at);
    at.batch = m->batch;
    const char *rule = type->step(settings, m->state, &s, &at);
    assert_true(at.batch >= MIN && at.batch <= MAX);
    assert_true((rule == NULL) == (fabs(at.batch - m->batch) < 1));
    m->batch = at.batch;
    m->stepped_s = m->now_s;
    m->handled = m->service_sum = m->busy = 0;
}

static void turn(struct sim *m)
{
    double n = fmin(floor(m->batch), (double)m->count), first_s = n > 0 ? m->at[m->head] : 0;
    double took = n > 0 ? cost_of(&m->price, n) * (m->noisy ? 0.7 + 0.6 * uniform(m) : 1) : 0.0005;
    m->head = (m->head + (size_t)n) % CAPACITY;
    m->count -= (size_t)n;
    arrive(m, m->now_s + took);
    m->handled += n;
    m->sum += n;
    m->service_sum += m->at_once ? n * took : took;
    m->busy += n > 0 ? took : 0;
    if (n > 0)
        m->longest = fmax(m->longest, m->now_s - first_s);
    control(m);
}

static void run(struct sim *m, double seconds)
{
    for (double end = m->now_s + seconds; m->now_s < end;)
        turn(m);
}

/* Events per second over the next `seconds`; m->longest is their longest time here. */
static double throughput(struct sim *m, double seconds)
{
    double start = m->now_s;
    m->sum = m->longest = 0;
    run(m, seconds);
    return m->sum / (m->now_s - start);
}

/* --- loads --- */

static double flood(double now_s)
{
    (void)now_s;
    return 1e5;
}

static double step_down(double now_s)
{
    return now_s < 60 ? 1e5 : 3000;
}

static double spikes(double now_s)
{
    return fmod(now_s, 20) < 5 ? 1e5 : 1000;
}

static double sine(double now_s)
{
    return 3e4 + 2.9e4 * sin(now_s / 10);
}

/* Mostly little, now and then a lot: a Pareto distribution with an index of 1.2, each tenth of a second. */
static double heavy_tail(double now_s)
{
    uint64_t x = (uint64_t)(now_s * 10) * 0x9e3779b97f4a7c15ULL;
    x ^= x >> 29;
    double u = ((double)((x * 0xbf58476d1ce4e5b9ULL) >> 11) + 1) / 9007199254740993.0;
    return fmin(5000 * pow(u, -1 / 1.2), 2e5);
}

/* --- closed loops --- */

static void the_thesis_stage_is_kept_near_its_best(void **state)
{
    (void)state;
    static const double from[] = {MIN, 10, 200, 201, MAX};
    for (size_t i = 0; i < 2 * sizeof from / sizeof from[0]; i++) {
        struct sim m;
        init(&m, thesis, from[i / 2], flood);
        m.noisy = i % 2 == 1;
        run(&m, 30);
        double did = throughput(&m, 300) / best_of(&thesis);
        print_message("from %g%s: %.3f of the best, batch %g\n", from[i / 2], m.noisy ? ", noisy" : "", did,
                      m.batch);
        if (!(did >= 0.93))
            fail_msg("from %g: %g", from[i / 2], did);
    }
}

/* Its sizes between two tries are few: it does not swing. */
static void it_comes_to_rest(void **state)
{
    (void)state;
    struct sim m;
    init(&m, thesis, MIN, flood);
    run(&m, 120);
    double moves = 0, before = m.batch;
    for (int i = 0; i < 600; i++) {
        run(&m, 0.5);
        moves += fabs(m.batch - before) >= 1;
        assert_true(m.batch > 60 && m.batch < 500);
        before = m.batch;
    }
    assert_true(moves < 120); /* a try is a move there and one back */
}

static void a_batch_that_brings_nothing_gets_small(void **state)
{
    (void)state;
    struct sim m;
    init(&m, (struct price){.event = 5e-5}, MAX, flood);
    run(&m, 60);
    double did = throughput(&m, 60);
    assert_true(m.batch <= 4);
    assert_true(did > 0.999 / 5e-5);
}

static void a_price_per_batch_makes_it_as_large_as_pays(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct price p = {i < 2 ? 1e-4 : 5e-3, 2e-5, 0};
        struct sim m;
        init(&m, p, i % 2 == 0 ? MIN : MAX, flood);
        run(&m, 30);
        double did = throughput(&m, 200) / best_of(&p);
        if (!(did >= 0.9))
            fail_msg("case %d: %g, batch %g", i, did, m.batch);
    }
}

static void no_batch_takes_longer_than_the_bound(void **state)
{
    (void)state;
    for (int at_once = 0; at_once < 2; at_once++) {
        struct price slow = {0.02, 0.001, 0};
        struct sim m;
        init(&m, slow, MAX, flood);
        m.at_once = at_once != 0;
        if (!m.at_once)
            m.price.batch = 0;
        run(&m, 10);
        for (int i = 0; i < 1000; i++) {
            run(&m, 0.1);
            assert_true(cost_of(&m.price, m.batch) <= 1.01 * settings[1]);
        }
        m.price.event = 0.01; /* ten times the work: it is seen with the next sample */
        run(&m, 2 * 10 * settings[0]);
        assert_true(cost_of(&m.price, m.batch) <= 1.01 * settings[1]);
    }
}

/* Nobody waits for a batch to fill, so a load that falls costs none of those who come then more than the
 * queue that it left. */
static void a_drop_of_the_load_costs_no_latency(void **state)
{
    (void)state;
    static const double from[] = {MIN, MAX};
    for (int i = 0; i < 2; i++) {
        struct sim m;
        init(&m, thesis, from[i], step_down);
        run(&m, 60);
        double backlog_s = CAPACITY / (m.batch / cost_of(&thesis, m.batch));
        double did = throughput(&m, 2);
        assert_true(m.longest <= backlog_s + 2 * settings[1]);
        did = throughput(&m, 30);
        assert_true(fabs(did - 3000) < 30);
        assert_true(m.longest <= 0.01); /* 3000 a second wait for one another's first */
    }
}

static void a_load_that_changes_is_kept_up_with(void **state)
{
    (void)state;
    static double (*const loads[])(double now_s) = {spikes, sine, heavy_tail};
    for (int i = 0; i < 3; i++) {
        struct sim m;
        init(&m, thesis, MIN, loads[i]);
        run(&m, 100);
        double did = throughput(&m, 200);
        struct sim best; /* the same with the best size for ever */
        init(&best, thesis, 200, loads[i]);
        best.stepped_s = INFINITY;
        run(&best, 100);
        double could = throughput(&best, 200);
        if (!(did >= 0.93 * could))
            fail_msg("load %d: %g of %g", i, did, could);
        assert_true(m.longest <= best.longest + settings[1]);
    }
}

static void work_that_changes_is_found_again(void **state)
{
    (void)state;
    static const struct price parts[] = {
        {17.4 * 2e-5, 2e-5, 200}, {0, 5e-5, 0}, {0.01, 2e-5, 0}, {17.4 * 2e-5, 2e-5, 200}};
    struct sim m;
    init(&m, parts[0], MIN, flood);
    m.noisy = true;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        m.price = parts[i];
        run(&m, 60);
        double did = throughput(&m, 60) / best_of(&parts[i]);
        if (!(did >= 0.9))
            fail_msg("part %zu: %g, batch %g", i, did, m.batch);
    }
}

/* --- single steps --- */

static const char *decide(void *state, struct weir_sample s, double *batch)
{
    struct weir_setpoint at;
    weir_setpoint_init(&at);
    at.batch = *batch;
    s.batch = *batch;
    s.batch_min = 2;
    s.batch_max = 400;
    s.takes_batches = true;
    const char *rule = type->step(settings, state, &s, &at);
    *batch = at.batch;
    return rule;
}

static void any_samples_keep_it_in_bounds(void **state)
{
    (void)state;
    static const double values[] = {-1, 0, 1e-300, 0.05, 1, 3, 101, 1e6, 1e300, INFINITY, -INFINITY, NAN};
    enum { VALUES = sizeof values / sizeof values[0] };
    struct sim m;
    double batch = 3;
    init(&m, thesis, 3, flood);
    for (int i = 0; i < 200000; i++) {
        struct weir_sample s = {.elapsed_s = values[(int)(uniform(&m) * VALUES)],
                                .depth = values[(int)(uniform(&m) * VALUES)],
                                .capacity = values[(int)(uniform(&m) * VALUES)],
                                .handled = values[(int)(uniform(&m) * VALUES)],
                                .failed = values[(int)(uniform(&m) * VALUES)],
                                .service_s = values[(int)(uniform(&m) * VALUES)],
                                .busy = values[(int)(uniform(&m) * VALUES)],
                                .threads = values[(int)(uniform(&m) * VALUES)]};
        double before = batch;
        (void)type->ready(settings, &s);
        const char *rule = decide(m.state, s, &batch);
        assert_true(batch >= 2 && batch <= 400);
        assert_true((rule == NULL) == (fabs(batch - before) < 1));
        if (uniform(&m) < 0.05)
            batch = 2 + floor(uniform(&m) * 399); /* somebody else sets it */
    }
    m.batch = batch; /* and none of that has broken it */
    run(&m, 60);
    assert_true(throughput(&m, 60) >= 0.93 * best_of(&thesis));
}

static void without_samples_it_decides_nothing(void **state)
{
    (void)state;
    double st[32] = {0}, n = 100;
    assert_null(decide(st, (struct weir_sample){.elapsed_s = 5, .capacity = 1024}, &n));
    assert_null(decide(st, (struct weir_sample){.elapsed_s = 5, .depth = 500, .capacity = 1024}, &n));
    assert_null(decide(st,
                       (struct weir_sample){.elapsed_s = 0.5, .depth = 99, .capacity = 1024, .handled = 1000},
                       &n)); /* no whole batch waits */
    n = NAN;
    assert_null(decide(
        st, (struct weir_sample){.elapsed_s = 0.5, .depth = 500, .capacity = 1024, .handled = 1000}, &n));
    struct weir_sample s = {.elapsed_s = 0.4, .handled = 1000, .batch = 100};
    assert_false(type->ready(settings, &s));
    s.elapsed_s = 0.5;
    assert_true(type->ready(settings, &s));
    s.handled = 399;
    assert_false(type->ready(settings, &s));
    s.elapsed_s = 5;
    assert_true(type->ready(settings, &s));
}

static void each_rule_has_its_case(void **state)
{
    (void)state;
    double st[32] = {0}, n = 100;
    struct weir_sample full = {
        .elapsed_s = 1, .depth = 500, .capacity = 1024, .handled = 1000, .service_s = 0.01};
    assert_string_equal(decide(st, full, &n), "tries more");
    assert_true(n > 124.9 && n < 125.1);
    full.handled = 1200;
    assert_string_equal(decide(st, full, &n), "more did more: tries still more");
    assert_true(n > 187.9 && n < 188.1);
    full.handled = 900;
    assert_string_equal(decide(st, full, &n), "more did much less: back");
    full.handled = 1200;
    while (n > 124)
        (void)decide(st, full, &n);
    assert_true(n > 99.9 && n < 100.1);
    full.handled = 900;
    assert_string_equal(decide(st, full, &n), "fewer did less: back");
    full.service_s = 0.2;
    assert_string_equal(decide(st, full, &n), "a batch takes longer than the bound");
    assert_true(n > 55.9 && n < 56.1); /* 125 * 0.1 / 0.2, and a tenth spare */
    n = 1;
    assert_string_equal(decide(st, full, &n), "out of its range");
    assert_true(n > 1.9 && n < 2.1);
    n = 1000;
    assert_string_equal(decide(st, full, &n), "out of its range");
    assert_true(n > 399.9 && n < 400.1);
}

/* The longer a batch takes, the smaller the next one. */
static void a_longer_turn_wants_no_larger_batch(void **state)
{
    (void)state;
    double before = INFINITY;
    for (double took = 0.1; took < 20; took *= 1.3) {
        double st[32] = {0}, n = 200;
        (void)decide(st,
                     (struct weir_sample){
                         .elapsed_s = 1, .depth = 50, .capacity = 1024, .handled = 1000, .service_s = took},
                     &n);
        assert_true(n <= before);
        before = n;
    }
    assert_true(before < 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_thesis_stage_is_kept_near_its_best),
        cmocka_unit_test(it_comes_to_rest),
        cmocka_unit_test(a_batch_that_brings_nothing_gets_small),
        cmocka_unit_test(a_price_per_batch_makes_it_as_large_as_pays),
        cmocka_unit_test(no_batch_takes_longer_than_the_bound),
        cmocka_unit_test(a_drop_of_the_load_costs_no_latency),
        cmocka_unit_test(a_load_that_changes_is_kept_up_with),
        cmocka_unit_test(work_that_changes_is_found_again),
        cmocka_unit_test(any_samples_keep_it_in_bounds),
        cmocka_unit_test(without_samples_it_decides_nothing),
        cmocka_unit_test(each_rule_has_its_case),
        cmocka_unit_test(a_longer_turn_wants_no_larger_batch),
    };
    return cmocka_run_group_tests_name("batch_throughput", tests, NULL, NULL);
}
