#include "test.h"

#include "tls_fixture.h"

#include "http_fixture.h"

/* An HTTP source over TLS, and clients that wait. */

struct caller {
    struct weir_transport t;
    struct weir_strbuf in;
    bool ended;
};

static void start_tls(struct site *s, const char *more, unsigned workers)
{
    char options[512];
    snprintf(options, sizeof options,
             "listen: '127.0.0.1:0', tls: {certificate: %s/web.pem, key: %s/web.key}%s", tls_folder,
             tls_folder, more);
    site_start(s, options, workers);
}

/* Waits for what the transport waits for, at most 5 s. */
static void await(struct caller *c, int events)
{
    struct pollfd ready = {.fd = c->t.fd, .events = events == WEIR_TRANSPORT_READABLE ? POLLIN : POLLOUT};
    if (poll(&ready, 1, 5000) != 1)
        fail_msg("nothing came for 5 s");
}

static void call(struct caller *c, struct site *s)
{
    struct weir_tls_client *client = tls_client();
    memset(c, 0, sizeof *c);
    int fd = dial(s), rc;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(weir_tls_client_connect(client, fd, "127.0.0.1", &c->t), WEIR_OK);
    while ((rc = weir_transport_handshake(&c->t)) == -EAGAIN)
        await(c, weir_transport_polls_for_read(&c->t));
    assert_int_equal(rc, 0);
    weir_tls_client_unref(client);
}

static void tell(struct caller *c, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = weir_transport_send(&c->t, data, len);
        if (n == -EAGAIN) {
            await(c, WEIR_TRANSPORT_WRITABLE);
            continue;
        }
        assert_true(n > 0);
        data += n;
        len -= (size_t)n;
    }
}

/* Reads until `len` bytes are there or the end. */
static void listen_to(struct caller *c, size_t len)
{
    char buffer[65536];
    while (c->in.len < len && !c->ended) {
        ssize_t n = weir_transport_read(&c->t, buffer, sizeof buffer);
        if (n == -EAGAIN) {
            await(c, weir_transport_polls_for_read(&c->t));
            continue;
        }
        if (n <= 0)
            c->ended = true;
        else
            weir_strbuf_add(&c->in, buffer, (size_t)n);
    }
}

static size_t hear_answer(struct caller *c, int status)
{
    while (head_length(&c->in) == 0 && !c->ended)
        listen_to(c, c->in.len + 1);
    size_t head = head_length(&c->in);
    assert_true(head > 0);
    assert_int_equal(strtol(c->in.data + 9, NULL, 10), status);
    const char *length = strcasestr(c->in.data, "\r\ncontent-length:");
    size_t body = length != NULL && length < c->in.data + head ? strtoul(length + 17, NULL, 10) : 0;
    listen_to(c, head + body);
    assert_true(c->in.len >= head + body);
    weir_strbuf_consume(&c->in, head + body);
    return body;
}

static void hang_up(struct caller *c)
{
    weir_transport_close(&c->t, false);
    weir_strbuf_fini(&c->in);
}

#define TELL(c, text) tell(c, text, strlen(text))

static void requests_are_answered_on_a_kept_connection(void **state)
{
    struct site s;
    struct caller c;
    (void)state;
    start_tls(&s, "", 2);
    assert_memory_equal(s.bound, "https://", 8);
    site_run(&s);
    call(&c, &s);
    for (int i = 0; i < 10; i++) {
        TELL(&c, i % 2 ? GET("/hello") : GET("/far/hello"));
        assert_int_equal(hear_answer(&c, 200), 6);
    }
    TELL(&c, GET("/big") GET("/big") GET("/hello")); /* pipelined: what is read ahead is plaintext */
    assert_int_equal(hear_answer(&c, 200), BIG);
    assert_int_equal(hear_answer(&c, 200), BIG);
    assert_int_equal(hear_answer(&c, 200), 6);
    hang_up(&c);
    assert_int_equal(site_count(&s, "handshakes"), 1);
    assert_int_equal(site_count(&s, "resumed"), 0);
    assert_int_equal(site_count(&s, "handshakes_failed"), 0);
    site_stop(&s);
}

/* Bodies go on after a pause although no poll tells of what is in memory. */
static void large_bodies_come_whole_and_streamed(void **state)
{
    static const char *const modes[] = {"", ", body: stream"};
    enum { SIZE = 900000 };
    char *body = malloc(SIZE), head[128];
    (void)state;
    assert_non_null(body);
    memset(body, 'b', SIZE);
    for (int i = 0; i < 2; i++) {
        struct site s;
        struct caller c;
        start_tls(&s, modes[i], 1);
        site_run(&s);
        call(&c, &s);
        for (int k = 0; k < 4; k++) {
            const char *path = i == 0 ? "/echo" : k % 2 ? "/far/read" : "/read";
            int n = snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
                             path, SIZE);
            tell(&c, head, (size_t)n);
            tell(&c, body, SIZE);
            size_t got = hear_answer(&c, 200);
            assert_int_equal(got, i == 0 ? SIZE : strlen("900000 whole\n"));
        }
        hang_up(&c);
        site_stop(&s);
    }
    free(body);
}

static void an_answer_without_length_ends_with_close_notify(void **state)
{
    struct site s;
    struct caller c;
    (void)state;
    start_tls(&s, "", 1);
    site_run(&s);
    call(&c, &s);
    TELL(&c, "GET /stream/50 HTTP/1.0\r\n\r\n");
    listen_to(&c, SIZE_MAX);
    assert_int_equal(c.in.len - head_length(&c.in), 50 * 1024);
    assert_false(weir_transport_truncated(&c.t));
    hang_up(&c);
    site_stop(&s);
}

static void an_answer_that_is_cut_ends_without_close_notify(void **state)
{
    struct site s;
    struct caller c;
    (void)state;
    start_tls(&s, ", write_timeout: 100ms", 1);
    site_run(&s);
    call(&c, &s);
    TELL(&c, "GET /stream/20000 HTTP/1.0\r\n\r\n");
    wait_count(&s, "timeout_write", 1); /* it is not read */
    listen_to(&c, SIZE_MAX);
    assert_true(c.in.len < 20000 * 1024);
    assert_true(weir_transport_truncated(&c.t));
    hang_up(&c);
    site_stop(&s);
}

static void a_client_that_says_its_end_gets_what_it_asked_for(void **state)
{
    struct site s;
    struct caller c;
    (void)state;
    start_tls(&s, ", half_close: true", 1);
    site_run(&s);
    call(&c, &s);
    TELL(&c, GET("/far/hello"));
    assert_int_equal(weir_transport_shutdown(&c.t), 0);
    assert_int_equal(hear_answer(&c, 200), 6);
    listen_to(&c, SIZE_MAX);
    assert_true(c.ended);
    hang_up(&c);
    site_stop(&s);
}

static void plain_http_is_told_to_use_https(void **state)
{
    struct site s;
    (void)state;
    start_tls(&s, "", 1);
    site_run(&s);
    struct answer a = ask(&s, GET("/hello"));
    assert_int_equal(a.status, 400);
    assert_true(a.whole);
    weir_strbuf_add(&a.body, "", 1);
    assert_non_null(strstr(a.body.data, "https://"));
    assert_int_equal(a.body.data[a.body.len - 2], '\n');
    weir_strbuf_fini(&a.body);
    wait_count(&s, "handshakes_failed", 1);
    int fd = dial(&s);
    say(fd, "nonsense nonsense nonsense");
    char buffer[100];
    while (hear(fd, buffer, sizeof buffer) > 0) /* an alert, maybe */
        ;
    close(fd);
    wait_count(&s, "handshakes_failed", 2);
    assert_int_equal(site_count(&s, "requests"), 0);
    site_stop(&s);
}

static void handshakes_have_the_time_of_a_header(void **state)
{
    struct site s;
    (void)state;
    start_tls(&s, ", header_timeout: 100ms", 1);
    site_run(&s);
    int silent = dial(&s), slow = dial(&s);
    char buffer[100];
    assert_int_equal(send(slow, "\x16\x03\x01\x01\x00", 5, 0), 5); /* the beginning of a client's hello */
    assert_true(hear(silent, buffer, sizeof buffer) <= 0);
    assert_true(hear(slow, buffer, sizeof buffer) <= 0);
    close(silent);
    close(slow);
    wait_count(&s, "timeout_idle", 2);
    site_stop(&s);
}

static void connections_beyond_the_limit_end_without_a_handshake(void **state)
{
    struct site s;
    struct caller c;
    char buffer[100];
    (void)state;
    start_tls(&s, ", max_connections: 1", 1);
    site_run(&s);
    call(&c, &s);
    int fd = dial(&s);
    assert_true(hear(fd, buffer, sizeof buffer) <= 0);
    close(fd);
    assert_int_equal(site_count(&s, "refused"), 1);
    TELL(&c, GET("/hello"));
    hear_answer(&c, 200);
    hang_up(&c);
    site_stop(&s);
}

static void stopping_ends_idle_and_half_open_connections(void **state)
{
    struct site s;
    struct caller c;
    (void)state;
    start_tls(&s, "", 1);
    site_run(&s);
    call(&c, &s);
    TELL(&c, GET("/hello"));
    hear_answer(&c, 200);
    int fd = dial(&s);
    assert_int_equal(send(fd, "\x16\x03\x01\x01\x00", 5, 0), 5);
    wait_count(&s, "accepted", 2);
    site_stop(&s);
    listen_to(&c, SIZE_MAX);
    assert_false(weir_transport_truncated(&c.t));
    hang_up(&c);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_answered_on_a_kept_connection),
        TEST(large_bodies_come_whole_and_streamed),
        TEST(an_answer_without_length_ends_with_close_notify),
        TEST(an_answer_that_is_cut_ends_without_close_notify),
        TEST(a_client_that_says_its_end_gets_what_it_asked_for),
        TEST(plain_http_is_told_to_use_https),
        TEST(handshakes_have_the_time_of_a_header),
        TEST(connections_beyond_the_limit_end_without_a_handshake),
        TEST(stopping_ends_idle_and_half_open_connections),
    };
    return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
