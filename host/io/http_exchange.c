/* One request and its answer: memory, and the way between the loop's thread and the holder's. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/watch.h"
#include "core/worker.h"
#include "io/http_conn.h"
#include "io/http_page.h"
#include "io/tls.h"

#ifdef WEIR_TESTING
static const size_t free_max = 0; /* so that sanitizers see each exchange's life */
#else
static const size_t free_max = 256;
#endif

static bool is_gone(const struct weir_request *r)
{
    const struct weir_http_request *http = (const struct weir_http_request *)(const void *)r;
    return atomic_load_explicit(&weir_http_exchange_of(http)->gone, memory_order_relaxed);
}

static bool is_refusal(int end)
{
    return end == WEIR_REQUEST_REFUSED || end == WEIR_REQUEST_DROPPED;
}

void weir_http_exchange_respond(struct weir_http_exchange *ex, struct weir_worker *w)
{
    static const int statuses[] = {
        [WEIR_REQUEST_UNANSWERED] = 500, [WEIR_REQUEST_FAILED] = 500,  [WEIR_REQUEST_REFUSED] = 503,
        [WEIR_REQUEST_DROPPED] = 503,    [WEIR_REQUEST_EXPIRED] = 504,
    };
    const struct weir_http_page *page = ex->server->settings.reject_page;
    if (page != NULL && is_refusal(ex->end))
        weir_http_page_put(page, ex, w);
    else
        weir_http_response_plain(ex, w, statuses[ex->end]);
    weir_http_exchange_answer(ex, w);
}

static void deliver_refusal(struct weir_message *m)
{
    struct weir_http_exchange *ex = WEIR_LIST_ENTRY(m, struct weir_http_exchange, message);
    weir_http_server_now(ex->server);
    ex->server->on_reject(ex->server, &ex->r, ex->server->arg);
}

/* Who answers for the source runs logic of its own, on the source's worker: in a turn of its own when other logic runs now. */
static void hand_back(struct weir_http_exchange *ex, struct weir_worker *w)
{
    const struct weir_watch *watch = weir_watch_current();
    ex->message.deliver = deliver_refusal;
    if (weir_http_exchange_is_local(ex, w) && (watch == NULL || !weir_watch_runs(watch)))
        deliver_refusal(&ex->message);
    else
        weir_http_exchange_post(ex, &ex->message);
}

static void end_unanswered(struct weir_request *r, struct weir_worker *w, enum weir_request_end why)
{
    struct weir_http_exchange *ex = weir_http_exchange_of(weir_http_request_of(r));
    ex->end = (int)why;
    if (ex->server->on_reject != NULL && is_refusal(ex->end))
        hand_back(ex, w);
    else
        weir_http_exchange_respond(ex, w);
}

static void describe(const struct weir_request *r, struct weir_strbuf *out)
{
    weir_http_request_describe((const struct weir_http_request *)(const void *)r, out);
}

static const struct weir_request_ops http_ops = {.gone = is_gone, .end = end_unanswered, .describe = describe};

struct weir_http_request *weir_http_request_of(struct weir_request *r)
{
    return r != NULL && r->ops == &http_ops ? (struct weir_http_request *)(void *)r : NULL;
}

static struct weir_http_exchange *allocate(struct weir_http_server *s)
{
    if (s->free_count > 0) {
        s->free_count--;
        return WEIR_LIST_ENTRY(weir_list_take_first(&s->free), struct weir_http_exchange, node);
    }
    struct weir_http_exchange *ex = weir_malloc(WEIR_HTTP_EXCHANGE_SIZE);
    if (ex != NULL) {
        weir_strbuf_init(&ex->body);
        weir_strbuf_init(&ex->out);
        weir_strbuf_init(&ex->in.data);
    }
    return ex;
}

static void reset_buffer(struct weir_strbuf *b)
{
    if (b->cap > WEIR_HTTP_KEEP_MAX)
        weir_strbuf_fini(b);
    weir_strbuf_clear(b);
}

struct weir_http_exchange *weir_http_exchange_create(struct weir_http_server *s, struct weir_http_conn *c)
{
    struct weir_http_exchange *ex = allocate(s);
    if (ex == NULL)
        return NULL;
    /* the parts that hold something from the start; headers and text are only room */
    memset(&ex->r, 0, sizeof ex->r);
    memset(&ex->stream, 0, sizeof ex->stream);
    struct weir_strbuf data = ex->in.data;
    memset(&ex->in, 0, sizeof ex->in);
    ex->in.data = data;
    ex->r.base.ops = &http_ops;
    ex->r.base.size = WEIR_HTTP_EXCHANGE_SIZE;
    ex->r.vars = WEIR_VALUE_NOTHING;
    ex->server = s;
    ex->conn = c;
    atomic_init(&ex->gone, false);
    atomic_init(&ex->refs, 1);
    s->exchange_count++;
    weir_list_init(&ex->node);
    ex->due = (struct weir_timer){.slot = 0};
    ex->out_pos = ex->head_len = 0;
    ex->producer = NULL;
    ex->sent = 0;
    ex->status = 0;
    ex->end = -1;
    ex->keep_alive = ex->closes = false;
    ex->file = NULL;
    ex->late = NULL;
    struct weir_http_room room = {
        .headers = ex->headers,
        .header_cap = WEIR_HTTP_EXCHANGE_HEADERS,
        .text = ex->text,
        .text_cap = WEIR_HTTP_EXCHANGE_SIZE - offsetof(struct weir_http_exchange, text),
    };
    weir_http_parser_init(&ex->parser, &ex->r, &s->settings, room, &ex->body);
    ex->r.remote = weir_http_parser_keep(&ex->parser, c->remote, strlen(c->remote));
    return ex;
}

void weir_http_exchange_free(struct weir_http_exchange *ex)
{
    weir_strbuf_fini(&ex->body);
    weir_strbuf_fini(&ex->out);
    weir_strbuf_fini(&ex->in.data);
    weir_free(ex);
}

void weir_http_exchange_unref(struct weir_http_exchange *ex, bool on_loop)
{
    if (atomic_load_explicit(&ex->refs, memory_order_acquire) != 1 &&
        atomic_fetch_sub_explicit(&ex->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct weir_http_server *s = ex->server;
    if (ex->late != NULL)
        weir_http_exchange_unref(ex->late, on_loop);
    weir_value_unref(ex->r.vars);
    weir_tls_info_unref(ex->r.tls);
    weir_http_parser_fini(&ex->parser);
    if (!on_loop || s->closed || s->free_count >= free_max) {
        weir_http_exchange_free(ex);
        return;
    }
    reset_buffer(&ex->body);
    reset_buffer(&ex->out);
    reset_buffer(&ex->in.data);
    weir_list_prepend(&s->free, &ex->node);
    s->free_count++;
}

void weir_http_exchange_end(struct weir_http_exchange *ex)
{
    ex->server->exchange_count--;
    weir_http_exchange_unref(ex, true);
}

void weir_http_exchange_post(struct weir_http_exchange *ex, struct weir_message *m)
{
    weir_worker_post(ex->server->worker, m);
}

static void deliver_answer(struct weir_message *m)
{
    struct weir_http_exchange *ex = WEIR_LIST_ENTRY(m, struct weir_http_exchange, message);
    weir_http_server_now(ex->server);
    weir_http_conn_answer(ex);
}

void weir_http_exchange_answer(struct weir_http_exchange *ex, struct weir_worker *w)
{
    if (weir_http_exchange_is_local(ex, w)) {
        weir_http_server_now(ex->server); /* its handler may have taken long */
        weir_http_conn_answer(ex);
        return;
    }
    ex->message.deliver = deliver_answer;
    weir_http_exchange_post(ex, &ex->message);
}
