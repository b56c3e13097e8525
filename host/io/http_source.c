#include "io/http_source.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "base/sync.h"
#include "config/conf.h"
#include "core/event.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/access_log.h"
#include "io/http_conn.h"
#include "io/http_front.h"
#include "io/http_options.h"
#include "io/http_syntax.h"
#include "io/listener.h"
#include "io/tls.h"

static const char *const protocols[] = {"http/1.1", NULL}; /* what ALPN may choose */

/* One socket in the kernel's group for the address; somebody must accept from each, or its share of clients
 * waits in vain. */
struct slot {
    int fd;
    struct instance *owner; /* [mu] NULL: nobody yet */
    bool taken;             /* [mu] the owner accepts from it */
    bool lent;              /* [mu] the owner's worker is stuck: all others accept from it meanwhile */
};

struct maker {
    struct weir_stage *stage;           /* [const] */
    struct weir_http_settings settings; /* [const] */
    struct weir_http_rules rules;       /* [const] */
    char *server_name;                  /* [const] */
    char *deadline_header;              /* [const] NULL: none */
    struct weir_access_log *log;        /* [const] */
    struct weir_tls_server *tls;        /* [const] NULL: plain */
    _Atomic size_t connections;         /* [atomic relaxed] of all instances */
    struct weir_mutex mu;               /* rank WEIR_RANK_POOL */
    struct weir_listener *listener;     /* [mu] NULL: closed, since all have stopped */
    struct weir_list instances;         /* [mu] */
    size_t made;                        /* [mu] instances that are not stopped */
    struct slot *slots;                 /* [mu] */
    size_t slot_count;                  /* [mu] */
    struct weir_http_totals gone;       /* [mu] what ended instances had counted */
};

struct instance {
    struct weir_source base;         /* first */
    struct maker *maker;             /* [const] */
    struct weir_http_server *server; /* [owner: worker]; its counts are anyone's */
    struct weir_http_desk desk;      /* [owner: worker] once it runs */
    struct weir_list node;           /* [mu] */
    struct weir_message adopt;
    bool posted, started, stopped; /* [mu] */
};

static struct instance *instance_of(const struct weir_source *s)
{
    return (struct instance *)(uintptr_t)s; /* the source is its first member */
}

/* ---- requests to events ---- */

static bool read_hex(const char *s, size_t bytes, unsigned char *out)
{
    for (size_t i = 0; i < bytes * 2; i++) {
        char c = s[i];
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (v < 0)
            return false;
        out[i / 2] = (unsigned char)((i % 2 == 0 ? 0 : out[i / 2] << 4) | v);
    }
    return true;
}

/* https://www.w3.org/TR/trace-context/#traceparent-header: version 00 exactly; all else is ignored, as it
 * says. */
static void read_trace(const struct weir_http_request *r, struct weir_trace *ret)
{
    const struct weir_http_text *h = weir_http_request_header(r, "traceparent", 11);
    struct weir_trace t;
    unsigned char zero[16] = {0};
    if (h == NULL || h->len != 55 || memcmp(h->data, "00-", 3) != 0 || h->data[35] != '-' ||
        h->data[52] != '-')
        return;
    if (!read_hex(h->data + 3, 16, t.trace_id) || !read_hex(h->data + 36, 8, t.parent_id) ||
        !read_hex(h->data + 53, 1, &t.flags))
        return;
    if (memcmp(t.trace_id, zero, 16) != 0 && memcmp(t.parent_id, zero, 8) != 0)
        *ret = t;
}

/* The queue said no: the event is ours again, and its request is answered. */
static void settle(struct weir_worker *w, enum weir_verdict verdict, struct weir_event *ev)
{
    if (verdict == WEIR_VERDICT_ACCEPTED || verdict == WEIR_VERDICT_PENDING)
        return;
    struct weir_request *r = ev->request;
    ev->request = NULL;
    weir_event_free(w, ev);
    if (verdict == WEIR_VERDICT_CLOSED)
        weir_http_exchange_of(weir_http_request_of(r))->keep_alive = false;
    r->ops->end(r, w, verdict == WEIR_VERDICT_EXPIRED ? WEIR_REQUEST_EXPIRED : WEIR_REQUEST_REFUSED);
}

static void on_verdict(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    struct weir_http_exchange *ex = WEIR_LIST_ENTRY(em, struct weir_http_exchange, emission);
    settle(ex->server->worker, verdict, ev);
}

static void admit(struct instance *in, struct weir_http_request *r)
{
    struct weir_seat *seat = in->base.seat;
    struct weir_worker *w = seat->worker;
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    r->class_index = weir_http_desk_classify(&in->desk, r);
    struct weir_event *ev = weir_event_create(w);
    if (ev == NULL) {
        weir_request_note(&r->base, seat->stage->ports[0].edges[0].target, WEIR_REASON_NOMEM, 0);
        r->base.ops->end(&r->base, w, WEIR_REQUEST_REFUSED);
        return;
    }
    ev->value.kind = WEIR_VALUE_REQUEST;
    ev->request = &r->base;
    ev->arrival_ns = r->arrival_ns;
    ev->deadline_ns = r->deadline_ns;
    ev->class_index = r->class_index;
    weir_event_set_key(ev, weir_http_desk_key(&in->desk, r));
    ev->source = ((uint64_t)w->index + 1) << 48 | ex->number; /* none of weir_feed_next_source's */
    read_trace(r, &ev->trace);
    r->id = ev->id;
    ex->emission.done = on_verdict;
    enum weir_verdict verdict = weir_port_emit(seat, &seat->stage->ports[0], ev, &ex->emission);
    settle(w, verdict, ev);
}

static void deliver_request(struct weir_message *m)
{
    struct weir_http_exchange *ex = WEIR_LIST_ENTRY(m, struct weir_http_exchange, message);
    weir_http_server_now(ex->server);
    admit(ex->server->arg, &ex->r);
}

static void on_request(struct weir_http_server *server, struct weir_http_request *r, void *arg)
{
    struct instance *in = arg;
    struct weir_http_exchange *ex = weir_http_exchange_of(r);
    (void)server; /* the instance knows it */
    ex->number = ex->conn->id;
    if (!weir_http_desk_must_wait(&in->desk)) {
        admit(in, r);
        return;
    }
    ex->message.deliver = deliver_request; /* sent ahead, and parsed when a handler had answered the one before */
    weir_http_exchange_post(ex, &ex->message);
}

static void on_reject(struct weir_http_server *server, struct weir_http_request *r, void *arg)
{
    struct instance *in = arg;
    (void)server; /* the desk finds it */
    weir_http_desk_refuse(&in->desk, r);
}

/* ---- sockets: each has one owner, and a new one when that stops ---- */

static void listen_locked(struct instance *in, const struct slot *slot)
{
    struct weir_err err;
    if (weir_http_server_listen(in->server, slot->fd, &err) < 0)
        weir_log(WEIR_LOG_ERROR, "http", NULL, "stage '%s': %s; some clients will wait",
                 in->maker->stage->name, err.text);
}

/* Accepts from what it has to accept from now, and from nothing else. */
static void deliver_adopt(struct weir_message *m)
{
    struct instance *in = WEIR_LIST_ENTRY(m, struct instance, adopt);
    struct maker *k = in->maker;
    weir_mutex_lock(&k->mu);
    in->posted = false;
    for (size_t i = 0; i < k->slot_count && !in->stopped && k->listener != NULL; i++) {
        struct slot *slot = &k->slots[i];
        bool listens = weir_http_server_listens(in->server, slot->fd);
        if (slot->owner == in && !slot->taken)
            slot->taken = true;
        else if (slot->owner != in && !slot->lent && listens)
            weir_http_server_unlisten(in->server, slot->fd);
        if ((slot->owner == in || slot->lent) && !listens)
            listen_locked(in, slot);
    }
    weir_mutex_unlock(&k->mu);
}

static void post_adopt_locked(struct instance *in)
{
    if (in->posted)
        return;
    in->posted = true;
    in->adopt.deliver = deliver_adopt;
    weir_worker_post(in->base.seat->worker, &in->adopt);
}

/* A worker got stuck or came back, or a socket has another owner. */
static void lend_locked(struct maker *k)
{
    bool changed = false;
    for (size_t i = 0; i < k->slot_count; i++) {
        struct slot *slot = &k->slots[i];
        bool lent = slot->owner != NULL && weir_worker_stuck(slot->owner->base.seat->worker);
        changed |= lent != slot->lent;
        slot->lent = lent;
    }
    WEIR_LIST_EACH(node, following, &k->instances)
    {
        struct instance *in = WEIR_LIST_ENTRY(node, struct instance, node);
        if (changed && in->started && !in->stopped)
            post_adopt_locked(in);
    }
}

static size_t owned_locked(const struct maker *k, const struct instance *in)
{
    size_t n = 0;
    for (size_t i = 0; i < k->slot_count; i++)
        n += k->slots[i].owner == in;
    return n;
}

static struct instance *least_loaded_locked(struct maker *k)
{
    struct instance *best = NULL;
    WEIR_LIST_EACH(node, following, &k->instances)
    {
        struct instance *in = WEIR_LIST_ENTRY(node, struct instance, node);
        if (in->started && !in->stopped && (best == NULL || owned_locked(k, in) < owned_locked(k, best)))
            best = in;
    }
    return best;
}

/* Gives the sockets of `from` (NULL: those that nobody has) to the others. */
static void hand_on_locked(struct maker *k, const struct instance *from)
{
    for (size_t i = 0; i < k->slot_count; i++) {
        struct slot *slot = &k->slots[i];
        if (slot->owner != from)
            continue;
        slot->owner = least_loaded_locked(k);
        slot->taken = false;
        if (slot->owner != NULL)
            post_adopt_locked(slot->owner);
    }
    lend_locked(k);
}

/* The socket for a new instance: one that nobody has, else one of somebody who has several. Both may accept
 * from it for a while: who comes too late finds nothing. */
static struct slot *choose_slot_locked(struct maker *k)
{
    struct slot *shared = NULL;
    for (size_t i = 0; i < k->slot_count; i++) {
        struct slot *slot = &k->slots[i];
        if (slot->owner == NULL)
            return slot;
        if (owned_locked(k, slot->owner) > 1)
            shared = slot;
    }
    return shared;
}

static int start(struct weir_source *s, struct weir_err *reterr)
{
    struct instance *in = instance_of(s);
    struct maker *k = in->maker;
    int rc = WEIR_OK;
    weir_mutex_lock(&k->mu);
    in->started = true;
    if (k->listener != NULL && weir_listener_is_unix(k->listener)) {
        rc = weir_http_server_listen(in->server, weir_listener_fd(k->listener, 0), reterr);
    } else {
        struct slot *slot = choose_slot_locked(k);
        if (slot != NULL) {
            slot->owner = in;
            slot->taken = true;
            rc = weir_http_server_listen(in->server, slot->fd, reterr);
        }
    }
    weir_mutex_unlock(&k->mu);
    return rc;
}

static void stop(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    struct maker *k = in->maker;
    weir_http_server_stop(in->server);
    weir_mutex_lock(&k->mu);
    if (!in->stopped) {
        in->stopped = true;
        k->made--;
        hand_on_locked(k, in);
        if (k->made == 0) { /* the host stops: who comes now learns it at once */
            weir_listener_close(k->listener);
            k->listener = NULL;
        }
    }
    weir_mutex_unlock(&k->mu);
}

static bool idle(const struct weir_source *s)
{
    return weir_http_server_idle(instance_of(s)->server);
}

static void close_source(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    weir_http_server_close(in->server);
    weir_http_desk_close(&in->desk);
}

static void destroy(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    struct maker *k = in->maker;
    weir_mutex_lock(&k->mu);
    if (!in->stopped) {
        in->stopped = true;
        k->made--;
        hand_on_locked(k, in->started ? in : NULL); /* not started: it leaves the socket made for it */
    }
    weir_list_remove(&in->node);
    uint64_t open_now = k->gone.connections;
    weir_http_server_read(in->server, &k->gone);
    k->gone.connections = open_now;
    weir_mutex_unlock(&k->mu);
    weir_http_desk_close(&in->desk); /* of a worker that was never started */
    weir_http_server_destroy(in->server);
    weir_free(in);
}

static const struct weir_source_ops http_source_ops = {
    .start = start,
    .stop = stop,
    .idle = idle,
    .close = close_source,
    .destroy = destroy,
};

/* ---- the maker ---- */

static int add_slot_locked(struct maker *k, struct weir_err *reterr)
{
    int fd = weir_listener_fd(k->listener, 0);
    struct slot *slots = weir_realloc(k->slots, (k->slot_count + 1) * sizeof *slots);
    if (slots == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", k->stage->name);
    k->slots = slots;
    if (k->slot_count > 0) {
        int rc = weir_listener_add(k->listener, &fd, reterr);
        if (rc < 0)
            return rc;
    }
    k->slots[k->slot_count++] = (struct slot){.fd = fd};
    return WEIR_OK;
}

static int make_server(struct maker *k, struct instance *in, struct weir_err *reterr)
{
    struct weir_worker *w = in->base.seat->worker;
    struct weir_http_settings settings = k->settings;
    settings.deadline_ns = k->stage->deadline_ns;
    struct weir_http_options o = {
        .loop = &w->loop,
        .worker = w,
        .settings = &settings,
        .log = k->log,
        .connections = &k->connections,
        .on_request = on_request,
        .on_reject = in->desk.answer != NULL ? on_reject : NULL,
        .arg = in,
    };
    return weir_http_server_create(&o, &in->server, reterr);
}

static int make(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    struct maker *k = self;
    struct instance *in = weir_calloc(1, sizeof *in);
    if (in == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", k->stage->name);
    in->base.ops = &http_source_ops;
    in->base.seat = seat;
    in->maker = k;
    int rc = weir_http_desk_open(&in->desk, &k->rules, seat, reterr);
    if (rc < 0) {
        weir_free(in);
        return rc;
    }
    weir_mutex_lock(&k->mu);
    if (k->listener == NULL)
        rc = weir_err_set(reterr, WEIR_E_CLOSED, "stage '%s': its address is closed already", k->stage->name);
    else if (!weir_listener_is_unix(k->listener) && k->slot_count <= k->made)
        rc = add_slot_locked(k, reterr);
    if (rc == WEIR_OK)
        rc = make_server(k, in, reterr);
    if (rc == WEIR_OK) {
        k->made++;
        weir_list_append(&k->instances, &in->node);
    } else {
        hand_on_locked(k, NULL); /* its socket listens already */
    }
    weir_mutex_unlock(&k->mu);
    if (rc < 0) {
        weir_http_desk_close(&in->desk);
        weir_free(in);
        return rc;
    }
    *ret = &in->base;
    return WEIR_OK;
}

static void stats(void *self, struct weir_strbuf *out)
{
    struct maker *k = self;
    weir_mutex_lock(&k->mu);
    struct weir_http_totals t = k->gone;
    WEIR_LIST_EACH(node, following, &k->instances)
    weir_http_server_read(WEIR_LIST_ENTRY(node, struct instance, node)->server, &t);
    weir_mutex_unlock(&k->mu);
    weir_http_totals_print(&t, out);
}

static void reopen(void *self)
{
    struct maker *k = self;
    if (k->log != NULL)
        weir_access_log_reopen(k->log);
}

static void stuck(void *self)
{
    struct maker *k = self;
    weir_mutex_lock(&k->mu);
    lend_locked(k);
    weir_mutex_unlock(&k->mu);
}

static void reload(void *self)
{
    struct maker *k = self;
    weir_tls_server_reload_logged(k->tls, k->stage->name);
}

static void destroy_maker(void *self)
{
    struct maker *k = self;
    weir_tls_server_unref(k->tls);
    weir_listener_close(k->listener);
    weir_access_log_close(k->log);
    weir_mutex_fini(&k->mu);
    weir_http_rules_close(&k->rules);
    weir_free(k->slots);
    weir_free(k->server_name);
    weir_free(k->deadline_header);
    weir_free(k);
}

static int open_log(struct maker *k, const struct weir_conf *options, struct weir_err *reterr)
{
    const char *path = weir_conf_option_string(options, "access_log");
    if (path == NULL || path[0] == '\0')
        return WEIR_OK;
    return weir_access_log_open(
        path, (enum weir_access_format)weir_conf_option_enum(options, "access_format"), &k->log, reterr);
}

static int prepare_front(struct maker *k, const struct weir_conf *options, struct weir_err *reterr)
{
    const char *header = weir_conf_option_string(options, "deadline_header");
    k->deadline_header = header != NULL ? weir_strdup(header) : NULL;
    if (header != NULL && k->deadline_header == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", k->stage->name);
    for (char *at = k->deadline_header; at != NULL && *at != '\0'; at++)
        *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
    k->settings.deadline_header = k->deadline_header;
    int rc = weir_http_rules_open(k->stage, options, &k->rules, reterr);
    k->settings.reject_page = rc == WEIR_OK ? k->rules.page : NULL;
    return rc;
}

/* Everything of the maker but its sockets. */
static int prepare(struct maker *k, const struct weir_conf *options, struct weir_err *reterr)
{
    const char *name = weir_conf_option_string(options, "server");
    weir_http_options_read(options, &k->settings);
    if (!weir_http_is_value(name != NULL ? name : "", name != NULL ? strlen(name) : 0))
        return weir_err_set(reterr, WEIR_E_CONFIG,
                            "stage '%s': server: it has a line break or another control character",
                            k->stage->name);
    k->server_name = weir_strdup(name != NULL ? name : "");
    if (k->server_name == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", k->stage->name);
    k->settings.server_name = k->server_name;
    struct weir_err why;
    int rc = weir_tls_server_open_options(options, protocols, &k->tls, &why);
    if (rc < 0)
        return weir_err_set(reterr, rc, "stage '%s': %s", k->stage->name, why.text);
    k->settings.tls = k->tls;
    rc = prepare_front(k, options, reterr);
    return rc < 0 ? rc : open_log(k, options, reterr);
}

int weir_http_source_open(struct weir_stage *stage, const struct weir_conf *options,
                          struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr)
{
    struct maker *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    k->stage = stage;
    weir_mutex_init(&k->mu, WEIR_RANK_POOL, "http source");
    weir_list_init(&k->instances);
    struct weir_listener_options o = {
        .address = weir_conf_option_string(options, "listen"),
        .backlog = (int)weir_conf_option_int(options, "backlog"),
        .many = true,
    };
    struct weir_err why = {0};
    int rc = prepare(k, options, reterr);
    if (rc == WEIR_OK && (rc = weir_listener_open(&o, &k->listener, &why)) < 0)
        weir_err_set(reterr, rc, "stage '%s': %s", stage->name, why.text);
    if (rc < 0) {
        destroy_maker(k);
        return rc;
    }
    const char *scheme = weir_listener_is_unix(k->listener) ? "" : k->tls != NULL ? "https://" : "http://";
    snprintf(bound, size, "%s%s", scheme, weir_listener_text(k->listener));
    *ret = (struct weir_source_maker){
        .make = make, .stats = stats, .reopen = reopen, .reload = reload, .stuck = stuck, .destroy = destroy_maker, .self = k};
    return WEIR_OK;
}
