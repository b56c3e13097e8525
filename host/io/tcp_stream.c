#include "io/tcp_stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/address.h"
#include "core/worker.h"
#include "io/dial.h"
#include "io/tls.h"

enum { READ_LEAST = 4 << 10, READ_STEP = (16 << 10) - 1, READS_PER_POLL = 8, KEEP = 2 * WEIR_TCP_STREAM_AHEAD_MAX };

static void update(struct weir_tcp_stream *s);

static void fail(struct weir_tcp_stream *s, ssize_t rc)
{
    char why[WEIR_TRANSPORT_WHY_MAX];
    s->state = WEIR_TCP_STREAM_FAILED;
    s->code = weir_transport_code(&s->t, (int)rc);
    snprintf(s->why, sizeof s->why, "%s", weir_transport_why(&s->t, (int)rc, why));
}

/* --- memory --- */

/* What the buffers have is what is held: nothing when they are empty, as most of the time. */
static void settle(struct weir_tcp_stream *s)
{
    if (s->in.len == 0)
        weir_strbuf_fini(&s->in);
    else if (s->in.cap > KEEP && s->in.len < s->in.cap / 4)
        (void)weir_strbuf_resize(&s->in, s->in.len + 1); /* making smaller never fails */
    if (s->out.len == 0)
        weir_strbuf_fini(&s->out);
    (void)weir_holder_hold(s->holder, s->in.cap + s->out.cap); /* nor is less refused */
}

/* Room for what comes; false: something is new. */
static bool reserve(struct weir_tcp_stream *s)
{
    bool enough = s->in.cap - s->in.len > READ_LEAST;
    if (enough || weir_holder_reserve(s->holder, &s->in, READ_STEP, s->out.cap))
        return true;
    if (s->in.failed)
        fail(s, -ENOMEM);
    else
        s->refused = true;
    return false;
}

/* --- moving bytes; each returns whether something is new --- */

static bool read_some(struct weir_tcp_stream *s)
{
    bool news = false;
    for (int i = 0; i < READS_PER_POLL && !s->eof && s->in.len < s->ahead_max; i++) {
        if (!reserve(s))
            return true;
        ssize_t n = weir_transport_read(&s->t, s->in.data + s->in.len, s->in.cap - s->in.len - 1);
        if (n == -EAGAIN)
            return news;
        if (n < 0) {
            fail(s, n);
            return true;
        }
        news = true;
        s->eof = n == 0;
        s->truncated = s->eof && weir_transport_truncated(&s->t);
        s->in.len += (size_t)n;
    }
    return news;
}

static bool write_some(struct weir_tcp_stream *s)
{
    bool news = false;
    while (s->out.len > 0) {
        ssize_t n = weir_transport_send(&s->t, s->out.data, s->out.len);
        if (n == -EAGAIN)
            return news;
        if (n < 0) {
            fail(s, n);
            return true;
        }
        weir_strbuf_consume(&s->out, (size_t)n);
        news = true;
    }
    if (s->shut_wanted)
        (void)weir_transport_shutdown(&s->t); /* what can't be said now is said by closing */
    return news;
}

static bool shake_hands(struct weir_tcp_stream *s)
{
    int rc = weir_transport_handshake(&s->t);
    if (rc == -EAGAIN)
        return false;
    if (rc < 0)
        fail(s, rc);
    else
        s->state = WEIR_TCP_STREAM_UP;
    return true;
}

static void move(struct weir_tcp_stream *s)
{
    bool news = false;
    weir_worker_now(s->worker);
    if (s->state == WEIR_TCP_STREAM_HANDSHAKE)
        news = shake_hands(s);
    if (s->state == WEIR_TCP_STREAM_UP)
        news |= write_some(s);
    if (s->state == WEIR_TCP_STREAM_UP && !s->refused)
        news |= read_some(s);
    settle(s);
    update(s);
    if (news)
        s->progress(s); /* may close it */
}

/* --- the loop --- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct weir_tcp_stream *s = poll->data;
    (void)events;
    if (status < 0)
        s->polled = 0; /* libuv has stopped it; what is wrong the socket says itself */
    move(s);
}

static void on_again(uv_idle_t *idle)
{
    struct weir_tcp_stream *s = idle->data;
    bool nudged = s->nudged;
    s->nudged = false;
    if (nudged) {
        update(s);
        s->progress(s); /* may close it */
    } else {
        move(s);
    }
}

/* Polls for what is wanted, and for nothing when nothing is. */
static void update(struct weir_tcp_stream *s)
{
    int events = 0;
    bool reads = s->state == WEIR_TCP_STREAM_UP && !s->eof && !s->refused && s->in.len < s->ahead_max;
    if (s->closing || !s->opened)
        return;
    if (s->state == WEIR_TCP_STREAM_HANDSHAKE)
        events = weir_transport_polls_for_read(&s->t);
    if (reads)
        events |= weir_transport_polls_for_read(&s->t);
    if (s->state == WEIR_TCP_STREAM_UP && s->out.len > 0)
        events |= weir_transport_polls_for_write(&s->t);
    if (s->nudged || (reads && weir_transport_pending(&s->t)))
        uv_idle_start(&s->again, on_again);
    else
        uv_idle_stop(&s->again);
    if (events == s->polled)
        return; /* starting it again would cost two system calls */
    s->polled = events;
    if (events != 0)
        uv_poll_start(&s->poll, events, on_poll);
    else
        uv_poll_stop(&s->poll);
}

static void release(struct weir_tcp_stream *s)
{
    if (--s->handles > 0)
        return;
    weir_tls_client_unref(s->tls);
    weir_free(s->name);
    weir_free(s);
}

static void on_closed(uv_handle_t *handle)
{
    release(handle->data);
}

/* --- connecting --- */

static int start_transport(struct weir_tcp_stream *s, int fd)
{
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* a unix socket has no such thing */
    s->state = WEIR_TCP_STREAM_UP;
    weir_transport_init(&s->t, fd);
    if (s->tls != NULL) {
        int rc = weir_tls_client_connect(s->tls, fd, s->name, &s->t);
        if (rc < 0)
            return rc;
        s->state = WEIR_TCP_STREAM_HANDSHAKE;
    }
    int rc = uv_poll_init(&s->worker->loop, &s->poll, fd);
    if (rc < 0)
        return WEIR_E_IO;
    s->poll.data = s;
    s->opened = true;
    s->handles++;
    return WEIR_OK;
}

static void on_dialed(void *arg, int fd, int code, const char *why)
{
    struct weir_tcp_stream *s = arg;
    s->dial = NULL;
    if (fd < 0) {
        s->state = WEIR_TCP_STREAM_FAILED;
        s->code = code == UV_EAI_NONAME || code == UV_EAI_NODATA || code == UV_EAI_AGAIN ? "ENOTFOUND" : uv_err_name(code);
        snprintf(s->why, sizeof s->why, "%s", why);
        s->progress(s);
        return;
    }
    int rc = start_transport(s, fd);
    if (rc != WEIR_OK)
        fail(s, rc == WEIR_E_INVAL ? -EINVAL : -ENOMEM);
    if (s->state == WEIR_TCP_STREAM_HANDSHAKE)
        move(s);
    else {
        update(s);
        s->progress(s);
    }
}

int weir_tcp_stream_open(struct weir_worker *w, const struct weir_address *to, struct weir_tls_client *tls, const char *name,
                         uint64_t timeout_ns, void (*progress)(struct weir_tcp_stream *s), void *arg, struct weir_tcp_stream **ret,
                         struct weir_err *reterr)
{
    struct weir_tcp_stream *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    s->progress = progress;
    s->arg = arg;
    s->worker = w;
    s->t.fd = -1;
    s->ahead_max = WEIR_TCP_STREAM_AHEAD_MAX;
    s->tls = tls != NULL ? weir_tls_client_ref(tls) : NULL;
    s->name = name != NULL ? weir_strdup(name) : NULL;
    s->handles = 1;
    uv_idle_init(&w->loop, &s->again);
    s->again.data = s;
    int rc = name != NULL && s->name == NULL
                 ? weir_err_set(reterr, WEIR_E_NOMEM, "out of memory")
                 : weir_dial_start(&w->loop, to, SOCK_STREAM, timeout_ns, on_dialed, s, &s->dial, reterr);
    if (rc < 0) {
        weir_tcp_stream_close(s);
        return rc;
    }
    *ret = s;
    return WEIR_OK;
}

/* --- its user --- */

void weir_tcp_stream_read_on(struct weir_tcp_stream *s)
{
    s->refused = false;
    settle(s);
    if (s->opened)
        update(s);
}

void weir_tcp_stream_nudge(struct weir_tcp_stream *s)
{
    s->nudged = true;
    uv_idle_start(&s->again, on_again);
}

/* Sends the beginning of `data`, past what waits already; returns how much. */
static size_t send_now(struct weir_tcp_stream *s, const char *data, size_t len)
{
    size_t sent = 0;
    while (s->state == WEIR_TCP_STREAM_UP && s->out.len == 0 && sent < len) {
        ssize_t n = weir_transport_send(&s->t, data + sent, len - sent);
        if (n == -EAGAIN)
            break;
        if (n < 0)
            fail(s, n);
        else
            sent += (size_t)n;
    }
    return sent;
}

int weir_tcp_stream_write(struct weir_tcp_stream *s, const void *data, size_t len)
{
    if (s->state == WEIR_TCP_STREAM_FAILED)
        return WEIR_E_CLOSED;
    if (!weir_holder_hold(s->holder, s->in.cap + s->out.cap + len + 1)) /* all of it, before any of it is sent */
        return WEIR_E_LIMIT;
    size_t sent = send_now(s, data, len);
    if (s->state != WEIR_TCP_STREAM_FAILED && sent < len) {
        if (weir_holder_reserve(s->holder, &s->out, len - sent, s->in.cap)) /* no more than what is held already */
            weir_strbuf_add(&s->out, (const char *)data + sent, len - sent);
        else
            fail(s, -ENOMEM);
    }
    settle(s);
    update(s);
    return s->state == WEIR_TCP_STREAM_FAILED ? WEIR_E_CLOSED : WEIR_OK;
}

void weir_tcp_stream_shutdown(struct weir_tcp_stream *s)
{
    s->shut_wanted = true;
    if (s->state == WEIR_TCP_STREAM_UP && s->out.len == 0)
        write_some(s);
}

void weir_tcp_stream_close(struct weir_tcp_stream *s)
{
    if (s == NULL)
        return;
    s->closing = true;
    if (s->dial != NULL)
        weir_dial_cancel(s->dial);
    s->dial = NULL;
    if (s->opened)
        uv_close((uv_handle_t *)&s->poll, on_closed); /* before the descriptor */
    if (s->t.fd >= 0)
        weir_transport_close(&s->t, s->state != WEIR_TCP_STREAM_UP || s->out.len > 0);
    weir_strbuf_fini(&s->in);
    weir_strbuf_fini(&s->out);
    uv_close((uv_handle_t *)&s->again, on_closed);
}
