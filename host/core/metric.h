/* core/metric.h - metrics that scripts make: counters, gauges and histograms by name and labels, summed when
 * somebody asks.
 *
 *   metrics ──> metric (a name, its type, its label names) ──> series (one for each set of label values) ──>
 * cells, one per lane
 *
 * Metrics and series are only ever added, so a handle is good for as long as the set is, and readers walk
 * them without a lock. Workers write to cells of their own (a lane is a worker's index), so two cores do not
 * meet. The number of series is bounded: what is beyond it is counted in the series whose labels are all
 * `other`. Owner: the graph. Threads: any, but for create and destroy. */
#ifndef WEIR_CORE_METRIC_H
#define WEIR_CORE_METRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct weir_metric;
struct weir_metric_series;
struct weir_metrics;

enum weir_metric_type { WEIR_METRIC_COUNTER, WEIR_METRIC_GAUGE, WEIR_METRIC_HISTOGRAM };

enum {
    WEIR_METRIC_NAME_MAX = 128,
    WEIR_METRIC_LABELS_MAX = 16,
    WEIR_METRIC_BOUNDS_MAX = 64,
    WEIR_METRIC_SERIES_MAX = 1000, /* of one metric, the one of `other` not counted */
    WEIR_METRIC_COUNT_MAX = 1000,  /* metrics of an application */
};

struct weir_metric_label {
    const char *name, *value;
};

struct weir_metric_spec {
    enum weir_metric_type type;
    const char *name;
    const char *help; /* NULL: none given */
    const struct weir_metric_label *labels;
    size_t label_count;
    const double
        *bounds; /* HISTOGRAM: upper bounds of its buckets, ascending, without +Inf; NULL: the default ones */
    size_t bound_count;
};

int weir_metrics_create(struct weir_metrics **ret, struct weir_err *reterr);
/* Nobody writes any more. Takes NULL. */
void weir_metrics_destroy(struct weir_metrics *m);

/* Whether name, labels and bounds are such as a metric may have: as Prometheus has them, and none of the
 * host's own (`weir_`, `process_`). INVAL. */
int weir_metric_check(const struct weir_metric_spec *spec, struct weir_err *reterr);
/* The series of those labels, made if need be. A counter is named with `_total` at its end, whether `spec`
 * says it or not. `*ret_other`: there are too many, it is that of the rest. Errors: INVAL; EXISTS: the name
 * has another type, other labels or other bounds; LIMIT; NOMEM. Keeps nothing of `spec`. */
int weir_metrics_get(struct weir_metrics *m, const struct weir_metric_spec *spec,
                     struct weir_metric_series **ret, bool *ret_other, struct weir_err *reterr);

/* Adds to a counter (`n` at least 0) or a gauge. Integers are added exactly. `lane`: any number, best the
 * worker's index. Never fails. */
void weir_metric_add_int(struct weir_metric_series *s, unsigned lane, int64_t n);
void weir_metric_add(struct weir_metric_series *s, unsigned lane, double n);
/* Sets a gauge. */
void weir_metric_set(struct weir_metric_series *s, double value);
/* Counts a value in a histogram. */
void weir_metric_observe(struct weir_metric_series *s, unsigned lane, double value);

/* What a series says now: the sum of its cells. */
struct weir_metric_value {
    int64_t whole; /* counters and gauges: `whole` + `part` */
    double part;   /* histograms: the sum of what was observed */
    uint64_t count;
    uint64_t buckets[WEIR_METRIC_BOUNDS_MAX + 1]; /* not cumulated; the last is beyond all bounds */
};

void weir_metric_read(const struct weir_metric_series *s, struct weir_metric_value *ret);

/* Walking, in the order in which they were made; NULL at the end. */
const struct weir_metric *weir_metrics_first(const struct weir_metrics *m);
const struct weir_metric *weir_metric_next(const struct weir_metric *m);
const struct weir_metric_series *weir_metric_first_series(const struct weir_metric *m);
const struct weir_metric_series *weir_metric_next_series(const struct weir_metric_series *s);

const char *weir_metric_name(const struct weir_metric *m);
const char *weir_metric_help(const struct weir_metric *m);
enum weir_metric_type weir_metric_type(const struct weir_metric *m);
const char *weir_metric_type_text(enum weir_metric_type type);
const double *weir_metric_bounds(const struct weir_metric *m, size_t *ret_count);
/* Label names are in order; the i-th value belongs to the i-th name. */
size_t weir_metric_label_count(const struct weir_metric *m);
const char *weir_metric_label_name(const struct weir_metric *m, size_t i);
const char *weir_metric_label_value(const struct weir_metric_series *s, size_t i);

#endif
