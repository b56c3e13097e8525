#include "test.h"

#include "http_fixture.h"

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
        weir_strbuf_addf(&out, "POST %s/echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", i % 3 == 0 ? "/far" : "", n, body);
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
    say(fd, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n" GET("/empty") "HEAD /stream/3 HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"));
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

static void half_sent_requests_and_resets_do_no_harm(void **state)
{
    (void)state;
    struct site s;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    static const char *const halves[] = {"", "G", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
                                         GET("/slow"), GET("/stream/5000"), GET("/big")};
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

static void streams_wait_for_their_clients(void **state)
{
    (void)state;
    struct site s;
    static const char *const paths[] = {GET("/stream/8000"), GET("/far/stream/8000"), GET("/stream/0"), GET("/far/stream/1")};
    static const size_t sizes[] = {8000, 8000, 0, 1};
    site_start(&s, TCP, 1);
    site_run(&s);
    for (size_t i = 0; i < 4; i++) {
        struct answer a = ask(&s, paths[i]);
        assert_true(a.whole);
        assert_int_equal(a.body.len, sizes[i] * 1024);
        weir_strbuf_fini(&a.body);
    }
    assert_int_equal(atomic_load(&s.streams_ended), 4);
    site_stop(&s);
}

static bool stream_has_ended(void *arg)
{
    struct site *s = arg;
    return atomic_load(&s->streams_ended) > 0;
}

static void a_client_that_never_reads_is_cut(void **state)
{
    (void)state;
    static const char *const paths[] = {GET("/stream/80000"), GET("/far/stream/80000")};
    for (size_t i = 0; i < 2; i++) {
        struct site s;
        site_start(&s, TCP ", write_timeout: 200ms", 1);
        site_run(&s);
        int fd = dial(&s);
        say(fd, paths[i]);
        rig_wait(s.rig, stream_has_ended, &s);
        assert_int_equal(atomic_load(&s.stream_rc), WEIR_E_TIMEOUT);
        assert_int_equal(site_count(&s, "timeout_write"), 1);
        close(fd);
        site_stop(&s);
    }
}

static void a_client_that_leaves_ends_its_stream(void **state)
{
    (void)state;
    static const char *const paths[] = {GET("/stream/80000"), GET("/far/stream/80000")};
    for (size_t i = 0; i < 2; i++) {
        struct site s;
        char piece[100];
        site_start(&s, TCP, 1);
        site_run(&s);
        int fd = dial(&s);
        say(fd, paths[i]);
        assert_true(hear(fd, piece, sizeof piece) > 0);
        close(fd);
        rig_wait(s.rig, stream_has_ended, &s);
        assert_int_equal(atomic_load(&s.stream_rc), WEIR_E_CLOSED);
        site_stop(&s);
    }
}

static void send_body(int fd, size_t len)
{
    char piece[8192];
    memset(piece, 'z', sizeof piece);
    while (len > 0) {
        size_t n = len < sizeof piece ? len : sizeof piece;
        assert_int_equal(send(fd, piece, n, MSG_NOSIGNAL), n);
        len -= n;
    }
}

static void streamed_bodies_are_read_piece_by_piece(void **state)
{
    (void)state;
    struct site s;
    static const char *const prefixes[] = {"", "/far"};
    site_start(&s, TCP ", body: stream, max_body: 2MiB", 1);
    site_run(&s);
    for (size_t i = 0; i < 2; i++) {
        struct weir_strbuf b = WEIR_STRBUF_INIT;
        struct answer a;
        char head[200];
        int fd = dial(&s);
        snprintf(head, sizeof head, "POST %s/read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", prefixes[i]);
        say(fd, head);
        send_body(fd, 1000000);
        get_answer(fd, &b, &a, false);
        assert_string_equal(a.body.data, "1000000 whole\n");
        assert_null(strstr(a.head, "Connection: close")); /* read to its end: the next may come */
        weir_strbuf_fini(&a.body);
        snprintf(head, sizeof head, "POST %s/read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", prefixes[i]);
        say(fd, head);
        get_answer(fd, &b, &a, false);
        assert_int_equal(a.status, 100);
        say(fd, "3\r\nabc\r\n0\r\n\r\n" GET("/hello"));
        get_answer(fd, &b, &a, false);
        assert_string_equal(a.body.data, "3 whole\n");
        weir_strbuf_fini(&a.body);
        get_answer(fd, &b, &a, false);
        assert_string_equal(a.body.data, "hello\n");
        weir_strbuf_fini(&a.body);
        weir_strbuf_fini(&b);
        close(fd);
    }
    site_stop(&s);
}

static void streamed_bodies_can_fail(void **state)
{
    (void)state;
    static const struct {
        const char *text, *answer;
        bool eof;
    } cases[] = {
        {"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n20\r\n", "5 LIMIT\n", false},
        {"POST /far/read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nx\r\n", "5 CLOSED\n", false},
        {"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabcde", "5 TIMEOUT\n", false},
        {"POST /far/read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabcde", "5 CLOSED\n", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct site s;
        struct weir_strbuf b = WEIR_STRBUF_INIT;
        struct answer a;
        site_start(&s, TCP ", body: stream, max_body: 32, body_timeout: 150ms", 1);
        site_run(&s);
        int fd = dial(&s);
        say(fd, cases[i].text);
        if (cases[i].eof)
            shutdown(fd, SHUT_WR);
        get_answer(fd, &b, &a, false);
        if (!cases[i].eof || a.status != 504) /* it had left before its event was begun */
            assert_string_equal(a.body.data, cases[i].answer);
        assert_non_null(strstr(a.head, "Connection: close"));
        weir_strbuf_fini(&a.body);
        weir_strbuf_fini(&b);
        close(fd);
        site_stop(&s);
    }
}

static void an_answer_before_the_body_is_read_by_its_client(void **state)
{
    (void)state;
    struct site s;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    site_start(&s, TCP ", body: stream, max_body: 2MiB", 1);
    site_run(&s);
    int fd = dial(&s);
    say(fd, "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    send_body(fd, 1000000);
    get_answer(fd, &b, &a, false);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Connection: close"));
    weir_strbuf_fini(&a.body);
    char rest[10];
    assert_int_equal(hear(fd, rest, sizeof rest), 0);
    close(fd);
    site_stop(&s);
    weir_strbuf_fini(&b);
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

/* ---- files ---- */

static void make_files(struct site *s)
{
    char path[200];
    snprintf(s->folder, sizeof s->folder, "/tmp/weir-http-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    static const struct {
        const char *name;
        size_t size;
    } files[] = {{"small.html", 26}, {"large.bin", 1000000}, {"none.txt", 0}, {".hidden", 5}};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", s->folder, files[i].name);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        for (size_t k = 0; k < files[i].size; k++)
            fputc('a' + (int)(k % 26), f);
        assert_int_equal(fclose(f), 0);
    }
    snprintf(path, sizeof path, "%s/out", s->folder);
    assert_int_equal(symlink("/etc/passwd", path), 0);
}

static void remove_files(struct site *s)
{
    static const char *const names[] = {"small.html", "large.bin", "none.txt", ".hidden", "out"};
    char path[200];
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", s->folder, names[i]);
        unlink(path);
    }
    rmdir(s->folder);
}

static void check_letters(const struct answer *a, size_t first, size_t len)
{
    assert_true(a->whole);
    assert_int_equal(a->body.len, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(a->body.data[i], 'a' + (int)((first + i) % 26));
}

static void files_come_whole_in_part_or_not_at_all(void **state)
{
    (void)state;
    struct site s;
    site_start(&s, TCP, 1);
    make_files(&s);
    site_run(&s);
    struct answer a = ask(&s, GET("/file/small.html"));
    assert_int_equal(a.status, 200);
    check_letters(&a, 0, 26);
    assert_non_null(strstr(a.head, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_non_null(strstr(a.head, "Last-Modified: "));
    char etag[60] = "", again[200];
    assert_int_equal(sscanf(strstr(a.head, "ETag: "), "ETag: %59s", etag), 1);
    weir_strbuf_fini(&a.body);
    snprintf(again, sizeof again, "GET /file/small.html HTTP/1.1\r\nHost: a\r\nIf-None-Match: %s\r\n\r\n", etag);
    expect_status(&s, again, 304);
    expect_status(&s, "GET /file/small.html HTTP/1.1\r\nHost: a\r\nIf-Match: \"x\"\r\n\r\n", 412);
    a = ask(&s, GET("/far/file/large.bin"));
    check_letters(&a, 0, 1000000);
    weir_strbuf_fini(&a.body);
    a = ask(&s, "GET /file/large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=100000-299999\r\n\r\n");
    assert_int_equal(a.status, 206);
    assert_non_null(strstr(a.head, "Content-Range: bytes 100000-299999/1000000\r\n"));
    check_letters(&a, 100000, 200000);
    weir_strbuf_fini(&a.body);
    a = ask(&s, "GET /file/small.html HTTP/1.1\r\nHost: a\r\nRange: bytes=26-\r\n\r\n");
    assert_int_equal(a.status, 416);
    assert_non_null(strstr(a.head, "Content-Range: bytes */26\r\n"));
    weir_strbuf_fini(&a.body);
    a = ask(&s, "HEAD /file/large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_non_null(strstr(a.head, "Content-Length: 1000000\r\n"));
    a = ask(&s, GET("/file/none.txt"));
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.len, 0);
    weir_strbuf_fini(&a.body);
    site_stop(&s);
    remove_files(&s);
}

static void no_path_leads_out_of_the_folder(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int status;
    } cases[] = {
        {"/file/../../etc/passwd", 404}, {"/file/x/../small.html", 404}, {"/file/..", 404}, {"/file/.hidden", 404}, {"/file/./small.html", 404},
        {"/file/", 404}, {"/file/nothing", 404}, {"/file/small.html/", 404}, {"/file/small.html/x", 404}, {"/file/out", 403},
        {"/file/..\\small.html", 404}, {"/file//etc/passwd", 404}, {"/file////small.html", 200},
    };
    struct site s;
    site_start(&s, TCP, 1);
    make_files(&s);
    site_run(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].path);
        expect_status(&s, text, cases[i].status);
    }
    site_stop(&s);
    remove_files(&s);
}

static void a_client_that_leaves_a_file_halfway_does_no_harm(void **state)
{
    (void)state;
    struct site s;
    char piece[1000];
    site_start(&s, TCP, 1);
    make_files(&s);
    site_run(&s);
    for (int i = 0; i < 20; i++) {
        int fd = dial(&s);
        say(fd, GET("/file/large.bin"));
        if (i % 2 == 0)
            assert_true(hear(fd, piece, sizeof piece) > 0);
        close(fd);
    }
    expect_status(&s, GET("/file/small.html"), 200);
    site_stop(&s);
    remove_files(&s);
}

/* ---- accepting ---- */

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
    static const char *const texts[] = {GET("/slow"), GET("/far/slow"), GET("/stream/80000"), GET("/far/stream/80000")};
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
        TEST(a_connection_serves_requests_one_after_the_other),
        TEST(pipelined_requests_are_answered_in_order),
        TEST(head_has_the_length_and_no_body),
        TEST(http_1_0_ends_with_the_answer_unless_asked_not_to),
        TEST(a_body_is_asked_for_when_the_client_waits_for_that),
        TEST(requests_without_an_answer_get_one_from_the_host),
        TEST(a_full_queue_is_a_503_that_says_when_to_come_again),
        TEST(what_waits_too_long_is_a_504),
        TEST(a_client_that_has_left_expires_its_event),
        TEST(half_sent_requests_and_resets_do_no_harm),
        TEST(a_big_answer_is_whole),
        TEST(streams_wait_for_their_clients),
        TEST(a_client_that_never_reads_is_cut),
        TEST(a_client_that_leaves_ends_its_stream),
        TEST(streamed_bodies_are_read_piece_by_piece),
        TEST(streamed_bodies_can_fail),
        TEST(an_answer_before_the_body_is_read_by_its_client),
        TEST(slow_clients_run_out_of_time),
        TEST(malformed_requests_end_the_connection),
        TEST(files_come_whole_in_part_or_not_at_all),
        TEST(no_path_leads_out_of_the_folder),
        TEST(a_client_that_leaves_a_file_halfway_does_no_harm),
        TEST(connections_beyond_the_limit_are_told_so),
        TEST(without_descriptors_connections_wait),
        TEST(unix_sockets_are_shared_by_the_workers),
        TEST(sockets_of_retired_workers_are_accepted_from_by_others),
        TEST(stopping_answers_what_is_in_and_closes_the_rest),
        TEST(stopping_at_once_cuts_what_is_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
