/* Welsh, Culler, "Adaptive Overload Control for Busy Internet Servers", USITS 2003, section 3: a rate for each class, raised a little while the
 * percentile of its response times is far below the target, divided when it is over. Rates of lower classes are cut first; a class itself is
 * cut when those below it have been at the floor for a while, and they don't rise while it is over.
 *
 * What differs, because the paper's constants are for some ten requests a second: a raise is a share of the rate instead of a number of events; the
 * first cut goes to what the stage has been seen to do, and none goes farther below that than brings down in a step what waits, so that it neither
 * takes ever so many steps from 5000/s down nor leaves the stage idle; a class without a rate is not limited, and one whose rate refuses nothing for long loses it; while
 * rates are set, what has waited for twice the target is shed, so that what was let in before the first cut need not be worked off. */
#include "controller/response_time.h"

#include <math.h>

enum { TARGET, SIGNAL, PERCENTILE, SAMPLES, INTERVAL, SMOOTHING, LOW, CUT, RAISE, CUT_LOWER, PATIENCE, MIN_RATE, MAX_RATE, OPTIONS };

enum { BY_RESPONSE, BY_QUEUE };
static const char *const signals[] = {"response_time", "queue", NULL};

static const struct weir_option options[OPTIONS] = {
    [TARGET] = {.name = "target", .type = WEIR_OPTION_DURATION, .fallback = "100ms", .min = 100000, .max = 3600000000000, .text = "what the percentile is to stay under"},
    [SIGNAL] = {.name = "signal", .type = WEIR_OPTION_ENUM, .words = signals, .fallback = "response_time", .text = "time since the event's arrival at its source, or time in this queue"},
    [PERCENTILE] = {.name = "percentile", .type = WEIR_OPTION_NUMBER, .fallback = "90", .min = 1, .max = 100, .text = "of the times since the last step"},
    [SAMPLES] = {.name = "samples", .type = WEIR_OPTION_NUMBER, .fallback = "100", .min = 1, .max = 1000000, .text = "a step after so many events …"},
    [INTERVAL] = {.name = "interval", .type = WEIR_OPTION_DURATION, .fallback = "1s", .min = 20000000, .max = 3600000000000, .text = "… or after so long: rare events count, too"},
    [SMOOTHING] = {.name = "smoothing", .type = WEIR_OPTION_NUMBER, .fallback = "0.3", .min = 0, .max = 1, .text = "weight of what was before"},
    [LOW] = {.name = "low", .type = WEIR_OPTION_NUMBER, .fallback = "0.5", .min = 0, .max = 1, .text = "below this share of the target rates are raised"},
    [CUT] = {.name = "cut", .type = WEIR_OPTION_NUMBER, .fallback = "1.2", .min = 1, .max = 100, .text = "what a rate is divided by"},
    [RAISE] = {.name = "probe", .type = WEIR_OPTION_NUMBER, .fallback = "0.1", .min = 0, .max = 10, .text = "the most that a rate is raised by, as a share of it"},
    [CUT_LOWER] = {.name = "cut_lower", .type = WEIR_OPTION_NUMBER, .fallback = "10", .min = 1, .max = 1000, .text = "what the rates of lower classes are divided by"},
    [PATIENCE] = {.name = "patience", .type = WEIR_OPTION_NUMBER, .fallback = "20", .min = 0, .max = 100000, .text = "steps over the target, with all lower classes at the floor, before a class is cut itself"},
    [MIN_RATE] = {.name = "min_rate", .type = WEIR_OPTION_NUMBER, .fallback = "0.05", .min = 0, .max = 10000000, .text = "floor of a rate, events per second"},
    [MAX_RATE] = {.name = "max_rate", .type = WEIR_OPTION_NUMBER, .min = 0, .max = 10000000, .text = "and its ceiling; none unless set"},
};

static const double margin = 0.97;   /* of what was seen to be possible: so that the queue gets shorter */
static const double idle_steps = 10; /* in which it is not needed, until a class is no longer limited */
static const double next_to_none = 0.02; /* of what was offered */
static const double easily = 0.8;        /* a stage does what is less than this share of what it can do */

struct class_state {
    double smoothed_s; /* 0: nothing seen yet */
    double over;       /* steps over the target while lower ones were at the floor */
    double unused;     /* steps in which its rate was not needed */
};

struct state {
    struct class_state classes[WEIR_CLASSES_MAX];
};

static double ended(const struct weir_sample *sample)
{
    double n = 0;
    for (size_t i = 0; i < sample->class_count && i < WEIR_CLASSES_MAX; i++)
        n += sample->classes[i].ended;
    return n;
}

static bool ready(const double *s, const struct weir_sample *sample)
{
    return ended(sample) >= s[SAMPLES] || sample->elapsed_s >= s[INTERVAL];
}

static double floor_of(const double *s)
{
    return fmax(s[MIN_RATE], 0);
}

static double bounded(const double *s, double rate)
{
    double high = isnan(s[MAX_RATE]) ? (double)INFINITY : fmax(s[MAX_RATE], floor_of(s));
    return rate >= high ? high : rate >= floor_of(s) ? rate : floor_of(s); /* not a number: the floor */
}

/* How far a class is off the target, as a share of it: over it both now and on the average, or else as it is now. A queue that was long a moment
 * ago and is not any more asks for no second cut. */
static double error_of(const double *s, const struct class_state *c, double seen)
{
    double now = (seen - s[TARGET]) / s[TARGET], smoothed = (c->smoothed_s - s[TARGET]) / s[TARGET];
    return fmin(now, fmax(smoothed, fmin(now, 0)));
}

/* false: class `i` has seen nothing that says how far it is off. */
static bool measure(const double *s, struct class_state *c, const struct weir_sample *sample, size_t i, double *ret)
{
    const struct weir_sample_class *now = &sample->classes[i];
    double seen = s[SIGNAL] == BY_QUEUE ? now->wait_s : now->response_s;
    bool stuck = !(now->ended > 0) && sample->depth > 0 && sample->wait_min_s > s[TARGET] && now->offered > now->refused;
    if (stuck)
        seen = sample->wait_min_s; /* nothing ends: it has been that long at least */
    if (!stuck && !(now->ended > 0))
        return false;
    if (!(seen >= 0) || !isfinite(seen))
        return false;
    double weight = c->smoothed_s > 0 && isfinite(c->smoothed_s) ? s[SMOOTHING] : 0;
    c->smoothed_s = weight * (weight > 0 ? c->smoothed_s : 0) + (1 - weight) * seen;
    *ret = error_of(s, c, seen);
    return true;
}

/* What the stage can do per second: what it did, or, as long as its calls keep workers, what these can do in their time. */
static double capacity(const struct weir_sample *sample)
{
    double did = ended(sample) / sample->elapsed_s;
    bool computes = sample->service_s > 0 && sample->running <= sample->threads;
    return fmax(did, computes ? sample->threads / sample->service_s : 0);
}

/* Events per second. */
static double offered(const struct weir_sample *sample)
{
    double n = 0;
    for (size_t i = 0; i < sample->class_count; i++)
        n += sample->classes[i].offered;
    return n / sample->elapsed_s;
}

/* What is class `i`'s of what the stage can do. */
static double throughput(const struct weir_sample *sample, size_t i)
{
    double all = ended(sample);
    return all > 0 ? capacity(sample) * sample->classes[i].ended / all : 0;
}

/* What the classes from `i` on did together: what is left to them by those above. */
static double throughput_from(const struct weir_sample *sample, size_t i)
{
    double sum = 0;
    for (; i < sample->class_count; i++)
        sum += throughput(sample, i);
    return sum;
}

/* Whether its rate moved. */
static bool cut(const double *s, const struct weir_sample *sample, struct weir_setpoint *at, size_t i, double by)
{
    double was = at->rate[i], did = margin * throughput(sample, i);
    double to = isfinite(was) ? was / by : did;
    if (by <= s[CUT]) /* its own: as far below what can be done as brings down in a step what waits */
        to = fmax(to, fmin(did - sample->depth / sample->elapsed_s, was * margin));
    at->rate[i] = bounded(s, to);
    return at->rate[i] != was;
}

static bool cut_lower(const double *s, const struct weir_sample *sample, struct weir_setpoint *at, size_t i)
{
    bool moved = false;
    for (size_t k = i + 1; k < sample->class_count; k++)
        moved |= cut(s, sample, at, k, fmax(s[CUT_LOWER], s[CUT] * 1.01));
    return moved;
}

static bool lower_are_at_the_floor(const double *s, const struct weir_sample *sample, const struct weir_setpoint *at, size_t i)
{
    for (size_t k = i + 1; k < sample->class_count; k++)
        if (at->rate[k] > floor_of(s) && sample->classes[k].offered > 0)
            return false;
    return true;
}

static bool over_target(const double *s, struct class_state *c, const struct weir_sample *sample, struct weir_setpoint *at, size_t i)
{
    bool has_lower = throughput_from(sample, i + 1) > 0;
    if (cut_lower(s, sample, at, i))
        return true;
    if (!lower_are_at_the_floor(s, sample, at, i))
        return false;
    c->over++;
    if (has_lower && c->over < s[PATIENCE])
        return false;
    return cut(s, sample, at, i, s[CUT]);
}

/* A rate that is not used up says nothing about what would be possible: it stays near what comes. */
static bool raise(const double *s, struct class_state *c, const struct weir_sample *sample, struct weir_setpoint *at, size_t i, double err)
{
    const struct weir_sample_class *now = &sample->classes[i];
    double was = at->rate[i], low = s[LOW] - 1;
    if (!isfinite(was))
        return false;
    bool needed = now->refused > next_to_none * now->offered && !(offered(sample) < easily * capacity(sample));
    c->unused = needed ? 0 : c->unused + 1;
    if (c->unused >= idle_steps) {
        at->rate[i] = isnan(s[MAX_RATE]) ? (double)INFINITY : bounded(s, s[MAX_RATE]);
        c->unused = 0;
        return at->rate[i] != was;
    }
    if (!(err < low) || now->refused <= 0)
        return false;
    double share = was / throughput(sample, i), near = share < 0.7 ? 1 : share < 0.9 ? 0.4 : 0.1; /* what the stage can do is near: feel the way */
    at->rate[i] = bounded(s, was + fmax(was * s[RAISE] * near, 2 * floor_of(s)));
    return at->rate[i] != was;
}

static bool is_limited(const struct weir_sample *sample, const struct weir_setpoint *at)
{
    for (size_t i = 0; i < sample->class_count; i++)
        if (isfinite(at->rate[i]))
            return true;
    return false;
}

/* Tokens for half a target: what comes unevenly is let in, and waits for less than that. */
static void set_beside(const double *s, const struct weir_sample *sample, struct weir_setpoint *at)
{
    double rate = 0;
    for (size_t i = 0; i < sample->class_count; i++)
        if (isfinite(at->rate[i]))
            rate = fmax(rate, at->rate[i]);
    bool limited = is_limited(sample, at);
    at->burst = limited ? fmax(1, rate * s[TARGET] / 2) : 1;
    at->shed_after_s = limited ? 2 * s[TARGET] : (double)INFINITY;
    at->overloaded = false; /* newest first would hide from its times those that are never taken */
}

static const char *step(const double *s, void *state, const struct weir_sample *sample, struct weir_setpoint *at)
{
    struct state *st = state;
    const char *rule = NULL;
    bool higher_over = false;
    for (size_t i = 0; i < sample->class_count && i < WEIR_CLASSES_MAX && sample->elapsed_s > 0; i++) {
        double err;
        if (!measure(s, &st->classes[i], sample, i, &err))
            err = -1; /* nothing of it ended: all that can be said is that it may come */
        if (err > 0 && !sample->can_grow) {
            if (!higher_over && over_target(s, &st->classes[i], sample, at, i))
                rule = "over the target";
            higher_over = true;
        } else {
            st->classes[i].over = 0;
            if (!higher_over && raise(s, &st->classes[i], sample, at, i, err) && rule == NULL)
                rule = "under the target";
        }
    }
    if (rule != NULL)
        set_beside(s, sample, at);
    return rule;
}

const struct weir_controller_type weir_response_time_type = {
    .name = "response_time",
    .knob = WEIR_KNOB_ADMISSION,
    .text = "keeps a percentile of response times under a target by the rate of each class, lower classes first",
    .options = options,
    .option_count = OPTIONS,
    .state_size = sizeof(struct state),
    .ready = ready,
    .step = step,
};
