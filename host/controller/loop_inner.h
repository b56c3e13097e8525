/* controller/loop_inner.h - what loop.c and knob.c share. For host/controller only. */
#ifndef WEIR_CONTROLLER_LOOP_INNER_H
#define WEIR_CONTROLLER_LOOP_INNER_H

#include "controller/journal.h"
#include "controller/loop.h"
#include "controller/unit.h"
#include "core/pool.h"

/* All fields belong to the control thread. */
struct weir_loop {
    struct weir_graph *graph;
    struct weir_journal *journal;
    struct weir_watch *watch;       /* NULL: none */
    bool begun;
    struct weir_unit **units;
    size_t unit_count;
    struct weir_reading *readings;  /* by stage */
    struct weir_pool_load *loads;   /* by pool */
    double *busy;                   /* by pool: over the last tick */
};

/* Gives the stage's gate what its units let in together. */
void weir_loop_apply_admission(struct weir_loop *l, struct weir_stage *stage, uint64_t now_ns);
/* Starts a unit afresh; one that can't is switched off, which is told. */
void weir_loop_restart(struct weir_loop *l, struct weir_unit *u, uint64_t now_ns);
/* The knob's path, as in the journal. */
void weir_loop_knob_path(const struct weir_unit *u, char *path, size_t size);
/* Resizes a pool now. */
int weir_loop_apply_threads(struct weir_loop *l, struct weir_pool *pool, unsigned size, struct weir_err *reterr);

#endif
