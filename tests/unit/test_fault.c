#include "base/fault.h"

#include <stdlib.h>

#include "test.h"

static void an_armed_fault_fires_as_often_as_asked(void **state)
{
    (void)state;
    assert_false(weir_fault_fires(WEIR_FAULT_THREAD_CREATE));
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 2);
    assert_false(weir_fault_fires(WEIR_FAULT_ACCEPT_EMFILE));
    assert_true(weir_fault_fires(WEIR_FAULT_THREAD_CREATE));
    assert_true(weir_fault_fires(WEIR_FAULT_THREAD_CREATE));
    assert_false(weir_fault_fires(WEIR_FAULT_THREAD_CREATE));
}

static void the_environment_arms(void **state)
{
    (void)state;
    setenv("WEIR_FAULTS", "ACCEPT_EMFILE=1,NO_SUCH=9,THREAD_CREATE=2", 1);
    weir_fault_arm_from_env();
    unsetenv("WEIR_FAULTS");
    assert_true(weir_fault_fires(WEIR_FAULT_ACCEPT_EMFILE));
    assert_false(weir_fault_fires(WEIR_FAULT_ACCEPT_EMFILE));
    assert_true(weir_fault_fires(WEIR_FAULT_THREAD_CREATE));
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 0);
    assert_false(weir_fault_fires(WEIR_FAULT_THREAD_CREATE));
}

static void a_place_asks_by_name(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    assert_false(WEIR_FAULT(ACCEPT_EMFILE));
    weir_fault_arm(WEIR_FAULT_ACCEPT_EMFILE, 1);
    assert_true(WEIR_FAULT(ACCEPT_EMFILE));
    assert_false(WEIR_FAULT(ACCEPT_EMFILE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_armed_fault_fires_as_often_as_asked),
        TEST(the_environment_arms),
        TEST(a_place_asks_by_name),
    };
    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
