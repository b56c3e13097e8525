/* tests/unit/loop_fixture.h - what lives in a worker's loop beside stages: clients, processes, files. The test is the worker's thread and
 * turns its loop; peers are sockets of the test's own in the same process. */
#ifndef WEIR_TESTS_UNIT_LOOP_FIXTURE_H
#define WEIR_TESTS_UNIT_LOOP_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "support.h"

struct bench {
    struct rig *rig;
    struct weir_worker *w;
};

static inline void bench_open(struct bench *b)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}; /* as the program does */
    assert_int_equal(sigaction(SIGPIPE, &ignore, NULL), 0);
    b->rig = rig_create(1, 1);
    rig_pool(b->rig, 0, "main", 1, false);
    rig_stage(b->rig, 0, "only", 0, rig_handled, NULL);
    rig_finish(b->rig);
    b->w = rig_worker(b->rig, 0);
}

static inline void bench_close(struct bench *b)
{
    rig_worker_end(b->w);
    rig_destroy(b->rig);
}

/* Turns the loop until `done`. Fails after 20 s, which only bounds how long a broken build hangs. */
static inline void bench_until(struct bench *b, bool (*done)(void *arg), void *arg)
{
    for (int i = 0; !done(arg); i++) {
        assert_true(i < 20000);
        rig_run(b->w);
        uv_run(&b->w->loop, UV_RUN_NOWAIT);
        if (i > 20) /* the kernel needs its time */
            poll(NULL, 0, 1);
    }
}

static inline void bench_turn(struct bench *b)
{
    rig_run(b->w);
    uv_run(&b->w->loop, UV_RUN_NOWAIT);
}

/* A socket that listens on a free port. */
static inline int peer_listen(int *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); /* so that little fits on the way */
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

struct accepting {
    int listener, fd;
};

static inline bool peer_accepted(void *arg)
{
    struct accepting *a = arg;
    a->fd = accept4(a->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return a->fd >= 0;
}

static inline int peer_accept(struct bench *b, int listener)
{
    struct accepting a = {listener, -1};
    bench_until(b, peer_accepted, &a);
    return a.fd;
}

struct reading {
    int fd;
    const char *until; /* NULL: the end */
    size_t atleast;
    struct weir_strbuf got;
};

static inline bool peer_has_read(void *arg)
{
    struct reading *r = arg;
    char buffer[65536];
    for (;;) {
        if (r->until != NULL && r->got.len > 0 && strstr(r->got.data, r->until) != NULL)
            return true;
        if (r->atleast > 0 && r->got.len >= r->atleast)
            return true;
        ssize_t n = read(r->fd, buffer, sizeof buffer);
        if (n <= 0)
            return n == 0 || errno != EAGAIN;
        weir_strbuf_add(&r->got, buffer, (size_t)n);
    }
}

/* Reads until `until` has come (NULL: the end): to be freed. */
static inline char *peer_read(struct bench *b, int fd, const char *until)
{
    struct reading r = {.fd = fd, .until = until};
    bench_until(b, peer_has_read, &r);
    weir_strbuf_adds(&r.got, "");
    return weir_strbuf_take(&r.got);
}

static inline void peer_write(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Ends the connection so that the other side sees a reset. */
static inline void peer_reset(int fd)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

#endif
