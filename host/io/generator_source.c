/* Two ways to go. With a rate it is a load that does not care: what the queue behind it refuses is lost, and
 * when it waits (overflow: wait) or the process was stopped, it catches up with the last CATCH_UP_NS at most.
 * Without one it gives what the graph takes: a refused event is made again a little later, so that `count`
 * events really go in.
 *
 *   rate > 0:  weir_timer, each TICK_NS at the most: as many events as are due by now
 *   rate 0:    a piece of work that gives way after each BURST (weir_worker_set_aside) */
#include "io/generator_source.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "config/conf.h"
#include "config/problems.h"
#include "config/types.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/source.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/class_rule.h"
#include "io/feed.h"
#include "io/sole.h"
#include "io/source_value.h"

enum { BURST = 128, RATE_BURST = 1024 };
static const uint64_t tick_ns = WEIR_NS_PER_MS, catch_up_ns = 100 * WEIR_NS_PER_MS;

static const struct weir_option options_of_generator[] = {
    WEIR_CLASS_OPTION,
    {.name = "rate",
     .type = WEIR_OPTION_INT,
     .fallback = "0",
     .min = 0,
     .max = 100000000,
     .text = "events per second; 0: as fast as the graph takes them"},
    {.name = "count",
     .type = WEIR_OPTION_INT,
     .fallback = "0",
     .min = 0,
     .text = "how many in all; 0: without end"},
    {.name = "value",
     .type = WEIR_OPTION_ANY,
     .text = "the value of each event, the same for all; {n} is not replaced in it"},
    {.name = "template",
     .type = WEIR_OPTION_ANY,
     .text = "the value of each event, with its number (from 1) for {n} in strings; {n} alone is the number "
             "itself"},
    {.name = "bytes",
     .type = WEIR_OPTION_SIZE,
     .min = 0,
     .max = 8 << 20,
     .text = "the value is a string of that size"},
    {.name = "stop_when_done",
     .type = WEIR_OPTION_BOOL,
     .fallback = "false",
     .text =
         "when the queue behind it has taken the last event, the host finishes what is in flight and ends"},
};

static void check(const struct weir_conf *options, struct weir_problems *problems)
{
    static const char *const kinds[] = {"value", "template", "bytes"};
    const char *first = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct weir_conf *c = weir_conf_get(options, kinds[i]);
        if (c == NULL)
            continue;
        if (first != NULL)
            weir_problems_error(problems, weir_conf_mark(c),
                                "'%s' can't be had together with '%s': both say what the events hold",
                                kinds[i], first);
        first = kinds[i];
        if (i < 2)
            weir_source_value_check(c, kinds[i], problems);
    }
    const struct weir_conf *t = weir_conf_option_any(options, "template");
    if (t != NULL && !weir_source_value_numbered(t))
        weir_problems_warn(problems, weir_conf_mark(t),
                           "there is no {n} in 'template': all events are alike, as with 'value'");
    if (weir_conf_option_bool(options, "stop_when_done") && weir_conf_option_int(options, "count") == 0)
        weir_problems_error(problems, weir_conf_mark(weir_conf_get(options, "stop_when_done")),
                            "'stop_when_done' needs a 'count': without one it is never done");
}

const struct weir_app_type weir_generator_source_type = {
    .name = "generator",
    .kind = WEIR_APP_SOURCE,
    .text = "makes events out of nothing, for tests and benches",
    .options = options_of_generator,
    .option_count = sizeof options_of_generator / sizeof *options_of_generator,
    .check = check,
};

struct maker {
    struct weir_stage *stage;                 /* [const] */
    uint64_t rate, total;                     /* [const] 0: without limit */
    const struct weir_conf *template;         /* [const] NULL: `fixed` or a number */
    struct weir_value fixed;                  /* [const] with has_fixed */
    bool has_fixed;                           /* [const] else {n=} */
    bool stop_when_done;                      /* [const] */
    _Atomic uint64_t made, refused, left_out; /* [atomic relaxed] */
};

/* All fields belong to the worker once it runs. */
struct instance {
    struct weir_source base; /* first */
    struct maker *maker;     /* [const] */
    struct weir_feed feed;
    struct weir_timer timer;
    struct weir_aside aside;
    struct weir_strbuf scratch;
    uint64_t made;            /* events sent */
    uint64_t since_ns, since; /* rate: at that time that many were due (made or left out) */
    uint64_t passed;          /* rate: of those due, made or left out */
    bool stopped, done;
};

static struct instance *instance_of(const struct weir_source *s)
{
    return (struct instance *)(uintptr_t)s; /* the source is its first member */
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static struct weir_worker *worker_of(const struct instance *in)
{
    return in->base.seat->worker;
}

/* ---- one event ---- */

static bool make_numbered(uint64_t number, struct weir_value *ret)
{
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    weir_value_pack_map(&b, 1);
    weir_value_pack_string(&b, "n", 1);
    weir_value_pack_int(&b, (int64_t)number);
    struct weir_blob *blob = b.failed ? NULL : weir_blob_create(b.len);
    if (blob != NULL)
        memcpy(blob->data, b.data, b.len);
    weir_strbuf_fini(&b);
    *ret = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
    return blob != NULL;
}

static bool make_value(struct instance *in, struct weir_value *ret)
{
    struct maker *k = in->maker;
    int64_t number = (int64_t)in->made + 1;
    if (k->has_fixed) {
        *ret = weir_value_ref(k->fixed);
        return true;
    }
    return k->template != NULL ? weir_source_value_conf(k->template, &number, &in->scratch, ret)
                               : make_numbered((uint64_t)number, ret);
}

/* Whether it was taken; one that waits is. */
static bool send_one(struct instance *in)
{
    struct maker *k = in->maker;
    struct weir_value value;
    enum weir_verdict verdict = WEIR_VERDICT_NOMEM;
    bool taken = make_value(in, &value) && weir_feed_send(&in->feed, value, &verdict) == WEIR_OK &&
                 (verdict == WEIR_VERDICT_ACCEPTED || verdict == WEIR_VERDICT_PENDING);
    if (!taken)
        count(&k->refused, 1);
    if (taken || k->rate > 0) {
        in->made++;
        count(&k->made, 1);
    }
    return taken;
}

static bool has_more(const struct instance *in)
{
    return !in->stopped && !in->done && (in->maker->total == 0 || in->made < in->maker->total);
}

/* The last event has been taken, and by now no other is to come. */
static void settle(struct instance *in)
{
    struct maker *k = in->maker;
    if (in->done || in->stopped || k->total == 0 || in->made < k->total || weir_feed_waiting(&in->feed))
        return;
    in->done = true;
    if (k->stop_when_done)
        weir_graph_end(k->stage->graph);
}

static void set_timer(struct instance *in, uint64_t due_ns)
{
    if (weir_timer_set(worker_of(in), &in->timer, due_ns) < 0)
        weir_worker_set_aside(worker_of(in), &in->aside); /* no memory: it asks with each turn instead */
}

/* ---- with a rate ---- */

/* Keeps the products below small, however long it runs: whole seconds are whole numbers of events. */
static void move_base(struct instance *in, uint64_t now)
{
    uint64_t seconds = (now - in->since_ns) / WEIR_NS_PER_S;
    in->since_ns += seconds * WEIR_NS_PER_S;
    in->since += seconds * in->maker->rate;
}

static uint64_t due_by(const struct instance *in, uint64_t now)
{
    return in->since + (now - in->since_ns) * in->maker->rate / WEIR_NS_PER_S;
}

/* Leaves out what would be more than the last catch_up_ns. */
static void bound_backlog(struct instance *in, uint64_t due)
{
    uint64_t most = in->maker->rate * catch_up_ns / WEIR_NS_PER_S + 1;
    uint64_t behind = due - in->passed;
    if (behind <= most)
        return;
    in->passed += behind - most;
    count(&in->maker->left_out, behind - most);
}

static void run_rate(struct instance *in)
{
    struct maker *k = in->maker;
    uint64_t now = weir_worker_now(worker_of(in));
    move_base(in, now);
    uint64_t due = due_by(in, now);
    bound_backlog(in, due);
    for (size_t i = 0; i < RATE_BURST && in->passed < due && has_more(in) && !weir_feed_waiting(&in->feed);
         i++) {
        in->passed++;
        (void)send_one(in); /* refused: counted, and lost */
    }
    settle(in);
    if (!has_more(in) || weir_feed_waiting(&in->feed))
        return;
    if (in->passed < due) {
        weir_worker_set_aside(worker_of(in), &in->aside);
        return;
    }
    uint64_t wanted = in->passed + 1 - in->since; /* the first time at which so many are due */
    uint64_t next = in->since_ns + (wanted * WEIR_NS_PER_S + k->rate - 1) / k->rate;
    set_timer(in, next > now + tick_ns ? next : now + tick_ns);
}

/* ---- without one ---- */

static void run_burst(struct instance *in)
{
    bool taken = true;
    for (size_t i = 0; i < BURST && taken && has_more(in) && !weir_feed_waiting(&in->feed); i++)
        taken = send_one(in);
    settle(in);
    if (!has_more(in) || weir_feed_waiting(&in->feed))
        return;
    if (taken)
        weir_worker_set_aside(worker_of(in), &in->aside);
    else
        set_timer(in,
                  worker_of(in)->now_ns + tick_ns); /* the queue is full: it is not asked with each turn */
}

static void run(struct instance *in)
{
    if (in->maker->rate > 0)
        run_rate(in);
    else
        run_burst(in);
}

static void on_timer(struct weir_timer *t)
{
    run(WEIR_LIST_ENTRY(t, struct instance, timer));
}

static void on_aside(struct weir_aside *a)
{
    run(WEIR_LIST_ENTRY(a, struct instance, aside));
}

static void on_resume(struct weir_feed *f)
{
    struct instance *in = WEIR_LIST_ENTRY(f, struct instance, feed);
    if (f->verdict != WEIR_VERDICT_ACCEPTED)
        count(&in->maker->refused, 1);
    if (has_more(in))
        weir_worker_set_aside(worker_of(in),
                              &in->aside); /* in a turn of its own: the queue's others come first */
    else
        settle(in);
}

/* ---- the source ---- */

static int start(struct weir_source *s, struct weir_err *reterr)
{
    struct instance *in = instance_of(s);
    (void)reterr; /* can't fail */
    in->timer.fire = on_timer;
    in->aside.run = on_aside;
    in->since_ns = weir_worker_now(s->seat->worker);
    weir_worker_set_aside(s->seat->worker, &in->aside);
    return WEIR_OK;
}

static void end(struct instance *in)
{
    in->stopped = true;
    weir_timer_unset(worker_of(in), &in->timer);
    weir_list_remove(&in->aside.node);
}

static void stop(struct weir_source *s)
{
    assert(weir_sole_ends(s->seat));
    end(instance_of(s));
}

static bool idle(const struct weir_source *s)
{
    const struct instance *in = instance_of(s);
    return in->stopped && !weir_feed_waiting(&in->feed);
}

static void close_source(struct weir_source *s)
{
    end(instance_of(s));
}

static void destroy(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    weir_feed_fini(&in->feed);
    weir_strbuf_fini(&in->scratch);
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
    weir_list_init(&in->aside.node);
    weir_strbuf_init(&in->scratch);
    weir_feed_init(&in->feed, seat, &seat->stage->ports[0], on_resume);
    *ret = made;
    return WEIR_OK;
}

static void stats(void *self, struct weir_strbuf *out)
{
    struct maker *k = self;
    weir_strbuf_addf(out, "\"made\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"left_out\":%" PRIu64,
                     atomic_load_explicit(&k->made, memory_order_relaxed),
                     atomic_load_explicit(&k->refused, memory_order_relaxed),
                     atomic_load_explicit(&k->left_out, memory_order_relaxed));
}

static void destroy_maker(void *self)
{
    struct maker *k = self;
    weir_value_unref(k->fixed);
    weir_free(k);
}

/* A text that can be told from zeros in a dump. */
static bool make_payload(size_t size, struct weir_value *ret)
{
    char *text = weir_malloc(size + 1);
    if (text == NULL)
        return false;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)('a' + i % 26);
    bool ok = weir_source_value_string(text, size, ret);
    weir_free(text);
    return ok;
}

static bool read_value(struct maker *k, const struct weir_conf *options)
{
    struct weir_strbuf scratch = WEIR_STRBUF_INIT;
    bool ok = true;
    k->template = weir_conf_option_any(options, "template");
    k->has_fixed = weir_conf_option_given(options, "value") || weir_conf_option_given(options, "bytes");
    if (weir_conf_option_given(options, "value"))
        ok = weir_source_value_conf(weir_conf_option_any(options, "value"), NULL, &scratch, &k->fixed);
    else if (k->has_fixed)
        ok = make_payload(weir_conf_option_size(options, "bytes"), &k->fixed);
    weir_strbuf_fini(&scratch);
    return ok;
}

int weir_generator_source_open(struct weir_stage *stage, const struct weir_conf *options,
                               struct weir_source_maker *ret, char *bound, size_t size,
                               struct weir_err *reterr)
{
    (void)bound; /* it has no address */
    (void)size;
    struct maker *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    k->stage = stage;
    k->rate = (uint64_t)weir_conf_option_int(options, "rate");
    k->total = (uint64_t)weir_conf_option_int(options, "count");
    k->stop_when_done = weir_conf_option_bool(options, "stop_when_done");
    if (!read_value(k, options)) {
        weir_free(k);
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    }
    if (k->stop_when_done)
        weir_graph_expect_end(stage->graph);
    *ret = (struct weir_source_maker){.make = make, .stats = stats, .destroy = destroy_maker, .self = k};
    return WEIR_OK;
}
