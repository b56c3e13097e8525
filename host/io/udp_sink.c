#include "io/udp_sink.h"

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

enum {
    BURST = 64,      /* datagrams of one system call */
    REPORTS_MAX = 3, /* earlier datagrams' errors that are passed over for one datagram */
    NO_BUFFERS_PAUSE_NS = 1000000,
};

#define CONNECT_TIMEOUT_NS (30 * WEIR_NS_PER_S)
#define BACKOFF_MIN_NS     (100 * WEIR_NS_PER_MS)
#define BACKOFF_MAX_NS     (10 * WEIR_NS_PER_S)

static const struct weir_option options_of_udp[] = {
    {.name = "connect",
     .type = WEIR_OPTION_ADDRESS,
     .required = true,
     .text = "whom to send to: host:port or unix:PATH"},
    WEIR_SINK_ENCODE_OPTION,
};

const struct weir_app_type weir_udp_sink_type = {
    .name = "udp",
    .kind = WEIR_APP_SINK,
    .text = "sends each event as a datagram",
    .options = options_of_udp,
    .option_count = sizeof options_of_udp / sizeof *options_of_udp,
};

struct shared { /* by the workers of a stage; [const] but for the sink */
    struct weir_sink sink;
    struct weir_address to;
    char *name; /* as it was written */
};

/* All fields belong to the worker. */
struct udp_sink {
    struct weir_handler h; /* first */
    struct shared *shared; /* [const] */
    struct weir_outbox outbox;
    int fd;                  /* -1: not connected */
    struct weir_dial *dial;  /* under way */
    uv_poll_t *poll;         /* waits for room; on the heap: it closes late */
    struct weir_timer pause; /* until the next attempt to connect, or to send */
    unsigned reports;        /* errors of earlier datagrams that the first one has met */
    struct weir_sink_backoff backoff;
};

static struct udp_sink *sink_of(struct weir_handler *h)
{
    return (struct udp_sink *)(void *)h; /* the handler is its first member */
}

static struct weir_worker *worker_of(const struct udp_sink *k)
{
    return k->h.seat->worker;
}

static void pump(struct udp_sink *k);

static void on_poll_closed(uv_handle_t *poll)
{
    weir_free(poll);
}

static void stop_polling(struct udp_sink *k)
{
    if (k->poll != NULL)
        uv_close((uv_handle_t *)k->poll, on_poll_closed);
    k->poll = NULL;
}

static void disconnect(struct udp_sink *k)
{
    stop_polling(k);
    if (k->fd >= 0)
        close(k->fd);
    k->fd = -1;
}

static void on_pause_over(struct weir_timer *t)
{
    pump(WEIR_LIST_ENTRY(t, struct udp_sink, pause));
}

static void pause_for(struct udp_sink *k, uint64_t ns)
{
    struct weir_worker *w = worker_of(k);
    (void)weir_timer_set(w, &k->pause, w->now_ns + ns); /* without memory the next event tries again */
}

static void reconnect_later(struct udp_sink *k, const char *why)
{
    char text[512];
    snprintf(text, sizeof text, "can't send to %s: %s; its events wait", k->shared->name, why);
    disconnect(k);
    weir_sink_trouble(&k->shared->sink, text);
    if (k->outbox.count > 0)
        pause_for(k, weir_sink_backoff_next(&k->backoff));
}

/* ---- sending ---- */

static void on_room(uv_poll_t *poll, int status, int events)
{
    struct udp_sink *k = poll->data;
    (void)status; /* the next send says what is wrong */
    (void)events;
    weir_worker_now(worker_of(k));
    stop_polling(k);
    pump(k);
}

static void wait_for_room(struct udp_sink *k)
{
    if (k->poll != NULL)
        return;
    uv_poll_t *poll = weir_calloc(1, sizeof *poll);
    if (poll == NULL || uv_poll_init(&worker_of(k)->loop, poll, k->fd) < 0) {
        weir_free(poll);
        pause_for(k, NO_BUFFERS_PAUSE_NS);
        return;
    }
    poll->data = k;
    k->poll = poll;
    if (uv_poll_start(poll, UV_WRITABLE, on_room) < 0) {
        stop_polling(k);
        pause_for(k, NO_BUFFERS_PAUSE_NS);
    }
}

static void fail_first(struct udp_sink *k, enum weir_reason reason, int error)
{
    char text[512];
    const char *data;
    size_t len = weir_outbox_frame(&k->outbox, 0, &data);
    if (error == EMSGSIZE)
        snprintf(text, sizeof text, "%zu bytes don't fit into a datagram to %s", len, k->shared->name);
    else
        snprintf(text, sizeof text, "can't send to %s: %s", k->shared->name, strerror(error));
    k->reports = 0;
    if (error == EMSGSIZE) { /* such an event, not the way to the peer */
        struct weir_err why;
        weir_err_set(&why, WEIR_E_LIMIT, "%s", text);
        weir_sink_tell(&k->shared->sink, k->h.seat, &why);
    } else {
        weir_sink_trouble(&k->shared->sink, text);
    }
    weir_outbox_drop_first(&k->outbox, reason, text);
}

/* Sending failed. Returns whether to go on at once. */
static bool after_error(struct udp_sink *k, int error)
{
    switch (error) {
    case EINTR:
        return true;
    case EAGAIN:
        wait_for_room(k);
        return false;
    case ENOBUFS:
    case ENOMEM:
        pause_for(k, NO_BUFFERS_PAUSE_NS);
        return false;
    case EMSGSIZE:
        fail_first(k, WEIR_REASON_ENCODE, error);
        return true;
    default:
        break;
    }
    if (k->shared->to.is_unix) { /* its owner has gone: another one may make the path anew */
        reconnect_later(k, strerror(error));
        return false;
    }
    if (error == ECONNREFUSED && k->reports++ < REPORTS_MAX)
        return true; /* what became of an earlier datagram: this one was not sent */
    fail_first(k, WEIR_REASON_IO, error);
    return true;
}

static int send_burst(struct udp_sink *k)
{
    struct mmsghdr messages[BURST];
    struct iovec iov[BURST];
    unsigned n = k->outbox.count < BURST ? (unsigned)k->outbox.count : BURST;
    memset(messages, 0, n * sizeof *messages);
    for (unsigned i = 0; i < n; i++) {
        const char *data;
        iov[i].iov_len = weir_outbox_frame(&k->outbox, i, &data);
        iov[i].iov_base = (void *)(uintptr_t)data; /* sendmmsg only reads it */
        messages[i].msg_hdr.msg_iov = &iov[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int sent = sendmmsg(k->fd, messages, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0)
        return sent;
    weir_outbox_sent_frames(&k->outbox, (size_t)sent);
    k->reports = 0;
    k->backoff.failures = 0;
    weir_sink_well(&k->shared->sink);
    return sent;
}

static void send_pending(struct udp_sink *k)
{
    while (k->outbox.count > 0) {
        if (send_burst(k) < 0 && !after_error(k, errno))
            return;
    }
}

/* ---- connecting ---- */

static void on_dialed(void *arg, int fd, int code, const char *why)
{
    (void)code; /* the text says it */
    struct udp_sink *k = arg;
    weir_worker_now(worker_of(k));
    k->dial = NULL;
    k->fd = fd;
    if (fd < 0)
        reconnect_later(k, why);
    else
        send_pending(k);
}

/* Does what there is to do for the events that wait. */
static void pump(struct udp_sink *k)
{
    struct weir_err err;
    if (k->outbox.count == 0 || k->dial != NULL || k->poll != NULL || k->pause.slot != 0)
        return;
    if (k->fd >= 0)
        send_pending(k);
    else if (weir_dial_start(&worker_of(k)->loop, &k->shared->to, SOCK_DGRAM, CONNECT_TIMEOUT_NS, on_dialed,
                             k, &k->dial, &err) < 0)
        reconnect_later(k, err.text);
}

/* ---- the handler ---- */

static void handle(struct weir_handler *h, struct weir_event **evs, size_t n)
{
    struct udp_sink *k = sink_of(h);
    for (size_t i = 0; i < n; i++)
        if (weir_seat_begin(h->seat, evs[i]))
            weir_outbox_add(&k->outbox, &k->shared->sink, evs[i]);
    pump(k);
}

static void give_up(struct udp_sink *k)
{
    if (k->dial != NULL)
        weir_dial_cancel(k->dial);
    k->dial = NULL;
    weir_timer_unset(worker_of(k), &k->pause);
    disconnect(k);
}

static void cancel(struct weir_handler *h)
{
    struct udp_sink *k = sink_of(h);
    give_up(k);
    weir_outbox_cancel(&k->outbox);
}

static void close_sink(struct weir_handler *h)
{
    struct udp_sink *k = sink_of(h);
    give_up(k);
    weir_outbox_fini(&k->outbox);
    weir_free(k);
}

static size_t memory(const struct weir_handler *h)
{
    const struct udp_sink *k = (const struct udp_sink *)(const void *)h;
    return sizeof *k + weir_outbox_memory(&k->outbox);
}

static const struct weir_handler_ops ops = {
    .handle = handle, .cancel = cancel, .close = close_sink, .memory = memory};

/* ---- making them ---- */

static int make(void *self, struct weir_seat *seat, struct weir_handler **ret, struct weir_err *reterr)
{
    struct udp_sink *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    k->h.ops = &ops;
    k->h.seat = seat;
    k->shared = self;
    k->fd = -1;
    k->pause.fire = on_pause_over;
    k->backoff = (struct weir_sink_backoff){.min_ns = BACKOFF_MIN_NS,
                                            .max_ns = BACKOFF_MAX_NS,
                                            .random = (weir_clock_ns() | 1) + 2 * seat->worker->index};
    weir_outbox_init(&k->outbox, seat);
    *ret = &k->h;
    return WEIR_OK;
}

static void destroy(void *self)
{
    struct shared *s = self;
    weir_free(s->name);
    weir_free(s);
}

int weir_udp_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                       struct weir_handler_maker *ret, struct weir_err *reterr)
{
    const char *address = weir_conf_option_string(options, "connect");
    struct shared *s = weir_calloc(1, sizeof *s);
    struct weir_err why;
    if (s == NULL || (s->name = weir_strdup(address)) == NULL) {
        weir_free(s);
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    }
    int rc = weir_sink_init(&s->sink, stage, options, false, reterr);
    if (rc == WEIR_OK && (rc = weir_address_parse(address, &s->to, &why)) < 0)
        weir_err_set(reterr, rc, "stage '%s': %s", stage->name, why.text);
    if (rc < 0) {
        destroy(s);
        return rc;
    }
    *ret = (struct weir_handler_maker){.make = make, .destroy = destroy, .self = s};
    return WEIR_OK;
}
