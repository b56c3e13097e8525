/* admin/metrics.h - the Prometheus text format (version 0.0.4) of everything that is counted. Control thread.
 */
#ifndef WEIR_ADMIN_METRICS_H
#define WEIR_ADMIN_METRICS_H

#include "base/strbuf.h"

struct weir_view;

#define WEIR_METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Appends all metrics; the view has a graph. A lack of memory shows as out->failed. */
void weir_metrics_print(const struct weir_view *v, struct weir_strbuf *out);

#endif
