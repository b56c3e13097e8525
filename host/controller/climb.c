/* A hill climb that compares like with like: the size that is tried with the one before it, some samples
 * apart. What is known of a size is forgotten as soon as its throughput is another, and sizes are tried again
 * for ever, so that a workload that changes is found again. */
#include "controller/climb.h"

#include <math.h>

#include "controller/controller.h"

enum { LOOKS = 3, ODD = 2 };
static const double pause_min = 2, pause_max = 32, clear_by = 0.1, smooth = 0.3, fade = 0.99, other = 0.2;

void weir_climb_rest(struct weir_climb *c)
{
    *c = (struct weir_climb){.home = c->tried > 0 ? c->tried : c->home};
}

/* How much larger a size is tried. The longer a way has paid, the longer the steps. Where neither way does,
 * shorter ones may, or long ones that leave a plain on which there is nothing to be seen but noise. */
static double stride(const struct weir_climb *c)
{
    static const double on[] = {1.25, 1.5, 2}, around[] = {1.25, 2, 1.125};
    return c->paid > 0 ? on[c->paid < 2 ? c->paid : 2] : around[c->failed / 2 % 3];
}

/* The size to try after `home`; itself when there is none on that way. */
static double next(const struct weir_climb *c, const struct weir_climb_rules *r)
{
    double by = stride(c);
    if (c->down) {
        double to = fmax(fmin(c->home - 1, floor(c->home / by)), r->low);
        return to < c->home ? to : c->home;
    }
    double to = fmin(fmax(c->home + 1, ceil(c->home * by)), r->high);
    return to > c->home ? to : c->home;
}

/* Whether there is another size to be tried; *size is that one then. */
static bool try_next(struct weir_climb *c, const struct weir_climb_rules *r, double *size)
{
    double to = next(c, r);
    if (fabs(to - c->home) < 0.5)
        return false;
    c->tried = *size = to;
    c->sum = 0;
    c->looks = 0;
    return true;
}

/* One more sample at home. A throughput that is another twice in a row means that the work has changed: it
 * looks around at once. When it got less, that may be thrashing, and half the size is tried first. */
static void watch_home(struct weir_climb *c, double rate)
{
    bool fits = c->rate > 0 && fabs(rate - c->rate) <= other * c->rate;
    c->odd = fits ? 0 : c->odd + 1;
    if (!(c->rate > 0)) {
        c->odd = 0;
        c->rate = rate;
    } else if (c->odd >= ODD) {
        c->down = rate < c->rate;
        c->rate = c->best = rate;
        c->odd = c->failed = 0;
        c->paid = c->down ? 2 : 0;
        c->wait = 0;
    } else if (fits) {
        c->rate += smooth * (rate - c->rate);
    }
    c->best = fmax(c->best * fade, c->rate);
}

/* Turns round, and waits. */
static void turn(struct weir_climb *c)
{
    c->tried = 0;
    c->paid = 0;
    c->down = !c->down;
    c->failed++;
    c->pause = c->failed < 2 ? pause_min : fmin(c->pause * 2, pause_max);
    c->wait = c->pause;
}

static const char *accept(struct weir_climb *c, const struct weir_climb_rules *r, double mean, double *size)
{
    c->home = c->tried;
    c->rate = mean;
    c->best = fmax(c->best, mean);
    c->failed = c->odd = 0;
    c->paid++;
    if (try_next(c, r, size))
        return c->down ? r->words->fewer_paid : r->words->more_paid;
    turn(c);
    return NULL;
}

static const char *refuse(struct weir_climb *c, const struct weir_climb_rules *r, double mean, double *size)
{
    const char *up = mean < (1 - other) * c->rate ? r->words->thrashing : r->words->more_failed;
    const char *rule = c->down ? r->words->fewer_failed : up;
    *size = c->home;
    turn(c);
    return rule;
}

/* One more sample at the size that is tried. Of a change in size by a share, the throughput changed by `paid`
 * times that share. */
static const char *judge(struct weir_climb *c, const struct weir_climb_rules *r, double rate, double *size)
{
    c->sum += rate;
    c->looks++;
    double mean = c->sum / c->looks, grown = c->tried / c->home - 1, paid = (mean / c->rate - 1) / grown;
    if (fabs((paid - r->cost) * grown) <= clear_by && c->looks < LOOKS)
        return NULL;
    bool good = c->down ? paid < r->cost && mean >= r->keep * c->best : paid > r->cost;
    return good ? accept(c, r, mean, size) : refuse(c, r, mean, size);
}

const char *weir_climb_step(struct weir_climb *c, const struct weir_climb_rules *r, double rate,
                            double samples, double *size)
{
    if (!isfinite(rate) || rate <= 0 || !isfinite(samples) || !isfinite(*size) || *size < 1 ||
        !(r->low <= r->high))
        return NULL;
    if (fabs(*size - (c->tried > 0 ? c->tried : c->home)) >= 0.5)
        *c = (struct weir_climb){.home = *size}; /* somebody else moved it */
    if (c->tried > 0)
        return judge(c, r, rate, size);
    watch_home(c, rate);
    c->wait -= samples;
    if (c->wait > 0)
        return NULL;
    if (!try_next(c, r, size)) {
        turn(c);
        return NULL;
    }
    return c->down ? r->words->try_fewer : r->words->try_more;
}
