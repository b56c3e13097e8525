#include "core/tap.h"

#include "core/stage.h"
#include "support.h"

enum { FEED, WORK };

static struct rig *rig;
static struct weir_worker *w;
static struct weir_tap *tap;

static void open_rig(double sample, double rate)
{
    rig = rig_create(2, 1);
    rig_pool(rig, 0, "main", 1, false);
    rig_stage(rig, FEED, "feed", 0, rig_handled, NULL);
    rig_stage(rig, WORK, "work", 0, rig_handled, NULL);
    rig_wire_one(rig, FEED, "out", WORK);
    rig_finish(rig);
    w = rig_worker(rig, 0);
    const struct weir_tap_options o = {sample, rate};
    assert_int_equal(weir_tap_open(&rig->g->stages[WORK], &o, &tap, NULL), WEIR_OK);
}

static void close_rig(void)
{
    rig_worker_end(w);
    rig_destroy(rig);
}

static void pass(int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
        rig_run(w);
    }
}

static size_t take_all(void)
{
    struct weir_tapped ev;
    size_t n = 0;
    for (; weir_tap_take(tap, &ev); n++)
        weir_tapped_fini(&ev);
    return n;
}

static struct weir_tap_counts counts(void)
{
    struct weir_tap_counts c;
    weir_tap_read(tap, &c);
    return c;
}

static void what_passes_is_shown_in_order(void **state)
{
    (void)state;
    open_rig(1, 1000);
    pass(10);
    for (int i = 0; i < 10; i++) {
        struct weir_tapped ev;
        assert_true(weir_tap_take(tap, &ev));
        assert_int_equal(ev.value.integer, i);
        assert_null(ev.request);
        weir_tapped_fini(&ev);
    }
    assert_int_equal(take_all(), 0);
    assert_int_equal(counts().passed, 10);
    weir_tap_close(tap);
    pass(5);
    assert_int_equal(counts().passed, 10);
    close_rig();
}

static void beyond_the_rate_is_only_counted(void **state)
{
    (void)state;
    open_rig(1, 10);
    pass(30); /* the clock stands */
    assert_int_equal(take_all(), 10);
    assert_int_equal(counts().limited, 20);
    rig_advance(w, WEIR_NS_PER_S / 2);
    pass(30);
    assert_int_equal(take_all(), 5);
    weir_tap_close(tap);
    close_rig();
}

static void a_share_is_about_that_share(void **state)
{
    (void)state;
    open_rig(0.25, 100000);
    size_t shown = 0;
    for (int i = 0; i < 20; i++) {
        pass(100);
        shown += take_all();
    }
    assert_in_range(shown, 350, 650);
    assert_int_equal(counts().limited, 0);
    weir_tap_close(tap);
    close_rig();
}

static void a_full_ring_loses_and_counts(void **state)
{
    (void)state;
    open_rig(1, 100000);
    pass(600);
    assert_int_equal(counts().lost, 88);
    assert_int_equal(take_all(), 512);
    pass(600);
    assert_int_equal(take_all(), 512);
    weir_tap_close(tap);
    close_rig();
}

static void what_nobody_took_is_freed(void **state)
{
    (void)state;
    open_rig(1, 1000);
    assert_int_equal(rig_emit(w, FEED, rig_event_sized(w, 1000)), WEIR_VERDICT_ACCEPTED);
    rig_run(w);
    weir_tap_close(tap);
    const struct weir_tap_options o = {1, 1000};
    assert_int_equal(weir_tap_open(&rig->g->stages[WORK], &o, &tap, NULL), WEIR_OK);
    assert_int_equal(rig_emit(w, FEED, rig_event_sized(w, 1000)), WEIR_VERDICT_ACCEPTED);
    rig_run(w);
    close_rig(); /* with the tap open */
}

static void there_are_no_more_than_four(void **state)
{
    (void)state;
    open_rig(1, 1000);
    struct weir_tap *more[4];
    const struct weir_tap_options o = {1, 1000};
    struct weir_err err;
    for (int i = 0; i < 3; i++)
        assert_int_equal(weir_tap_open(&rig->g->stages[WORK], &o, &more[i], &err), WEIR_OK);
    assert_int_equal(weir_tap_open(&rig->g->stages[WORK], &o, &more[3], &err), WEIR_E_LIMIT);
    weir_tap_close(tap);
    assert_int_equal(weir_tap_open(&rig->g->stages[WORK], &o, &tap, &err), WEIR_OK);
    close_rig();
}

static void no_memory_opens_nothing(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    open_rig(1, 1000);
    const struct weir_tap_options o = {1, 1000};
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_tap *t = NULL;
        weir_mem_fail_after(n);
        rc = weir_tap_open(&rig->g->stages[FEED], &o, &t, NULL);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && t == NULL));
    }
    close_rig();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_passes_is_shown_in_order),
        TEST(beyond_the_rate_is_only_counted),
        TEST(a_share_is_about_that_share),
        TEST(a_full_ring_loses_and_counts),
        TEST(what_nobody_took_is_freed),
        TEST(there_are_no_more_than_four),
        TEST(no_memory_opens_nothing),
    };
    return cmocka_run_group_tests_name("tap", tests, NULL, NULL);
}
