/* SEDA's thread pool controller (Welsh, Culler, Brewer, SOSP 2001, section 4.2): every `sample`, a queue that is longer than `threshold` adds a
 * worker; a worker that was idle for `idle` leaves. Two things are added. A queue shorter than the threshold whose events have waited
 * longer than a sample is too long, too: events that come slowly and take long never make a long queue. And all the workers that
 * were idle for so long leave at once, so that the pool is at its minimum one sample after the last of them. */
#include "controller/pool_queue.h"

#include <math.h>

enum { SAMPLE, THRESHOLD, IDLE, OPTIONS };

static const struct weir_option options[OPTIONS] = {
    [SAMPLE] = {.name = "sample", .type = WEIR_OPTION_DURATION, .fallback = "1s", .min = 20000000, .max = 3600000000000, .text = "time between looks"},
    [THRESHOLD] = {.name = "threshold", .type = WEIR_OPTION_NUMBER, .fallback = "100", .min = 0, .max = 16000000, .text = "a longer queue adds a worker"},
    [IDLE] = {.name = "idle", .type = WEIR_OPTION_DURATION, .fallback = "5s", .min = 1000000, .max = 86400000000000, .text = "a worker idle for so long leaves"},
};

static bool ready(const double *s, const struct weir_sample *sample)
{
    return sample->elapsed_s >= s[SAMPLE];
}

static double idle_for_long(const double *s, const struct weir_sample *sample)
{
    double n = 0;
    for (size_t i = 0; i < sample->idle_count && i < WEIR_SAMPLE_WORKERS; i++)
        n += sample->idle_s[i] >= s[IDLE];
    return n;
}

/* How many workers to add; the rule that says so, NULL: none does. */
static const char *decide(const double *s, const struct weir_sample *sample, double *ret_more)
{
    *ret_more = 1;
    if (sample->depth > s[THRESHOLD])
        return "queue over threshold";
    if (sample->depth > 0 && sample->wait_min_s > s[SAMPLE])
        return "events wait for longer than a sample";
    *ret_more = -idle_for_long(s, sample);
    return *ret_more < 0 ? "idle" : NULL;
}

static const char *step(const double *s, void *state, const struct weir_sample *sample, struct weir_setpoint *at)
{
    (void)state; /* it has none */
    double more;
    const char *rule = decide(s, sample, &more);
    double to = weir_clamp(at->threads + (rule != NULL ? more : 0), sample->threads_min, sample->threads_max);
    if (!(fabs(to - at->threads) >= 1)) /* nor when one of them is no number */
        return NULL;
    at->threads = to;
    return rule != NULL ? rule : "out of its range";
}

const struct weir_controller_type weir_pool_queue_type = {
    .name = "queue",
    .knob = WEIR_KNOB_THREADS,
    .text = "adds a worker while a queue is long, lets idle ones leave",
    .options = options,
    .option_count = OPTIONS,
    .ready = ready,
    .step = step,
};
