#include "test.h"

#include "http_fixture.h"

#include "base/clock.h"
#include "base/fault.h"

#define TCP "listen: '127.0.0.1:0'"

static void answers_come_back_from_the_own_and_from_another_worker(void **state)
{
    (void)state;
    struct site s;
    site_start(&s, TCP, 2);
    site_run(&s);
    static const char *const paths[] = {GET("/hello"), GET("/far/hello")};
    for (size_t i = 0; i < 2; i++) {
        struct answer a = ask(&s, paths[i]);
        assert_int_equal(a.status, 200);
        assert_true(a.whole && a.body.len == 6 && memcmp(a.body.data, "hello\n", 6) == 0);
        assert_non_null(strstr(a.head, "\r\nDate: "));
        assert_non_null(strstr(a.head, "\r\nServer: weir\r\n"));
        assert_non_null(strstr(a.head, "\r\nContent-Type: text/plain\r\n"));
        assert_null(strstr(a.head, "Connection:"));
        weir_strbuf_fini(&a.body);
    }
    assert_int_equal(site_count(&s, "requests"), 2);
    assert_int_equal(site_count(&s, "answers_2xx"), 2);
    site_stop(&s);
}

static void requests_without_an_answer_get_one_from_the_host(void **state)
{
    (void)state;
    struct site s;
    site_start(&s, TCP, 1);
    s.rig->g->stages[0].deadline_ns = 100 * WEIR_NS_PER_MS;
    site_run(&s);
    expect_status(&s, GET("/none"), 500);
    expect_status(&s, GET("/far/none"), 500);
    expect_status(&s, GET("/fail"), 500);
    assert_int_equal(site_count(&s, "unanswered"), 2);
    assert_int_equal(site_count(&s, "failed"), 1);
    site_stop(&s);
}

static void a_full_queue_is_a_503_that_says_when_to_come_again(void **state)
{
    (void)state;
    enum { N = 8 };
    struct site s;
    int fds[N];
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    site_start(&s, TCP, 1);
    s.rig->g->stages[1].queue.capacity = 1;
    s.rig->g->stages[1].concurrency = 1;
    site_run(&s);
    for (int i = 0; i < N; i++) {
        fds[i] = dial(&s);
        say(fds[i], GET("/slow"));
    }
    int refused = 0;
    for (int i = 0; i < N; i++) {
        struct answer a;
        get_answer(fds[i], &b, &a, false);
        assert_true(a.status == 503 || a.status == 500);
        refused += a.status == 503;
        if (a.status == 503)
            assert_non_null(strstr(a.head, "Retry-After: 1\r\n"));
        weir_strbuf_fini(&a.body);
        close(fds[i]);
    }
    assert_true(refused >= N - 3);
    assert_int_equal(site_count(&s, "overloaded"), refused);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

static void what_waits_too_long_is_a_504(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    site_start(&s, TCP, 1);
    s.rig->g->stages[0].deadline_ns = 50 * WEIR_NS_PER_MS;
    s.rig->g->stages[1].concurrency = 1;
    site_run(&s);
    int first = dial(&s);
    say(first, GET("/slow"));
    struct answer late = ask(&s, GET("/hello"));
    assert_int_equal(late.status, 504);
    weir_strbuf_fini(&late.body);
    get_answer(first, &b, &a, false);
    weir_strbuf_fini(&a.body);
    close(first);
    assert_true(site_count(&s, "expired") >= 1);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

static void a_client_that_has_left_expires_its_event(void **state)
{
    (void)state;
    struct site s;
    site_start(&s, TCP, 1);
    s.rig->g->stages[1].concurrency = 1;
    site_run(&s);
    int first = dial(&s), second = dial(&s);
    say(first, GET("/slow"));
    wait_count(&s, "requests", 1);
    say(second, GET("/hello"));
    wait_count(&s, "requests", 2);
    close(second);
    wait_count(&s, "gone", 1);
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    get_answer(first, &b, &a, false);
    weir_strbuf_fini(&a.body);
    close(first);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

static void connections_beyond_the_limit_are_told_so(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    site_start(&s, TCP ", max_connections: 2", 1);
    site_run(&s);
    int one = dial(&s), two = dial(&s);
    wait_count(&s, "accepted", 2);
    int three = dial(&s);
    get_answer(three, &b, &a, false);
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.head, "Retry-After: 1"));
    weir_strbuf_fini(&a.body);
    close(three);
    assert_int_equal(site_count(&s, "refused"), 1);
    close(one);
    say(two, GET("/hello"));
    get_answer(two, &b, &a, false);
    assert_int_equal(a.status, 200);
    weir_strbuf_fini(&a.body);
    close(two);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

static void without_descriptors_connections_wait(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct site s;
    site_start(&s, TCP, 1);
    site_run(&s);
    weir_fault_arm(WEIR_FAULT_ACCEPT_EMFILE, 2);
    expect_status(&s, GET("/hello"), 200);
    assert_int_equal(site_count(&s, "accept_errors"), 2);
    site_stop(&s);
}

static void unix_sockets_are_shared_by_the_workers(void **state)
{
    (void)state;
    struct site s;
    char options[200], folder[] = "/tmp/weir-http-XXXXXX";
    assert_non_null(mkdtemp(folder));
    snprintf(options, sizeof options, "listen: 'unix:%s/s'", folder);
    site_start(&s, options, 2);
    site_run(&s);
    assert_int_equal(strncmp(s.bound, "unix:/tmp/weir-http-", 20), 0);
    for (int i = 0; i < 20; i++)
        expect_status(&s, GET("/hello"), 200);
    site_stop(&s);
    assert_int_equal(rmdir(folder), 0); /* the socket's file is gone */
}

static void sockets_of_retired_workers_are_accepted_from_by_others(void **state)
{
    (void)state;
    struct weir_err err;
    struct site s;
    site_start(&s, TCP, 4);
    site_run(&s);
    static const unsigned sizes[] = {1, 3, 2, 4, 1};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        assert_int_equal(weir_pool_resize(&s.rig->g->pools[0], sizes[k], &err), WEIR_OK);
        rig_reap(s.rig, 0);
        for (int i = 0; i < 40; i++)
            expect_status(&s, GET("/hello"), 200);
    }
    assert_int_equal(site_count(&s, "requests"), 200); /* the ended workers' counts are kept */
    site_stop(&s);
}

/* Says what the answer of `fd` must be, and that it is the connection's only one. */
static void expect_late(struct site *s, int fd, bool head)
{
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    char rest[10];
    (void)s;
    get_answer(fd, &b, &a, head);
    assert_int_equal(a.status, 504);
    assert_non_null(strstr(a.head, "Connection: close"));
    assert_true(head ? b.len == 0 : a.whole && a.body.len > 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(hear(fd, rest, sizeof rest), 0);
    weir_strbuf_fini(&a.body);
    weir_strbuf_fini(&b);
    close(fd);
}

static void deadlines_are_kept_while_handlers_are_stuck(void **state)
{
    (void)state;
    static const char *const texts[] = {
        GET("/far/block/hello"), /* running */
        GET("/far/hello"),       /* behind it in the queue */
        "HEAD /far/hello HTTP/1.1\r\nHost: a\r\n\r\n",
        GET("/slow"), /* suspended */
        "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabcde",
    };
    enum { N = sizeof texts / sizeof *texts };
    struct site s;
    int fds[N];
    site_start(&s, TCP ", body: stream", 1);
    s.rig->g->stages[0].deadline_ns = 60 * WEIR_NS_PER_MS;
    site_run(&s);
    uint64_t began = weir_clock_ns();
    for (int i = 0; i < N; i++) {
        fds[i] = dial(&s);
        say(fds[i], texts[i]);
        wait_count(&s, "requests", (unsigned long long)i + 1);
    }
    for (int i = 0; i < N; i++)
        expect_late(&s, fds[i], i == 2);
    uint64_t took = weir_clock_ns() - began;
    assert_true(took >= 60 * WEIR_NS_PER_MS);
    if (took >= BLOCK_MS * WEIR_NS_PER_MS)
        fail_msg("the answers took %llu ms", (unsigned long long)(took / WEIR_NS_PER_MS));
    /* they come once: what the handlers answer in the end is not another one */
    rig_drain(s.rig);
    assert_int_equal(site_count(&s, "expired"), N);
    assert_int_equal(site_count(&s, "answers_5xx"), N);
    assert_int_equal(site_count(&s, "answers_2xx") + site_count(&s, "answers_4xx"), 0);
    assert_int_equal(site_count(&s, "gone"), 0);
    struct weir_ledger_sum far = rig_ledger(s.rig, 2);
    assert_int_equal(far.handled, 1);
    assert_int_equal(far.expired, 2);
    site_stop(&s);
}

static void answers_that_have_begun_may_outlast_the_deadline(void **state)
{
    (void)state;
    static const char *const texts[] = {GET("/stream/20000"), GET("/far/stream/20000"), GET("/big")};
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    int fds[3];
    site_start(&s, TCP, 1);
    s.rig->g->stages[0].deadline_ns = 150 * WEIR_NS_PER_MS;
    site_run(&s);
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(&s);
        say(fds[i], texts[i]);
        wait_count(&s, "answers_2xx", (unsigned long long)i + 1);
    }
    struct timespec pause = {.tv_nsec = 300000000};
    nanosleep(&pause, NULL);
    for (int i = 0; i < 3; i++) {
        struct answer a;
        get_answer(fds[i], &b, &a, false);
        assert_int_equal(a.status, 200);
        assert_true(a.whole);
        assert_int_equal(a.body.len, i < 2 ? 20000 * 1024 : BIG);
        weir_strbuf_fini(&a.body);
        say(fds[i], GET("/hello")); /* and the connection goes on */
        get_answer(fds[i], &b, &a, false);
        assert_int_equal(a.status, 200);
        weir_strbuf_fini(&a.body);
        close(fds[i]);
    }
    assert_int_equal(site_count(&s, "expired"), 0);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

/* A connection that has been answered once, by `owner`. */
static int dial_owned(struct site *s, unsigned *owner)
{
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    int fd = dial(s);
    say(fd, GET("/owner"));
    get_answer(fd, &b, &a, false);
    assert_int_equal(a.status, 200);
    *owner = (unsigned)strtoul(a.body.data, NULL, 10);
    weir_strbuf_fini(&a.body);
    weir_strbuf_fini(&b);
    return fd;
}

/* The connection is gone before the answer, and with it all that the worker has to do; the answer still comes
 * to it. */
/* A worker that does nothing until it is told. */
struct hold {
    struct weir_message message;
    sem_t held, go_on;
};

static void hold_worker(struct weir_message *m)
{
    struct hold *h = (struct hold *)(void *)m;
    sem_post(&h->held);
    while (sem_wait(&h->go_on) != 0)
        ;
}

static void tell_stuck(struct site *s, struct weir_worker *w, bool stuck)
{
    atomic_store(&w->watch.stuck, stuck); /* as the watchdog does */
    s->maker.stuck(s->maker.self);
}

static unsigned owner_of_a_new_connection(struct site *s)
{
    struct answer a = ask(s, GET("/owner"));
    assert_int_equal(a.status, 200);
    unsigned owner = (unsigned)(a.body.data[0] - '0');
    weir_strbuf_fini(&a.body);
    return owner;
}

static void sockets_of_a_stuck_worker_are_accepted_from_by_others_until_it_is_back(void **state)
{
    (void)state;
    enum { CLIENTS = 40 };
    struct site s;
    site_start(&s, TCP, 3);
    site_run(&s);
    for (unsigned k = 0; k < 3; k++) {
        struct weir_worker *w = s.rig->g->pools[0].workers[k];
        struct hold h = {.message.deliver = hold_worker};
        sem_init(&h.held, 0, 0);
        sem_init(&h.go_on, 0, 0);
        weir_worker_post(w, &h.message);
        while (sem_wait(&h.held) != 0)
            ;
        tell_stuck(&s, w, true);
        for (int i = 0; i < CLIENTS; i++) /* a third of them are in its socket's backlog */
            assert_int_not_equal(owner_of_a_new_connection(&s), w->index);
        sem_post(&h.go_on);
        tell_stuck(&s, w, false);
        bool back = false;
        for (int i = 0; i < 100 * CLIENTS && !back; i++)
            back = owner_of_a_new_connection(&s) == w->index;
        assert_true(back);
        sem_destroy(&h.held);
        sem_destroy(&h.go_on);
    }
    site_stop(&s);
}

static void a_retiring_worker_waits_for_requests_that_are_out(void **state)
{
    (void)state;
    struct weir_err err;
    struct site s;
    unsigned owner;
    site_start(&s, TCP, 2);
    s.rig->g->stages[0].deadline_ns = 50 * WEIR_NS_PER_MS;
    site_run(&s);
    unsigned left = s.rig->g->pools[0].workers[0]->index;
    int fd;
    while (fd = dial_owned(&s, &owner), owner == left)
        close(fd);
    unsigned long long before = site_count(&s, "requests");
    say(fd, GET("/far/block/hello"));
    wait_count(&s, "requests", before + 1);
    assert_int_equal(weir_pool_resize(&s.rig->g->pools[0], 1, &err), WEIR_OK);
    expect_late(&s, fd, false);
    rig_reap(s.rig, 0);
    assert_int_equal(rig_ledger(s.rig, 2).handled, 1); /* it came before the worker left */
    site_stop(&s);
}

enum { KINDS = 4, EACH = 10 };

/* `kind` 0: idle; 1: a stream; 2: a body that is yet to come; 3: a call that is suspended. */
static void open_some(struct site *s, int kind, int *fds, unsigned *owners)
{
    static const char *const texts[KINDS] = {
        NULL,
        GET("/far/stream/8000"),
        "POST /far/read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabcde",
        GET("/slow"),
    };
    for (int i = 0; i < EACH; i++) {
        fds[i] = dial_owned(s, &owners[i]);
        if (texts[kind] != NULL)
            say(fds[i], texts[kind]);
    }
}

/* The rest of what a connection was in the middle of. Its worker has retired unless it is `left`. */
static void finish_one(struct site *s, int kind, int fd, bool left)
{
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    char rest[10];
    (void)s;
    if (kind == 2)
        say(fd, "fghi");
    if (kind > 0) {
        get_answer(fd, &b, &a, false);
        assert_int_equal(a.status, kind == 3 ? 500 : 200); /* /slow gives no answer */
        assert_true(a.whole);
        if (kind == 1)
            assert_int_equal(a.body.len, 8000 * 1024);
        if (kind == 2)
            assert_string_equal(a.body.data, "9 whole\n");
        if (kind >= 2)
            assert_int_equal(strstr(a.head, "Connection: close") != NULL, !left);
        weir_strbuf_fini(&a.body);
    }
    if (left) {
        say(fd, GET("/hello"));
        get_answer(fd, &b, &a, false);
        assert_int_equal(a.status, 200);
        weir_strbuf_fini(&a.body);
    } else {
        assert_int_equal(hear(fd, rest, sizeof rest), 0);
    }
    weir_strbuf_fini(&b);
    close(fd);
}

static void a_pool_shrinks_without_losing_what_its_connections_are_at(void **state)
{
    (void)state;
    struct weir_err err;
    struct site s;
    int fds[KINDS][EACH];
    unsigned owners[KINDS][EACH], retired = 0;
    site_start(&s, TCP ", body: stream", 4);
    site_run(&s);
    unsigned left = s.rig->g->pools[0].workers[0]->index;
    for (int kind = 0; kind < KINDS; kind++)
        open_some(&s, kind, fds[kind], owners[kind]);
    wait_count(&s, "requests", KINDS * EACH + (KINDS - 1) * EACH);
    assert_int_equal(weir_pool_resize(&s.rig->g->pools[0], 1, &err), WEIR_OK);
    for (int i = 0; i < EACH; i++) /* first, since their end says that their workers have obeyed */
        finish_one(&s, 0, fds[0][i], owners[0][i] == left);
    for (int i = 0; i < 40; i++)
        expect_status(&s, GET("/hello"), 200);
    for (int kind = 1; kind < KINDS; kind++) {
        for (int i = 0; i < EACH; i++) {
            retired += owners[kind][i] != left;
            finish_one(&s, kind, fds[kind][i], owners[kind][i] == left);
        }
    }
    assert_true(retired > 0);
    rig_reap(s.rig, 0);
    for (int i = 0; i < 40; i++)
        expect_status(&s, GET("/hello"), 200);
    assert_int_equal(site_count(&s, "answers_2xx") + site_count(&s, "answers_5xx"), site_count(&s, "requests"));
    assert_int_equal(site_count(&s, "answers_5xx"), EACH);
    assert_int_equal(site_count(&s, "gone"), 0);
    site_stop(&s);
}

/* The size of an event has 32 bits, and so its bounds. */
static void bodies_are_a_gibibyte_at_most(void **state)
{
    (void)state;
    static const char *const sizes[] = {"1GiB", "1073741825"};
    for (int i = 0; i < 2; i++) {
        char yaml[200];
        struct weir_app *app = NULL;
        struct weir_strbuf report = WEIR_STRBUF_INIT;
        struct weir_err err = {0};
        int n = snprintf(yaml, sizeof yaml,
                         "weir: 1\nstages:\n  web: {source: http, to: end, " TCP ", max_body: %s}\n"
                         "  end: {sink: 'null'}\n",
                         sizes[i]);
        int rc = weir_app_parse(yaml, (size_t)n, "weir.yaml", "/", NULL, 0, &types, &report, &app, &err);
        assert_int_equal(rc == WEIR_OK, i == 0);
        if (i == 1)
            assert_non_null(strstr(report.data, "max_body"));
        weir_app_free(app);
        weir_strbuf_fini(&report);
    }
}

static void stopping_answers_what_is_in_and_closes_the_rest(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    char rest[10];
    site_start(&s, TCP, 1);
    site_run(&s);
    int idle = dial(&s), busy = dial(&s);
    say(idle, GET("/hello"));
    get_answer(idle, &b, &a, false);
    weir_strbuf_fini(&a.body);
    say(busy, GET("/slow"));
    wait_count(&s, "requests", 2);
    rig_drain(s.rig);
    assert_int_equal(hear(idle, rest, sizeof rest), 0);
    get_answer(busy, &b, &a, false);
    assert_int_equal(a.status, 500); /* /slow gives none */
    assert_non_null(strstr(a.head, "Connection: close"));
    weir_strbuf_fini(&a.body);
    assert_int_equal(hear(busy, rest, sizeof rest), 0);
    close(idle);
    close(busy);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

static bool both_streams_have_ended(void *arg)
{
    struct site *s = arg;
    return atomic_load(&s->streams_ended) == 2;
}

static void stopping_at_once_cuts_what_is_in(void **state)
{
    (void)state;
    struct site s;
    site_start(&s, TCP, 2);
    site_run(&s);
    int fds[4];
    static const char *const texts[] = {GET("/slow"), GET("/far/slow"), GET("/stream/80000"),
                                        GET("/far/stream/80000")};
    for (int i = 0; i < 4; i++) {
        fds[i] = dial(&s);
        say(fds[i], texts[i]);
    }
    wait_count(&s, "requests", 4);
    for (int i = 2; i < 4; i++) {
        char piece[10];
        assert_true(hear(fds[i], piece, sizeof piece) > 0);
        close(fds[i]); /* nobody cancels our streams: they end with their clients */
    }
    rig_wait(s.rig, both_streams_have_ended, &s);
    rig_stop(s.rig);
    for (int i = 0; i < 2; i++)
        close(fds[i]);
    rig_destroy(s.rig);
    weir_app_free(s.app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_come_back_from_the_own_and_from_another_worker),
        TEST(requests_without_an_answer_get_one_from_the_host),
        TEST(a_full_queue_is_a_503_that_says_when_to_come_again),
        TEST(what_waits_too_long_is_a_504),
        TEST(a_client_that_has_left_expires_its_event),
        TEST(connections_beyond_the_limit_are_told_so),
        TEST(without_descriptors_connections_wait),
        TEST(unix_sockets_are_shared_by_the_workers),
        TEST(sockets_of_retired_workers_are_accepted_from_by_others),
        TEST(deadlines_are_kept_while_handlers_are_stuck),
        TEST(answers_that_have_begun_may_outlast_the_deadline),
        TEST(sockets_of_a_stuck_worker_are_accepted_from_by_others_until_it_is_back),
        TEST(a_retiring_worker_waits_for_requests_that_are_out),
        TEST(a_pool_shrinks_without_losing_what_its_connections_are_at),
        TEST(bodies_are_a_gibibyte_at_most),
        TEST(stopping_answers_what_is_in_and_closes_the_rest),
        TEST(stopping_at_once_cuts_what_is_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
