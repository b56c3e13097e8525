#include "base/inbox.h"

#include <pthread.h>

#include "test.h"

/* Linked with -Wl,--wrap=uv_async_send. */
int __real_uv_async_send(uv_async_t *handle);
int __wrap_uv_async_send(uv_async_t *handle);

static _Atomic int sent;

int __wrap_uv_async_send(uv_async_t *handle)
{
    atomic_fetch_add(&sent, 1);
    return __real_uv_async_send(handle);
}

struct note {
    struct weir_message message;
    int number;
};

static int got[8];
static size_t got_count;

static void keep(struct weir_message *m)
{
    got[got_count++ % 8] = WEIR_LIST_ENTRY(m, struct note, message)->number;
}

static uv_loop_t loop;
static struct weir_inbox inbox;

static int open_inbox(void **state)
{
    (void)state;
    got_count = 0;
    atomic_store(&sent, 0);
    return uv_loop_init(&loop) < 0 || weir_inbox_init(&inbox, &loop) < 0 ? -1 : 0;
}

static int close_inbox(void **state)
{
    weir_inbox_close(&inbox);
    uv_run(&loop, UV_RUN_DEFAULT);
    weir_inbox_fini(&inbox);
    return uv_loop_close(&loop) == 0 ? test_teardown(state) : -1;
}

static void messages_arrive_in_order(void **state)
{
    (void)state;
    struct note notes[3] = {{{.deliver = keep}, 1}, {{.deliver = keep}, 2}, {{.deliver = keep}, 3}};
    assert_false(weir_inbox_drain(&inbox));
    for (size_t i = 0; i < 3; i++)
        weir_inbox_post(&inbox, &notes[i].message);
    assert_true(weir_inbox_drain(&inbox));
    assert_int_equal(got_count, 3);
    assert_memory_equal(got, ((int[]){1, 2, 3}), sizeof(int[3]));
    assert_false(weir_inbox_drain(&inbox));
}

static struct note again = {{.deliver = keep}, 9};

static void post_again(struct weir_message *m)
{
    keep(m);
    weir_inbox_post(&inbox, &again.message);
}

static void a_delivery_may_post(void **state)
{
    (void)state;
    struct note first = {{.deliver = post_again}, 1};
    weir_inbox_post(&inbox, &first.message);
    assert_true(weir_inbox_drain(&inbox));
    assert_int_equal(got_count, 1);
    assert_true(weir_inbox_drain(&inbox));
    assert_int_equal(got_count, 2);
}

static void who_is_awake_is_not_woken(void **state)
{
    (void)state;
    struct note n = {{.deliver = keep}, 1};
    weir_inbox_post(&inbox, &n.message);
    assert_int_equal(atomic_load(&sent), 0);
    assert_false(weir_inbox_park(&inbox)); /* something waits: do not poll */
    assert_true(weir_inbox_drain(&inbox));
    assert_true(weir_inbox_park(&inbox));
    weir_inbox_unpark(&inbox);
}

static void a_burst_wakes_once(void **state)
{
    (void)state;
    struct note notes[5] = {{{.deliver = keep}, 1},
                            {{.deliver = keep}, 2},
                            {{.deliver = keep}, 3},
                            {{.deliver = keep}, 4},
                            {{.deliver = keep}, 5}};
    assert_true(weir_inbox_park(&inbox));
    for (size_t i = 0; i < 5; i++)
        weir_inbox_post(&inbox, &notes[i].message);
    assert_int_equal(atomic_load(&sent), 1);
    uv_run(&loop, UV_RUN_ONCE); /* returns: it was woken */
    weir_inbox_unpark(&inbox);
    assert_true(weir_inbox_drain(&inbox));
    assert_int_equal(got_count, 5);
}

enum { POSTERS = 3, POSTS = 20000 };
static struct note flood[POSTERS][POSTS];
static size_t delivered; /* of the owner's thread */

static void count_delivery(struct weir_message *m)
{
    (void)m;
    delivered++;
}

static void *post_flood(void *arg)
{
    struct note *notes = arg;
    for (size_t i = 0; i < POSTS; i++) {
        notes[i].message.deliver = count_delivery;
        weir_inbox_post(&inbox, &notes[i].message);
    }
    return NULL;
}

/* A lost wake-up leaves this in the poll for good. */
static void no_wake_up_is_lost(void **state)
{
    (void)state;
    pthread_t posters[POSTERS];
    delivered = 0;
    for (size_t i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&posters[i], NULL, post_flood, flood[i]), 0);
    while (delivered < POSTERS * POSTS) {
        weir_inbox_drain(&inbox);
        if (delivered < POSTERS * POSTS && weir_inbox_park(&inbox)) {
            uv_run(&loop, UV_RUN_ONCE);
            weir_inbox_unpark(&inbox);
        }
    }
    for (size_t i = 0; i < POSTERS; i++)
        pthread_join(posters[i], NULL);
}

#define INBOX_TEST(f) cmocka_unit_test_setup_teardown(f, open_inbox, close_inbox)

int main(void)
{
    const struct CMUnitTest tests[] = {
        INBOX_TEST(messages_arrive_in_order),  INBOX_TEST(a_delivery_may_post),
        INBOX_TEST(who_is_awake_is_not_woken), INBOX_TEST(a_burst_wakes_once),
        INBOX_TEST(no_wake_up_is_lost),
    };
    return cmocka_run_group_tests_name("inbox", tests, NULL, NULL);
}
