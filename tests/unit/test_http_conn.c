#include "test.h"

#include "http_fixture.h"

#define TCP "listen: '127.0.0.1:0'"

static void a_connection_serves_requests_one_after_the_other(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    site_start(&s, TCP, 1);
    site_run(&s);
    int fd = dial(&s);
    for (int i = 0; i < 20; i++) {
        struct answer a;
        say(fd, i % 2 ? GET("/hello") : GET("/far/hello"));
        get_answer(fd, &b, &a, false);
        assert_int_equal(a.status, 200);
        weir_strbuf_fini(&a.body);
    }
    close(fd);
    assert_int_equal(site_count(&s, "accepted"), 1);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

/* It is read one poll later after a failure: no less, and nobody is forgotten. */
static void a_connection_goes_on_after_failed_requests(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b[2] = {WEIR_STRBUF_INIT, WEIR_STRBUF_INIT};
    site_start(&s, TCP, 1);
    site_run(&s);
    int fd[2] = {dial(&s), dial(&s)};
    for (int i = 0; i < 100; i++) {
        struct answer a;
        for (int c = 0; c < 2; c++)
            say(fd[c], c == i % 2 ? GET("/fail") GET("/fail") : GET("/hello"));
        for (int c = 0; c < 2; c++) {
            for (int n = c == i % 2 ? 2 : 1; n > 0; n--) {
                get_answer(fd[c], &b[c], &a, false);
                assert_int_equal(a.status, c == i % 2 ? 500 : 200);
                weir_strbuf_fini(&a.body);
            }
        }
    }
    for (int c = 0; c < 2; c++) {
        close(fd[c]);
        weir_strbuf_fini(&b[c]);
    }
    assert_int_equal(site_count(&s, "accepted"), 2);
    site_stop(&s);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT, out = WEIR_STRBUF_INIT;
    site_start(&s, TCP, 1);
    site_run(&s);
    for (int i = 0; i < N; i++) {
        char body[16];
        int n = snprintf(body, sizeof body, "%d", i);
        weir_strbuf_addf(&out, "POST %s/echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s",
                         i % 3 == 0 ? "/far" : "", n, body);
    }
    int fd = dial(&s);
    size_t sent = 0;
    for (int i = 0; i < N; i++) {
        struct answer a;
        /* what the socket takes, so that neither side waits for the other */
        ssize_t n = send(fd, out.data + sent, out.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        get_answer(fd, &b, &a, false);
        assert_int_equal(a.status, 200);
        assert_int_equal(strtol(a.body.data, NULL, 10), i);
        weir_strbuf_fini(&a.body);
    }
    close(fd);
    site_stop(&s);
    weir_strbuf_fini(&b);
    weir_strbuf_fini(&out);
}

static void head_has_the_length_and_no_body(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    site_start(&s, TCP, 1);
    site_run(&s);
    int fd = dial(&s);
    say(fd, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n" GET(
                "/empty") "HEAD /stream/3 HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"));
    get_answer(fd, &b, &a, true);
    assert_non_null(strstr(a.head, "Content-Length: 6\r\n"));
    get_answer(fd, &b, &a, false);
    assert_int_equal(a.status, 204);
    assert_null(strstr(a.head, "Content-Length"));
    get_answer(fd, &b, &a, true);
    assert_non_null(strstr(a.head, "Transfer-Encoding: chunked"));
    get_answer(fd, &b, &a, false);
    assert_int_equal(a.body.len, 6);
    weir_strbuf_fini(&a.body);
    close(fd);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

static void http_1_0_ends_with_the_answer_unless_asked_not_to(void **state)
{
    (void)state;
    struct site s;
    site_start(&s, TCP, 1);
    site_run(&s);
    struct answer a = ask(&s, "GET /hello HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(a.head, "Connection: close\r\n"));
    weir_strbuf_fini(&a.body);
    a = ask(&s, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_non_null(strstr(a.head, "Connection: keep-alive\r\n"));
    weir_strbuf_fini(&a.body);
    a = ask(&s, "GET /stream/5 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(a.body.len, 5 * 1024);
    assert_null(strstr(a.head, "chunked"));
    assert_non_null(strstr(a.head, "Connection: close\r\n"));
    weir_strbuf_fini(&a.body);
    site_stop(&s);
}

static void a_body_is_asked_for_when_the_client_waits_for_that(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    site_start(&s, TCP ", max_body: 10", 1);
    site_run(&s);
    int fd = dial(&s);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    get_answer(fd, &b, &a, false);
    assert_int_equal(a.status, 100);
    say(fd, "abc");
    get_answer(fd, &b, &a, false);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.len, 3);
    weir_strbuf_fini(&a.body);
    say(fd, "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
    get_answer(fd, &b, &a, false);
    assert_int_equal(a.status, 413);
    assert_non_null(strstr(a.head, "Connection: close"));
    weir_strbuf_fini(&a.body);
    close(fd);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

static void half_sent_requests_and_resets_do_no_harm(void **state)
{
    (void)state;
    struct site s;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    static const char *const halves[] = {"",
                                         "G",
                                         "GET / HT",
                                         "GET / HTTP/1.1\r\nHost: a\r\n",
                                         "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
                                         GET("/slow"),
                                         GET("/stream/5000"),
                                         GET("/big")};
    site_start(&s, TCP, 2);
    site_run(&s);
    for (size_t i = 0; i < 2 * sizeof halves / sizeof *halves; i++) {
        int fd = dial(&s);
        say(fd, halves[i / 2]);
        if (i % 2 == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    expect_status(&s, GET("/hello"), 200);
    site_stop(&s);
}

static void a_big_answer_is_whole(void **state)
{
    (void)state;
    struct site s;
    static const char *const paths[] = {GET("/big"), GET("/far/big")};
    site_start(&s, TCP, 1);
    site_run(&s);
    for (size_t i = 0; i < 2; i++) {
        struct answer a = ask(&s, paths[i]);
        assert_true(a.whole);
        assert_int_equal(a.body.len, BIG);
        weir_strbuf_fini(&a.body);
    }
    site_stop(&s);
}

static void slow_clients_run_out_of_time(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status; /* 0: closed without a word */
        const char *counter;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHo", 408, "timeout_header"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab", 408, "timeout_body"},
        {"", 0, "timeout_idle"},
        {GET("/hello"), 200, "timeout_idle"},
    };
    struct site s;
    site_start(&s, TCP ", header_timeout: 150ms, body_timeout: 150ms, idle_timeout: 150ms", 1);
    site_run(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_strbuf b = WEIR_STRBUF_INIT;
        struct answer a;
        char rest[10];
        unsigned long long before = site_count(&s, cases[i].counter);
        int fd = dial(&s);
        say(fd, cases[i].text);
        get_answer(fd, &b, &a, false);
        assert_int_equal(a.status, cases[i].status);
        assert_int_equal(hear(fd, rest, sizeof rest), 0);
        assert_int_equal(site_count(&s, cases[i].counter), before + 1);
        close(fd);
        weir_strbuf_fini(&a.body);
        weir_strbuf_fini(&b);
    }
    site_stop(&s);
}

static void malformed_requests_end_the_connection(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    char rest[10];
    site_start(&s, TCP, 1);
    site_run(&s);
    int fd = dial(&s);
    say(fd, GET("/hello") "GET / HTTP/1.1\r\nHost : a\r\n\r\n" GET("/hello"));
    get_answer(fd, &b, &a, false);
    assert_int_equal(a.status, 200);
    weir_strbuf_fini(&a.body);
    get_answer(fd, &b, &a, false);
    assert_int_equal(a.status, 400);
    weir_strbuf_fini(&a.body);
    assert_int_equal(b.len, 0);
    assert_int_equal(hear(fd, rest, sizeof rest), 0);
    close(fd);
    assert_int_equal(site_count(&s, "malformed"), 1);
    assert_int_equal(site_count(&s, "requests"), 1);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

/* A handler that keeps the worker for longer than the time-outs: they begin with the answer. */
static void timeouts_begin_when_the_handler_has_answered(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    site_start(&s, TCP ", write_timeout: 1500ms, idle_timeout: 1500ms", 1);
    site_run(&s);
    int fd = dial(&s), small = 65536;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    struct timespec pause = {.tv_nsec = 50000000};
    static const char *const paths[] = {GET("/block/hello"), GET("/block/big"), GET("/block/stream/4096")};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        say(fd, paths[i]);
        struct pollfd begun = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&begun, 1, 5000), 1);
        nanosleep(&pause, NULL);
        get_answer(fd, &b, &a, false);
        assert_int_equal(a.status, 200);
        assert_true(a.whole);
        weir_strbuf_fini(&a.body);
    }
    assert_int_equal(site_count(&s, "timeout_write") + site_count(&s, "timeout_idle"), 0);
    close(fd);
    site_stop(&s);
    weir_strbuf_fini(&b);
}

static void the_access_log_has_the_time_a_handler_took(void **state)
{
    (void)state;
    struct site s;
    char folder[] = "/tmp/weir-http-XXXXXX", options[200], path[100], line[1000];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/log", folder);
    snprintf(options, sizeof options, TCP ", access_format: json, access_log: '%s'", path);
    static const char *const texts[] = {GET("/block/hello"), GET("/block/stream/1"), GET("/far/block/hello")};
    enum { N = sizeof texts / sizeof *texts };
    site_start(&s, options, 1);
    site_run(&s);
    for (int i = 0; i < N; i++)
        expect_status(&s, texts[i], 200);
    site_stop(&s);
    FILE *log = fopen(path, "r");
    assert_non_null(log);
    for (int i = 0; i < N; i++) {
        assert_non_null(fgets(line, sizeof line, log));
        const char *at = strstr(line, "\"duration_us\":");
        assert_non_null(at);
        assert_true(strtoul(at + 14, NULL, 10) >= BLOCK_MS * 1000);
    }
    fclose(log);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_connection_serves_requests_one_after_the_other),
        TEST(a_connection_goes_on_after_failed_requests),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(head_has_the_length_and_no_body),
        TEST(http_1_0_ends_with_the_answer_unless_asked_not_to),
        TEST(a_body_is_asked_for_when_the_client_waits_for_that),
        TEST(half_sent_requests_and_resets_do_no_harm),
        TEST(a_big_answer_is_whole),
        TEST(slow_clients_run_out_of_time),
        TEST(malformed_requests_end_the_connection),
        TEST(timeouts_begin_when_the_handler_has_answered),
        TEST(the_access_log_has_the_time_a_handler_took),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
