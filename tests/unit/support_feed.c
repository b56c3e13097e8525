#include "core/stage.h"
#include "support.h"

struct feed_source {
    struct weir_source s;
    struct rig_feed *feed;
    uv_idle_t idle;
    size_t made;
    bool has_handle, stopped;
};

static bool make_one(struct feed_source *f)
{
    struct weir_seat *seat = f->s.seat;
    struct weir_event *ev = weir_event_create(seat->worker);
    if (ev == NULL)
        return false;
    ev->value = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = (int64_t)f->made};
    ev->source = (uint64_t)seat->worker->index + 1;
    if (seat->stage->deadline_ns != 0)
        ev->deadline_ns = seat->worker->now_ns + seat->stage->deadline_ns;
    if (f->feed->fill != NULL)
        f->feed->fill(ev, f->made, f->feed->arg);
    if (weir_port_emit(seat, &seat->stage->ports[0], ev, NULL) == WEIR_VERDICT_ACCEPTED) {
        f->made++;
        atomic_fetch_add(&f->feed->made, 1);
        return true;
    }
    weir_event_free(seat->worker, ev); /* a full queue: the same number again at the next tick */
    atomic_fetch_add(&f->feed->refused, 1);
    return false;
}

static void on_idle(uv_idle_t *idle)
{
    struct feed_source *f = idle->data;
    weir_worker_now(f->s.seat->worker);
    for (size_t i = 0; i < f->feed->per_tick && f->made < f->feed->total; i++)
        if (!make_one(f))
            break;
    if (f->made == f->feed->total) {
        uv_idle_stop(idle);
        atomic_fetch_add(&f->feed->done, 1);
    }
}

static int start_feed(struct weir_source *s, struct weir_err *reterr)
{
    struct feed_source *f = (struct feed_source *)(void *)s;
    (void)reterr;
    uv_idle_init(&s->seat->worker->loop, &f->idle);
    f->has_handle = true;
    f->idle.data = f;
    uv_idle_start(&f->idle, on_idle);
    return WEIR_OK;
}

static void stop_feed(struct weir_source *s)
{
    struct feed_source *f = (struct feed_source *)(void *)s;
    uv_idle_stop(&f->idle);
    f->stopped = true;
}

static bool idle_feed(const struct weir_source *s)
{
    return ((const struct feed_source *)(const void *)s)->stopped;
}

static void close_feed(struct weir_source *s)
{
    struct feed_source *f = (struct feed_source *)(void *)s;
    if (f->has_handle)
        uv_close((uv_handle_t *)&f->idle, NULL);
}

static void destroy_feed(struct weir_source *s)
{
    weir_free(s);
}

static const struct weir_source_ops feed_ops = {
    .start = start_feed, .stop = stop_feed, .idle = idle_feed, .close = close_feed, .destroy = destroy_feed};

static int make_feed(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    struct feed_source *f = weir_calloc(1, sizeof *f);
    if (f == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    f->s.ops = &feed_ops;
    f->s.seat = seat;
    f->feed = self;
    *ret = &f->s;
    return WEIR_OK;
}

static bool is_fed(void *arg)
{
    struct rig_feed *feed = arg;
    return atomic_load(&feed->done) >= feed->wanted;
}

void rig_feed_wait(struct rig *r, struct rig_feed *feed, size_t instances)
{
    feed->wanted = instances;
    rig_wait(r, is_fed, feed);
}

struct weir_stage *rig_source(struct rig *r, size_t i, const char *name, size_t pool, struct rig_feed *feed)
{
    struct weir_stage *s = rig_stage_defaults(r, i, name, pool);
    s->kind = WEIR_STAGE_SOURCE;
    feed->maker = (struct weir_source_maker){.make = make_feed, .self = feed};
    s->source = feed->maker;
    if (feed->per_tick == 0)
        feed->per_tick = 64;
    return s;
}
