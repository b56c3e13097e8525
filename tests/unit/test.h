/* tests/unit/test.h - cmocka with what it needs before it, and a frame around each test: real time, no
 * injected failure, and no memory left over. */
#ifndef WEIR_UNIT_TEST_H
#define WEIR_UNIT_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"

static inline int test_teardown(void **state)
{
    (void)state;
    weir_clock_set_virtual(0);
    weir_mem_fail_after(-1);
    return weir_mem_live() == 0 ? 0 : -1;
}

#define TEST(f) cmocka_unit_test_teardown(f, test_teardown)

#ifdef WEIR_TESTING
#define NEEDS_INJECTION() ((void)0)
#else
#define NEEDS_INJECTION() skip() /* built without fault injection */
#endif

#endif
