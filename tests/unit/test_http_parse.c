#include "test.h"

#include <stdio.h>
#include <string.h>

#include "io/http_parse.h"
#include "io/http_server.h"

enum { HEADERS = 4, TEXT = 64 }; /* little room, so that growing it is tested too */

struct parse {
    struct weir_http_request r;
    struct weir_http_parser p;
    struct weir_http_settings limits;
    struct weir_strbuf body;
    struct weir_http_header headers[HEADERS];
    char text[TEXT];
    size_t took;
};

static void begin(struct parse *x)
{
    memset(&x->r, 0, sizeof x->r);
    weir_http_settings_default(&x->limits);
    x->limits.max_header_bytes = 1024;
    x->limits.max_headers = 8;
    x->limits.max_uri = 64;
    x->limits.max_body = 32;
    weir_strbuf_init(&x->body);
    x->took = 0;
    struct weir_http_room room = {x->headers, HEADERS, x->text, TEXT};
    weir_http_parser_init(&x->p, &x->r, &x->limits, room, &x->body);
    x->r.remote = weir_http_parser_keep(&x->p, "192.0.2.1", 9);
}

static bool is_over(const struct parse *x)
{
    return x->p.phase == WEIR_HTTP_DONE || x->p.phase == WEIR_HTTP_FAILED;
}

/* Feeds `data` in pieces of `step` bytes; each piece in a block of its own, so that a sanitizer sees a parser
 * that remembers it. */
static void feed(struct parse *x, const char *data, size_t len, size_t step)
{
    while (x->took < len && !is_over(x)) {
        size_t n = len - x->took < step ? len - x->took : step;
        char *piece = weir_malloc(n);
        assert_non_null(piece);
        memcpy(piece, data + x->took, n);
        size_t took = weir_http_parser_feed(&x->p, piece, n);
        assert_true(took <= n);
        assert_true(took > 0 || is_over(x));
        weir_free(piece);
        x->took += took;
    }
}

static void end(struct parse *x)
{
    weir_http_parser_fini(&x->p);
    weir_strbuf_fini(&x->body);
}

static void expect_text(struct weir_http_text t, const char *expected)
{
    assert_int_equal(t.len, strlen(expected));
    assert_memory_equal(t.data, expected, t.len);
}

/* ---- what is refused, and what is not ---- */

struct row {
    const char *data;
    size_t len;
    int status; /* 0: parsed */
};

#define ROW(status, text)                                                                                    \
    {                                                                                                        \
        text, sizeof(text) - 1, status                                                                       \
    }
#define H11     " HTTP/1.1\r\nHost: a\r\n"
#define POST    "POST /" H11
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define TEN     "0123456789"
#define A64     TEN TEN TEN TEN TEN TEN "0123"
#define A256    A64 A64 A64 A64

static const struct row rows[] = {
    /* request lines */
    ROW(0, "GET /" H11 "\r\n"),
    ROW(0, "\r\n\r\nGET /" H11 "\r\n"),
    ROW(0, "GET / HTTP/1.0\r\n\r\n"),
    ROW(0, "OPTIONS *" H11 "\r\n"),
    ROW(0, "GET http://a.b:80/x?y" H11 "\r\n"),
    ROW(0, "GET http://a" H11 "\r\n"),
    ROW(0, "GET https://[::1]:8/x" H11 "\r\n"),
    ROW(0, "M-SEARCH /" H11 "\r\n"),
    ROW(0, "GET /?q=%00{}|\"<>" H11 "\r\n"),
    ROW(400, "GET  /" H11 "\r\n"),
    ROW(400, "GET / " H11 "\r\n"),
    ROW(400, "GET /"
             "\r\n\r\n"),
    ROW(400, " GET /" H11 "\r\n"),
    ROW(400, "GET /\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ROW(400, "GET / http/1.1\r\nHost: a\r\n\r\n"),
    ROW(400, "GET / RTSP/1.0\r\n\r\n"),
    ROW(400, "SOURCE / ICE/1.0\r\n\r\n"),
    ROW(400, "GET /a#b" H11 "\r\n"),
    ROW(400, "GET /\x80" H11 "\r\n"),
    ROW(400, "GET /\xc3\xa4" H11 "\r\n"),
    ROW(400, "GET /a\tb" H11 "\r\n"),
    ROW(400, "GET /a\0b" H11 "\r\n"),
    ROW(400, "GET a" H11 "\r\n"),
    ROW(400, "GET *" H11 "\r\n"),
    ROW(400, "GET ftp://a/" H11 "\r\n"),
    ROW(400, "GET http://u@a/" H11 "\r\n"),
    ROW(400, "GET http:///x" H11 "\r\n"),
    ROW(405, "CONNECT a:1" H11 "\r\n"),
    ROW(501, "FOO /" H11 "\r\n"),
    ROW(501, "get /" H11 "\r\n"),
    ROW(400, "\x16\x03\x01\x02"
             "TLS"),
    ROW(505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ROW(505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ROW(505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    ROW(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ROW(414, "GET /" A64 H11 "\r\n"),
    ROW(414, "GET /" A256 A256 A256 A256),
    /* headers */
    ROW(0, "GET /" H11 "A:\r\nB: \t x \t \r\n\r\n"),
    ROW(0, "GET /" H11 "A: \xff\xfe\r\n\r\n"),
    ROW(0, "GET /" H11 "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    ROW(0, "GET /" H11 "Content_Length: 5\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    ROW(400, "GET /" H11 "A: b\r\n c\r\n\r\n"),
    ROW(400, "GET /" H11 "A:\r\n b\r\n\r\n"),
    ROW(400, "GET /" H11 "A:\r\n\tb\r\n\r\n"),
    ROW(400, "GET /" H11 "A: b\r\n \r\n\r\n"),
    ROW(400, "GET /" H11 ": b\r\n\r\n"),
    ROW(400, "GET /" H11 "A b: c\r\n\r\n"),
    ROW(400, "GET /" H11 "A\tb: c\r\n\r\n"),
    ROW(400, "GET /" H11 "(A): c\r\n\r\n"),
    ROW(400, "GET /" H11 "\xc3\xa4: c\r\n\r\n"),
    ROW(400, "GET /" H11 "NoColon\r\n\r\n"),
    ROW(400, "GET /" H11 "A: b\0c\r\n\r\n"),
    ROW(400, "GET /" H11 "A: b\x01"
             "c\r\n\r\n"),
    ROW(400, "GET /" H11 "A: b\x7f"
             "c\r\n\r\n"),
    ROW(400, "GET /" H11 "A: b\x1b[31m\r\n\r\n"),
    ROW(431, "GET /" H11 "A: " A256 A256 A256 A256 "\r\n\r\n"),
    ROW(431, "GET /" H11 "A:" A256 A256 A256 A256 A256),
    ROW(431, "GET /" H11 "A: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\nF: 1\r\nG: 1\r\nI: 1\r\n\r\n"),
    /* Host */
    ROW(0, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    ROW(0, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a/x\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
    ROW(400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    ROW(400, "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n"),
    /* lengths */
    ROW(0, POST "Content-Length: 3\r\n\r\nabc"),
    ROW(0, POST "Content-Length: 0\r\n\r\n"),
    ROW(0, POST "Content-Length: 003\r\n\r\nabc"),
    ROW(0, "GET /" H11 "Content-Length: 1\r\n\r\nx"),
    ROW(400, POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    ROW(400, POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
    ROW(400, POST "Content-Length: 3, 3\r\n\r\nabc"),
    ROW(400, POST "Content-Length: 3 3\r\n\r\nabc"),
    ROW(400, POST "Content-Length: +3\r\n\r\nabc"),
    ROW(400, POST "Content-Length: -3\r\n\r\nabc"),
    ROW(400, POST "Content-Length: 0x3\r\n\r\nabc"),
    ROW(400, POST "Content-Length:\r\n\r\nabc"),
    ROW(400, POST "Content-Length: 3a\r\n\r\nabc"),
    ROW(400, POST "Content-Length: 18446744073709551616\r\n\r\n"),
    ROW(413, POST "Content-Length: 33\r\n\r\n"),
    ROW(413, POST "Content-Length: 18446744073709551615\r\n\r\n"),
    /* transfer codings */
    ROW(0, CHUNKED "3\r\nabc\r\n0\r\n\r\n"),
    ROW(0, POST "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
    ROW(0, CHUNKED "3;a=b\r\nabc\r\n0\r\nT: x\r\n\r\n"),
    ROW(400, CHUNKED "3;a=b;c\r\nabc\r\n0\r\n\r\n"), /* right, but llhttp 8.1 does not take it */
    ROW(0, CHUNKED "00A\r\n" TEN "\r\na\r\n" TEN "\r\n0\r\n\r\n"),
    ROW(400, POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ROW(400, POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    ROW(400, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ROW(400, POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ROW(400, POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    ROW(400, POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    ROW(400, POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    ROW(400, POST "Transfer-Encoding: \x0b"
                  "chunked\r\n\r\n0\r\n\r\n"),
    ROW(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ROW(501, POST "Transfer-Encoding: gzip\r\n\r\n"),
    ROW(501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ROW(501, POST "Transfer-Encoding: xchunked\r\n\r\n"),
    ROW(501, POST "Transfer-Encoding: identity\r\n\r\n"),
    /* chunks */
    ROW(400, CHUNKED "3\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "3\r\nabc\n0\r\n\r\n"),
    ROW(400, CHUNKED "3\r\nabcX\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "3 \r\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "0x3\r\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "+3\r\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "-3\r\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "1_0\r\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "\r\n3\r\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "fffffffffffffffff\r\nabc"),
    ROW(400, CHUNKED "3;\r\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "3;a\nabc\r\n0\r\n\r\n"),
    ROW(400, CHUNKED "0\r\n\n"),
    ROW(400, CHUNKED "0\r\nT: x\n\r\n"),
    ROW(400, CHUNKED "0\r\nT: x\r\n y\r\n\r\n"),
    ROW(400, CHUNKED "0\n\r\n"),
    ROW(413, CHUNKED "21\r\n"),
    ROW(413, CHUNKED "14\r\n" TEN TEN "\r\n14\r\n"),
    ROW(413, CHUNKED "ffffffffffffffff\r\n"),
    ROW(431, CHUNKED "0\r\nA: " A256 A256 A256 A256 "\r\n\r\n"),
    ROW(431, CHUNKED "0\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\nA:1\r\n\r\n"),
    /* expectations */
    ROW(0, POST "Expect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc"),
    ROW(0, "POST / HTTP/1.0\r\nExpect: magic\r\nContent-Length: 3\r\n\r\nabc"),
    ROW(417, POST "Expect: magic\r\nContent-Length: 3\r\n\r\nabc"),
    ROW(417, POST "Expect: 100-continue, magic\r\nContent-Length: 3\r\n\r\nabc"),
};

static void check_row(const struct row *row, size_t step)
{
    struct parse x;
    begin(&x);
    feed(&x, row->data, row->len, step);
    int status = x.p.phase == WEIR_HTTP_FAILED ? x.p.status : x.p.phase == WEIR_HTTP_DONE ? 0 : -1;
    if (status != row->status || (status == 0 && x.took != row->len) || (status != 0 && x.p.reason == NULL))
        fail_msg("row %d by %zu bytes: %d (%s), took %zu of %zu:\n%s", (int)(row - rows), step, status,
                 x.p.reason != NULL ? x.p.reason : "", x.took, row->len, row->data);
    if (status > 0)
        assert_false(x.p.keep_alive);
    end(&x);
}

static void each_request_gets_its_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&rows[i], SIZE_MAX);
}

static void so_it_does_byte_by_byte_and_in_any_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t step = 1; step <= 7; step++)
            check_row(&rows[i], step);
    }
}

/* ---- what is found ---- */

#define FULL                                                                                                 \
    "PUT /a%20b/c?d=e&f HTTP/1.1\r\nHost: example.com:8080\r\nX-Long-Name:  value with blanks "              \
    "\t\r\nACCEPT: a\r\nCookie: a=1\r\n"                                                                     \
    "Accept: b\r\nEmpty:\r\nCookie: b=2\r\nContent-Length: 5\r\n\r\nhello"

static void expect_header(struct parse *x, const char *name, const char *value)
{
    const struct weir_http_text *t = weir_http_request_header(&x->r, name, strlen(name));
    assert_non_null(t);
    expect_text(*t, value);
}

static void check_full(struct parse *x)
{
    assert_int_equal(x->p.phase, WEIR_HTTP_DONE);
    expect_text(x->r.method, "PUT");
    expect_text(x->r.target, "/a%20b/c?d=e&f");
    expect_text(x->r.path, "/a%20b/c");
    expect_text(x->r.query, "d=e&f");
    expect_text(x->r.remote, "192.0.2.1");
    assert_int_equal(x->r.version_minor, 1);
    assert_int_equal(x->r.header_count, 6);
    expect_header(x, "host", "example.com:8080");
    expect_header(x, "x-long-name", "value with blanks");
    expect_header(x, "accept", "a, b");
    expect_header(x, "cookie", "a=1; b=2");
    expect_header(x, "empty", "");
    assert_null(weir_http_request_header(&x->r, "accep", 5));
    assert_int_equal(x->body.len, 5);
    assert_memory_equal(x->body.data, "hello", 5);
    assert_true(x->p.keep_alive);
    assert_true(x->p.has_length);
    assert_false(x->p.chunked);
}

static void a_request_is_taken_apart(void **state)
{
    (void)state;
    for (size_t step = 1; step <= sizeof FULL; step++) {
        struct parse x;
        begin(&x);
        feed(&x, FULL, sizeof FULL - 1, step);
        check_full(&x);
        end(&x);
    }
}

static void the_absolute_form_has_a_path_of_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *query;
    } cases[] = {
        {"http://a", "/", ""}, {"http://a?x", "/", "x"}, {"HTTP://a:1/b/c?d?e", "/b/c", "d?e"},
        {"/?", "/", ""},       {"//x", "//x", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parse x;
        char text[128];
        begin(&x);
        snprintf(text, sizeof text, "GET %s" H11 "\r\n", cases[i].target);
        feed(&x, text, strlen(text), 3);
        assert_int_equal(x.p.phase, WEIR_HTTP_DONE);
        expect_text(x.r.path, cases[i].path);
        expect_text(x.r.query, cases[i].query);
        end(&x);
    }
}

static void what_follows_a_request_is_left(void **state)
{
    (void)state;
    static const char text[] = "GET /1" H11 "\r\nGET /2" H11 "\r\n";
    static const char body[] = CHUNKED "3\r\nabc\r\n0\r\n\r\nGET /2";
    struct parse x;
    begin(&x);
    feed(&x, text, sizeof text - 1, SIZE_MAX);
    assert_int_equal(x.p.phase, WEIR_HTTP_DONE);
    assert_int_equal(x.took, (sizeof text - 1) / 2);
    assert_int_equal(weir_http_parser_feed(&x.p, "GET", 3), 0);
    end(&x);
    begin(&x);
    feed(&x, body, sizeof body - 1, SIZE_MAX);
    assert_int_equal(x.p.phase, WEIR_HTTP_DONE);
    assert_int_equal(x.took, sizeof body - 1 - 6);
    end(&x);
}

static void keep_alive_follows_version_and_connection(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool keep;
    } cases[] = {
        {"GET /" H11 "\r\n", true},
        {"GET /" H11 "Connection: close\r\n\r\n", false},
        {"GET /" H11 "Connection: x, Close\r\n\r\n", false},
        {"GET /" H11 "Connection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct parse x;
        begin(&x);
        feed(&x, cases[i].text, strlen(cases[i].text), SIZE_MAX);
        assert_int_equal(x.p.phase, WEIR_HTTP_DONE);
        assert_int_equal(x.p.keep_alive, cases[i].keep);
        end(&x);
    }
}

static void the_header_is_a_stop_on_the_way(void **state)
{
    (void)state;
    static const char text[] = POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
    struct parse x;
    begin(&x);
    x.took = weir_http_parser_feed(&x.p, text, sizeof text - 1);
    assert_int_equal(x.p.phase, WEIR_HTTP_BODY);
    assert_int_equal(x.took, sizeof text - 1 - 3);
    assert_true(x.p.wants_continue);
    assert_int_equal(x.p.content_length, 3);
    feed(&x, text, sizeof text - 1, SIZE_MAX);
    assert_int_equal(x.p.phase, WEIR_HTTP_DONE);
    end(&x);
}

static void endless_framing_around_little_body_is_refused(void **state)
{
    (void)state;
    struct parse x;
    begin(&x);
    feed(&x, CHUNKED, sizeof CHUNKED - 1, SIZE_MAX);
    char zeros[1000];
    memset(zeros, '0', sizeof zeros);
    for (int i = 0; i < 100 && !is_over(&x); i++)
        weir_http_parser_feed(&x.p, zeros, sizeof zeros);
    assert_int_equal(x.p.phase, WEIR_HTTP_FAILED);
    assert_int_equal(x.p.status, 400);
    end(&x);
    begin(&x);
    feed(&x, CHUNKED "1;", sizeof CHUNKED + 1, SIZE_MAX);
    memset(zeros, 'x', sizeof zeros);
    for (int i = 0; i < 100 && !is_over(&x); i++)
        weir_http_parser_feed(&x.p, zeros, sizeof zeros);
    assert_int_equal(x.p.status, 413);
    end(&x);
}

static void blank_lines_before_a_request_are_not_endless(void **state)
{
    (void)state;
    struct parse x;
    begin(&x);
    for (int i = 0; i < 2000 && !is_over(&x); i++)
        weir_http_parser_feed(&x.p, "\r\n", 2);
    assert_int_equal(x.p.phase, WEIR_HTTP_FAILED);
    end(&x);
}

static void many_equal_headers_are_joined_in_linear_room(void **state)
{
    (void)state;
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    struct parse x;
    begin(&x);
    x.limits.max_headers = 100;
    x.limits.max_header_bytes = 16 << 10;
    weir_strbuf_adds(&text, "GET /" H11);
    for (int i = 0; i < 99; i++)
        weir_strbuf_addf(&text, "X-A: %0100d\r\n", i);
    weir_strbuf_adds(&text, "\r\n");
    feed(&x, text.data, text.len, 1000);
    assert_int_equal(x.p.phase, WEIR_HTTP_DONE);
    assert_int_equal(x.r.header_count, 2);
    assert_int_equal(x.r.headers[1].value.len, 99 * 102 - 2);
    assert_true(x.p.room.text_cap <= 64 << 10);
    end(&x);
    weir_strbuf_fini(&text);
}

static void no_memory_is_a_503_and_leaks_nothing(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    bool whole = false;
    for (long n = 0; !whole; n++) {
        struct parse x;
        begin(&x);
        weir_mem_fail_after(n);
        size_t took = 0;
        while (took < sizeof FULL - 1 && !is_over(&x))
            took += weir_http_parser_feed(&x.p, FULL + took, sizeof FULL - 1 - took);
        weir_mem_fail_after(-1);
        whole = x.p.phase == WEIR_HTTP_DONE;
        if (!whole)
            assert_int_equal(x.p.status, 503);
        end(&x);
        assert_int_equal(weir_mem_live(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_request_gets_its_status),
        TEST(so_it_does_byte_by_byte_and_in_any_pieces),
        TEST(a_request_is_taken_apart),
        TEST(the_absolute_form_has_a_path_of_its_own),
        TEST(what_follows_a_request_is_left),
        TEST(keep_alive_follows_version_and_connection),
        TEST(the_header_is_a_stop_on_the_way),
        TEST(endless_framing_around_little_body_is_refused),
        TEST(blank_lines_before_a_request_are_not_endless),
        TEST(many_equal_headers_are_joined_in_linear_room),
        TEST(no_memory_is_a_503_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
