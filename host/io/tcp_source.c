#include "io/tcp_source.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/conf.h"
#include "config/problems.h"
#include "config/types.h"
#include "core/relief.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/class_rule.h"
#include "io/key_rule.h"
#include "io/listener.h"
#include "io/tcp_conn.h"
#include "io/tcp_server.h"
#include "io/tls.h"

enum { ACCEPT_BATCH = 32, PAUSE_MS = 100 };

static const char *const overflow_words[] = {"wait", "close", NULL};
static const char *const overlong_words[] = {"skip", "close", NULL};

static const struct weir_option options_of_greeting[] = {
    {.name = "lines", .type = WEIR_OPTION_INT, .min = 1, .max = 1000000, .text = "how many"},
    {.name = "until",
     .type = WEIR_OPTION_STRING,
     .text = "the line that is the last of them; '': an empty one"},
};

static const struct weir_option options_of_tcp[] = {
    {.name = "listen",
     .type = WEIR_OPTION_ADDRESS,
     .required = true,
     .text = "where peers connect: host:port, :port or unix:PATH"},
    WEIR_FRAMING_OPTIONS,
    {.name = "overlong",
     .type = WEIR_OPTION_ENUM,
     .fallback = "close",
     .words = overlong_words,
     .text = "a frame over max_frame: close the connection, or skip the frame"},
    {.name = "max_connections",
     .type = WEIR_OPTION_INT,
     .fallback = "10000",
     .min = 1,
     .max = 1000000,
     .text = "open at once, over all workers"},
    {.name = "idle_timeout",
     .type = WEIR_OPTION_DURATION,
     .fallback = "0s",
     .text = "a connection on which nothing moves for so long is closed; 0: never"},
    {.name = "linger",
     .type = WEIR_OPTION_DURATION,
     .fallback = "5s",
     .text =
         "how long a peer that has sent its end may still be sent something, and is waited for after ours"},
    {.name = "handshake_timeout",
     .type = WEIR_OPTION_DURATION,
     .fallback = "10s",
     .min = 1000000,
     .text = "for TLS"},
    {.name = "greeting",
     .type = WEIR_OPTION_MAP,
     .options = options_of_greeting,
     .option_count = sizeof options_of_greeting / sizeof *options_of_greeting,
     .text = "connections begin with lines, whatever the framing of what follows"},
    {.name = "send_buffer",
     .type = WEIR_OPTION_SIZE,
     .fallback = "256KiB",
     .min = 1024,
     .max = 1 << 30,
     .text = "bytes sent to a peer that it has not taken yet"},
    {.name = "on_overflow",
     .type = WEIR_OPTION_ENUM,
     .fallback = "wait",
     .words = overflow_words,
     .text = "who sends to a peer whose buffer is full: waits; or the connection is closed"},
    {.name = "notify",
     .type = WEIR_OPTION_BOOL,
     .fallback = "false",
     .text = "events for the opening and the end of connections, too"},
    {.name = "backlog",
     .type = WEIR_OPTION_INT,
     .fallback = "1024",
     .min = 1,
     .max = 65535,
     .text = "connections that wait to be accepted"},
    WEIR_TLS_SERVER_OPTION,
    WEIR_CLASS_PEER_OPTION,
    WEIR_KEY_PEER_OPTION,
};

static void check(const struct weir_conf *options, struct weir_problems *problems)
{
    struct weir_framing framing;
    struct weir_err err;
    if (weir_framing_from_options(options, &framing, &err) < 0)
        weir_problems_error(problems, weir_conf_mark(options), "%s", err.text);
    const struct weir_conf *greeting = weir_conf_option_map(options, "greeting");
    if (greeting != NULL && !weir_conf_option_given(greeting, "lines") &&
        !weir_conf_option_given(greeting, "until"))
        weir_problems_error(problems, weir_conf_mark(greeting), "'greeting' needs 'lines', 'until', or both");
    weir_class_check_options(options, problems);
    weir_key_check_options(options, problems);
    weir_tls_check_options(options, problems);
}

const struct weir_app_type weir_tcp_source_type = {
    .name = "tcp",
    .kind = WEIR_APP_SOURCE,
    .makes_streams = true,
    .text = "makes an event of each line, or other frame, that peers send",
    .options = options_of_tcp,
    .option_count = sizeof options_of_tcp / sizeof *options_of_tcp,
    .check = check,
};

static struct weir_tcp_server *server_of(const struct weir_source *s)
{
    return (struct weir_tcp_server *)(uintptr_t)s; /* the source is its first member */
}

/* ---- accepting ---- */

static void describe_peer(const struct sockaddr_storage *from, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        snprintf(text, size, "[%s]:%u", host, ntohs(in->sin6_port));
    } else {
        snprintf(text, size, "unix:");
    }
}

static void take_connection(struct weir_tcp_server *s, int fd, const struct sockaddr_storage *from)
{
    struct weir_tcp_shared *k = s->shared;
    char remote[WEIR_TCP_REMOTE_MAX];
    struct weir_network peer;
    int one = 1;
    if (atomic_fetch_add_explicit(&k->connections, 1, memory_order_relaxed) >= k->settings.max_connections) {
        atomic_fetch_sub_explicit(&k->connections, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&k->refused, 1, memory_order_relaxed);
        close(fd);
        return;
    }
    atomic_fetch_add_explicit(&k->accepted, 1, memory_order_relaxed);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* a unix socket has no such thing */
    describe_peer(from, remote, sizeof remote);
    weir_network_of_peer(from, &peer);
    struct weir_value key = k->key.client ? weir_key_of_peer(&peer) : WEIR_VALUE_NOTHING;
    if (weir_tcp_conn_begin(s, fd, remote, weir_class_rule_of_peer(k->class, &peer), key) == NULL) {
        atomic_fetch_sub_explicit(&k->connections, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&k->failed, 1, memory_order_relaxed);
    }
}

static void on_listening(uv_poll_t *poll, int status, int events);

static void on_resume(uv_timer_t *timer)
{
    struct weir_tcp_server *s = timer->data;
    if (!s->stopped)
        uv_poll_start(&s->poll, UV_READABLE, on_listening);
}

/* What waits is accepted a little later. */
static void rest(struct weir_tcp_server *s)
{
    uv_poll_stop(&s->poll);
    uv_timer_start(&s->resume, on_resume, PAUSE_MS, 0);
}

/* Out of descriptors, say. */
static void pause_accepting(struct weir_tcp_server *s, int error)
{
    weir_log(WEIR_LOG_WARN, s->shared->stage->name, NULL,
             "can't accept a connection: %s; trying again in %d ms", strerror(error), (int)PAUSE_MS);
    rest(s);
}

static void on_listening(uv_poll_t *poll, int status, int events)
{
    struct weir_tcp_server *s = poll->data;
    (void)status; /* accept says it itself */
    (void)events;
    weir_worker_now(s->base.seat->worker);
    if (weir_relief_stops(s->base.seat->worker->graph)) {
        rest(s);
        return;
    }
    for (int i = 0; i < ACCEPT_BATCH && !s->stopped; i++) {
        struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
        socklen_t len = sizeof from;
        int fd = accept4(s->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_connection(s, fd, &from);
            continue;
        }
        int error = errno;
        if (error == EINTR || error == ECONNABORTED)
            continue;
        if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM)
            pause_accepting(s, error);
        return;
    }
}

/* ---- the source ---- */

static int start(struct weir_source *base, struct weir_err *reterr)
{
    struct weir_tcp_server *s = server_of(base);
    uv_loop_t *loop = &base->seat->worker->loop;
    s->fd = dup(weir_listener_fd(s->shared->listener, 0));
    int rc = s->fd < 0 ? -errno : uv_poll_init(loop, &s->poll, s->fd);
    if (rc < 0) {
        if (s->fd >= 0)
            close(s->fd);
        return weir_err_set(reterr, WEIR_E_IO, "stage '%s': can't watch its socket: %s",
                            s->shared->stage->name, uv_strerror(rc));
    }
    uv_timer_init(loop, &s->resume);
    s->poll.data = s->resume.data = s;
    s->started = true;
    uv_poll_start(&s->poll, UV_READABLE, on_listening);
    return WEIR_OK;
}

static void stop(struct weir_source *base)
{
    struct weir_tcp_server *s = server_of(base);
    if (s->stopped)
        return;
    s->stopped = true;
    if (s->started) {
        uv_poll_stop(&s->poll);
        uv_timer_stop(&s->resume);
    }
    weir_worker_now(base->seat->worker);
    WEIR_LIST_EACH(node, following, &s->conns)
    {
        weir_tcp_conn_update(
            WEIR_LIST_ENTRY(node, struct weir_tcp_conn, node)); /* nothing is read any more */
    }
}

static bool idle(const struct weir_source *base)
{
    const struct weir_tcp_server *s = server_of(base);
    for (const struct weir_list *node = s->conns.next; node != &s->conns; node = node->next)
        if (!weir_tcp_conn_at_rest(WEIR_LIST_ENTRY(node, const struct weir_tcp_conn, node)))
            return false;
    return s->stopped;
}

static void close_source(struct weir_source *base)
{
    struct weir_tcp_server *s = server_of(base);
    if (s->closed)
        return;
    s->stopped = s->closed = true;
    while (!weir_list_empty(&s->conns))
        weir_tcp_conn_cut(WEIR_LIST_ENTRY(s->conns.next, struct weir_tcp_conn, node));
    weir_list_remove(&s->tidy.node);
    if (!s->started)
        return;
    uv_close((uv_handle_t *)&s->poll, NULL);
    uv_close((uv_handle_t *)&s->resume, NULL);
    close(s->fd);
}

static void destroy(struct weir_source *base)
{
    weir_free(server_of(base));
}

static void on_tidy(struct weir_aside *a)
{
    weir_tcp_conn_tidy(WEIR_LIST_ENTRY(a, struct weir_tcp_server, tidy));
}

static const struct weir_source_ops ops = {
    .start = start, .stop = stop, .idle = idle, .close = close_source, .destroy = destroy};

static int make(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    struct weir_tcp_shared *k = self;
    struct weir_tcp_server *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", k->stage->name);
    s->base = (struct weir_source){.ops = &ops, .seat = seat};
    s->shared = k;
    s->fd = -1;
    weir_list_init(&s->conns);
    weir_list_init(&s->dirty);
    weir_list_init(&s->tidy.node);
    s->tidy.run = on_tidy;
    *ret = &s->base;
    return WEIR_OK;
}

/* ---- the maker ---- */

static void print(struct weir_strbuf *out, const char *name, uint64_t value)
{
    weir_strbuf_addf(out, "\"%s\":%" PRIu64 ",", name, value);
}

static void stats(void *self, struct weir_strbuf *out)
{
    struct weir_tcp_shared *k = self;
    print(out, "connections", atomic_load_explicit(&k->connections, memory_order_relaxed));
    print(out, "accepted", atomic_load_explicit(&k->accepted, memory_order_relaxed));
    print(out, "turned_away", atomic_load_explicit(&k->refused, memory_order_relaxed));
    print(out, "failed", atomic_load_explicit(&k->failed, memory_order_relaxed));
    print(out, "handshakes_failed", atomic_load_explicit(&k->handshakes_failed, memory_order_relaxed));
    print(out, "timeout_idle", atomic_load_explicit(&k->idle, memory_order_relaxed));
    print(out, "slow", atomic_load_explicit(&k->slow, memory_order_relaxed));
    print(out, "bytes_out", atomic_load_explicit(&k->bytes_out, memory_order_relaxed));
    weir_intake_counts_print(&k->counts, out);
}

static void reload(void *self)
{
    struct weir_tcp_shared *k = self;
    weir_tls_server_reload_logged(k->tls, k->stage->name);
}

static void destroy_maker(void *self)
{
    struct weir_tcp_shared *k = self;
    weir_tls_server_unref(k->tls);
    weir_listener_close(k->listener);
    weir_class_rule_close(k->class);
    weir_free(k);
}

static int read_settings(const struct weir_conf *options, struct weir_tcp_settings *s,
                         struct weir_err *reterr)
{
    *s = (struct weir_tcp_settings){.max_connections =
                                        (size_t)weir_conf_option_int(options, "max_connections"),
                                    .bound = weir_conf_option_size(options, "send_buffer"),
                                    .idle_ns = weir_conf_option_duration(options, "idle_timeout"),
                                    .linger_ns = weir_conf_option_duration(options, "linger"),
                                    .handshake_ns = weir_conf_option_duration(options, "handshake_timeout"),
                                    .waits = weir_conf_option_enum(options, "on_overflow") == 0,
                                    .notify = weir_conf_option_bool(options, "notify"),
                                    .cut_overlong = weir_conf_option_enum(options, "overlong") == 1};
    const struct weir_conf *greeting = weir_conf_option_map(options, "greeting");
    s->greets = greeting != NULL;
    if (s->greets && weir_conf_option_given(greeting, "lines"))
        s->greeting_lines = (uint64_t)weir_conf_option_int(greeting, "lines");
    if (s->greets)
        s->greeting_end = weir_conf_option_string(greeting, "until");
    return weir_framing_from_options(options, &s->framing, reterr);
}

static int open_all(struct weir_tcp_shared *k, const struct weir_conf *options, struct weir_err *reterr)
{
    struct weir_listener_options o = {.address = weir_conf_option_string(options, "listen"),
                                      .backlog = (int)weir_conf_option_int(options, "backlog")};
    int rc = read_settings(options, &k->settings, reterr);
    if (rc == WEIR_OK)
        rc = weir_class_rule_open(options, &k->class, reterr);
    k->key = weir_key_rule_read(options);
    if (rc == WEIR_OK)
        rc = weir_tls_server_open_options(options, NULL, &k->tls, reterr);
    if (rc == WEIR_OK)
        rc = weir_listener_open(&o, &k->listener, reterr);
    return rc;
}

int weir_tcp_source_open(struct weir_stage *stage, const struct weir_conf *options,
                         struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr)
{
    struct weir_err why = {0};
    struct weir_tcp_shared *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    k->stage = stage;
    int rc = open_all(k, options, &why);
    if (rc < 0) {
        destroy_maker(k);
        return weir_err_set(reterr, rc, "stage '%s': %s", stage->name, why.text);
    }
    snprintf(bound, size, "%s%s",
             weir_listener_is_unix(k->listener) ? ""
             : k->tls != NULL                   ? "tls://"
                                                : "tcp://",
             weir_listener_text(k->listener));
    *ret = (struct weir_source_maker){
        .make = make, .stats = stats, .reload = reload, .destroy = destroy_maker, .self = k};
    return WEIR_OK;
}
