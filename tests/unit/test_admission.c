/* The admission controllers: what each must never do, and how a stage behaves that has one, on a virtual clock. */
#include <math.h>
#include <string.h>

#include "controller/codel.h"
#include "controller/gradient.h"
#include "controller/response_time.h"
#include "controller/token_bucket.h"
#include "sim.h"
#include "test.h"

static const struct weir_controller_type *const types[] = {&weir_response_time_type, &weir_codel_type, &weir_gradient_type,
                                                           &weir_token_bucket_type};
enum { TYPES = sizeof types / sizeof types[0] };

/* --- properties --- */

static uint64_t dice = 1;

static double uniform(void)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (double)(dice >> 11) / 9007199254740992.0;
}

/* Anything at all, what can't be included. */
static double anything(void)
{
    static const double odd[] = {0, -1, 1, 1e-9, 1e9, 1e300, (double)INFINITY, -(double)INFINITY, (double)NAN};
    return uniform() < 0.5 ? odd[(size_t)(uniform() * 9)] : pow(10, uniform() * 12 - 6);
}

static void fill(double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        values[i] = anything();
}

static void settings_of(const struct weir_controller_type *type, double *settings)
{
    sim_defaults(type, settings);
    if (type == &weir_token_bucket_type)
        sim_set(type, settings, "rate", 100);
}

static void check_bounded(const struct weir_controller_type *type, const struct weir_setpoint *at)
{
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        if (!(at->rate[i] >= 0) || !(at->share[i] >= 0 && at->share[i] <= 1))
            fail_msg("%s: rate %g, share %g of class %zu", type->name, at->rate[i], at->share[i], i);
    if (!(at->burst >= 1) || !(at->limit >= 1) || !(at->shed_after_s >= 0))
        fail_msg("%s: burst %g, limit %g, shed after %g", type->name, at->burst, at->limit, at->shed_after_s);
}

/* Whatever it is shown, in whatever state it is, what it sets is a setpoint. */
static void nothing_makes_them_leave_their_bounds(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        double settings[WEIR_SETTINGS_MAX];
        settings_of(types[t], settings);
        for (int run = 0; run < 20000; run++) {
            double memory[512];
            struct weir_sample in;
            struct weir_setpoint at;
            fill(memory, types[t]->state_size / sizeof(double));
            fill((double *)(void *)&in, offsetof(struct weir_sample, idle_s) / sizeof(double));
            in.elapsed_s = 0.1 + uniform();
            in.idle_count = 0;
            in.can_grow = uniform() < 0.3;
            in.class_count = 1 + (size_t)(uniform() * WEIR_CLASSES_MAX);
            fill((double *)(void *)in.classes, WEIR_CLASSES_MAX * sizeof(struct weir_sample_class) / sizeof(double));
            weir_setpoint_init(&at);
            for (int step = 0; step < 3; step++) {
                (void)types[t]->ready(settings, &in);
                (void)types[t]->step(settings, memory, &in, &at);
                check_bounded(types[t], &at);
            }
        }
    }
}

static void without_samples_nothing_is_decided(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        double settings[WEIR_SETTINGS_MAX], memory[512] = {0};
        struct weir_setpoint at, before;
        if (types[t] == &weir_token_bucket_type)
            continue; /* it looks at none */
        settings_of(types[t], settings);
        weir_setpoint_init(&at);
        before = at;
        for (size_t classes = 1; classes <= WEIR_CLASSES_MAX; classes++) {
            struct weir_sample in = {.elapsed_s = 1, .class_count = classes, .threads = 1};
            for (int i = 0; i < 100; i++)
                assert_null(types[t]->step(settings, memory, &in, &at));
            assert_memory_equal(&at, &before, sizeof at);
        }
    }
}

/* As a run can leave it. */
static double usual(void)
{
    static const double scale[] = {0, 0.001, 0.1, 1, 20};
    return uniform() * scale[(size_t)(uniform() * 5)];
}

/* A controller in some state, a sample, where the gate stands. */
struct moment {
    double settings[WEIR_SETTINGS_MAX], memory[512];
    struct weir_sample in;
    struct weir_setpoint at;
};

static void some_moment(const struct weir_controller_type *type, struct moment *m)
{
    *m = (struct moment){.in = {.elapsed_s = 0.1 + uniform(), .depth = floor(usual() * 100), .running = floor(usual()), .capacity = 1024,
                                .handled = floor(usual() * 50), .wait_min_s = 1e-6 + usual(), .wait_s = usual(), .service_s = 1e-4 + usual(),
                                .threads = 1 + floor(usual()), .class_count = 1 + (size_t)(uniform() * 3)}};
    settings_of(type, m->settings);
    for (size_t i = 0; i < type->state_size / sizeof(double); i++)
        m->memory[i] = usual();
    weir_setpoint_init(&m->at);
    for (size_t i = 0; i < m->in.class_count; i++) {
        double offered = floor(usual() * 100), refused = floor(offered * uniform());
        m->in.classes[i] = (struct weir_sample_class){.offered = offered, .refused = refused, .ended = floor((offered - refused) * uniform()),
                                                      .response_s = usual(), .wait_s = usual()};
        if (uniform() < 0.7)
            m->at.rate[i] = 0.05 + usual() * 50;
    }
}

static struct weir_setpoint after(const struct weir_controller_type *type, struct moment m)
{
    (void)type->step(m.settings, m.memory, &m.in, &m.at);
    return m.at;
}

static void check_no_more(const struct weir_controller_type *type, const char *what, const struct weir_setpoint *worse, const struct weir_setpoint *better)
{
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        if (worse->rate[i] > better->rate[i] || worse->limit > better->limit)
            fail_msg("%s, %s: rate of class %zu %g and %g, limit %g and %g", type->name, what, i, worse->rate[i], better->rate[i],
                     worse->limit, better->limit);
}

/* Of two moments that differ in one thing. */
static void what_is_worse_lets_no_more_in(void **state)
{
    (void)state;
    size_t differ[TYPES] = {0};
    for (size_t t = 0; t < TYPES; t++) {
        for (int run = 0; run < 20000; run++) {
            struct moment m, later, longer, slower;
            some_moment(types[t], &m);
            later = longer = slower = m;
            later.in.wait_min_s += usual();
            later.in.wait_s += usual();
            longer.in.depth += floor(usual() * 100);
            for (size_t i = 0; i < m.in.class_count; i++) {
                slower.in.classes[i].response_s += usual();
                slower.in.classes[i].wait_s += usual();
            }
            if (types[t] == &weir_token_bucket_type)
                slower.settings[0] *= uniform();
            struct weir_setpoint at = after(types[t], m), worse[] = {after(types[t], later), after(types[t], slower), after(types[t], longer)};
            check_no_more(types[t], "it waits longer", &worse[0], &at);
            check_no_more(types[t], "it takes longer", &worse[1], &at);
            if (types[t] != &weir_gradient_type) /* a limit that is used may be raised */
                check_no_more(types[t], "more waits", &worse[2], &at);
            for (size_t i = 0; i < 3; i++)
                differ[t] += memcmp(&worse[i], &at, sizeof at) != 0;
        }
        assert_true(differ[t] > 200); /* else little was shown */
    }
}

/* A stage that does 1000 a second and is asked for 20, of which the gate lets in what it is set to. */
static void lighten(struct moment *m)
{
    double in_all = 0;
    m->in.elapsed_s = 1;
    m->in.wait_s = m->in.wait_min_s = 1e-4;
    m->in.service_s = 1e-3;
    m->in.depth = m->in.running = 0;
    for (size_t i = 0; i < m->in.class_count; i++) {
        double let_in = fmin(20, m->at.rate[i]);
        m->in.classes[i] = (struct weir_sample_class){.offered = 20, .refused = 20 - let_in, .ended = let_in, .response_s = 1.1e-3, .wait_s = 1e-4};
        in_all += let_in;
    }
    m->in.handled = in_all;
}

static void from_any_state_a_light_load_is_let_in_again(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        for (int run = 0; run < 500; run++) {
            struct moment m;
            some_moment(types[t], &m);
            weir_setpoint_init(&m.at);
            for (int i = 0; i < 10; i++) /* goes where the controller itself goes */
                (void)types[t]->step(m.settings, m.memory, &m.in, &m.at);
            for (int i = 0; i < 600; i++) {
                lighten(&m);
                (void)types[t]->step(m.settings, m.memory, &m.in, &m.at);
            }
            for (size_t i = 0; i < m.in.class_count; i++)
                if (m.at.rate[i] < 20 || m.at.limit < 2 || m.at.shed_after_s < 1e-3)
                    fail_msg("%s: rate of class %zu %g, limit %g of %g, sheds after %g s", types[t]->name, i, m.at.rate[i], m.at.share[i],
                             m.at.limit, m.at.shed_after_s);
        }
    }
}

/* They leave it to the pool as long as that can grow. */
static void nothing_is_tightened_while_the_pool_can_grow(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        double settings[WEIR_SETTINGS_MAX], memory[512] = {0};
        struct weir_setpoint at;
        if (types[t] == &weir_token_bucket_type)
            continue;
        settings_of(types[t], settings);
        weir_setpoint_init(&at);
        if (types[t] == &weir_gradient_type)
            at.limit = 20;
        struct weir_setpoint before = at;
        struct weir_sample in = {.elapsed_s = 1, .class_count = 1, .threads = 1, .depth = 500, .running = 1, .handled = 200, .taken = 200,
                                 .wait_min_s = 2, .wait_s = 3, .service_s = 0.005, .can_grow = true, .offered = 400,
                                 .classes = {{.offered = 400, .ended = 200, .response_s = 3, .wait_s = 3}}};
        for (int i = 0; i < 100; i++) {
            (void)types[t]->step(settings, memory, &in, &at);
            assert_true(at.limit >= before.limit && at.rate[0] >= before.rate[0]);
        }
        in.can_grow = false;
        for (int i = 0; i < 100; i++)
            (void)types[t]->step(settings, memory, &in, &at);
        assert_true(at.limit < before.limit || at.rate[0] < before.rate[0]);
    }
}

/* --- closed loops --- */

static double steady_rate;

static double steady(double now_s, size_t class_index)
{
    (void)now_s;
    (void)class_index;
    return steady_rate;
}

/* 0.7 of what can be done, 1.4 from 4 s on, and 0.7 again from 12 s on; service takes 1 ms. */
static double step_up(double now_s, size_t class_index)
{
    (void)class_index;
    return now_s >= 4 && now_s < 12 ? 1400 : 700;
}

static double spike(double now_s, size_t class_index)
{
    (void)class_index;
    return now_s >= 5 && now_s < 6 ? 4000 : 100;
}

static double sine(double now_s, size_t class_index)
{
    (void)class_index;
    return 200 * (1 + 0.8 * sin(now_s * 2 * 3.14159265 / 10));
}

/* 0.6 of what can be done by the highest class; five times as much in all. */
static double gold_rate;
static double three(double now_s, size_t class_index)
{
    (void)now_s;
    return class_index == 0 ? gold_rate : 440;
}

struct setup {
    struct sim_options o;
    double settings[WEIR_SETTINGS_MAX];
};

static void set_up(struct setup *s, const struct weir_controller_type *type, double target)
{
    *s = (struct setup){.o = {.seconds = 30, .rate = steady, .classes = 1, .servers = 1, .capacity = 1024, .service_s = 0.005,
                              .patience_s = 0.2, .seed = 7, .type = type}};
    s->o.settings = s->settings;
    if (type == NULL)
        return;
    settings_of(type, s->settings);
    if (type == &weir_response_time_type || type == &weir_codel_type)
        sim_set(type, s->settings, "target", target);
    if (type == &weir_token_bucket_type)
        sim_set(type, s->settings, "rate", 190);
    if (type == &weir_token_bucket_type)
        sim_set(type, s->settings, "burst", 4);
}

/* One server of 5 ms: 200 a second. */
static void goodput_holds_at_ten_times_the_load(void **state)
{
    (void)state;
    static const double loads[] = {0.5, 1, 2, 4, 10};
    for (size_t t = 0; t < TYPES; t++) {
        for (size_t l = 0; l < sizeof loads / sizeof loads[0]; l++) {
            struct setup s;
            struct sim_result r;
            set_up(&s, types[t], 0.02);
            steady_rate = 200 * loads[l];
            sim_run(&s.o, 5, &r);
            double least = loads[l] <= 0.5 ? 0.95 * steady_rate : loads[l] == 1 ? 150 : 0.92 * 200;
            bool bounds_time = types[t] == &weir_response_time_type || types[t] == &weir_codel_type;
            if (r.good_rate < least)
                fail_msg("%s at %g: %.1f good a second, p90 %.1f ms", types[t]->name, loads[l], r.good_rate, r.classes[0].p90_s * 1e3);
            double p90 = types[t] == &weir_codel_type ? r.classes[0].wait_p90_s : r.classes[0].p90_s;
            if (bounds_time && loads[l] >= 2 && p90 > 1.2 * 0.02)
                fail_msg("%s at %g: p90 %.1f ms", types[t]->name, loads[l], p90 * 1e3);
        }
    }
    struct setup s;
    struct sim_result r;
    set_up(&s, NULL, 0);
    steady_rate = 400;
    sim_run(&s.o, 5, &r);
    assert_true(r.good_rate < 20); /* it is the controllers that do it */
}

/* The first window from which on p90 stays at or under `bound` for half a second, after `from`; seconds from there. */
static double back_after(const struct sim_result *r, double from, double bound)
{
    size_t first = (size_t)(from * 10 + 0.5), last = r->window_count;
    for (size_t i = first; i + 5 < last; i++) {
        bool stays = true;
        for (size_t k = i; k < i + 5; k++)
            stays &= r->windows[k].p90_s <= bound;
        if (stays)
            return (double)(i - first) * 0.1;
    }
    return 1e9;
}

static void codel_is_back_on_target_soon_after_a_step(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct setup s;
        struct sim_result r;
        set_up(&s, &weir_codel_type, 0.005);
        s.o.service_s = 0.001;
        s.o.rate = step_up;
        s.o.seconds = 16;
        s.o.seed = seed;
        sim_run(&s.o, 0, &r);
        double took = back_after(&r, 4, 1.2 * 0.005 + 0.001);
        if (took > 0.2)
            fail_msg("seed %d: %.1f s", (int)seed, took);
        for (size_t i = 140; i < 155; i++) /* 2 s after the fall nothing is refused */
            assert_true(r.windows[i].refused == 0);
        double least = 1e9, most = 0;
        for (size_t i = 50; i < 110; i += 5) { /* over half seconds */
            double good = 0;
            for (size_t k = i; k < i + 5; k++)
                good += r.windows[k].good * 2;
            least = fmin(least, good);
            most = fmax(most, good);
        }
        if (least < 900 || most > 1100)
            fail_msg("seed %d: goodput from %g to %g", (int)seed, least, most);
    }
}

static void a_spike_is_over_when_it_is_over(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        struct setup s;
        struct sim_result r;
        set_up(&s, types[t], 0.02);
        s.o.rate = spike;
        s.o.seconds = 40;
        sim_run(&s.o, 0, &r);
        double refused = 0;
        for (size_t i = 300; i < 400; i++)
            refused += r.windows[i].refused;
        if (types[t] != &weir_token_bucket_type && refused > 5)
            fail_msg("%s refuses %g of 1000 half a minute after a spike", types[t]->name, refused);
        assert_true(back_after(&r, 7, 0.05) < 3);
    }
}

static void waves_and_heavy_tails_are_ridden(void **state)
{
    (void)state;
    static const enum sim_service kinds[] = {SIM_CONSTANT, SIM_EXPONENTIAL, SIM_HEAVY};
    for (size_t t = 0; t < TYPES; t++) {
        for (size_t k = 0; k < 3; k++) {
            struct setup s;
            struct sim_result r;
            set_up(&s, types[t], 0.05);
            s.o.rate = sine;
            s.o.service = kinds[k];
            s.o.seconds = 60;
            sim_run(&s.o, 10, &r);
            double least = k == 2 ? 80 : 120; /* of 200 that come, 200 that can be done, at different times */
            if (r.good_rate < least)
                fail_msg("%s, service %d: %.1f good a second", types[t]->name, (int)kinds[k], r.good_rate);
        }
    }
}

/* Gold alone is under the capacity of 200/s, all together are five times that; what gold leaves, others get. */
static void check_classes(const struct weir_controller_type *type, double target, double gold_load, double least)
{
    struct setup s;
    struct sim_result r;
    double answered = 0;
    set_up(&s, type, target);
    gold_rate = gold_load;
    s.o.rate = three;
    s.o.classes = 3;
    s.o.by_class = true;
    s.o.seconds = 60;
    sim_run(&s.o, 20, &r);
    for (size_t i = 0; i < s.o.classes; i++)
        answered += (r.classes[i].admitted - r.classes[i].shed) / 40;
    const struct sim_class *gold = &r.classes[0];
    double share = (gold->admitted - gold->shed) / gold->offered;
    bool codel = type == &weir_codel_type;
    double time = codel ? gold->wait_p90_s : gold->p90_s;
    if (share < 0.99 || time > target || answered < least)
        fail_msg("%s, target %g s, %g/s of gold: %.1f %% of it answered, p90 %.1f ms, %.1f answered a second", type->name, target, gold_load,
                 100 * share, time * 1e3, answered);
    if (r.classes[1].p90_s > 5 * target)
        fail_msg("%s, target %g s, %g/s of gold: the next class is answered in %.1f ms", type->name, target, gold_load, r.classes[1].p90_s * 1e3);
    assert_true(r.classes[2].admitted - r.classes[2].shed <= (r.classes[1].admitted - r.classes[1].shed) * 1.2 + 10);
}

static void the_highest_class_keeps_its_target_and_its_admission(void **state)
{
    (void)state;
    check_classes(&weir_codel_type, 0.05, 100, 190);
    check_classes(&weir_codel_type, 0.05, 140, 190);
    check_classes(&weir_codel_type, 0.02, 100, 190);
    check_classes(&weir_response_time_type, 0.05, 100, 170);
    check_classes(&weir_response_time_type, 0.05, 140, 160);
    check_classes(&weir_response_time_type, 0.02, 100, 110); /* behind gold, a tenth takes longer than that at more */
}

static void the_same_run_gives_the_same_decisions(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPES; t++) {
        struct setup s;
        struct sim_result a, b;
        set_up(&s, types[t], 0.02);
        steady_rate = 500;
        s.o.seconds = 10;
        sim_run(&s.o, 0, &a);
        sim_run(&s.o, 0, &b);
        assert_memory_equal(&a, &b, sizeof a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_makes_them_leave_their_bounds),
        TEST(without_samples_nothing_is_decided),
        TEST(what_is_worse_lets_no_more_in),
        TEST(from_any_state_a_light_load_is_let_in_again),
        TEST(nothing_is_tightened_while_the_pool_can_grow),
        TEST(goodput_holds_at_ten_times_the_load),
        TEST(codel_is_back_on_target_soon_after_a_step),
        TEST(a_spike_is_over_when_it_is_over),
        TEST(waves_and_heavy_tails_are_ridden),
        TEST(the_highest_class_keeps_its_target_and_its_admission),
        TEST(the_same_run_gives_the_same_decisions),
    };
    return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
