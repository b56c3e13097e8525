/* The connection of a worker:
 *
 *            something to send                 connected
 *   IDLE ───────────────────────> DIALING ───────────────────> UP ──┐ peer ended it, nothing to send
 *     ^                            ^    │ failed               │    │
 *     │                   pause over    v                      │    │
 *     │                           PAUSED <── broke ────────────┘    │
 *     └─────────────────────────────────────────────────────────────┘
 */
#include "io/tcp_sink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/address.h"
#include "config/conf.h"
#include "config/types.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/dial.h"
#include "io/outbox.h"
#include "io/sink.h"
#include "io/tls.h"
#include "io/transport.h"

enum {
    DISCARD_BYTES = 16 << 10,
    DISCARD_READS = 16, /* per poll: a peer that talks much must not keep the worker */
};

static const char *const ack_words[] = {"none", NULL};

static const struct weir_option options_of_tcp[] = {
    {.name = "connect",
     .type = WEIR_OPTION_ADDRESS,
     .required = true,
     .text = "whom to send to: host:port or unix:PATH"},
    {.name = "connect_timeout",
     .type = WEIR_OPTION_DURATION,
     .fallback = "10s",
     .min = 1000000,
     .text = "for the look-up of the name and the connection"},
    {.name = "write_timeout",
     .type = WEIR_OPTION_DURATION,
     .fallback = "30s",
     .min = 1000000,
     .text = "without the peer taking a byte; then the connection is given up"},
    {.name = "backoff_min",
     .type = WEIR_OPTION_DURATION,
     .fallback = "100ms",
     .min = 1000000,
     .max = 3600000000000,
     .text = "pause before the first new attempt; it doubles with each"},
    {.name = "backoff_max",
     .type = WEIR_OPTION_DURATION,
     .fallback = "10s",
     .min = 1000000,
     .max = 3600000000000,
     .text = "longest pause between attempts"},
    {.name = "retries",
     .type = WEIR_OPTION_INT,
     .fallback = "5",
     .max = 1000000,
     .text = "how often an event is sent again whose connection broke in the middle of it; then it fails"},
    {.name = "ack",
     .type = WEIR_OPTION_ENUM,
     .fallback = "none",
     .words = ack_words,
     .text = "what the peer has to say before an event counts as handled; none: the kernel took it"},
    WEIR_TLS_CLIENT_OPTION,
    WEIR_SINK_ENCODE_OPTION,
    WEIR_FRAMING_OPTIONS,
};

const struct weir_app_type weir_tcp_sink_type = {
    .name = "tcp",
    .kind = WEIR_APP_SINK,
    .text = "sends each event to a peer over TCP, TLS or a unix socket",
    .options = options_of_tcp,
    .option_count = sizeof options_of_tcp / sizeof *options_of_tcp,
    .check = weir_tls_check_client_options,
};

struct shared { /* by the workers of a stage; [const] but for the sink */
    struct weir_sink sink;
    struct weir_address to;
    char *name; /* as it was written */
    uint64_t connect_timeout_ns, write_timeout_ns, backoff_min_ns, backoff_max_ns;
    unsigned retries;
    struct weir_tls_client *tls; /* NULL: plain */
    const char *tls_name;
};

/* All fields belong to the worker. */
struct tcp_sink {
    struct weir_handler h; /* first */
    struct shared *shared; /* [const] */
    struct weir_outbox outbox;
    enum { IDLE, DIALING, UP, PAUSED } state;
    struct weir_dial *dial;          /* DIALING */
    struct weir_transport transport; /* UP */
    uv_poll_t *poll;                 /* UP; on the heap: it closes later than the connection ends */
    int polled;                      /* what it is told to wait for */
    bool blocked;                    /* the kernel takes no more for now */
    struct weir_timer pause, stuck;  /* PAUSED; UP and blocked */
    struct weir_sink_backoff backoff;
};

static struct tcp_sink *sink_of(struct weir_handler *h)
{
    return (struct tcp_sink *)(void *)h; /* the handler is its first member */
}

static struct weir_worker *worker_of(const struct tcp_sink *k)
{
    return k->h.seat->worker;
}

static void pump(struct tcp_sink *k);

/* ---- the end of a connection ---- */

static void on_poll_closed(uv_handle_t *poll)
{
    weir_free(poll);
}

/* `cut`: a TLS peer is to see that the stream is not whole. */
static void disconnect(struct tcp_sink *k, bool cut)
{
    weir_timer_unset(worker_of(k), &k->stuck);
    if (k->poll != NULL)
        uv_close((uv_handle_t *)k->poll, on_poll_closed);
    k->poll = NULL;
    if (k->state == UP)
        weir_transport_close(&k->transport, cut);
    k->state = IDLE;
    k->blocked = false;
}

static void on_pause_over(struct weir_timer *t)
{
    struct tcp_sink *k = WEIR_LIST_ENTRY(t, struct tcp_sink, pause);
    k->state = IDLE;
    pump(k);
}

/* Waits before it tries again, if there is anything to try it for. */
static void pause_if_needed(struct tcp_sink *k)
{
    struct weir_worker *w = worker_of(k);
    k->state = IDLE;
    if (k->outbox.count == 0)
        return;
    if (weir_timer_set(w, &k->pause, w->now_ns + weir_sink_backoff_next(&k->backoff)) == WEIR_OK)
        k->state = PAUSED;
    /* else the next event tries again */
}

/* The connection can't be used any more. */
static void broke(struct tcp_sink *k, const char *why)
{
    struct shared *s = k->shared;
    char text[512];
    snprintf(text, sizeof text, "the connection to %s broke: %s", s->name, why);
    if (k->outbox.count > 0)
        weir_sink_trouble(&s->sink, text);
    disconnect(k, true);
    weir_outbox_rewind(&k->outbox, s->retries, text);
    pause_if_needed(k);
}

/* The peer closed it, as it may: only a frame that was begun is trouble. */
static void ended(struct tcp_sink *k)
{
    const char *data;
    bool begun = weir_outbox_begun(&k->outbox) || (k->blocked && weir_outbox_pending(&k->outbox, &data) > 0);
    if (begun) {
        broke(k, "the peer closed it");
        return;
    }
    disconnect(k, false);
    pause_if_needed(k);
}

static void broke_by(struct tcp_sink *k, ssize_t rc)
{
    char why[WEIR_TRANSPORT_WHY_MAX];
    broke(k, weir_transport_why(&k->transport, (int)rc, why));
}

static void on_stuck(struct weir_timer *t)
{
    struct tcp_sink *k = WEIR_LIST_ENTRY(t, struct tcp_sink, stuck);
    broke(k, k->transport.established ? "the peer takes nothing" : "no TLS handshake in time");
}

/* ---- sending ---- */

/* The peer says nothing that matters, but that it goes does. false: the connection is over. */
static bool discard_input(struct tcp_sink *k)
{
    char buffer[DISCARD_BYTES];
    for (int i = 0; i < DISCARD_READS; i++) {
        ssize_t n = weir_transport_read(&k->transport, buffer, sizeof buffer);
        if (n == -EAGAIN || (n > 0 && (size_t)n < sizeof buffer && !weir_transport_is_tls(&k->transport)))
            return true;
        if (n == -EINTR)
            continue;
        if (n > 0)
            continue;
        if (n < 0)
            broke_by(k, n);
        else
            ended(k);
        return false;
    }
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static bool poll_for(struct tcp_sink *k)
{
    int wanted = weir_transport_polls_for_read(&k->transport) |
                 (k->blocked ? weir_transport_polls_for_write(&k->transport) : 0);
    if (wanted == k->polled)
        return true;
    int rc = uv_poll_start(k->poll, wanted, on_poll);
    k->polled = wanted;
    if (rc < 0)
        broke(k, uv_strerror(rc));
    return rc == 0;
}

/* The kernel takes no more: until it does, or for write_timeout. Each byte that it takes begins that anew. */
static void wait_for_room(struct tcp_sink *k, bool progress)
{
    struct weir_worker *w = worker_of(k);
    k->blocked = true;
    if ((progress || k->stuck.slot == 0) &&
        weir_timer_set(w, &k->stuck, w->now_ns + k->shared->write_timeout_ns) < 0) {
        broke(k, "out of memory");
        return;
    }
    poll_for(k);
}

static void send_pending(struct tcp_sink *k)
{
    const char *data;
    size_t len;
    bool progress = false;
    while ((len = weir_outbox_pending(&k->outbox, &data)) > 0) {
        ssize_t n = weir_transport_send(&k->transport, data, len);
        if (n == -EINTR)
            continue;
        if (n == -EAGAIN) {
            wait_for_room(k, progress);
            return;
        }
        if (n < 0) {
            broke_by(k, n);
            return;
        }
        progress = true;
        k->backoff.failures = 0;
        weir_sink_well(&k->shared->sink);
        weir_outbox_sent(&k->outbox, (size_t)n);
    }
    weir_outbox_sent(&k->outbox, 0); /* empty frames at the end */
    k->blocked = false;
    weir_timer_unset(worker_of(k), &k->stuck);
    poll_for(k);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct tcp_sink *k = poll->data;
    (void)events; /* read and write find out */
    int error = 0;
    socklen_t len = sizeof error;
    weir_worker_now(worker_of(k));
    if (status < 0 && getsockopt(k->transport.fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0)
        broke(k, strerror(error)); /* libuv says EBADF of any */
    else if (status < 0)
        broke(k, uv_strerror(status));
    else if (discard_input(k))
        send_pending(k);
}

/* ---- connecting ---- */

/* `fd` is ours now. */
static int set_up(struct tcp_sink *k, int fd, struct weir_err *reterr)
{
    struct shared *s = k->shared;
    uv_poll_t *poll = weir_calloc(1, sizeof *poll);
    int rc = poll == NULL ? weir_err_set(reterr, WEIR_E_NOMEM, "out of memory") : WEIR_OK;
    if (rc == WEIR_OK && s->tls == NULL)
        weir_transport_init(&k->transport, fd);
    else if (rc == WEIR_OK && (rc = weir_tls_client_connect(s->tls, fd, s->tls_name, &k->transport)) < 0)
        weir_err_set(reterr, rc, "no TLS with '%s': %s", s->tls_name, weir_err_text(rc));
    if (rc < 0) {
        close(fd);
        weir_free(poll);
        return rc;
    }
    int failed = uv_poll_init(&worker_of(k)->loop, poll, fd);
    if (failed < 0) {
        weir_transport_close(&k->transport, true);
        weir_free(poll);
        return weir_err_set(reterr, WEIR_E_IO, "%s", uv_strerror(failed));
    }
    poll->data = k;
    k->poll = poll;
    k->polled = 0;
    k->state = UP;
    return WEIR_OK;
}

static void fail_to_connect(struct tcp_sink *k, const char *why)
{
    char text[512];
    snprintf(text, sizeof text, "can't connect to %s: %s; its events wait", k->shared->name, why);
    weir_sink_trouble(&k->shared->sink, text);
    pause_if_needed(k);
}

static void on_dialed(void *arg, int fd, int code, const char *why)
{
    (void)code; /* the text says it */
    struct tcp_sink *k = arg;
    struct weir_err err;
    weir_worker_now(worker_of(k));
    k->dial = NULL;
    k->state = IDLE;
    if (fd < 0)
        fail_to_connect(k, why);
    else if (set_up(k, fd, &err) < 0)
        fail_to_connect(k, err.text);
    else
        send_pending(k);
}

static void dial(struct tcp_sink *k)
{
    struct shared *s = k->shared;
    struct weir_err err;
    if (weir_dial_start(&worker_of(k)->loop, &s->to, SOCK_STREAM, s->connect_timeout_ns, on_dialed, k,
                        &k->dial, &err) < 0)
        fail_to_connect(k, err.text);
    else
        k->state = DIALING;
}

/* Does what there is to do for the events that wait. */
static void pump(struct tcp_sink *k)
{
    if (k->state == UP && !k->blocked && !discard_input(k))
        return; /* it was over: seen now, nothing is lost to a peer that has gone */
    if (k->outbox.count == 0)
        return;
    if (k->state == UP && !k->blocked)
        send_pending(k);
    else if (k->state == IDLE)
        dial(k);
}

/* ---- the handler ---- */

static void handle(struct weir_handler *h, struct weir_event **evs, size_t n)
{
    struct tcp_sink *k = sink_of(h);
    for (size_t i = 0; i < n; i++)
        if (weir_seat_begin(h->seat, evs[i]))
            weir_outbox_add(&k->outbox, &k->shared->sink, evs[i]);
    pump(k);
}

static void give_up(struct tcp_sink *k, bool cut)
{
    if (k->dial != NULL)
        weir_dial_cancel(k->dial);
    k->dial = NULL;
    weir_timer_unset(worker_of(k), &k->pause);
    disconnect(k, cut);
}

static void cancel(struct weir_handler *h)
{
    struct tcp_sink *k = sink_of(h);
    if (k->outbox.count == 0)
        return;
    give_up(k, true);
    weir_outbox_cancel(&k->outbox);
}

static void close_sink(struct weir_handler *h)
{
    struct tcp_sink *k = sink_of(h);
    if (k->state == UP && discard_input(k)) /* what is unread when it closes would make a reset of it */
        (void)weir_transport_shutdown(
            &k->transport); /* the peer that is not told so sees a cut stream, which is the truth */
    give_up(k, false);
    weir_outbox_fini(&k->outbox);
    weir_free(k);
}

static size_t memory(const struct weir_handler *h)
{
    const struct tcp_sink *k = (const struct tcp_sink *)(const void *)h;
    return sizeof *k + weir_outbox_memory(&k->outbox);
}

static const struct weir_handler_ops ops = {
    .handle = handle, .cancel = cancel, .close = close_sink, .memory = memory};

/* ---- making them ---- */

static int make(void *self, struct weir_seat *seat, struct weir_handler **ret, struct weir_err *reterr)
{
    struct shared *s = self;
    struct tcp_sink *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    k->h.ops = &ops;
    k->h.seat = seat;
    k->shared = s;
    k->pause.fire = on_pause_over;
    k->stuck.fire = on_stuck;
    k->backoff = (struct weir_sink_backoff){.min_ns = s->backoff_min_ns,
                                            .max_ns = s->backoff_max_ns,
                                            .random = (weir_clock_ns() | 1) + 2 * seat->worker->index};
    weir_outbox_init(&k->outbox, seat);
    *ret = &k->h;
    return WEIR_OK;
}

static void destroy(void *self)
{
    struct shared *s = self;
    weir_tls_client_unref(s->tls);
    weir_free(s->name);
    weir_free(s);
}

static int read_options(struct shared *s, struct weir_stage *stage, const struct weir_conf *options,
                        struct weir_err *reterr)
{
    const char *address = weir_conf_option_string(options, "connect");
    struct weir_err why;
    s->connect_timeout_ns = weir_conf_option_duration(options, "connect_timeout");
    s->write_timeout_ns = weir_conf_option_duration(options, "write_timeout");
    s->backoff_min_ns = weir_conf_option_duration(options, "backoff_min");
    s->backoff_max_ns = weir_conf_option_duration(options, "backoff_max");
    s->retries = (unsigned)weir_conf_option_int(options, "retries");
    s->name = weir_strdup(address);
    if (s->name == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    int rc = weir_sink_init(&s->sink, stage, options, true, reterr);
    if (rc < 0)
        return rc;
    rc = weir_address_parse(address, &s->to, &why);
    if (rc == WEIR_OK)
        rc = weir_tls_client_open_options(options, &s->tls, &s->tls_name, &why);
    if (rc < 0)
        return weir_err_set(reterr, rc, "stage '%s': %s", stage->name, why.text);
    if (s->tls_name == NULL)
        s->tls_name = s->to.host;
    return WEIR_OK;
}

int weir_tcp_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                       struct weir_handler_maker *ret, struct weir_err *reterr)
{
    struct shared *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    int rc = read_options(s, stage, options, reterr);
    if (rc < 0) {
        destroy(s);
        return rc;
    }
    *ret = (struct weir_handler_maker){.make = make, .destroy = destroy, .self = s};
    return WEIR_OK;
}
