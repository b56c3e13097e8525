/* The search for a size itself: what the controllers that use it can't be made to do. Their closed loops are
 * in test_pool_hillclimb and test_batch_throughput. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "controller/climb.h"

static const struct weir_climb_words words = {"try more",    "try fewer",    "more paid", "fewer paid",
                                              "more failed", "fewer failed", "thrashing"};
static const struct weir_climb_rules rules = {
    .cost = 0.05, .keep = 0.9, .low = 1, .high = 100, .words = &words};

static void one_size_is_all_there_is(void **state)
{
    (void)state;
    struct weir_climb_rules one = rules;
    struct weir_climb c = {.home = 0};
    double size = 7;
    one.low = one.high = 7;
    for (int i = 0; i < 100; i++)
        assert_null(weir_climb_step(&c, &one, 50 + i % 3 * 30, 1, &size));
    assert_true(size > 6.9 && size < 7.1);
    one.low = 8; /* and none */
    assert_null(weir_climb_step(&c, &one, 50, 1, &size));
}

static void what_is_no_number_changes_nothing(void **state)
{
    (void)state;
    static const double bad[] = {NAN, INFINITY, -INFINITY, -1, 0};
    struct weir_climb c = {.home = 0}, before;
    double size = 7;
    (void)weir_climb_step(&c, &rules, 50, 1, &size);
    before = c;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(weir_climb_step(&c, &rules, bad[i], 1, &size));
    assert_null(weir_climb_step(&c, &rules, 50, NAN, &size));
    double none = NAN;
    assert_null(weir_climb_step(&c, &rules, 50, 1, &none));
    assert_memory_equal(&c, &before, sizeof c);
    assert_true(size > 8.9 && size < 9.1);
}

static void moved_by_somebody_else_it_begins_anew_from_there(void **state)
{
    (void)state;
    struct weir_climb c = {.home = 0};
    double size = 8;
    assert_string_equal(weir_climb_step(&c, &rules, 50, 1, &size), "try more");
    size = 40;
    assert_string_equal(weir_climb_step(&c, &rules, 200, 1, &size), "try more"); /* not: more paid */
    assert_true(size > 49.9 && size < 50.1);
    weir_climb_rest(&c); /* where it tried is where it is now */
    assert_string_equal(weir_climb_step(&c, &rules, 10, 1, &size), "try more"); /* not: thrashing */
    assert_true(size > 62.9 && size < 63.1);
}

/* Every try is of another size, inside the range, on the side that the word says. */
static void a_try_is_what_it_says(void **state)
{
    (void)state;
    uint64_t seed = 1;
    struct weir_climb c = {.home = 0};
    double size = 5;
    int tries = 0;
    for (int i = 0; i < 100000; i++) {
        struct weir_climb_rules r = rules;
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        r.high = 50 + (double)(seed >> 60) * 3; /* it moves, as that of a bound does */
        double before = size, home = c.home;
        const char *rule =
            weir_climb_step(&c, &r, 100 * pow(size, (double)(seed >> 40 & 255) / 128 - 1), 1, &size);
        assert_true(size >= r.low && size <= 100);
        assert_true((rule == NULL) == (fabs(size - before) < 0.5));
        if (rule == NULL)
            continue;
        bool more = strcmp(rule, "try more") == 0 || strcmp(rule, "more paid") == 0 ||
                    strcmp(rule, "fewer failed") == 0;
        tries++;
        assert_true(more == (size > before));
        if (strstr(rule, "try") != NULL)
            assert_true(fabs(before - (home > 0 ? home : before)) < 0.5 && size <= r.high);
    }
    assert_true(tries > 1000);
}

/* Where nothing pays it looks ever more rarely. */
static void tries_that_do_not_pay_get_rare(void **state)
{
    (void)state;
    struct weir_climb c = {.home = 0};
    double size = 8;
    int early = 0, late = 0;
    for (int i = 0; i < 1000; i++) {
        const char *rule = weir_climb_step(&c, &rules, 1000 - 50 * fabs(size - 8), 1, &size);
        early += rule != NULL && i < 50;
        late += rule != NULL && i >= 950;
        assert_true(size >= 4 && size <= 16);
    }
    assert_true(early >= 6 && late >= 1 && late <= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_size_is_all_there_is),
        cmocka_unit_test(what_is_no_number_changes_nothing),
        cmocka_unit_test(moved_by_somebody_else_it_begins_anew_from_there),
        cmocka_unit_test(a_try_is_what_it_says),
        cmocka_unit_test(tries_that_do_not_pay_get_rare),
    };
    return cmocka_run_group_tests_name("climb", tests, NULL, NULL);
}
