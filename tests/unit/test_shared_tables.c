/* The set of shared tables: names, bounds, undeclared ones, many threads that ask at once. */
#include "test.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "core/shared_table.h"
#include "core/shared_tables.h"

static struct weir_shared_tables *make(void)
{
    struct weir_shared_tables *set;
    struct weir_err err;
    if (weir_shared_tables_create(&set, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    return set;
}

static void declared_tables_have_their_bounds(void **state)
{
    (void)state;
    struct weir_shared_tables *set = make();
    struct weir_shared_table *t, *again;
    struct weir_shared_figures f;
    struct weir_err err;
    assert_int_equal(weir_shared_tables_declare(set, "sessions", 5000, 7, &err), WEIR_OK);
    assert_int_equal(weir_shared_tables_declare(set, "sessions", 5000, 7, &err), WEIR_E_EXISTS);
    assert_string_equal(err.text, "there is a shared table 'sessions' already");
    weir_shared_tables_undeclared(set, false, 0, 0);
    assert_int_equal(weir_shared_tables_get(set, "sessions", &t, &err), WEIR_OK);
    assert_int_equal(weir_shared_tables_get(set, "sessions", &again, &err), WEIR_OK);
    assert_ptr_equal(t, again);
    assert_ptr_equal(weir_shared_tables_at(set, 0), t);
    assert_null(weir_shared_tables_at(set, 1));
    weir_shared_table_read(t, &f);
    assert_int_equal(f.limit, 5000);
    assert_int_equal(weir_shared_tables_get(set, "other", &t, &err), WEIR_E_NOTFOUND);
    assert_int_equal(weir_shared_tables_declare(set, "", 5000, 0, &err), WEIR_E_INVAL);
    weir_shared_tables_destroy(set);
}

static void undeclared_tables_are_made_and_bounded(void **state)
{
    (void)state;
    struct weir_shared_tables *set = make();
    struct weir_shared_table *t;
    struct weir_err err;
    char name[16];
    weir_shared_tables_undeclared(set, true, 9000, 0);
    for (int i = 0; i < WEIR_SHARED_TABLES_MAX; i++) {
        struct weir_shared_figures f;
        snprintf(name, sizeof name, "t%d", i);
        assert_int_equal(weir_shared_tables_get(set, name, &t, &err), WEIR_OK);
        weir_shared_table_read(t, &f);
        assert_int_equal(f.limit, 9000);
    }
    assert_int_equal(weir_shared_tables_get(set, "one_more", &t, &err), WEIR_E_LIMIT);
    assert_int_equal(weir_shared_tables_get(set, "t7", &t, &err), WEIR_OK);
    weir_shared_tables_destroy(set);
}

static void *ask(void *arg)
{
    struct weir_shared_table *t = NULL;
    struct weir_err err;
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        if (weir_shared_tables_get(arg, name, &t, &err) != WEIR_OK ||
            strcmp(weir_shared_table_name(t), name) != 0)
            return arg;
    }
    return NULL;
}

static void threads_that_ask_at_once_get_one_table(void **state)
{
    (void)state;
    struct weir_shared_tables *set = make();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, set), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_non_null(weir_shared_tables_at(set, 199));
    assert_null(weir_shared_tables_at(set, 200));
    weir_shared_tables_destroy(set);
}

static void lack_of_memory_leaves_nothing(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_shared_tables *set = NULL;
        struct weir_err err;
        weir_mem_fail_after(n);
        rc = weir_shared_tables_create(&set, &err);
        if (rc == WEIR_OK)
            rc = weir_shared_tables_declare(set, "a", 4096, 0, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
        weir_shared_tables_destroy(set);
        assert_int_equal(weir_mem_live(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(declared_tables_have_their_bounds),
        TEST(undeclared_tables_are_made_and_bounded),
        TEST(threads_that_ask_at_once_get_one_table),
        TEST(lack_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
