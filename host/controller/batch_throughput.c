/* The smallest batch that keeps the throughput (Welsh, Culler, Brewer, SOSP 2001, section 4.2), in a turn of
 * bounded length.
 *
 * The original shrinks the batch by a fifth as long as the throughput holds, grows it by a fifth when it does
 * not, for ever: between 80 and 190 where 200 is best, in the thesis. Here a size is left only for one that
 * was tried and found worth it (climb.h), and tries get rarer.
 *
 * It also goes to its maximum when the load falls, since its stages wait for a batch to fill. Ours take what
 * is there: when little waits the size does not matter to latency, and what the throughput was then says
 * nothing about it. So it stays, and is right when the load is back. What a large batch costs is the time
 * that the first event of it waits for the last, and other stages for the turn: that is what `bound` is for,
 * and it holds at any load. */
#include "controller/batch_throughput.h"

#include <math.h>

#include "controller/climb.h"

enum { SAMPLE, BOUND, COST, KEEP, OPTIONS };
enum { TURNS = 4, ENOUGH = 20, LONGEST = 10, QUIET = 3 };
static const double spare = 0.1; /* of the bound, so that a batch which fits to it goes on to do so */

static const struct weir_option options[OPTIONS] = {
    [SAMPLE] = {.name = "sample",
                .type = WEIR_OPTION_DURATION,
                .fallback = "500ms",
                .min = 20000000,
                .max = 3600000000000,
                .text = "time between looks; longer while fewer than 4 batches were handled"},
    [BOUND] = {.name = "bound",
               .type = WEIR_OPTION_DURATION,
               .fallback = "100ms",
               .min = 10000,
               .max = 3600000000000,
               .text = "no batch shall take longer"},
    [COST] = {.name = "cost",
              .type = WEIR_OPTION_NUMBER,
              .fallback = "0.05",
              .min = 0,
              .max = 1,
              .text = "what a larger batch must bring: the share of its growth by which more is handled"},
    [KEEP] = {.name = "keep",
              .type = WEIR_OPTION_NUMBER,
              .fallback = "0.93",
              .min = 0,
              .max = 1,
              .text = "share of the best throughput of late that a smaller batch must have"},
};

static const struct weir_climb_words words = {
    .try_more = "tries more",
    .try_fewer = "tries fewer",
    .more_paid = "more did more: tries still more",
    .fewer_paid = "fewer did as well: tries still fewer",
    .more_failed = "more did no more: back",
    .fewer_failed = "fewer did less: back",
    .thrashing = "more did much less: back",
};

struct state {
    struct weir_climb climb;
    unsigned quiet; /* samples in a row in which no whole batch waited */
};

static double ended(const struct weir_sample *sample)
{
    return sample->handled + sample->failed;
}

static bool ready(const double *s, const struct weir_sample *sample)
{
    if (!(sample->elapsed_s >= s[SAMPLE]))
        return false;
    return ended(sample) >= fmax(ENOUGH, TURNS * sample->batch) || sample->elapsed_s >= LONGEST * s[SAMPLE];
}

/* How long a batch takes; 0: not known. Calls that take one event each may be suspended, which holds up
 * nobody: they took no more of their worker's time than it had. */
static double turn_s(const struct weir_sample *sample)
{
    if (sample->takes_batches)
        return sample->service_s;
    double worked = sample->threads * sample->busy * sample->elapsed_s / fmax(ended(sample), 1);
    return sample->batch * fmin(sample->service_s, worked);
}

/* Whether the batch's size is what decides: a whole one waits. A queue that is too small for that has to be
 * half full. */
static bool has_queue(const struct weir_sample *sample)
{
    return sample->depth > 0 && sample->depth >= fmin(sample->batch, sample->capacity / 2);
}

static const char *look(const double *s, struct state *st, const struct weir_sample *sample, double high,
                        double *to)
{
    const struct weir_climb_rules rules = {
        .cost = s[COST], .keep = s[KEEP], .low = sample->batch_min, .high = high, .words = &words};
    if (!has_queue(sample)) {
        st->quiet++;
        if (st->quiet >= QUIET)
            weir_climb_rest(&st->climb);
        return NULL;
    }
    st->quiet = 0;
    return weir_climb_step(&st->climb, &rules, ended(sample) / sample->elapsed_s,
                           sample->elapsed_s / s[SAMPLE], to);
}

static const char *decide(const double *s, struct state *st, const struct weir_sample *sample, double *to)
{
    double turn = turn_s(sample), fits = floor(*to * (1 - spare) * s[BOUND] / turn);
    double high = turn > 0 ? weir_clamp(fits, sample->batch_min, sample->batch_max) : sample->batch_max;
    if (turn > s[BOUND] && high < *to) {
        *to = high;
        return "a batch takes longer than the bound";
    }
    return look(s, st, sample, high, to);
}

static const char *step(const double *s, void *state, const struct weir_sample *sample,
                        struct weir_setpoint *at)
{
    if (!isfinite(at->batch))
        return NULL;
    bool inside = at->batch >= sample->batch_min && at->batch <= sample->batch_max;
    double to = at->batch;
    const char *rule = inside ? decide(s, state, sample, &to) : "out of its range";
    to = weir_clamp(to, sample->batch_min, sample->batch_max);
    if (!(fabs(to - at->batch) >= 1))
        return NULL;
    at->batch = to;
    return rule;
}

const struct weir_controller_type weir_batch_throughput_type = {
    .name = "throughput",
    .knob = WEIR_KNOB_BATCH,
    .text = "looks for the smallest batch that keeps the throughput, within a bound of its time",
    .options = options,
    .option_count = OPTIONS,
    .state_size = sizeof(struct state),
    .ready = ready,
    .step = step,
};
