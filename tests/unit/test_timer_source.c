#include "core/waiter.h"
#include "sources_fixture.h"

#include "base/clock.h"
#include "io/timer_source.h"

#define MS WEIR_NS_PER_MS

static void open_timer(struct sole *s, const char *options, enum weir_overflow overflow, size_t capacity)
{
    sole_open(s, &weir_timer_source_type, weir_timer_source_open, options, overflow, capacity);
}

static void ticks_come_on_time_and_never_early(void **state)
{
    (void)state;
    struct sole s;
    open_timer(&s, "every: 100ms", WEIR_OVERFLOW_REJECT, 10);
    sole_advance(&s, 99 * MS);
    sole_expect(&s, "");
    sole_advance(&s, 1 * MS);
    sole_expect(&s, "{\"n\":1,\"missed\":0} ");
    for (int i = 0; i < 3; i++)
        sole_advance(&s, 100 * MS);
    sole_expect(&s, "{\"n\":2,\"missed\":0} {\"n\":3,\"missed\":0} {\"n\":4,\"missed\":0} ");
    sole_close(&s);
}

static void the_grid_does_not_move_with_late_ticks(void **state)
{
    (void)state;
    struct sole s;
    open_timer(&s, "every: 100ms, at_start: true, value: x", WEIR_OVERFLOW_REJECT, 10);
    sole_advance(&s, 0);
    sole_expect(&s, "\"x\" ");
    sole_advance(&s, 170 * MS); /* due at 100 */
    sole_expect(&s, "\"x\" ");
    sole_advance(&s, 29 * MS);
    sole_expect(&s, "");
    sole_advance(&s, 1 * MS);
    sole_expect(&s, "\"x\" ");
    sole_close(&s);
}

static void a_process_that_slept_gets_one_tick_not_many(void **state)
{
    (void)state;
    struct sole s;
    open_timer(&s, "every: 100ms", WEIR_OVERFLOW_REJECT, 10);
    sole_advance(&s, 100 * MS);
    sole_expect(&s, "{\"n\":1,\"missed\":0} ");
    sole_advance(&s, 750 * MS);
    sole_expect(&s, "{\"n\":8,\"missed\":6} ");
    sole_advance(&s, 50 * MS);
    sole_expect(&s, "{\"n\":9,\"missed\":0} ");
    sole_close(&s);
}

static void ticks_while_one_waits_are_left_out(void **state)
{
    (void)state;
    struct sole s;
    open_timer(&s, "every: 100ms", WEIR_OVERFLOW_WAIT, 1);
    sole_advance(&s, 100 * MS);
    sole_advance(&s, 100 * MS); /* the queue is full: this one waits */
    sole_advance(&s, 100 * MS);
    sole_advance(&s, 100 * MS);
    assert_false(s.w->seats[0]->source->ops->idle(s.w->seats[0]->source));
    sole_expect(&s, "{\"n\":1,\"missed\":0} {\"n\":2,\"missed\":0} ");
    sole_advance(&s, 100 * MS);
    sole_expect(&s, "{\"n\":5,\"missed\":2} ");
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    struct weir_source_maker *m = &s.rig->g->stages[0].source;
    m->stats(m->self, &text);
    assert_string_equal(text.data, "\"ticks\":3,\"missed\":2,\"refused\":0");
    weir_strbuf_fini(&text);
    sole_close(&s);
}

static void jitter_makes_each_tick_late_by_its_own_part(void **state)
{
    (void)state;
    enum { TICKS = 200 };
    struct sole s;
    uint64_t least = UINT64_MAX, most = 0;
    open_timer(&s, "every: 100ms, jitter: 50ms, value: 1", WEIR_OVERFLOW_REJECT, 10);
    for (uint64_t i = 1, now = 0; i <= TICKS; i++) {
        while (s.count < i) {
            sole_advance(&s, 1 * MS);
            rig_run(s.w);
            now++;
        }
        assert_true(now >= i * 100 && now <= i * 100 + 51);
        uint64_t late = now - i * 100;
        least = late < least ? late : least;
        most = late > most ? late : most;
    }
    assert_true(least < 10 && most > 40); /* of 200 ticks: fails once in 10^19 */
    sole_close(&s);
}

/* A wait ends by the limits of the stage behind; the tick waits on all the same. */
static void a_tick_that_waits_is_not_lost_when_that_takes_long(void **state)
{
    (void)state;
    struct sole s;
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    open_timer(&s, "every: 100ms", WEIR_OVERFLOW_WAIT, 1);
    sole_advance(&s, 100 * MS);
    sole_advance(&s, 100 * MS); /* this one waits */
    s.w->seats[0]->source->ops->stop(s.w->seats[0]->source);
    for (int i = 0; i < 2; i++) {
        rig_advance(s.w, s.rig->g->stages[1].wall_ns + 1);
        weir_waiter_sweep(s.w, false);
        assert_false(s.w->seats[0]->source->ops->idle(s.w->seats[0]->source));
        struct weir_list *node = weir_list_take_first(&s.w->aside);
        assert_non_null(node);
        WEIR_LIST_ENTRY(node, struct weir_aside, node)->run(WEIR_LIST_ENTRY(node, struct weir_aside, node));
    }
    sole_expect(&s, "{\"n\":1,\"missed\":0} {\"n\":2,\"missed\":0} ");
    s.rig->g->stages[0].source.stats(s.rig->g->stages[0].source.self, &text);
    assert_string_equal(text.data, "\"ticks\":2,\"missed\":0,\"refused\":0");
    weir_strbuf_fini(&text);
    sole_close(&s);
}

/* The host ends while the event is between two waits. */
static void a_tick_that_was_to_wait_anew_goes_with_its_source(void **state)
{
    (void)state;
    struct sole s;
    open_timer(&s, "every: 100ms", WEIR_OVERFLOW_WAIT, 1);
    sole_advance(&s, 100 * MS);
    sole_advance(&s, 100 * MS);
    rig_advance(s.w, s.rig->g->stages[1].wall_ns + 1);
    weir_waiter_sweep(s.w, false);
    struct weir_source *source = s.w->seats[0]->source;
    source->ops->stop(source);
    source->ops->close(source);
    source->ops->destroy(source);
    s.w->seats[0]->source = NULL;
    assert_true(weir_list_empty(&s.w->aside));
    rig_run(s.w);
    rig_worker_end(s.w);
    rig_destroy(s.rig);
    weir_app_free(s.app);
    weir_strbuf_fini(&s.got);
}

static void wrong_options_are_told(void **state)
{
    (void)state;
    sole_expect_problem(&weir_timer_source_type, "", "needs 'every'");
    sole_expect_problem(&weir_timer_source_type, "every: 100us", "'every'");
    sole_expect_problem(&weir_timer_source_type, "every: 1s, jitter: 2s", "'jitter' is longer than 'every'");
    sole_expect_problem(&weir_timer_source_type, "every: 1s, evry: 1s", "evry");
}

static void a_lack_of_memory_is_survived(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct sole s;
    open_timer(&s, "every: 100ms", WEIR_OVERFLOW_REJECT, 10);
    struct weir_source_maker *m = &s.rig->g->stages[0].source, again;
    struct weir_source *made;
    struct weir_err err;
    char bound[4];
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_timer_source_open(&s.rig->g->stages[0], s.app->stages[0].options, &again, bound,
                                    sizeof bound, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
    }
    again.destroy(again.self);
    weir_mem_fail_after(0);
    assert_int_equal(m->make(m->self, s.w->seats[0], &made, &err), WEIR_E_NOMEM);
    sole_advance(&s, 100 * MS); /* a tick without memory is left out */
    weir_mem_fail_after(-1);
    sole_advance(&s, 100 * MS);
    sole_expect(&s, "{\"n\":2,\"missed\":1} ");
    sole_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ticks_come_on_time_and_never_early),
        TEST(the_grid_does_not_move_with_late_ticks),
        TEST(a_process_that_slept_gets_one_tick_not_many),
        TEST(ticks_while_one_waits_are_left_out),
        TEST(a_tick_that_waits_is_not_lost_when_that_takes_long),
        TEST(a_tick_that_was_to_wait_anew_goes_with_its_source),
        TEST(jitter_makes_each_tick_late_by_its_own_part),
        TEST(wrong_options_are_told),
        TEST(a_lack_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
