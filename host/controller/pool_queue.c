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

static bool is_long(const double *s, const struct weir_sample *sample)
{
    return sample->depth > s[THRESHOLD] || (sample->depth > 0 && sample->wait_min_s > s[SAMPLE]);
}

static double idle_for_long(const double *s, const struct weir_sample *sample)
{
    double n = 0;
    for (size_t i = 0; i < sample->idle_count; i++)
        n += sample->idle_s[i] >= s[IDLE];
    return n;
}

static const char *step(const double *s, void *state, const struct weir_sample *sample, struct weir_setpoint *at)
{
    (void)state; /* it has none */
    double was = at->threads;
    const char *rule = NULL;
    if (is_long(s, sample)) {
        rule = sample->depth > s[THRESHOLD] ? "queue over threshold" : "events wait for longer than a sample";
        at->threads = was + 1;
    } else if (sample->depth <= 0 || sample->idle_count > 0) {
        rule = "idle";
        at->threads = was - idle_for_long(s, sample);
    }
    at->threads = weir_clamp(at->threads, sample->threads_min, sample->threads_max);
    return fabs(at->threads - was) >= 1 ? rule : NULL;
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
