/* A limit on events queued and running, moved by the gradient of response times, as in Netflix' concurrency-limits (Gradient2Limit) and Envoy's
 * adaptive concurrency filter: limit × (tolerance × time without load / time now) + sqrt(limit). Those have to guess the time without load
 * from the shortest they see, or throttle to measure it; a stage knows it: the time in the handler, without that in the queue. The
 * smallest of the last two minutes is taken, since what the handler calls may be loaded, too. */
#include "controller/gradient.h"

#include <math.h>

enum { TOLERANCE, MIN_LIMIT, MAX_LIMIT, SMOOTHING, INTERVAL, SAMPLES, REPROBE, OPTIONS };

static const struct weir_option options[OPTIONS] = {
    [TOLERANCE] = {.name = "tolerance", .type = WEIR_OPTION_NUMBER, .fallback = "1.5", .min = 1, .max = 100, .text = "how many times the time without load is all right"},
    [MIN_LIMIT] = {.name = "min_limit", .type = WEIR_OPTION_NUMBER, .fallback = "2", .min = 1, .max = 16000000, .text = "floor of the limit"},
    [MAX_LIMIT] = {.name = "max_limit", .type = WEIR_OPTION_NUMBER, .fallback = "1000", .min = 1, .max = 16000000, .text = "and its ceiling"},
    [SMOOTHING] = {.name = "smoothing", .type = WEIR_OPTION_NUMBER, .fallback = "0.5", .min = 0, .max = 1, .text = "weight of the new limit; the old one has the rest"},
    [INTERVAL] = {.name = "interval", .type = WEIR_OPTION_DURATION, .fallback = "100ms", .min = 20000000, .max = 3600000000000, .text = "at least so long between steps"},
    [SAMPLES] = {.name = "samples", .type = WEIR_OPTION_NUMBER, .fallback = "10", .min = 1, .max = 1000000, .text = "events that must have ended, or 10 intervals have passed"},
    [REPROBE] = {.name = "reprobe", .type = WEIR_OPTION_DURATION, .fallback = "2m", .min = 1000000000, .max = 86400000000000, .text = "for how long the time without load is believed"},
};

enum { LONG = 10 };

struct state {
    double base_s, next_base_s; /* smallest time in the handler: believed; of the time since, to be believed next */
    double base_age_s;
    double limit; /* not rounded; 0: none yet */
};

static double ended(const struct weir_sample *sample)
{
    return sample->handled + sample->failed;
}

static bool ready(const double *s, const struct weir_sample *sample)
{
    return sample->elapsed_s >= s[INTERVAL] && (ended(sample) >= s[SAMPLES] || sample->elapsed_s >= LONG * s[INTERVAL]);
}

static double smaller(double a, double b)
{
    return a > 0 && a < b ? a : b > 0 ? b : a;
}

static void note_base(const double *s, struct state *st, const struct weir_sample *sample)
{
    double now = sample->service_s;
    if (!(now > 0) || !isfinite(now))
        return;
    st->base_s = smaller(st->base_s, now);
    st->next_base_s = smaller(st->next_base_s, now);
    st->base_age_s += sample->elapsed_s;
    if (!(st->base_age_s < s[REPROBE])) {
        st->base_s = st->next_base_s;
        st->next_base_s = now;
        st->base_age_s = 0;
    }
}

static const char *step(const double *s, void *state, const struct weir_sample *sample, struct weir_setpoint *at)
{
    struct state *st = state;
    double low = s[MIN_LIMIT], high = fmax(s[MAX_LIMIT], low);
    note_base(s, st, sample);
    if (!(ended(sample) > 0) || !(st->base_s > 0) || !(sample->service_s > 0))
        return NULL;
    double wait = sample->wait_s >= 0 && isfinite(sample->wait_s) ? sample->wait_s : 0;
    double gradient = weir_clamp(s[TOLERANCE] * st->base_s / (sample->service_s + wait), 0.5, 1);
    double from = st->limit >= low && st->limit <= high ? st->limit : weir_clamp(20, low, high);
    double to = from * gradient + sqrt(from);
    if (to > from && sample->depth + sample->running < from / 2)
        to = from; /* it was not used: nothing says that more would do */
    if (to < from && sample->can_grow)
        to = from;
    double next = from + s[SMOOTHING] * (to - from);
    st->limit = next >= low ? fmin(next, high) : low; /* not a number: the floor */
    double whole = floor(st->limit + 0.5);
    if (at->limit == whole)
        return NULL;
    const char *rule = whole < at->limit ? "response times have grown" : "response times leave room";
    at->limit = whole;
    return rule;
}

const struct weir_controller_type weir_gradient_type = {
    .name = "gradient",
    .knob = WEIR_KNOB_ADMISSION,
    .text = "limits the events in hand where response times begin to grow",
    .options = options,
    .option_count = OPTIONS,
    .state_size = sizeof(struct state),
    .ready = ready,
    .step = step,
};
