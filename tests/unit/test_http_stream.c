#include "test.h"

#include "http_fixture.h"

#define TCP "listen: '127.0.0.1:0'"

static void streams_wait_for_their_clients(void **state)
{
    (void)state;
    struct site s;
    static const char *const paths[] = {GET("/stream/8000"), GET("/far/stream/8000"), GET("/stream/0"),
                                        GET("/far/stream/1")};
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
        snprintf(head, sizeof head, "POST %s/read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
                 prefixes[i]);
        say(fd, head);
        send_body(fd, 1000000);
        get_answer(fd, &b, &a, false);
        assert_string_equal(a.body.data, "1000000 whole\n");
        assert_null(strstr(a.head, "Connection: close")); /* read to its end: the next may come */
        weir_strbuf_fini(&a.body);
        snprintf(
            head, sizeof head,
            "POST %s/read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
            prefixes[i]);
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
        {"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n20\r\n",
         "5 LIMIT\n", false},
        {"POST /far/read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nx\r\n",
         "5 CLOSED\n", false},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(streams_wait_for_their_clients),
        TEST(a_client_that_never_reads_is_cut),
        TEST(a_client_that_leaves_ends_its_stream),
        TEST(streamed_bodies_are_read_piece_by_piece),
        TEST(streamed_bodies_can_fail),
        TEST(an_answer_before_the_body_is_read_by_its_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
