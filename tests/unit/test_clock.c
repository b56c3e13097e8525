/* base/clock: the virtual clock, and wall time beside it. */
#include "test.h"

#include "base/clock.h"

static int go_back(void **state)
{
    (void)state;
    weir_clock_set_virtual(0);
    weir_clock_set_virtual_wall(0);
    return 0;
}

static void test_real_time_goes_on(void **state)
{
    (void)state;
    uint64_t before = weir_clock_ns(), wall = weir_clock_wall_ns();
    assert_true(weir_clock_ns() >= before);
    assert_true(wall > 1600000000 * WEIR_NS_PER_S);
}

static void test_virtual_time_stands(void **state)
{
    (void)state;
    weir_clock_set_virtual(5 * WEIR_NS_PER_S);
    assert_int_equal(weir_clock_ns(), 5 * WEIR_NS_PER_S);
    assert_int_equal(weir_clock_ns(), 5 * WEIR_NS_PER_S);
    assert_true(weir_clock_wall_ns() > 1600000000 * WEIR_NS_PER_S); /* real, unless asked for */
    weir_clock_set_virtual(0);
    assert_true(weir_clock_ns() != 5 * WEIR_NS_PER_S);
}

static void test_wall_time_moves_with_the_virtual_clock(void **state)
{
    (void)state;
    weir_clock_set_virtual(5 * WEIR_NS_PER_S);
    weir_clock_set_virtual_wall(1000 * WEIR_NS_PER_S);
    assert_int_equal(weir_clock_wall_ns(), 1005 * WEIR_NS_PER_S);
    weir_clock_set_virtual(6 * WEIR_NS_PER_S);
    assert_int_equal(weir_clock_wall_ns(), 1006 * WEIR_NS_PER_S);
    weir_clock_set_virtual(0); /* an offset alone changes nothing */
    assert_true(weir_clock_wall_ns() > 1600000000 * WEIR_NS_PER_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_real_time_goes_on, go_back),
        cmocka_unit_test_teardown(test_virtual_time_stands, go_back),
        cmocka_unit_test_teardown(test_wall_time_moves_with_the_virtual_clock, go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
