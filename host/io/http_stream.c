/* Streamed answers. On the loop's own thread a chunk is appended and sent; from another worker it travels in
 * a message, and every WEIR_HTTP_OUT_MAX bytes the writer waits until an ack says that all of it has been
 * sent. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "core/worker.h"
#include "io/http_conn.h"

struct chunk {
    struct weir_message message;
    struct weir_http_exchange *ex;
    bool ack;
    size_t len;
    char data[];
};

static struct weir_http_exchange *exchange_of(struct weir_http_stream *s)
{
    return WEIR_LIST_ENTRY(s, struct weir_http_exchange, stream);
}

/* ---- the writer is told ---- */

static void take_ack(struct weir_http_stream *s, int rc)
{
    struct weir_http_wait *wait = s->wait;
    s->wait = NULL;
    s->acking = false;
    s->unacked = 0;
    if (wait != NULL)
        wait->done(wait, rc, NULL, 0);
}

static void deliver_ack(struct weir_message *m)
{
    struct weir_http_stream *s = WEIR_LIST_ENTRY(m, struct weir_http_stream, ack);
    take_ack(s, s->ack_rc);
    weir_http_exchange_unref(exchange_of(s), false);
}

static void give_ack(struct weir_http_exchange *ex, int rc)
{
    struct weir_http_stream *s = &ex->stream;
    s->ack_wanted = false;
    if (weir_http_exchange_is_local(ex, s->worker)) {
        take_ack(s, rc);
        return;
    }
    s->ack_rc = rc;
    s->ack.deliver = deliver_ack;
    atomic_fetch_add_explicit(&ex->refs, 1, memory_order_relaxed); /* ours keeps it alive until then */
    weir_worker_post(s->worker, &s->ack);
}

static void more(struct weir_http_exchange *ex)
{
    if (ex->stream.ack_wanted)
        give_ack(ex, WEIR_OK);
}

/* The exchange stays until the writer closes its stream. */
static void cut(struct weir_http_exchange *ex, int rc)
{
    if (ex->stream.ack_wanted)
        give_ack(ex, rc);
}

static const struct weir_http_producer stream_producer = {.more = more, .cut = cut};

struct weir_http_stream *weir_http_start(struct weir_http_request *r, struct weir_worker *w, int status,
                                         const struct weir_http_header *headers, size_t count)
{
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    struct weir_http_stream *s = &ex->stream;
    enum weir_http_framing framing = WEIR_HTTP_FRAMING_CHUNKED;
    if (status == 204 || status == 304)
        framing = WEIR_HTTP_FRAMING_NONE;
    else if (r->version_minor == 0)
        framing = WEIR_HTTP_FRAMING_CLOSE;
    s->worker = w;
    s->bodiless = !weir_http_has_body(ex, status);
    s->chunked = framing == WEIR_HTTP_FRAMING_CHUNKED;
    weir_http_response_head(ex, w, status, headers, count, framing, 0);
    bool failed = ex->out.failed;
    if (!failed)
        ex->producer = &stream_producer;
    weir_http_exchange_answer(ex, w);
    return failed ? NULL : s;
}

/* ---- chunks ---- */

static void append_chunk(struct weir_http_exchange *ex, const void *data, size_t len)
{
    char size[24];
    if (ex->stream.chunked) {
        int n = snprintf(size, sizeof size, "%zx\r\n", len);
        weir_strbuf_add(&ex->out, size, (size_t)n);
    }
    weir_strbuf_add(&ex->out, data, len);
    if (ex->stream.chunked)
        weir_strbuf_add(&ex->out, "\r\n", 2);
}

static void push(struct weir_http_exchange *ex)
{
    bool blocked = (ex->conn->events & UV_WRITABLE) != 0;
    if (!blocked || ex->out.failed)
        weir_http_conn_write(ex->conn);
}

static int write_here(struct weir_http_exchange *ex, const void *data, size_t len,
                      struct weir_http_wait *wait)
{
    struct weir_http_stream *s = &ex->stream;
    if (ex->conn == NULL)
        return WEIR_E_CLOSED;
    weir_http_server_now(ex->server);
    append_chunk(ex, data, len);
    push(ex);
    if (ex->conn == NULL)
        return WEIR_E_CLOSED;
    if (ex->out.len - ex->out_pos <= WEIR_HTTP_OUT_MAX)
        return WEIR_OK;
    s->wait = wait;
    s->acking = s->ack_wanted = true;
    return WEIR_E_FULL;
}

static void deliver_chunk(struct weir_message *m)
{
    struct chunk *chunk = WEIR_LIST_ENTRY(m, struct chunk, message);
    struct weir_http_exchange *ex = chunk->ex;
    weir_http_server_now(ex->server);
    if (ex->conn == NULL) {
        if (chunk->ack)
            give_ack(ex, WEIR_E_CLOSED);
    } else {
        append_chunk(ex, chunk->data, chunk->len);
        ex->stream.ack_wanted = ex->stream.ack_wanted || chunk->ack;
        push(ex);
    }
    weir_free(chunk);
}

static int write_there(struct weir_http_exchange *ex, const void *data, size_t len,
                       struct weir_http_wait *wait)
{
    struct weir_http_stream *s = &ex->stream;
    struct chunk *chunk = weir_malloc(sizeof *chunk + len);
    if (chunk == NULL)
        return WEIR_E_NOMEM;
    chunk->message.deliver = deliver_chunk;
    chunk->ex = ex;
    chunk->len = len;
    memcpy(chunk->data, data, len);
    s->unacked += len;
    bool full = s->unacked > WEIR_HTTP_OUT_MAX;
    chunk->ack = full && !s->acking;
    if (full) {
        s->wait = wait;
        s->acking = true;
    }
    weir_http_exchange_post(ex, &chunk->message);
    return full ? WEIR_E_FULL : WEIR_OK;
}

int weir_http_stream_write(struct weir_http_stream *s, const void *data, size_t len,
                           struct weir_http_wait *wait)
{
    struct weir_http_exchange *ex = exchange_of(s);
    if (atomic_load_explicit(&ex->gone, memory_order_relaxed))
        return WEIR_E_CLOSED;
    if (len == 0 || s->bodiless)
        return WEIR_OK;
    return weir_http_exchange_is_local(ex, s->worker) ? write_here(ex, data, len, wait)
                                                      : write_there(ex, data, len, wait);
}

/* ---- the end ---- */

static void end_here(struct weir_http_exchange *ex, bool whole)
{
    struct weir_http_stream *s = &ex->stream;
    struct weir_http_conn *c = ex->conn;
    ex->producer = NULL;
    if (c == NULL) {
        weir_http_exchange_end(ex);
    } else if (!whole) {
        weir_http_conn_close(c, WEIR_E_CLOSED);
    } else {
        if (s->chunked && !s->bodiless)
            weir_strbuf_add(&ex->out, "0\r\n\r\n", 5);
        weir_http_conn_write(c);
    }
}

static void deliver_end(struct weir_message *m)
{
    struct weir_http_stream *s = WEIR_LIST_ENTRY(m, struct weir_http_stream, end);
    struct weir_http_exchange *ex = exchange_of(s);
    weir_http_server_now(ex->server);
    end_here(ex, s->closed_whole);
}

void weir_http_stream_close(struct weir_http_stream *s, bool whole)
{
    struct weir_http_exchange *ex = exchange_of(s);
    s->wait = NULL;
    if (weir_http_exchange_is_local(ex, s->worker)) {
        weir_http_server_now(ex->server);
        end_here(ex, whole);
        return;
    }
    s->closed_whole = whole;
    s->end.deliver = deliver_end;
    weir_http_exchange_post(ex, &s->end);
}
