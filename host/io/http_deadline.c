/* A request that has no answer when its deadline passes is answered 504 by its connection, wherever its event
 * is: in a queue behind a handler that is stuck, running, suspended. Its exchange is its holder's then, so
 * another one takes its place on the connection; what the holder answers later finds no connection.
 *
 * All requests of a server have the same time, but for those whose clients give them less, which have a timer of the worker each; so the
 * others are due in the order in which they came, and one timer for the first of them serves all. It is not touched when a request is answered in time: it comes, finds
 * nothing that is due, and waits for what is the first now: once per deadline, not once per request. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/http_conn.h"
#include "io/http_syntax.h"

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
    return ex->r.deadline_ns;
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

/* ---- deadlines of their own ---- */

static void on_due(struct weir_timer *timer)
{
    struct weir_http_exchange *ex = WEIR_LIST_ENTRY(timer, struct weir_http_exchange, due);
    weir_http_server_now(ex->server);
    expire(ex);
}

/* A whole number of milliseconds, up to nine digits. */
static bool read_ms(struct weir_http_text t, uint64_t *ret)
{
    uint64_t ms = 0;
    t = weir_http_trim(t);
    for (size_t i = 0; i < t.len; i++) {
        if (t.data[i] < '0' || t.data[i] > '9')
            return false;
        ms = ms * 10 + (uint64_t)(t.data[i] - '0');
    }
    *ret = ms;
    return t.len > 0 && t.len <= 9;
}

/* What can't be read is passed over: the client may be right that it is late, and wrong in how it says so. */
static void ignore_header(struct weir_http_server *s, struct weir_http_text value)
{
    char fields[48];
    weir_http_count(&s->counts.deadline_ignored, 1);
    if (s->puzzled_ns != 0 && s->now_ns - s->puzzled_ns < WEIR_NS_PER_S) {
        s->puzzles++;
        return;
    }
    snprintf(fields, sizeof fields, "{\"left_out\":%llu}", (unsigned long long)s->puzzles);
    weir_log(WEIR_LOG_WARN, "http", fields, "a request's '%s' is no number of milliseconds: '%.*s'; it is ignored",
             s->settings.deadline_header, value.len < 60 ? (int)value.len : 60, value.data);
    s->puzzled_ns = s->now_ns;
    s->puzzles = 0;
}

/* What the client gives it; 0: it says nothing. */
static uint64_t own_deadline(struct weir_http_exchange *ex)
{
    struct weir_http_server *s = ex->server;
    const char *name = s->settings.deadline_header;
    const struct weir_http_text *value = name != NULL ? weir_http_request_header(&ex->r, name, strlen(name)) : NULL;
    uint64_t ms;
    if (value == NULL)
        return 0;
    if (!read_ms(*value, &ms)) {
        ignore_header(s, *value);
        return 0;
    }
    return ms > 0 ? ex->r.arrival_ns + ms * WEIR_NS_PER_MS : ex->r.arrival_ns - 1; /* nothing left: it has passed */
}

void weir_http_deadline_start(struct weir_http_exchange *ex)
{
    struct weir_http_server *s = ex->server;
    uint64_t usual = s->settings.deadline_ns != 0 ? ex->r.arrival_ns + s->settings.deadline_ns : 0, own = own_deadline(ex);
    bool shorter = own != 0 && (usual == 0 || own < usual);
    ex->r.deadline_ns = shorter ? own : usual;
    if (shorter) {
        ex->due.fire = on_due;
        (void)weir_timer_set(s->worker, &ex->due, own); /* no memory: the queues end it, if nobody else does */
        return;
    }
    if (usual == 0)
        return;
    weir_list_append(&s->out, &ex->node);
    if (!uv_is_active((uv_handle_t *)&s->deadline))
        wait_for_first(s);
}
