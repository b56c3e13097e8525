#include "base/mem.h"

#include <string.h>

#include "test.h"

static void live_blocks_are_counted(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    void *a = weir_malloc(10), *b = weir_calloc(3, 5);
    assert_int_equal(weir_mem_live(), 2);
    a = weir_realloc(a, 1000);
    assert_int_equal(weir_mem_live(), 2);
    weir_free(a);
    weir_free(b);
    weir_free(NULL);
    assert_int_equal(weir_mem_live(), 0);
}

static void the_chosen_allocation_and_all_later_ones_fail(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    weir_mem_fail_after(1);
    char *kept = weir_malloc(4);
    assert_non_null(kept);
    assert_null(weir_malloc(4));
    assert_null(weir_calloc(1, 4));
    assert_null(weir_realloc(kept, 8));
    assert_null(weir_strdup("x"));
    weir_mem_fail_after(-1);
    kept = weir_realloc(kept, 8);
    assert_non_null(kept);
    weir_free(kept);
}

static void realloc_of_nothing_allocates(void **state)
{
    (void)state;
    char *p = weir_realloc(NULL, 3);
    assert_non_null(p);
    weir_free(p);
}

static void copies_are_exact(void **state)
{
    (void)state;
    char *a = weir_strdup("queue"), *b = weir_strndup("queue", 2), *c = weir_asprintf("%s-%03d", "w", 7);
    assert_string_equal(a, "queue");
    assert_string_equal(b, "qu");
    assert_string_equal(c, "w-007");
    weir_free(a);
    weir_free(b);
    weir_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(live_blocks_are_counted),
        TEST(the_chosen_allocation_and_all_later_ones_fail),
        TEST(realloc_of_nothing_allocates),
        TEST(copies_are_exact),
    };
    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
