/* Findings from facts: one thing wrong at a time, lines of stages that wait for each other, several at once. */
#include "admin/explain.h"

#include <stdint.h>
#include <string.h>

#include "test.h"

enum { A, B, C, STAGES };

/* Three stages, a -> b -> c, in one pool of two workers where all is well. */
struct scene {
    struct weir_explain_stage stages[STAGES];
    struct weir_explain_pool pools[2];
    struct weir_explain_facts facts;
};

static void set_up(struct scene *s)
{
    static const char *const names[STAGES] = {"a", "b", "c"};
    memset(s, 0, sizeof *s);
    for (size_t i = 0; i < STAGES; i++)
        s->stages[i] = (struct weir_explain_stage){.name = names[i], .kind = WEIR_STAGE_HANDLER, .capacity = 100, .offered = 100,
                                                   .handled = 100, .service_p50_s = 0.001, .running = 1, .concurrency = 1000,
                                                   .workers = 0.1, .waits_for = SIZE_MAX};
    s->pools[0] = (struct weir_explain_pool){.name = "main", .threads = 2, .max = 2, .busy = 0.3, .cpu = 0.3};
    s->pools[1] = (struct weir_explain_pool){.name = "disk", .blocking = true, .threads = 4, .max = 4, .busy = 0.1};
    s->facts = (struct weir_explain_facts){.stages = s->stages, .stage_count = STAGES, .pools = s->pools, .pool_count = 2,
                                           .file_threads = 4, .span_s = 1};
}

/* Its only finding. */
static struct weir_finding only(struct scene *s)
{
    struct weir_finding found[WEIR_FINDINGS_MAX];
    size_t n = weir_explain(&s->facts, found);
    if (n != 1)
        fail_msg("%zu findings, the first: %s", n, n > 0 ? found[0].what : "-");
    assert_true(strlen(found[0].evidence) > 20 && strlen(found[0].advice) > 5);
    return found[0];
}

static void check(struct scene *s, enum weir_cause cause, size_t stage)
{
    struct weir_finding f = only(s);
    assert_string_equal(weir_cause_text(f.cause), weir_cause_text(cause));
    assert_int_equal(f.stage, stage);
}

static void all_is_well(void **state)
{
    (void)state;
    struct scene s;
    struct weir_finding found[WEIR_FINDINGS_MAX];
    set_up(&s);
    assert_int_equal(weir_explain(&s.facts, found), 0);
    s.pools[0].busy = 1; /* busy, but nothing waits for it */
    assert_int_equal(weir_explain(&s.facts, found), 0);
    s.facts.stage_count = 0;
    assert_int_equal(weir_explain(&s.facts, found), 0);
}

static void each_cause_has_its_signs(void **state)
{
    (void)state;
    struct scene s;
    set_up(&s);
    s.stages[B].depth = 50;
    check(&s, WEIR_CAUSE_BURSTS, B);
    s.stages[B].gated = 10;
    check(&s, WEIR_CAUSE_ADMISSION, B);
    s.stages[B].running = 2000;
    check(&s, WEIR_CAUSE_OUTSIDE, B);
    s.facts.file_jobs = 40;
    check(&s, WEIR_CAUSE_FILES, B);
    s.stages[B].running = 1;
    s.stages[B].keys_waiting = 1;
    check(&s, WEIR_CAUSE_KEY, B);
    s.stages[B].keys_waiting = 20;
    s.pools[0] = (struct weir_explain_pool){.name = "main", .threads = 2, .max = 2, .busy = 1, .cpu = 0.2};
    s.stages[B].workers = 1.9;
    check(&s, WEIR_CAUSE_BLOCKS, B);
    s.pools[0].delayed = 1.5; /* other programs have the CPUs */
    check(&s, WEIR_CAUSE_SLOW, B);
    assert_non_null(strstr(only(&s).advice, "CPUs are taken"));
    s.pools[0].delayed = 0;
    s.pools[0].cpu = 2;
    check(&s, WEIR_CAUSE_SLOW, B);
    s.stages[B].collected = 0.8;
    check(&s, WEIR_CAUSE_GARBAGE, B);
    s.stages[B].collected = 0;
    s.pools[0].stuck = 2;
    check(&s, WEIR_CAUSE_STUCK, B);
    s.stages[B].paused = true;
    check(&s, WEIR_CAUSE_PAUSED, B);
}

static void a_sink_is_at_fault_unless_its_pool_is(void **state)
{
    (void)state;
    struct scene s;
    set_up(&s);
    s.stages[C].kind = WEIR_STAGE_SINK;
    s.stages[C].depth = 90;
    check(&s, WEIR_CAUSE_SINK, C);
    s.stages[C].depth = 0; /* it takes them all, and keeps them */
    s.stages[C].running = 3000;
    s.stages[C].handled = 2;
    check(&s, WEIR_CAUSE_SINK, C);
    s.stages[C].depth = 90;
    s.pools[0].busy = 1;
    s.pools[0].cpu = 2;
    s.stages[A].workers = 1.8;
    check(&s, WEIR_CAUSE_STARVED, A);
}

static void who_waits_is_not_at_fault(void **state)
{
    (void)state;
    struct scene s;
    set_up(&s);
    s.stages[A].depth = s.stages[B].depth = s.stages[C].depth = 100;
    s.stages[A].waits_for = B;
    s.stages[B].waits_for = C;
    s.stages[C].waiting = 10;
    s.stages[C].paused = true;
    check(&s, WEIR_CAUSE_PAUSED, C);
    assert_non_null(strstr(only(&s).what, "'a' waits for it"));
    s.stages[C].waits_for = A; /* can't be: it must end all the same */
    s.stages[C].paused = false;
    struct weir_finding found[WEIR_FINDINGS_MAX];
    assert_true(weir_explain(&s.facts, found) > 0);
}

static void a_blocking_pool_is_judged_by_its_calls(void **state)
{
    (void)state;
    struct scene s;
    set_up(&s);
    s.stages[A].pool = s.stages[B].pool = 1;
    s.stages[A].depth = 40;
    s.stages[A].running = 4;
    s.stages[B].running = 0;
    s.pools[1].busy = 1;
    check(&s, WEIR_CAUSE_POOL, A);
    s.pools[1].max = 8;
    assert_non_null(strstr(only(&s).advice, "growing"));
    s.stages[A].running = 1;
    s.stages[B].running = 3;
    check(&s, WEIR_CAUSE_STARVED, B);
}

static void the_heaviest_is_first_and_there_are_never_too_many(void **state)
{
    (void)state;
    enum { MANY = 40 };
    struct scene s;
    struct weir_explain_stage stages[MANY];
    struct weir_finding found[WEIR_FINDINGS_MAX];
    set_up(&s);
    s.stages[A].depth = 10;
    s.stages[C].depth = 90;
    s.stages[C].refused = 50;
    assert_int_equal(weir_explain(&s.facts, found), 2);
    assert_int_equal(found[0].stage, C);
    for (size_t i = 0; i < MANY; i++) {
        stages[i] = s.stages[A];
        stages[i].paused = true;
    }
    s.facts.stages = stages;
    s.facts.stage_count = MANY;
    assert_int_equal(weir_explain(&s.facts, found), WEIR_FINDINGS_MAX);
}

static void calls_that_wait_for_files_need_no_queue(void **state)
{
    (void)state;
    struct scene s;
    set_up(&s);
    s.stages[B].running = 300;
    s.facts.file_jobs = 300;
    check(&s, WEIR_CAUSE_FILES, B);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_is_well),
        TEST(each_cause_has_its_signs),
        TEST(a_sink_is_at_fault_unless_its_pool_is),
        TEST(who_waits_is_not_at_fault),
        TEST(a_blocking_pool_is_judged_by_its_calls),
        TEST(the_heaviest_is_first_and_there_are_never_too_many),
        TEST(calls_that_wait_for_files_need_no_queue),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
