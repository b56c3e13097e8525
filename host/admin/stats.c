/* The document of GET /v1/stats. Its names are those of the command line's contract: programs read them. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin/build_info.h"
#include "admin/controllers_print.h"
#include "admin/json_out.h"
#include "admin/view.h"
#include "base/clock.h"
#include "config/app.h"
#include "controller/pressure.h"
#include "core/graph.h"
#include "core/metric.h"
#include "core/pause.h"
#include "core/pool.h"
#include "core/recent.h"
#include "core/shared_table.h"
#include "core/shared_tables.h"
#include "runtime/runtime.h"

static void print_times(struct weir_json_out *j, const char *key, const struct weir_hist_sum *h)
{
    weir_json_open(j, key, '{');
    weir_json_uint(j, "p50", weir_hist_quantile(h, 0.50) / WEIR_NS_PER_US);
    weir_json_uint(j, "p90", weir_hist_quantile(h, 0.90) / WEIR_NS_PER_US);
    weir_json_uint(j, "p99", weir_hist_quantile(h, 0.99) / WEIR_NS_PER_US);
    weir_json_uint(j, "max", h->max / WEIR_NS_PER_US);
    weir_json_close(j, '}');
}

static void print_ledger(struct weir_json_out *j, const struct weir_ledger_sum *l)
{
    weir_json_open(j, "ledger", '{');
    weir_json_int(j, "offered", l->offered);
    weir_json_int(j, "rejected", l->rejected);
    weir_json_int(j, "accepted", l->accepted);
    weir_json_int(j, "handled", l->handled);
    weir_json_int(j, "failed", l->failed);
    weir_json_int(j, "expired", l->expired);
    weir_json_int(j, "dropped", l->dropped);
    weir_json_int(j, "queued", l->queued);
    weir_json_int(j, "running", l->running);
    weir_json_int(j, "waiting", l->waiting);
    weir_json_int(j, "unsettled", l->unsettled);
    weir_json_close(j, '}');
}

/* By outcome, only what happened. The reasons of an outcome stand together in the list (core/reason.h). */
static void print_reasons(struct weir_json_out *j, const struct weir_ledger_sum *l)
{
    const char *open = NULL;
    weir_json_open(j, "reasons", '{');
    for (int i = 0; i < WEIR_REASON_COUNT; i++) {
        if (l->reasons[i] == 0)
            continue;
        const char *outcome = weir_reason_outcome((enum weir_reason)i);
        if (open == NULL || strcmp(open, outcome) != 0) {
            if (open != NULL)
                weir_json_close(j, '}');
            weir_json_open(j, outcome, '{');
            open = outcome;
        }
        weir_json_int(j, weir_reason_text((enum weir_reason)i), l->reasons[i]);
    }
    if (open != NULL)
        weir_json_close(j, '}');
    weir_json_close(j, '}');
}

static void print_queue(struct weir_json_out *j, const struct weir_stage *s,
                        const struct weir_stage_sample *sample)
{
    weir_json_open(j, "queue", '{');
    weir_json_uint(j, "depth", weir_queue_depth(&s->queue));
    weir_json_uint(j, "capacity", sample->capacity);
    weir_json_uint(j, "bytes", weir_queue_bytes(&s->queue));
    weir_json_uint(j, "capacity_bytes", sample->capacity_bytes);
    print_times(j, "wait_us", &sample->ledger.wait_ns);
    weir_json_close(j, '}');
}

/* Per second, over the last second. */
static void print_recent(struct weir_json_out *j, const struct weir_view *v, struct weir_stage *s, const struct weir_stage_sample *sample)
{
    weir_json_bool(j, "paused", weir_stage_is_paused(s));
    if (v->rt == NULL)
        return;
    const struct weir_recent_figures *f = weir_recent_read(weir_runtime_recent(v->rt), s);
    weir_json_string(j, "blocked_by", weir_recent_blocked_by(s, weir_view_busy(v, s->pool->index), sample->ledger.running));
    weir_json_open(j, "recent", '{');
    weir_json_real(j, "span_s", f->span_s);
    weir_json_real(j, "offered", f->offered);
    weir_json_real(j, "rejected", f->rejected);
    weir_json_real(j, "accepted", f->accepted);
    weir_json_real(j, "handled", f->handled);
    weir_json_real(j, "failed", f->failed);
    weir_json_real(j, "expired", f->expired);
    weir_json_real(j, "dropped", f->dropped);
    weir_json_real(j, "workers", f->workers);
    weir_json_real(j, "collecting", f->collected);
    weir_json_open(j, "wait_us", '{');
    weir_json_uint(j, "p50", f->wait_p50_ns / WEIR_NS_PER_US);
    weir_json_uint(j, "p99", f->wait_p99_ns / WEIR_NS_PER_US);
    weir_json_close(j, '}');
    weir_json_open(j, "service_us", '{');
    weir_json_uint(j, "p50", f->service_p50_ns / WEIR_NS_PER_US);
    weir_json_uint(j, "p99", f->service_p99_ns / WEIR_NS_PER_US);
    weir_json_close(j, '}');
    weir_json_close(j, '}');
}

static void print_source(struct weir_json_out *j, const struct weir_view *v, const struct weir_stage *s)
{
    const char *address = weir_view_address(v, s->index);
    if (address != NULL)
        weir_json_string(j, "address", address);
    struct weir_strbuf own = WEIR_STRBUF_INIT;
    if (weir_view_source_stats(s, &own)) {
        if (own.failed)
            j->out->failed = true;
        else
            weir_json_raw(j, v->app->stages[s->index].what, own.data, own.len);
    }
    weir_strbuf_fini(&own);
}

static void print_stage(struct weir_json_out *j, const struct weir_view *v, struct weir_stage *s)
{
    struct weir_stage_sample sample;
    weir_stage_read(s, &sample);
    weir_json_open(j, s->name, '{');
    weir_json_string(j, "kind", weir_view_kind(&v->app->stages[s->index]));
    weir_json_string(j, "pool", s->pool->name);
    weir_json_uint(j, "generation", s->generation);
    print_queue(j, s, &sample);
    print_ledger(j, &sample.ledger);
    print_reasons(j, &sample.ledger);
    print_times(j, "service_us", &sample.ledger.service_ns);
    weir_json_real(j, "rate", sample.rate);
    weir_json_uint(j, "batch", s->batch);
    weir_json_open(j, "emitted", '{');
    for (size_t i = 0; i < s->port_count; i++)
        weir_json_int(j, s->ports[i].name, weir_stage_emitted(s, i));
    weir_json_close(j, '}');
    weir_json_uint(j, "vm_bytes", sample.vm_bytes);
    weir_json_int(j, "stalls", sample.stalls);
    print_recent(j, v, s, &sample);
    weir_print_stage_controllers(j, v, s);
    if (s->kind == WEIR_STAGE_SOURCE)
        print_source(j, v, s);
    weir_json_close(j, '}');
}

static void print_pools(struct weir_json_out *j, const struct weir_view *v)
{
    weir_json_open(j, "pools", '{');
    for (size_t i = 0; i < v->graph->pool_count; i++) {
        const struct weir_pool *p = &v->graph->pools[i];
        weir_json_open(j, p->name, '{');
        weir_json_uint(j, "threads", atomic_load_explicit(&p->live, memory_order_relaxed));
        weir_json_uint(j, "min", p->min);
        weir_json_uint(j, "max", p->max);
        weir_json_bool(j, "blocking", p->blocking);
        weir_json_real(j, "busy", weir_view_busy(v, i));
        if (v->rt != NULL)
            weir_json_real(j, "cpu", weir_recent_read_pool(weir_runtime_recent(v->rt), p)->cpu);
        weir_print_pool_controller(j, v, p);
        weir_json_close(j, '}');
    }
    weir_json_close(j, '}');
}

/* A pressure that is not known is left out. */
static void print_overload(struct weir_json_out *j, const struct weir_view *v)
{
    const struct weir_pressure *p = v->rt == NULL ? NULL : weir_runtime_pressure(v->rt);
    struct weir_pressure_view o;
    if (p == NULL)
        return;
    weir_pressure_look(p, &o);
    weir_json_open(j, "overload", '{');
    weir_json_open(j, "pressure", '{');
    for (int r = 0; r < WEIR_RESOURCE_COUNT; r++) {
        if (isnan(o.pressure[r]))
            continue;
        weir_json_open(j, weir_resource_text((enum weir_resource)r), '{');
        weir_json_real(j, "pressure", o.pressure[r]);
        weir_json_real(j, "used", o.used[r]);
        weir_json_real(j, "limit", o.limit[r]);
        if (r == WEIR_RESOURCE_MEMORY)
            weir_json_string(j, "of", o.of_memory);
        weir_json_close(j, '}');
    }
    weir_json_close(j, '}');
    weir_json_open(j, "actions", '{');
    for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
        weir_json_uint(j, weir_relief_text((enum weir_relief_action)a), o.state->level[a]);
    weir_json_close(j, '}');
    weir_json_close(j, '}');
}

static void print_shared(struct weir_json_out *j, struct weir_shared_tables *set)
{
    struct weir_shared_table *t;
    weir_json_open(j, "shared", '{');
    for (size_t i = 0; (t = weir_shared_tables_at(set, i)) != NULL; i++) {
        struct weir_shared_figures f;
        weir_shared_table_read(t, &f);
        weir_json_open(j, weir_shared_table_name(t), '{');
        weir_json_uint(j, "entries", f.entries);
        weir_json_uint(j, "bytes", f.bytes);
        weir_json_uint(j, "limit_bytes", f.limit);
        weir_json_uint(j, "hits", f.hits);
        weir_json_uint(j, "misses", f.misses);
        weir_json_uint(j, "refused", f.refused);
        weir_json_uint(j, "expired", f.expired);
        weir_json_close(j, '}');
    }
    weir_json_close(j, '}');
}

/* All digits: a script's number may be of any size. */
static void print_number(struct weir_json_out *j, const char *key, double value)
{
    char text[32];
    int n = isfinite(value) ? snprintf(text, sizeof text, "%.17g", value) : snprintf(text, sizeof text, "null");
    weir_json_raw(j, key, text, n > 0 ? (size_t)n : 0);
}

static void print_series(struct weir_json_out *j, const struct weir_metric *metric, const struct weir_metric_series *s)
{
    struct weir_metric_value v;
    weir_metric_read(s, &v);
    weir_json_open(j, NULL, '{');
    weir_json_open(j, "labels", '{');
    for (size_t i = 0; i < weir_metric_label_count(metric); i++)
        weir_json_string(j, weir_metric_label_name(metric, i), weir_metric_label_value(s, i));
    weir_json_close(j, '}');
    if (weir_metric_type(metric) == WEIR_METRIC_HISTOGRAM) {
        weir_json_uint(j, "count", v.count);
        print_number(j, "sum", v.part);
    } else if (v.part == 0) {
        weir_json_int(j, "value", v.whole);
    } else {
        print_number(j, "value", (double)v.whole + v.part);
    }
    weir_json_close(j, '}');
}

/* What scripts count: by name, a list of series. */
static void print_metrics(struct weir_json_out *j, const struct weir_metrics *metrics)
{
    weir_json_open(j, "metrics", '{');
    for (const struct weir_metric *m = weir_metrics_first(metrics); m != NULL; m = weir_metric_next(m)) {
        weir_json_open(j, weir_metric_name(m), '{');
        weir_json_string(j, "type", weir_metric_type_text(weir_metric_type(m)));
        weir_json_open(j, "series", '[');
        for (const struct weir_metric_series *s = weir_metric_first_series(m); s != NULL; s = weir_metric_next_series(s))
            print_series(j, m, s);
        weir_json_close(j, ']');
        weir_json_close(j, '}');
    }
    weir_json_close(j, '}');
}

void weir_stats_print(const struct weir_view *v, const char *only, struct weir_strbuf *out)
{
    struct weir_json_out j = {.out = out};
    weir_json_open(&j, NULL, '{');
    weir_json_string(&j, "app", v->app->name);
    weir_json_string(&j, "version", weir_build_version());
    weir_json_int(&j, "pid", getpid());
    weir_json_string(&j, "state", weir_view_state(v));
    weir_json_real(&j, "uptime_s",
                   v->rt == NULL ? 0 : (double)weir_runtime_uptime_ns(v->rt) / (double)WEIR_NS_PER_S);
    print_pools(&j, v);
    print_overload(&j, v);
    weir_json_open(&j, "stages", '{');
    for (size_t i = 0; i < v->graph->stage_count; i++)
        if (only == NULL || strcmp(only, v->graph->stages[i].name) == 0)
            print_stage(&j, v, &v->graph->stages[i]);
    weir_json_close(&j, '}');
    if (only == NULL) {
        print_shared(&j, v->graph->shared);
        print_metrics(&j, v->graph->metrics);
    }
    weir_json_close(&j, '}');
    weir_strbuf_addc(out, '\n');
}
