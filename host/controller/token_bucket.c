/* A token bucket: so many events a second, and so many at once after a pause, of each class. Nothing is measured: it is for what must not be
 * called more often than agreed (RFC 2697 has the terms; the bucket itself is core/gate.h). */
#include "controller/token_bucket.h"

#include <math.h>

enum { RATE, BURST, OPTIONS };

static const struct weir_option options[OPTIONS] = {
    [RATE] = {.name = "rate", .type = WEIR_OPTION_NUMBER, .required = true, .min = 0, .max = 10000000, .text = "events per second of each class"},
    [BURST] = {.name = "burst", .type = WEIR_OPTION_NUMBER, .min = 1, .max = 1000000000, .text = "events that may come at once; a second's worth unless set"},
};

static bool ready(const double *s, const struct weir_sample *sample)
{
    (void)s;
    (void)sample; /* it needs none */
    return true;
}

static const char *step(const double *s, void *state, const struct weir_sample *sample, struct weir_setpoint *at)
{
    (void)state;
    (void)sample;
    double burst = isnan(s[BURST]) ? fmax(1, s[RATE]) : s[BURST];
    if (at->rate[0] == s[RATE] && at->burst == burst)
        return NULL;
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        at->rate[i] = s[RATE];
    at->burst = burst;
    return "settings";
}

const struct weir_controller_type weir_token_bucket_type = {
    .name = "token_bucket",
    .knob = WEIR_KNOB_ADMISSION,
    .text = "admits a fixed number of events per second",
    .options = options,
    .option_count = OPTIONS,
    .ready = ready,
    .step = step,
};
