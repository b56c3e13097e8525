#include "io/tcp_stream.h"

#include "config/address.h"
#include "holder_fixture.h"
#include "loop_fixture.h"

static struct bench b;
static int listener, port;

static int set_up(void **state)
{
    (void)state;
    bench_open(&b);
    listener = peer_listen(&port);
    return 0;
}

static int tear_down(void **state)
{
    close(listener);
    bench_close(&b);
    return test_teardown(state);
}

static void on_progress(struct weir_tcp_stream *s)
{
    ++*(int *)s->arg;
}

static struct weir_address address_of(int to)
{
    char text[32];
    struct weir_address a;
    struct weir_err err;
    snprintf(text, sizeof text, "127.0.0.1:%d", to);
    assert_int_equal(weir_address_parse(text, &a, &err), WEIR_OK);
    return a;
}

static struct weir_tcp_stream *open_stream(int to, int *told)
{
    struct weir_address a = address_of(to);
    struct weir_tcp_stream *s = NULL;
    struct weir_err err;
    *told = 0;
    if (weir_tcp_stream_open(b.w, &a, NULL, NULL, 10 * WEIR_NS_PER_S, on_progress, told, &s, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(*told, 0); /* never inside */
    return s;
}

static bool is_decided(void *arg)
{
    const struct weir_tcp_stream *s = arg;
    return s->state == WEIR_TCP_STREAM_UP || s->state == WEIR_TCP_STREAM_FAILED;
}

static bool has_failed(void *arg)
{
    return ((const struct weir_tcp_stream *)arg)->state == WEIR_TCP_STREAM_FAILED;
}

static bool has_bytes(void *arg)
{
    return ((const struct weir_tcp_stream *)arg)->in.len > 0;
}

static bool has_ended(void *arg)
{
    return ((const struct weir_tcp_stream *)arg)->eof;
}

static int connect_peer(struct weir_tcp_stream *s)
{
    int fd = peer_accept(&b, listener);
    bench_until(&b, is_decided, s);
    assert_int_equal(s->state, WEIR_TCP_STREAM_UP);
    return fd;
}

static void bytes_go_both_ways_until_both_end(void **state)
{
    (void)state;
    int told;
    struct weir_tcp_stream *s = open_stream(port, &told);
    int fd = connect_peer(s);
    assert_int_equal(weir_tcp_stream_write(s, "ping\n", 5), WEIR_OK);
    char *got = peer_read(&b, fd, "\n");
    assert_string_equal(got, "ping\n");
    weir_free(got);
    peer_write(fd, "pong");
    bench_until(&b, has_bytes, s);
    assert_int_equal(s->in.len, 4);
    assert_memory_equal(s->in.data, "pong", 4);
    weir_tcp_stream_shutdown(s);
    got = peer_read(&b, fd, NULL);
    assert_string_equal(got, "");
    weir_free(got);
    close(fd);
    bench_until(&b, has_ended, s);
    assert_int_equal(s->in.len, 4); /* still there */
    weir_tcp_stream_close(s);
}

static void a_refusal_and_a_reset_have_names(void **state)
{
    (void)state;
    int told;
    struct weir_tcp_stream *s = open_stream(1, &told);
    bench_until(&b, is_decided, s);
    assert_int_equal(s->state, WEIR_TCP_STREAM_FAILED);
    assert_string_equal(s->code, "ECONNREFUSED");
    assert_int_equal(told, 1);
    assert_int_equal(weir_tcp_stream_write(s, "x", 1), WEIR_E_CLOSED);
    weir_tcp_stream_close(s);
    s = open_stream(port, &told);
    peer_reset(connect_peer(s));
    bench_until(&b, has_failed, s);
    assert_string_equal(s->code, "ECONNRESET");
    weir_tcp_stream_close(s);
}

static void it_reads_ahead_up_to_its_bound(void **state)
{
    (void)state;
    int told;
    char block[8192];
    struct weir_tcp_stream *s = open_stream(port, &told);
    int fd = connect_peer(s);
    size_t sent = 0;
    memset(block, 'x', sizeof block);
    for (int idle = 0; idle < 50;) { /* until all that is between us is full */
        ssize_t n = write(fd, block, sizeof block);
        sent += n > 0 ? (size_t)n : 0;
        bench_turn(&b);
        idle = n > 0 ? 0 : idle + 1;
    }
    assert_true(s->in.len >= WEIR_TCP_STREAM_AHEAD_MAX && s->in.len < 2 * WEIR_TCP_STREAM_AHEAD_MAX);
    size_t got = 0;
    while (got < sent) {
        bench_until(&b, has_bytes, s);
        got += s->in.len;
        weir_strbuf_consume(&s->in, s->in.len);
        weir_tcp_stream_read_on(s);
    }
    assert_int_equal(got, sent);
    weir_tcp_stream_close(s);
    close(fd);
}

static bool is_sent(void *arg)
{
    return ((const struct weir_tcp_stream *)arg)->out.len == 0;
}

static void what_the_peer_does_not_take_waits(void **state)
{
    (void)state;
    enum { MUCH = 32 << 20 };
    int told;
    struct weir_tcp_stream *s = open_stream(port, &told);
    int fd = connect_peer(s);
    char *much = calloc(1, MUCH);
    assert_non_null(much);
    assert_int_equal(weir_tcp_stream_write(s, much, MUCH), WEIR_OK);
    free(much);
    assert_true(s->out.len > 0);
    weir_tcp_stream_shutdown(s); /* once that is sent */
    struct reading r = {.fd = fd, .atleast = MUCH + 1};
    bench_until(&b, peer_has_read, &r);
    assert_int_equal(r.got.len, MUCH);
    weir_strbuf_fini(&r.got);
    bench_until(&b, is_sent, s);
    weir_tcp_stream_close(s);
    close(fd);
}

static bool was_refused(void *arg)
{
    return ((const struct weir_tcp_stream *)arg)->refused;
}

static void what_it_has_is_held(void **state)
{
    (void)state;
    enum { MUCH = 8 << 20 };
    int told;
    struct counting c = COUNTING(32 << 20);
    struct weir_tcp_stream *s = open_stream(port, &told);
    s->holder = &c.holder;
    int fd = connect_peer(s);
    assert_int_equal(c.held, 0);
    peer_write(fd, "pong");
    bench_until(&b, has_bytes, s);
assert_true(c.held >= s->in.cap && c.held < 20000);
    weir_strbuf_consume(&s->in, 4);
    weir_tcp_stream_read_on(s);
    assert_int_equal(c.held, 0); /* a connection that waits has nothing */
    char *much = calloc(1, MUCH);
    assert_non_null(much);
    assert_int_equal(weir_tcp_stream_write(s, much, MUCH), WEIR_OK);
    free(much);
    assert_true(c.held >= s->out.len && s->out.len > 0);
    struct reading r = {.fd = fd, .atleast = MUCH};
    bench_until(&b, peer_has_read, &r);
    weir_strbuf_fini(&r.got);
    bench_until(&b, is_sent, s);
    assert_int_equal(c.held, 0);
    weir_tcp_stream_close(s);
    close(fd);
}

static void what_is_refused_is_not_sent_and_not_read(void **state)
{
    (void)state;
    int told;
    struct counting c = COUNTING(1000);
    struct weir_tcp_stream *s = open_stream(port, &told);
    s->holder = &c.holder;
    int fd = connect_peer(s);
    char much[2000] = "";
    assert_int_equal(weir_tcp_stream_write(s, much, sizeof much), WEIR_E_LIMIT);
    assert_int_equal(weir_tcp_stream_write(s, "ping\n", 5), WEIR_OK);
    char *got = peer_read(&b, fd, "\n");
    assert_string_equal(got, "ping\n"); /* nothing of the other */
    weir_free(got);
    peer_write(fd, "pong");
    bench_until(&b, was_refused, s);
    assert_int_equal(s->state, WEIR_TCP_STREAM_UP);
    int before = told, refused = c.refused;
    for (int i = 0; i < 5; i++)
        bench_turn(&b);
    assert_int_equal(told, before); /* it waits … */
    assert_int_equal(c.refused, refused);
    c.limit = 1 << 20;
    weir_tcp_stream_read_on(s); /* … until there is room */
    bench_until(&b, has_bytes, s);
    assert_int_equal(s->in.len, 4);
    weir_tcp_stream_close(s);
    close(fd);
}

static void a_nudge_comes_in_a_turn_of_its_own(void **state)
{
    (void)state;
    int told;
    struct weir_tcp_stream *s = open_stream(port, &told);
    int fd = connect_peer(s), before = told;
    weir_tcp_stream_nudge(s);
    assert_int_equal(told, before);
    bench_turn(&b);
    assert_int_equal(told, before + 1);
    bench_turn(&b);
    bench_turn(&b);
    assert_int_equal(told, before + 1); /* once */
    weir_tcp_stream_close(s);
    close(fd);
}

static void it_can_be_closed_at_any_point(void **state)
{
    (void)state;
    int told;
    weir_tcp_stream_close(open_stream(port, &told)); /* while it dials */
    weir_tcp_stream_close(NULL);
    bench_turn(&b);
    assert_int_equal(told, 0);
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct weir_address a = address_of(port);
    struct weir_err err;
    int told = 0, rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_tcp_stream *s = NULL;
        weir_mem_fail_after(n);
        rc = weir_tcp_stream_open(b.w, &a, NULL, "name", WEIR_NS_PER_S, on_progress, &told, &s, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && s == NULL));
        weir_tcp_stream_close(s); /* the teardown looks at the memory */
        bench_turn(&b);
    }
    assert_int_equal(told, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bytes_go_both_ways_until_both_end),
        CASE(a_refusal_and_a_reset_have_names),
        CASE(it_reads_ahead_up_to_its_bound),
        CASE(what_the_peer_does_not_take_waits),
        CASE(what_it_has_is_held),
        CASE(what_is_refused_is_not_sent_and_not_read),
        CASE(a_nudge_comes_in_a_turn_of_its_own),
        CASE(it_can_be_closed_at_any_point),
        CASE(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
