/* CoDel (Nichols, Jacobson, "Controlling Queue Delay", ACM Queue 2012) as it is used for request queues (B. Maurer, "Fail at Scale", ACM Queue
 * 2015; facebook/folly, Codel.cpp): a queue stands when even the shortest wait of an interval is over the target. Then what has waited
 * for twice the target is shed, and, which those leave to their clients, no more is let in than can be begun within the target: so many as the stage ended
 * of late in that time. While more than that waits the newest come first (`order: adaptive`); among those that were let in since, each in its turn, is begun in time, and
 * newest first would only keep some waiting. It is over when nothing was refused for an interval.
 *
 * The highest class may take more than that as long as its own events are begun within the target: what is too much are the others. Under
 * `order: class` the shortest wait is that of the highest one: there a queue stands, too, that is twice as long as what ends within the target. */
#include "controller/codel.h"

#include <math.h>

enum { TARGET, INTERVAL, OPTIONS };

static const struct weir_option options[OPTIONS] = {
    [TARGET] = {.name = "target", .type = WEIR_OPTION_DURATION, .fallback = "5ms", .min = 100000, .max = 3600000000000, .text = "time in the queue that is all right"},
    [INTERVAL] = {.name = "interval", .type = WEIR_OPTION_DURATION, .fallback = "100ms", .min = 20000000, .max = 3600000000000, .text = "a queue that stands for so long is too long"},
};

struct state {
    double above_s; /* for how long the shortest wait has been over the target */
    double calm_s;  /* for how long nothing was refused */
    double drain;   /* events per second that ended while a queue stood, of late; 0: not known */
    double favour;  /* how much more than its part the highest class may take: 1..FAVOUR_MAX; 0: not set yet */
    double limit;   /* the last one, for lower classes */
    double overloaded;
};

enum { FAVOUR_MAX = 4, LOOKS = 5 /* in an interval */, LIMIT_MAX = 1000000000 };

static bool ready(const double *s, const struct weir_sample *sample)
{
    return sample->elapsed_s >= s[INTERVAL] / LOOKS;
}

/* A moving average over some intervals: what ends in one look is few. */
static void note_drain(const double *s, struct state *st, const struct weir_sample *sample)
{
    double rate = (sample->handled + sample->failed) / sample->elapsed_s;
    double weight = fmin(1, sample->elapsed_s / (4 * s[INTERVAL]));
    if (!(rate > 0) || !isfinite(rate) || !(sample->wait_min_s > 0))
        return;
    st->drain = st->drain > 0 ? st->drain + weight * (rate - st->drain) : rate;
}

static double refused(const struct weir_sample *sample)
{
    double n = 0;
    for (size_t i = 0; i < sample->class_count && i < WEIR_CLASSES_MAX; i++)
        n += sample->classes[i].refused;
    return n;
}

static double positive(double v)
{
    return v > 0 ? v : 0; /* not a number: 0, too */
}

/* How many may be queued and running, for the lower classes. Calls that wait for something outside keep no worker. */
static double limit_of(const double *s, const struct state *st, const struct weir_sample *sample)
{
    double beside = positive(sample->running - sample->threads);
    return fmin(fmax(positive(sample->threads) + 1, floor(positive(st->drain) * s[TARGET]) + beside), LIMIT_MAX);
}

static void set_shares(const struct weir_sample *sample, double favour, struct weir_setpoint *at, double limit)
{
    bool several = sample->class_count > 1;
    at->limit = several ? favour * limit : limit;
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        at->share[i] = i == 0 || !several ? 1 : fmax(1, limit * (1 - 0.25 * (double)(i - 1))) / at->limit;
}

static void open_gate(struct weir_setpoint *at)
{
    weir_setpoint_init(at);
}

static const char *enter_or_hold(const double *s, struct state *st, const struct weir_sample *sample, struct weir_setpoint *at)
{
    bool entered = st->overloaded == 0;
    double limit = limit_of(s, st, sample), before = at->limit;
    double own_wait = sample->class_count > 1 ? positive(sample->classes[0].wait_s) : 0;
    if (!(st->favour >= 1 && st->favour <= FAVOUR_MAX))
        st->favour = FAVOUR_MAX;
    st->favour = own_wait > s[TARGET] ? fmax(1, st->favour * 0.8) : fmin(FAVOUR_MAX, st->favour * 1.05);
    st->overloaded = 1;
    at->shed_after_s = 2 * s[TARGET];
    if (sample->can_grow && limit < st->limit && st->limit <= LIMIT_MAX)
        limit = st->limit; /* the pool is to grow first */
    st->limit = limit;
    set_shares(sample, st->favour, at, limit);
    bool newest_before = at->overloaded;
    at->overloaded = positive(sample->depth) > at->limit;
    if (entered)
        return "a queue stands";
    bool moves = fabs(at->limit - before) >= fmax(0.5, 0.1 * before); /* not for each event more or less that ended */
    return moves || at->overloaded != newest_before ? "what ends within the target" : NULL;
}

/* Where the queue gives the highest class or the newest first, some are begun at once while the others wait: then its length says it. */
static bool stands(const double *s, const struct state *st, const struct weir_sample *sample)
{
    return sample->wait_min_s > s[TARGET] || (st->drain > 0 && sample->depth > 2 * fmax(1, st->drain * s[TARGET]));
}

static const char *step(const double *s, void *state, const struct weir_sample *sample, struct weir_setpoint *at)
{
    struct state *st = state;
    struct weir_setpoint was = *at;
    note_drain(s, st, sample);
    bool above = stands(s, st, sample);
    st->above_s = above ? positive(st->above_s) + sample->elapsed_s : 0;
    st->calm_s = refused(sample) > 0 || above ? 0 : positive(st->calm_s) + sample->elapsed_s;
    if (st->overloaded != 0 && st->calm_s >= s[INTERVAL]) {
        st->overloaded = 0;
        open_gate(at);
        return "nothing was refused for an interval";
    }
    if (st->overloaded == 0 && (st->above_s < s[INTERVAL] || sample->can_grow || !(st->drain > 0)))
        return NULL;
    const char *rule = enter_or_hold(s, st, sample, at);
    if (rule == NULL)
        *at = was;
    return rule;
}

const struct weir_controller_type weir_codel_type = {
    .name = "codel",
    .knob = WEIR_KNOB_ADMISSION,
    .text = "bounds the time in the queue: sheds what waited too long, admits what can be begun in time",
    .options = options,
    .option_count = OPTIONS,
    .state_size = sizeof(struct state),
    .ready = ready,
    .step = step,
};
