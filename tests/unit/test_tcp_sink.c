#include "io/tcp_sink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "io/sink.h"
#include "sink_fixture.h"

/* ---- peers ---- */

/* A port that somebody may listen on, later. */
static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static int listen_on(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1, small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); /* so that little fits on the way */
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 10), 0);
    return fd;
}

static bool accepted(struct bed *b, void *arg)
{
    int *fds = arg; /* the listening one, the accepted one */
    fds[1] = accept4(fds[0], NULL, NULL, SOCK_NONBLOCK);
    if (fds[1] < 0) /* pauses between attempts pass */
        rig_advance(b->w, 10 * WEIR_NS_PER_MS);
    return fds[1] >= 0;
}

static int accept_one(struct bed *b, int listener)
{
    int fds[2] = {listener, -1};
    bed_until(b, accepted, fds);
    return fds[1];
}

struct reading {
    int fd;
    size_t want;
    struct weir_strbuf got;
};

static bool has_read(struct bed *b, void *arg)
{
    struct reading *r = arg;
    char buffer[65536];
    (void)b;
    while (r->got.len < r->want) {
        size_t most = r->want - r->got.len < sizeof buffer ? r->want - r->got.len : sizeof buffer;
        ssize_t n = read(r->fd, buffer, most);
        if (n <= 0)
            return false;
        weir_strbuf_add(&r->got, buffer, (size_t)n);
    }
    return true;
}

/* Reads exactly what is expected, while the worker turns. */
static void expect(struct bed *b, int fd, const char *expected)
{
    struct reading r = {.fd = fd, .want = strlen(expected)};
    bed_until(b, has_read, &r);
    assert_string_equal(r.got.data, expected);
    weir_strbuf_fini(&r.got);
}

static void tcp_bed(struct bed *b, int port, const char *more, unsigned concurrency)
{
    char options[300];
    snprintf(options, sizeof options, "connect: '127.0.0.1:%d'%s", port, more);
    bed_make(b, &weir_tcp_sink_type, weir_tcp_sink_open, options, concurrency);
}

/* ---- */

static void events_arrive_in_order_as_lines(void **state)
{
    (void)state;
    struct bed b;
    int port = free_port(), listener = listen_on(port);
    tcp_bed(&b, port, "", 100);
    bed_emits(&b, "one");
    rig_emit_value(b.w, FEED, 2);
    int peer = accept_one(&b, listener);
    expect(&b, peer, "one\n2\n");
    bed_emits(&b, "three");
    expect(&b, peer, "three\n");
    bed_until(&b, bed_handled, &(int){3});
    bed_end(&b);
    char c;
    fcntl(peer, F_SETFL, 0);
    assert_int_equal(read(peer, &c, 1), 0); /* an orderly end */
    close(peer);
    close(listener);
}

static void frames_with_a_length_and_without_any(void **state)
{
    (void)state;
    struct bed b;
    int port = free_port(), listener = listen_on(port);
    tcp_bed(&b, port, ", framing: raw", 100);
    bed_emits(&b, "a");
    bed_emits(&b, "");
    bed_emits(&b, "b");
    bed_emits(&b, "");
    int peer = accept_one(&b, listener);
    expect(&b, peer, "ab");
    bed_until(&b, bed_handled, &(int){4}); /* the empty ones too */
    close(peer);
    bed_end(&b);
    close(listener);
}

static void events_wait_for_a_peer_that_is_not_there_yet(void **state)
{
    (void)state;
    struct bed b;
    int port = free_port();
    tcp_bed(&b, port, "", 4);
    for (int i = 0; i < 6; i++)
        rig_emit_value(b.w, FEED, i);
    for (int i = 0; i < 20; i++) {
        bed_turn(&b);
        rig_advance(b.w, WEIR_NS_PER_S);
    }
    struct weir_ledger_sum l = rig_ledger(b.rig, END);
    assert_int_equal(l.running, 4); /* `concurrency`; the rest shows in the queue */
    assert_int_equal(l.queued, 2);
    assert_int_equal(l.failed, 0);
    int listener = listen_on(port), peer = accept_one(&b, listener);
    expect(&b, peer, "0\n1\n2\n3\n4\n5\n");
    bed_until(&b, bed_handled, &(int){6});
    close(peer);
    bed_end(&b);
    close(listener);
}

static void a_peer_that_ended_the_connection_is_noticed_before_the_next_event(void **state)
{
    (void)state;
    struct bed b;
    int port = free_port(), listener = listen_on(port);
    tcp_bed(&b, port, "", 100);
    for (int i = 0; i < 20; i++) {
        char line[16];
        rig_emit_value(b.w, FEED, i);
        int peer = accept_one(&b, listener);
        snprintf(line, sizeof line, "%d\n", i);
        expect(&b, peer, line);
        bed_until(&b, bed_handled, &(int){i + 1});
        close(peer); /* no turn of the worker between this and the next event */
    }
    assert_int_equal(rig_ledger(b.rig, END).failed, 0);
    bed_end(&b);
    close(listener);
}

static char *large_text(size_t len, char c)
{
    char *text = weir_malloc(len + 1);
    memset(text, c, len);
    text[len] = '\0';
    return text;
}

static void a_frame_that_was_cut_is_sent_again_whole(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 }; /* more than sockets hold */
    struct bed b;
    int port = free_port(), listener = listen_on(port);
    tcp_bed(&b, port, ", write_timeout: 1h", 100);
    char *text = large_text(SIZE, 'x');
    bed_emits(&b, "first");
    bed_emit(&b, text, SIZE);
    bed_emits(&b, "last");
    int peer = accept_one(&b, listener);
    expect(&b, peer, "first\nxxxx");
    bed_until(&b, bed_handled, &(int){1});
    close(peer); /* with unread bytes: a reset */
    peer = accept_one(&b, listener);
    struct reading r = {.fd = peer, .want = SIZE + 1 + 5};
    bed_until(&b, has_read, &r);
    assert_memory_equal(r.got.data, text, SIZE);
    assert_string_equal(r.got.data + SIZE, "\nlast\n");
    bed_until(&b, bed_handled, &(int){3});
    assert_int_equal(rig_ledger(b.rig, END).failed, 0);
    weir_strbuf_fini(&r.got);
    weir_free(text);
    close(peer);
    bed_end(&b);
    close(listener);
}

static void a_frame_that_is_cut_too_often_fails_and_the_next_goes_on(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    struct bed b;
    int port = free_port(), listener = listen_on(port);
    tcp_bed(&b, port, ", retries: 2, write_timeout: 1h", 100);
    char *text = large_text(SIZE, 'x');
    bed_emit(&b, text, SIZE);
    bed_emits(&b, "next");
    for (int i = 0; i < 3; i++) {
        int peer = accept_one(&b, listener);
        expect(&b, peer, "xxxx");
        close(peer);
    }
    bed_until(&b, bed_failed, &(int){1});
    assert_int_equal(rig_ledger(b.rig, END).reasons[WEIR_REASON_IO], 1);
    int peer = accept_one(&b, listener);
    expect(&b, peer, "next\n");
    bed_until(&b, bed_handled, &(int){1});
    weir_free(text);
    close(peer);
    bed_end(&b);
    close(listener);
}

static void a_peer_that_takes_nothing_is_given_up(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    struct bed b;
    int port = free_port(), listener = listen_on(port);
    tcp_bed(&b, port, ", retries: 0, write_timeout: 2s", 100);
    char *text = large_text(SIZE, 'x');
    bed_emit(&b, text, SIZE);
    int peer = accept_one(&b, listener);
    expect(&b, peer, "x");
    for (int i = 0; i < 50; i++) {
        bed_turn(&b);
        poll(NULL, 0, 1); /* until the sockets are full */
    }
    rig_advance(b.w, 1900 * WEIR_NS_PER_MS);
    bed_turn(&b);
    assert_int_equal(rig_ledger(b.rig, END).running, 1);
    rig_advance(b.w, 200 * WEIR_NS_PER_MS);
    bed_until(&b, bed_failed, &(int){1});
    weir_free(text);
    close(peer);
    bed_end(&b);
    close(listener);
}

static void what_the_peer_says_is_passed_over(void **state)
{
    (void)state;
    struct bed b;
    int port = free_port(), listener = listen_on(port);
    tcp_bed(&b, port, "", 100);
    bed_emits(&b, "a");
    int peer = accept_one(&b, listener);
    char *text = large_text(300000, 'y');
    for (size_t sent = 0; sent < 300000;) {
        ssize_t n = send(peer, text + sent, 300000 - sent, MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        bed_turn(&b);
    }
    bed_emits(&b, "b");
    expect(&b, peer, "a\nb\n");
    weir_free(text);
    close(peer);
    bed_end(&b);
    close(listener);
}

static void a_unix_socket_is_a_peer_too(void **state)
{
    (void)state;
    struct bed b;
    char path[64], options[128];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(path, sizeof path, "/tmp/weir-tcp-sink-%d", (int)getpid());
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    snprintf(options, sizeof options, "connect: 'unix:%s'", path);
    bed_make(&b, &weir_tcp_sink_type, weir_tcp_sink_open, options, 100);
    bed_emits(&b, "early");
    bed_turn(&b);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(listen(listener, 10), 0);
    int peer = accept_one(&b, listener);
    expect(&b, peer, "early\n");
    close(peer);
    bed_end(&b);
    close(listener);
    unlink(path);
}

static void a_name_is_looked_up_and_one_that_is_none_is_waited_for(void **state)
{
    (void)state;
    struct bed b;
    char options[100];
    int port = free_port(), listener = listen_on(port);
    snprintf(options, sizeof options, "connect: 'localhost:%d'", port);
    bed_make(&b, &weir_tcp_sink_type, weir_tcp_sink_open, options, 100);
    bed_emits(&b, "a");
    int peer = accept_one(&b, listener);
    expect(&b, peer, "a\n");
    close(peer);
    bed_end(&b);
    close(listener);
    bed_make(&b, &weir_tcp_sink_type, weir_tcp_sink_open, "connect: 'no.such.name.invalid:1'", 100);
    bed_emits(&b, "a");
    bed_turn(&b);
    assert_int_equal(rig_ledger(b.rig, END).running, 1);
    bed_end(&b); /* the look-up ends in its own time */
}

/* Cancelled while it connects, pauses, sends. */
static void a_cancel_ends_everything_in_every_state(void **state)
{
    (void)state;
    enum { SIZE = 8 << 20 };
    struct bed b;
    int port = free_port(), listener = listen_on(port);
    char *text = large_text(SIZE, 'x');
    for (int when = 0; when < 4; when++) {
        tcp_bed(&b, when == 1 ? free_port() : port, "", 100);
        bed_emits(&b, "a");
        bed_emit(&b, text, SIZE);
        rig_run(b.w); /* 0: a dial is under way */
        if (when > 0)
            for (int i = 0; i < 20; i++)
                bed_turn(&b); /* 1: it pauses, 2: it sends */
        if (when == 3) {      /* connected, with nothing to send */
            int peer = accept_one(&b, listener);
            struct reading r = {.fd = peer, .want = SIZE + 3};
            bed_until(&b, has_read, &r);
            weir_strbuf_fini(&r.got);
            bed_until(&b, bed_handled, &(int){2});
            close(peer);
        }
        struct weir_handler *h = b.w->seats[END]->handler;
        assert_true(when == 3 || h->ops->memory(h) > SIZE);
        h->ops->cancel(h);
        h->ops->cancel(h);
        struct weir_ledger_sum l = rig_ledger(b.rig, END);
        assert_int_equal(l.running, 0);
        assert_int_equal(l.handled + l.reasons[WEIR_REASON_CANCELLED], 2);
        bed_end(&b);
        int peer;
        while ((peer = accept(listener, NULL, NULL)) >= 0)
            close(peer);
    }
    weir_free(text);
    close(listener);
}

static void pauses_grow_to_a_bound_and_differ(void **state)
{
    (void)state;
    struct weir_sink_backoff b = {.min_ns = 100, .max_ns = 1000, .random = 7};
    static const uint64_t full[] = {100, 200, 400, 800, 1000, 1000, 1000};
    for (size_t i = 0; i < 7; i++) {
        uint64_t ns = weir_sink_backoff_next(&b);
        assert_true(ns >= full[i] / 2 && ns <= full[i]);
    }
    b.failures = 0;
    assert_true(weir_sink_backoff_next(&b) <= 100);
    b.failures = 1000000; /* does not overflow, nor take long */
    assert_true(weir_sink_backoff_next(&b) <= 1000);
    struct weir_sink_backoff c = {.min_ns = 1000000, .max_ns = 1000000, .random = 1}, d = c;
    d.random = 3;
    assert_true(weir_sink_backoff_next(&c) != weir_sink_backoff_next(&d));
}

static void opening_and_making_survive_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bed b;
    tcp_bed(&b, 1, "", 100);
    bed_expect_no_leaks(&b, weir_tcp_sink_open);
    bed_end(&b);
}

static bool readable(struct bed *b, void *arg)
{
    struct pollfd p = {.fd = *(int *)arg, .events = POLLIN};
    (void)b;
    return poll(&p, 1, 0) == 1;
}

static void sending_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    int port = free_port(), listener = listen_on(port);
    for (long n = 0; n < 30; n++) {
        struct bed b;
        tcp_bed(&b, port, "", 100);
        rig_emit_value(b.w, FEED, 7);
        weir_worker_flush(b.w);
        weir_mem_fail_after(n);
        for (int i = 0; i < 5; i++)
            bed_turn(&b);
        weir_mem_fail_after(-1);
        rig_emit_value(b.w, FEED, 8); /* which sets going again what could not even wait */
        int peer = accept_one(&b, listener);
        bed_until(&b, readable, &peer);
        char c;
        if (recv(peer, &c, 1, MSG_PEEK) == 0) { /* there was no memory to use it */
            close(peer);
            peer = accept_one(&b, listener);
        }
        struct weir_ledger_sum l = rig_ledger(b.rig, END);
        expect(&b, peer, l.failed == 0 ? "7\n8\n" : "8\n");
        assert_int_equal(l.failed, l.reasons[WEIR_REASON_MEMORY]);
        bed_until(&b, bed_at_rest, NULL);
        close(peer);
        bed_end(&b);
    }
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_arrive_in_order_as_lines),
        TEST(frames_with_a_length_and_without_any),
        TEST(events_wait_for_a_peer_that_is_not_there_yet),
        TEST(a_peer_that_ended_the_connection_is_noticed_before_the_next_event),
        TEST(a_frame_that_was_cut_is_sent_again_whole),
        TEST(a_frame_that_is_cut_too_often_fails_and_the_next_goes_on),
        TEST(a_peer_that_takes_nothing_is_given_up),
        TEST(what_the_peer_says_is_passed_over),
        TEST(a_unix_socket_is_a_peer_too),
        TEST(a_name_is_looked_up_and_one_that_is_none_is_waited_for),
        TEST(a_cancel_ends_everything_in_every_state),
        TEST(pauses_grow_to_a_bound_and_differ),
        TEST(opening_and_making_survive_any_failed_allocation),
        TEST(sending_survives_any_failed_allocation),
    };
    ignore_sigpipe();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
