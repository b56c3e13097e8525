#include "core/ledger.h"

#include <string.h>

#include "test.h"

static struct weir_ledger a, b;

static int clear_both(void **state)
{
    (void)state;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    return 0;
}

static struct weir_ledger_sum read_both(void)
{
    struct weir_ledger *both[] = {&a, &b};
    struct weir_ledger_sum sum;
    memset(&sum, 0xff, sizeof sum); /* reading clears it */
    weir_ledger_read(both, 2, &sum);
    return sum;
}

static void one_worker_accepts_what_another_ends(void **state)
{
    (void)state;
    weir_ledger_add(&a.offered, 3);
    weir_ledger_add(&a.rejected, 1);
    weir_ledger_add(&a.reasons[WEIR_REASON_FULL], 1);
    weir_ledger_add(&a.accepted, 2);
    weir_ledger_add(&a.queued, 2);
    weir_ledger_add(&b.queued, -1);
    weir_ledger_add(&b.running, 1);
    assert_true(weir_ledger_holds(&a));
    assert_true(weir_ledger_holds(&b)); /* with a negative `queued` */
    struct weir_ledger_sum sum = read_both();
    assert_int_equal(sum.queued, 1);
    assert_int_equal(sum.running, 1);
    assert_int_equal(sum.unsettled, 0);
    assert_int_equal(sum.reasons[WEIR_REASON_FULL], 1);
    weir_ledger_add(&b.running, -1);
    weir_ledger_add(&b.failed, 1);
    assert_true(weir_ledger_holds(&b));
    assert_int_equal(read_both().failed, 1);
}

static void what_does_not_add_up_is_unsettled(void **state)
{
    (void)state;
    weir_ledger_add(&a.offered, 5);
    weir_ledger_add(&a.accepted, 4);
    assert_false(weir_ledger_holds(&a));
    assert_int_equal(read_both().unsettled, 5); /* 4 accepted and nowhere, 1 offered without a verdict */
}

static void histograms_add_up(void **state)
{
    (void)state;
    weir_hist_record(&a.wait_ns, 10);
    weir_hist_record(&b.wait_ns, 30);
    weir_hist_record(&b.service_ns, 7);
    struct weir_ledger_sum sum = read_both();
    assert_int_equal(sum.wait_ns.count, 2);
    assert_int_equal(sum.wait_ns.sum, 40);
    assert_int_equal(sum.service_ns.max, 7);
}

#define LEDGER_TEST(f) cmocka_unit_test_setup_teardown(f, clear_both, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(one_worker_accepts_what_another_ends),
        LEDGER_TEST(what_does_not_add_up_is_unsettled),
        LEDGER_TEST(histograms_add_up),
    };
    return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
