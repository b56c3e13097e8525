/* controller/controller.h - what a controller is: a pure step from a sample to a setpoint. It has no clock, no lock, no thread and no
 * random source of its own: what it knows is in its arguments, so that recorded samples give the same decisions again.
 *
 *   the loop (loop.h) samples a stage or pool ──> ready? ──> step ──> setpoint: applied, recorded
 *
 * All quantities are doubles: seconds, events, events per second, shares of 1. The control thread runs the steps. */
#ifndef WEIR_CONTROLLER_CONTROLLER_H
#define WEIR_CONTROLLER_CONTROLLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/conf.h"
#include "config/types.h"
#include "core/lane.h"
#include "core/policy.h"

enum { WEIR_SAMPLE_WORKERS = 64, WEIR_SETTINGS_MAX = 16, WEIR_CONTROLLERS_MAX = 32 };

/* What a stage did for the events of one class. */
struct weir_sample_class {
    double offered, refused, ended; /* events; refused: by the gate; ended: their handler returned or failed */
    double response_s; /* percentile of the time from an event's arrival at its source to the end of its handler here */
    double wait_s;     /* percentile of the time in the queue of the events taken */
};

/* What a stage or a pool did since the controller's last step. Of a pool: the sums over its stages, `depth` the deepest's. */
struct weir_sample {
    double now_s, elapsed_s;     /* monotonic; since the last step */
    double depth, capacity;      /* events that wait now; the queue's bound */
    double running;              /* events whose handler has begun and not ended, now */
    double offered, accepted, handled, failed, expired, dropped; /* events */
    double taken;                /* events that left the queue to be handled */
    double wait_min_s;           /* shortest time in the queue of the events taken; 0 when none was taken and none waits, else when none was
                                    taken: how long the wait has been at least (elapsed_s) */
    double wait_s;               /* the 90th percentile of the time in the queue of the events taken */
    double service_s;            /* mean time from a handler's start to its end; 0 without events */
    double threads, threads_min, threads_max; /* of the (stage's) pool */
    double busy;                 /* share of their time that the pool's workers were not parked */
    double idle_s[WEIR_SAMPLE_WORKERS]; /* how long each of its parked workers has been so, longest first */
    size_t idle_count;
    double batch, batch_min, batch_max;
    bool takes_batches;          /* the handler gets whole batches: service_s is the time of one, then */
    bool can_grow;               /* a controller sizes the pool, and it has fewer workers than it may have */
    size_t class_count;          /* of a stage with a gate, else 0; [0] is the highest class. All percentiles: the one that the controller's setting
                                    `percentile` says, the 90th without one */
    struct weir_sample_class classes[WEIR_CLASSES_MAX];
};

/* Where the knobs stand. A step changes those of its kind. */
struct weir_setpoint {
    double threads;              /* THREADS; whole after rounding */
    double batch;                /* BATCH; likewise */
    double rate[WEIR_CLASSES_MAX]; /* ADMISSION: events per second of each class; INFINITY: any */
    double burst;                /* …: events of a class that may come at once, at least 1 */
    double limit;                /* …: events queued and running. INFINITY: none */
    double share[WEIR_CLASSES_MAX]; /* …: what of the limit is for a class and those above it, 0..1: lower ones are refused before it is reached */
    double shed_after_s;         /* …: an event that waited for longer is dropped when its turn comes. INFINITY: none */
    bool overloaded;             /* …: a queue with `order: adaptive` gives the newest first */
};

struct weir_controller_type {
    const char *name;            /* as in weir.yaml and in decisions */
    enum weir_knob knob;
    const char *text;            /* one line for the manual */
    const struct weir_option *options; /* numbers, durations, bools, words: each ends up as one double, in this order (seconds; 0 or 1; the
                                          word's index; NAN: not given and without a fallback) */
    size_t option_count;
    size_t state_size;           /* zeroed at first, and when it is switched on again */
    /* Whether the sample is enough for a step; else it goes on growing. */
    bool (*ready)(const double *settings, const struct weir_sample *sample);
    /* Decides: `at` holds the present setpoint and gets the new one. The rule that decided, a static string; NULL: none did, `at` is as it
     * was. Deterministic. */
    const char *(*step)(const double *settings, void *state, const struct weir_sample *sample, struct weir_setpoint *at);
    /* What has more than bytes for its state (a script): after the state was zeroed, and before it is zeroed again or freed. `open` fails with
     * a text. NULL: nothing to do. */
    int (*open)(const struct weir_controller_type *type, void *state, struct weir_err *reterr);
    void (*close)(void *state);
    /* A type that is one unit's own: the unit ends. NULL: it is constant. */
    void (*release)(const struct weir_controller_type *type);
};

/* For a step that can't go on: says why, and returns NULL. The thread keeps it until weir_controller_take_failure. */
void weir_controller_failed(const struct weir_err *why);
/* Whether the last step said so since the last call, and what. */
bool weir_controller_take_failure(struct weir_err *ret);

/* All of them. */
extern const struct weir_controller_type *const weir_controller_types[];
extern const size_t weir_controller_type_count;
/* What {script: FILE} takes beside its file and config: a script is stepped each `interval`, by any knob. */
extern const struct weir_app_controller_type weir_controller_script;
enum { WEIR_SCRIPT_INTERVAL }; /* in its settings */
/* The one of that name and knob; NULL: none. */
const struct weir_controller_type *weir_controller_find(enum weir_knob knob, const char *name);

/* Fills `settings` (type->option_count of them) from checked options. */
void weir_controller_settings(const struct weir_controller_type *type, const struct weir_conf *options, double *settings);
/* The types as configuration wants them, up to `max`; returns how many. */
size_t weir_controller_app_types(struct weir_app_controller_type *ret, size_t max);

/* One thread, batches of 1, and a gate that is open. */
void weir_setpoint_init(struct weir_setpoint *s);

static inline double weir_clamp(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

#endif
