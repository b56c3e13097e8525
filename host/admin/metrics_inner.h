/* admin/metrics_inner.h - what metrics.c and metrics_control.c share: how a line of the exposition is written. For host/admin only. */
#ifndef WEIR_ADMIN_METRICS_INNER_H
#define WEIR_ADMIN_METRICS_INNER_H

#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "core/stage.h"

struct weir_view;

struct metrics {
    const struct weir_view *view;
    struct weir_strbuf *out;
    struct weir_stage_sample *samples; /* by stage index */
};

struct label {
    const char *name, *value;
};

#define LABELS(...) ((const struct label[]){__VA_ARGS__, {NULL, NULL}})

/* HELP and TYPE, before its lines. */
void weir_metrics_family(struct metrics *m, const char *name, const char *type, const char *help);
/* A line; `labels` end with one without a name. */
void weir_metrics_int(struct metrics *m, const char *name, const struct label *labels, int64_t value);
void weir_metrics_real(struct metrics *m, const char *name, const struct label *labels, double value);

/* Controllers, gates, overload. */
void weir_metrics_control(struct metrics *m);

#endif
