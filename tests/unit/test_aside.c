/* Work that a worker has set aside. Linked with --wrap=uv_run: a worker's polls are counted. */
#include <string.h>

#include "core/pool.h"
#include "core/worker.h"
#include "support.h"

int __real_uv_run(uv_loop_t *loop, uv_run_mode mode);
int __wrap_uv_run(uv_loop_t *loop, uv_run_mode mode);

static _Thread_local size_t polls; /* of this thread */

int __wrap_uv_run(uv_loop_t *loop, uv_run_mode mode)
{
    polls++;
    return __real_uv_run(loop, mode);
}

struct turn {
    struct weir_aside aside;
    size_t polls_before; /* at the last time */
    int left, ran;
    struct weir_worker *worker;
    _Atomic bool done;
};

static void take_turn(struct weir_aside *a)
{
    struct turn *t = (struct turn *)(void *)a;
    assert_true(weir_list_empty(&a->node));
    if (t->ran > 0)
        assert_true(polls > t->polls_before); /* sockets are looked at in between */
    t->polls_before = polls;
    t->ran++;
    if (--t->left > 0)
        weir_worker_set_aside(t->worker, a);
    else
        atomic_store(&t->done, true);
}

struct set_two {
    struct rig_task task;
    struct turn *turns;
};

static void set_turns(struct rig_task *task, struct weir_worker *w)
{
    struct set_two *s = (struct set_two *)(void *)task;
    for (int i = 0; i < 2; i++) {
        s->turns[i].worker = w;
        weir_worker_set_aside(w, &s->turns[i].aside);
    }
}

static bool turns_are_done(void *arg)
{
    struct turn *turns = arg;
    return atomic_load(&turns[0].done) && atomic_load(&turns[1].done);
}

static void what_is_set_aside_gets_one_turn_each_between_polls(void **state)
{
    (void)state;
    struct rig *r = rig_create(1, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, 0, "work", 0, rig_handled, NULL);
    rig_finish(r);
    rig_start(r);
    struct turn turns[2];
    memset(turns, 0, sizeof turns);
    for (int i = 0; i < 2; i++) {
        turns[i].aside.run = take_turn;
        weir_list_init(&turns[i].aside.node);
        turns[i].left = 8;
    }
    struct set_two s = {.task.run = set_turns, .turns = turns};
    rig_run_on(r->g->pools[0].workers[0], &s.task);
    rig_wait(r, turns_are_done, turns); /* the worker does not park while one waits */
    for (int i = 0; i < 2; i++)
        assert_int_equal(turns[i].ran, 8);
    rig_stop(r);
    rig_destroy(r);
}

static void one_that_is_taken_back_does_not_run(void **state)
{
    (void)state;
    struct rig *r = rig_create(1, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, 0, "work", 0, rig_handled, NULL);
    rig_finish(r);
    struct weir_worker *w = rig_worker(r, 0);
    struct turn t = {.aside.run = take_turn, .left = 2, .worker = w};
    weir_list_init(&t.aside.node);
    weir_worker_set_aside(w, &t.aside);
    weir_list_remove(&t.aside.node);
    weir_list_remove(&t.aside.node);
    rig_run(w);
    assert_int_equal(t.ran, 0);
    t.left = 1;
    weir_worker_set_aside(w, &t.aside);
    rig_run(w);
    assert_int_equal(t.ran, 1);
    rig_worker_end(w);
    rig_destroy(r);
}

static void set_aside_twice_it_runs_once(void **state)
{
    (void)state;
    struct rig *r = rig_create(1, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, 0, "work", 0, rig_handled, NULL);
    rig_finish(r);
    struct weir_worker *w = rig_worker(r, 0);
    struct turn first = {.aside.run = take_turn, .left = 1, .worker = w}, second = first;
    weir_list_init(&first.aside.node);
    weir_list_init(&second.aside.node);
    weir_worker_set_aside(w, &first.aside);
    weir_worker_set_aside(w, &second.aside);
    weir_worker_set_aside(w, &first.aside);
    rig_run(w);
    assert_int_equal(first.ran, 1);
    assert_int_equal(second.ran, 1);
    assert_true(weir_list_empty(&w->aside));
    rig_worker_end(w);
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_set_aside_gets_one_turn_each_between_polls),
        TEST(set_aside_twice_it_runs_once),
        TEST(one_that_is_taken_back_does_not_run),
    };
    return cmocka_run_group_tests_name("aside", tests, NULL, NULL);
}
