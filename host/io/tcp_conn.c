#include "io/tcp_conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/source_value.h"
#include "io/tcp_server.h"
#include "io/tls.h"

enum { READ_SIZE = 16 << 10, READS_PER_POLL = 4 };

static void update(struct weir_tcp_conn *c);
static void end(struct weir_tcp_conn *c, const char *reason);

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- references ---- */

struct weir_tcp_conn *weir_tcp_conn_ref(struct weir_tcp_conn *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void weir_tcp_conn_unref(struct weir_tcp_conn *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    weir_mutex_fini(&c->mu);
    weir_free(c);
}

/* ---- reading ---- */

static bool make_value(struct weir_intake *intake, const struct weir_cut_frame *frame, uint64_t offset, struct weir_value *ret)
{
    (void)intake;
    (void)offset;
    return weir_source_value_string(frame->data, frame->len, ret);
}

/* An event about the connection itself, between its frames. Without memory for it, it is left out. */
static void tell(struct weir_tcp_conn *c, const char *what)
{
    struct weir_value value;
    const struct weir_conn_news news = {.event = what, .conn = c->id, .remote = c->remote, .reason = c->reason};
    if (c->server->shared->settings.notify && weir_source_value_news(&news, &value))
        weir_intake_send(&c->intake, value);
}

/* All its frames are sent: its end, if it has come. */
static void on_hungry(struct weir_intake *intake)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(intake, struct weir_tcp_conn, intake);
    if (c->fresh) {
        c->fresh = false;
        tell(c, "open");
        if (weir_feed_waiting(&intake->feed))
            return; /* it comes again */
    }
    if (intake->last && !c->told) {
        c->told = true;
        tell(c, "close");
        if (weir_feed_waiting(&intake->feed))
            return;
    }
    c->wants_input = !intake->last;
    update(c);
}

static void on_overlong(struct weir_intake *intake)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(intake, struct weir_tcp_conn, intake);
    if (!c->server->shared->settings.cut_overlong || c->state != WEIR_TCP_OPEN)
        return;
    c->state = WEIR_TCP_FLUSHING; /* nothing more is read of it */
    c->reason = "overlong";
}

static const struct weir_intake_ops intake_ops = {.make = make_value, .overlong = on_overlong, .hungry = on_hungry};

static const char *reason_of(const struct weir_tcp_conn *c, ssize_t rc)
{
    return rc == -ECONNRESET || rc == -EPIPE ? "reset" : weir_transport_code(&c->t, (int)rc);
}

/* One read. false: nothing more for now. */
static bool read_once(struct weir_tcp_conn *c)
{
    char *room = weir_intake_room(&c->intake, READ_SIZE);
    if (room == NULL)
        return false; /* the poll asks again */
    ssize_t n = weir_transport_read(&c->t, room, READ_SIZE);
    if (n == -EAGAIN) {
        if (weir_intake_pending(&c->intake) == 0)
            weir_intake_rest(&c->intake);
        return false;
    }
    if (n < 0) {
        count(&c->server->shared->failed, 1);
        end(c, reason_of(c, n));
        return false;
    }
    c->active_ns = c->worker->now_ns;
    c->wants_input = false;
    c->eof = n == 0;
    if (n > 0)
        weir_intake_filled(&c->intake, (size_t)n);
    else
        weir_intake_end(&c->intake); /* frames before the end are delivered, and answers may still be sent */
    return c->wants_input;
}

/* ---- writing ---- */

static void release_room(struct weir_tcp_conn *c, size_t n)
{
    atomic_fetch_sub_explicit(&c->queued, n, memory_order_relaxed);
    count(&c->server->shared->bytes_out, n);
}

static void on_answer(struct weir_message *m)
{
    struct weir_tcp_sending *s = WEIR_LIST_ENTRY(m, struct weir_tcp_sending, message);
    s->done(s, s->rc);
}

static void answer(struct weir_tcp_sending *s, int rc)
{
    s->rc = rc;
    s->message.deliver = on_answer;
    weir_worker_post(s->back, &s->message);
}

/* Takes the bytes of a sending, which `queued` has in it, into `out`. */
static void take(struct weir_tcp_conn *c, struct weir_tcp_sending *s)
{
    weir_strbuf_add(&c->out, s->data, s->len);
    if (!c->out.failed)
        return;
    release_room(c, s->len);
    end(c, "memory");
}

/* Those that wait come in when half of the room is free again. */
static void let_in(struct weir_tcp_conn *c)
{
    while (!weir_list_empty(&c->senders) && atomic_load_explicit(&c->queued, memory_order_relaxed) <= c->bound / 2) {
        struct weir_tcp_sending *s = WEIR_LIST_ENTRY(weir_list_take_first(&c->senders), struct weir_tcp_sending, node);
        atomic_fetch_add_explicit(&c->queued, s->len, memory_order_relaxed);
        take(c, s);
        answer(s, WEIR_OK);
    }
}

static void write_out(struct weir_tcp_conn *c)
{
    while (c->out.len > 0 && c->state <= WEIR_TCP_FLUSHING) {
        ssize_t n = weir_transport_send(&c->t, c->out.data, c->out.len);
        if (n == -EAGAIN)
            return;
        if (n < 0) {
            count(&c->server->shared->failed, 1);
            end(c, reason_of(c, n));
            return;
        }
        c->active_ns = c->worker->now_ns;
        weir_strbuf_consume(&c->out, (size_t)n);
        release_room(c, (size_t)n);
        let_in(c);
    }
}

void weir_tcp_sending_free(struct weir_tcp_sending *s)
{
    if (s == NULL)
        return;
    weir_tcp_conn_unref(s->conn);
    weir_free(s->data);
    weir_free(s);
}

/* A sending in its turn. */
static void accept_sending(struct weir_tcp_conn *c, struct weir_tcp_sending *s)
{
    bool gone = c->state > WEIR_TCP_FLUSHING;
    if (s->back != NULL && gone) {
        answer(s, WEIR_E_CLOSED);
    } else if (s->back != NULL) {
        weir_list_append(&c->senders, &s->node);
        let_in(c);
    } else {
        if (gone)
            release_room(c, s->len);
        else
            take(c, s);
        weir_tcp_sending_free(s);
    }
}

/* What was sent to it, in the order in which it was, from whatever worker. */
static void drain(struct weir_tcp_conn *c)
{
    struct weir_list batch, *node;
    weir_list_init(&batch);
    weir_mutex_lock(&c->mu);
    while ((node = weir_list_take_first(&c->sendings)) != NULL)
        weir_list_append(&batch, node);
    c->kicked = false;
    weir_mutex_unlock(&c->mu);
    weir_tcp_conn_ref(c);
    while ((node = weir_list_take_first(&batch)) != NULL)
        accept_sending(c, WEIR_LIST_ENTRY(node, struct weir_tcp_sending, node));
    update(c);
    weir_tcp_conn_unref(c);
}

static void on_kick(struct weir_message *m)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(m, struct weir_tcp_conn, kick);
    drain(c);
    weir_tcp_conn_unref(c);
}

static int make_sending(struct weir_tcp_conn *c, const void *data, size_t len, struct weir_tcp_sending **ret)
{
    struct weir_strbuf framed = WEIR_STRBUF_INIT;
    int rc = weir_framing_write(&c->framing, data, len, &framed);
    if (rc < 0) {
        weir_strbuf_fini(&framed);
        return rc;
    }
    struct weir_tcp_sending *s = weir_calloc(1, sizeof *s);
    if (s == NULL) {
        weir_strbuf_fini(&framed);
        return WEIR_E_NOMEM;
    }
    s->len = framed.len;
    s->data = weir_strbuf_take(&framed);
    s->conn = weir_tcp_conn_ref(c);
    *ret = s;
    return WEIR_OK;
}

/* Whether so many bytes more may be on their way; counts them then. */
static bool reserve(struct weir_tcp_conn *c, size_t len)
{
    size_t queued = atomic_load_explicit(&c->queued, memory_order_relaxed);
    do {
        if (queued > 0 && queued + len > c->bound)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&c->queued, &queued, queued + len, memory_order_relaxed, memory_order_relaxed));
    return true;
}

int weir_tcp_conn_send(struct weir_tcp_conn *c, struct weir_worker *w, const void *data, size_t len,
                       void (*done)(struct weir_tcp_sending *s, int rc), void *arg, struct weir_tcp_sending **ret)
{
    struct weir_tcp_sending *s;
    int rc = make_sending(c, data, len, &s);
    if (rc < 0)
        return rc;
    weir_mutex_lock(&c->mu);
    bool closed = c->closed, fits = !closed && reserve(c, s->len), waits = !closed && !fits && c->waits && done != NULL;
    if (waits) {
        s->back = w;
        s->done = done;
        s->arg = arg;
        *ret = s;
    }
    if (fits || waits)
        weir_list_append(&c->sendings, &s->node);
    if ((fits || waits) && c->worker != w && !c->kicked) { /* under the lock: its worker has not gone */
        c->kicked = true;
        c->kick.deliver = on_kick;
        weir_tcp_conn_ref(c);
        weir_worker_post(c->worker, &c->kick);
    }
    weir_mutex_unlock(&c->mu);
    if (!fits && !waits) {
        weir_tcp_sending_free(s);
        if (!closed && c->waits)
            return WEIR_E_FULL;
        if (!closed)
            weir_tcp_conn_close(c, "slow"); /* a slow peer costs only itself */
        return WEIR_E_CLOSED;
    }
    if (c->worker == w)
        drain(c);
    return waits ? WEIR_E_FULL : WEIR_OK;
}

/* A wish to end it, on its way to its worker. */
struct closing {
    struct weir_message message;
    struct weir_tcp_conn *conn;
    const char *cut; /* why, at once; NULL: gently */
};

static void on_closing(struct weir_message *m)
{
    struct closing *closing = WEIR_LIST_ENTRY(m, struct closing, message);
    struct weir_tcp_conn *c = closing->conn;
    if (closing->cut != NULL) {
        if (strcmp(closing->cut, "slow") == 0)
            count(&c->server->shared->slow, 1);
        end(c, closing->cut);
    } else if (c->state == WEIR_TCP_OPEN)
        c->state = WEIR_TCP_FLUSHING;
    update(c);
    weir_tcp_conn_unref(c);
    weir_free(closing);
}

void weir_tcp_conn_close(struct weir_tcp_conn *c, const char *cut)
{
    struct closing *closing = weir_calloc(1, sizeof *closing);
    if (closing == NULL)
        return; /* it ends by its idle timeout, or with the next wish */
    closing->message.deliver = on_closing;
    closing->conn = weir_tcp_conn_ref(c);
    closing->cut = cut;
    weir_mutex_lock(&c->mu);
    bool closed = c->closed;
    if (!closed)
        weir_worker_post(c->worker, &closing->message);
    weir_mutex_unlock(&c->mu);
    if (closed) {
        weir_tcp_conn_unref(c);
        weir_free(closing);
    }
}

/* ---- the loop ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct weir_tcp_conn *c = poll->data;
    (void)status; /* the socket says it itself */
    (void)events;
    weir_worker_now(c->worker);
    weir_tcp_conn_ref(c);
    write_out(c);
    for (int i = 0; i < READS_PER_POLL && c->state == WEIR_TCP_OPEN && c->wants_input && !c->eof && !c->server->stopped; i++)
        if (!read_once(c))
            break;
    update(c);
    weir_tcp_conn_unref(c);
}

static bool all_sent(const struct weir_tcp_conn *c)
{
    return c->out.len == 0 && weir_list_empty(&c->senders);
}

/* The peer has sent its end, and all it has sent before has become events. */
static bool has_ended(const struct weir_tcp_conn *c)
{
    return c->eof && c->told && all_sent(c) && !c->intake.busy && !weir_feed_waiting(&c->intake.feed);
}

bool weir_tcp_conn_at_rest(const struct weir_tcp_conn *c)
{
    return all_sent(c) && !c->intake.busy && !weir_feed_waiting(&c->intake.feed);
}

/* Polls for what is wanted; ends it when nothing is left to do: whoever calls this last touches the connection no more without a
 * reference of its own. */
static void update(struct weir_tcp_conn *c)
{
    if (c->state > WEIR_TCP_FLUSHING) {
        if (c->state == WEIR_TCP_ENDING && c->told && !c->intake.busy && !weir_feed_waiting(&c->intake.feed))
            weir_tcp_conn_cut(c);
        return;
    }
    if (c->state == WEIR_TCP_FLUSHING && all_sent(c)) {
        end(c, "closed");
        return;
    }
    if (has_ended(c)) /* answers to what it has sent may still come, for a while */
        weir_timer_set(c->worker, &c->idle, c->active_ns + c->server->shared->settings.linger_ns);
    int events = c->out.len > 0 ? weir_transport_polls_for_write(&c->t) : 0;
    bool reads = c->state == WEIR_TCP_OPEN && c->wants_input && !c->eof && !c->server->stopped;
    if (reads)
        events |= weir_transport_polls_for_read(&c->t);
    if (events == 0) /* a peer that has half closed is answered still; its reset shows when something is sent */
        uv_poll_stop(&c->poll);
    else
        uv_poll_start(&c->poll, events, on_poll);
    if (reads && weir_transport_pending(&c->t))
        weir_timer_set(c->worker, &c->idle, c->worker->now_ns); /* on_idle reads on */
}

static void on_idle(struct weir_timer *timer)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(timer, struct weir_tcp_conn, idle);
    uint64_t limit = c->server->shared->settings.idle_ns;
    if (c->state == WEIR_TCP_OPEN && weir_transport_pending(&c->t)) {
        on_poll(&c->poll, 0, UV_READABLE);
        return;
    }
    if (has_ended(c) && c->worker->now_ns - c->active_ns >= c->server->shared->settings.linger_ns) {
        end(c, "closed");
        return;
    }
    if (limit == 0 || c->state > WEIR_TCP_FLUSHING)
        return;
    if (c->worker->now_ns - c->active_ns >= limit) {
        count(&c->server->shared->idle, 1);
        end(c, "idle");
        return;
    }
    weir_timer_set(c->worker, &c->idle, c->active_ns + limit);
}

/* ---- its end ---- */

static void refuse_senders(struct weir_tcp_conn *c)
{
    struct weir_list *node;
    while ((node = weir_list_take_first(&c->senders)) != NULL)
        answer(WEIR_LIST_ENTRY(node, struct weir_tcp_sending, node), WEIR_E_CLOSED);
}

/* The socket is closed; frames that have come and its end are still to be told. */
static void end(struct weir_tcp_conn *c, const char *reason)
{
    if (c->state >= WEIR_TCP_ENDING)
        return;
    bool cut = c->out.len > 0 || (strcmp(reason, "closed") != 0 && strcmp(reason, "stopped") != 0 && strcmp(reason, "idle") != 0);
    c->state = WEIR_TCP_ENDING;
    c->reason = c->reason != NULL ? c->reason : reason;
    weir_mutex_lock(&c->mu);
    c->closed = true; /* from here on nobody posts */
    weir_mutex_unlock(&c->mu);
    weir_tcp_registry_remove(c);
    refuse_senders(c);
    release_room(c, c->out.len);
    weir_strbuf_fini(&c->out);
    if (c->polling)
        uv_poll_stop(&c->poll);
    weir_transport_close(&c->t, cut);
    if (!c->intake.last && !c->intake.busy)
        weir_intake_end(&c->intake);
    else
        c->intake.last = true;
    update(c);
}

static void let_go(struct weir_tcp_conn *c)
{
    weir_intake_fini(&c->intake);
    weir_tcp_conn_unref(c);
}

static void on_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

void weir_tcp_conn_cut(struct weir_tcp_conn *c)
{
    struct weir_tcp_server *server = c->server;
    if (c->state == WEIR_TCP_GONE)
        return;
    c->told = true;
    end(c, "stopped");
    if (c->state == WEIR_TCP_GONE)
        return; /* its end has found nothing left to do */
    c->state = WEIR_TCP_GONE;
    weir_intake_stop(&c->intake);
    weir_timer_unset(c->worker, &c->idle);
    weir_list_remove(&c->node);
    atomic_fetch_sub_explicit(&server->shared->connections, 1, memory_order_relaxed);
    if (c->polling)
        uv_close((uv_handle_t *)&c->poll, on_closed);
    else
        let_go(c);
}

void weir_tcp_conn_stop(struct weir_tcp_conn *c)
{
    update(c); /* the server has stopped: nothing is read any more */
}

/* ---- its beginning ---- */

static int make_transport(struct weir_tcp_conn *c, int fd)
{
    weir_transport_init(&c->t, fd);
    if (c->server->shared->tls != NULL && weir_tls_server_accept(c->server->shared->tls, fd, &c->t) < 0)
        return WEIR_E_NOMEM;
    if (uv_poll_init(&c->worker->loop, &c->poll, fd) < 0)
        return WEIR_E_IO;
    c->poll.data = c;
    c->polling = true;
    return WEIR_OK;
}

struct weir_tcp_conn *weir_tcp_conn_begin(struct weir_tcp_server *server, int fd, const char *remote)
{
    const struct weir_tcp_settings *settings = &server->shared->settings;
    struct weir_tcp_conn *c = weir_calloc(1, sizeof *c);
    if (c == NULL) {
        weir_transport_close(&(struct weir_transport){.fd = fd}, true);
        return NULL;
    }
    weir_mutex_init(&c->mu, WEIR_RANK_SHARED_TABLE, "tcp connection");
    weir_list_init(&c->senders);
    weir_list_init(&c->sendings);
    weir_list_init(&c->registered);
    atomic_init(&c->refs, 1);
    c->server = server;
    c->worker = server->base.seat->worker;
    c->stage = server->shared->stage->name;
    c->framing = settings->framing;
    c->bound = settings->bound;
    c->waits = settings->waits;
    c->fresh = true;
    c->idle.fire = on_idle;
    c->active_ns = c->worker->now_ns;
    snprintf(c->remote, sizeof c->remote, "%s", remote);
    weir_intake_init(&c->intake, &intake_ops, &server->shared->counts, server->base.seat, &settings->framing);
    c->id = c->intake.feed.source;
    if (make_transport(c, fd) != WEIR_OK) {
        weir_transport_close(&c->t, true);
        let_go(c);
        return NULL;
    }
    weir_list_append(&server->conns, &c->node);
    weir_tcp_registry_add(c);
    if (settings->idle_ns != 0)
        weir_timer_set(c->worker, &c->idle, c->active_ns + settings->idle_ns);
    on_hungry(&c->intake); /* tells of it, and begins to read */
    return c;
}
