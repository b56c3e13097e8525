/* tests/unit/gate_fixture.h - gates and bounds, for those who test what a gate does. */
#ifndef WEIR_UNIT_GATE_FIXTURE_H
#define WEIR_UNIT_GATE_FIXTURE_H

#include <math.h>

#include "core/gate.h"
#include "test.h"

static inline struct weir_gate *make(size_t classes)
{
    struct weir_gate *g;
    struct weir_err err;
    assert_int_equal(weir_gate_create(classes, &g, &err), WEIR_OK);
    return g;
}

static inline struct weir_gate_bounds bounds(double rate, double burst)
{
    struct weir_gate_bounds b = {.burst = burst, .limit = INFINITY, .shed_after_s = INFINITY};
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        b.rate[i] = rate;
    return b;
}

#endif
