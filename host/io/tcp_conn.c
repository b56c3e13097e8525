#include "io/tcp_conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/tcp_server.h"
#include "io/tls.h"

/* A read is as large as those before it gave reason to: thousands of peers that say little are to take little
 * while they wait for the stage behind. */
enum { READ_MIN = 2 << 10, READ_MAX = 32 << 10, READ_STEP = 4, READS_PER_POLL = 4, DISCARDS_MAX = 64 };
static const uint64_t flush_ns = 5 * WEIR_NS_PER_S; /* `linger: 0s` is about the peer's end only */

static const struct weir_tcp_settings *settings_of(const struct weir_tcp_conn *c)
{
    return &c->server->shared->settings;
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
    weir_tls_info_unref(c->tls);
    weir_mutex_fini(&c->mu);
    weir_free(c);
}

static bool is_delivering(const struct weir_tcp_conn *c)
{
    return c->intake.busy || weir_feed_waiting(&c->intake.feed);
}

/* ---- reading ---- */

static void fail(struct weir_tcp_conn *c, ssize_t rc)
{
    bool reset = rc == -ECONNRESET || rc == -EPIPE;
    weir_tcp_count(&c->server->shared->failed, 1);
    weir_tcp_conn_end(c, reset ? "reset" : weir_transport_code(&c->t, (int)rc));
}

/* The peer's end: frames before it are delivered, and answers may still be sent. */
static void take_end(struct weir_tcp_conn *c)
{
    c->eof = true;
    c->reason = weir_transport_truncated(&c->t) ? "truncated" : "eof";
    if (weir_transport_truncated(&c->t))
        weir_tcp_frames_tell(c); /* whoever cut it has no say in what a last line without its end is */
    else
        weir_intake_end(&c->intake);
}

/* One read. false: nothing more for now. */
static bool read_once(struct weir_tcp_conn *c)
{
    size_t size = c->read_size;
    char *room = weir_intake_room(&c->intake, size);
    if (room == NULL)
        return false; /* the poll asks again */
    ssize_t n = weir_transport_read(&c->t, room, size);
    if (n == -EAGAIN || n == -EINTR) {
        weir_intake_rest(&c->intake);
        return false;
    }
    if (n < 0) {
        fail(c, n);
        return false;
    }
    bool more = (size_t)n == size || weir_transport_pending(&c->t);
    if ((size_t)n == size && size < READ_MAX)
        c->read_size *= READ_STEP;
    else if ((size_t)n < size / READ_STEP && size > READ_MIN)
        c->read_size /= READ_STEP;
    c->active_ns = c->worker->now_ns;
    c->wants_input = false;
    if (n > 0)
        weir_intake_filled(&c->intake, (size_t)n);
    else
        take_end(c);
    if (!more && c->wants_input)
        weir_intake_rest(&c->intake); /* between two frames it has no buffer */
    return more;
}

static bool reads(const struct weir_tcp_conn *c)
{
    return c->state == WEIR_TCP_OPEN && c->wants_input && !c->eof && !c->server->stopped;
}

static void read_some(struct weir_tcp_conn *c)
{
    for (int i = 0; i < READS_PER_POLL && reads(c); i++)
        if (!read_once(c))
            return;
}

/* It is one of ours from here on: it has an id to be found by. */
static void open_up(struct weir_tcp_conn *c)
{
    c->shaking = false;
    c->opening = true;
    c->active_ns = c->worker->now_ns;
    if (weir_transport_is_tls(&c->t))
        c->tls = weir_tls_info_ref(weir_transport_info(&c->t));
    weir_tcp_registry_add(c);
    weir_tcp_frames_tell(c);
}

static void shake_hands(struct weir_tcp_conn *c)
{
    char why[WEIR_TRANSPORT_WHY_MAX];
    int rc = weir_transport_handshake(&c->t);
    if (rc == 0) {
        open_up(c);
        return;
    }
    if (rc == -EAGAIN)
        return;
    if (weir_log_enabled(WEIR_LOG_DEBUG))
        weir_log(WEIR_LOG_DEBUG, c->stage, NULL, "%s: %s", c->remote, weir_transport_why(&c->t, rc, why));
    weir_tcp_count(&c->server->shared->handshakes_failed, 1);
    weir_tcp_conn_end(c, weir_transport_code(&c->t, rc));
}

/* ---- writing ---- */

static void write_out(struct weir_tcp_conn *c)
{
    c->blocked = false;
    while (c->out.len > 0 && c->state <= WEIR_TCP_FLUSHING) {
        ssize_t n = weir_transport_send(&c->t, c->out.data, c->out.len);
        if (n == -EINTR)
            continue;
        c->blocked = n == -EAGAIN;
        if (c->blocked)
            return;
        if (n < 0) {
            fail(c, n);
            return;
        }
        c->active_ns = c->worker->now_ns;
        weir_strbuf_consume(&c->out, (size_t)n);
        weir_tcp_sending_release(c, (size_t)n);
        weir_tcp_count(&c->server->shared->bytes_out, (uint64_t)n);
        weir_tcp_sending_let_in(c);
    }
    if (c->out.len == 0)
        weir_strbuf_fini(&c->out); /* most connections are idle most of the time */
}

/* ---- closing from anywhere ---- */

static void on_wish(struct weir_message *m)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(m, struct weir_tcp_conn, wish);
    weir_mutex_lock(&c->mu);
    c->wishing = false;
    const char *cut = c->wish_cut;
    weir_mutex_unlock(&c->mu);
    weir_tcp_sending_gather(c); /* what was sent before goes before */
    if (c->state < WEIR_TCP_ENDING && cut != NULL) {
        if (strcmp(cut, "slow") == 0)
            weir_tcp_count(&c->server->shared->slow, 1);
        weir_tcp_conn_end(c, cut);
    } else if (c->state == WEIR_TCP_OPEN) {
        c->state = WEIR_TCP_FLUSHING;
        c->active_ns = weir_worker_now(c->worker);
    }
    weir_tcp_conn_update(c);
    weir_tcp_conn_unref(c);
}

void weir_tcp_conn_close_locked(struct weir_tcp_conn *c, const char *cut)
{
    c->refusing = true;
    if (c->wish_cut == NULL)
        c->wish_cut = cut;
    if (c->wishing)
        return;
    c->wishing = true;
    c->wish.deliver = on_wish;
    weir_tcp_conn_ref(c);
    weir_worker_post(c->worker, &c->wish); /* under the lock: it has not gone */
}

void weir_tcp_conn_close(struct weir_tcp_conn *c, const char *cut)
{
    weir_mutex_lock(&c->mu);
    if (!c->closed)
        weir_tcp_conn_close_locked(c, cut);
    weir_mutex_unlock(&c->mu);
}

/* ---- the loop ---- */

static void mark_dirty(struct weir_tcp_conn *c)
{
    struct weir_tcp_server *s = c->server;
    if (weir_list_empty(&c->dirty))
        weir_list_append(&s->dirty, &c->dirty);
    if (weir_list_empty(&s->tidy.node))
        weir_worker_set_aside(c->worker, &s->tidy);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct weir_tcp_conn *c = poll->data;
    (void)events;
    if (status < 0)
        c->watched = 0; /* libuv has stopped; what it is the socket says itself */
    weir_worker_now(c->worker);
    weir_tcp_conn_ref(c);
    if (c->shaking)
        shake_hands(c);
    if (!c->shaking) {
        if (c->blocked)
            write_out(c);
        read_some(c);
    }
    weir_tcp_conn_update(c);
    weir_tcp_conn_unref(c);
}

/* What was sent in this turn leaves at once, all of it together; and TLS may have bytes that no poll tells
 * of. */
void weir_tcp_conn_tidy(struct weir_tcp_server *server)
{
    struct weir_list batch, *node;
    weir_list_init(&batch);
    weir_list_splice(&batch, &server->dirty);
    while ((node = weir_list_take_first(&batch)) != NULL) {
        struct weir_tcp_conn *c = weir_tcp_conn_ref(WEIR_LIST_ENTRY(node, struct weir_tcp_conn, dirty));
        if (!c->blocked)
            write_out(c);
        if (reads(c) && weir_transport_pending(&c->t))
            read_some(c);
        weir_tcp_conn_update(c);
        weir_tcp_conn_unref(c);
    }
}

static bool all_sent(const struct weir_tcp_conn *c)
{
    return c->out.len == 0 && weir_list_empty(&c->senders);
}

/* The peer has sent its end, and all it has sent before has become events: only answers may be left. */
static bool has_ended(const struct weir_tcp_conn *c)
{
    return c->eof && c->told && all_sent(c) && !is_delivering(c);
}

bool weir_tcp_conn_at_rest(const struct weir_tcp_conn *c)
{
    return all_sent(c) && !is_delivering(c);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t quiet_limit(const struct weir_tcp_conn *c)
{
    uint64_t linger = settings_of(c)->linger_ns;
    return c->state == WEIR_TCP_FLUSHING && linger == 0 ? flush_ns : linger;
}

static bool ends_when_quiet(const struct weir_tcp_conn *c)
{
    return c->state == WEIR_TCP_FLUSHING || has_ended(c);
}

/* When its time has to be looked at. */
static uint64_t due(const struct weir_tcp_conn *c)
{
    const struct weir_tcp_settings *settings = settings_of(c);
    uint64_t at = UINT64_MAX;
    if (c->state >= WEIR_TCP_ENDING)
        return c->lingers ? c->linger_until_ns : UINT64_MAX;
    if (c->shaking)
        at = c->active_ns + settings->handshake_ns;
    if (settings->idle_ns != 0)
        at = earlier(at, c->active_ns + settings->idle_ns);
    if (ends_when_quiet(c))
        at = earlier(at, c->active_ns + quiet_limit(c));
    return at;
}

/* A timer that is set too early finds out. Returns false if there is no memory for one. */
static bool arm(struct weir_tcp_conn *c)
{
    uint64_t at = due(c);
    if (at == UINT64_MAX || (c->timer.slot != 0 && c->timer.due_ns <= at))
        return true;
    return weir_timer_set(c->worker, &c->timer, at) == WEIR_OK;
}

/* Polls for `events`; 0: for nothing. libuv forgets and adds the socket anew each time it is told. */
static int watch_for(struct weir_tcp_conn *c, int events, uv_poll_cb cb)
{
    int rc = 0;
    if (c->watched == events)
        return 0;
    if (events == 0)
        uv_poll_stop(&c->poll);
    else
        rc = uv_poll_start(&c->poll, events, cb);
    c->watched = events;
    return rc;
}

/* A peer that has half closed is answered still; with nothing to wait for, its reset shows when something is
 * sent. */
static void watch(struct weir_tcp_conn *c)
{
    int events = 0;
    if (c->shaking || reads(c))
        events = weir_transport_polls_for_read(&c->t);
    if (c->blocked)
        events |= weir_transport_polls_for_write(&c->t);
    (void)watch_for(c, events, on_poll); /* fails for closed ones only */
}

void weir_tcp_conn_update(struct weir_tcp_conn *c)
{
    if (c->state >= WEIR_TCP_ENDING) {
        if (c->state == WEIR_TCP_ENDING && !c->lingers && c->told && !is_delivering(c))
            weir_tcp_conn_cut(c);
        return;
    }
    if (c->state == WEIR_TCP_FLUSHING && all_sent(c)) {
        weir_tcp_conn_end(c, "closed");
        return;
    }
    if ((c->out.len > 0 && !c->blocked) || (reads(c) && weir_transport_pending(&c->t)))
        mark_dirty(c);
    watch(c);
    arm(c); /* without memory a quiet connection stays, no more */
}

static void stop_lingering(struct weir_tcp_conn *c)
{
    c->lingers = false;
    (void)watch_for(c, 0, NULL);
    weir_transport_close(&c->t, false);
    weir_tcp_conn_update(c);
}

static void on_timer(struct weir_timer *timer)
{
    struct weir_tcp_conn *c = WEIR_LIST_ENTRY(timer, struct weir_tcp_conn, timer);
    uint64_t now = c->worker->now_ns, idle = settings_of(c)->idle_ns;
    if (c->state >= WEIR_TCP_ENDING) {
        if (c->lingers && now >= c->linger_until_ns)
            stop_lingering(c);
        else
            arm(c);
        return;
    }
    if (c->shaking && now - c->active_ns >= settings_of(c)->handshake_ns) {
        weir_tcp_count(&c->server->shared->handshakes_failed, 1);
        weir_tcp_conn_end(c, "handshake");
    } else if (ends_when_quiet(c) && now - c->active_ns >= quiet_limit(c)) {
        bool slow = c->state == WEIR_TCP_FLUSHING;
        weir_tcp_count(&c->server->shared->slow, slow);
        weir_tcp_conn_end(c, slow ? "slow" : "closed");
    } else if (idle != 0 && now - c->active_ns >= idle && !is_delivering(c)) {
        weir_tcp_count(&c->server->shared->idle, 1);
        weir_tcp_conn_end(c, "idle");
    } else {
        if (is_delivering(c))
            c->active_ns = now; /* it is we who let it wait */
        arm(c);
    }
}

/* ---- its end ---- */

/* Reads what has come and is not wanted. Closing a socket with bytes unread resets it, and a reset may
 * overtake what was sent last. false: the peer's end, or a failure. */
static bool discard(struct weir_tcp_conn *c)
{
    char dump[4096];
    for (int i = 0; i < DISCARDS_MAX; i++) {
        ssize_t n = weir_transport_read(&c->t, dump, sizeof dump);
        if (n <= 0)
            return n == -EAGAIN || n == -EINTR;
    }
    return true;
}

static void on_lingering(uv_poll_t *poll, int status, int events)
{
    struct weir_tcp_conn *c = poll->data;
    (void)events;
    weir_worker_now(c->worker);
    if (status < 0 || !discard(c))
        stop_lingering(c);
}

/* Our end is said; its socket stays until the peer's has come. */
static void linger(struct weir_tcp_conn *c)
{
    uint64_t limit = settings_of(c)->linger_ns;
    c->linger_until_ns = c->worker->now_ns + (limit != 0 ? limit : flush_ns);
    c->lingers = true;
    (void)weir_transport_shutdown(&c->t); /* whom it can't be told finds out */
    if (watch_for(c, UV_READABLE, on_lingering) < 0 || !arm(c)) {
        c->lingers = false;
        weir_transport_close(&c->t, false);
    }
}

/* Whoever is cut has to see that something is missing. */
static void reset(struct weir_tcp_conn *c)
{
    const struct linger hard = {.l_onoff = 1};
    if (c->t.fd >= 0)
        (void)setsockopt(c->t.fd, SOL_SOCKET, SO_LINGER, &hard,
                         sizeof hard); /* else it is cut less visibly */
    weir_transport_close(&c->t, true);
}

static bool is_one_of(const char *reason, const char *const *words)
{
    while (*words != NULL && strcmp(*words, reason) != 0)
        words++;
    return *words != NULL;
}

static void close_socket(struct weir_tcp_conn *c, const char *reason, bool unsent)
{
    static const char *const rude[] = {"aborted", "slow", "memory", NULL}, *const orderly[] = {"stopped",
                                                                                               "idle", NULL};
    bool closed = strcmp(reason, "closed") == 0;
    if (c->polling)
        (void)watch_for(c, 0, NULL);
    if (unsent || is_one_of(reason, rude)) {
        reset(c);
    } else if (closed && !c->eof) {
        linger(c);
    } else if (!closed && !is_one_of(reason, orderly)) {
        weir_transport_close(&c->t, true); /* it has failed */
    } else {
        (void)weir_transport_shutdown(&c->t); /* as above */
        (void)discard(c);                     /* what is not here yet can't be waited for */
        weir_transport_close(&c->t, false);
    }
}

void weir_tcp_conn_end(struct weir_tcp_conn *c, const char *reason)
{
    if (c->state >= WEIR_TCP_ENDING)
        return;
    bool unsent = !all_sent(c);
    c->state = WEIR_TCP_ENDING;
    c->reason = c->reason != NULL ? c->reason : reason;
    c->told |= c->shaking; /* nobody knows of it */
    weir_mutex_lock(&c->mu);
    c->closed = true; /* from here on nobody posts */
    weir_mutex_unlock(&c->mu);
    weir_tcp_registry_remove(c);
    close_socket(c, reason, unsent);
    weir_tcp_sending_release(c, c->out.len);
    weir_strbuf_fini(&c->out);
    weir_list_remove(&c->dirty);
    weir_tcp_sending_gather(c); /* refuses them */
    if (!is_delivering(c))
        weir_tcp_frames_tell(c);
    /* else it is told when that has gone. What is no whole frame by then never will be one */
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
    weir_tcp_conn_ref(c);
    c->told = true;
    weir_tcp_conn_end(c, "stopped");
    if (c->state != WEIR_TCP_GONE) { /* else its end has found nothing left to do, and come here */
        c->state = WEIR_TCP_GONE;
        if (c->lingers) {
            (void)discard(c);
            weir_transport_close(&c->t, false);
        }
        weir_intake_stop(&c->intake);
        weir_timer_unset(c->worker, &c->timer);
        weir_list_remove(&c->node);
        atomic_fetch_sub_explicit(&server->shared->connections, 1, memory_order_relaxed);
        if (c->polling)
            uv_close((uv_handle_t *)&c->poll, on_closed);
        else
            let_go(c);
    }
    weir_tcp_conn_unref(c);
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

static void init(struct weir_tcp_conn *c, struct weir_tcp_server *server, const char *remote)
{
    const struct weir_tcp_settings *settings = &server->shared->settings;
    struct weir_list *lists[] = {&c->node, &c->dirty, &c->senders, &c->sendings, &c->registered};
    weir_mutex_init(&c->mu, WEIR_RANK_SHARED_TABLE, "tcp connection");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        weir_list_init(lists[i]);
    atomic_init(&c->refs, 1);
    c->server = server;
    c->worker = server->base.seat->worker;
    c->stage = server->shared->stage->name;
    c->framing = settings->framing;
    c->bound = settings->bound;
    c->waits = settings->waits;
    c->read_size = READ_MIN;
    c->timer.fire = on_timer;
    c->active_ns = c->worker->now_ns;
    snprintf(c->remote, sizeof c->remote, "%s", remote);
    weir_tcp_frames_init(c);
}

struct weir_tcp_conn *weir_tcp_conn_begin(struct weir_tcp_server *server, int fd, const char *remote, int class,
                                          struct weir_value key)
{
    struct weir_tcp_conn *c = weir_calloc(1, sizeof *c);
    if (c == NULL) {
        weir_value_unref(key);
        weir_transport_close(&(struct weir_transport){.fd = fd}, true);
        return NULL;
    }
    init(c, server, remote);
    weir_feed_set_key(&c->intake.feed, key);
    if (class >= 0) {
        c->intake.feed.has_class = true;
        c->intake.feed.class_index = (uint8_t)class;
    }
    if (make_transport(c, fd) != WEIR_OK) {
        weir_transport_close(&c->t, true);
        let_go(c);
        return NULL;
    }
    weir_list_append(&server->conns, &c->node);
    c->shaking = weir_transport_is_tls(&c->t);
    if (c->shaking)
        weir_tcp_conn_update(c);
    else
        open_up(c);
    return c;
}
