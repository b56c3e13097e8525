/* controller/loop.h - runs the controllers: samples what they control, steps those that have seen enough, applies what they decide and writes it
 * into the journal. `weir set`, `freeze` and `unfreeze` end here, too.
 *
 * Knobs have paths, as in weir.yaml: "pools.disk.threads", "stages.page.batch", "stages.page.admission". A controller's settings lie
 * below its knob's: "pools.disk.controller.threshold", "stages.page.batch.controller.bound", "stages.page.admission.target",
 * "stages.page.admission.codel.target"; so does "….enabled". Owner: the runtime. Control thread. */
#ifndef WEIR_CONTROLLER_LOOP_H
#define WEIR_CONTROLLER_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "controller/controller.h"

struct weir_graph;
struct weir_journal;
struct weir_loop;
struct weir_pool;
struct weir_stage;
struct weir_watch;

/* `graph`, `journal` and `watch`, the control thread's own (NULL: none), are borrowed. */
int weir_loop_create(struct weir_graph *graph, struct weir_journal *journal, struct weir_watch *watch, struct weir_loop **ret,
                     struct weir_err *reterr);
/* Takes NULL. */
void weir_loop_destroy(struct weir_loop *l);

/* Has a controller of `type` look after a pool's size; after a stage's batch, from `min` to `max`. On failure the type is released. */
int weir_loop_add_threads(struct weir_loop *l, struct weir_pool *pool, const struct weir_controller_type *type, const double *settings,
                          struct weir_err *reterr);
int weir_loop_add_batch(struct weir_loop *l, struct weir_stage *stage, unsigned min, unsigned max, const struct weir_controller_type *type,
                        const double *settings, struct weir_err *reterr);
/* … after what its gate admits; the stage has one. Several of a stage: the least of what they let in holds. */
int weir_loop_add_admission(struct weir_loop *l, struct weir_stage *stage, const struct weir_controller_type *type, const double *settings,
                            struct weir_err *reterr);
/* Whether there is anything to do each tick. */
bool weir_loop_is_empty(const struct weir_loop *l);

/* Before the pools run, so that what needs no sample (a fixed rate) holds from the first event on; and once more when they do: sampling begins. */
void weir_loop_begin(struct weir_loop *l, uint64_t now_ns);
/* Samples, steps, applies. Every 10 to 100 ms. */
void weir_loop_tick(struct weir_loop *l, uint64_t now_ns);

/* Sets the knob or setting at `path` to `value`, as written in weir.yaml. What it was and is now goes into the journal. INVAL: what is wrong with
 * the value, NOTFOUND: nothing is at that path; the text says what there is. */
int weir_loop_set(struct weir_loop *l, const char *path, const char *value, uint64_t now_ns, struct weir_err *reterr);
/* Keeps the controllers of the knob at `path` from moving it, or lets them again, from a fresh start. */
int weir_loop_freeze(struct weir_loop *l, const char *path, bool frozen, uint64_t now_ns, struct weir_err *reterr);

/* A controller, for people and programs to look at. */
struct weir_loop_view {
    const struct weir_controller_type *type;
    const double *settings;          /* type->option_count of them */
    const struct weir_pool *pool;
    const struct weir_stage *stage;  /* NULL: it sizes the pool */
    const struct weir_setpoint *at;
    bool frozen, enabled;
    uint64_t decisions;              /* steps that decided something */
};
/* The i-th, from 0; false: there is none. Valid until the next call of another function here. */
bool weir_loop_look(const struct weir_loop *l, size_t i, struct weir_loop_view *ret);

#endif
