/* The writing half of a connection: an answer's bytes to its socket, then on to the next request. */
#include <errno.h>

#include "io/access_log.h"
#include "io/http_conn.h"

void weir_http_answer_log(struct weir_http_exchange *ex)
{
    struct weir_http_server *s = ex->server;
    if (s->log != NULL)
        weir_access_log_write(s->log, &ex->r, ex->status,
                              ex->sent > ex->head_len ? ex->sent - ex->head_len : 0,
                              ex->r.arrival_ns != 0 ? s->now_ns - ex->r.arrival_ns : 0);
}

/* The answer is written. */
static void finish(struct weir_http_conn *c)
{
    struct weir_http_exchange *ex = c->ex;
    bool again = !ex->closes && ex->parser.phase == WEIR_HTTP_DONE;
    bool unread = ex->parser.phase != WEIR_HTTP_DONE || c->ahead_pos < c->ahead.len || c->consuming;
    weir_http_answer_log(ex);
    c->answers++;
    c->ex = NULL;
    ex->conn = NULL;
    c->state = WEIR_HTTP_IDLE;
    weir_http_exchange_end(ex);
    if (again) {
        weir_http_conn_set_timer(c, WEIR_HTTP_TIMER_IDLE);
        weir_http_conn_advance(c);
    } else if (c->eof || !unread) {
        weir_http_conn_close(c, WEIR_E_CLOSED);
    } else {
        weir_http_conn_linger(c);
    }
}

/* Sends what is in `out`. false: the rest has to wait, or the connection is closed. */
static bool send_out(struct weir_http_conn *c)
{
    struct weir_http_exchange *ex = c->ex;
    bool progress = false;
    while (ex->out_pos < ex->out.len) {
        ssize_t n = weir_transport_send(&c->transport, ex->out.data + ex->out_pos, ex->out.len - ex->out_pos);
        if (n >= 0) {
            ex->out_pos += (size_t)n;
            ex->sent += (uint64_t)n;
            weir_http_count(&c->server->counts.bytes_out, (uint64_t)n);
            progress = true;
            continue;
        }
        if (n == -EINTR)
            continue;
        if (n != -EAGAIN) {
            weir_http_conn_close(c, WEIR_E_CLOSED);
            return false;
        }
        if (progress || weir_list_empty(&c->timer))
            weir_http_conn_set_timer(c, WEIR_HTTP_TIMER_WRITE);
        weir_http_conn_watch(c);
        return false;
    }
    weir_strbuf_clear(&ex->out);
    ex->out_pos = 0;
    return true;
}

void weir_http_conn_write(struct weir_http_conn *c)
{
    struct weir_http_exchange *ex = c->ex;
    unsigned answers = c->answers;
    if (ex->out.failed) {
        weir_http_conn_close(c, WEIR_E_NOMEM);
        return;
    }
    while (send_out(c)) {
        if (ex->producer == NULL) {
            finish(c);
            return;
        }
        ex->producer->more(ex);
        if (c->state != WEIR_HTTP_ANSWERING || c->answers != answers)
            return; /* who was told that there is room has ended the answer, and `ex` with it */
        if (ex->out.len == 0 && ex->producer != NULL) {
            weir_http_conn_clear_timer(c); /* it is the producer that we wait for */
            weir_http_conn_watch(c);
            return;
        }
    }
}

static void count_answer(struct weir_http_exchange *ex)
{
    struct weir_http_counts *n = &ex->server->counts;
    _Atomic uint64_t *const by_class[] = {&n->answers_1xx, &n->answers_2xx, &n->answers_3xx, &n->answers_4xx,
                                          &n->answers_5xx};
    int class = ex->status / 100 < 5 ? ex->status / 100 : 5;
    weir_http_count(by_class[class > 0 ? class - 1 : 4], 1);
    switch (ex->end) {
    case WEIR_REQUEST_UNANSWERED:
        weir_http_count(&n->unanswered, 1);
        break;
    case WEIR_REQUEST_FAILED:
        weir_http_count(&n->failed, 1);
        break;
    case WEIR_REQUEST_REFUSED:
    case WEIR_REQUEST_DROPPED:
        weir_http_count(&n->overloaded, 1);
        break;
    case WEIR_REQUEST_EXPIRED:
        weir_http_count(&n->expired, 1);
        break;
    default:
        break;
    }
}

bool weir_http_conn_hold(struct weir_http_exchange *ex, const struct weir_http_producer *producer)
{
    if (ex->conn == NULL)
        return false;
    ex->producer = producer;
    weir_http_deadline_end(ex);
    ex->conn->state = WEIR_HTTP_ANSWERING;
    weir_http_conn_clear_timer(ex->conn);
    weir_http_conn_watch(ex->conn);
    return true;
}

void weir_http_conn_answer(struct weir_http_exchange *ex)
{
    static const char no_memory[] =
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    struct weir_http_conn *c = ex->conn;
    if (c == NULL) {
        if (ex->producer != NULL)
            ex->producer->cut(ex, WEIR_E_CLOSED);
        else
            weir_http_exchange_end(ex);
        return;
    }
    c->state = WEIR_HTTP_ANSWERING;
    weir_http_deadline_end(ex);
    weir_http_conn_clear_timer(c);
    if (ex->out.failed) {
        ex->status = 500;
        ssize_t n = weir_transport_send(&c->transport, no_memory, sizeof no_memory - 1);
        ex->sent = n > 0 ? (uint64_t)n : 0; /* all that can be done */
        count_answer(ex);
        weir_http_conn_close(c, WEIR_E_NOMEM);
        return;
    }
    c->yields = ex->end == WEIR_REQUEST_FAILED;
    count_answer(ex);
    weir_http_conn_write(c);
}
