/* tests/unit/http_fixture.h - an HTTP source in a rig, with handlers that do what the path says, and
 * clients on plain sockets.
 *
 *   web (source, pool 0) ──> local (pool 0) ──> far (pool 1)
 *
 * Paths: /hello · /echo · /none (no answer) · /fail · /slow (200 ms, then no answer) · /big (4 MiB) ·
 * /stream/N (N KiB in pieces of 1 KiB) · /read (streamed body: its length) · /early (answers without reading
 * the body) · /file/PATH · /owner (index of its connection's worker) · /block/… the same after keeping the
 * worker for BLOCK_MS · /far/… the same on another pool's worker. */
#ifndef WEIR_TESTS_UNIT_HTTP_FIXTURE_H
#define WEIR_TESTS_UNIT_HTTP_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "config/app.h"
#include "config/types.h"
#include "core/pool.h"
#include "io/http_request.h"
#include "io/http_source.h"
#include "support.h"

enum { BIG = 4 << 20, BLOCK_MS = 1700 };

struct site {
    struct rig *rig;
    struct weir_app *app; /* holds the options */
    struct weir_source_maker maker;
    struct rig_feed feed; /* rig_source wants one */
    char bound[200];
    char folder[64]; /* what /file/ serves */
    _Atomic int stream_rc, streams_ended;
};

/* ---- handlers ---- */

struct writer {
    struct weir_http_wait wait;
    struct weir_http_stream *stream;
    struct site *site;
    size_t left;
};

static inline void write_on(struct writer *w);

static inline void on_room(struct weir_http_wait *wait, int rc, const void *data, size_t len)
{
    struct writer *w = (struct writer *)(void *)wait;
    (void)data, (void)len;
    if (rc == WEIR_OK) {
        write_on(w);
        return;
    }
    atomic_store(&w->site->stream_rc, rc);
    weir_http_stream_close(w->stream, false);
    atomic_fetch_add(&w->site->streams_ended, 1);
    weir_free(w);
}

static inline void write_on(struct writer *w)
{
    char piece[1024];
    int rc = WEIR_OK;
    memset(piece, 'x', sizeof piece);
    while (w->left > 0 && rc == WEIR_OK) {
        rc = weir_http_stream_write(w->stream, piece, sizeof piece, &w->wait);
        w->left--;
    }
    if (rc == WEIR_E_FULL)
        return; /* on_room follows */
    atomic_store(&w->site->stream_rc, rc);
    weir_http_stream_close(w->stream, rc == WEIR_OK);
    atomic_fetch_add(&w->site->streams_ended, 1);
    weir_free(w);
}

struct reader {
    struct weir_http_wait wait;
    struct weir_http_request *r;
    struct weir_worker *w;
    size_t seen;
};

static inline void on_piece(struct weir_http_wait *wait, int rc, const void *data, size_t len)
{
    struct reader *reader = (struct reader *)(void *)wait;
    char text[64];
    (void)data;
    reader->seen += len;
    if (rc == WEIR_OK && len > 0) {
        weir_http_read(reader->r, reader->w, wait);
        return;
    }
    int n =
        snprintf(text, sizeof text, "%zu %s\n", reader->seen, rc == WEIR_OK ? "whole" : weir_err_name(rc));
    weir_http_reply(reader->r, reader->w, rc == WEIR_OK ? 200 : 400, NULL, 0, text, (size_t)n);
    weir_free(reader);
}

static inline bool is_path(const struct weir_http_text *path, const char *prefix)
{
    return path->len >= strlen(prefix) && memcmp(path->data, prefix, strlen(prefix)) == 0;
}

static const struct weir_http_header plain[] = {{{"Content-Type", 12}, {"text/plain", 10}}};

static inline void start_stream(struct site *site, struct weir_http_request *r, struct weir_worker *w,
                                const char *size)
{
    struct writer *writer = weir_calloc(1, sizeof *writer);
    assert_non_null(writer);
    writer->wait.done = on_room;
    writer->site = site;
    writer->left = (size_t)strtoul(size, NULL, 10);
    writer->stream = weir_http_start(r, w, 200, plain, 1);
    assert_non_null(writer->stream);
    write_on(writer);
}

static inline void start_reading(struct weir_http_request *r, struct weir_worker *w)
{
    struct reader *reader = weir_calloc(1, sizeof *reader);
    assert_non_null(reader);
    reader->wait.done = on_piece;
    reader->r = r;
    reader->w = w;
    weir_http_read(r, w, &reader->wait);
}

static inline void answer_big(struct weir_http_request *r, struct weir_worker *w)
{
    char *big = weir_malloc(BIG);
    assert_non_null(big);
    memset(big, 'y', BIG);
    weir_http_reply(r, w, 200, plain, 1, big, BIG);
    weir_free(big);
}

static inline enum weir_reason answer(struct rig_handler *h, struct weir_event *ev)
{
    struct site *site = h->logic->arg;
    struct weir_worker *w = h->h.seat->worker;
    struct weir_http_request *r = weir_http_request_of(ev->request);
    struct weir_http_text path = r->path;
    char rest[256];
    if (is_path(&path, "/far/")) {
        if (h->h.seat->stage->port_count > 0)
            return rig_forwarded(h, ev);
        path = (struct weir_http_text){path.data + 4, path.len - 4};
    }
    if (is_path(&path, "/block/")) {
        struct timespec pause = {.tv_sec = BLOCK_MS / 1000, .tv_nsec = BLOCK_MS % 1000 * 1000000L};
        nanosleep(&pause, NULL);
        path = (struct weir_http_text){path.data + 6, path.len - 6};
    }
    if (is_path(&path, "/fail"))
        return WEIR_REASON_ERROR;
    if (is_path(&path, "/none"))
        return WEIR_REASON_NONE;
    if (is_path(&path, "/slow"))
        return rig_keep(h, ev, 200 * WEIR_NS_PER_MS);
    ev->request = NULL; /* from here on it is answered */
    if (is_path(&path, "/echo")) {
        weir_http_reply(r, w, 200, plain, 1, r->body.data, r->body.len);
    } else if (is_path(&path, "/owner")) {
        int n = snprintf(rest, sizeof rest, "%u", (unsigned)(ev->source >> 48) - 1);
        weir_http_reply(r, w, 200, plain, 1, rest, (size_t)n);
    } else if (is_path(&path, "/big")) {
        answer_big(r, w);
    } else if (is_path(&path, "/read")) {
        start_reading(r, w);
    } else if (is_path(&path, "/stream/")) {
        snprintf(rest, sizeof rest, "%.*s", (int)(path.len - 8), path.data + 8);
        start_stream(site, r, w, rest);
    } else if (is_path(&path, "/file/")) {
        snprintf(rest, sizeof rest, "%.*s", (int)(path.len - 6), path.data + 6);
        weir_http_reply_file(r, w, 200, NULL, 0, site->folder, rest);
    } else {
        weir_http_reply(r, w, is_path(&path, "/empty") ? 204 : 200, plain, 1, "hello\n", 6);
    }
    return WEIR_REASON_NONE;
}

/* ---- the site ---- */

static const struct weir_app_type null_sink = {.name = "null", .kind = WEIR_APP_SINK, .text = "ends events"};
static const struct weir_app_type *const type_list[] = {&weir_http_source_type, &null_sink};
static const struct weir_app_types types = {.types = type_list, .count = 2};

static inline void parse_options(struct site *s, const char *options)
{
    char yaml[1024];
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_err err = {0};
    int n =
        snprintf(yaml, sizeof yaml,
                 "weir: 1\nstages:\n  web: {source: http, to: end, %s}\n  end: {sink: 'null'}\n", options);
    if (weir_app_parse(yaml, (size_t)n, "weir.yaml", "/", NULL, 0, &types, &report, &s->app, &err) < 0)
        fail_msg("%s\n%s", err.text, report.data);
    weir_strbuf_fini(&report);
}

/* `options` as in YAML: "listen: '127.0.0.1:0', body: stream". `workers` in each pool. */
static inline void site_start(struct site *s, const char *options, unsigned workers)
{
    struct weir_err err = {0};
    memset(s, 0, sizeof *s);
    parse_options(s, options);
    struct rig *r = s->rig = rig_create(3, 2);
    rig_pool(r, 0, "main", workers, false);
    rig_pool(r, 1, "far", 1, false);
    struct weir_stage *web = rig_source(r, 0, "web", 0, &s->feed);
    rig_stage(r, 1, "local", 0, answer, s);
    rig_stage(r, 2, "far", 1, answer, s);
    rig_wire_one(r, 0, "out", 1);
    rig_wire_one(r, 1, "out", 2);
    if (weir_http_source_open(web, s->app->stages[0].options, &s->maker, s->bound, sizeof s->bound, &err) < 0)
        fail_msg("%s", err.text);
    web->source = s->maker;
}

static inline void site_run(struct site *s)
{
    rig_finish(s->rig);
    rig_start(s->rig);
}

static inline void site_stop(struct site *s)
{
    rig_drain(s->rig);
    rig_stop(s->rig);
    rig_destroy(s->rig);
    weir_app_free(s->app);
}

static inline unsigned long long site_count(struct site *s, const char *name)
{
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    char key[64];
    s->maker.stats(s->maker.self, &out);
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(out.data, key);
    assert_non_null(at);
    unsigned long long n = strtoull(at + strlen(key), NULL, 10);
    weir_strbuf_fini(&out);
    return n;
}

/* ---- clients ---- */

static inline int dial(struct site *s)
{
    if (strncmp(s->bound, "unix:", 5) == 0) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        snprintf(un.sun_path, sizeof un.sun_path, "%.100s", s->bound + 5);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
        return fd;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)strtoul(strrchr(s->bound, ':') + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* One read, at most 5 s. 0: the end; -1: reset. */
static inline ssize_t hear(int fd, char *buffer, size_t size)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, 5000) != 1)
        fail_msg("nothing came for 5 s");
    return recv(fd, buffer, size, 0);
}

struct answer {
    int status;
    char head[2048];
    struct weir_strbuf body;
    bool whole; /* as its framing says */
};

static inline size_t head_length(const struct weir_strbuf *b)
{
    const char *end = b->len > 0 ? memmem(b->data, b->len, "\r\n\r\n", 4) : NULL;
    return end != NULL ? (size_t)(end - b->data) + 4 : 0;
}

static inline bool add_chunk(struct weir_strbuf *in, struct weir_strbuf *out, bool *last)
{
    const char *line = in->len > 0 ? memmem(in->data, in->len, "\r\n", 2) : NULL;
    if (line == NULL)
        return false;
    size_t size = strtoul(in->data, NULL, 16), head = (size_t)(line - in->data) + 2;
    if (in->len < head + size + 2)
        return false;
    weir_strbuf_add(out, in->data + head, size);
    weir_strbuf_consume(in, head + size + 2);
    *last = size == 0;
    return true;
}

static inline void read_more(int fd, struct weir_strbuf *b, bool *ended)
{
    char buffer[65536];
    ssize_t n = hear(fd, buffer, sizeof buffer);
    *ended = n <= 0;
    if (n > 0)
        weir_strbuf_add(b, buffer, (size_t)n);
}

/* Reads one answer; what follows it stays in `b`, which is kept between calls. `bodiless`: to HEAD. */
static inline void get_answer(int fd, struct weir_strbuf *b, struct answer *a, bool bodiless)
{
    bool ended = false, last = false;
    memset(a, 0, sizeof *a);
    while (head_length(b) == 0 && !ended)
        read_more(fd, b, &ended);
    size_t head = head_length(b);
    if (head == 0)
        return;
    assert_true(head < sizeof a->head);
    memcpy(a->head, b->data, head);
    a->status = (int)strtol(a->head + 9, NULL, 10);
    weir_strbuf_consume(b, head);
    const char *length = strcasestr(a->head, "\r\ncontent-length:");
    bool chunked = strcasestr(a->head, "\r\ntransfer-encoding: chunked") != NULL;
    bool none = bodiless || a->status == 204 || a->status == 304 || a->status == 100;
    if (none) {
        a->whole = true;
    } else if (chunked) {
        while (!last) {
            if (add_chunk(b, &a->body, &last))
                continue;
            if (ended)
                break;
            read_more(fd, b, &ended);
        }
        a->whole = last;
    } else {
        size_t want = length != NULL ? strtoul(length + 17, NULL, 10) : SIZE_MAX;
        while (b->len < want && !ended)
            read_more(fd, b, &ended);
        size_t n = b->len < want ? b->len : want;
        weir_strbuf_add(&a->body, b->data, n);
        weir_strbuf_consume(b, n);
        a->whole = length == NULL || n == want;
    }
}

/* Sends `text` on a connection of its own and reads one answer. */
static inline struct answer ask(struct site *s, const char *text)
{
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    struct answer a;
    int fd = dial(s);
    say(fd, text);
    get_answer(fd, &b, &a, strncmp(text, "HEAD", 4) == 0);
    close(fd);
    weir_strbuf_fini(&b);
    return a;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static inline void expect_status(struct site *s, const char *text, int status)
{
    struct answer a = ask(s, text);
    if (a.status != status)
        fail_msg("%.60s: %d instead of %d", text, a.status, status);
    weir_strbuf_fini(&a.body);
}

struct until {
    struct site *site;
    const char *name;
    unsigned long long n;
};

static inline bool has_counted(void *arg)
{
    struct until *u = arg;
    return site_count(u->site, u->name) >= u->n;
}

/* Waits until the source has counted `n` of `name`. */
static inline void wait_count(struct site *s, const char *name, unsigned long long n)
{
    struct until u = {s, name, n};
    rig_wait(s->rig, has_counted, &u);
}

#endif
