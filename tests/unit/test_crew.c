#include "core/crew.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/fault.h"
#include "core/watch.h"
#include "core/watchdog.h"
#include "test.h"

enum { JOBS = 1000 };

struct job {
    struct weir_message message;
    struct weir_crew *crew; /* to post `next` to; NULL: none */
    struct job *next;
    int at; /* when it ran, from 1 */
    pthread_t thread;
    bool watched;
};

static int ran; /* by the crew's thread, read after its end */

static void run(struct weir_message *m)
{
    struct job *j = (struct job *)(void *)m;
    j->at = ++ran;
    j->thread = pthread_self();
    j->watched = weir_watch_current() != NULL;
    if (j->crew != NULL)
        weir_crew_post(j->crew, &j->next->message);
}

static void jobs_run_in_order_and_all_of_them(void **state)
{
    (void)state;
    static struct job jobs[JOBS];
    struct weir_crew *crew;
    ran = 0;
    assert_int_equal(weir_crew_start("builder", NULL, &crew, NULL), WEIR_OK);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = (struct job){.message.deliver = run};
        weir_crew_post(crew, &jobs[i].message);
    }
    weir_crew_stop(crew);
    assert_int_equal(ran, JOBS);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].at, i + 1);
        assert_false(pthread_equal(jobs[i].thread, pthread_self()));
        assert_false(jobs[i].watched);
    }
}

static void what_a_job_posts_runs_before_the_end(void **state)
{
    (void)state;
    struct weir_crew *crew;
    ran = 0;
    assert_int_equal(weir_crew_start("builder", NULL, &crew, NULL), WEIR_OK);
    struct job last = {.message.deliver = run};
    struct job first = {.message.deliver = run, .crew = crew, .next = &last};
    weir_crew_post(crew, &first.message);
    weir_crew_stop(crew);
    assert_int_equal(last.at, 2);
}

static void one_with_a_watchdog_is_watched(void **state)
{
    (void)state;
    struct weir_watchdog *dog;
    struct weir_crew *crew;
    assert_int_equal(weir_watchdog_create(WEIR_NS_PER_MS, &dog, NULL), WEIR_OK);
    assert_int_equal(weir_crew_start("builder", dog, &crew, NULL), WEIR_OK);
    struct job j = {.message.deliver = run};
    weir_crew_post(crew, &j.message);
    weir_crew_stop(crew);
    assert_true(j.watched);
    weir_watchdog_stop(dog);
}

static void a_failed_start_leaves_nothing(void **state)
{
    NEEDS_INJECTION();
    (void)state;
    struct weir_err err;
    struct weir_crew *crew = NULL;
    weir_mem_fail_after(0);
    assert_int_equal(weir_crew_start("builder", NULL, &crew, &err), WEIR_E_NOMEM);
    weir_mem_fail_after(-1);
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 1);
    assert_int_equal(weir_crew_start("builder", NULL, &crew, &err), WEIR_E_IO);
    assert_string_equal(err.text, "can't start the builder thread: Resource temporarily unavailable");
    assert_null(crew);
    weir_crew_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jobs_run_in_order_and_all_of_them),
        TEST(what_a_job_posts_runs_before_the_end),
        TEST(one_with_a_watchdog_is_watched),
        TEST(a_failed_start_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
