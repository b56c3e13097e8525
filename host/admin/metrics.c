/* Every family is written by one function: its HELP and TYPE once, then a line for each stage or pool. The
 * stages' counters are read once, so that all families of one answer tell of the same moment. docs/metrics.md
 * lists them. */
#include "admin/metrics.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "admin/build_info.h"
#include "admin/metrics_inner.h"
#include "admin/process.h"
#include "admin/view.h"
#include "base/clock.h"
#include "base/mem.h"
#include "config/app.h"
#include "core/graph.h"
#include "core/metric.h"
#include "core/seat.h"
#include "core/shared_table.h"
#include "core/shared_tables.h"
#include "io/http_server.h"
#include "runtime/runtime.h"

void weir_metrics_family(struct metrics *m, const char *name, const char *type, const char *help)
{
    weir_strbuf_addf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line feed are what the format escapes. */
static void add_escaped(struct weir_strbuf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s == '\n')
            weir_strbuf_adds(out, "\\n");
        else if (*s == '\\' || *s == '"')
            weir_strbuf_addf(out, "\\%c", *s);
        else
            weir_strbuf_addc(out, *s);
    }
}

/* `name{labels} ` up to the value; labels end at the first without a name. */
static void line(struct metrics *m, const char *name, const struct label *labels)
{
    weir_strbuf_adds(m->out, name);
    for (size_t i = 0; labels != NULL && labels[i].name != NULL; i++) {
        weir_strbuf_addf(m->out, "%s%s=\"", i == 0 ? "{" : ",", labels[i].name);
        add_escaped(m->out, labels[i].value);
        weir_strbuf_adds(m->out, labels[i + 1].name == NULL ? "\"} " : "\"");
    }
    if (labels == NULL)
        weir_strbuf_addc(m->out, ' ');
}

void weir_metrics_int(struct metrics *m, const char *name, const struct label *labels, int64_t value)
{
    line(m, name, labels);
    weir_strbuf_addf(m->out, "%" PRId64 "\n", value);
}

void weir_metrics_real(struct metrics *m, const char *name, const struct label *labels, double value)
{
    line(m, name, labels);
    weir_strbuf_addf(m->out, "%.9g\n", value);
}


static void single(struct metrics *m, const char *name, const char *type, const char *help, double value)
{
    weir_metrics_family(m, name, type, help);
    line(m, name, NULL);
    weir_strbuf_addf(m->out, "%.17g\n", value);
}

static void print_build(struct metrics *m)
{
    struct weir_build_library lua = {"", ""};
    (void)weir_build_library(0, &lua); /* there is a first one */
    weir_metrics_family(m, "weir_build_info", "gauge", "What is running: always 1.");
    weir_metrics_int(m, "weir_build_info",
             LABELS({"version", weir_build_version()}, {"lua", lua.version}, {"build", weir_build_type()},
                    {"app", m->view->app->name}),
             1);
}

static void print_process(struct metrics *m)
{
    struct weir_process p;
    weir_process_read(&p);
    single(m, "process_cpu_seconds_total", "counter", "CPU time used, user and system.", p.cpu_s);
    single(m, "process_open_fds", "gauge", "Open file descriptors.", (double)p.open_fds);
    single(m, "process_max_fds", "gauge", "Limit of open file descriptors.", (double)p.max_fds);
    single(m, "process_resident_memory_bytes", "gauge", "Memory in RAM.", (double)p.resident_bytes);
    single(m, "process_virtual_memory_bytes", "gauge", "Address space.", (double)p.virtual_bytes);
    single(m, "process_threads", "gauge", "Threads.", (double)p.threads);
    single(m, "process_start_time_seconds", "gauge", "Start, in seconds since 1970.", p.start_s);
}

/* What a sample counts for one outcome of the ledger. */
struct outcome {
    const char *name;
    size_t offset; /* of the int64_t in struct weir_ledger_sum */
};

#define OUTCOME(name)                                                                                        \
    {                                                                                                        \
#name, offsetof(struct weir_ledger_sum, name)                                                        \
    }

static int64_t ledger_at(const struct weir_ledger_sum *l, size_t offset)
{
    int64_t n;
    memcpy(&n, (const char *)l + offset, sizeof n);
    return n;
}

static void print_events(struct metrics *m)
{
    static const struct outcome outcomes[] = {OUTCOME(offered), OUTCOME(rejected), OUTCOME(accepted),
                                              OUTCOME(handled), OUTCOME(failed),   OUTCOME(expired),
                                              OUTCOME(dropped)};
    const struct weir_graph *g = m->view->graph;
    weir_metrics_family(m, "weir_stage_events_total", "counter",
           "Events by what became of them: offered = accepted + rejected; accepted ones are handled, failed, "
           "expired, dropped, "
           "queued or running.");
    for (size_t i = 0; i < g->stage_count; i++)
        for (size_t o = 0; o < sizeof outcomes / sizeof outcomes[0]; o++)
            weir_metrics_int(m, "weir_stage_events_total",
                     LABELS({"stage", g->stages[i].name}, {"outcome", outcomes[o].name}),
                     ledger_at(&m->samples[i].ledger, outcomes[o].offset));

    weir_metrics_family(m, "weir_stage_reasons_total", "counter", "Events that were not handled, by outcome and reason.");
    for (size_t i = 0; i < g->stage_count; i++)
        for (int r = 0; r < WEIR_REASON_COUNT; r++)
            weir_metrics_int(m, "weir_stage_reasons_total",
                     LABELS({"stage", g->stages[i].name},
                            {"outcome", weir_reason_outcome((enum weir_reason)r)},
                            {"reason", weir_reason_text((enum weir_reason)r)}),
                     m->samples[i].ledger.reasons[r]);
}

static void print_emitted(struct metrics *m)
{
    weir_metrics_family(m, "weir_stage_emitted_total", "counter", "Events accepted by the targets of a port.");
    for (size_t i = 0; i < m->view->graph->stage_count; i++) {
        struct weir_stage *s = &m->view->graph->stages[i];
        for (size_t p = 0; p < s->port_count; p++)
            weir_metrics_int(m, "weir_stage_emitted_total", LABELS({"stage", s->name}, {"port", s->ports[p].name}),
                     weir_stage_emitted(s, p));
    }
}

/* Sources have no queue and no calls. */
static bool has_queue(const struct weir_stage *s)
{
    return s->kind != WEIR_STAGE_SOURCE;
}

static int64_t queue_depth(const struct weir_stage *s, const struct weir_stage_sample *sample)
{
    (void)sample; /* one signature for all gauges */
    return (int64_t)weir_queue_depth(&s->queue);
}

static int64_t queue_bytes(const struct weir_stage *s, const struct weir_stage_sample *sample)
{
    (void)sample; /* one signature for all gauges */
    return (int64_t)weir_queue_bytes(&s->queue);
}

static int64_t queue_capacity(const struct weir_stage *s, const struct weir_stage_sample *sample)
{
    (void)s; /* one signature for all gauges */
    return (int64_t)sample->capacity;
}

static int64_t queue_capacity_bytes(const struct weir_stage *s, const struct weir_stage_sample *sample)
{
    (void)s; /* one signature for all gauges */
    return (int64_t)sample->capacity_bytes;
}

static int64_t running(const struct weir_stage *s, const struct weir_stage_sample *sample)
{
    (void)s; /* one signature for all gauges */
    return sample->ledger.running;
}

static int64_t waiting(const struct weir_stage *s, const struct weir_stage_sample *sample)
{
    (void)s; /* one signature for all gauges */
    return sample->ledger.waiting;
}

static int64_t batch_size(const struct weir_stage *s, const struct weir_stage_sample *sample)
{
    (void)sample; /* one signature for all gauges */
    return (int64_t)s->batch;
}

static int64_t generation(const struct weir_stage *s, const struct weir_stage_sample *sample)
{
    (void)sample; /* one signature for all gauges */
    return (int64_t)s->generation;
}

static void print_gauges(struct metrics *m)
{
    static const struct {
        const char *name, *help;
        int64_t (*read)(const struct weir_stage *s, const struct weir_stage_sample *sample);
    } gauges[] = {
        {"weir_queue_depth", "Events waiting in the queue.", queue_depth},
        {"weir_queue_capacity", "Events the queue may hold.", queue_capacity},
        {"weir_queue_bytes", "Bytes of the events waiting in the queue.", queue_bytes},
        {"weir_queue_capacity_bytes", "Bytes the queue may hold.", queue_capacity_bytes},
        {"weir_stage_running", "Handler calls begun and not ended, suspended ones included.", running},
        {"weir_stage_waiting", "Emits suspended until the queue has room.", waiting},
        {"weir_stage_batch_size", "Events a worker takes in one turn, at most.", batch_size},
        {"weir_stage_generation", "Loaded version of the handler.", generation},
    };
    const struct weir_graph *g = m->view->graph;
    for (size_t f = 0; f < sizeof gauges / sizeof gauges[0]; f++) {
        weir_metrics_family(m, gauges[f].name, "gauge", gauges[f].help);
        for (size_t i = 0; i < g->stage_count; i++)
            if (has_queue(&g->stages[i]))
                weir_metrics_int(m, gauges[f].name, LABELS({"stage", g->stages[i].name}),
                         gauges[f].read(&g->stages[i], &m->samples[i]));
    }
}

/* The bounds of all histograms: from what a hop takes to what a limit of 10 s allows. */
static const struct {
    const char *text;
    uint64_t ns;
} bounds[] = {
    {"1e-06", 1000},     {"2.5e-06", 2500},   {"5e-06", 5000},     {"1e-05", 10000},    {"2.5e-05", 25000},
    {"5e-05", 50000},    {"0.0001", 100000},  {"0.00025", 250000}, {"0.0005", 500000},  {"0.001", 1000000},
    {"0.0025", 2500000}, {"0.005", 5000000},  {"0.01", 10000000},  {"0.025", 25000000}, {"0.05", 50000000},
    {"0.1", 100000000},  {"0.25", 250000000}, {"0.5", 500000000},  {"1", 1000000000},   {"2.5", 2500000000},
    {"5", 5000000000},   {"10", 10000000000},
};

static void print_histogram(struct metrics *m, const char *bucket, const char *sum, const char *count,
                            const char *stage, const struct weir_hist_sum *h)
{
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        weir_metrics_int(m, bucket, LABELS({"stage", stage}, {"le", bounds[i].text}),
                 (int64_t)weir_hist_count_to(h, bounds[i].ns));
    weir_metrics_int(m, bucket, LABELS({"stage", stage}, {"le", "+Inf"}), (int64_t)h->count);
    weir_metrics_real(m, sum, LABELS({"stage", stage}), (double)h->sum / (double)WEIR_NS_PER_S);
    weir_metrics_int(m, count, LABELS({"stage", stage}), (int64_t)h->count);
}

static void print_times(struct metrics *m)
{
    const struct weir_graph *g = m->view->graph;
    weir_metrics_family(m, "weir_queue_wait_seconds", "histogram",
           "Time in the queue, from acceptance to the handler's start.");
    for (size_t i = 0; i < g->stage_count; i++)
        if (has_queue(&g->stages[i]))
            print_histogram(m, "weir_queue_wait_seconds_bucket", "weir_queue_wait_seconds_sum",
                            "weir_queue_wait_seconds_count", g->stages[i].name,
                            &m->samples[i].ledger.wait_ns);
    weir_metrics_family(m, "weir_stage_service_seconds", "histogram",
           "Time from the handler's start to its end, suspended time too.");
    for (size_t i = 0; i < g->stage_count; i++)
        if (has_queue(&g->stages[i]))
            print_histogram(m, "weir_stage_service_seconds_bucket", "weir_stage_service_seconds_sum",
                            "weir_stage_service_seconds_count", g->stages[i].name,
                            &m->samples[i].ledger.service_ns);
}

static void print_vm_bytes(struct metrics *m)
{
    const struct weir_graph *g = m->view->graph;
    weir_metrics_family(m, "weir_vm_bytes", "gauge", "Memory of a handler's VM, by worker.");
    for (size_t i = 0; i < g->stage_count; i++) {
        for (size_t slot = 0; slot < g->slot_count && g->stages[i].kind == WEIR_STAGE_HANDLER; slot++) {
            struct weir_seat **seats = atomic_load_explicit(&g->slots[slot], memory_order_acquire);
            int64_t bytes =
                seats == NULL ? 0 : atomic_load_explicit(&seats[i]->handler_bytes, memory_order_relaxed);
            if (bytes == 0)
                continue; /* not of its pool, or it has made no VM yet */
            char worker[24];
            (void)snprintf(worker, sizeof worker, "%zu", slot); /* it fits */
            weir_metrics_int(m, "weir_vm_bytes", LABELS({"stage", g->stages[i].name}, {"worker", worker}), bytes);
        }
    }
}

static void print_pools(struct metrics *m)
{
    const struct weir_graph *g = m->view->graph;
    weir_metrics_family(m, "weir_pool_threads", "gauge", "Workers that take work.");
    for (size_t i = 0; i < g->pool_count; i++)
        weir_metrics_int(m, "weir_pool_threads", LABELS({"pool", g->pools[i].name}),
                 atomic_load_explicit(&g->pools[i].live, memory_order_relaxed));
    weir_metrics_family(m, "weir_pool_busy_ratio", "gauge",
           "Share of the last second in which the workers were not parked.");
    for (size_t i = 0; i < g->pool_count; i++)
        weir_metrics_real(m, "weir_pool_busy_ratio", LABELS({"pool", g->pools[i].name}), weir_view_busy(m->view, i));
}

/* The counters of HTTP sources, as they tell them for /v1/stats. */
static void print_http_counter(struct metrics *m, json_t *const *counts, const char *key, const char *help)
{
    const struct weir_graph *g = m->view->graph;
    char name[64];
    (void)snprintf(name, sizeof name, "weir_http_%s_total", key); /* it fits: keys are a dozen letters */
    weir_metrics_family(m, name, "counter", help);
    for (size_t i = 0; i < g->stage_count; i++) {
        const json_t *value = json_object_get(counts[i], key);
        if (value != NULL)
            weir_metrics_int(m, name, LABELS({"stage", g->stages[i].name}), json_integer_value(value));
    }
}

static json_t *read_counts(const struct weir_view *v, const struct weir_stage *s)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    json_t *counts = NULL;
    if (strcmp(v->app->stages[s->index].what, "http") == 0 && weir_view_source_stats(s, &text) &&
        !text.failed)
        counts = json_loadb(text.data, text.len, 0, NULL);
    weir_strbuf_fini(&text);
    return counts;
}

static void print_http(struct metrics *m)
{
    const struct weir_graph *g = m->view->graph;
    json_t **counts = weir_calloc(g->stage_count, sizeof *counts);
    if (counts == NULL) {
        m->out->failed = true;
        return;
    }
    bool any = false;
    for (size_t i = 0; i < g->stage_count; i++) {
        counts[i] = g->stages[i].kind == WEIR_STAGE_SOURCE ? read_counts(m->view, &g->stages[i]) : NULL;
        any = any || counts[i] != NULL;
    }
    if (any) {
        weir_metrics_family(m, "weir_http_connections", "gauge", "Open connections.");
        for (size_t i = 0; i < g->stage_count; i++)
            if (counts[i] != NULL)
                weir_metrics_int(m, "weir_http_connections", LABELS({"stage", g->stages[i].name}),
                         json_integer_value(json_object_get(counts[i], "connections")));
#define X(name, text) print_http_counter(m, counts, #name, "HTTP: " text ".");
        WEIR_HTTP_COUNT_MAP(X)
#undef X
    }
    for (size_t i = 0; i < g->stage_count; i++)
        json_decref(counts[i]);
    weir_free(counts);
}

/* --- Shared tables --- */

static size_t shared_bytes(const struct weir_shared_figures *f)
{
    return f->bytes;
}

static size_t shared_limit(const struct weir_shared_figures *f)
{
    return f->limit;
}

static size_t shared_entries(const struct weir_shared_figures *f)
{
    return f->entries;
}

static size_t shared_hits(const struct weir_shared_figures *f)
{
    return f->hits;
}

static size_t shared_misses(const struct weir_shared_figures *f)
{
    return f->misses;
}

static size_t shared_refused(const struct weir_shared_figures *f)
{
    return f->refused;
}

static size_t shared_expired(const struct weir_shared_figures *f)
{
    return f->expired;
}

static void print_shared(struct metrics *m)
{
    static const struct {
        const char *name, *type, *help;
        size_t (*read)(const struct weir_shared_figures *f);
    } families[] = {
        {"weir_shared_bytes", "gauge", "Bytes that a shared table holds.", shared_bytes},
        {"weir_shared_limit_bytes", "gauge", "Bytes that a shared table may hold.", shared_limit},
        {"weir_shared_entries", "gauge", "Entries of a shared table.", shared_entries},
        {"weir_shared_hits_total", "counter", "Look-ups that found a value.", shared_hits},
        {"weir_shared_misses_total", "counter", "Look-ups that found none.", shared_misses},
        {"weir_shared_refused_total", "counter", "Writes refused since the table was full.", shared_refused},
        {"weir_shared_expired_total", "counter", "Entries reclaimed after their time to live.", shared_expired},
    };
    struct weir_shared_tables *set = m->view->graph->shared;
    struct weir_shared_table *t;
    for (size_t f = 0; f < sizeof families / sizeof families[0] && weir_shared_tables_at(set, 0) != NULL; f++) {
        weir_metrics_family(m, families[f].name, families[f].type, families[f].help);
        for (size_t i = 0; (t = weir_shared_tables_at(set, i)) != NULL; i++) {
            struct weir_shared_figures figures;
            weir_shared_table_read(t, &figures);
            weir_metrics_int(m, families[f].name, LABELS({"table", weir_shared_table_name(t)}), (int64_t)families[f].read(&figures));
        }
    }
}

/* --- What scripts count --- */

/* The labels of a series and, for buckets, `le`, as far as there is one. */
struct series_labels {
    struct label list[WEIR_METRIC_LABELS_MAX + 2];
    size_t count;
};

static void line_of_script(struct metrics *m, const char *name, const char *part, struct series_labels *labels, const char *le)
{
    char full[WEIR_METRIC_NAME_MAX + 32];
    (void)snprintf(full, sizeof full, "%s%s", name, part); /* it fits */
    labels->list[labels->count] = (struct label){le != NULL ? "le" : NULL, le};
    labels->list[labels->count + 1] = (struct label){NULL, NULL};
    line(m, full, labels->list[0].name != NULL ? labels->list : NULL);
}

static void add_number(struct metrics *m, double value)
{
    if (isfinite(value))
        weir_strbuf_addf(m->out, "%.17g\n", value);
    else
        weir_strbuf_adds(m->out, isnan(value) ? "NaN\n" : value > 0 ? "+Inf\n" : "-Inf\n");
}

static void print_script_histogram(struct metrics *m, const struct weir_metric *metric, struct series_labels *labels,
                                   const struct weir_metric_value *v)
{
    size_t count;
    uint64_t below = 0;
    const char *name = weir_metric_name(metric);
    const double *script_bounds = weir_metric_bounds(metric, &count);
    for (size_t i = 0; i < count; i++) {
        char le[32];
        below += v->buckets[i];
        (void)snprintf(le, sizeof le, "%.9g", script_bounds[i]); /* it fits */
        line_of_script(m, name, "_bucket", labels, le);
        weir_strbuf_addf(m->out, "%" PRIu64 "\n", below);
    }
    line_of_script(m, name, "_bucket", labels, "+Inf");
    weir_strbuf_addf(m->out, "%" PRIu64 "\n", v->count);
    line_of_script(m, name, "_sum", labels, NULL);
    add_number(m, v->part);
    line_of_script(m, name, "_count", labels, NULL);
    weir_strbuf_addf(m->out, "%" PRIu64 "\n", v->count);
}

static void print_series(struct metrics *m, const struct weir_metric *metric, const struct weir_metric_series *s)
{
    struct series_labels labels = {.count = weir_metric_label_count(metric)};
    struct weir_metric_value v;
    for (size_t i = 0; i < labels.count; i++)
        labels.list[i] = (struct label){weir_metric_label_name(metric, i), weir_metric_label_value(s, i)};
    weir_metric_read(s, &v);
    if (weir_metric_type(metric) == WEIR_METRIC_HISTOGRAM) {
        print_script_histogram(m, metric, &labels, &v);
        return;
    }
    line_of_script(m, weir_metric_name(metric), "", &labels, NULL);
    if (v.part == 0)
        weir_strbuf_addf(m->out, "%" PRId64 "\n", v.whole);
    else
        add_number(m, (double)v.whole + v.part);
}

/* HELP is one line, with backslash and line feed escaped. */
static void print_script_family(struct metrics *m, const struct weir_metric *metric)
{
    weir_strbuf_addf(m->out, "# HELP %s ", weir_metric_name(metric));
    for (const char *s = weir_metric_help(metric); *s != '\0'; s++) {
        if (*s == '\n' || *s == '\\')
            weir_strbuf_adds(m->out, *s == '\n' ? "\\n" : "\\\\");
        else
            weir_strbuf_addc(m->out, *s);
    }
    weir_strbuf_addf(m->out, "\n# TYPE %s %s\n", weir_metric_name(metric), weir_metric_type_text(weir_metric_type(metric)));
}

static void print_scripts(struct metrics *m)
{
    const struct weir_metric *metric = weir_metrics_first(m->view->graph->metrics);
    for (; metric != NULL; metric = weir_metric_next(metric)) {
        print_script_family(m, metric);
        for (const struct weir_metric_series *s = weir_metric_first_series(metric); s != NULL; s = weir_metric_next_series(s))
            print_series(m, metric, s);
    }
}

void weir_metrics_print(const struct weir_view *v, struct weir_strbuf *out)
{
    struct metrics m = {v, out, weir_calloc(v->graph->stage_count, sizeof *m.samples)};
    if (m.samples == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < v->graph->stage_count; i++)
        weir_stage_read(&v->graph->stages[i], &m.samples[i]);
    print_build(&m);
    print_process(&m);
    print_events(&m);
    print_emitted(&m);
    print_gauges(&m);
    print_times(&m);
    print_vm_bytes(&m);
    print_pools(&m);
    weir_metrics_control(&m);
    print_http(&m);
    print_shared(&m);
    print_scripts(&m);
    weir_free(m.samples);
}
