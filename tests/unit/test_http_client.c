#include "io/http_client.h"

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

struct seen {
    unsigned news;
    int told;
};

static void on_progress(struct weir_http_fetch *f, unsigned news)
{
    struct seen *s = f->arg;
    s->news = news;
    s->told++;
}

static bool has_ended(void *arg)
{
    const struct weir_http_fetch *f = arg;
    return (f->news & WEIR_HTTP_FETCH_END) != 0;
}

static bool has_head(void *arg)
{
    const struct weir_http_fetch *f = arg;
    return (f->news & WEIR_HTTP_FETCH_HEAD) != 0;
}

static bool has_body(void *arg)
{
    const struct weir_http_fetch *f = arg;
    return f->body.len > 0;
}

static bool has_room(void *arg)
{
    const struct weir_http_fetch *f = arg;
    return (f->news & WEIR_HTTP_FETCH_ROOM) != 0;
}

static struct weir_http_fetch *open_fetch(struct weir_http_fetch_options o, struct seen *s)
{
    char url[64];
    struct weir_err err;
    struct weir_http_fetch *f = NULL;
    snprintf(url, sizeof url, "http://127.0.0.1:%d/path?q", port);
    o.url = o.url != NULL ? o.url : url;
    o.max_body = o.max_body != 0 ? o.max_body : 1 << 20;
    if (weir_http_fetch_open(b.w, &o, on_progress, s, &f, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(s->told, 0); /* never inside */
    return f;
}

static int serve(const char *answer)
{
    int fd = peer_accept(&b, listener);
    char *request = peer_read(&b, fd, "\r\n\r\n");
    assert_non_null(strstr(request, "GET /path?q HTTP/1.1\r\n"));
    weir_free(request);
    peer_write(fd, answer);
    return fd;
}

static void an_answer_is_gathered(void **state)
{
    (void)state;
    struct seen s = {0};
    struct weir_http_fetch *f = open_fetch((struct weir_http_fetch_options){.timeout_ns = 0}, &s);
    int fd = serve("HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 203 Fine\r\nX-One:  1 \r\nContent-Length: 5\r\n\r\nhello");
    bench_until(&b, has_ended, f);
    assert_null(f->code);
    assert_int_equal(f->status, 203);
    assert_string_equal(f->headers.data, "x-one: 1 \ncontent-length: 5\n");
    assert_int_equal(f->body.len, 5);
    assert_memory_equal(f->body.data, "hello", 5);
    weir_http_fetch_close(f);
    close(fd);
}

static void a_connection_is_used_again(void **state)
{
    (void)state;
    struct seen s = {0};
    int fd = -1;
    for (int i = 0; i < 3; i++) {
        struct seen again = {0};
        struct weir_http_fetch *f = open_fetch((struct weir_http_fetch_options){.timeout_ns = 0}, &again);
        if (fd < 0)
            fd = peer_accept(&b, listener);
        weir_free(peer_read(&b, fd, "\r\n\r\n"));
        peer_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        bench_until(&b, has_ended, f);
        assert_null(f->code);
        weir_http_fetch_close(f);
    }
    assert_int_equal(s.told, 0);
    close(fd);
}

/* What the peer does, and the code that this has. */
static void failures_have_names(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *code;
        bool reset;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "TRUNCATED", false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "TRUNCATED", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "ECONNRESET", true},
        {"HTTP/1.1 200 OK\r\nContent-Le", "TRUNCATED", false},
        {"nonsense\r\n\r\n", "BAD_ANSWER", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", "TOO_LARGE", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct seen s = {0};
        struct weir_http_fetch *f = open_fetch((struct weir_http_fetch_options){.max_body = 1000}, &s);
        int fd = serve(rows[i].answer);
        bool large = strcmp(rows[i].code, "TOO_LARGE") == 0;
        if (large)
            for (int n = 0; n < 20; n++)
                peer_write(fd, "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789");
        if (rows[i].reset) {
            bench_turn(&b); /* it has read the half */
            peer_reset(fd);
        } else if (!large) {
            close(fd);
        }
        bench_until(&b, has_ended, f);
        if (f->code == NULL || strcmp(f->code, rows[i].code) != 0)
            fail_msg("row %zu: %s: %s", i, f->code, f->text);
        weir_http_fetch_close(f);
        if (large)
            close(fd);
    }
}

static void nobody_listens(void **state)
{
    (void)state;
    struct seen s = {0};
    struct weir_http_fetch *f = open_fetch((struct weir_http_fetch_options){.url = "http://127.0.0.1:1/"}, &s);
    bench_until(&b, has_ended, f);
    assert_string_equal(f->code, "ECONNREFUSED");
    assert_int_equal(s.news & WEIR_HTTP_FETCH_END, WEIR_HTTP_FETCH_END);
    weir_http_fetch_close(f);
}

static void a_time_limit_ends_it(void **state)
{
    (void)state;
    struct seen s = {0};
    struct weir_http_fetch *f = open_fetch((struct weir_http_fetch_options){.timeout_ns = 20 * WEIR_NS_PER_MS}, &s);
    int fd = serve("");
    bench_until(&b, has_ended, f);
    assert_string_equal(f->code, "TIMEOUT");
    weir_http_fetch_close(f);
    close(fd);
}

static void a_streamed_answer_begins_with_its_head(void **state)
{
    (void)state;
    struct seen s = {0};
    struct weir_http_fetch *f = open_fetch((struct weir_http_fetch_options){.answer_streamed = true}, &s);
    int fd = serve("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n");
    bench_until(&b, has_head, f);
    assert_int_equal(f->status, 200);
    assert_int_equal(f->body.len, 0);
    peer_write(fd, "3\r\none\r\n");
    bench_until(&b, has_body, f);
    assert_memory_equal(f->body.data, "one", 3);
    weir_http_fetch_consume(f);
    peer_write(fd, "3\r\ntwo\r\n0\r\nX: trailer\r\n\r\n");
    bench_until(&b, has_ended, f);
    assert_memory_equal(f->body.data, "two", 3);
    assert_null(strstr(f->headers.data, "trailer\n"));
    assert_null(f->code);
    weir_http_fetch_close(f);
    close(fd);
}

struct flood {
    int fd;
    size_t sent;
    bool stuck;
};

/* Sends until the socket takes no more for some turns. */
static bool flooded(void *arg)
{
    struct flood *f = arg;
    char block[16384];
    ssize_t n = write(f->fd, memset(block, 'x', sizeof block), sizeof block);
    f->stuck = n < 0 && errno == EAGAIN && (f->stuck || true);
    f->sent += n > 0 ? (size_t)n : 0;
    return n < 0;
}

static void a_fast_peer_has_to_wait(void **state)
{
    (void)state;
    enum { WHOLE = 64 << 20 };
    struct seen s = {0};
    struct weir_http_fetch *f = open_fetch((struct weir_http_fetch_options){.answer_streamed = true}, &s);
    int fd = serve("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
    struct flood flood = {.fd = fd};
    for (int idle = 0; idle < 50;) { /* nobody reads: it ends when all is full */
        size_t before = flood.sent;
        (void)flooded(&flood);
        bench_turn(&b);
        idle = flood.sent == before ? idle + 1 : 0;
    }
    assert_true(flood.sent < WHOLE / 2);
    assert_true(f->body.len <= 2 * WEIR_HTTP_FETCH_AHEAD_MAX);
    size_t got = 0;
    while (got < flood.sent) {
        bench_until(&b, has_body, f);
        got += f->body.len;
        assert_true(f->body.cap <= 4 * WEIR_HTTP_FETCH_AHEAD_MAX);
        weir_http_fetch_consume(f);
    }
    assert_int_equal(got, flood.sent);
    weir_http_fetch_close(f); /* in the middle */
    close(fd);
}

static void serve_much(size_t len)
{
    char head[64], block[1024];
    memset(block, 'x', sizeof block);
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
    int fd = serve(head);
    for (size_t sent = 0; sent < len;) {
        ssize_t n = write(fd, block, sizeof block < len - sent ? sizeof block : len - sent);
        if (n < 0 && errno != EAGAIN)
            break; /* it does not want more */
        sent += n > 0 ? (size_t)n : 0;
        bench_turn(&b);
    }
    close(fd);
}

static void its_buffers_are_held(void **state)
{
    (void)state;
    struct counting c = COUNTING(200000);
    struct seen s = {0};
    struct weir_http_fetch *f = open_fetch((struct weir_http_fetch_options){.holder = &c.holder}, &s);
    serve_much(100000);
    bench_until(&b, has_ended, f);
    assert_null(f->code);
    assert_int_equal(f->body.len, 100000);
    assert_true(c.held >= f->body.cap + f->headers.cap);
    weir_http_fetch_close(f);
    f = open_fetch((struct weir_http_fetch_options){.holder = &c.holder}, &(struct seen){0});
    c.held = 0;
    serve_much(300000);
    bench_until(&b, has_ended, f);
    assert_string_equal(f->code, "ENOMEM");
    assert_true(c.most <= 200000);
    weir_http_fetch_close(f);
    char *much = calloc(1, 300000);
    assert_non_null(much);
    struct weir_http_fetch_options o = {
        .url = "http://127.0.0.1:1/", .has_body = true, .body = much, .len = 300000, .holder = &c.holder};
    struct weir_err err;
    assert_int_equal(weir_http_fetch_open(b.w, &o, on_progress, &s, &f, &err), WEIR_E_LIMIT);
    free(much);
}

static void a_streamed_body_is_asked_for(void **state)
{
    (void)state;
    struct seen s = {0};
    struct weir_http_fetch *f =
        open_fetch((struct weir_http_fetch_options){.method = "POST", .body_streamed = true, .body_size = -1}, &s);
    int fd = peer_accept(&b, listener);
    bench_until(&b, has_room, f);
    assert_int_equal(weir_http_fetch_write(f, "first", 5, false), WEIR_OK);
    char *got = peer_read(&b, fd, "5\r\nfirst\r\n");
    assert_non_null(strstr(got, "Transfer-Encoding: chunked\r\n"));
    assert_null(strstr(got, "Expect"));
    assert_null(strstr(got, "Content-Type"));
    weir_free(got);
    bench_until(&b, has_room, f);
    assert_int_equal(weir_http_fetch_write(f, "last", 4, true), WEIR_OK);
    weir_free(peer_read(&b, fd, "4\r\nlast\r\n0\r\n\r\n"));
    peer_write(fd, "HTTP/1.1 204 Fine\r\n\r\n");
    bench_until(&b, has_ended, f);
    assert_null(f->code);
    assert_int_equal(f->status, 204);
    weir_http_fetch_close(f);
    close(fd);
}

static void headers_and_bodies_are_as_given(void **state)
{
    (void)state;
    struct seen s = {0};
    const struct weir_http_header headers[] = {
        {{.data = "X-One", .len = 5}, {.data = "1", .len = 1}},
        {{.data = "X-Empty", .len = 7}, {.data = "", .len = 0}},
        {{.data = "content-type", .len = 12}, {.data = "a/b", .len = 3}},
    };
    struct weir_http_fetch *f = open_fetch(
        (struct weir_http_fetch_options){
            .method = "PUT", .headers = headers, .header_count = 3, .has_body = true, .body = "a\0b", .len = 3},
        &s);
    int fd = peer_accept(&b, listener);
    char *got = peer_read(&b, fd, "\r\n\r\n");
    assert_non_null(strstr(got, "PUT /path?q HTTP/1.1\r\n"));
    assert_non_null(strstr(got, "X-One: 1\r\n"));
    assert_non_null(strstr(got, "X-Empty:\r\n"));
    assert_non_null(strstr(got, "content-type: a/b\r\n"));
    assert_non_null(strstr(got, "Content-Length: 3\r\n"));
    weir_free(got);
    weir_http_fetch_close(f); /* before an answer */
    close(fd);
}

static void what_is_open_ends_with_the_worker(void **state)
{
    (void)state;
    static struct seen s;
    s = (struct seen){0};
    open_fetch((struct weir_http_fetch_options){.answer_streamed = true}, &s);
    int fd = serve("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    bench_turn(&b);
    close(fd); /* the teardown looks at the memory */
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct seen s = {0};
    struct weir_err err;
    struct weir_http_header header = {{.data = "X-One", .len = 5}, {.data = "1", .len = 1}};
    struct weir_http_fetch_options o = {
        .url = "http://127.0.0.1:1/", .max_body = 10, .headers = &header, .header_count = 1, .has_body = true, .body = "x", .len = 1};
    weir_http_fetch_close(open_fetch((struct weir_http_fetch_options){.url = "http://127.0.0.1:1/"}, &s)); /* the client is made */
    long live = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_http_fetch *f = NULL;
        weir_mem_fail_after(n);
        rc = weir_http_fetch_open(b.w, &o, on_progress, &s, &f, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && f == NULL));
        weir_http_fetch_close(f);
        while (uv_run(&b.w->loop, UV_RUN_NOWAIT) != 0 && weir_mem_live() != live)
            ; /* a socket's handle is closed in the loop */
        assert_int_equal(weir_mem_live(), live);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_answer_is_gathered),
        CASE(a_connection_is_used_again),
        CASE(failures_have_names),
        CASE(nobody_listens),
        CASE(a_time_limit_ends_it),
        CASE(a_streamed_answer_begins_with_its_head),
        CASE(a_fast_peer_has_to_wait),
        CASE(its_buffers_are_held),
        CASE(a_streamed_body_is_asked_for),
        CASE(headers_and_bodies_are_as_given),
        CASE(what_is_open_ends_with_the_worker),
        CASE(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
