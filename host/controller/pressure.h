/* controller/pressure.h - the overload manager: looks at what the process uses (pressure_probe.h) and how long its workers take between two
 * polls, has the step (overload.h) decide what is done about it, and does it: the word of core/relief.h, and garbage collected. Every change
 * goes into the journal and the log.
 * Owner: the runtime. Control thread. */
#ifndef WEIR_CONTROLLER_PRESSURE_H
#define WEIR_CONTROLLER_PRESSURE_H

#include <stdint.h>

#include "base/err.h"
#include "controller/overload.h"
#include "controller/pressure_probe.h"

struct weir_app_overload;
struct weir_graph;
struct weir_journal;
struct weir_pressure;

/* `conf`, `graph` and `journal` are borrowed. `root` as of weir_probe_open. */
int weir_pressure_create(const struct weir_app_overload *conf, struct weir_graph *graph, struct weir_journal *journal, const char *root,
                         struct weir_pressure **ret, struct weir_err *reterr);
/* Takes NULL. The workers have ended, or nothing of it is under way in them. */
void weir_pressure_destroy(struct weir_pressure *p);

/* Looks and acts. Returns when to look again, in ns from now. */
uint64_t weir_pressure_tick(struct weir_pressure *p, uint64_t now_ns);
/* The host stops: nothing is done any more, so that what is in flight can end. */
void weir_pressure_end(struct weir_pressure *p);

/* For people and programs to look at. */
struct weir_pressure_view {
    double used[WEIR_RESOURCE_COUNT], limit[WEIR_RESOURCE_COUNT]; /* bytes, descriptors, seconds; of memory: what its pressure is of */
    double pressure[WEIR_RESOURCE_COUNT]; /* NAN: not known, or not looked at */
    const char *of_memory; /* "process", "cgroup" or "address space". Static */
    const struct weir_overload *state;
    const struct weir_overload_settings *settings;
};
void weir_pressure_look(const struct weir_pressure *p, struct weir_pressure_view *ret);

#endif
