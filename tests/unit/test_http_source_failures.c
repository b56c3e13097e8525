/* An HTTP source that can't be opened, or not by all of its workers. */
#include "test.h"

#include "http_fixture.h"

#include "base/fault.h"

#define TCP "listen: '127.0.0.1:0'"

static void opening_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    static const char *const where[] = {TCP, "listen: 'unix:/tmp/weir-source-oom'"};
    for (size_t i = 0; i < sizeof where / sizeof *where; i++) {
        struct site s = {0};
        char options[200];
        snprintf(options, sizeof options, "%s, access_log: /dev/null", where[i]);
        parse_options(&s, options);
        struct weir_stage stage = {.name = "web"};
        long before = weir_mem_live();
        int rc = WEIR_E_NOMEM;
        for (long n = 0; rc != WEIR_OK; n++) {
            struct weir_source_maker m = {0};
            struct weir_err err;
            weir_mem_fail_after(n);
            rc = weir_http_source_open(&stage, s.app->stages[0].options, &m, s.bound, sizeof s.bound, &err);
            weir_mem_fail_after(-1);
            assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && err.code == WEIR_E_NOMEM && m.make == NULL));
            assert_true((rc == WEIR_OK) == (s.bound[0] != '\0'));
            assert_true(rc < 0 || n > 0);
            if (rc == WEIR_OK)
                m.destroy(m.self);
            assert_int_equal(weir_mem_live(), before);
        }
        weir_app_free(s.app);
    }
    assert_int_equal(access("/tmp/weir-source-oom", F_OK), -1);
}

/* The second instance, which needs a socket of its own; it never starts. */
static void making_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct site s;
    site_start(&s, TCP, 1);
    rig_finish(s.rig);
    struct weir_worker *w = rig_worker(s.rig, 0);
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_source *source = NULL;
        struct weir_err err;
        weir_mem_fail_after(n);
        rc = s.maker.make(s.maker.self, w->seats[0], &source, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && err.code == WEIR_E_NOMEM && source == NULL));
        assert_true(rc < 0 || n > 0);
        if (rc == WEIR_OK) {
            source->ops->close(source);
            uv_run(&w->loop, UV_RUN_NOWAIT);
            source->ops->destroy(source);
        }
    }
    rig_worker_end(w);
    rig_destroy(s.rig); /* the teardown finds what a failure left behind */
    weir_app_free(s.app);
}

/* A socket that nobody accepts from would keep its share of the clients waiting. */
static void a_worker_that_can_t_start_takes_no_clients_along(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct site s;
    struct weir_err err;
    site_start(&s, TCP, 1);
    site_run(&s);
    struct weir_pool *p = &s.rig->g->pools[0];
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 1);
    assert_int_equal(weir_pool_resize(p, 2, &err), WEIR_E_IO);
    for (int i = 0; i < 40; i++)
        expect_status(&s, GET("/hello"), 200);
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_pool_resize(p, 3, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
        for (int i = 0; i < 10; i++)
            expect_status(&s, GET("/hello"), 200);
    }
    for (int i = 0; i < 40; i++)
        expect_status(&s, GET("/hello"), 200);
    site_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(opening_survives_any_failed_allocation),
        TEST(making_survives_any_failed_allocation),
        TEST(a_worker_that_can_t_start_takes_no_clients_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
