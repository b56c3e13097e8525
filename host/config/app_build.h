/* config/app_build.h - the parts of reading an application. For host/config only.
 * Order: pools and classes, then stages (settings, then outputs), then the graph. One thread. */
#ifndef WEIR_CONFIG_APP_BUILD_H
#define WEIR_CONFIG_APP_BUILD_H

#include "config/app.h"
#include "config/schema.h"

/* Bits of weir_app_stage.written: limits that the file (or a `--set`) gives, here or in `defaults`. */
enum {
    WEIR_APP_WROTE_SLICE = 1,
    WEIR_APP_WROTE_STALL = 2,
    WEIR_APP_WROTE_CPU = 4,
    WEIR_APP_WROTE_WALL = 8,
};

/* Target of an edge or route whose stage could not be found, which has been told. */
#define WEIR_APP_NO_TARGET SIZE_MAX

enum { WEIR_APP_MAX_STAGES = 1000, WEIR_APP_MAX_POOLS = 64, WEIR_APP_MAX_CLASSES = 16, WEIR_APP_MAX_SHARED = 256 };

struct weir_app_build {
    struct weir_schema schema;
    struct weir_app *app;
    const struct weir_app_types *types;
    struct weir_app_stage defaults;
    const struct weir_conf *stages; /* as written, with those that are not in app->stages */
    bool incomplete;     /* a stage or an edge is not what the file meant: what reaches what is not known */
    bool pools_unknown;  /* the same of pools */
};

/* All that the tree says, into build->app; the graph checks included. `root` is a map. */
void weir_app_build(struct weir_app_build *b, const struct weir_conf *root);
/* The keys of the file's first level, NULL-terminated. */
extern const char *const weir_app_top_keys[];

void weir_app_build_pools(struct weir_app_build *b, const struct weir_conf *pools);
/* Index of a pool by name; weir_app.pool_count when there is none. */
size_t weir_app_find_pool(const struct weir_app *app, const char *name);

/* `shared:` (app_shared.c). */
void weir_app_build_shared(struct weir_app_build *b, const struct weir_conf *shared);

/* `overload:` (app_overload.c). */
void weir_app_build_overload(struct weir_app_build *b, const struct weir_conf *c);

/* The stages' kinds, names and settings (app_stage.c). */
void weir_app_build_stages(struct weir_app_build *b, const struct weir_conf *stages);
size_t weir_app_find_stage(const struct weir_app *app, const char *name);

/* What stages and `defaults` share (app_settings.c): each takes the value of its key, NULL when the key is
 * not there. */
void weir_app_read_queue(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st,
                         bool defaults);
void weir_app_read_batch(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st);
void weir_app_read_concurrency(struct weir_app_build *b, const struct weir_conf *c,
                               struct weir_app_stage *st);
void weir_app_read_limits(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st);
void weir_app_read_libs(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st);
void weir_app_read_defaults(struct weir_app_build *b, const struct weir_conf *c);
/* What moves a knob (app_controller.c). `c` NULL: `fallback`, with ret->at as its place. */
void weir_app_read_controller(struct weir_app_build *b, const struct weir_conf *c, enum weir_knob knob, const char *fallback,
                              struct weir_app_controller *ret);
/* A stage's `admission:`, one or a list (app_controller.c). */
void weir_app_read_admission(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st);
/* "reject", …, {route: STAGE}: the word or the map. Whether `ret` was written. */
bool weir_app_read_overflow(struct weir_app_build *b, const struct weir_conf *c,
                            struct weir_app_overflow *ret);

/* A stage's `to:` (app_wire.c), names unresolved. */
void weir_app_read_to(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st);

/* Resolves every name of a stage or pool, then checks the graph as a whole (app_resolve.c, app_graph.c). */
void weir_app_resolve(struct weir_app_build *b);
void weir_app_check_graph(struct weir_app_build *b);
/* The stage for whose room a sender waits that offers to `target` under `o`; WEIR_APP_NO_TARGET: it does not wait. */
size_t weir_app_waits_for(const struct weir_app *app, size_t target, const struct weir_app_overflow *o);

#endif
