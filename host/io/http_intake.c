/* Reading a streamed body.
 *
 *   holder's worker                       loop
 *   weir_http_read ── ask ──────────────> wanted: waits until there is something
 *   done(…) <────────────────────── reply hands over all there is, reads on
 *
 * One ask is under way at a time. A reader that goes meanwhile leaves what comes for the next one. */
#include <assert.h>
#include <string.h>

#include "core/worker.h"
#include "io/http_conn.h"

static void deliver_reply(struct weir_message *m)
{
    struct weir_http_exchange *ex = WEIR_LIST_ENTRY(m, struct weir_http_exchange, in.reply);
    struct weir_http_intake *in = &ex->in;
    struct weir_http_wait *wait = in->wait;
    bool local = weir_http_exchange_is_local(ex, in->worker);
    in->asking = false;
    in->ready = wait == NULL;
    if (wait != NULL) {
        int rc = in->rc;
        struct weir_strbuf data = in->data; /* the reader may answer, and the exchange be gone with that */
        weir_strbuf_init(&in->data);
        in->wait = NULL;
        in->ended = rc == WEIR_OK && data.len == 0;
        wait->done(wait, rc, data.len > 0 ? data.data : "", data.len);
        weir_strbuf_fini(&data);
    }
    weir_http_exchange_unref(ex, local);
}

void weir_http_intake_serve(struct weir_http_exchange *ex)
{
    struct weir_http_intake *in = &ex->in;
    struct weir_http_conn *c = ex->conn;
    bool over = ex->parser.phase == WEIR_HTTP_DONE || in->failed != 0;
    if (!in->wanted || (ex->body.len == 0 && !over))
        return;
    in->wanted = false;
    in->rc = ex->body.len > 0 ? WEIR_OK : in->failed;
    struct weir_strbuf empty = in->data;
    in->data = ex->body;
    ex->body = empty;
    weir_strbuf_clear(&ex->body);
    if (c != NULL && c->state == WEIR_HTTP_OUT) {
        weir_http_conn_time_body(c);
        weir_http_conn_watch(c);
    }
    weir_worker_post(in->worker, &in->reply);
}

static void take_ask(struct weir_http_exchange *ex)
{
    struct weir_http_intake *in = &ex->in;
    struct weir_http_conn *c = ex->conn;
    in->wanted = true;
    if (c == NULL && in->failed == 0 && ex->parser.phase != WEIR_HTTP_DONE)
        in->failed = WEIR_E_CLOSED;
    if (c != NULL && !in->continued) {
        in->continued = true;
        if (ex->parser.body_len == 0)
            weir_http_conn_continue(c);
        if (ex->conn != NULL)
            weir_http_conn_time_body(c);
    }
    weir_http_intake_serve(ex);
}

static void deliver_ask(struct weir_message *m)
{
    struct weir_http_exchange *ex = WEIR_LIST_ENTRY(m, struct weir_http_exchange, in.ask);
    weir_http_server_now(ex->server);
    take_ask(ex);
}

/* A body that came whole, or what an earlier reader left, needs no way to the loop. */
static bool is_at_hand(struct weir_http_exchange *ex)
{
    struct weir_http_intake *in = &ex->in;
    if (in->ready)
        return true;
    if (ex->r.body_streamed)
        return false;
    in->rc = WEIR_OK;
    weir_strbuf_clear(&in->data);
    if (!in->given)
        weir_strbuf_add(&in->data, ex->r.body.data, ex->r.body.len);
    if (in->data.failed)
        in->rc = WEIR_E_NOMEM;
    in->given = true;
    return true;
}

void weir_http_read(struct weir_http_request *r, struct weir_worker *w, struct weir_http_wait *wait)
{
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    struct weir_http_intake *in = &ex->in;
    assert(w != NULL);
    in->wait = wait;
    if (in->asking)
        return;
    in->worker = w;
    in->asking = true;
    in->reply.deliver = deliver_reply;
    atomic_fetch_add_explicit(&ex->refs, 1,
                              memory_order_relaxed); /* the holder's own reference keeps it alive */
    if (is_at_hand(ex)) {
        weir_worker_post(w, &in->reply);
    } else if (weir_http_exchange_is_local(ex, w)) {
        weir_http_server_now(ex->server);
        take_ask(ex);
    } else {
        in->ask.deliver = deliver_ask;
        weir_http_exchange_post(ex, &in->ask);
    }
}

void weir_http_read_cancel(struct weir_http_request *r, struct weir_http_wait *wait)
{
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    if (ex->in.wait == wait)
        ex->in.wait = NULL;
}
