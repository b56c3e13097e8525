#include "io/write_sink.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/sink.h"
#include "io/writer.h"

#define LOOK_AGAIN_NS (100 * WEIR_NS_PER_MS)

struct shared { /* by the workers of a stage */
    struct weir_sink sink;
    struct weir_writer *writer;             /* [const] */
    void (*release)(struct weir_writer *w); /* [const] */
    char *name;                             /* [const] */
    size_t buffer;                          /* [const] */
    uint64_t flush_after_ns;                /* [const] */
};

/* All fields belong to the worker. */
struct write_sink {
    struct weir_handler h; /* first */
    struct shared *shared; /* [const] */
    struct weir_write_box box;
    bool has_box;
    struct weir_write *filling; /* NULL: nothing is waiting to be handed over */
    struct weir_write *spare;   /* an empty one, so that not each batch allocates */
    size_t submitted;           /* handed over and not back */
    struct weir_timer flush;
    uint64_t due_ns; /* when `filling` leaves at the latest */
    struct weir_strbuf scratch;
};

static struct write_sink *sink_of(struct weir_handler *h)
{
    return (struct write_sink *)(void *)h; /* the handler is its first member */
}

/* ---- events that end ---- */

static void describe(const struct shared *s, const struct weir_write *wr, char *text, size_t size)
{
    snprintf(text, size, "can't %s %s: %s", wr->doing, s->name, strerror(wr->error));
}

/* `wr` came back: ends its events, the ones whose frames were written first. */
static void settle(struct write_sink *k, struct weir_write *wr)
{
    struct shared *s = k->shared;
    char text[512];
    struct weir_list *node;
    if (wr->error != 0) {
        describe(s, wr, text, sizeof text);
        weir_sink_trouble(&s->sink, text);
    } else {
        weir_sink_well(&s->sink);
    }
    for (size_t i = 0; (node = weir_list_take_first(&wr->events)) != NULL; i++) {
        struct weir_event *ev = WEIR_LIST_ENTRY(node, struct weir_event, node);
        if (i < wr->written)
            weir_sink_handled(k->h.seat, ev);
        else
            weir_sink_failed(k->h.seat, ev, WEIR_REASON_IO, text);
    }
    weir_write_reset(wr);
    if (k->spare == NULL)
        k->spare = wr;
    else
        weir_write_destroy(wr);
    k->submitted--;
}

static void settle_all(struct write_sink *k, struct weir_list *done)
{
    struct weir_list *node;
    while ((node = weir_list_take_first(done)) != NULL)
        settle(k, WEIR_LIST_ENTRY(node, struct weir_write, node));
}

/* ---- batches that leave ---- */

static void submit(struct write_sink *k)
{
    struct weir_write *wr = k->filling;
    k->filling = NULL;
    k->submitted++;
    weir_timer_unset(k->h.seat->worker, &k->flush);
    weir_writer_submit(k->shared->writer, wr);
}

/* The host stops, or this worker leaves: nobody comes to fill a batch. */
static bool is_leaving(const struct write_sink *k)
{
    return atomic_load_explicit(&k->h.seat->worker->orders, memory_order_acquire) != 0;
}

/* Looks in between whether it is still worth waiting for more. */
static bool wait_for_more(struct write_sink *k)
{
    struct weir_worker *w = k->h.seat->worker;
    uint64_t look_ns = w->now_ns + LOOK_AGAIN_NS;
    return weir_timer_set(w, &k->flush, look_ns < k->due_ns ? look_ns : k->due_ns) == WEIR_OK;
}

static void on_flush(struct weir_timer *t)
{
    struct write_sink *k = WEIR_LIST_ENTRY(t, struct write_sink, flush);
    if (k->filling == NULL)
        return;
    if (k->h.seat->worker->now_ns >= k->due_ns || is_leaving(k) || !wait_for_more(k))
        submit(k);
}

/* In an ordered queue the events behind those of the batch can't begin before it is written: what would fill it
 * may be waiting for it. */
static bool is_ordered(const struct write_sink *k)
{
    return k->h.seat->stage->queue.shared.partitions != NULL;
}

/* The batch leaves as soon as the one before has come back. */
static bool leaves_at_once(const struct write_sink *k)
{
    return k->shared->flush_after_ns == 0 || is_ordered(k);
}

/* Whether the batch leaves, or when. */
static void submit_if_due(struct write_sink *k)
{
    const struct shared *s = k->shared;
    struct weir_seat *seat = k->h.seat;
    if (k->filling == NULL)
        return;
    if (leaves_at_once(k)) {
        if (k->submitted == 0)
            submit(k);
        return;
    }
    if (seat->running >= seat->stage->concurrency || k->filling->bytes.len >= s->buffer || is_leaving(k)) {
        submit(k);
    } else if (k->flush.slot == 0) {
        k->due_ns = seat->worker->now_ns + s->flush_after_ns;
        if (!wait_for_more(k))
            submit(k); /* better early than never */
    }
}

static void on_done(uv_async_t *wake)
{
    struct write_sink *k = wake->data;
    struct weir_list done;
    weir_list_init(&done);
    weir_worker_now(k->h.seat->worker);
    weir_writer_collect(k->shared->writer, &k->box, &done);
    settle_all(k, &done);
    submit_if_due(k);
}

/* ---- events that come ---- */

static bool has_filling(struct write_sink *k)
{
    if (k->filling == NULL) {
        k->filling = k->spare != NULL ? k->spare : weir_write_create(&k->box);
        k->spare = NULL;
    }
    return k->filling != NULL;
}

static void drop_if_empty(struct write_sink *k)
{
    if (k->filling == NULL || k->filling->count > 0)
        return;
    if (k->spare != NULL) /* one that was submitted has come back meanwhile */
        weir_write_destroy(k->filling);
    else
        k->spare = k->filling;
    k->filling = NULL;
}

static void add(struct write_sink *k, struct weir_event *ev)
{
    struct shared *s = k->shared;
    struct weir_err why;
    if (!has_filling(k)) {
        weir_sink_failed(k->h.seat, ev, WEIR_REASON_MEMORY, "out of memory");
        return;
    }
    struct weir_write *wr = k->filling;
    size_t before = wr->bytes.len;
    int rc = weir_sink_encode(&s->sink, ev, &k->scratch, &wr->bytes, &why);
    if (rc == WEIR_OK && !weir_write_mark(wr)) {
        wr->bytes.len = before;
        rc = weir_err_set(&why, WEIR_E_NOMEM, "out of memory");
    }
    if (rc < 0) {
        drop_if_empty(k);
        weir_sink_refused(&s->sink, k->h.seat, ev, &why);
        return;
    }
    weir_list_append(&wr->events, &ev->node);
    if (wr->bytes.len >= s->buffer && s->flush_after_ns != 0)
        submit(k);
}

/* The worker's loop is touched by its thread only, so not in make. */
static bool has_box(struct write_sink *k)
{
    if (k->has_box)
        return true;
    k->has_box = weir_write_box_open(&k->box, &k->h.seat->worker->loop, on_done) == 0;
    k->box.wake.data = k;
    return k->has_box;
}

static void handle(struct weir_handler *h, struct weir_event **evs, size_t n)
{
    struct write_sink *k = sink_of(h);
    for (size_t i = 0; i < n; i++) {
        if (!weir_seat_begin(h->seat, evs[i]))
            continue;
        if (has_box(k))
            add(k, evs[i]);
        else
            weir_sink_failed(h->seat, evs[i], WEIR_REASON_IO,
                             "no descriptor is left for the worker's wake-up");
    }
    submit_if_due(k);
}

static void cancel(struct weir_handler *h)
{
    struct write_sink *k = sink_of(h);
    struct weir_list done, events;
    if (!k->has_box)
        return;
    weir_list_init(&done);
    weir_list_init(&events);
    weir_writer_revoke(k->shared->writer, &k->box, &done, &events);
    if (k->filling != NULL) {
        weir_list_splice(&events, &k->filling->events);
        weir_write_reset(k->filling);
        drop_if_empty(k);
    }
    weir_timer_unset(h->seat->worker, &k->flush);
    settle_all(k, &done);
    k->submitted = 0; /* what was revoked never comes back */
    weir_sink_cancel(h->seat, &events);
}

static void free_sink(struct write_sink *k)
{
    weir_write_destroy(k->spare);
    weir_strbuf_fini(&k->scratch);
    weir_free(k);
}

static void on_closed(uv_handle_t *handle)
{
    free_sink(handle->data);
}

static void close_sink(struct weir_handler *h)
{
    struct write_sink *k = sink_of(h);
    weir_timer_unset(h->seat->worker, &k->flush);
    if (k->has_box)
        weir_write_box_close(k->shared->writer, &k->box, on_closed);
    else
        free_sink(k);
}

static size_t memory(const struct weir_handler *h)
{
    const struct write_sink *k = (const struct write_sink *)(const void *)h;
    return sizeof *k + k->scratch.cap + (k->filling != NULL ? k->filling->bytes.cap : 0) +
           (k->spare != NULL ? k->spare->bytes.cap : 0);
}

static const struct weir_handler_ops ops = {
    .handle = handle, .cancel = cancel, .close = close_sink, .memory = memory};

/* ---- making them ---- */

static int make(void *self, struct weir_seat *seat, struct weir_handler **ret, struct weir_err *reterr)
{
    struct write_sink *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    k->h.ops = &ops;
    k->h.seat = seat;
    k->shared = self;
    k->flush.fire = on_flush;
    *ret = &k->h;
    return WEIR_OK;
}

static void reopen(void *self)
{
    weir_writer_reopen(((struct shared *)self)->writer);
}

static void destroy(void *self)
{
    struct shared *s = self;
    s->release(s->writer);
    weir_free(s->name);
    weir_free(s);
}

int weir_write_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                         const struct weir_write_sink_settings *o, struct weir_writer *writer,
                         void (*release)(struct weir_writer *w), struct weir_handler_maker *ret,
                         struct weir_err *reterr)
{
    struct shared *s = weir_calloc(1, sizeof *s);
    char *name = weir_strdup(o->name);
    int rc = s == NULL || name == NULL
                 ? weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name)
                 : weir_sink_init(&s->sink, stage, options, true, reterr);
    if (rc < 0) {
        weir_free(name);
        weir_free(s);
        return rc;
    }
    s->writer = writer;
    s->release = release;
    s->name = name;
    s->buffer = o->buffer;
    s->flush_after_ns = o->flush_after_ns;
    *ret = (struct weir_handler_maker){.make = make, .reopen = reopen, .destroy = destroy, .self = s};
    return WEIR_OK;
}
