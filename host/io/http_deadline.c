/* A request that has no answer when its deadline passes is answered 504 by its connection, wherever its event
 * is: in a queue behind a handler that is stuck, running, suspended. Its exchange is its holder's then, so
 * another one takes its place on the connection; what the holder answers later finds no connection.
 *
 * All requests of a server have the same time, so they are due in the order in which they came, and one timer
 * for the first of them serves all. It is not touched when a request is answered in time: it comes, finds
 * nothing that is due, and waits for what is the first now: once per deadline, not once per request. */
#include <sys/socket.h>

#include "base/clock.h"
#include "io/http_conn.h"

/* An exchange for the answer of `ex`. The strings are the request's own, so this one refers to it. */
static struct weir_http_exchange *stand_in(struct weir_http_exchange *ex)
{
    struct weir_http_exchange *new = weir_http_exchange_create(ex->server, ex->conn);
    if (new == NULL)
        return NULL;
    /* what the answer's head and the access log ask; the rest of it the holder may be writing */
    new->r.method = ex->r.method;
    new->r.target = ex->r.target;
    new->r.path = ex->r.path;
    new->r.query = ex->r.query;
    new->r.version_minor = ex->r.version_minor;
    new->r.headers = ex->r.headers;
    new->r.header_count = ex->r.header_count;
    new->r.arrival_ns = ex->r.arrival_ns;
    new->r.id = ex->r.id;
    new->parser.phase = ex->parser.phase; /* whether there is more of it to come */
    new->late = ex;
    atomic_fetch_add_explicit(&ex->refs, 1, memory_order_relaxed); /* its holder's keeps it until now */
    return new;
}

static void expire(struct weir_http_exchange *ex)
{
    struct weir_http_conn *c = ex->conn;
    struct weir_http_exchange *new = stand_in(ex);
    if (new == NULL) {
        ssize_t n = weir_transport_send(&c->transport, weir_http_busy, weir_http_busy_len);
        (void)n; /* without memory nothing more can be done for it */
        weir_http_conn_close(c, WEIR_E_NOMEM);
        return;
    }
    c->ex = new;
    weir_http_conn_part(ex, WEIR_E_TIMEOUT);
    new->end = WEIR_REQUEST_EXPIRED;
    weir_http_response_plain(new, c->server->worker, 504); /* keep_alive is false: the connection's last */
    weir_http_conn_answer(new);
}

static uint64_t due_ns(const struct weir_http_exchange *ex)
{
    return ex->r.arrival_ns + ex->server->settings.deadline_ns;
}

static void on_deadline(uv_timer_t *timer);

static void wait_for_first(struct weir_http_server *s)
{
    uint64_t due = due_ns(WEIR_LIST_ENTRY(s->out.next, struct weir_http_exchange, node));
    uint64_t left = due > s->now_ns ? due - s->now_ns : 0;
    uv_timer_start(&s->deadline, on_deadline, left / WEIR_NS_PER_MS + 1, 0);
}

static void on_deadline(uv_timer_t *timer)
{
    struct weir_http_server *s = timer->data;
    uint64_t now = weir_http_server_now(s);
    while (!weir_list_empty(&s->out)) {
        struct weir_http_exchange *ex = WEIR_LIST_ENTRY(s->out.next, struct weir_http_exchange, node);
        if (now <= due_ns(ex))
            break;
        weir_http_deadline_end(ex);
        expire(ex);
    }
    if (!weir_list_empty(&s->out))
        wait_for_first(s);
}

void weir_http_deadline_init(struct weir_http_server *s)
{
    weir_list_init(&s->out);
    uv_timer_init(s->loop, &s->deadline);
    s->deadline.data = s;
}

void weir_http_deadline_start(struct weir_http_exchange *ex)
{
    struct weir_http_server *s = ex->server;
    if (s->settings.deadline_ns == 0)
        return;
    weir_list_append(&s->out, &ex->node);
    if (!uv_is_active((uv_handle_t *)&s->deadline))
        wait_for_first(s);
}
