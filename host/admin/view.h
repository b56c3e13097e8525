/* admin/view.h - what the admin interface looks at: an application and, if it runs, its graph and runtime.
 * Everything here is borrowed. Control thread. */
#ifndef WEIR_ADMIN_VIEW_H
#define WEIR_ADMIN_VIEW_H

#include <stddef.h>

#include "base/strbuf.h"

struct weir_app;
struct weir_app_stage;
struct weir_graph;
struct weir_looks;
struct weir_runtime;
struct weir_stage;

struct weir_view {
    const struct weir_app *app;
    struct weir_graph *graph;      /* NULL: it does not run */
    const struct weir_runtime *rt; /* NULL: nothing is known of its time, its addresses and how busy it is */
    struct weir_looks *looks;      /* questions to workers that are under way; NULL: none can be asked */
};

/* "starting", "running", "draining", "stopped"; without a runtime "stopped". Static. */
const char *weir_view_state(const struct weir_view *v);
/* "source", "handler", "plugin", "sink". Static. */
const char *weir_view_kind(const struct weir_app_stage *s);
/* The address that source stage `i` listens on; NULL: none. */
const char *weir_view_address(const struct weir_view *v, size_t i);
/* Share of their time that the workers of pool `i` are not parked; 0 without a runtime. */
double weir_view_busy(const struct weir_view *v, size_t i);
/* Appends what source stage `s` counts itself, a JSON object; false: it counts nothing. */
bool weir_view_source_stats(const struct weir_stage *s, struct weir_strbuf *out);

/* The documents of /v1/stats and /v1/graph. Stats need a graph; `only` limits them to one stage, NULL: all.
 * The graph's live figures are there when it runs. */
void weir_stats_print(const struct weir_view *v, const char *only, struct weir_strbuf *out);
void weir_graph_print(const struct weir_view *v, struct weir_strbuf *out);

#endif
