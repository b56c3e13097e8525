/* tests/unit/sim.h - a stage under load on a virtual clock: arrivals of several classes, a gate, a queue, workers that take a while for each
 * event, and a controller that is stepped as the loop does it. Everything random comes from the seed: the same run gives the same figures.
 * One thread. */
#ifndef WEIR_UNIT_SIM_H
#define WEIR_UNIT_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/controller.h"

enum { SIM_QUEUE = 4096, SIM_SERVERS = 64, SIM_WINDOWS = 4096 };

enum sim_service { SIM_CONSTANT, SIM_EXPONENTIAL, SIM_HEAVY /* Pareto, alpha 1.5, cut at 100 times the mean */ };

struct sim_options {
    double seconds;
    double (*rate)(double now_s, size_t class_index); /* arrivals per second, Poisson */
    size_t classes, servers, capacity;                /* of the queue */
    double service_s;
    enum sim_service service;
    bool by_class;  /* order: class */
    bool can_grow;  /* as a pool that may: told to the controller only */
    double patience_s; /* good: answered within */
    uint64_t seed;
    const struct weir_controller_type *type; /* NULL: none */
    const double *settings;
};

/* Of 100 ms each. */
struct sim_window {
    double offered, good, refused; /* events by when they arrived */
    double p90_s;                  /* of the times until they ended, of those that were admitted and ended */
};

struct sim_class {
    double offered, admitted, refused, good, shed /* dropped after it was admitted */, displaced /* of them for a higher class */;
    double p90_s, wait_p90_s;
};

struct sim_result {
    struct sim_class classes[WEIR_CLASSES_MAX];
    struct sim_window windows[SIM_WINDOWS];
    size_t window_count;
    double good_rate; /* of all classes */
    size_t decisions;
    struct weir_setpoint at; /* at the end */
};

/* Runs it; what came before `from_s` is not in the sums by class. */
void sim_run(const struct sim_options *o, double from_s, struct sim_result *ret);
/* The settings of a type as YAML gives them without any; `settings` has WEIR_SETTINGS_MAX. */
void sim_defaults(const struct weir_controller_type *type, double *settings);
/* Sets one by its name. */
void sim_set(const struct weir_controller_type *type, double *settings, const char *name, double value);

#endif
