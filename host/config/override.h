/* config/override.h - `--set stages.page.batch=8`: values of the command line put into the tree before it is
 * checked, so that they are checked like all others. One thread. */
#ifndef WEIR_CONFIG_OVERRIDE_H
#define WEIR_CONFIG_OVERRIDE_H

#include "config/app.h"
#include "config/conf_node.h"
#include "config/problems.h"
#include "config/schema.h"

/* Makes the source of each `--set`, for messages: NULL when there is no memory. */
struct weir_text *weir_override_sources(struct weir_arena *a, const struct weir_app_override *sets,
                                          size_t count);
/* Applies them in their order to the map `root`. The first key of a path must be one of `known`, a stage must
 * exist, a pool too (or be main); keys below are made where they are missing. */
void weir_override_apply(struct weir_schema *s, struct weir_conf *root, const struct weir_app_override *sets,
                         size_t count, const struct weir_sources *sources, const char *const *known);

#endif
