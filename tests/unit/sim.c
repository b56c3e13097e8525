#include "sim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static const double tick_s = 0.02, window_s = 0.1;

struct job {
    double arrived_s, taken_s, ends_s;
    uint8_t class_index;
};

struct done {
    double arrived_s, took_s, waited_s;
    uint8_t class_index;
};

struct counts {
    double offered, refused, ended;
};

struct sim {
    const struct sim_options *o;
    struct sim_result *ret;
    uint64_t random;
    double from_s;
    struct job queue[SIM_QUEUE], running[SIM_SERVERS];
    size_t queued, running_count;
    struct weir_setpoint at;
    double tokens[WEIR_CLASSES_MAX], tokens_s;
    struct done *done;
    size_t done_count, done_room;
    size_t sampled; /* of done: those before were in a sample already */
    struct counts counts[WEIR_CLASSES_MAX];
    double offered, accepted, dropped, taken, wait_min_s, stepped_s;
    double *waits;
    size_t wait_count, wait_room;
    char state[4096];
};

static double uniform(struct sim *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (double)(s->random >> 11) / 9007199254740992.0;
}

static double service(struct sim *s)
{
    double x = 1 - uniform(s), mean = s->o->service_s;
    switch (s->o->service) {
    case SIM_EXPONENTIAL:
        return -log(x) * mean;
    case SIM_HEAVY:
        return fmin(mean / 3 / pow(x, 1 / 1.5), 100 * mean);
    case SIM_CONSTANT:
        break;
    }
    return mean;
}

static struct sim_window *window_of(struct sim *s, double arrived_s)
{
    size_t i = (size_t)(arrived_s / window_s);
    if (i >= SIM_WINDOWS)
        i = SIM_WINDOWS - 1;
    if (i >= s->ret->window_count)
        s->ret->window_count = i + 1;
    return &s->ret->windows[i];
}

static bool takes_token(struct sim *s, size_t c)
{
    double rate = s->at.rate[c];
    if (rate == (double)INFINITY)
        return true;
    if (s->tokens[c] < 1)
        return false;
    s->tokens[c]--;
    return true;
}

static void fill_tokens(struct sim *s, double now)
{
    for (size_t c = 0; c < s->o->classes; c++)
        if (s->at.rate[c] < (double)INFINITY)
            s->tokens[c] = fmin(fmax(s->at.burst, 1), s->tokens[c] + s->at.rate[c] * (now - s->tokens_s));
    s->tokens_s = now;
}

static bool fits(const struct sim *s, size_t c)
{
    double inside = (double)(s->queued + s->running_count);
    return inside + 1 <= fmax(1, s->at.limit * s->at.share[c]);
}

/* As the host does it: the newest of the lowest class gives way to a higher one that the limit or the bounds refuse. */
static bool displaces(struct sim *s, size_t c)
{
    size_t lowest = s->queued;
    for (size_t i = 0; s->o->by_class && i < s->queued; i++)
        if (s->queue[i].class_index > c && (lowest == s->queued || s->queue[i].class_index >= s->queue[lowest].class_index))
            lowest = i;
    if (lowest == s->queued)
        return false;
    const struct job *j = &s->queue[lowest];
    s->dropped++;
    s->ret->classes[j->class_index].shed += j->arrived_s >= s->from_s;
    s->ret->classes[j->class_index].displaced += j->arrived_s >= s->from_s;
    memmove(&s->queue[lowest], &s->queue[lowest + 1], (s->queued - lowest - 1) * sizeof *s->queue);
    s->queued--;
    return true;
}

static bool is_full(const struct sim *s)
{
    return s->queued == s->o->capacity || s->queued == SIM_QUEUE;
}

static void arrive(struct sim *s, size_t c, double now)
{
    struct sim_class *sum = &s->ret->classes[c];
    struct sim_window *w = window_of(s, now);
    bool counts = now >= s->from_s;
    s->offered++;
    s->counts[c].offered++;
    w->offered++;
    sum->offered += counts;
    fill_tokens(s, now);
    bool gated = !takes_token(s, c);
    while (!gated && (!fits(s, c) || is_full(s)) && displaces(s, c))
        ;
    gated = gated || !fits(s, c);
    if (gated || is_full(s)) {
        s->counts[c].refused += gated;
        sum->refused += counts;
        w->refused++;
        return;
    }
    s->accepted++;
    sum->admitted += counts;
    s->queue[s->queued++] = (struct job){.arrived_s = now, .class_index = (uint8_t)c};
}

/* The one that is taken next: the oldest; of the highest class; or the newest while there is too much. */
static size_t choose(const struct sim *s)
{
    size_t best = 0;
    if (s->at.overloaded && !s->o->by_class)
        return s->queued - 1;
    for (size_t i = 1; s->o->by_class && i < s->queued; i++)
        if (s->queue[i].class_index < s->queue[best].class_index)
            best = i;
    return best;
}

static void note_wait(struct sim *s, double wait)
{
    if (s->wait_count == s->wait_room) {
        s->wait_room = s->wait_room * 2 + 1024;
        s->waits = realloc(s->waits, s->wait_room * sizeof *s->waits);
        assert_non_null(s->waits);
    }
    s->waits[s->wait_count++] = wait;
    s->wait_min_s = fmin(s->wait_min_s, wait);
}

static void serve(struct sim *s, double now)
{
    while (s->running_count < s->o->servers && s->queued > 0) {
        size_t i = choose(s);
        struct job j = s->queue[i];
        memmove(&s->queue[i], &s->queue[i + 1], (s->queued - i - 1) * sizeof *s->queue);
        s->queued--;
        note_wait(s, now - j.arrived_s);
        if (now - j.arrived_s > s->at.shed_after_s) {
            s->dropped++;
            s->ret->classes[j.class_index].shed += j.arrived_s >= s->from_s;
            continue;
        }
        s->taken++;
        j.taken_s = now;
        j.ends_s = now + service(s);
        s->running[s->running_count++] = j;
    }
}

static void finish(struct sim *s, size_t i)
{
    struct job j = s->running[i];
    double took = j.ends_s - j.arrived_s;
    s->running[i] = s->running[--s->running_count];
    if (s->done_count == s->done_room) {
        s->done_room = s->done_room * 2 + 1024;
        s->done = realloc(s->done, s->done_room * sizeof *s->done);
        assert_non_null(s->done);
    }
    s->done[s->done_count++] = (struct done){j.arrived_s, took, j.taken_s - j.arrived_s, j.class_index};
    s->counts[j.class_index].ended++;
    if (took <= s->o->patience_s) {
        window_of(s, j.arrived_s)->good++;
        s->ret->classes[j.class_index].good += j.arrived_s >= s->from_s;
    }
}

/* --- figures --- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double quantile(double *v, size_t n, double q)
{
    qsort(v, n, sizeof *v, by_value);
    return n == 0 ? 0 : v[(size_t)((double)(n - 1) * q)];
}

/* Of the events that ended from `first` on, of a class (SIZE_MAX: all), that arrived in [from, to). */
static double done_quantile(const struct sim *s, size_t first, size_t class_index, double from, double to, bool waits)
{
    double *v = malloc((s->done_count - first + 1) * sizeof *v);
    size_t n = 0;
    assert_non_null(v);
    for (size_t i = first; i < s->done_count; i++) {
        const struct done *d = &s->done[i];
        if ((class_index == SIZE_MAX || d->class_index == class_index) && d->arrived_s >= from && d->arrived_s < to)
            v[n++] = waits ? d->waited_s : d->took_s;
    }
    double q = quantile(v, n, 0.9);
    free(v);
    return q;
}

/* --- the controller --- */

static void sample(struct sim *s, double now, struct weir_sample *ret)
{
    double service_s = 0;
    *ret = (struct weir_sample){.now_s = now, .elapsed_s = now - s->stepped_s, .depth = (double)s->queued,
                                .capacity = (double)s->o->capacity, .running = (double)s->running_count, .offered = s->offered,
                                .accepted = s->accepted, .dropped = s->dropped, .taken = s->taken,
                                .threads = (double)s->o->servers, .threads_min = (double)s->o->servers,
                                .threads_max = (double)s->o->servers, .can_grow = s->o->can_grow, .class_count = s->o->classes};
    ret->handled = (double)(s->done_count - s->sampled);
    for (size_t i = s->sampled; i < s->done_count; i++)
        service_s += s->done[i].took_s - s->done[i].waited_s;
    ret->service_s = ret->handled > 0 ? service_s / ret->handled : 0;
    ret->wait_s = quantile(s->waits, s->wait_count, 0.9);
    ret->wait_min_s = s->wait_count > 0 ? s->wait_min_s : s->queued > 0 ? ret->elapsed_s : 0;
    for (size_t c = 0; c < s->o->classes; c++)
        ret->classes[c] = (struct weir_sample_class){s->counts[c].offered, s->counts[c].refused, s->counts[c].ended,
                                                     done_quantile(s, s->sampled, c, 0, 1e18, false),
                                                     done_quantile(s, s->sampled, c, 0, 1e18, true)};
}

static void rebase(struct sim *s, double now)
{
    s->sampled = s->done_count;
    memset(s->counts, 0, sizeof s->counts);
    s->offered = s->accepted = s->dropped = s->taken = 0;
    s->wait_count = 0;
    s->wait_min_s = 1e18;
    s->stepped_s = now;
}

static void tick(struct sim *s, double now)
{
    struct weir_sample in;
    if (s->o->type == NULL)
        return;
    sample(s, now, &in);
    if (!s->o->type->ready(s->o->settings, &in))
        return;
    fill_tokens(s, now);
    if (s->o->type->step(s->o->settings, s->state, &in, &s->at) != NULL)
        s->ret->decisions++;
    rebase(s, now);
}

/* --- the run --- */

static double next_arrival(struct sim *s, size_t c, double now)
{
    for (;;) { /* thinning: the rate is looked at every 10 ms at most */
        double rate = s->o->rate(now, c);
        if (rate <= 0) {
            now += 0.01;
        } else {
            double gap = -log(1 - uniform(s)) / rate;
            if (gap < 0.01)
                return now + gap;
            now += 0.01;
        }
        if (now > s->o->seconds)
            return now;
    }
}

static void summarize(struct sim *s)
{
    double good = 0;
    for (size_t c = 0; c < s->o->classes; c++) {
        s->ret->classes[c].p90_s = done_quantile(s, 0, c, s->from_s, 1e18, false);
        s->ret->classes[c].wait_p90_s = done_quantile(s, 0, c, s->from_s, 1e18, true);
        good += s->ret->classes[c].good;
    }
    s->ret->good_rate = good / (s->o->seconds - s->from_s);
    for (size_t i = 0; i < s->ret->window_count; i++)
        s->ret->windows[i].p90_s = done_quantile(s, 0, SIZE_MAX, (double)i * window_s, (double)(i + 1) * window_s, false);
    s->ret->at = s->at;
}

void sim_run(const struct sim_options *o, double from_s, struct sim_result *ret)
{
    struct sim *s = calloc(1, sizeof *s);
    double next[WEIR_CLASSES_MAX], next_tick = tick_s;
    assert_non_null(s);
    assert_true(o->servers <= SIM_SERVERS && (o->type == NULL || o->type->state_size <= sizeof s->state));
    memset(ret, 0, sizeof *ret);
    s->o = o;
    s->ret = ret;
    s->random = o->seed * 0x9e3779b97f4a7c15ULL + 1;
    s->from_s = from_s;
    s->wait_min_s = 1e18;
    weir_setpoint_init(&s->at);
    for (size_t c = 0; c < o->classes; c++) {
        s->tokens[c] = 1;
        next[c] = next_arrival(s, c, 0);
    }
    for (double now = 0; now < o->seconds;) {
        size_t first = 0, ending = SIZE_MAX;
        for (size_t c = 1; c < o->classes; c++)
            if (next[c] < next[first])
                first = c;
        now = fmin(next[first], next_tick);
        for (size_t i = 0; i < s->running_count; i++) {
            if (s->running[i].ends_s <= now) {
                now = s->running[i].ends_s;
                ending = i;
            }
        }
        if (ending != SIZE_MAX) {
            finish(s, ending);
        } else if (now == next_tick) {
            tick(s, now);
            next_tick += tick_s;
        } else {
            arrive(s, first, now);
            next[first] = next_arrival(s, first, now);
        }
        serve(s, now);
    }
    summarize(s);
    free(s->done);
    free(s->waits);
    free(s);
}

void sim_defaults(const struct weir_controller_type *type, double *settings)
{
    for (size_t i = 0; i < type->option_count; i++) {
        const struct weir_option *opt = &type->options[i];
        char *end;
        double v = opt->fallback != NULL ? strtod(opt->fallback, &end) : NAN;
        if (opt->fallback != NULL && opt->type == WEIR_OPTION_DURATION)
            v *= strcmp(end, "ms") == 0 ? 1e-3 : strcmp(end, "m") == 0 ? 60 : 1;
        if (opt->type == WEIR_OPTION_ENUM)
            for (v = 0; strcmp(opt->words[(size_t)v], opt->fallback) != 0;)
                v++;
        settings[i] = v;
    }
}

void sim_set(const struct weir_controller_type *type, double *settings, const char *name, double value)
{
    for (size_t i = 0; i < type->option_count; i++) {
        if (strcmp(type->options[i].name, name) == 0) {
            settings[i] = value;
            return;
        }
    }
    fail_msg("%s has no setting '%s'", type->name, name);
}
