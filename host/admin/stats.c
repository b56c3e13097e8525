/* The document of GET /v1/stats. Its names are those of the command line's contract: programs read them. */
#include <string.h>
#include <unistd.h>

#include "admin/build_info.h"
#include "admin/json_out.h"
#include "admin/view.h"
#include "base/clock.h"
#include "config/app.h"
#include "core/graph.h"
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
    weir_json_uint(j, "batch", s->batch_max);
    weir_json_open(j, "emitted", '{');
    for (size_t i = 0; i < s->port_count; i++)
        weir_json_int(j, s->ports[i].name, weir_stage_emitted(s, i));
    weir_json_close(j, '}');
    weir_json_uint(j, "vm_bytes", sample.vm_bytes);
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
    weir_json_open(&j, "stages", '{');
    for (size_t i = 0; i < v->graph->stage_count; i++)
        if (only == NULL || strcmp(only, v->graph->stages[i].name) == 0)
            print_stage(&j, v, &v->graph->stages[i]);
    weir_json_close(&j, '}');
    weir_json_close(&j, '}');
    weir_strbuf_addc(out, '\n');
}
