#include "core/recent.h"

#include <math.h>
#include <string.h>

#include "core/pause.h"
#include "core/pool.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, WORK };

static struct rig *rig;
static struct weir_worker *w;
static struct weir_recent *recent;

static void open_rig(void)
{
    rig = rig_create(2, 1);
    rig_pool(rig, 0, "main", 1, false);
    rig_stage(rig, FEED, "feed", 0, rig_handled, NULL);
    rig_stage(rig, WORK, "work", 0, rig_handled, NULL);
    rig_wire_one(rig, FEED, "out", WORK);
    rig_finish(rig);
    w = rig_worker(rig, 0);
    assert_int_equal(weir_recent_create(rig->g, &recent, NULL), WEIR_OK);
}

static void close_rig(void)
{
    weir_recent_destroy(recent);
    rig_worker_end(w);
    rig_destroy(rig);
}

static void figures_are_of_the_last_step_alone(void **state)
{
    (void)state;
    open_rig();
    struct weir_stage *s = &rig->g->stages[WORK];
    uint64_t now = w->now_ns;
    for (int i = 0; i < 100; i++)
        rig_emit_value(w, FEED, i);
    rig_advance(w, WEIR_NS_PER_S); /* they wait a second */
    rig_run(w);
    weir_recent_tick(recent, now);
    assert_true(weir_recent_read(recent, s)->span_s <= 0);
    for (int i = 0; i < 10; i++)
        rig_emit_value(w, FEED, i);
    rig_advance(w, WEIR_NS_PER_MS); /* and these a millisecond */
    rig_run(w);
    weir_recent_tick(recent, now + 2 * WEIR_NS_PER_S);
    const struct weir_recent_figures *f = weir_recent_read(recent, s);
    assert_true(fabs(f->handled - 5) < 1e-9);
    assert_true(fabs(f->offered - 5) < 1e-9);
    assert_in_range(f->wait_p50_ns, WEIR_NS_PER_MS * 7 / 8, WEIR_NS_PER_MS * 9 / 8);
    assert_in_range(f->wait_p99_ns, WEIR_NS_PER_MS * 7 / 8, WEIR_NS_PER_MS * 9 / 8);
    struct weir_stage_sample sample; /* what handlers are told is of that second, too */
    weir_stage_read(s, &sample);
    for (size_t i = 0; i < WEIR_STAGE_QUANTILES; i++)
        assert_true(sample.wait_s[i] > 0.0008 && sample.wait_s[i] < 0.0012);
    weir_recent_tick(recent, now + 3 * WEIR_NS_PER_S);
    weir_stage_read(s, &sample);
    assert_true(sample.wait_s[1] <= 0 && sample.rate <= 0);
    assert_int_equal(weir_recent_read(recent, s)->wait_p99_ns, 0);
    assert_true(weir_recent_read(recent, s)->handled <= 0);
    close_rig();
}

static void lengths_are_kept_for_an_hour(void **state)
{
    (void)state;
    open_rig();
    struct weir_stage *s = &rig->g->stages[WORK];
    struct weir_recent_length fine[WEIR_RECENT_FINE], coarse[WEIR_RECENT_COARSE];
    uint64_t now = w->now_ns;
    weir_recent_tick(recent, now);
    assert_int_equal(weir_recent_fine(recent, s, fine), 0);
    assert_int_equal(weir_recent_coarse(recent, s, coarse), 0);
    for (int i = 0; i < 25; i++) {
        rig_emit_value(w, FEED, i);
        weir_recent_tick(recent, now += WEIR_NS_PER_S);
    }
    assert_int_equal(weir_recent_fine(recent, s, fine), 25);
    assert_int_equal(fine[0].max, 1);
    assert_int_equal(fine[24].max, 25);
    assert_int_equal(weir_recent_coarse(recent, s, coarse), 3);
    assert_int_equal(coarse[0].max, 10);
    assert_true(fabsf(coarse[0].mean - 5.5F) < 0.01F);
    assert_int_equal(coarse[2].max, 25);
    for (int i = 0; i < 4000; i++)
        weir_recent_tick(recent, now += WEIR_NS_PER_S);
    assert_int_equal(weir_recent_fine(recent, s, fine), WEIR_RECENT_FINE);
    assert_int_equal(weir_recent_coarse(recent, s, coarse), WEIR_RECENT_COARSE);
    assert_int_equal(coarse[0].max, 25);
    close_rig();
}

static void what_holds_a_stage_up_is_named(void **state)
{
    (void)state;
    open_rig();
    struct weir_stage *s = &rig->g->stages[WORK], *feed = &rig->g->stages[FEED];
    atomic_store(&rig->g->pools[0].live, 1);
    assert_null(weir_recent_blocked_by(s, 1, 0));
    rig_emit_value(w, FEED, 1);
    assert_null(weir_recent_blocked_by(s, 0.5, 0));
    assert_string_equal(weir_recent_blocked_by(s, 0.99, 0), "pool");
    assert_string_equal(weir_recent_blocked_by(s, 0.5, s->concurrency), "concurrency");
    weir_stage_pause(s);
    assert_string_equal(weir_recent_blocked_by(s, 0.99, 0), "paused");
    weir_stage_resume(s);
    feed->ports[0].edges[0].overflow.policy = WEIR_OVERFLOW_WAIT;
    atomic_store(&s->queue.shared.waiting, 1);
    assert_string_equal(weir_recent_blocked_by(feed, 0, 0), "work");
    atomic_store(&s->queue.shared.waiting, 0);
    atomic_store(&rig->g->pools[0].live, 0);
    close_rig();
}

static void no_memory_makes_nothing(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    open_rig();
    struct weir_recent *r = NULL;
    weir_mem_fail_after(0);
    assert_int_equal(weir_recent_create(rig->g, &r, NULL), WEIR_E_NOMEM);
    weir_mem_fail_after(-1);
    assert_null(r);
    close_rig();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(figures_are_of_the_last_step_alone),
        TEST(lengths_are_kept_for_an_hour),
        TEST(what_holds_a_stage_up_is_named),
        TEST(no_memory_makes_nothing),
    };
    return cmocka_run_group_tests_name("recent", tests, NULL, NULL);
}
