/* core/tap.h - copies of the events that pass a stage, for somebody outside to look at. An event passes when a worker begins it: what expires
 * or is dropped in the queue does not.
 *
 *   worker: passes ── sample ── rate ──> ring ──> control thread: take
 *
 * A worker never waits: an event beyond the rate, or for which the ring has no room, is only counted. Without a tap a passing costs one
 * load. Owner: the control thread opens, takes and closes; the memory stays with the stage until the graph ends, since a worker may be at
 * it still. */
#ifndef WEIR_CORE_TAP_H
#define WEIR_CORE_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/value.h"

struct weir_event;
struct weir_seat;
struct weir_stage;
struct weir_tap;
struct weir_taps; /* those of one stage */

enum { WEIR_TAPS_MAX = 4 }; /* of a stage at once */

struct weir_tap_options {
    double sample;  /* the share of events that is shown, above 0 up to 1 */
    double rate;    /* at most so many per second, with a burst of one second's */
};

/* An event that passed. */
struct weir_tapped {
    uint64_t id, age_ns, waited_ns, left_ns; /* left: to its deadline; 0: it has none */
    struct weir_value key, value;            /* a reference each */
    char *request;                           /* as JSON; NULL: it has none, or one that can't be shown */
    uint8_t class_index;
    unsigned worker;
};

struct weir_tap_counts {
    uint64_t passed;  /* since it was opened */
    uint64_t limited; /* of the sample, but beyond the rate */
    uint64_t lost;    /* the ring was full, or there was no memory */
};

/* LIMIT: the stage has all its taps open. Control thread, as all but `pass`. */
int weir_tap_open(struct weir_stage *s, const struct weir_tap_options *o, struct weir_tap **ret, struct weir_err *reterr);
/* The next one; false: none. Give it to weir_tapped_fini. */
bool weir_tap_take(struct weir_tap *t, struct weir_tapped *ret);
void weir_tapped_fini(struct weir_tapped *t);
void weir_tap_read(const struct weir_tap *t, struct weir_tap_counts *ret);
void weir_tap_close(struct weir_tap *t);
/* `ev` is begun on `seat`: shows it to whoever taps. Worker thread. */
void weir_taps_pass(struct weir_taps *taps, const struct weir_seat *seat, const struct weir_event *ev);
/* Workers have ended. Takes NULL. */
void weir_taps_destroy(struct weir_taps *taps);

#endif
