/* tests/unit/tcp_fixture.h - the source tcp with a stage behind it that notes the values it gets, as JSON
 * texts; peers are sockets of the test's own. By hand: one worker, which the test's thread is, and a virtual
 * clock. */
#ifndef WEIR_TESTS_UNIT_TCP_FIXTURE_H
#define WEIR_TESTS_UNIT_TCP_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "config/app.h"
#include "config/types.h"
#include "core/pool.h"
#include "core/stage.h"
#include "core/value_json.h"
#include "io/tcp_conn.h"
#include "io/tcp_sending.h"
#include "io/tcp_source.h"
#include "support.h"

enum { TCP_SOURCE, TCP_BEHIND };

struct tcp_host {
    struct rig *rig;
    struct weir_app *app;
    struct weir_worker *w; /* by hand */
    char bound[80];
    int port;
    struct weir_strbuf got; /* by hand: the values, a line each */
    uint64_t source;        /* of the last event */
    int count;
};

static inline enum weir_reason tcp_note(struct rig_handler *h, struct weir_event *ev)
{
    struct tcp_host *t = h->logic->arg;
    weir_value_json(ev->value, &t->got);
    weir_strbuf_addc(&t->got, '\n');
    t->source = ev->source;
    t->count++;
    return WEIR_REASON_NONE;
}

static inline struct weir_app *tcp_parse(const char *options, struct weir_strbuf *report)
{
    static const struct weir_app_type end = {.name = "null", .kind = WEIR_APP_SINK, .text = "a test"};
    const struct weir_app_type *list[] = {&weir_tcp_source_type, &end};
    const struct weir_app_types types = {.types = list, .count = 2};
    struct weir_app *app = NULL;
    struct weir_err err;
    char yaml[400];
    int n = snprintf(
        yaml, sizeof yaml,
        "weir: 1\nstages:\n  in: {source: tcp, listen: '127.0.0.1:0'%s%s, to: end}\n  end: {sink: 'null'}\n",
        options[0] != '\0' ? ", " : "", options);
    (void)weir_app_parse(yaml, (size_t)n, "weir.yaml", "/", NULL, 0, &types, report, &app,
                         &err); /* the report says it */
    return app;
}

static inline void tcp_open(struct tcp_host *t, const char *options, unsigned workers,
                            enum weir_reason (*fn)(struct rig_handler *h, struct weir_event *ev))
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}; /* as the program does */
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_err err;
    assert_int_equal(sigaction(SIGPIPE, &ignore, NULL), 0);
    *t = (struct tcp_host){.app = tcp_parse(options, &report)};
    if (report.len > 0)
        fail_msg("%s", report.data);
    weir_strbuf_fini(&report);
    t->rig = rig_create(2, 1);
    rig_pool(t->rig, 0, "main", workers, false);
    struct weir_stage *in = rig_stage_defaults(t->rig, TCP_SOURCE, "in", 0);
    in->kind = WEIR_STAGE_SOURCE;
    struct weir_stage *behind = rig_stage(t->rig, TCP_BEHIND, "behind", 0, fn, t);
    behind->queue.capacity = 8;
    behind->queue.overflow.policy = WEIR_OVERFLOW_WAIT;
    behind->queue.keys.by = WEIR_BY_SOURCE; /* as host/config makes it */
    if (weir_tcp_source_open(in, t->app->stages[0].options, &in->source, t->bound, sizeof t->bound, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(sscanf(t->bound, "tcp://127.0.0.1:%d", &t->port), 1);
    rig_wire_one(t->rig, TCP_SOURCE, "out", TCP_BEHIND);
    rig_finish(t->rig);
}

static inline struct weir_source *tcp_source(struct tcp_host *t)
{
    return t->w->seats[TCP_SOURCE]->source;
}

static inline void tcp_open_by_hand(struct tcp_host *t, const char *options)
{
    struct weir_err err;
    tcp_open(t, options, 1, tcp_note);
    t->w = rig_worker(t->rig, 0);
    assert_int_equal(tcp_source(t)->ops->start(tcp_source(t), &err), WEIR_OK);
}

/* The loop, without the stages: nobody takes events from the queue. */
static inline void tcp_poll(struct tcp_host *t)
{
    for (int i = 0; i < 5; i++)
        uv_run(&t->w->loop, UV_RUN_NOWAIT);
}

static inline void tcp_turn(struct tcp_host *t)
{
    uv_run(&t->w->loop, UV_RUN_NOWAIT);
    rig_run(t->w);
}

/* Turns until `done` says so. What it waits for are the kernel's doings; 20 s bound how long a broken build
 * hangs. */
static inline void tcp_until(struct tcp_host *t, bool (*done)(struct tcp_host *t, void *arg), void *arg)
{
    for (int i = 0; !done(t, arg); i++) {
        if (i == 20000)
            fail_msg("it never came; so far: %s", t->got.len > 0 ? t->got.data : "nothing");
        tcp_turn(t);
        if (!done(t, arg))
            poll(NULL, 0, 1);
    }
}

static inline bool tcp_has_count(struct tcp_host *t, void *arg)
{
    return t->count >= *(int *)arg;
}

static inline void tcp_expect(struct tcp_host *t, int count, const char *values)
{
    tcp_until(t, tcp_has_count, &count);
    tcp_turn(t);
    assert_string_equal(t->got.data, values);
    t->count = 0;
    weir_strbuf_clear(&t->got);
}

static inline void tcp_close(struct tcp_host *t)
{
    tcp_source(t)->ops->stop(tcp_source(t));
    rig_run(t->w);
    tcp_source(t)->ops->close(tcp_source(t));
    rig_run(t->w);
    tcp_poll(t);
    rig_worker_end(t->w);
    rig_destroy(t->rig);
    weir_app_free(t->app);
    weir_strbuf_fini(&t->got);
}

static inline long tcp_stat(const struct tcp_host *t, const char *name)
{
    const struct weir_source_maker *m = &t->rig->g->stages[TCP_SOURCE].source;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    char key[40];
    long n = -1;
    m->stats(m->self, &out);
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(out.data, key);
    assert_non_null(at);
    assert_int_equal(sscanf(at + strlen(key), "%ld", &n), 1);
    weir_strbuf_fini(&out);
    return n;
}

/* ---- peers ---- */

static inline int peer_connect(const struct tcp_host *t)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)t->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); /* so that little fits on the way */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static inline void peer_say(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, 0), len);
}

static inline void peer_says(int fd, const char *text)
{
    peer_say(fd, text, strlen(text));
}

/* Ends the connection so that the other side sees a reset. */
static inline void peer_reset(int fd)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

struct peer_reading {
    int fd;
    size_t atleast; /* 0: to the end */
    struct weir_strbuf got;
    int error; /* at the end: 0, or ECONNRESET */
    bool ended;
};

static inline bool peer_has_read(struct tcp_host *t, void *arg)
{
    struct peer_reading *r = arg;
    char buffer[65536];
    (void)t;
    while (!r->ended && (r->atleast == 0 || r->got.len < r->atleast)) {
        ssize_t n = recv(r->fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN)
            return false;
        r->ended = n <= 0;
        r->error = n < 0 ? errno : 0;
        if (n > 0)
            weir_strbuf_add(&r->got, buffer, (size_t)n);
    }
    return true;
}

#endif
