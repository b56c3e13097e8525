/* The loop that runs controllers: what it samples, what it applies, what it writes down; set, freeze, unfreeze. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "controller/journal.h"
#include "controller/loop.h"
#include "core/graph.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "support.h"

enum { FEED, WORK, STAGES };
static const uint64_t ms = WEIR_NS_PER_MS;

/* --- a controller that does as it is told, and remembers what it saw --- */

enum { EVERY, WANTS, MODE, FLAG, OPTIONS };
static const char *const modes[] = {"calm", "wild", NULL};
static const struct weir_option options[OPTIONS] = {
    {.name = "every", .type = WEIR_OPTION_DURATION, .fallback = "100ms", .min = 1000000, .max = 60000000000, .text = "between steps"},
    {.name = "wants", .type = WEIR_OPTION_NUMBER, .fallback = "1", .min = 0, .max = 100, .text = "the setpoint"},
    {.name = "mode", .type = WEIR_OPTION_ENUM, .words = modes, .fallback = "calm", .text = "how"},
    {.name = "flag", .type = WEIR_OPTION_BOOL, .fallback = "false", .text = "whether"},
};
static const double settings[OPTIONS] = {0.1, 1, 0, 0};

struct memory {
    int steps;
};
static struct weir_sample seen;
static int steps_in_all;

static bool ready(const double *s, const struct weir_sample *sample)
{
    return sample->elapsed_s >= s[EVERY];
}

static const char *obey(const double *s, void *state, const struct weir_sample *sample, struct weir_setpoint *at)
{
    struct memory *m = state;
    m->steps++;
    steps_in_all++;
    seen = *sample;
    if (s[WANTS] <= 0)
        return NULL;
    at->threads = at->batch = s[WANTS];
    return "wanted";
}

static const struct weir_controller_type of_threads = {.name = "obey", .knob = WEIR_KNOB_THREADS, .text = "obeys", .options = options, .option_count = OPTIONS,
                                                       .state_size = sizeof(struct memory), .ready = ready, .step = obey};
static const struct weir_controller_type of_batch = {.name = "obey", .knob = WEIR_KNOB_BATCH, .text = "obeys", .options = options, .option_count = OPTIONS,
                                                       .state_size = sizeof(struct memory), .ready = ready, .step = obey};
/* --- the rig --- */

struct fixture {
    struct rig *r;
    struct weir_journal *journal;
    struct weir_loop *loop;
    struct weir_worker *w; /* by hand */
    uint64_t now_ns;
};

static struct fixture begin(bool real)
{
    struct fixture f = {.r = rig_create(STAGES, 1)};
    rig_pool(f.r, 0, "main", 4, false);
    rig_stage(f.r, FEED, "feed", 0, rig_handled, NULL);
    rig_stage(f.r, WORK, "work", 0, rig_handled, NULL);
    rig_wire_one(f.r, FEED, "out", WORK);
    rig_finish(f.r);
    steps_in_all = 0;
    if (real)
        rig_start(f.r);
    else
        f.w = rig_worker(f.r, 0);
    assert_int_equal(weir_journal_create(&f.journal, NULL), WEIR_OK);
    assert_int_equal(weir_loop_create(f.r->g, f.journal, NULL, &f.loop, NULL), WEIR_OK);
    f.now_ns = weir_clock_ns();
    return f;
}

static void end(struct fixture *f)
{
    weir_loop_destroy(f->loop);
    weir_journal_destroy(f->journal);
    if (f->w != NULL)
        rig_worker_end(f->w);
    else
        rig_stop(f->r);
    rig_destroy(f->r);
}

static void tick(struct fixture *f, uint64_t ns)
{
    f->now_ns += ns;
    if (f->w != NULL)
        rig_advance(f->w, ns);
    weir_loop_tick(f->loop, f->now_ns);
}

static const struct weir_journal_entry *last(const struct fixture *f)
{
    return weir_journal_next(f->journal, weir_journal_last(f->journal) - 1);
}

/* --- tests --- */

static void a_step_comes_when_the_sample_is_ready_and_sees_what_happened_since(void **state)
{
    (void)state;
    struct fixture f = begin(false);
    struct weir_stage *work = &f.r->g->stages[WORK];
    assert_true(weir_loop_is_empty(f.loop));
    assert_int_equal(weir_loop_add_batch(f.loop, work, 1, 64, &of_batch, settings, NULL), WEIR_OK);
    assert_false(weir_loop_is_empty(f.loop));
    weir_loop_begin(f.loop, f.now_ns);
    for (int i = 0; i < 5; i++)
        rig_emit_value(f.w, FEED, i);
    tick(&f, 50 * ms);
    assert_int_equal(steps_in_all, 0);
    rig_run(f.w);
    for (int i = 0; i < 3; i++)
        rig_emit_value(f.w, FEED, i);
    tick(&f, 50 * ms);
    assert_int_equal(steps_in_all, 1);
    assert_true(fabs(seen.elapsed_s - 0.1) < 1e-9);
    assert_true(seen.offered == 8 && seen.accepted == 8 && seen.handled == 5 && seen.taken == 5);
    assert_true(seen.depth == 3 && seen.capacity == 1000 && seen.running == 0);
    assert_true(seen.batch == 64 && seen.batch_min == 1 && seen.batch_max == 64);
    assert_true(seen.threads_min == 1 && seen.threads_max == 4);
    assert_true(seen.wait_s >= 0.045 && seen.wait_s < 0.06);
    rig_run(f.w);
    tick(&f, 100 * ms);
    assert_int_equal(steps_in_all, 2);
    assert_true(seen.offered == 0 && seen.handled == 3 && seen.depth == 0);
    end(&f);
}

static void a_decision_moves_the_knob_and_is_written_down(void **state)
{
    (void)state;
    struct fixture f = begin(false);
    struct weir_stage *work = &f.r->g->stages[WORK];
    assert_int_equal(weir_loop_add_batch(f.loop, work, 4, 64, &of_batch, settings, NULL), WEIR_OK);
    weir_loop_begin(f.loop, f.now_ns);
    tick(&f, 100 * ms);
    assert_int_equal(atomic_load(&work->batch), 4); /* 1 is below its minimum */
    const struct weir_journal_entry *e = last(&f);
    assert_int_equal(e->number, 1);
    assert_string_equal(e->subject, "stages.work.batch");
    assert_string_equal(e->controller, "obey");
    assert_string_equal(e->rule, "wanted");
    assert_true(e->from == 64 && e->to == 4 && e->has_inputs && e->inputs.batch == 64);
    tick(&f, 100 * ms);
    assert_int_equal(weir_journal_last(f.journal), 1); /* the same again is nothing to tell */
    end(&f);
}

static void threads_come_and_go(void **state)
{
    (void)state;
    struct fixture f = begin(true);
    struct weir_pool *p = &f.r->g->pools[0];
    assert_int_equal(weir_loop_add_threads(f.loop, p, &of_threads, settings, NULL), WEIR_OK);
    weir_loop_begin(f.loop, f.now_ns);
    tick(&f, 100 * ms);
    assert_int_equal(p->target, 1);
    assert_string_equal(last(&f)->subject, "pools.main.threads");
    assert_true(last(&f)->from == 4 && last(&f)->to == 1);
    assert_int_equal(weir_loop_set(f.loop, "pools.main.controller.wants", "3", f.now_ns, NULL), WEIR_OK);
    rig_reap(f.r, 0);
    tick(&f, 100 * ms);
    assert_int_equal(p->target, 3);
    assert_int_equal(weir_loop_set(f.loop, "pools.main.controller.wants", "100", f.now_ns, NULL), WEIR_OK);
    tick(&f, 100 * ms);
    assert_int_equal(p->target, 4);
    assert_true(seen.threads == 3 && seen.threads_max == 4);
    end(&f);
}

static void what_is_frozen_stays(void **state)
{
    (void)state;
    struct fixture f = begin(false);
    struct weir_stage *work = &f.r->g->stages[WORK];
    assert_int_equal(weir_loop_add_batch(f.loop, work, 1, 64, &of_batch, settings, NULL), WEIR_OK);
    weir_loop_begin(f.loop, f.now_ns);
    assert_int_equal(weir_loop_freeze(f.loop, "stages.work.batch", true, f.now_ns, NULL), WEIR_OK);
    assert_int_equal(last(&f)->kind, WEIR_JOURNAL_FREEZE);
    tick(&f, 500 * ms);
    assert_int_equal(atomic_load(&work->batch), 64);
    assert_int_equal(weir_loop_set(f.loop, "stages.work.batch", "7", f.now_ns, NULL), WEIR_OK);
    tick(&f, 500 * ms);
    assert_int_equal(atomic_load(&work->batch), 7);
    assert_int_equal(weir_loop_freeze(f.loop, "stages.work.batch", false, f.now_ns, NULL), WEIR_OK);
    tick(&f, 50 * ms);
    assert_int_equal(atomic_load(&work->batch), 7); /* a fresh start: what happened meanwhile is no sample */
    tick(&f, 50 * ms);
    assert_int_equal(atomic_load(&work->batch), 1);
    end(&f);
}

static void what_can_not_be_set_is_told(void **state)
{
    (void)state;
    struct fixture f = begin(false);
    struct weir_stage *work = &f.r->g->stages[WORK];
    assert_int_equal(weir_loop_add_batch(f.loop, work, 1, 64, &of_batch, settings, NULL), WEIR_OK);
    assert_int_equal(weir_loop_add_threads(f.loop, &f.r->g->pools[0], &of_threads, settings, NULL), WEIR_OK);
    weir_loop_begin(f.loop, f.now_ns);
    static const struct {
        const char *path, *value;
        int code;
        const char *text;
    } cases[] = {
        {"stages.work.batch", "0", WEIR_E_INVAL, "a whole number from 1 to 1024, found '0'"},
        {"stages.work.batch", "7x", WEIR_E_INVAL, "found '7x'"},
        {"stages.work.batch", "1.5", WEIR_E_INVAL, "found '1.5'"},
        {"stages.work.batch", "", WEIR_E_INVAL, "found ''"},
        {"stages.wrok.batch", "1", WEIR_E_NOTFOUND, "did you mean 'work'?"},
        {"pools.mian.threads", "1", WEIR_E_NOTFOUND, "did you mean 'main'?"},
        {"pools.main.threads", "0", WEIR_E_INVAL, "from 1 to"},
        {"stages.work.colour", "1", WEIR_E_NOTFOUND, "can't be changed while the host runs"},
        {"work", "1", WEIR_E_NOTFOUND, "can't be changed"},
        {"..", "1", WEIR_E_NOTFOUND, "no path of a knob"},
        {"stages.work.batch.controller.every", "5", WEIR_E_INVAL, "the unit is missing"},
        {"stages.work.batch.controller.every", "1us", WEIR_E_INVAL, "from 1ms to 1m"},
        {"stages.work.batch.controller.mode", "mild", WEIR_E_INVAL, "one of calm, wild, found 'mild'"},
        {"stages.work.batch.controller.flag", "1", WEIR_E_INVAL, "true or false"},
        {"stages.work.batch.controller.wants", "101", WEIR_E_INVAL, "a number from 0 to 100"},
        {"stages.work.batch.controller.want", "1", WEIR_E_NOTFOUND, "did you mean 'wants'?"},
        {"pools.main.controller", "1", WEIR_E_INVAL, "a setting behind it"},
        {"stages.work.batch.other.wants", "1", WEIR_E_NOTFOUND, "nothing there can be set"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_err err;
        int rc = weir_loop_set(f.loop, cases[i].path, cases[i].value, f.now_ns, &err);
        if (rc != cases[i].code || strstr(err.text, cases[i].text) == NULL)
            fail_msg("%s=%s: %d, %s", cases[i].path, cases[i].value, rc, err.text);
    }
    assert_int_equal(weir_journal_last(f.journal), 0);
    static const char *const good[][2] = {{"stages.work.batch.every", "1s"},
                                          {"stages.work.batch.controller.mode", "wild"},
                                          {"stages.work.batch.obey.flag", "true"},
                                          {"pools.main.controller.wants", "0.5"}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(weir_loop_set(f.loop, good[i][0], good[i][1], f.now_ns, NULL), WEIR_OK);
    struct weir_loop_view view;
    assert_true(weir_loop_look(f.loop, 0, &view));
    assert_true(view.settings[EVERY] == 1 && view.settings[MODE] == 1 && view.settings[FLAG] == 1);
    assert_true(weir_loop_look(f.loop, 1, &view));
    assert_true(view.settings[WANTS] == 0.5);
    assert_false(weir_loop_look(f.loop, 2, &view));
    assert_int_equal(weir_loop_freeze(f.loop, "pools.mian.threads", true, f.now_ns, NULL), WEIR_E_NOTFOUND);
    assert_int_equal(weir_loop_freeze(f.loop, "stages.work.batch.every", true, f.now_ns, NULL), WEIR_E_INVAL);
    end(&f);
}

static void the_journal_keeps_the_newest(void **state)
{
    (void)state;
    struct weir_journal *j;
    assert_int_equal(weir_journal_create(&j, NULL), WEIR_OK);
    assert_null(weir_journal_next(j, 0));
    for (int i = 0; i < WEIR_JOURNAL_KEPT + 10; i++)
        weir_journal_add(j, WEIR_JOURNAL_SET)->from = i;
    assert_int_equal(weir_journal_last(j), WEIR_JOURNAL_KEPT + 10);
    assert_int_equal(weir_journal_next(j, 0)->number, 11);
    uint64_t n = 0, after = 0;
    for (const struct weir_journal_entry *e; (e = weir_journal_next(j, after)) != NULL; n++) {
        assert_true(e->from == (double)(e->number - 1));
        after = e->number;
    }
    assert_int_equal(n, WEIR_JOURNAL_KEPT);
    weir_journal_destroy(j);
}

static void no_memory_is_told(void **state)
{
    (void)state;
    struct rig *r = rig_create(STAGES, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, FEED, "feed", 0, rig_handled, NULL);
    rig_stage(r, WORK, "work", 0, rig_handled, NULL);
    rig_wire_one(r, FEED, "out", WORK);
    rig_finish(r);
    for (int n = 0;; n++) {
        struct weir_journal *j = NULL;
        struct weir_loop *l = NULL;
        weir_mem_fail_after(n);
        int rc = weir_journal_create(&j, NULL);
        if (rc == WEIR_OK)
            rc = weir_loop_create(r->g, j, NULL, &l, NULL);
        if (rc == WEIR_OK)
            rc = weir_loop_add_threads(l, &r->g->pools[0], &of_threads, settings, NULL);
        weir_mem_fail_after(-1);
        weir_loop_destroy(l);
        weir_journal_destroy(j);
        if (rc == WEIR_OK) {
            assert_true(n > 5);
            break;
        }
        assert_int_equal(rc, WEIR_E_NOMEM);
    }
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_comes_when_the_sample_is_ready_and_sees_what_happened_since),
        cmocka_unit_test(a_decision_moves_the_knob_and_is_written_down),
        cmocka_unit_test(threads_come_and_go),
        cmocka_unit_test(what_is_frozen_stays),
        cmocka_unit_test(what_can_not_be_set_is_told),
        cmocka_unit_test(the_journal_keeps_the_newest),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
