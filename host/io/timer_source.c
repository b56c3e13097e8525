/* Ticks stand on a grid: start + k × every, each late by its own share of `jitter`. A tick that can't be
 * sent, since the one before waits still for room or the process was stopped for a while, is left out and
 * counted: the next event says how many were. */
#include "io/timer_source.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "config/conf.h"
#include "config/problems.h"
#include "config/types.h"
#include "core/seat.h"
#include "core/source.h"
#include "core/stage.h"
#include "core/value.h"
#include "core/worker.h"
#include "io/class_rule.h"
#include "io/feed.h"
#include "io/sole.h"
#include "io/source_value.h"

static const struct weir_option options_of_timer[] = {
    WEIR_CLASS_OPTION,
    {.name = "every",
     .type = WEIR_OPTION_DURATION,
     .required = true,
     .min = WEIR_NS_PER_MS,
     .text = "between ticks; 1 ms and more"},
    {.name = "jitter",
     .type = WEIR_OPTION_DURATION,
     .fallback = "0",
     .text = "each tick is late by a random part of this; at most `every`"},
    {.name = "at_start",
     .type = WEIR_OPTION_BOOL,
     .fallback = "false",
     .text = "the first tick comes at the start, not `every` later"},
    {.name = "value",
     .type = WEIR_OPTION_ANY,
     .text = "the events' value; {n, missed} unless given: the tick's number and how many before it were "
             "left out"},
};

static void check(const struct weir_conf *options, struct weir_problems *problems)
{
    const struct weir_conf *jitter = weir_conf_get(options, "jitter");
    if (weir_conf_option_duration(options, "jitter") > weir_conf_option_duration(options, "every"))
        weir_problems_error(problems, weir_conf_mark(jitter),
                            "'jitter' is longer than 'every': ticks would overtake each other");
    weir_source_value_check(weir_conf_option_any(options, "value"), "value", problems);
}

const struct weir_app_type weir_timer_source_type = {
    .name = "timer",
    .kind = WEIR_APP_SOURCE,
    .makes_streams = true,
    .text = "makes an event every so often",
    .options = options_of_timer,
    .option_count = sizeof options_of_timer / sizeof *options_of_timer,
    .check = check,
};

struct maker {
    struct weir_stage *stage;                /* [const] */
    uint64_t every_ns, jitter_ns;            /* [const] */
    bool at_start, has_value;                /* [const] */
    struct weir_value value;                 /* [const] with has_value */
    _Atomic uint64_t ticks, missed, refused; /* [atomic relaxed] */
};

/* All fields belong to the worker once it runs. */
struct instance {
    struct weir_source base; /* first */
    struct maker *maker;     /* [const] */
    struct weir_feed feed;
    struct weir_timer timer;
    uint64_t grid_ns;  /* when the next tick is due, jitter apart */
    uint64_t number;   /* of the last tick, sent or left out */
    uint64_t left_out; /* since the last event */
    uint64_t random;
    bool stopped;
};

static struct instance *instance_of(const struct weir_source *s)
{
    return (struct instance *)(uintptr_t)s; /* the source is its first member */
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* xorshift64 (Marsaglia 2003): spreading ticks asks for no more. */
static uint64_t late_by(struct instance *in)
{
    if (in->maker->jitter_ns == 0)
        return 0;
    in->random ^= in->random << 13;
    in->random ^= in->random >> 7;
    in->random ^= in->random << 17;
    return in->random % (in->maker->jitter_ns + 1);
}

static void set(struct instance *in, uint64_t due_ns)
{
    struct weir_worker *w = in->base.seat->worker;
    if (weir_timer_set(w, &in->timer, due_ns) < 0)
        weir_log(WEIR_LOG_ERROR, "timer", NULL,
                 "stage '%s': no memory for its timer: it makes no more events", in->maker->stage->name);
}

static bool make_value(struct instance *in, struct weir_value *ret)
{
    struct maker *k = in->maker;
    if (k->has_value) {
        *ret = weir_value_ref(k->value);
        return true;
    }
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    weir_value_pack_map(&b, 2);
    weir_value_pack_string(&b, "n", 1);
    weir_value_pack_int(&b, (int64_t)in->number);
    weir_value_pack_string(&b, "missed", 6);
    weir_value_pack_int(&b, (int64_t)in->left_out);
    struct weir_blob *blob = b.failed ? NULL : weir_blob_create(b.len);
    if (blob != NULL)
        memcpy(blob->data, b.data, b.len);
    weir_strbuf_fini(&b);
    *ret = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
    return blob != NULL;
}

static void leave_out(struct instance *in, uint64_t n)
{
    in->left_out += n;
    count(&in->maker->missed, n);
}

static void tick(struct instance *in)
{
    struct maker *k = in->maker;
    struct weir_value value;
    enum weir_verdict verdict;
    in->number++;
    if (weir_feed_waiting(&in->feed) || !make_value(in, &value)) {
        leave_out(in, 1);
        return;
    }
    if (weir_feed_send(&in->feed, value, &verdict) < 0) {
        leave_out(in, 1);
        return;
    }
    in->left_out = 0;
    count(&k->ticks, 1);
    if (verdict != WEIR_VERDICT_ACCEPTED && verdict != WEIR_VERDICT_PENDING)
        count(&k->refused, 1);
}

static void on_timer(struct weir_timer *t)
{
    struct instance *in = WEIR_LIST_ENTRY(t, struct instance, timer);
    uint64_t every = in->maker->every_ns, now = in->base.seat->worker->now_ns;
    if (in->stopped)
        return;
    uint64_t slept = now > t->due_ns ? (now - t->due_ns) / every : 0;
    if (slept > 0) { /* the process was stopped, or the worker kept: one tick stands for all */
        in->number += slept;
        in->grid_ns += slept * every;
        leave_out(in, slept);
    }
    tick(in);
    in->grid_ns += every;
    set(in, in->grid_ns + late_by(in));
}

/* A tick that came meanwhile was counted as left out; the next one says so. */
static void on_resume(struct weir_feed *f)
{
    if (f->verdict != WEIR_VERDICT_ACCEPTED)
        count(&WEIR_LIST_ENTRY(f, struct instance, feed)->maker->refused, 1);
}

static int start(struct weir_source *s, struct weir_err *reterr)
{
    struct instance *in = instance_of(s);
    struct maker *k = in->maker;
    uint64_t now = weir_worker_now(s->seat->worker);
    if (uv_random(NULL, NULL, &in->random, sizeof in->random, 0, NULL) < 0 || in->random == 0)
        in->random = now | 1;
    in->timer.fire = on_timer;
    in->grid_ns = k->at_start ? now : now + k->every_ns;
    if (weir_timer_set(s->seat->worker, &in->timer, k->at_start ? now : in->grid_ns + late_by(in)) < 0)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", k->stage->name);
    return WEIR_OK;
}

static void stop(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    assert(weir_sole_ends(s->seat));
    in->stopped = true;
    weir_timer_unset(s->seat->worker, &in->timer);
}

static bool idle(const struct weir_source *s)
{
    const struct instance *in = instance_of(s);
    return in->stopped && !weir_feed_waiting(&in->feed);
}

static void close_source(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    in->stopped = true;
    weir_timer_unset(s->seat->worker, &in->timer);
}

static void destroy(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    weir_feed_fini(&in->feed);
    weir_free(in);
}

static const struct weir_source_ops ops = {
    .start = start, .stop = stop, .idle = idle, .close = close_source, .destroy = destroy};

static int make(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    struct maker *k = self;
    struct weir_source *made = NULL;
    int rc = weir_sole_make(seat, sizeof(struct instance), &ops, &made, reterr);
    if (made == NULL)
        return rc;
    struct instance *in = instance_of(made);
    in->maker = k;
    weir_feed_init(&in->feed, seat, &seat->stage->ports[0], on_resume);
    *ret = made;
    return WEIR_OK;
}

static void stats(void *self, struct weir_strbuf *out)
{
    struct maker *k = self;
    weir_strbuf_addf(out, "\"ticks\":%" PRIu64 ",\"missed\":%" PRIu64 ",\"refused\":%" PRIu64,
                     atomic_load_explicit(&k->ticks, memory_order_relaxed),
                     atomic_load_explicit(&k->missed, memory_order_relaxed),
                     atomic_load_explicit(&k->refused, memory_order_relaxed));
}

static void destroy_maker(void *self)
{
    struct maker *k = self;
    weir_value_unref(k->value);
    weir_free(k);
}

int weir_timer_source_open(struct weir_stage *stage, const struct weir_conf *options,
                           struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr)
{
    (void)bound; /* it has no address */
    (void)size;
    struct maker *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    k->stage = stage;
    k->every_ns = weir_conf_option_duration(options, "every");
    k->jitter_ns = weir_conf_option_duration(options, "jitter");
    k->at_start = weir_conf_option_bool(options, "at_start");
    k->has_value = weir_conf_option_given(options, "value");
    struct weir_strbuf scratch = WEIR_STRBUF_INIT;
    bool ok = weir_source_value_conf(weir_conf_option_any(options, "value"), NULL, &scratch, &k->value);
    weir_strbuf_fini(&scratch);
    if (!ok) {
        weir_free(k);
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    }
    *ret = (struct weir_source_maker){.make = make, .stats = stats, .destroy = destroy_maker, .self = k};
    return WEIR_OK;
}
