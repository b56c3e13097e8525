#include "controller/overload.h"

#include <math.h>

#include "core/relief.h"

const char *weir_resource_text(enum weir_resource r)
{
    static const char *const texts[WEIR_RESOURCE_COUNT] = {"memory", "descriptors", "lag"};
    return texts[r];
}

const char *weir_relief_text(enum weir_relief_action a)
{
    static const char *const texts[WEIR_RELIEF_COUNT] = {"collect", "shrink", "close", "shed", "stop"};
    return texts[a];
}

unsigned weir_overload_max(const struct weir_overload_settings *s, enum weir_relief_action action)
{
    if (action == WEIR_RELIEF_SHRINK)
        return WEIR_RELIEF_SHRINK_MAX;
    return action == WEIR_RELIEF_SHED ? (unsigned)s->class_count - 1 : 1;
}

/* Where a scaled action has reached its highest level. */
static double full_at(const double *at, enum weir_relief_action action)
{
    double next = action == WEIR_RELIEF_SHRINK ? at[WEIR_RELIEF_SHED] : at[WEIR_RELIEF_STOP];
    return isfinite(next) && next > at[action] ? next : 1;
}

static unsigned level_of(const double *at, enum weir_relief_action action, unsigned max, double pressure)
{
    if (!(pressure >= at[action]) || max == 0) /* NAN: asks for nothing */
        return 0;
    double full = full_at(at, action);
    if (max == 1 || pressure >= full)
        return max;
    return 1 + (unsigned)((pressure - at[action]) / (full - at[action]) * (max - 1));
}

/* What all resources ask for; the one that asks for most. */
static unsigned wanted(const struct weir_overload_settings *s, enum weir_relief_action action, const double *pressure, double more,
                       enum weir_resource *ret_because)
{
    unsigned most = 0, max = weir_overload_max(s, action);
    for (int r = 0; r < WEIR_RESOURCE_COUNT; r++) {
        unsigned level = level_of(s->at[r], action, max, pressure[r] + more);
        if (level > most)
            *ret_because = (enum weir_resource)r;
        most = level > most ? level : most;
    }
    return most;
}

static bool step_action(const struct weir_overload_settings *s, struct weir_overload *o, const struct weir_overload_sample *sample,
                        enum weir_relief_action a)
{
    enum weir_resource because = o->because[a];
    unsigned up = wanted(s, a, sample->pressure, 0, &because);
    if (up >= o->level[a] && up > 0) {
        bool changed = up > o->level[a];
        o->level[a] = up;
        o->because[a] = because;
        o->since_s[a] = sample->now_s;
        return changed;
    }
    unsigned stay = wanted(s, a, sample->pressure, s->hysteresis, &because);
    bool unknown = isnan(sample->pressure[o->because[a]]); /* what brought it about may last */
    if (stay >= o->level[a] || unknown || sample->now_s - o->since_s[a] < s->hold_s)
        return false;
    o->level[a]--;
    o->since_s[a] = sample->now_s;
    return true;
}

unsigned weir_overload_step(const struct weir_overload_settings *s, struct weir_overload *o, const struct weir_overload_sample *sample)
{
    unsigned changed = 0;
    for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
        if (step_action(s, o, sample, (enum weir_relief_action)a))
            changed |= 1U << a;
    return changed;
}

double weir_lag_window_add(struct weir_lag_window *w, double now_s, double lag_s)
{
    static const double half_s = 0.5;
    if (w->began_s <= 0)
        w->began_s = now_s;
    w->longest = lag_s > w->longest ? lag_s : w->longest;
    if (now_s - w->began_s >= half_s) {
        w->last[1] = w->last[0];
        w->last[0] = w->longest;
        w->longest = 0;
        w->began_s = now_s;
    }
    return w->last[0] < w->last[1] ? w->last[0] : w->last[1];
}
