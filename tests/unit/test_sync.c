#include "base/sync.h"

#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>
#include <signal.h>
#include <sys/resource.h>

#include "test.h"

static struct weir_mutex low, high;

static int make_locks(void **state)
{
    (void)state;
    weir_mutex_init(&low, WEIR_RANK_POOL, "low");
    weir_mutex_init(&high, WEIR_RANK_INBOX, "high");
    return 0;
}

static int end_locks(void **state)
{
    weir_mutex_fini(&low);
    weir_mutex_fini(&high);
    return test_teardown(state);
}

static void locks_are_taken_upward(void **state)
{
    (void)state;
    weir_mutex_lock(&low);
    weir_mutex_lock(&high);
    weir_mutex_unlock(&high);
    weir_mutex_unlock(&low);
    weir_mutex_lock(&high);
    weir_mutex_unlock(&high);
}

/* Whether `breach` ends its process by abort. */
static bool aborts(void (*breach)(void))
{
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        sigaction(SIGABRT, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
        close(STDERR_FILENO);
        breach();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void take_downward(void)
{
    weir_mutex_lock(&high);
    weir_mutex_lock(&low);
}

static void take_twice(void)
{
    weir_mutex_lock(&low);
    weir_mutex_lock(&low);
}

static void give_back_in_the_wrong_order(void)
{
    weir_mutex_lock(&low);
    weir_mutex_lock(&high);
    weir_mutex_unlock(&low);
}

static void give_back_what_was_not_taken(void)
{
    weir_mutex_unlock(&low);
}

static void a_breach_of_the_order_aborts(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    assert_true(aborts(take_downward));
    assert_true(aborts(take_twice));
    assert_true(aborts(give_back_in_the_wrong_order));
    assert_true(aborts(give_back_what_was_not_taken));
}

static int shared_count;

static void *count_up(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++) {
        weir_mutex_lock(&low);
        shared_count++;
        weir_mutex_unlock(&low);
    }
    return NULL;
}

static void one_thread_at_a_time(void **state)
{
    (void)state;
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(shared_count, 30000);
}

#define SYNC_TEST(f) cmocka_unit_test_setup_teardown(f, make_locks, end_locks)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SYNC_TEST(locks_are_taken_upward),
        SYNC_TEST(a_breach_of_the_order_aborts),
        SYNC_TEST(one_thread_at_a_time),
    };
    return cmocka_run_group_tests_name("sync", tests, NULL, NULL);
}
