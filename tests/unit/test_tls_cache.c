#include "io/tls_cache.h"

#include "loop_fixture.h"
#include "tls_fixture.h"

static struct bench b;

static int set_up(void **state)
{
    (void)state;
    bench_open(&b);
    return 0;
}

static int tear_down(void **state)
{
    bench_close(&b);
    return test_teardown(state);
}

static struct {
    int done, failed;
    char text[WEIR_ERR_TEXT];
} seen;

static void on_done(void *arg, const struct weir_err *err)
{
    (void)arg;
    seen.done++;
    seen.failed += err != NULL;
    snprintf(seen.text, sizeof seen.text, "%s", err != NULL ? err->text : "");
}

static bool are_done(void *arg)
{
    return seen.done == *(int *)arg;
}

static void begin_load(struct weir_tls_cache *c, const struct weir_tls_client_settings *s)
{
    assert_int_equal(weir_tls_cache_load(c, b.w, s, on_done, NULL), WEIR_OK);
}

static void end_loads(int count)
{
    bench_until(&b, are_done, &count);
}

static struct weir_tls_cache *create(void)
{
    struct weir_tls_cache *c = weir_tls_cache_create();
    assert_non_null(c);
    memset(&seen, 0, sizeof seen);
    return c;
}

/* Whether there is a context for `s`, the one at `expected` if that is not NULL. */
static bool has(struct weir_tls_cache *c, const struct weir_tls_client_settings *s,
                const struct weir_tls_client *expected)
{
    struct weir_tls_client *client = weir_tls_cache_find(c, s);
    bool found = client != NULL;
    if (found && expected != NULL)
        assert_ptr_equal(client, expected);
    weir_tls_client_unref(client);
    return found;
}

static void a_context_is_made_once(void **state)
{
    (void)state;
    struct weir_tls_cache *c = create();
    struct weir_tls_client_settings ca = {.ca = tls_path("ca.pem")}, blind = {.insecure = true};
    assert_false(has(c, &ca, NULL));
    for (int i = 0; i < 20; i++)
        begin_load(c, &ca);
    assert_int_equal(seen.done, 0); /* never inside */
    end_loads(20);
    assert_int_equal(seen.failed, 0);
    struct weir_tls_client *client = weir_tls_cache_find(c, &ca);
    assert_non_null(client);
    assert_true(has(c, &ca, client));
    assert_false(has(c, &blind, NULL)); /* what counts is all of it */
    begin_load(c, &blind);
    begin_load(c, &ca);
    end_loads(22);
    assert_true(has(c, &blind, NULL));
    assert_true(has(c, &ca, client));
    weir_tls_cache_unref(c);
    weir_tls_client_unref(client); /* it outlives the cache */
}

static void what_is_wrong_is_said_and_can_be_mended(void **state)
{
    (void)state;
    struct weir_tls_cache *c = create();
    struct weir_tls_client_settings s = {.ca = tls_path("later.pem")};
    begin_load(c, &s);
    begin_load(c, &s);
    end_loads(2);
    assert_int_equal(seen.failed, 2);
    assert_non_null(strstr(seen.text, "later.pem"));
    assert_false(has(c, &s, NULL));
    tls_copy("ca.pem", "later.pem");
    begin_load(c, &s);
    end_loads(3);
    assert_int_equal(seen.failed, 2);
    assert_true(has(c, &s, NULL));
    weir_tls_cache_unref(c);
}

static void the_oldest_make_way(void **state)
{
    (void)state;
    enum { COUNT = WEIR_TLS_CACHE_MAX + 2 };
    struct weir_tls_cache *c = create();
    char names[COUNT][32], paths[COUNT][128];
    for (int i = 0; i < COUNT; i++) {
        struct weir_tls_client_settings s = {.ca = paths[i]};
        snprintf(names[i], sizeof names[i], "ca%d.pem", i);
        snprintf(paths[i], sizeof paths[i], "%s", tls_path(names[i]));
        tls_copy("ca.pem", names[i]);
        begin_load(c, &s);
        end_loads(i + 1);
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(has(c, &(struct weir_tls_client_settings){.ca = paths[i]}, NULL),
                         i >= COUNT - WEIR_TLS_CACHE_MAX);
    weir_tls_cache_unref(c);
}

static void a_load_outlives_its_cache(void **state)
{
    (void)state;
    struct weir_tls_cache *c = create();
    begin_load(c, &(struct weir_tls_client_settings){.ca = tls_path("ca.pem")});
    weir_tls_cache_unref(c);
    end_loads(1);
    assert_int_equal(seen.failed, 0);
    weir_tls_cache_unref(NULL);
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    long live = weir_mem_live();
    struct weir_tls_cache *c = NULL;
    struct weir_tls_client_settings s = {
        .ca = tls_path("ca.pem"), .certificate = tls_path("ann.pem"), .key = tls_path("ann.key")};
    for (long n = 0; c == NULL; n++) {
        weir_mem_fail_after(n);
        c = weir_tls_cache_create();
        weir_mem_fail_after(-1);
        assert_true(c != NULL || weir_mem_live() == live);
    }
    live = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    memset(&seen, 0, sizeof seen);
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_tls_cache_load(c, b.w, &s, on_done, NULL);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || weir_mem_live() == live);
    }
    end_loads(1);
    assert_int_equal(seen.failed, 0);
    weir_tls_cache_unref(c);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_context_is_made_once),
        CASE(what_is_wrong_is_said_and_can_be_mended),
        CASE(the_oldest_make_way),
        CASE(a_load_outlives_its_cache),
        CASE(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
