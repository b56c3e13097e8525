/* What is done about pressure: properties of the step over random pressures, and what it does over time. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "controller/overload.h"
#include "core/relief.h"

static const struct weir_overload_settings defaults = {
    .at = {[WEIR_RESOURCE_MEMORY] = {0.8, 0.8, 0.9, 0.9, 0.95},
           [WEIR_RESOURCE_DESCRIPTORS] = {0.9, INFINITY, 0.8, 0.9, 0.95},
           [WEIR_RESOURCE_LAG] = {INFINITY, 0.1, INFINITY, 0.5, INFINITY}},
    .hysteresis = 0.05,
    .hold_s = 1,
    .class_count = 4,
};

static unsigned step(struct weir_overload *o, double now_s, double memory, double descriptors, double lag)
{
    struct weir_overload_sample s = {.now_s = now_s, .pressure = {memory, descriptors, lag}};
    return weir_overload_step(&defaults, o, &s);
}

static double rnd(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (double)(*seed >> 11) / 9007199254740992.0;
}

static void nothing_is_done_below_the_thresholds(void **state)
{
    (void)state;
    struct weir_overload o = {.level = {0}};
    uint64_t seed = 1;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(step(&o, i, rnd(&seed) * 0.799, rnd(&seed) * 0.799, rnd(&seed) * 0.0999), 0);
    for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
        assert_int_equal(o.level[a], 0);
}

static void each_action_begins_at_its_threshold_and_is_scaled_to_the_next(void **state)
{
    (void)state;
    const struct {
        double memory;
        unsigned level[WEIR_RELIEF_COUNT];
    } expected[] = {
        {0.79, {0, 0, 0, 0, 0}}, {0.8, {1, 1, 0, 0, 0}},    {0.87, {1, 4, 0, 0, 0}},  {0.9, {1, 6, 1, 1, 0}},
        {0.93, {1, 6, 1, 2, 0}}, {0.9501, {1, 6, 1, 3, 1}}, {1.2, {1, 6, 1, 3, 1}},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct weir_overload o = {.level = {0}};
        (void)step(&o, 10, expected[i].memory, 0, 0);
        assert_memory_equal(o.level, expected[i].level, sizeof o.level);
    }
}

static void levels_are_bounded_and_never_fall_with_more_pressure(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        struct weir_overload low = {.level = {0}}, high = {.level = {0}};
        double memory = rnd(&seed) * 1.2, fds = rnd(&seed) * 1.2, lag = rnd(&seed) * 3;
        (void)step(&low, 1, memory, fds, lag);
        (void)step(&high, 1, memory + rnd(&seed) * 0.3, fds + rnd(&seed) * 0.3, lag + rnd(&seed));
        for (int a = 0; a < WEIR_RELIEF_COUNT; a++) {
            assert_true(high.level[a] >= low.level[a]);
            assert_true(high.level[a] <= weir_overload_max(&defaults, (enum weir_relief_action)a));
        }
    }
}

static void a_level_stays_inside_the_hysteresis_and_for_its_time(void **state)
{
    (void)state;
    struct weir_overload o = {.level = {0}};
    assert_int_equal(step(&o, 1, 0, 0.91, 0), 1U << WEIR_RELIEF_COLLECT | 1U << WEIR_RELIEF_CLOSE | 1U << WEIR_RELIEF_SHED);
    for (double t = 1.1; t < 5; t += 0.1)
        assert_int_equal(step(&o, t, 0, 0.87, 0), 0); /* above 0.9 - 0.05 */
    assert_int_equal(step(&o, 5, 0, 0.84, 0), 1U << WEIR_RELIEF_COLLECT | 1U << WEIR_RELIEF_SHED);
    assert_int_equal(o.level[WEIR_RELIEF_CLOSE], 1); /* begins at 0.8 */
    assert_int_equal(step(&o, 5.1, 0, 0.1, 0), 0);   /* it was asked for until just now */
    assert_int_equal(step(&o, 6.1, 0, 0.1, 0), 1U << WEIR_RELIEF_CLOSE);
}

static void classes_come_back_one_at_a_time(void **state)
{
    (void)state;
    struct weir_overload o = {.level = {0}};
    (void)step(&o, 0, 0.99, 0, 0);
    assert_int_equal(o.level[WEIR_RELIEF_SHED], 3);
    unsigned last = 3;
    double fell_s = 0;
    for (double t = 0.05; t < 10; t += 0.05) {
        (void)step(&o, t, 0.2, 0, 0);
        if (o.level[WEIR_RELIEF_SHED] == last)
            continue;
        assert_int_equal(o.level[WEIR_RELIEF_SHED], last - 1);
        assert_true(t - fell_s >= 0.999);
        fell_s = t;
        last--;
    }
    assert_int_equal(last, 0);
}

static void every_state_is_left_when_all_is_well(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int i = 0; i < 200; i++) {
        struct weir_overload o = {.level = {0}};
        double t = 0;
        for (int k = 0; k < 50; k++)
            (void)step(&o, t += rnd(&seed), rnd(&seed) * 1.5, rnd(&seed) * 1.5, rnd(&seed) * 5);
        for (int k = 0; k < 100; k++)
            (void)step(&o, t += 0.25, 0.1, 0.1, 0);
        for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
            assert_int_equal(o.level[a], 0);
    }
}

static void what_is_not_known_raises_and_lowers_nothing(void **state)
{
    (void)state;
    struct weir_overload o = {.level = {0}};
    assert_int_equal(step(&o, 1, NAN, NAN, NAN), 0);
    (void)step(&o, 2, 0.1, 0.97, 0);
    assert_int_equal(o.level[WEIR_RELIEF_STOP], 1);
    assert_int_equal(o.because[WEIR_RELIEF_STOP], WEIR_RESOURCE_DESCRIPTORS);
    for (double t = 3; t < 20; t++)
        assert_int_equal(step(&o, t, 0.1, NAN, 0), 0);
    assert_true(step(&o, 21, 0.1, 0.1, 0) & 1U << WEIR_RELIEF_STOP);
}

static void one_class_is_never_refused(void **state)
{
    (void)state;
    struct weir_overload_settings s = defaults;
    struct weir_overload o = {.level = {0}};
    s.class_count = 1;
    (void)weir_overload_step(&s, &o, &(struct weir_overload_sample){.now_s = 1, .pressure = {2, 2, 9}});
    assert_int_equal(o.level[WEIR_RELIEF_SHED], 0);
    assert_int_equal(o.level[WEIR_RELIEF_STOP], 1);
}

/* A process whose memory grows by what it admits and falls by what it ends: each class brings a quarter of the load, which is 1.5 times what
 * can be borne. The step has to keep it from its limit, and not to swing between all and nothing. */
static void memory_is_kept_below_its_limit_in_a_closed_loop(void **state)
{
    (void)state;
    struct weir_overload o = {.level = {0}};
    double memory = 0.3;
    unsigned changes = 0;
    for (double t = 0; t < 300; t += 0.05) {
        double classes = 4 - o.level[WEIR_RELIEF_SHED];
        double in = t < 200 ? 0.03 * classes / 4 : 0.01; /* of the limit, per second */
        memory += (in - 0.02) * 0.05;
        memory = memory < 0.1 ? 0.1 : memory;
        if (step(&o, t, memory, 0, 0) & 1U << WEIR_RELIEF_SHED)
            changes++;
        assert_true(memory < 0.96);
        if (t > 60 && t < 199)
            assert_true(memory > 0.8);
    }
    assert_true(changes < 40);
    for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
        assert_int_equal(o.level[a], 0);
}

static void one_long_turn_is_no_lasting_lag(void **state)
{
    (void)state;
    struct weir_lag_window w = {.began_s = 0};
    double most = 0;
    for (double t = 1; t < 6; t += 0.05) {
        double lag = weir_lag_window_add(&w, t, t > 3 && t < 3.06 ? 0.4 : 0.001);
        most = lag > most ? lag : most;
    }
    assert_true(most < 0.01);
    for (double t = 6; t < 9; t += 0.25)
        most = weir_lag_window_add(&w, t, 0.3);
    assert_true(most == 0.3);
    for (double t = 9; t < 11; t += 0.25)
        most = weir_lag_window_add(&w, t, 0.001);
    assert_true(most == 0.001);
}

static void everything_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(weir_resource_text(WEIR_RESOURCE_DESCRIPTORS), "descriptors");
    assert_string_equal(weir_relief_text(WEIR_RELIEF_COLLECT), "collect");
    assert_string_equal(weir_relief_text(WEIR_RELIEF_STOP), "stop");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_done_below_the_thresholds),
        TEST(each_action_begins_at_its_threshold_and_is_scaled_to_the_next),
        TEST(levels_are_bounded_and_never_fall_with_more_pressure),
        TEST(a_level_stays_inside_the_hysteresis_and_for_its_time),
        TEST(classes_come_back_one_at_a_time),
        TEST(every_state_is_left_when_all_is_well),
        TEST(what_is_not_known_raises_and_lowers_nothing),
        TEST(one_class_is_never_refused),
        TEST(memory_is_kept_below_its_limit_in_a_closed_loop),
        TEST(one_long_turn_is_no_lasting_lag),
        TEST(everything_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
