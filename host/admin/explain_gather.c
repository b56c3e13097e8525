/* The facts that weir_explain looks at, and its findings as JSON. */
#include <stdint.h>

#include "admin/explain.h"
#include "admin/json_out.h"
#include "admin/view.h"
#include "base/mem.h"
#include "controller/loop.h"
#include "core/graph.h"
#include "core/pause.h"
#include "core/pool.h"
#include "core/recent.h"
#include "io/file_threads.h"
#include "runtime/runtime.h"

/* How many partitions of an ordered queue have events. */
static double count_keys(struct weir_stage *s)
{
    struct weir_shared_lane *shared = &s->queue.shared;
    size_t n = 0;
    weir_mutex_lock(&shared->mu);
    for (size_t i = 0; shared->partitions != NULL && i < WEIR_PARTITIONS; i++)
        n += !weir_list_empty(&shared->partitions[i].events) || shared->partitions[i].running > 0;
    weir_mutex_unlock(&shared->mu);
    return (double)n;
}

/* Now and a moment ago, so that the few events of a busy turn are not taken for a queue. */
static double mean_depth(const struct weir_recent *recent, const struct weir_stage *s)
{
    struct weir_recent_length lengths[WEIR_RECENT_FINE];
    size_t n = weir_recent_fine(recent, s, lengths);
    double now = (double)weir_queue_depth(&s->queue);
    return n > 0 ? (now + (double)lengths[n - 1].mean) / 2 : now;
}

/* Of its admission, the first. */
static const char *controller_of(const struct weir_loop *loop, const struct weir_stage *s)
{
    struct weir_loop_view c;
    for (size_t i = 0; s->gate != NULL && weir_loop_look(loop, i, &c); i++)
        if (c.stage == s && c.type->knob == WEIR_KNOB_ADMISSION)
            return c.type->name;
    return NULL;
}

static void gather_stage(const struct weir_view *v, struct weir_stage *s, struct weir_explain_stage *ret)
{
    const struct weir_recent *recent = weir_runtime_recent(v->rt);
    const struct weir_recent_figures *f = weir_recent_read(recent, s);
    const struct weir_stage *other = weir_recent_waits_for(s);
    struct weir_stage_sample sample;
    weir_stage_read(s, &sample);
    unsigned live = atomic_load_explicit(&s->pool->live, memory_order_relaxed);
    *ret = (struct weir_explain_stage){
        .name = s->name, .pool = s->pool->index, .kind = s->kind, .waits_for = other != NULL ? other->index : SIZE_MAX};
    if (s->kind == WEIR_STAGE_SOURCE)
        return;
    ret->paused = weir_stage_is_paused(s);
    ret->depth = mean_depth(recent, s);
    ret->capacity = (double)s->queue.capacity;
    ret->offered = f->offered;
    ret->gated = f->gated;
    ret->refused = f->rejected > f->gated ? f->rejected - f->gated : 0;
    ret->handled = f->handled;
    ret->wait_p50_s = (double)f->wait_p50_ns / 1e9;
    ret->service_p50_s = (double)f->service_p50_ns / 1e9;
    ret->running = (double)sample.ledger.running;
    ret->concurrency = s->concurrency;
    ret->workers = f->workers < live ? f->workers : live; /* a long turn is counted when it ends */
    ret->collected = f->collected;
    ret->vm_bytes = (double)sample.vm_bytes;
    ret->vm_limit = (double)s->memory * live;
    ret->waiting = (double)sample.ledger.waiting;
    ret->keys_waiting = count_keys(s);
    ret->controller = controller_of(weir_runtime_loop(v->rt), s);
}

static void gather_pool(const struct weir_view *v, const struct weir_pool *p, struct weir_explain_pool *ret)
{
    const struct weir_recent_pool *f = weir_recent_read_pool(weir_runtime_recent(v->rt), p);
    *ret = (struct weir_explain_pool){.name = p->name,
                                      .blocking = p->blocking,
                                      .threads = atomic_load_explicit(&p->live, memory_order_relaxed),
                                      .max = p->max,
                                      .busy = f->busy,
                                      .cpu = f->cpu,
                                      .delayed = f->delayed,
                                      .stuck = f->stuck};
}

int weir_explain_gather(const struct weir_view *v, struct weir_explain_facts *ret, struct weir_err *reterr)
{
    if (v->rt == NULL)
        return weir_err_set(reterr, WEIR_E_INVAL, "it does not run");
    *ret = (struct weir_explain_facts){.stage_count = v->graph->stage_count, .pool_count = v->graph->pool_count};
    ret->stages = weir_calloc(ret->stage_count + 1, sizeof *ret->stages);
    ret->pools = weir_calloc(ret->pool_count + 1, sizeof *ret->pools);
    if (ret->stages == NULL || ret->pools == NULL) {
        weir_explain_clear(ret);
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < ret->stage_count; i++)
        gather_stage(v, &v->graph->stages[i], &ret->stages[i]);
    for (size_t i = 0; i < ret->pool_count; i++)
        gather_pool(v, &v->graph->pools[i], &ret->pools[i]);
    ret->file_jobs = (double)weir_file_threads_pending();
    ret->file_threads = (double)weir_file_threads_count();
    if (ret->stage_count > 0)
        ret->span_s = weir_recent_read(weir_runtime_recent(v->rt), &v->graph->stages[0])->span_s;
    return WEIR_OK;
}

void weir_explain_clear(struct weir_explain_facts *f)
{
    weir_free(f->stages);
    weir_free(f->pools);
    *f = (struct weir_explain_facts){.stages = NULL};
}

static void print_finding(struct weir_json_out *j, const struct weir_explain_facts *f, const struct weir_finding *found)
{
    weir_json_open(j, NULL, '{');
    weir_json_string(j, "cause", weir_cause_text(found->cause));
    weir_json_string(j, "stage", f->stages[found->stage].name);
    weir_json_string(j, "pool", f->pools[found->pool].name);
    weir_json_string(j, "what", found->what);
    weir_json_string(j, "evidence", found->evidence);
    weir_json_string(j, "advice", found->advice);
    weir_json_close(j, '}');
}

static const struct weir_explain_pool *busiest(const struct weir_explain_facts *f)
{
    const struct weir_explain_pool *most = &f->pools[0];
    for (size_t i = 1; i < f->pool_count; i++)
        if (f->pools[i].busy > most->busy)
            most = &f->pools[i];
    return most;
}

void weir_explain_print(const struct weir_explain_facts *f, const struct weir_finding *found, size_t n, struct weir_strbuf *out)
{
    struct weir_json_out j = {.out = out};
    const struct weir_explain_pool *most = busiest(f);
    weir_json_open(&j, NULL, '{');
    weir_json_real(&j, "span_s", f->span_s);
    weir_json_open(&j, "findings", '[');
    for (size_t i = 0; i < n; i++)
        print_finding(&j, f, &found[i]);
    weir_json_close(&j, ']');
    weir_json_open(&j, "busiest_pool", '{');
    weir_json_string(&j, "name", most->name);
    weir_json_real(&j, "busy", most->busy);
    weir_json_real(&j, "threads", most->threads);
    weir_json_close(&j, '}');
    weir_json_close(&j, '}');
    weir_strbuf_addc(out, '\n');
}
