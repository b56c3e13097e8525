#include "core/timer.h"

#include <stdlib.h>
#include <string.h>

#include "core/pool.h"
#include "support.h"

enum { MANY = 1000 };

static struct rig *rig;
static struct weir_worker *w;

static int open_rig(void **state)
{
    (void)state;
    rig = rig_create(1, 1);
    rig_pool(rig, 0, "main", 1, false);
    rig_stage(rig, 0, "only", 0, rig_handled, NULL);
    rig_finish(rig);
    w = rig_worker(rig, 0);
    return 0;
}

static int close_rig(void **state)
{
    rig_worker_end(w);
    rig_destroy(rig);
    return test_teardown(state);
}

struct bell {
    struct weir_timer timer;
    int rung;
    uint64_t at_ns;
    struct bell *other; /* what it does when it rings, with this one */
    enum { NOTHING, UNSET_OTHER, SET_OTHER, SET_SELF } does;
};

static uint64_t last_due;

static void ring(struct weir_timer *t)
{
    struct bell *b = (struct bell *)(void *)t;
    assert_int_equal(t->slot, 0);
    assert_true(t->due_ns <= w->now_ns); /* never early */
    assert_true(t->due_ns >= last_due);  /* in order */
    last_due = t->due_ns;
    b->rung++;
    b->at_ns = w->now_ns;
    if (b->does == UNSET_OTHER)
        weir_timer_unset(w, &b->other->timer);
    else if (b->does == SET_OTHER)
        assert_int_equal(weir_timer_set(w, &b->other->timer, w->now_ns), WEIR_OK);
    else if (b->does == SET_SELF)
        assert_int_equal(weir_timer_set(w, &b->timer, w->now_ns), WEIR_OK);
}

static void set(struct bell *b, uint64_t after_ns)
{
    b->timer.fire = ring;
    assert_int_equal(weir_timer_set(w, &b->timer, w->now_ns + after_ns), WEIR_OK);
}

static void they_fire_in_order_when_due_and_not_before(void **state)
{
    (void)state;
    static struct bell bells[MANY];
    unsigned seed = 7;
    last_due = 0;
    memset(bells, 0, sizeof bells);
    for (size_t i = 0; i < MANY; i++)
        set(&bells[i], (unsigned)(rand_r(&seed) % 1000) * WEIR_NS_PER_US);
    for (size_t i = 0; i < MANY; i += 3) /* a third moves, a tenth goes */
        set(&bells[i], (unsigned)(rand_r(&seed) % 1000) * WEIR_NS_PER_US);
    for (size_t i = 0; i < MANY; i += 10) {
        weir_timer_unset(w, &bells[i].timer);
        weir_timer_unset(w, &bells[i].timer); /* nothing */
    }
    size_t rung = 0;
    for (int step = 0; step < 1000; step++) {
        uint64_t next = weir_timers_next(w);
        rig_advance(w, WEIR_NS_PER_US);
        weir_timers_run(w);
        assert_true(next > w->now_ns || weir_timers_next(w) > w->now_ns);
    }
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(bells[i].rung, i % 10 == 0 ? 0 : 1);
        rung += (size_t)bells[i].rung;
    }
    assert_int_equal(rung, MANY - MANY / 10);
    assert_true(weir_timers_next(w) == UINT64_MAX);
}

static void what_one_does_to_another_holds(void **state)
{
    (void)state;
    struct bell first = {.does = UNSET_OTHER}, second = {.does = NOTHING};
    last_due = 0;
    first.other = &second;
    set(&first, 10);
    set(&second, 11);
    rig_advance(w, 20);
    weir_timers_run(w);
    assert_int_equal(first.rung, 1);
    assert_int_equal(second.rung, 0);

    first.does = SET_OTHER;
    set(&first, 10);
    rig_advance(w, 20);
    weir_timers_run(w); /* what is set while they run comes in the next run */
    assert_int_equal(second.rung, 0);
    rig_advance(w, 1);
    weir_timers_run(w);
    assert_int_equal(second.rung, 1);
}

static void one_that_sets_itself_leaves_the_run(void **state)
{
    (void)state;
    struct bell b = {.does = SET_SELF};
    last_due = 0;
    set(&b, 0);
    for (int i = 1; i <= 3; i++) {
        weir_timers_run(w);
        assert_int_equal(b.rung, i);
        rig_advance(w, 1);
    }
    weir_timer_unset(w, &b.timer);
}

static void without_memory_nothing_is_set(void **state)
{
    NEEDS_INJECTION();
    (void)state;
    static struct bell bells[40];
    memset(bells, 0, sizeof bells);
    int failures = 0;
    for (size_t i = 0; i < 40; i++) {
        bells[i].timer.fire = ring;
        weir_mem_fail_after(0);
        int rc = weir_timer_set(w, &bells[i].timer, w->now_ns + i);
        weir_mem_fail_after(-1);
        if (rc == WEIR_E_NOMEM) {
            failures++;
            assert_int_equal(bells[i].timer.slot, 0);
            assert_int_equal(weir_timer_set(w, &bells[i].timer, w->now_ns + i), WEIR_OK);
        }
    }
    assert_int_equal(failures, 3); /* room for 15, 31, 63 */
    weir_mem_fail_after(0);
    assert_int_equal(weir_timer_set(w, &bells[3].timer, w->now_ns + 99), WEIR_OK); /* a set one moves without memory */
    weir_mem_fail_after(-1);
} /* those that are set are dropped with the worker */

/* ---- on a worker's thread, in real time ---- */

static sem_t rang;

static void ring_out(struct weir_timer *t)
{
    struct bell *b = (struct bell *)(void *)t;
    b->at_ns = weir_clock_ns();
    sem_post(&rang);
}

struct start {
    struct rig_task task;
    struct bell *bell;
    uint64_t due_ns;
};

static void set_there(struct rig_task *t, struct weir_worker *worker)
{
    struct start *s = (struct start *)(void *)t;
    s->bell->timer.fire = ring_out;
    s->due_ns = weir_worker_now(worker) + 3 * WEIR_NS_PER_MS / 2;
    assert_int_equal(weir_timer_set(worker, &s->bell->timer, s->due_ns), WEIR_OK);
}

static void a_parked_worker_wakes_for_them(void **state)
{
    struct rig *r = rig_create(1, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, 0, "only", 0, rig_handled, NULL);
    rig_finish(r);
    rig_start(r);
    sem_init(&rang, 0, 0);
    for (int i = 0; i < 20; i++) {
        struct bell b = {.rung = 0};
        struct start s = {.task.run = set_there, .bell = &b};
        rig_run_on(r->g->pools[0].workers[0], &s.task);
        while (sem_wait(&rang) != 0)
            ;
        assert_true(b.at_ns >= s.due_ns);
        assert_true(b.at_ns < s.due_ns + 5 * WEIR_NS_PER_S); /* it was not forgotten */
    }
    sem_destroy(&rang);
    rig_stop(r);
    rig_destroy(r);
    test_teardown(state);
}

#define RIGGED(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(they_fire_in_order_when_due_and_not_before),
        RIGGED(what_one_does_to_another_holds),
        RIGGED(one_that_sets_itself_leaves_the_run),
        RIGGED(without_memory_nothing_is_set),
        TEST(a_parked_worker_wakes_for_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
