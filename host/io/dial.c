#include "io/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/file_threads.h"

enum { WHY_MAX = 320 };

struct weir_dial {
    uv_loop_t *loop;
    int type;
    struct weir_address to;
    weir_dial_done_fn *done; /* NULL: given up, or it was called */
    void *arg;
    uv_getaddrinfo_t lookup;
    struct addrinfo *found, *at; /* found: to be freed */
    uv_timer_t timer;            /* the time-out, or what is told in the next turn */
    uv_poll_t poll;
    bool looking;     /* the look-up is under way */
    bool polling;     /* poll is open */
    unsigned holders; /* open handles, and the look-up: the last frees it */
    int fd;           /* being connected; -1: none */
    int code;         /* of the last failure: a negative uv code */
    char why[WHY_MAX];
};

static void release(struct weir_dial *d)
{
    if (--d->holders > 0)
        return;
    if (d->found != NULL)
        freeaddrinfo(d->found);
    weir_free(d);
}

static void on_timer_closed(uv_handle_t *timer)
{
    release(timer->data);
}

static void try_next(struct weir_dial *d);

/* ---- the end ---- */

/* The socket stays open when `fd` is given away. */
static void stop(struct weir_dial *d)
{
    d->done = NULL;
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
    if (d->polling)
        uv_close((uv_handle_t *)&d->poll, on_timer_closed);
    d->polling = false;
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
    if (d->looking)
        (void)uv_cancel((uv_req_t *)&d->lookup); /* fails once a thread has begun it: then it is waited for */
}

static void tell(struct weir_dial *d, int fd)
{
    weir_dial_done_fn *done = d->done;
    void *arg = d->arg;
    int code = fd >= 0 ? 0 : d->code;
    char why[WHY_MAX];
    memcpy(why, d->why, sizeof why);
    d->fd = -1; /* else stop would close it */
    stop(d);
    done(arg, fd, code, why);
}

void weir_dial_cancel(struct weir_dial *d)
{
    stop(d);
}

static void on_time_out(uv_timer_t *timer)
{
    struct weir_dial *d = timer->data;
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
    d->code = UV_ETIMEDOUT;
    snprintf(d->why, sizeof d->why, "no answer in time");
    tell(d, -1);
}

static void on_ready(uv_timer_t *timer)
{
    struct weir_dial *d = timer->data;
    tell(d, d->fd);
}

/* In the next turn, not here: the caller of weir_dial_start may not know the dial yet. */
static void tell_soon(struct weir_dial *d)
{
    uv_timer_start(&d->timer, on_ready, 0, 0);
}

/* ---- connecting ---- */

static void on_poll_closed(uv_handle_t *poll)
{
    struct weir_dial *d = poll->data;
    if (d->done != NULL)
        try_next(d); /* the handle is free for the next address */
    release(d);
}

static void note_errno(struct weir_dial *d, int error)
{
    d->code = -error;
    snprintf(d->why, sizeof d->why, "%s", strerror(error));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct weir_dial *d = poll->data;
    int error = 0;
    socklen_t len = sizeof error;
    (void)events; /* writable or broken: the socket says which; libuv says EBADF of all that is broken */
    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error == 0 && status < 0)
        error = -status;
    if (error == 0) {
        tell(d, d->fd);
        return;
    }
    note_errno(d, error);
    close(d->fd);
    d->fd = -1;
    d->polling = false;
    uv_close((uv_handle_t *)poll, on_poll_closed);
}

static void wait_for_connection(struct weir_dial *d)
{
    int rc = uv_poll_init(d->loop, &d->poll, d->fd);
    if (rc == 0) {
        d->poll.data = d;
        d->polling = true;
        d->holders++;
        rc = uv_poll_start(&d->poll, UV_WRITABLE, on_poll);
    }
    if (rc < 0) {
        d->code = rc;
        snprintf(d->why, sizeof d->why, "%s", uv_strerror(rc));
        close(d->fd);
        d->fd = -1;
        tell_soon(d);
    }
}

static bool connect_to(struct weir_dial *d, int family, const struct sockaddr *sa, socklen_t len)
{
    int on = 1;
    d->fd = socket(family, d->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0) {
        note_errno(d, errno);
        return false;
    }
    if (d->type == SOCK_STREAM && family != AF_UNIX) {
        setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(d->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    if (connect(d->fd, sa, len) == 0) {
        tell_soon(d);
        return true;
    }
    if (errno == EINPROGRESS) {
        wait_for_connection(d);
        return true;
    }
    note_errno(d, errno); /* of a unix socket EAGAIN says that its backlog is full: as good as refused */
    close(d->fd);
    d->fd = -1;
    return false;
}

static void try_next(struct weir_dial *d)
{
    while (d->at != NULL) {
        const struct addrinfo *a = d->at;
        d->at = a->ai_next;
        if (connect_to(d, a->ai_family, a->ai_addr, a->ai_addrlen))
            return;
    }
    tell_soon(d);
}

static void connect_unix(struct weir_dial *d)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(d->to.host);
    if (len >= sizeof un.sun_path) {
        note_errno(d, ENAMETOOLONG);
        tell_soon(d);
        return;
    }
    memcpy(un.sun_path, d->to.host, len);
    bool abstract = un.sun_path[0] == '@';
    if (abstract)
        un.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (abstract ? 0 : 1));
    if (!connect_to(d, AF_UNIX, (const struct sockaddr *)&un, size))
        tell_soon(d);
}

/* ---- looking up ---- */

static void on_found(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct weir_dial *d = lookup->data;
    weir_file_threads_end();
    d->looking = false;
    d->found = d->at = found;
    d->code = status;
    if (status < 0)
        snprintf(d->why, sizeof d->why, "the look-up of '%.200s' failed: %s", d->to.host,
                 uv_strerror(status));
    if (d->done != NULL)
        try_next(d);
    release(d);
}

static void look_up(struct weir_dial *d)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICSERV | AI_NUMERICHOST, .ai_socktype = d->type};
    const char *host = d->to.host[0] != '\0' ? d->to.host : "127.0.0.1"; /* ":8080" is this machine */
    char port[8];
    snprintf(port, sizeof port, "%u", d->to.port);
    if (getaddrinfo(host, port, &hints, &d->found) == 0) { /* a number: no look-up, no thread */
        d->at = d->found;
        try_next(d);
        return;
    }
    d->found = NULL;
    hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
    d->lookup.data = d;
    int rc = uv_getaddrinfo(d->loop, &d->lookup, on_found, host, port, &hints);
    if (rc == 0) {
        weir_file_threads_begin();
        d->looking = true;
        d->holders++;
        return;
    }
    d->code = rc;
    snprintf(d->why, sizeof d->why, "%s", uv_strerror(rc));
    tell_soon(d);
}

int weir_dial_start(uv_loop_t *loop, const struct weir_address *to, int type, uint64_t timeout_ns,
                    weir_dial_done_fn *done, void *arg, struct weir_dial **ret, struct weir_err *reterr)
{
    struct weir_dial *d = weir_calloc(1, sizeof *d);
    if (d == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    d->loop = loop;
    d->to = *to;
    d->type = type;
    d->done = done;
    d->arg = arg;
    d->fd = -1;
    d->holders = 1;
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    uv_timer_start(&d->timer, on_time_out, (timeout_ns + WEIR_NS_PER_MS - 1) / WEIR_NS_PER_MS, 0);
    if (to->is_unix)
        connect_unix(d);
    else
        look_up(d);
    *ret = d;
    return WEIR_OK;
}
