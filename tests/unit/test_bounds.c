/* What a gate lets in that several controllers have a say in. */
#include <math.h>

#include "controller/bounds.h"
#include "test.h"

static struct weir_gate_bounds all_of(const struct weir_setpoint *at, size_t n)
{
    struct weir_gate_bounds b;
    weir_bounds_begin(&b);
    for (size_t i = 0; i < n; i++)
        weir_bounds_add(&b, &at[i]);
    weir_bounds_end(&b);
    return b;
}

static struct weir_setpoint open_one(void)
{
    struct weir_setpoint at;
    weir_setpoint_init(&at);
    return at;
}

static void nobody_holds_anything_back(void **state)
{
    (void)state;
    struct weir_setpoint at = open_one();
    for (size_t n = 0; n < 2; n++) {
        struct weir_gate_bounds b = all_of(&at, n);
        assert_true(isinf(b.limit) && isinf(b.shed_after_s) && b.burst == 1 && !b.overloaded);
        for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
            assert_true(isinf(b.rate[i]) && b.share[i] == weir_gate_usual_share(i));
    }
}

static void the_least_of_each_holds(void **state)
{
    (void)state;
    struct weir_setpoint at[3] = {open_one(), open_one(), open_one()};
    at[0].rate[0] = 100;
    at[0].burst = 20;
    at[1].rate[0] = 70;
    at[1].rate[1] = 5;
    at[1].burst = 30;
    at[1].overloaded = true;
    at[2].shed_after_s = 0.5;
    at[2].burst = 1; /* it sets no rate: its burst is nobody's */
    struct weir_gate_bounds b = all_of(at, 3);
    assert_true(b.rate[0] == 70 && b.rate[1] == 5 && isinf(b.rate[2]));
    assert_true(b.burst == 20 && b.overloaded && b.shed_after_s == 0.5 && isinf(b.limit));
}

static void a_class_gets_the_least_number_that_any_gives_it(void **state)
{
    (void)state;
    struct weir_setpoint at[2] = {open_one(), open_one()};
    at[0].limit = 40; /* 40, 36, 32 … */
    at[1].limit = 80;
    at[1].share[0] = 1;
    at[1].share[1] = 0.25; /* 20 */
    at[1].share[2] = 0.5;  /* 40 */
    struct weir_gate_bounds b = all_of(at, 2);
    assert_true(b.limit == 40 && b.share[0] == 1);
    assert_true(fabs(b.share[1] * b.limit - 20) < 1e-9);
    assert_true(fabs(b.share[2] * b.limit - 32) < 1e-9);
    struct weir_setpoint swapped[2] = {at[1], at[0]};
    struct weir_gate_bounds other = all_of(swapped, 2);
    assert_memory_equal(&b, &other, sizeof b); /* their order does not matter */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_holds_anything_back),
        TEST(the_least_of_each_holds),
        TEST(a_class_gets_the_least_number_that_any_gives_it),
    };
    return cmocka_run_group_tests_name("bounds", tests, NULL, NULL);
}
