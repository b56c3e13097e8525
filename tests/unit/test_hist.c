#include "base/hist.h"

#include <string.h>

#include "test.h"

static struct weir_hist hist;

static int clear_hist(void **state)
{
    (void)state;
    memset(&hist, 0, sizeof hist);
    return 0;
}

static struct weir_hist_sum read_hist(void)
{
    struct weir_hist_sum sum = {0};
    weir_hist_merge(&sum, &hist);
    return sum;
}

static void every_value_falls_into_the_bucket_that_says_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < WEIR_HIST_BUCKETS; i++) {
        uint64_t upper = weir_hist_upper(i);
        assert_int_equal(weir_hist_bucket(upper), i);
        if (i + 1 < WEIR_HIST_BUCKETS)
            assert_int_equal(weir_hist_bucket(upper + 1), i + 1);
    }
    assert_int_equal(weir_hist_bucket(UINT64_MAX), WEIR_HIST_BUCKETS - 1);
}

static void a_bucket_is_no_wider_than_an_eighth(void **state)
{
    (void)state;
    for (size_t i = WEIR_HIST_SUB; i < WEIR_HIST_BUCKETS; i++) {
        uint64_t low = weir_hist_upper(i - 1) + 1;
        assert_true((weir_hist_upper(i) - low + 1) * WEIR_HIST_SUB <= low);
    }
}

static void quantiles_are_right_to_an_eighth(void **state)
{
    (void)state;
    for (uint64_t v = 1; v <= 10000; v++)
        weir_hist_record(&hist, v);
    struct weir_hist_sum sum = read_hist();
    assert_int_equal(sum.count, 10000);
    assert_int_equal(sum.sum, 50005000);
    assert_int_equal(sum.max, 10000);
    for (int percent = 1; percent <= 100; percent++) {
        uint64_t exact = (uint64_t)percent * 100, found = weir_hist_quantile(&sum, percent / 100.0);
        assert_true(found >= exact && found <= exact + exact / 8);
    }
    assert_int_equal(weir_hist_quantile(&sum, 1.0), 10000);
}

static void nothing_recorded_has_quantile_zero(void **state)
{
    (void)state;
    struct weir_hist_sum sum = read_hist();
    assert_int_equal(weir_hist_quantile(&sum, 0.99), 0);
    assert_int_equal(weir_hist_count_to(&sum, 1000), 0);
}

static void one_value_is_every_quantile(void **state)
{
    (void)state;
    weir_hist_record(&hist, 1000003);
    struct weir_hist_sum sum = read_hist();
    assert_int_equal(weir_hist_quantile(&sum, 0.0), 1000003);
    assert_int_equal(weir_hist_quantile(&sum, 1.0), 1000003);
}

static void counts_up_to_a_limit_add_up(void **state)
{
    (void)state;
    weir_hist_record(&hist, 0);
    weir_hist_record(&hist, 7);
    weir_hist_record(&hist, 1 << 20);
    struct weir_hist_sum sum = read_hist();
    assert_int_equal(weir_hist_count_to(&sum, 0), 1);
    assert_int_equal(weir_hist_count_to(&sum, 7), 2);
    assert_int_equal(weir_hist_count_to(&sum, UINT64_MAX), 3);
}

static void merging_adds(void **state)
{
    (void)state;
    weir_hist_record(&hist, 5);
    struct weir_hist_sum sum = read_hist();
    weir_hist_record(&hist, 9);
    weir_hist_merge(&sum, &hist);
    assert_int_equal(sum.count, 3);
    assert_int_equal(sum.sum, 19);
    assert_int_equal(sum.max, 9);
}

#define HIST_TEST(f) cmocka_unit_test_setup_teardown(f, clear_hist, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HIST_TEST(every_value_falls_into_the_bucket_that_says_so),
        HIST_TEST(a_bucket_is_no_wider_than_an_eighth),
        HIST_TEST(quantiles_are_right_to_an_eighth),
        HIST_TEST(nothing_recorded_has_quantile_zero),
        HIST_TEST(one_value_is_every_quantile),
        HIST_TEST(counts_up_to_a_limit_add_up),
        HIST_TEST(merging_adds),
    };
    return cmocka_run_group_tests_name("hist", tests, NULL, NULL);
}
