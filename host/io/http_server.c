#include "io/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/relief.h"
#include "core/worker.h"
#include "io/http_conn.h"

enum {
    ACCEPT_BATCH = 128, /* connections taken from a backlog before others get a turn: what comes while a call takes some ten milliseconds */
    RESUME_MS = 100,   /* how long nothing is accepted when descriptors have run out */
    REFUSED_MIN = 16,  /* connections beyond the limit that may be told so at once */
    SWEEP_MIN_MS = 10,
    SWEEP_MAX_MS = 500,
};

void weir_http_settings_default(struct weir_http_settings *s)
{
    *s = (struct weir_http_settings){
        .max_connections = 65536,
        .max_header_bytes = 16 << 10,
        .max_headers = 100,
        .max_uri = 8 << 10,
        .max_body = 1 << 20,
        .header_ns = 10 * WEIR_NS_PER_S,
        .body_ns = 30 * WEIR_NS_PER_S,
        .idle_ns = 60 * WEIR_NS_PER_S,
        .write_ns = 30 * WEIR_NS_PER_S,
        .linger_ns = 2 * WEIR_NS_PER_S,
        .server_name = "weir",
    };
}

uint64_t weir_http_server_now(struct weir_http_server *s)
{
    s->now_ns = s->worker != NULL ? weir_worker_now(s->worker) : weir_clock_ns();
    return s->now_ns;
}

/* ---- timeouts ---- */

/* Under pressure who is idle keeps its connection for a sixteenth of the time, but a second at least. */
static uint64_t shortened_ns(const struct weir_http_server *s)
{
    uint64_t idle = s->durations[WEIR_HTTP_TIMER_IDLE], less = idle / 16 > WEIR_NS_PER_S ? idle / 16 : WEIR_NS_PER_S;
    bool closes = s->worker != NULL && weir_relief_closes(s->worker->graph);
    return closes && less < idle ? idle - less : 0;
}

static void on_sweep(uv_timer_t *timer)
{
    struct weir_http_server *s = timer->data;
    uint64_t now = weir_http_server_now(s);
    for (int kind = 0; kind < WEIR_HTTP_TIMER_COUNT; kind++) {
        struct weir_list *head = &s->timers[kind];
        uint64_t until = now + (kind == WEIR_HTTP_TIMER_IDLE ? shortened_ns(s) : 0);
        while (!weir_list_empty(head)) {
            struct weir_http_conn *c = WEIR_LIST_ENTRY(head->next, struct weir_http_conn, timer);
            if (c->due_ns > until)
                break;
            weir_http_conn_timed_out(c, (enum weir_http_timer)kind);
        }
    }
}

static void start_sweep(struct weir_http_server *s)
{
    uint64_t shortest = SWEEP_MAX_MS * 8 * WEIR_NS_PER_MS;
    for (int kind = 0; kind < WEIR_HTTP_TIMER_COUNT; kind++) {
        if (s->durations[kind] != 0 && s->durations[kind] < shortest)
            shortest = s->durations[kind];
    }
    uint64_t period = shortest / 8 / WEIR_NS_PER_MS;
    uv_timer_start(&s->sweep, on_sweep, period > SWEEP_MIN_MS ? period : SWEEP_MIN_MS,
                   period > SWEEP_MIN_MS ? period : SWEEP_MIN_MS);
}

/* ---- what no poll tells of ---- */

/* One read for each: the others get their turn between two of them. */
static void on_reader(uv_idle_t *idle)
{
    struct weir_http_server *s = idle->data;
    struct weir_list ready;
    weir_http_server_now(s);
    weir_list_init(&ready);
    weir_list_splice(&ready, &s->unread);
    uv_idle_stop(idle); /* who has more asks again */
    struct weir_list *node;
    while ((node = weir_list_take_first(&ready)) != NULL)
        weir_http_conn_read(WEIR_LIST_ENTRY(node, struct weir_http_conn, unread));
}

void weir_http_server_read_on(struct weir_http_server *s)
{
    uv_idle_start(&s->reader, on_reader); /* does nothing when it runs already */
}

/* ---- accepting ---- */

void weir_http_server_conn_gone(struct weir_http_server *s, struct weir_http_conn *c)
{
    s->conn_count--;
    atomic_fetch_sub_explicit(s->connections, 1, memory_order_relaxed);
    atomic_store_explicit(&s->counts.connections, s->conn_count, memory_order_relaxed);
    if (c->refused)
        s->refused_count--;
    if (s->conn_count == 0 && !s->closed)
        uv_timer_stop(&s->sweep);
}

static void describe_peer(const struct sockaddr_storage *from, char *text, size_t size)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;
    const char *shown = NULL;
    if (from->ss_family == AF_INET)
        shown = inet_ntop(AF_INET, &v4->sin_addr, text, (socklen_t)size);
    else if (from->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        shown = inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, (socklen_t)size);
    else if (from->ss_family == AF_INET6)
        shown = inet_ntop(AF_INET6, &v6->sin6_addr, text, (socklen_t)size);
    if (shown == NULL)
        memcpy(text, "unix", sizeof "unix");
}

static bool is_foreign(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return true;
    return peer.uid != geteuid() && peer.uid != 0;
}

int weir_http_server_adopt(struct weir_http_server *s, int fd, const char *remote)
{
    size_t before = atomic_fetch_add_explicit(s->connections, 1, memory_order_relaxed);
    bool refused = before >= s->settings.max_connections;
    weir_http_count(refused ? &s->counts.refused : &s->counts.accepted, 1);
    bool told = !refused || s->refused_count < REFUSED_MIN + s->settings.max_connections / 16;
    s->conn_count++;
    if (refused)
        s->refused_count++;
    if (s->conn_count == 1)
        start_sweep(s);
    int rc = told ? weir_http_conn_open(s, fd, remote, refused) : WEIR_E_FULL;
    if (rc < 0) {
        struct weir_http_conn gone = {.refused = refused};
        if (rc != WEIR_E_FULL)
            weir_http_count(&s->counts.accept_errors, 1);
        close(fd);
        weir_http_server_conn_gone(s, &gone);
        return rc;
    }
    atomic_store_explicit(&s->counts.connections, s->conn_count, memory_order_relaxed);
    return WEIR_OK;
}

static void take_connection(struct weir_http_server *s, int fd, const struct sockaddr_storage *from)
{
    char remote[WEIR_HTTP_REMOTE_MAX];
    if (s->settings.same_user_only && is_foreign(fd)) {
        weir_http_count(&s->counts.foreign, 1);
        close(fd);
        return;
    }
    describe_peer(from, remote, sizeof remote);
    (void)weir_http_server_adopt(s, fd, remote); /* what it refuses it has counted */
}

static void on_listening(uv_poll_t *poll, int status, int events);

static void on_resume(uv_timer_t *timer)
{
    struct weir_http_server *s = timer->data;
    s->paused = false;
    WEIR_LIST_EACH(node, following, &s->sockets)
    {
        struct weir_http_socket *socket = WEIR_LIST_ENTRY(node, struct weir_http_socket, node);
        uv_poll_start(&socket->poll, UV_READABLE, on_listening);
    }
}

/* The backlog keeps who comes now; a loop that asks again and again would only burn its CPU. */
static void rest(struct weir_http_server *s)
{
    s->paused = true;
    WEIR_LIST_EACH(node, following, &s->sockets)
    uv_poll_stop(&WEIR_LIST_ENTRY(node, struct weir_http_socket, node)->poll);
    uv_timer_start(&s->resume, on_resume, RESUME_MS, 0);
}

static void pause_accepting(struct weir_http_server *s, int error)
{
    weir_http_count(&s->counts.accept_errors, 1);
    if (s->complained_ns == 0 || s->now_ns - s->complained_ns > 10 * WEIR_NS_PER_S) {
        s->complained_ns = s->now_ns;
        weir_log(WEIR_LOG_WARN, "http", NULL, "can't accept connections: %s; they wait", strerror(error));
    }
    rest(s);
}

static int accept_one(int fd, struct sockaddr_storage *from)
{
    socklen_t len = sizeof *from;
    if (WEIR_FAULT(ACCEPT_EMFILE)) {
        errno = EMFILE;
        return -1;
    }
    from->ss_family = AF_UNSPEC;
    return accept4(fd, (struct sockaddr *)from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void accept_some(struct weir_http_server *s, int listening, int max)
{
    for (int i = 0; i < max && !s->paused; i++) {
        struct sockaddr_storage from;
        int fd = accept_one(listening, &from);
        if (fd >= 0) {
            take_connection(s, fd, &from);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(s, errno);
        /* all else concerns the one connection that did not come to be */
    }
}

static void on_listening(uv_poll_t *poll, int status, int events)
{
    struct weir_http_socket *socket = poll->data;
    (void)events;
    weir_http_server_now(socket->server);
    if (status < 0)
        pause_accepting(socket->server, -status);
    else if (socket->server->worker != NULL && weir_relief_stops(socket->server->worker->graph))
        rest(socket->server);
    else
        accept_some(socket->server, socket->fd, ACCEPT_BATCH);
}

int weir_http_server_listen(struct weir_http_server *s, int fd, struct weir_err *reterr)
{
    struct weir_http_socket *socket = weir_calloc(1, sizeof *socket);
    if (socket == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "http: out of memory");
    socket->server = s;
    socket->given = fd;
    socket->fd = dup(fd);
    if (socket->fd < 0) {
        weir_free(socket);
        return weir_err_set(reterr, WEIR_E_IO, "http: can't duplicate a listening socket: %s",
                            strerror(errno));
    }
    int rc = uv_poll_init(s->loop, &socket->poll, socket->fd);
    if (rc < 0) {
        close(socket->fd);
        weir_free(socket);
        return weir_err_set(reterr, WEIR_E_IO, "http: can't watch a listening socket: %s", uv_strerror(rc));
    }
    socket->poll.data = socket;
    weir_list_append(&s->sockets, &socket->node);
    if (!s->paused)
        uv_poll_start(&socket->poll, UV_READABLE, on_listening);
    return WEIR_OK;
}

static void on_socket_closed(uv_handle_t *handle)
{
    weir_free(handle->data);
}

static void close_socket(struct weir_http_socket *socket)
{
    weir_list_remove(&socket->node);
    uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
    close(socket->fd);
}

bool weir_http_server_listens(const struct weir_http_server *s, int fd)
{
    for (const struct weir_list *node = s->sockets.next; node != &s->sockets; node = node->next)
        if (WEIR_LIST_ENTRY(node, const struct weir_http_socket, node)->given == fd)
            return true;
    return false;
}

void weir_http_server_unlisten(struct weir_http_server *s, int fd)
{
    WEIR_LIST_EACH(node, following, &s->sockets)
    {
        struct weir_http_socket *socket = WEIR_LIST_ENTRY(node, struct weir_http_socket, node);
        if (socket->given == fd)
            close_socket(socket);
    }
}

/* ---- life ---- */

static void init_lists(struct weir_http_server *s)
{
    weir_list_init(&s->sockets);
    weir_list_init(&s->conns);
    weir_list_init(&s->unread);
    weir_list_init(&s->free);
    for (int kind = 0; kind < WEIR_HTTP_TIMER_COUNT; kind++)
        weir_list_init(&s->timers[kind]);
    s->durations[WEIR_HTTP_TIMER_HEADER] = s->settings.header_ns;
    s->durations[WEIR_HTTP_TIMER_BODY] = s->settings.body_ns;
    s->durations[WEIR_HTTP_TIMER_IDLE] = s->settings.idle_ns;
    s->durations[WEIR_HTTP_TIMER_WRITE] = s->settings.write_ns;
    s->durations[WEIR_HTTP_TIMER_LINGER] = s->settings.linger_ns;
}

int weir_http_server_create(const struct weir_http_options *o, struct weir_http_server **ret,
                            struct weir_err *reterr)
{
    struct weir_http_server *s = weir_calloc(1, sizeof *s);
    char *buffer = s != NULL ? weir_malloc(WEIR_HTTP_READ_MAX) : NULL;
    if (buffer == NULL) {
        weir_free(s);
        return weir_err_set(reterr, WEIR_E_NOMEM, "http: out of memory");
    }
    s->read_buffer = buffer;
    s->loop = o->loop;
    s->worker = o->worker;
    s->settings = *o->settings;
    s->log = o->log;
    s->on_request = o->on_request;
    s->on_reject = o->on_reject;
    s->arg = o->arg;
    s->connections = o->connections != NULL ? o->connections : &s->own_connections;
    init_lists(s);
    uv_timer_init(s->loop, &s->sweep);
    uv_timer_init(s->loop, &s->resume);
    uv_idle_init(s->loop, &s->reader);
    s->reader.data = s;
    weir_http_deadline_init(s);
    s->sweep.data = s->resume.data = s;
    *ret = s;
    return WEIR_OK;
}

void weir_http_server_stop(struct weir_http_server *s)
{
    atomic_store_explicit(&s->stopping, true, memory_order_relaxed);
    weir_http_server_now(s);
    WEIR_LIST_EACH(node, following, &s->sockets)
    {
        struct weir_http_socket *socket = WEIR_LIST_ENTRY(node, struct weir_http_socket, node);
        accept_some(s, socket->fd, ACCEPT_BATCH * 8);
        close_socket(socket);
    }
    uv_timer_stop(&s->resume);
    WEIR_LIST_EACH(conn, after, &s->conns)
    weir_http_conn_stop(WEIR_LIST_ENTRY(conn, struct weir_http_conn, node));
}

bool weir_http_server_idle(const struct weir_http_server *s)
{
    return s->conn_count == 0 && (s->closed || s->exchange_count == 0);
}

void weir_http_server_close(struct weir_http_server *s)
{
    if (s->closed)
        return;
    s->closed = true;
    atomic_store_explicit(&s->stopping, true, memory_order_relaxed);
    while (!weir_list_empty(&s->sockets))
        close_socket(WEIR_LIST_ENTRY(s->sockets.next, struct weir_http_socket, node));
    while (!weir_list_empty(&s->conns))
        weir_http_conn_close(WEIR_LIST_ENTRY(s->conns.next, struct weir_http_conn, node), WEIR_E_CLOSED);
    uv_close((uv_handle_t *)&s->sweep, NULL);
    uv_close((uv_handle_t *)&s->resume, NULL);
    uv_close((uv_handle_t *)&s->reader, NULL);
    uv_close((uv_handle_t *)&s->deadline, NULL);
}

void weir_http_server_destroy(struct weir_http_server *s)
{
    if (s == NULL)
        return;
    struct weir_list *node;
    while ((node = weir_list_take_first(&s->free)) != NULL)
        weir_http_exchange_free(WEIR_LIST_ENTRY(node, struct weir_http_exchange, node));
    weir_free(s->read_buffer);
    weir_free(s);
}

void weir_http_server_read(const struct weir_http_server *s, struct weir_http_totals *to)
{
#define X(name, text) to->name += atomic_load_explicit(&s->counts.name, memory_order_relaxed);
    WEIR_HTTP_COUNT_MAP(X)
#undef X
    to->connections += atomic_load_explicit(&s->counts.connections, memory_order_relaxed);
}

void weir_http_totals_print(const struct weir_http_totals *t, struct weir_strbuf *out)
{
    weir_strbuf_addf(out, "\"connections\":%llu", (unsigned long long)t->connections);
#define X(name, text) weir_strbuf_addf(out, ",\"" #name "\":%llu", (unsigned long long)t->name);
    WEIR_HTTP_COUNT_MAP(X)
#undef X
}
