#include "controller/loop.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "controller/loop_inner.h"
#include "core/graph.h"
#include "core/stage.h"
#include "core/watch.h"

int weir_loop_create(struct weir_graph *graph, struct weir_journal *journal, struct weir_watch *watch, struct weir_loop **ret,
                     struct weir_err *reterr)
{
    struct weir_loop *l = weir_calloc(1, sizeof *l);
    if (l == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "controllers: out of memory");
    *l = (struct weir_loop){.graph = graph, .journal = journal, .watch = watch};
    l->readings = weir_calloc(graph->stage_count + 1, sizeof *l->readings);
    l->loads = weir_calloc(graph->pool_count + 1, sizeof *l->loads);
    l->busy = weir_calloc(graph->pool_count + 1, sizeof *l->busy);
    if (l->readings == NULL || l->loads == NULL || l->busy == NULL) {
        weir_loop_destroy(l);
        return weir_err_set(reterr, WEIR_E_NOMEM, "controllers: out of memory");
    }
    *ret = l;
    return WEIR_OK;
}

void weir_loop_destroy(struct weir_loop *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->unit_count; i++) {
        weir_unit_fini(l->units[i]);
        weir_free(l->units[i]);
    }
    weir_free(l->units);
    weir_free(l->readings);
    weir_free(l->loads);
    weir_free(l->busy);
    weir_free(l);
}

static int add(struct weir_loop *l, struct weir_pool *pool, struct weir_stage *stage, const struct weir_controller_type *type,
               const double *settings, struct weir_unit **ret, struct weir_err *reterr)
{
    struct weir_unit **units = weir_realloc(l->units, (l->unit_count + 1) * sizeof *units);
    if (units != NULL)
        l->units = units;
    struct weir_unit *u = units != NULL ? weir_calloc(1, sizeof *u) : NULL;
    if (u == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "controllers: out of memory");
    int rc = weir_unit_init(u, type, l->graph, pool, stage, reterr);
    if (rc < 0) {
        weir_free(u);
        return rc;
    }
    memcpy(u->settings, settings, type->option_count * sizeof *settings);
    l->units[l->unit_count++] = u;
    *ret = u;
    return WEIR_OK;
}

int weir_loop_add_threads(struct weir_loop *l, struct weir_pool *pool, const struct weir_controller_type *type, const double *settings,
                          struct weir_err *reterr)
{
    struct weir_unit *u;
    return add(l, pool, NULL, type, settings, &u, reterr);
}

int weir_loop_add_batch(struct weir_loop *l, struct weir_stage *stage, unsigned min, unsigned max, const struct weir_controller_type *type,
                        const double *settings, struct weir_err *reterr)
{
    struct weir_unit *u;
    int rc = add(l, stage->pool, stage, type, settings, &u, reterr);
    if (rc < 0)
        return rc;
    u->batch_min = min;
    u->batch_max = max;
    return WEIR_OK;
}

bool weir_loop_is_empty(const struct weir_loop *l)
{
    return l->unit_count == 0;
}

static void read_stages(struct weir_loop *l)
{
    for (size_t i = 0; i < l->graph->stage_count; i++) {
        struct weir_stage *s = &l->graph->stages[i];
        struct weir_reading *r = &l->readings[i];
        struct weir_stage_sample sample;
        if (s->kind == WEIR_STAGE_SOURCE)
            continue;
        weir_stage_read(s, &sample);
        r->ledger = sample.ledger;
        r->depth = (double)weir_queue_depth(&s->queue);
        r->capacity = (double)sample.capacity;
    }
}

void weir_loop_knob_path(const struct weir_unit *u, char *path, size_t size)
{
    static const char *const knobs[] = {"threads", "batch", "admission"};
    if (u->stage == NULL)
        snprintf(path, size, "pools.%s.%s", u->pool->name, knobs[u->type->knob]);
    else
        snprintf(path, size, "stages.%s.%s", u->stage->name, knobs[u->type->knob]);
}

static struct weir_journal_entry *tell(struct weir_loop *l, const struct weir_unit *u, enum weir_journal_kind kind, const char *rule)
{
    struct weir_journal_entry *e = weir_journal_add(l->journal, kind);
    weir_loop_knob_path(u, e->subject, sizeof e->subject);
    e->controller = u->type->name;
    e->rule = rule;
    e->inputs = u->sample;
    e->has_inputs = true;
    return e;
}

static void tell_change(struct weir_loop *l, const struct weir_unit *u, const char *rule, double from, double to)
{
    struct weir_journal_entry *e = tell(l, u, WEIR_JOURNAL_DECISION, rule);
    e->from = from;
    e->to = to;
}

/* --- applying --- */

int weir_loop_apply_threads(struct weir_loop *l, struct weir_pool *pool, unsigned size, struct weir_err *reterr)
{
    if (l->watch != NULL)
        weir_watch_rouse(l->watch); /* it makes the new workers' VMs */
    int rc = weir_pool_resize(pool, size, reterr);
    if (l->watch != NULL)
        weir_watch_rest(l->watch);
    return rc;
}

/* A worker that is still leaving keeps its slot: the next step asks again. What else can't be done is told, once. */
static void apply_threads(struct weir_loop *l, struct weir_unit *u, const char *rule)
{
    unsigned from = u->pool->target, to = (unsigned)u->at.threads;
    struct weir_err err;
    if (from == to)
        return;
    int rc = weir_loop_apply_threads(l, u->pool, to, &err);
    if (u->pool->target != from)
        tell_change(l, u, rule, from, u->pool->target);
    if (rc < 0 && rc != WEIR_E_EXISTS && !u->refused) {
        struct weir_journal_entry *e = tell(l, u, WEIR_JOURNAL_PROBLEM, rule);
        e->from = from;
        e->to = to;
        snprintf(e->text, sizeof e->text, "%.*s", (int)sizeof e->text - 1, err.text);
    }
    u->refused = rc < 0 && rc != WEIR_E_EXISTS;
}

static void apply_batch(struct weir_loop *l, struct weir_unit *u, const char *rule)
{
    unsigned from = atomic_load_explicit(&u->stage->batch, memory_order_relaxed), to = (unsigned)u->at.batch;
    if (from == to)
        return;
    atomic_store_explicit(&u->stage->batch, to, memory_order_relaxed);
    tell_change(l, u, rule, from, to);
}

/* --- a tick --- */

static void apply(struct weir_loop *l, struct weir_unit *u, const char *rule)
{
    switch (u->type->knob) {
    case WEIR_KNOB_THREADS:
        u->at.threads = weir_clamp(round(u->at.threads), u->pool->min, u->pool->max);
        apply_threads(l, u, rule);
        break;
    case WEIR_KNOB_BATCH:
        u->at.batch = weir_clamp(round(u->at.batch), u->batch_min, u->batch_max);
        apply_batch(l, u, rule);
        break;
    case WEIR_KNOB_ADMISSION:
        break;
    }
}

static void step(struct weir_loop *l, struct weir_unit *u, uint64_t now_ns)
{
    if (u->stage != NULL)
        u->at.batch = u->sample.batch; /* where it stands, whoever put it there */
    else
        u->at.threads = u->pool->target;
    const char *rule = u->type->step(u->settings, u->state, &u->sample, &u->at);
    if (rule != NULL) {
        u->decisions++;
        apply(l, u, rule);
    }
    weir_unit_rebase(u, l->readings, now_ns);
}

void weir_loop_begin(struct weir_loop *l, uint64_t now_ns)
{
    read_stages(l);
    for (size_t i = 0; i < l->graph->pool_count; i++)
        weir_pool_busy(&l->graph->pools[i], &l->loads[i], now_ns);
    for (size_t i = 0; i < l->unit_count; i++)
        weir_unit_reset(l->units[i], l->readings, now_ns);
}

void weir_loop_tick(struct weir_loop *l, uint64_t now_ns)
{
    if (l->unit_count == 0)
        return;
    read_stages(l);
    for (size_t i = 0; i < l->graph->pool_count; i++)
        l->busy[i] = weir_pool_busy(&l->graph->pools[i], &l->loads[i], now_ns);
    for (size_t i = 0; i < l->unit_count; i++) {
        struct weir_unit *u = l->units[i];
        if (u->off || u->frozen)
            continue;
        weir_unit_sample(u, l->readings, l->busy[u->pool->index], now_ns);
        if (u->type->ready(u->settings, &u->sample))
            step(l, u, now_ns);
    }
}

bool weir_loop_look(const struct weir_loop *l, size_t i, struct weir_loop_view *ret)
{
    if (i >= l->unit_count)
        return false;
    const struct weir_unit *u = l->units[i];
    *ret = (struct weir_loop_view){.type = u->type, .settings = u->settings, .pool = u->pool, .stage = u->stage, .at = &u->at,
                                   .frozen = u->frozen, .enabled = !u->off, .decisions = u->decisions};
    return true;
}
