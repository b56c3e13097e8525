/* controller/unit.h - one controller at work: its settings, its state, what it controls, and the sample that grows until its next step.
 * For host/controller only. Control thread. */
#ifndef WEIR_CONTROLLER_UNIT_H
#define WEIR_CONTROLLER_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/controller.h"
#include "core/gate.h"
#include "core/ledger.h"

struct weir_graph;
struct weir_pool;
struct weir_stage;

/* What a stage has counted since it runs. Read once a tick, whoever wants to know. */
struct weir_reading {
    struct weir_ledger_sum ledger;
    double depth, capacity;
    struct weir_gate_sum *gate; /* NULL: it has no gate */
    uint64_t wait_min_ns;       /* of the events taken since the last tick; UINT64_MAX: none, or no gate */
};

/* The counts at a unit's last step. */
struct weir_unit_base {
    struct weir_ledger_sum ledger;
    struct weir_gate_sum *gate; /* NULL: the stage has none */
};

struct weir_unit {
    const struct weir_controller_type *type;
    double settings[WEIR_SETTINGS_MAX];
    void *state;               /* type->state_size bytes */
    struct weir_pool *pool;    /* what it controls, or its stage's */
    struct weir_stage *stage;  /* NULL: a pool */
    double batch_min, batch_max;
    double percentile;         /* of its sample's times, 0..1 */
    uint64_t wait_min_ns;      /* since its last step; UINT64_MAX: nothing was taken */
    bool can_grow;             /* set by the loop before it samples */
    struct weir_setpoint at;   /* ADMISSION: its own, of several */
    bool frozen, off;
    bool recorded;             /* each of its steps is told */
    bool opened;               /* the type's `open` has succeeded, and `close` was not called */
    uint64_t decisions;        /* steps that decided something */
    bool refused;              /* the last setpoint could not be applied */
    uint64_t stepped_ns;       /* the last step; 0: none yet */
    struct weir_unit_base *bases; /* by stage of `stages` */
    struct weir_stage **stages;   /* the one, or all handlers and sinks of the pool */
    size_t stage_count;
    struct weir_sample sample;
};

/* Of a pool (stage NULL), or of a stage. NOMEM. */
int weir_unit_init(struct weir_unit *u, const struct weir_controller_type *type, struct weir_graph *g, struct weir_pool *pool,
                   struct weir_stage *stage, struct weir_err *reterr);
void weir_unit_fini(struct weir_unit *u);
/* As if it began now: state zeroed and opened anew, nothing sampled yet. Errors: those of the type's `open`. */
int weir_unit_reset(struct weir_unit *u, const struct weir_reading *readings, uint64_t now_ns, struct weir_err *reterr);
/* Its settings have changed: `percentile` may be among them. */
void weir_unit_set_percentile(struct weir_unit *u);
/* Brings u->sample up to `now_ns`; `readings` by stage index. `busy` is of its pool. */
void weir_unit_sample(struct weir_unit *u, const struct weir_reading *readings, double busy, uint64_t now_ns);
/* The next sample begins here. */
void weir_unit_rebase(struct weir_unit *u, const struct weir_reading *readings, uint64_t now_ns);

#endif
