/* controller/overload.h - what is done while the process is short of memory, descriptors or time: a pure step from pressures (shares of a
 * limit) to levels of action. No clock, no lock, no thread: what it knows is in its arguments. Any one thread.
 *
 *   pressure ──> threshold of each action ──> level: up at once ──> down, one level each `hold_s`, once the pressure is under the
 *                                                                   threshold by `hysteresis`
 *
 *   COLLECT  0..1   VMs collect their garbage and give up what they keep ready
 *   SHRINK   0..6   batches are divided by 2^level
 *   CLOSE    0..1   no keep-alive
 *   SHED     0..classes - 1   so many of the lowest classes are refused at the sources
 *   STOP     0..1   no connections are accepted
 *
 * SHRINK and SHED are scaled: the first level at the threshold, the last where the next action (SHED, STOP) begins, or at 1. */
#ifndef WEIR_CONTROLLER_OVERLOAD_H
#define WEIR_CONTROLLER_OVERLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy.h"

struct weir_overload_settings {
    double at[WEIR_RESOURCE_COUNT][WEIR_RELIEF_COUNT]; /* pressure at which an action begins; INFINITY: never */
    double hysteresis;  /* of pressure */
    double hold_s;      /* a level stays for so long at least before it falls */
    size_t class_count; /* at least 1 */
};

struct weir_overload_sample {
    double now_s;
    double pressure[WEIR_RESOURCE_COUNT]; /* 1: at the limit; NAN: not known */
};

/* All zero at first. */
struct weir_overload {
    unsigned level[WEIR_RELIEF_COUNT];
    double since_s[WEIR_RELIEF_COUNT];              /* of the level's last rise, or of the last sample that asked for it */
    enum weir_resource because[WEIR_RELIEF_COUNT];  /* of a level above 0: what asks for it, or asked last */
};

/* The highest level of an action. */
unsigned weir_overload_max(const struct weir_overload_settings *s, enum weir_relief_action action);
/* Brings the levels up to date. Returns the actions whose level changed, as bits (1 << action). */
unsigned weir_overload_step(const struct weir_overload_settings *s, struct weir_overload *o, const struct weir_overload_sample *sample);

/* "memory", "descriptors", "lag"; "collect", "shrink", …. Static. */
const char *weir_resource_text(enum weir_resource r);
const char *weir_relief_text(enum weir_relief_action a);

/* The lag that lasts: of the half seconds gone by, the lesser of the last two's longest turns, so that one long turn is no pressure. All zero
 * at first. */
struct weir_lag_window {
    double began_s;          /* of the half second under way; 0: none is */
    double longest, last[2]; /* seconds */
};
/* `lag_s`: the longest turn since the last call. Returns the lag that lasts, in seconds. */
double weir_lag_window_add(struct weir_lag_window *w, double now_s, double lag_s);

#endif
