#include "io/udp_source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "config/conf.h"
#include "config/types.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/value.h"
#include "core/worker.h"
#include "io/class_rule.h"
#include "io/key_rule.h"
#include "io/feed.h"
#include "io/udp_socket.h"

enum {
    BURST = 32,          /* datagrams of one system call */
    BURSTS_PER_POLL = 4, /* then others have their turn */
    BURSTS_AT_END = 64,  /* of what is in the kernel's buffer when a worker leaves */
};

static const struct weir_option options_of_udp[] = {
    {.name = "listen",
     .type = WEIR_OPTION_ADDRESS,
     .required = true,
     .text = "where to receive: host:port, or :port for all interfaces"},
    {.name = "max_datagram",
     .type = WEIR_OPTION_SIZE,
     .fallback = "64KiB",
     .min = 1,
     .max = 64 << 10,
     .text = "larger ones are dropped and counted as truncated"},
    {.name = "buffer",
     .type = WEIR_OPTION_SIZE,
     .max = 1 << 30,
     .text =
         "bytes, per worker, that the kernel keeps until they are read; the system's default unless given"},
    {.name = "with_remote",
     .type = WEIR_OPTION_BOOL,
     .fallback = "false",
     .text = "the event is {data=, remote=} instead of the bytes alone"},
    WEIR_CLASS_PEER_OPTION,
    WEIR_KEY_PEER_OPTION,
};

static void check(const struct weir_conf *options, struct weir_problems *problems)
{
    weir_class_check_options(options, problems);
    weir_key_check_options(options, problems);
}

const struct weir_app_type weir_udp_source_type = {
    .name = "udp",
    .kind = WEIR_APP_SOURCE,
    .makes_streams = true,
    .text = "makes an event of each datagram",
    .options = options_of_udp,
    .option_count = sizeof options_of_udp / sizeof *options_of_udp,
    .check = check,
};

struct maker {
    struct weir_stage *stage;        /* [const] */
    struct weir_udp_address address; /* [const] */
    size_t max_datagram, buffer;     /* [const] */
    bool with_remote;                /* [const] */
    struct weir_class_rule *class;   /* [const] NULL: who sends does not matter */
    struct weir_key_rule key;        /* [const] */
    /* [atomic relaxed] counts of all workers */
    _Atomic uint64_t datagrams, bytes, truncated, kernel_drops, refused, no_memory;
};

/* What one system call fills. */
struct burst {
    struct mmsghdr messages[BURST];
    struct iovec iov[BURST];
    struct sockaddr_storage from[BURST];
    _Alignas(size_t) char control[BURST][CMSG_SPACE(sizeof(uint32_t))]; /* the space is a multiple of that */
    unsigned count, next;                                               /* received; not sent on yet */
    unsigned char data[];                                               /* BURST × max_datagram */
};

/* All fields belong to the worker once it runs. */
struct instance {
    struct weir_source base; /* first */
    struct maker *maker;     /* [const] */
    int fd;
    uv_poll_t poll;
    bool polling;        /* poll is open */
    bool closed;         /* it has stopped for good */
    uint32_t drops_seen; /* the kernel's count, which only grows */
    struct weir_feed feed;
    struct burst *burst;
};

static struct instance *instance_of(const struct weir_source *s)
{
    return (struct instance *)(uintptr_t)s; /* the source is its first member */
}

/* ---- datagrams to events ---- */

static size_t put_string_head(unsigned char *out, size_t len)
{
    if (len < 32) {
        out[0] = (unsigned char)(0xa0 | len);
        return 1;
    }
    if (len < 256) {
        out[0] = 0xd9;
        out[1] = (unsigned char)len;
        return 2;
    }
    if (len < 65536) {
        out[0] = 0xda;
        out[1] = (unsigned char)(len >> 8);
        out[2] = (unsigned char)len;
        return 3;
    }
    out[0] = 0xdb;
    for (int i = 4; i > 0; i--, len >>= 8)
        out[i] = (unsigned char)len;
    return 5;
}

static size_t put(unsigned char *out, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(out, bytes, len);
    return len;
}

/* The bytes, or {data = bytes, remote = "192.0.2.1:1234"}. false: no memory. */
static bool make_value(const struct maker *k, const unsigned char *data, size_t len,
                       const struct sockaddr_storage *from, struct weir_value *ret)
{
    unsigned char head[5], remote_head[5];
    char remote[WEIR_UDP_TEXT];
    size_t head_len = put_string_head(head, len), total = head_len + len, remote_len = 0, remote_head_len = 0;
    if (k->with_remote) {
        remote_len = weir_udp_print(from, remote, sizeof remote);
        remote_head_len = put_string_head(remote_head, remote_len);
        total += 1 + 5 + 7 + remote_head_len + remote_len;
    }
    struct weir_blob *blob = weir_blob_create(total);
    if (blob == NULL)
        return false;
    unsigned char *at = blob->data;
    if (k->with_remote)
        at += put(at,
                  "\x82\xa4"
                  "data",
                  6);
    at += put(at, head, head_len);
    at += put(at, data, len);
    if (k->with_remote) {
        at += put(at,
                  "\xa6"
                  "remote",
                  7);
        at += put(at, remote_head, remote_head_len);
        at += put(at, remote, remote_len);
    }
    *ret = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
    return true;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void note_kernel_drops(struct instance *in, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
            continue;
        uint32_t drops;
        memcpy(&drops, CMSG_DATA(c), sizeof drops);
        count(&in->maker->kernel_drops, drops - in->drops_seen); /* it may wrap */
        in->drops_seen = drops;
    }
}

/* The next event's class and key, by who sent it. */
static void classify(struct instance *in, const struct sockaddr_storage *from)
{
    const struct weir_stage *stage = in->maker->stage;
    struct weir_network peer;
    weir_network_of_peer(from, &peer);
    int class = weir_class_rule_of_peer(in->maker->class, &peer);
    in->feed.has_class = class >= 0 || stage->has_class;
    in->feed.class_index = class >= 0 ? (uint8_t)class : stage->class_index;
    if (in->maker->key.client)
        weir_feed_set_key(&in->feed, weir_key_of_peer(&peer));
}

/* Sends on what was received. false: the stage behind says wait. */
static bool send_on(struct instance *in)
{
    struct burst *b = in->burst;
    struct maker *k = in->maker;
    while (b->next < b->count) {
        if (weir_feed_waiting(&in->feed))
            return false;
        unsigned i = b->next++;
        struct weir_value value;
        enum weir_verdict verdict;
        if (b->messages[i].msg_hdr.msg_flags & MSG_TRUNC) {
            count(&k->truncated, 1);
            continue;
        }
        if (!make_value(k, b->iov[i].iov_base, b->messages[i].msg_len, &b->from[i], &value)) {
            count(&k->no_memory, 1);
            continue;
        }
        if (k->class != NULL || k->key.client)
            classify(in, &b->from[i]);
        if (weir_feed_send(&in->feed, value, &verdict) < 0)
            count(&k->no_memory, 1);
        else if (verdict != WEIR_VERDICT_ACCEPTED && verdict != WEIR_VERDICT_PENDING)
            count(&k->refused, 1);
    }
    return !weir_feed_waiting(&in->feed);
}

/* ---- reading ---- */

static struct burst *burst_create(size_t max_datagram)
{
    struct burst *b = weir_malloc(sizeof *b + BURST * max_datagram);
    if (b == NULL)
        return NULL;
    memset(b, 0, sizeof *b);
    for (size_t i = 0; i < BURST; i++) {
        b->iov[i] = (struct iovec){.iov_base = b->data + i * max_datagram, .iov_len = max_datagram};
        b->messages[i].msg_hdr.msg_iov = &b->iov[i];
        b->messages[i].msg_hdr.msg_iovlen = 1;
        b->messages[i].msg_hdr.msg_name = &b->from[i];
        b->messages[i].msg_hdr.msg_control = b->control[i];
    }
    return b;
}

/* Returns how many came; 0: none is there. */
static unsigned receive(struct instance *in)
{
    struct burst *b = in->burst;
    for (size_t i = 0; i < BURST; i++) { /* what the last call wrote over */
        b->messages[i].msg_hdr.msg_namelen = sizeof b->from[i];
        b->messages[i].msg_hdr.msg_controllen = sizeof b->control[i];
        b->messages[i].msg_hdr.msg_flags = 0;
    }
    int n = recvmmsg(in->fd, b->messages, BURST, MSG_DONTWAIT, NULL);
    b->next = 0;
    b->count = n > 0 ? (unsigned)n : 0;
    for (unsigned i = 0; i < b->count; i++) {
        note_kernel_drops(in, &b->messages[i].msg_hdr);
        count(&in->maker->bytes, b->messages[i].msg_len);
    }
    count(&in->maker->datagrams, b->count);
    return b->count;
}

/* Reads up to `bursts` times. false: the stage behind says wait. */
static bool read_some(struct instance *in, int bursts)
{
    for (int i = 0; i < bursts; i++) {
        unsigned n = receive(in);
        if (!send_on(in))
            return false;
        if (n < BURST)
            break;
    }
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct instance *in = poll->data;
    (void)events;
    weir_worker_now(in->base.seat->worker);
    if (!read_some(in, BURSTS_PER_POLL))
        uv_poll_stop(&in->poll);
    else if (status < 0) /* reading has taken the error from the socket; libuv stops polling for any */
        uv_poll_start(&in->poll, UV_READABLE, on_poll);
}

/* The event that waited has gone: those received with it follow, then new ones. */
static void on_resume(struct weir_feed *feed)
{
    struct instance *in = WEIR_LIST_ENTRY(feed, struct instance, feed);
    if (feed->verdict != WEIR_VERDICT_ACCEPTED)
        count(&in->maker->refused, 1);
    if (send_on(in) && in->polling && !in->closed)
        uv_poll_start(&in->poll, UV_READABLE, on_poll);
}

/* ---- the source ---- */

static int start(struct weir_source *s, struct weir_err *reterr)
{
    struct instance *in = instance_of(s);
    struct weir_worker *w = s->seat->worker;
    in->burst = burst_create(in->maker->max_datagram);
    if (in->burst == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", in->maker->stage->name);
    int rc = uv_poll_init(&w->loop, &in->poll, in->fd);
    if (rc == 0) {
        in->poll.data = in;
        in->polling = true;
        rc = uv_poll_start(&in->poll, UV_READABLE, on_poll);
    }
    if (rc < 0)
        return weir_err_set(reterr, WEIR_E_IO, "stage '%s': can't poll its socket: %s",
                            in->maker->stage->name, uv_strerror(rc));
    return WEIR_OK;
}

static void close_socket(struct instance *in)
{
    if (in->polling)
        uv_close((uv_handle_t *)&in->poll, NULL);
    in->polling = false;
    if (in->fd >= 0)
        close(in->fd);
    in->fd = -1;
}

/* The socket leaves the kernel's group, so that the others get all; what has come to it already is taken
 * along. */
static void stop(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    if (in->closed)
        return;
    in->closed = true;
    if (in->fd >= 0 && in->burst != NULL && send_on(in))
        (void)read_some(in, BURSTS_AT_END); /* what waits then is on its way still, see idle */
    close_socket(in);
}

static bool idle(const struct weir_source *s)
{
    const struct instance *in = instance_of(s);
    return !weir_feed_waiting(&in->feed) && (in->burst == NULL || in->burst->next == in->burst->count);
}

static void close_source(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    in->closed = true;
    close_socket(in);
}

static void destroy(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    close_socket(in);
    weir_feed_fini(&in->feed);
    weir_free(in->burst);
    weir_free(in);
}

static const struct weir_source_ops ops = {
    .start = start, .stop = stop, .idle = idle, .close = close_source, .destroy = destroy};

/* ---- making them ---- */

static int make(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    struct maker *k = self;
    struct weir_err why;
    struct instance *in = weir_calloc(1, sizeof *in);
    if (in == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", k->stage->name);
    int rc = weir_udp_socket(&k->address, k->buffer, &in->fd, &why);
    if (rc < 0) {
        weir_free(in);
        return weir_err_set(reterr, rc, "stage '%s': %s", k->stage->name, why.text);
    }
    in->base = (struct weir_source){.ops = &ops, .seat = seat};
    in->maker = k;
    weir_feed_init(&in->feed, seat, &seat->stage->ports[0], on_resume);
    *ret = &in->base;
    return WEIR_OK;
}

static void stats(void *self, struct weir_strbuf *out)
{
    struct maker *k = self;
    const struct {
        const char *name;
        _Atomic uint64_t *count;
    } counts[] = {
        {"datagrams", &k->datagrams},       {"bytes", &k->bytes},     {"truncated", &k->truncated},
        {"kernel_drops", &k->kernel_drops}, {"refused", &k->refused}, {"no_memory", &k->no_memory},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        weir_strbuf_addf(out, "%s\"%s\":%" PRIu64, i > 0 ? "," : "", counts[i].name,
                         atomic_load_explicit(counts[i].count, memory_order_relaxed));
}

static void destroy_maker(void *self)
{
    struct maker *k = self;
    weir_class_rule_close(k->class);
    weir_free(k);
}

int weir_udp_source_open(struct weir_stage *stage, const struct weir_conf *options,
                         struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr)
{
    struct weir_err why;
    struct maker *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    k->stage = stage;
    k->max_datagram = weir_conf_option_size(options, "max_datagram");
    k->buffer = weir_conf_option_size(options, "buffer");
    k->with_remote = weir_conf_option_bool(options, "with_remote");
    k->key = weir_key_rule_read(options);
    int rc = weir_class_rule_open(options, &k->class, &why);
    if (rc == WEIR_OK)
        rc = weir_udp_address_open(weir_conf_option_string(options, "listen"), &k->address, &why);
    if (rc < 0) {
        destroy_maker(k);
        return weir_err_set(reterr, rc, "stage '%s': %s", stage->name, why.text);
    }
    snprintf(bound, size, "udp://%s", k->address.text);
    *ret = (struct weir_source_maker){.make = make, .stats = stats, .destroy = destroy_maker, .self = k};
    return WEIR_OK;
}
