#include "io/http_conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

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
    uv_close((uv_handle_t *)&c->poll, on_closed);
    close(c->fd);
    c->fd = -1;
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
    shutdown(c->fd, SHUT_WR);
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
    ssize_t n = send(c->fd, interim, sizeof interim - 1, MSG_NOSIGNAL);
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
        ssize_t n = send(c->fd, weir_http_busy, weir_http_busy_len, MSG_NOSIGNAL);
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

static void on_readable(struct weir_http_conn *c)
{
    struct weir_http_server *s = c->server;
    size_t room = room_to_read(c);
    if (room == 0) {
        weir_http_conn_watch(c);
        return;
    }
    ssize_t n = recv(c->fd, s->read_buffer, room, 0);
    if (n == 0) {
        on_eof(c);
        return;
    }
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
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
    if ((events & UV_WRITABLE) && c->state == WEIR_HTTP_ANSWERING) {
        weir_http_conn_write(c);
        weir_http_conn_watch(c);
    }
    if ((events & UV_READABLE) && c->state != WEIR_HTTP_CLOSED) {
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

static int start_poll(struct weir_http_conn *c)
{
    int rc = uv_poll_init(c->server->loop, &c->poll, c->fd);
    c->poll.data = c;
    return rc;
}

int weir_http_conn_open(struct weir_http_server *s, int fd, const char *remote, bool refused)
{
    struct weir_http_conn *c = weir_calloc(1, sizeof *c);
    if (c == NULL)
        return WEIR_E_NOMEM;
    c->server = s;
    c->fd = fd;
    if (start_poll(c) < 0) {
        weir_free(c);
        return WEIR_E_IO;
    }
    c->state = WEIR_HTTP_IDLE;
    c->id = ++s->next_conn;
    c->refused = refused;
    strncat(c->remote, remote, sizeof c->remote - 1);
    weir_list_init(&c->timer);
    weir_list_init(&c->node);
    weir_list_append(&s->conns, &c->node);
    if (refused) {
        ssize_t n = send(fd, weir_http_busy, weir_http_busy_len, MSG_NOSIGNAL);
        if (n < 0)
            weir_http_conn_close(c, WEIR_E_CLOSED);
        else
            weir_http_conn_linger(c);
        return WEIR_OK;
    }
    weir_http_conn_set_timer(c, WEIR_HTTP_TIMER_HEADER);
    weir_http_conn_watch(c);
    return WEIR_OK;
}
