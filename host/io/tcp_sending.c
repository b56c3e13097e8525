#include "io/tcp_sending.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "core/worker.h"
#include "io/tcp_conn.h"
#include "io/tcp_server.h"

void weir_tcp_sending_unref(struct weir_tcp_sending *s)
{
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    weir_tcp_conn_unref(s->conn);
    weir_free(s->data);
    weir_free(s);
}

/* ---- room ---- */

static size_t queued(const struct weir_tcp_conn *c)
{
    return atomic_load_explicit(&c->queued, memory_order_relaxed);
}

/* Whether so many bytes more may be on their way; counts them then. One frame always may. */
static bool reserve(struct weir_tcp_conn *c, size_t len)
{
    size_t now = queued(c);
    do {
        if (now > 0 && (now > c->bound || len > c->bound - now))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&c->queued, &now, now + len, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void weir_tcp_sending_release(struct weir_tcp_conn *c, size_t n)
{
    atomic_fetch_sub_explicit(&c->queued, n, memory_order_relaxed);
}

/* ---- on the connection's worker ---- */

static void on_answer(struct weir_message *m)
{
    struct weir_tcp_sending *s = WEIR_LIST_ENTRY(m, struct weir_tcp_sending, message);
    s->done(s, s->rc);
}

/* Tells who waits, unless nobody does any more; then its worker may have gone. */
static void answer(struct weir_tcp_sending *s, int rc)
{
    struct weir_tcp_conn *c = weir_tcp_conn_ref(s->conn); /* `s` and its reference may be gone soon */
    weir_mutex_lock(&c->mu);
    bool recalled = s->recalled;
    if (!recalled) {
        s->rc = rc;
        s->answered = true;
        s->message.deliver = on_answer;
        weir_worker_post(s->back, &s->message);
    }
    weir_mutex_unlock(&c->mu);
    if (recalled)
        weir_tcp_sending_unref(s);
    weir_tcp_conn_unref(c);
}

/* Takes the bytes of a sending, which `queued` has in it, into `out`. false: the connection has ended. */
static bool take(struct weir_tcp_conn *c, const struct weir_tcp_sending *s)
{
    if (c->state <= WEIR_TCP_FLUSHING) {
        weir_strbuf_add(&c->out, s->data, s->len);
        if (!c->out.failed)
            return true;
        weir_tcp_conn_end(c, "memory"); /* what was promised can't be kept */
    }
    weir_tcp_sending_release(c, s->len);
    return false;
}

/* It is not one of those that wait any more. */
static void unlist(struct weir_tcp_conn *c, struct weir_tcp_sending *s)
{
    weir_list_remove(&s->node);
    s->listed = false;
    atomic_fetch_sub_explicit(&c->waiting, 1, memory_order_relaxed);
}

void weir_tcp_sending_let_in(struct weir_tcp_conn *c)
{
    while (!weir_list_empty(&c->senders)) {
        struct weir_tcp_sending *s = WEIR_LIST_ENTRY(c->senders.next, struct weir_tcp_sending, node);
        /* in the middle, so that a slow peer does not cost a wake-up for each of its reads */
        if (queued(c) > c->bound / 2 || !reserve(c, s->len))
            return;
        unlist(c, s);
        answer(s, take(c, s) ? WEIR_OK : WEIR_E_CLOSED);
    }
}

/* A sending in its turn. */
static void accept_sending(struct weir_tcp_conn *c, struct weir_tcp_sending *s)
{
    if (s->back != NULL) {
        weir_list_append(&c->senders, &s->node);
        s->listed = true;
    } else {
        take(c, s);
        weir_tcp_sending_unref(s);
    }
}

void weir_tcp_sending_gather(struct weir_tcp_conn *c)
{
    struct weir_list batch, *node;
    weir_list_init(&batch);
    weir_mutex_lock(&c->mu);
    weir_list_splice(&batch, &c->sendings);
    weir_mutex_unlock(&c->mu);
    while ((node = weir_list_take_first(&batch)) != NULL)
        accept_sending(c, WEIR_LIST_ENTRY(node, struct weir_tcp_sending, node));
    if (c->state <= WEIR_TCP_FLUSHING)
        weir_tcp_sending_let_in(c);
    else
        weir_tcp_sending_refuse_all(c);
}

void weir_tcp_sending_refuse_all(struct weir_tcp_conn *c)
{
    while (!weir_list_empty(&c->senders)) {
        struct weir_tcp_sending *s = WEIR_LIST_ENTRY(c->senders.next, struct weir_tcp_sending, node);
        unlist(c, s);
        answer(s, WEIR_E_CLOSED);
    }
}

static void on_kick(struct weir_message *m)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(m, struct weir_tcp_conn, kick);
    weir_mutex_lock(&c->mu);
    c->kicked = false;
    weir_mutex_unlock(&c->mu);
    weir_tcp_sending_gather(c);
    weir_tcp_conn_update(c);
    weir_tcp_conn_unref(c);
}

static void on_recall(struct weir_message *m)
{
    struct weir_tcp_sending *s = WEIR_LIST_ENTRY(m, struct weir_tcp_sending, recall);
    struct weir_tcp_conn *c = weir_tcp_conn_ref(s->conn);
    if (s->listed) {
        unlist(c, s);
        weir_tcp_sending_unref(s);
        weir_tcp_sending_let_in(c); /* one behind it may be shorter */
        weir_tcp_conn_update(c);
    }
    weir_tcp_sending_unref(s);
    weir_tcp_conn_unref(c);
}

/* ---- on any worker ---- */

static int write_frame(const struct weir_tcp_conn *c, const struct weir_tcp_send *send,
                       struct weir_strbuf *out)
{
    static const struct weir_framing whole = {.kind = WEIR_FRAMING_RAW, .max = SIZE_MAX};
    return weir_framing_write(send->whole ? &whole : &c->framing, send->data, send->len, out);
}

static int make_sending(struct weir_tcp_conn *c, const struct weir_tcp_send *send,
                        struct weir_tcp_sending **ret)
{
    struct weir_strbuf framed = WEIR_STRBUF_INIT;
    int rc = write_frame(c, send, &framed);
    struct weir_tcp_sending *s = rc == WEIR_OK ? weir_calloc(1, sizeof *s) : NULL;
    if (s == NULL) {
        weir_strbuf_fini(&framed);
        return rc < 0 ? rc : WEIR_E_NOMEM;
    }
    weir_list_init(&s->node);
    atomic_init(&s->refs, 1);
    s->conn = weir_tcp_conn_ref(c);
    s->len = framed.len;
    s->data = weir_strbuf_take(&framed);
    *ret = s;
    return WEIR_OK;
}

/* On its own worker, when nothing is before it and it fits: no detour. WEIR_E_FULL: the detour. */
static int send_here(struct weir_tcp_conn *c, const struct weir_tcp_send *send)
{
    weir_mutex_lock(&c->mu);
    bool refusing = c->refusing || c->closed, behind = !weir_list_empty(&c->sendings);
    weir_mutex_unlock(&c->mu);
    if (refusing)
        return WEIR_E_CLOSED;
    if (behind || !weir_list_empty(&c->senders))
        return WEIR_E_FULL;
    size_t before = c->out.len;
    int rc = write_frame(c, send, &c->out);
    if (rc == WEIR_E_NOMEM)
        c->out.failed = false; /* what was there is there still */
    if (rc < 0)
        return rc;
    if (!reserve(c, c->out.len - before)) {
        c->out.len = before;
        return WEIR_E_FULL;
    }
    weir_tcp_conn_update(c);
    return WEIR_OK;
}

static void kick_locked(struct weir_tcp_conn *c)
{
    if (c->kicked)
        return;
    c->kicked = true;
    c->kick.deliver = on_kick;
    weir_tcp_conn_ref(c);
    weir_worker_post(c->worker, &c->kick); /* under the lock: it has not gone */
}

/* Gives a sending to the connection. WEIR_OK: it takes it. WEIR_E_FULL: as weir_tcp_conn_send, and taken if
 * it waits; otherwise it is the caller's still. */
static int post_locked(struct weir_tcp_conn *c, struct weir_tcp_sending *s)
{
    if (c->closed || c->refusing)
        return WEIR_E_CLOSED;
    bool first =
        atomic_load_explicit(&c->waiting, memory_order_relaxed) == 0; /* only counted up under the lock */
    bool fits = first && reserve(c, s->len);
    if (!fits && !c->waits) {
        weir_tcp_conn_close_locked(c, "slow"); /* a slow peer costs only itself */
        return WEIR_E_CLOSED;
    }
    if (!fits && s->back == NULL)
        return WEIR_E_FULL;
    if (fits)
        s->back = NULL;
    else
        atomic_fetch_add_explicit(&c->waiting, 1, memory_order_relaxed);
    weir_list_append(&c->sendings, &s->node);
    kick_locked(c);
    return fits ? WEIR_OK : WEIR_E_FULL;
}

int weir_tcp_conn_send(struct weir_tcp_conn *c, struct weir_worker *w, const struct weir_tcp_send *send,
                       struct weir_tcp_sending **ret)
{
    struct weir_tcp_sending *s;
    int rc = c->worker == w ? send_here(c, send) : WEIR_E_FULL;
    if (rc == WEIR_E_FULL)
        rc = make_sending(c, send, &s);
    else
        return rc;
    if (rc < 0)
        return rc;
    s->back = send->done != NULL ? w : NULL;
    s->done = send->done;
    s->arg = send->arg;
    weir_mutex_lock(&c->mu);
    rc = post_locked(c, s);
    bool waits = rc == WEIR_E_FULL && send->done != NULL;
    if (waits)
        *ret = s; /* before it can be answered */
    weir_mutex_unlock(&c->mu);
    if (rc < 0 && !waits)
        weir_tcp_sending_unref(s);
    return rc;
}

static void forget(struct weir_tcp_sending *s, int rc)
{
    (void)rc; /* nobody asks */
    weir_tcp_sending_unref(s);
}

void weir_tcp_sending_recall(struct weir_tcp_sending *s)
{
    struct weir_tcp_conn *c = weir_tcp_conn_ref(s->conn);
    weir_mutex_lock(&c->mu);
    s->done = forget;
    s->recalled = !s->answered;
    if (s->recalled && !c->closed) {
        s->recall.deliver = on_recall;
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
        weir_worker_post(c->worker, &s->recall);
    }
    weir_mutex_unlock(&c->mu);
    weir_tcp_conn_unref(c);
}
