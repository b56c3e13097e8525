/* core/value_equal.h - whether two values are the same, tables compared member by member. Pure; any thread.
 */
#ifndef WEIR_CORE_VALUE_EQUAL_H
#define WEIR_CORE_VALUE_EQUAL_H

#include "core/value.h"

/* 1: `a` and `b` are of one type and equal; 0: they are not; WEIR_E_NOMEM: no memory to find out. An integer
 * never equals a float; NaN equals NaN; the order of a map's keys does not matter. Requests are never equal.
 */
int weir_value_equal(struct weir_value a, struct weir_value b);

#endif
