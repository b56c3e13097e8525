#include "io/http_conn.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/tls.h"

enum { BODY_STEP = 4096 }; /* bytes of a body that a body timeout pays for */

/* ---- timers: lists of one duration each, so the first is due first ---- */

void weir_http_conn_clear_timer(struct weir_http_conn *c)
{
    weir_list_remove(&c->timer);
}

void weir_http_conn_set_timer(struct weir_http_conn *c, enum weir_http_timer kind)
{
    struct weir_http_server *s = c->server;
    weir_list_remove(&c->timer);
    if (s->durations[kind] == 0)
        return;
    c->due_ns = s->now_ns + s->durations[kind];
    weir_list_append(&s->timers[kind], &c->timer);
}

/* ---- what the poll waits for ---- */

static bool takes_body(const struct weir_http_exchange *ex)
{
    return ex->r.body_streamed && ex->parser.phase == WEIR_HTTP_BODY && ex->in.failed == 0;
}

/* How many bytes may be read now; 0: reading pauses. */
static size_t room_to_read(const struct weir_http_conn *c)
{
    size_t ahead = c->ahead.len - c->ahead_pos;
    switch (c->state) {
    case WEIR_HTTP_IDLE:
    case WEIR_HTTP_READING:
    case WEIR_HTTP_LINGERING:
        return WEIR_HTTP_READ_MAX;
    case WEIR_HTTP_OUT:
    case WEIR_HTTP_ANSWERING:
        if (takes_body(c->ex))
            return c->ex->body.len < WEIR_HTTP_IN_MAX ? WEIR_HTTP_IN_MAX - c->ex->body.len : 0;
        return ahead < WEIR_HTTP_AHEAD_MAX ? WEIR_HTTP_AHEAD_MAX - ahead : 0;
    default:
        return 0;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Of TLS: what is in memory is read in the next turn of the loop, and in the middle of a handshake or a
 * change of keys a read may wait to write. */
static int watch_tls(struct weir_http_conn *c, int events)
{
    struct weir_transport *t = &c->transport;
    if (!(events & UV_READABLE))
        return events;
    if (weir_transport_pending(t) && weir_list_empty(&c->unread)) {
        weir_list_append(&c->server->unread, &c->unread);
        weir_http_server_read_on(c->server);
    }
    bool reads = weir_transport_polls_for_read(t) == WEIR_TRANSPORT_READABLE;
    return reads ? events : (events & ~UV_READABLE) | UV_WRITABLE;
}

void weir_http_conn_watch(struct weir_http_conn *c)
{
    if (c->state == WEIR_HTTP_CLOSED)
        return;
    int events = 0;
    if (!c->eof && room_to_read(c) > 0)
        events = UV_READABLE;
    else if (!c->eof && !c->hung_up)
        events = UV_DISCONNECT;
    if (c->state == WEIR_HTTP_ANSWERING && c->ex->out_pos < c->ex->out.len)
        events |= UV_WRITABLE;
    if (weir_transport_is_tls(&c->transport))
        events = watch_tls(c, events);
    if (events == c->events)
        return;
    c->events = events;
    if (events == 0)
        uv_poll_stop(&c->poll);
    else
        uv_poll_start(&c->poll, events, on_poll);
}

/* ---- the end ---- */

static void mark_gone(struct weir_http_exchange *ex)
{
    if (atomic_load_explicit(&ex->gone, memory_order_relaxed))
        return;
    atomic_store_explicit(&ex->gone, true, memory_order_relaxed);
    weir_http_count(&ex->server->counts.gone, 1);
}

void weir_http_conn_part(struct weir_http_exchange *ex, int rc)
{
    ex->conn = NULL;
    weir_http_deadline_end(ex);
    atomic_store_explicit(&ex->gone, true, memory_order_relaxed);
    if (takes_body(ex))
        ex->in.failed = rc;
    weir_http_intake_serve(ex);
}

/* The connection of an exchange is no more. */
static void abandon(struct weir_http_exchange *ex, enum weir_http_state state, int rc)
{
    ex->conn = NULL;
    if (state == WEIR_HTTP_READING) {
        weir_http_exchange_end(ex);
        return;
    }
    mark_gone(ex);
    if (state == WEIR_HTTP_OUT) {
        weir_http_conn_part(ex, rc);
        return;
    }
    weir_http_answer_log(ex);
    if (ex->producer != NULL)
        ex->producer->cut(ex, rc);
    else
        weir_http_exchange_end(ex);
}

static void on_closed(uv_handle_t *handle)
{
    weir_free(handle->data);
}

void weir_http_conn_close(struct weir_http_conn *c, int rc)
{
    if (c->state == WEIR_HTTP_CLOSED)
        return;
    enum weir_http_state state = (enum weir_http_state)c->state;
    struct weir_http_exchange *ex = c->ex;
    c->state = WEIR_HTTP_CLOSED;
    c->ex = NULL;
    weir_http_conn_clear_timer(c);
    weir_list_remove(&c->node);
    weir_list_remove(&c->unread);
    uv_close((uv_handle_t *)&c->poll, on_closed);
    /* an answer that ends here is cut: without TLS's own end its reader can tell */
    weir_transport_close(&c->transport, state == WEIR_HTTP_ANSWERING);
    if (!c->consuming)
        weir_strbuf_fini(&c->ahead); /* else who parses it frees it */
    weir_http_server_conn_gone(c->server, c);
    if (ex != NULL)
        abandon(ex, state, rc);
}

void weir_http_conn_linger(struct weir_http_conn *c)
{
    c->state = WEIR_HTTP_LINGERING;
    if (!c->consuming)
        weir_strbuf_fini(&c->ahead);
    (void)weir_transport_shutdown(&c->transport); /* who can't be told any more finds out by itself */
    weir_http_conn_set_timer(c, WEIR_HTTP_TIMER_LINGER);
    if (c->server->durations[WEIR_HTTP_TIMER_LINGER] == 0)
        weir_http_conn_close(c, WEIR_E_CLOSED);
    else
        weir_http_conn_watch(c);
}

/* ---- the request ---- */

static void refuse(struct weir_http_conn *c, int status, _Atomic uint64_t *counter)
{
    struct weir_http_exchange *ex = c->ex;
    weir_http_count(counter, 1);
    ex->keep_alive = false;
    weir_http_response_plain(ex, c->server->worker, status);
    weir_http_conn_answer(ex);
}

static void refuse_malformed(struct weir_http_conn *c)
{
    struct weir_http_counts *n = &c->server->counts;
    int status = c->ex->parser.status;
    bool large = status == 413 || status == 414 || status == 431;
    refuse(c, status, large ? &n->too_large : &n->malformed);
}

static void hand_over(struct weir_http_conn *c)
{
    struct weir_http_exchange *ex = c->ex;
    struct weir_http_server *s = c->server;
    struct weir_http_request *r = &ex->r;
    weir_http_conn_clear_timer(c);
    weir_http_count(&s->counts.requests, 1);
    c->state = WEIR_HTTP_OUT;
    r->arrival_ns = s->now_ns;
    r->id = ++s->next_id;
    r->body_streamed = ex->parser.phase == WEIR_HTTP_BODY;
    if (weir_transport_is_tls(&c->transport))
        r->tls = weir_tls_info_ref(weir_transport_info(&c->transport));
    ex->keep_alive = ex->parser.keep_alive;
    ex->in.continued = !ex->parser.wants_continue;
    if (!r->body_streamed) {
        r->body = (struct weir_http_text){ex->body.len > 0 ? ex->body.data : "", ex->body.len};
        r->base.size += ex->body.len;
    }
    weir_http_deadline_start(ex);
    s->on_request(s, r, s->arg);
}

void weir_http_conn_continue(struct weir_http_conn *c)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    ssize_t n = weir_transport_send(&c->transport, interim, sizeof interim - 1);
    weir_http_count(&c->server->counts.answers_1xx, 1);
    if (n != (ssize_t)sizeof interim - 1)
        weir_http_conn_close(c, WEIR_E_CLOSED); /* a fresh socket that can't take 25 bytes is of no use */
}

/* The header is whole, and a body follows. */
static void begin_body(struct weir_http_conn *c, bool more_at_hand)
{
    struct weir_http_exchange *ex = c->ex;
    c->body_mark = 0;
    if (c->server->settings.stream_body) {
        hand_over(c);
        if (c->state == WEIR_HTTP_OUT && c->ex == ex)
            weir_http_conn_time_body(c);
        return;
    }
    weir_http_conn_set_timer(c, WEIR_HTTP_TIMER_BODY);
    if (ex->parser.wants_continue && !more_at_hand)
        weir_http_conn_continue(c);
}

void weir_http_conn_time_body(struct weir_http_conn *c)
{
    struct weir_http_exchange *ex = c->ex;
    bool paused = c->state == WEIR_HTTP_OUT &&
                  (!takes_body(ex) || !ex->in.continued || ex->body.len >= WEIR_HTTP_IN_MAX);
    if (paused) {
        weir_http_conn_clear_timer(c);
    } else if (weir_list_empty(&c->timer) || ex->parser.body_len - c->body_mark >= BODY_STEP) {
        c->body_mark = ex->parser.body_len;
        weir_http_conn_set_timer(c, WEIR_HTTP_TIMER_BODY);
    }
}

static bool begin_request(struct weir_http_conn *c)
{
    c->ex = weir_http_exchange_create(c->server, c);
    if (c->ex == NULL) {
        ssize_t n = weir_transport_send(&c->transport, weir_http_busy, weir_http_busy_len);
        (void)n; /* without memory nothing more can be done for it */
        weir_http_conn_close(c, WEIR_E_NOMEM);
        return false;
    }
    c->state = WEIR_HTTP_READING;
    weir_http_conn_set_timer(c, WEIR_HTTP_TIMER_HEADER);
    return true;
}

/* Parses until the bytes end or a request has to be answered first. Returns how many it took. */
static size_t consume(struct weir_http_conn *c, const char *data, size_t len)
{
    size_t pos = 0;
    c->consuming = true;
    while (pos < len && (c->state == WEIR_HTTP_IDLE || c->state == WEIR_HTTP_READING)) {
        if (c->state == WEIR_HTTP_IDLE && !begin_request(c))
            break;
        struct weir_http_parser *p = &c->ex->parser;
        enum weir_http_phase before = p->phase;
        pos += weir_http_parser_feed(p, data + pos, len - pos);
        if (p->phase == WEIR_HTTP_FAILED)
            refuse_malformed(c);
        else if (p->phase == WEIR_HTTP_DONE)
            hand_over(c);
        else if (p->phase == WEIR_HTTP_BODY && before == WEIR_HTTP_HEAD)
            begin_body(c, pos < len);
        else if (p->phase == WEIR_HTTP_BODY)
            weir_http_conn_time_body(c);
    }
    c->consuming = false;
    return pos;
}

/* A piece of a streamed body. Returns how many bytes it took. */
static size_t consume_body(struct weir_http_conn *c, const char *data, size_t len)
{
    struct weir_http_exchange *ex = c->ex;
    size_t pos = 0;
    while (pos < len && takes_body(ex)) {
        pos += weir_http_parser_feed(&ex->parser, data + pos, len - pos);
        if (ex->parser.phase == WEIR_HTTP_FAILED) {
            ex->in.failed = ex->parser.status == 413 ? WEIR_E_LIMIT : WEIR_E_CLOSED;
            weir_http_count(
                ex->parser.status == 413 ? &c->server->counts.too_large : &c->server->counts.malformed, 1);
        }
    }
    size_t took = ex->in.failed != 0 ? len : pos; /* what follows a failed body is nothing */
    if (c->state == WEIR_HTTP_OUT)
        weir_http_conn_time_body(c);
    weir_http_intake_serve(ex);
    return took;
}

/* Keeps what was read but can't be parsed before the answer is out. */
static void keep_ahead(struct weir_http_conn *c, const char *data, size_t len)
{
    if (c->ex != NULL && takes_body(c->ex)) {
        size_t took = consume_body(c, data, len);
        data += took;
        len -= took;
    }
    if (len == 0 || c->state == WEIR_HTTP_CLOSED || c->state == WEIR_HTTP_LINGERING)
        return;
    weir_strbuf_add(&c->ahead, data, len);
    if (c->ahead.failed)
        weir_http_conn_close(c, WEIR_E_NOMEM);
}

void weir_http_conn_advance(struct weir_http_conn *c)
{
    if (c->consuming)
        return; /* whoever parses goes on by itself */
    while (c->state == WEIR_HTTP_IDLE && c->ahead_pos < c->ahead.len)
        c->ahead_pos += consume(c, c->ahead.data + c->ahead_pos, c->ahead.len - c->ahead_pos);
    if (c->ex != NULL && takes_body(c->ex) && c->ahead_pos < c->ahead.len)
        c->ahead_pos += consume_body(c, c->ahead.data + c->ahead_pos, c->ahead.len - c->ahead_pos);
    bool over = c->state == WEIR_HTTP_CLOSED || c->state == WEIR_HTTP_LINGERING;
    if (over || c->ahead_pos >= c->ahead.len) {
        weir_strbuf_fini(&c->ahead);
        c->ahead_pos = 0;
    }
    bool stopping = atomic_load_explicit(&c->server->stopping, memory_order_relaxed);
    if ((c->state == WEIR_HTTP_IDLE && (c->eof || stopping)) || (c->state == WEIR_HTTP_READING && c->eof))
        weir_http_conn_close(c, WEIR_E_CLOSED);
    weir_http_conn_watch(c);
}

/* ---- input ---- */

static void on_eof(struct weir_http_conn *c)
{
    struct weir_http_exchange *ex = c->ex;
    c->eof = true;
    if (c->state != WEIR_HTTP_OUT && c->state != WEIR_HTTP_ANSWERING) {
        weir_http_conn_close(c, WEIR_E_CLOSED);
        return;
    }
    if (takes_body(ex)) {
        ex->in.failed = WEIR_E_CLOSED;
        mark_gone(ex);
        weir_http_conn_clear_timer(c);
        weir_http_intake_serve(ex);
    } else if (c->state == WEIR_HTTP_OUT && !c->server->settings.half_close) {
        mark_gone(ex); /* its answer is still written, should there be one */
    }
    weir_http_conn_watch(c);
}

/* The handshake comes before the first byte. false: not yet, or never. */
static bool shake_hands(struct weir_http_conn *c)
{
    static const char plain[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
                                "Content-Length: 45\r\nConnection: close\r\n\r\nThis address serves HTTPS: ask with https://\n";
    char why[WEIR_TRANSPORT_WHY_MAX];
    struct weir_http_counts *n = &c->server->counts;
    int rc = weir_transport_handshake(&c->transport);
    if (rc == 0) {
        weir_http_count(&n->handshakes, 1);
        weir_http_count(&n->resumed, weir_transport_info(&c->transport)->resumed);
        return true;
    }
    if (rc == -EAGAIN) {
        weir_http_conn_watch(c);
        return false;
    }
    weir_http_count(&n->handshakes_failed, 1);
    if (weir_log_enabled(WEIR_LOG_DEBUG))
        weir_log(WEIR_LOG_DEBUG, "http", NULL, "%s: %s", c->remote,
                 weir_transport_why(&c->transport, rc, why));
    bool lost = weir_transport_met_http(&c->transport);
    if (lost) { /* a browser that was sent to the wrong scheme: tell its user */
        weir_transport_init(&c->transport, weir_transport_detach(&c->transport));
        lost = weir_transport_send(&c->transport, plain, sizeof plain - 1) > 0;
    }
    if (lost)
        weir_http_conn_linger(c);
    else
        weir_http_conn_close(c, WEIR_E_CLOSED);
    return false;
}

static void on_readable(struct weir_http_conn *c)
{
    struct weir_http_server *s = c->server;
    size_t room = room_to_read(c);
    if (room == 0) {
        weir_http_conn_watch(c);
        return;
    }
    if (!weir_transport_is_established(&c->transport) && !shake_hands(c))
        return;
    ssize_t n = weir_transport_read(&c->transport, s->read_buffer, room);
    if (n == 0) {
        on_eof(c);
        return;
    }
    if (n < 0) {
        if (n == -EAGAIN || n == -EINTR)
            weir_http_conn_watch(c);
        else
            weir_http_conn_close(c, WEIR_E_CLOSED);
        return;
    }
    weir_http_count(&s->counts.bytes_in, (uint64_t)n);
    size_t len = (size_t)n, took = 0;
    s->reading = true;
    if (c->state == WEIR_HTTP_IDLE || c->state == WEIR_HTTP_READING)
        took = consume(c, s->read_buffer, len);
    if (took < len && c->state != WEIR_HTTP_CLOSED && c->state != WEIR_HTTP_LINGERING)
        keep_ahead(c, s->read_buffer + took, len - took);
    s->reading = false;
    bool stopping = atomic_load_explicit(&s->stopping, memory_order_relaxed);
    if (c->state == WEIR_HTTP_IDLE && stopping)
        weir_http_conn_close(c, WEIR_E_CLOSED);
    weir_http_conn_watch(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct weir_http_conn *c = poll->data;
    weir_http_server_now(c->server);
    if (status < 0) { /* reset, or another error of the socket */
        weir_http_conn_close(c, WEIR_E_CLOSED);
        return;
    }
    if (c->yields) { /* the kernel lists first whom it listed before; it asks again */
        c->yields = false;
        return;
    }
    if ((events & UV_WRITABLE) && c->state == WEIR_HTTP_ANSWERING) {
        weir_http_conn_write(c);
        weir_http_conn_watch(c);
    }
    if ((events & weir_transport_polls_for_read(&c->transport)) && c->state != WEIR_HTTP_CLOSED) {
        on_readable(c);
    } else if ((events & UV_DISCONNECT) && c->state != WEIR_HTTP_CLOSED) {
        c->hung_up = true;
        if (c->state == WEIR_HTTP_OUT && !c->server->settings.half_close)
            mark_gone(c->ex);
        weir_http_conn_watch(c);
    }
}

void weir_http_conn_timed_out(struct weir_http_conn *c, enum weir_http_timer kind)
{
    struct weir_http_counts *n = &c->server->counts;
    weir_http_conn_clear_timer(c);
    switch (kind) {
    case WEIR_HTTP_TIMER_HEADER:
        if (c->state == WEIR_HTTP_READING) {
            refuse(c, 408, &n->timeout_header);
            return;
        }
        weir_http_count(&n->timeout_idle, 1); /* it has connected and never said a word */
        break;
    case WEIR_HTTP_TIMER_BODY:
        if (c->state == WEIR_HTTP_READING) {
            refuse(c, 408, &n->timeout_body);
            return;
        }
        weir_http_count(&n->timeout_body, 1);
        c->ex->in.failed = WEIR_E_TIMEOUT; /* the handler learns it, and answers */
        weir_http_intake_serve(c->ex);
        weir_http_conn_watch(c);
        return;
    case WEIR_HTTP_TIMER_IDLE:
        weir_http_count(&n->timeout_idle, 1);
        break;
    case WEIR_HTTP_TIMER_WRITE:
        weir_http_count(&n->timeout_write, 1);
        break;
    case WEIR_HTTP_TIMER_LINGER:
    case WEIR_HTTP_TIMER_COUNT:
        break;
    }
    weir_http_conn_close(c, kind == WEIR_HTTP_TIMER_WRITE ? WEIR_E_TIMEOUT : WEIR_E_CLOSED);
}

void weir_http_conn_stop(struct weir_http_conn *c)
{
    if (c->state == WEIR_HTTP_IDLE && !c->consuming && !c->server->reading)
        on_readable(c); /* a request that is already here is still served */
    if (c->state == WEIR_HTTP_IDLE && !c->consuming)
        weir_http_conn_close(c, WEIR_E_CLOSED);
}

void weir_http_conn_read(struct weir_http_conn *c)
{
    on_readable(c);
}

static int start_poll(struct weir_http_conn *c)
{
    int rc = uv_poll_init(c->server->loop, &c->poll, c->transport.fd);
    c->poll.data = c;
    return rc;
}

static int open_transport(struct weir_http_conn *c, int fd)
{
    if (c->server->settings.tls != NULL)
        return weir_tls_server_accept(c->server->settings.tls, fd, &c->transport);
    weir_transport_init(&c->transport, fd);
    return WEIR_OK;
}

int weir_http_conn_open(struct weir_http_server *s, int fd, const char *remote, bool refused)
{
    struct weir_http_conn *c = weir_calloc(1, sizeof *c);
    if (c == NULL)
        return WEIR_E_NOMEM;
    c->server = s;
    int rc = open_transport(c, fd);
    if (rc == WEIR_OK && start_poll(c) < 0) {
        (void)weir_transport_detach(&c->transport); /* the socket is the caller's */
        rc = WEIR_E_IO;
    }
    if (rc < 0) {
        weir_free(c);
        return rc;
    }
    c->state = WEIR_HTTP_IDLE;
    c->id = ++s->next_conn;
    c->refused = refused;
    strncat(c->remote, remote, sizeof c->remote - 1);
    weir_list_init(&c->timer);
    weir_list_init(&c->node);
    weir_list_init(&c->unread);
    weir_list_append(&s->conns, &c->node);
    if (refused) {
        ssize_t n = weir_transport_send(&c->transport, weir_http_busy, weir_http_busy_len);
        if (n < 0) /* TLS, for one: a handshake is more than we give to those we refuse */
            weir_http_conn_close(c, WEIR_E_CLOSED);
        else
            weir_http_conn_linger(c);
        return WEIR_OK;
    }
    weir_http_conn_set_timer(c, WEIR_HTTP_TIMER_HEADER);
    if (weir_transport_is_tls(&c->transport))
        weir_http_conn_watch(c);
    else
        on_readable(c); /* who connects has mostly asked already: that saves it a turn, and us asking for it */
    return WEIR_OK;
}
