/* admin/controllers_print.h - controllers, and what a gate admits, as JSON: parts of /v1/stats. Control thread. */
#ifndef WEIR_ADMIN_CONTROLLERS_PRINT_H
#define WEIR_ADMIN_CONTROLLERS_PRINT_H

#include "admin/json_out.h"

struct weir_pool;
struct weir_stage;
struct weir_view;

/* Of a pool's size: "controller": {…}; nothing when none sizes it. */
void weir_print_pool_controller(struct weir_json_out *j, const struct weir_view *v, const struct weir_pool *p);
/* Of a stage: "batch_controller": {…} and "admission": {"controller", "rate", "limit", …, "classes", "controllers"}; what it has not is left
 * out. */
void weir_print_stage_controllers(struct weir_json_out *j, const struct weir_view *v, struct weir_stage *s);

#endif
