#include "core/watchdog.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "core/pool.h"
#include "core/stage.h"
#include "support.h"

static const uint64_t ms = WEIR_NS_PER_MS, began = 1000 * WEIR_NS_PER_MS;

/* ---- by hand: this thread is the watched one, and nobody sends it signals in between ---- */

static struct weir_watchdog *dog;
static struct weir_watch watch;
static const struct weir_watch_limits limits = {
    .slice_ns = 10 * WEIR_NS_PER_MS, .stall_ns = 50 * WEIR_NS_PER_MS, .cpu_ns = 1000 * WEIR_NS_PER_S, .wall_ns = 0};
static int interrupted;

static void interrupt(void *arg)
{
    struct weir_watch *w = arg;
    interrupted++;
    if (weir_watch_wants_place(w))
        memcpy(w->where, "string.rep (C)", sizeof "string.rep (C)");
}

static int open_dog(void **state)
{
    (void)state;
    interrupted = 0;
    memset(&watch, 0, sizeof watch);
    assert_int_equal(weir_watchdog_create(10 * ms, &dog, NULL), WEIR_OK);
    weir_watchdog_add(dog, &watch, "control", NULL);
    assert_ptr_equal(weir_watch_current(), &watch);
    return 0;
}

static int close_dog(void **state)
{
    weir_watchdog_remove(&watch);
    assert_null(weir_watch_current());
    weir_watchdog_stop(dog);
    return test_teardown(state);
}

/* Logic with limits of its own begins. */
static void enter_as(const struct weir_watch_limits *its, struct weir_stage *stage, uint64_t ran_ns, uint64_t began_ns)
{
    struct weir_watch_logic logic;
    weir_watch_logic_init(&logic, its, stage, interrupt, &watch);
    weir_watch_enter(&watch, &logic, ran_ns, began_ns);
}

static void enter(uint64_t ran_ns, uint64_t began_ns)
{
    enter_as(&limits, NULL, ran_ns, began_ns);
}

static uint64_t step(uint64_t after)
{
    return weir_watchdog_step(dog, began + after) - began;
}

#ifdef __SANITIZE_THREAD__
enum { SIGNALS = 0 };
#else
enum { SIGNALS = 1 };
#endif

static void a_call_over_its_slice_is_told_to_give_way(void **state)
{
    (void)state;
    assert_int_equal(step(0), 5 * ms); /* half a slice */
    enter(0, 0);
    assert_int_equal(step(1 * ms), 6 * ms);
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_NONE);
    assert_int_equal(step(6 * ms), 11 * ms);
    assert_int_equal(step(8 * ms), 11 * ms); /* the slice ends before the next tick */
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_NONE);
    assert_int_equal(interrupted, 0);
    step(11 * ms);
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_PREEMPT);
    assert_int_equal(interrupted, SIGNALS);
    assert_int_equal(weir_watch_take_order(&watch), WEIR_WATCH_PREEMPT);
    assert_int_equal(weir_watch_take_order(&watch), WEIR_WATCH_NONE);
    weir_watch_leave(&watch);
}

static void one_that_gave_way_begins_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        uint64_t at = (uint64_t)i * 20 * ms;
        enter(0, 0);
        step(at);
        step(at + 9 * ms);
        assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_NONE);
        step(at + 12 * ms);
        assert_int_equal(weir_watch_take_order(&watch), WEIR_WATCH_PREEMPT);
        weir_watch_leave(&watch);
    }
    assert_int_equal(interrupted, 20 * SIGNALS);
}

static void an_order_that_comes_late_is_not_for_the_next_call(void **state)
{
    (void)state;
    enter(0, 0);
    step(0);
    step(10 * ms);
    weir_watch_leave(&watch);
    enter(0, 0);
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_NONE);
    assert_int_equal(weir_watch_take_order(&watch), WEIR_WATCH_NONE);
    weir_watch_leave(&watch);
}

static void the_signal_is_sent_again_until_it_is_heard(void **state)
{
    (void)state;
    enter(0, 0);
    step(0);
    for (uint64_t at = 10; at < 50; at += 5)
        step(at * ms);
    assert_int_equal(interrupted, 8 * SIGNALS);
    weir_watch_take_order(&watch);
    step(49 * ms);
    assert_int_equal(interrupted, 8 * SIGNALS);
    weir_watch_leave(&watch);
}

static void one_that_hears_but_does_not_give_way_hears_each_stall(void **state)
{
    (void)state;
    enter(0, 0);
    step(0);
    step(10 * ms);
    assert_int_equal(weir_watch_take_order(&watch), WEIR_WATCH_PREEMPT);
    step(49 * ms);
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_NONE);
    for (uint64_t at = 50; at < 400; at += 50) {
        step(at * ms);
        assert_int_equal(weir_watch_take_order(&watch), WEIR_WATCH_STALL);
        step((at + 5) * ms);
        assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_NONE);
        step((at + 40) * ms);
    }
    assert_false(atomic_load(&watch.stuck)); /* it hears */
    weir_watch_leave(&watch);
}

static void the_wall_limit_ends_a_call(void **state)
{
    (void)state;
    const struct weir_watch_limits short_wall = {
        .slice_ns = 10 * ms, .stall_ns = 50 * ms, .cpu_ns = 1000 * WEIR_NS_PER_S, .wall_ns = 9 * ms};
    enter_as(&short_wall, NULL, 0, began - 2 * ms);
    step(0);
    step(6 * ms);
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_NONE);
    step(7 * ms);
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_WALL);
    step(200 * ms); /* nothing is higher: it stays */
    assert_int_equal(weir_watch_take_order(&watch), WEIR_WATCH_WALL);
    weir_watch_leave(&watch);
}

static void use_cpu(uint64_t ns)
{
    uint64_t from = weir_watch_clock_ns();
    while (weir_watch_clock_ns() - from < ns)
        ;
}

static void the_cpu_limit_counts_cpu_time_and_earlier_slices(void **state)
{
    (void)state;
    const struct weir_watch_limits short_cpu = {.slice_ns = 10 * ms, .stall_ns = 50 * ms, .cpu_ns = 20 * ms};
    enter_as(&short_cpu, NULL, 0, 0);
    step(0);
    step(40 * ms); /* passed, but not used */
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_PREEMPT);
    use_cpu(21 * ms);
    assert_true(weir_watch_cpu_ns(&watch) >= 21 * ms);
    step(45 * ms);
    assert_int_equal(weir_watch_take_order(&watch), WEIR_WATCH_CPU);
    weir_watch_leave(&watch);
    assert_true(weir_watch_cpu_ns(&watch) >= 21 * ms); /* still to be asked for */

    enter_as(&short_cpu, NULL, 18 * ms, 0);
    use_cpu(3 * ms); /* before the watchdog sees it: counted, since it had more than a slice already */
    assert_true(weir_watch_cpu_ns(&watch) >= 3 * ms);
    step(100 * ms);
    step(103 * ms);
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_CPU);
    weir_watch_leave(&watch);
}

static void cpu_time_of_a_stretch_that_nobody_saw_is_none(void **state)
{
    (void)state;
    enter(0, 0);
    use_cpu(ms);
    assert_int_equal(weir_watch_cpu_ns(&watch), 0);
    weir_watch_leave(&watch);
}

/* A thread enters the same logic again and again, and others in between; nothing of an earlier one may stay. */
static void each_call_has_the_limits_of_its_own_logic(void **state)
{
    (void)state;
    const struct weir_watch_limits hasty = {.slice_ns = 10 * ms, .stall_ns = 50 * ms, .cpu_ns = 20 * ms, .wall_ns = 5 * ms};
    const struct weir_watch_limits slow = {
        .slice_ns = 10 * ms, .stall_ns = 50 * ms, .cpu_ns = 1000 * WEIR_NS_PER_S, .wall_ns = 1000 * WEIR_NS_PER_S};
    struct weir_watch_logic patient, other;
    weir_watch_logic_init(&patient, &slow, NULL, interrupt, &watch);
    weir_watch_logic_init(&other, &hasty, NULL, interrupt, &watch);
    uint64_t now = 0;
    for (int round = 0; round < 3; round++) {
        weir_watch_enter(&watch, &patient, 0, began + now);
        step(now);
        step(now + 9 * ms);
        assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_NONE);
        weir_watch_leave(&watch);
        weir_watch_enter(&watch, &other, 0, began + now);
        step(now + 3 * ms);
        step(now + 5 * ms);
        assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_WALL);
        weir_watch_leave(&watch);
        weir_watch_enter(&watch, &other, 19 * ms, 0); /* it goes on */
        weir_watch_leave(&watch);
        weir_watch_enter(&watch, &other, 0, 0); /* the next one begins */
        step(now + 6 * ms);
        step(now + 15 * ms);
        assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_NONE);
        weir_watch_leave(&watch);
        now += 100 * ms;
    }
}

static void one_of_a_blocking_pool_may_block(void **state)
{
    (void)state;
    struct weir_pool pool = {.name = "disk", .blocking = true};
    struct weir_stage stage = {.name = "read", .pool = &pool};
    const struct weir_watch_limits l = {.slice_ns = 10 * ms, .stall_ns = 50 * ms, .cpu_ns = 1000 * WEIR_NS_PER_S};
    enter_as(&l, &stage, 0, 0);
    for (uint64_t at = 0; at < 500; at += 5)
        step(at * ms);
    assert_int_equal(weir_watch_order(&watch), WEIR_WATCH_PREEMPT);
    assert_false(atomic_load(&watch.stuck));
    weir_watch_leave(&watch);
}

/* ---- the log ---- */

static int kept_stderr;
static char log_path[] = "/tmp/weir-test-watchdog-XXXXXX";
static FILE *log_file;

static void catch_log(void)
{
    memcpy(log_path + sizeof log_path - 7, "XXXXXX", 6);
    int fd = mkstemp(log_path);
    assert_true(fd >= 0);
    log_file = fdopen(fd, "r+");
    kept_stderr = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
}

/* The lines since; to be freed. */
static char *caught_log(void)
{
    dup2(kept_stderr, STDERR_FILENO);
    close(kept_stderr);
    rewind(log_file);
    char *text = calloc(1, 8192);
    (void)!fread(text, 1, 8191, log_file);
    fclose(log_file);
    unlink(log_path);
    return text;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

static void one_that_does_not_hear_is_stuck_and_comes_back(void **state)
{
    (void)state;
    catch_log();
    enter(0, 0);
    for (uint64_t at = 0; at < 60; at += 5)
        step(at * ms);
    assert_false(atomic_load(&watch.stuck));
    for (uint64_t at = 60; at < 200; at += 5)
        step(at * ms);
    assert_true(atomic_load(&watch.stuck));
    weir_watch_leave(&watch);
    step(205 * ms);
    assert_false(atomic_load(&watch.stuck));
    char *text = caught_log();
    assert_int_equal(count(text, "is stuck"), 1);
    assert_int_equal(count(text, "the control thread is back: that call took 205 ms"), 1);
    assert_int_equal(count(text, "can't be interrupted where it is: string.rep (C)"), SIGNALS);
    free(text);
}

static void a_silent_thread_is_told_of_once(void **state)
{
    (void)state;
    catch_log();
    for (uint64_t s = 0; s < 20; s++)
        step(s * 1000 * ms); /* it does not beat: nothing to say */
    weir_watch_beat(&watch);
    for (uint64_t s = 20; s < 40; s++)
        step(s * 1000 * ms);
    weir_watch_beat(&watch);
    for (uint64_t s = 40; s < 43; s++)
        step(s * 1000 * ms);
    char *text = caught_log();
    assert_int_equal(count(text, "the control thread has been silent for 5.0 s"), 1);
    assert_int_equal(count(text, "the control thread is back: it was silent for 20.0 s"), 1);
    free(text);
}

/* ---- for real ---- */

enum { FEED, WORK, STAGES };

struct stuck_rig {
    struct rig *r;
    _Atomic bool go_on;
    _Atomic int handled, changes;
    _Atomic(struct weir_worker *) held;
    bool hears; /* the logic obeys */
};

static void do_nothing(void *arg)
{
    (void)arg;
}

/* The first event's handler runs until it is told, hearing nothing or until it is preempted; the others take no time. */
static enum weir_reason hold_first(struct rig_handler *h, struct weir_event *ev)
{
    struct stuck_rig *s = h->logic->arg;
    struct weir_worker *worker = h->h.seat->worker;
    if (ev->value.integer == 0) {
        const struct weir_watch_limits short_limits = {.slice_ns = 2 * ms, .stall_ns = 4 * ms, .cpu_ns = WEIR_NS_PER_S};
        struct weir_watch_logic logic;
        weir_watch_logic_init(&logic, &short_limits, h->h.seat->stage, do_nothing, NULL);
        weir_watch_enter(&worker->watch, &logic, 0, 0);
        atomic_store(&s->held, worker);
        while (!atomic_load(&s->go_on) && !(s->hears && weir_watch_take_order(&worker->watch) != WEIR_WATCH_NONE))
            ;
        weir_watch_leave(&worker->watch);
    }
    atomic_fetch_add(&s->handled, 1);
    return WEIR_REASON_NONE;
}

static void note_change(void *arg)
{
    atomic_fetch_add(&((struct stuck_rig *)arg)->changes, 1);
}

static void open_stuck(struct stuck_rig *s, struct rig_feed *feed, unsigned workers)
{
    s->r = rig_create(STAGES, 2);
    rig_pool(s->r, 0, "feeding", 1, false);
    rig_pool(s->r, 1, "main", workers, false);
    rig_source(s->r, FEED, "feed", 0, feed);
    rig_stage(s->r, WORK, "work", 1, hold_first, s)->batch_max = 1;
    rig_wire_one(s->r, FEED, "out", WORK);
    rig_finish(s->r);
    assert_int_equal(weir_watchdog_start(2 * ms, &s->r->g->watchdog, NULL), WEIR_OK);
    weir_watchdog_tell(s->r->g->watchdog, note_change, s);
    rig_start(s->r);
}

static void close_stuck(struct stuck_rig *s)
{
    rig_drain(s->r);
    rig_stop(s->r);
    weir_watchdog_stop(s->r->g->watchdog);
    rig_destroy(s->r);
}

static bool is_known_stuck(void *arg)
{
    struct stuck_rig *s = arg;
    struct weir_worker *worker = atomic_load(&s->held);
    return worker != NULL && weir_worker_stuck(worker);
}

static bool others_are_done(void *arg)
{
    return atomic_load(&((struct stuck_rig *)arg)->handled) == 99;
}

static bool is_back(void *arg)
{
    struct stuck_rig *s = arg;
    return !weir_worker_stuck(atomic_load(&s->held)) && atomic_load(&s->changes) == 2;
}

static void others_go_on_beside_a_stuck_worker(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 100, .per_tick = 100};
    struct stuck_rig s = {.hears = false};
    catch_log();
    open_stuck(&s, &feed, 2);
    rig_wait(s.r, is_known_stuck, &s);
    rig_wait(s.r, others_are_done, &s);
    struct weir_stage_sample sample;
    weir_stage_read(&s.r->g->stages[WORK], &sample);
    assert_int_equal(sample.stalls, 1);
    atomic_store(&s.go_on, true);
    rig_wait(s.r, is_back, &s);
    close_stuck(&s);
    char *text = caught_log();
    assert_int_equal(count(text, "of pool 'main' is stuck"), 1);
    assert_int_equal(count(text, "others take over what they can"), 1);
    assert_int_equal(count(text, "of pool 'main' is back"), 1);
    assert_true(strstr(text, "stage work") != NULL);
    free(text);
}

static bool all_are_done(void *arg)
{
    return atomic_load(&((struct stuck_rig *)arg)->handled) == 100;
}

static void logic_that_hears_is_interrupted_in_time(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 100, .per_tick = 100};
    struct stuck_rig s = {.hears = true};
    open_stuck(&s, &feed, 1); /* alone: without the watchdog it would never end */
    rig_wait(s.r, all_are_done, &s);
    assert_int_equal(atomic_load(&s.changes), 0);
    close_stuck(&s);
}

static void it_wakes_from_its_doze(void **state)
{
    (void)state;
    struct rig_feed feed = {.total = 1, .per_tick = 1};
    struct stuck_rig s = {.hears = true};
    for (int i = 0; i < 5; i++) { /* at first all rest; each time a call must be interrupted soon */
        atomic_store(&s.handled, 0);
        open_stuck(&s, &feed, 1);
        uint64_t from = weir_clock_ns();
        rig_feed_wait(s.r, &feed, 1);
        rig_drain(s.r);
        assert_true(weir_clock_ns() - from < 50 * WEIR_NS_PER_S);
        atomic_store(&feed.made, 0);
        atomic_store(&feed.done, 0);
        close_stuck(&s);
    }
}

static void a_failed_start_leaves_nothing(void **state)
{
    NEEDS_INJECTION();
    (void)state;
    struct weir_err err;
    struct weir_watchdog *d = NULL;
    weir_mem_fail_after(0);
    assert_int_equal(weir_watchdog_start(ms, &d, &err), WEIR_E_NOMEM);
    weir_mem_fail_after(-1);
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 1);
    assert_int_equal(weir_watchdog_start(ms, &d, &err), WEIR_E_IO);
    assert_string_equal(err.text, "can't start the watchdog's thread: Resource temporarily unavailable");
    assert_null(d);
    weir_watchdog_stop(NULL);
    struct weir_watch unwatched = {.dog = NULL};
    weir_watchdog_add(NULL, &unwatched, "worker", NULL);
    weir_watch_rest(&unwatched);
    weir_watch_rouse(&unwatched);
    weir_watchdog_remove(&unwatched);
    assert_null(weir_watch_current());
}

#define WATCHED(f) cmocka_unit_test_setup_teardown(f, open_dog, close_dog)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCHED(a_call_over_its_slice_is_told_to_give_way),
        WATCHED(one_that_gave_way_begins_anew),
        WATCHED(an_order_that_comes_late_is_not_for_the_next_call),
        WATCHED(the_signal_is_sent_again_until_it_is_heard),
        WATCHED(one_that_hears_but_does_not_give_way_hears_each_stall),
        WATCHED(the_wall_limit_ends_a_call),
        WATCHED(the_cpu_limit_counts_cpu_time_and_earlier_slices),
        WATCHED(cpu_time_of_a_stretch_that_nobody_saw_is_none),
        WATCHED(each_call_has_the_limits_of_its_own_logic),
        WATCHED(one_of_a_blocking_pool_may_block),
        WATCHED(one_that_does_not_hear_is_stuck_and_comes_back),
        WATCHED(a_silent_thread_is_told_of_once),
        TEST(others_go_on_beside_a_stuck_worker),
        TEST(logic_that_hears_is_interrupted_in_time),
        TEST(it_wakes_from_its_doze),
        TEST(a_failed_start_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
