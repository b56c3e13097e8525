/* The size of a pool whose workers get in each other's way: by what more of them bring (climb.h).
 *
 * Welsh's thesis grows the pool as long as a queue is long, remembers the size of the best throughput, and
 * goes back there when it has fallen by a fifth. That is a saw with teeth of a fifth, which finds no size
 * whose neighbours are a little worse, and believes for ever in a best that a change of the work has made
 * impossible. Here each step up has to pay, the way back is taken by what is measured now, and the wait
 * between tries grows while none pays. .NET's controller finds the same out with a wave that it lays over the
 * size at all times; a pool that is at rest most of the time reads better in the journal.
 *
 * Only a pool whose work waits says by its throughput what its size is worth. A queue that is on its way to
 * being empty needs no more workers, and workers that were idle for long leave, as with `queue`. */
#include "controller/pool_hillclimb.h"

#include <math.h>

#include "controller/climb.h"

enum { SAMPLE, THRESHOLD, IDLE, COST, THRASHING, OPTIONS };
enum { ENOUGH = 10, LONGEST = 10, SERVICES = 3, DRAINED_IN = 10 };
static const double keep = 0.9;

static const struct weir_option options[OPTIONS] = {
    [SAMPLE] = {.name = "sample",
                .type = WEIR_OPTION_DURATION,
                .fallback = "1s",
                .min = 20000000,
                .max = 3600000000000,
                .text = "time between looks; longer while fewer than 10 events were handled, or they take "
                        "more than a third of it"},
    [THRESHOLD] = {.name = "threshold",
                   .type = WEIR_OPTION_NUMBER,
                   .fallback = "100",
                   .min = 0,
                   .max = 16000000,
                   .text = "with a longer queue it looks for a better size"},
    [IDLE] = {.name = "idle",
              .type = WEIR_OPTION_DURATION,
              .fallback = "5s",
              .min = 1000000,
              .max = 86400000000000,
              .text = "a worker idle for so long leaves"},
    [COST] = {.name = "cost",
              .type = WEIR_OPTION_NUMBER,
              .fallback = "0.05",
              .min = 0,
              .max = 1,
              .text = "what a larger pool must bring: the share of its growth by which more is handled"},
    [THRASHING] =
        {.name = "thrashing",
         .type = WEIR_OPTION_BOOL,
         .fallback = "true",
         .text = "whether workers must pay; if not, a long queue adds one each sample, whatever comes of it"},
};

static const struct weir_climb_words words = {
    .try_more = "queue over threshold: tries more",
    .try_fewer = "tries fewer",
    .more_paid = "more did more: tries still more",
    .fewer_paid = "fewer did as well: tries still fewer",
    .more_failed = "more did no more: back",
    .fewer_failed = "fewer did less: back",
    .thrashing = "thrashing: back",
};

struct state {
    struct weir_climb climb;
    double depth; /* at the last step */
};

static bool has_queue(const double *s, const struct weir_sample *sample)
{
    return sample->depth > s[THRESHOLD] || (sample->depth > 0 && sample->wait_min_s > s[SAMPLE]);
}

/* A size is judged by what was begun and ended under it, and by enough of it; but it is not waited for ever.
 */
static bool ready(const double *s, const struct weir_sample *sample)
{
    if (!(sample->elapsed_s >= s[SAMPLE]))
        return false;
    if (!has_queue(s, sample) || !(s[THRASHING] != 0) || sample->elapsed_s >= LONGEST * s[SAMPLE])
        return true;
    return sample->handled >= ENOUGH && sample->elapsed_s >= SERVICES * sample->service_s;
}

/* At the pace of the last sample the queue will be gone before long. */
static bool drains(const struct state *st, const struct weir_sample *sample)
{
    double per_sample = st->depth - sample->depth;
    return per_sample > 0 && sample->depth < DRAINED_IN * per_sample;
}

static double idle_for_long(const double *s, const struct weir_sample *sample)
{
    double n = 0;
    for (size_t i = 0; i < sample->idle_count && i < WEIR_SAMPLE_WORKERS; i++)
        n += sample->idle_s[i] >= s[IDLE];
    return n;
}

static const char *with_queue(const double *s, struct state *st, const struct weir_sample *sample, double *to)
{
    const struct weir_climb_rules rules = {.cost = s[COST],
                                           .keep = keep,
                                           .low = sample->threads_min,
                                           .high = sample->threads_max,
                                           .words = &words};
    if (!(s[THRASHING] != 0)) {
        *to += 1;
        return "queue over threshold";
    }
    if (drains(st, sample)) {
        weir_climb_rest(&st->climb);
        return NULL;
    }
    if (!(sample->handled > 0)) {
        *to += 1;
        return "nothing was handled";
    }
    return weir_climb_step(&st->climb, &rules, sample->handled / sample->elapsed_s,
                           sample->elapsed_s / s[SAMPLE], to);
}

static const char *without_queue(const double *s, struct state *st, const struct weir_sample *sample,
                                 double *to)
{
    weir_climb_rest(&st->climb);
    *to -= idle_for_long(s, sample);
    return "idle";
}

static const char *step(const double *s, void *state, const struct weir_sample *sample,
                        struct weir_setpoint *at)
{
    struct state *st = state;
    double to = at->threads;
    const char *rule =
        has_queue(s, sample) ? with_queue(s, st, sample, &to) : without_queue(s, st, sample, &to);
    st->depth = sample->depth;
    bool inside = at->threads >= sample->threads_min && at->threads <= sample->threads_max;
    to = weir_clamp(to, sample->threads_min, sample->threads_max);
    if (!(fabs(to - at->threads) >= 1)) /* nor when one of them is no number */
        return NULL;
    at->threads = to;
    return inside && rule != NULL ? rule : "out of its range";
}

const struct weir_controller_type weir_pool_hillclimb_type = {
    .name = "hillclimb",
    .knob = WEIR_KNOB_THREADS,
    .text =
        "looks for the smallest pool that handles the most, while a queue is long; lets idle workers leave",
    .options = options,
    .option_count = OPTIONS,
    .state_size = sizeof(struct state),
    .ready = ready,
    .step = step,
};
