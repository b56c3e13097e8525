#include "controller/bounds.h"

#include <math.h>

void weir_bounds_begin(struct weir_gate_bounds *b)
{
    *b = (struct weir_gate_bounds){.burst = INFINITY, .limit = INFINITY, .shed_after_s = INFINITY};
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        b->rate[i] = b->share[i] = INFINITY;
}

static bool sets_rates(const struct weir_setpoint *at)
{
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        if (at->rate[i] < (double)INFINITY)
            return true;
    return false;
}

/* `share` holds numbers of events until the end, when the limit that they are shares of is known. */
void weir_bounds_add(struct weir_gate_bounds *b, const struct weir_setpoint *at)
{
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++) {
        b->rate[i] = fmin(b->rate[i], at->rate[i]);
        if (at->limit < (double)INFINITY)
            b->share[i] = fmin(b->share[i], at->limit * at->share[i]);
    }
    if (sets_rates(at))
        b->burst = fmin(b->burst, at->burst);
    b->limit = fmin(b->limit, at->limit);
    b->shed_after_s = fmin(b->shed_after_s, at->shed_after_s);
    b->overloaded |= at->overloaded;
}

void weir_bounds_end(struct weir_gate_bounds *b)
{
    bool limited = b->limit < (double)INFINITY && b->limit > 0;
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        b->share[i] = limited ? fmin(1, b->share[i] / b->limit) : weir_gate_usual_share(i);
    if (b->burst == (double)INFINITY)
        b->burst = 1;
}
