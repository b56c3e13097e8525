#include "controller/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/graph.h"
#include "core/pool.h"
#include "core/stage.h"
#include "core/worker.h"

static bool is_served(const struct weir_stage *s, const struct weir_pool *pool)
{
    return s->pool == pool && s->kind != WEIR_STAGE_SOURCE;
}

static int out_of_memory(struct weir_unit *u, struct weir_err *reterr)
{
    u->type = NULL; /* the caller's still */
    weir_unit_fini(u);
    return weir_err_set(reterr, WEIR_E_NOMEM, "controllers: out of memory");
}

void weir_unit_set_percentile(struct weir_unit *u)
{
    u->percentile = 0.9;
    for (size_t i = 0; i < u->type->option_count; i++)
        if (strcmp(u->type->options[i].name, "percentile") == 0 && u->settings[i] > 0)
            u->percentile = u->settings[i] / 100;
}

int weir_unit_init(struct weir_unit *u, const struct weir_controller_type *type, struct weir_graph *g, struct weir_pool *pool,
                   struct weir_stage *stage, struct weir_err *reterr)
{
    size_t count = 1;
    for (size_t i = 0; stage == NULL && i < g->stage_count; i++)
        count += is_served(&g->stages[i], pool);
    *u = (struct weir_unit){.type = type, .pool = pool, .stage = stage};
    u->state = weir_calloc(1, type->state_size + 1);
    u->bases = weir_calloc(count, sizeof *u->bases);
    u->stages = weir_calloc(count, sizeof(struct weir_stage *));
    if (u->state == NULL || u->bases == NULL || u->stages == NULL)
        return out_of_memory(u, reterr);
    if (stage != NULL)
        u->stages[u->stage_count++] = stage;
    for (size_t i = 0; stage == NULL && i < g->stage_count; i++)
        if (is_served(&g->stages[i], pool))
            u->stages[u->stage_count++] = &g->stages[i];
    if (stage != NULL && stage->gate != NULL) {
        u->bases[0].gate = weir_calloc(1, sizeof *u->bases[0].gate);
        if (u->bases[0].gate == NULL)
            return out_of_memory(u, reterr);
    }
    weir_setpoint_init(&u->at);
    return WEIR_OK;
}

static void close_state(struct weir_unit *u)
{
    if (u->opened && u->type->close != NULL)
        u->type->close(u->state);
    u->opened = false;
}

void weir_unit_fini(struct weir_unit *u)
{
    close_state(u);
    if (u->bases != NULL)
        weir_free(u->bases[0].gate);
    weir_free(u->state);
    weir_free(u->bases);
    weir_free(u->stages);
    if (u->type != NULL && u->type->release != NULL)
        u->type->release(u->type);
    *u = (struct weir_unit){.type = NULL};
}

int weir_unit_reset(struct weir_unit *u, const struct weir_reading *readings, uint64_t now_ns, struct weir_err *reterr)
{
    close_state(u);
    memset(u->state, 0, u->type->state_size);
    weir_unit_set_percentile(u);
    weir_unit_rebase(u, readings, now_ns);
    int rc = u->type->open != NULL ? u->type->open(u->type, u->state, reterr) : WEIR_OK;
    u->opened = rc == WEIR_OK;
    return rc;
}

void weir_unit_rebase(struct weir_unit *u, const struct weir_reading *readings, uint64_t now_ns)
{
    for (size_t i = 0; i < u->stage_count; i++) {
        const struct weir_reading *r = &readings[u->stages[i]->index];
        u->bases[i].ledger = r->ledger;
        if (u->bases[i].gate != NULL)
            *u->bases[i].gate = *r->gate;
    }
    u->wait_min_ns = UINT64_MAX;
    u->stepped_ns = now_ns;
}

/* What `now` counts beyond `before`. */
static void subtract(struct weir_hist_sum *to, const struct weir_hist_sum *now, const struct weir_hist_sum *before)
{
    for (size_t i = 0; i < WEIR_HIST_BUCKETS; i++)
        to->buckets[i] += now->buckets[i] - before->buckets[i];
    to->count += now->count - before->count;
    to->sum += now->sum - before->sum;
    to->max = now->max; /* of all time: good enough to bound a quantile */
}

struct times {
    struct weir_hist_sum wait, service;
};

static void add_stage(struct weir_sample *s, struct times *t, const struct weir_reading *now, const struct weir_ledger_sum *before)
{
    const struct weir_ledger_sum *l = &now->ledger;
    if (now->depth > s->depth || s->capacity == 0) {
        s->depth = now->depth;
        s->capacity = now->capacity;
    }
    s->running += (double)l->running;
    s->offered += (double)(l->offered - before->offered);
    s->accepted += (double)(l->accepted - before->accepted);
    s->handled += (double)(l->handled - before->handled);
    s->failed += (double)(l->failed - before->failed);
    s->expired += (double)(l->expired - before->expired);
    s->dropped += (double)(l->dropped - before->dropped);
    s->taken += (double)(l->wait_ns.count - before->wait_ns.count);
    subtract(&t->wait, &l->wait_ns, &before->wait_ns);
    subtract(&t->service, &l->service_ns, &before->service_ns);
}

static int longest_first(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* A worker that is parked while its calls wait for something is not idle: it is theirs. */
static bool has_calls(const struct weir_unit *u, const struct weir_worker *w)
{
    for (size_t i = 0; i < u->stage_count; i++)
        if (atomic_load_explicit(&w->seats[u->stages[i]->index]->ledger.running, memory_order_relaxed) > 0)
            return true;
    return false;
}

static void sample_pool(struct weir_sample *s, const struct weir_unit *u, uint64_t now_ns)
{
    const struct weir_pool *p = u->pool;
    s->threads = p->target;
    s->threads_min = p->min;
    s->threads_max = p->max;
    for (unsigned i = 0; i < p->target && s->idle_count < WEIR_SAMPLE_WORKERS; i++) {
        const struct weir_worker *w = p->workers[i];
        uint64_t since = w == NULL ? 0 : atomic_load_explicit(&w->parked_ns, memory_order_relaxed);
        if (since != 0 && !has_calls(u, w))
            s->idle_s[s->idle_count++] = now_ns > since ? (double)(now_ns - since) / 1e9 : 0;
    }
    qsort(s->idle_s, s->idle_count, sizeof *s->idle_s, longest_first);
}

/* Of those in `h`, which has some. */
static double shortest_s(const struct weir_hist_sum *h)
{
    size_t i = 0;
    while (i < WEIR_HIST_BUCKETS - 1 && h->buckets[i] == 0)
        i++;
    return (double)weir_hist_upper(i) / 1e9;
}

static double quantile_s(const struct weir_hist_sum *now, const struct weir_hist_sum *before, double q)
{
    struct weir_hist_sum fresh = {.count = 0};
    subtract(&fresh, now, before);
    return fresh.count > 0 ? (double)weir_hist_quantile(&fresh, q) / 1e9 : 0;
}

/* What the gate counted for each class. */
static void sample_classes(struct weir_unit *u, const struct weir_gate_sum *now)
{
    const struct weir_gate_sum *before = u->bases[0].gate;
    u->sample.class_count = now->class_count;
    for (size_t i = 0; i < now->class_count; i++) {
        const struct weir_gate_class_sum *n = &now->classes[i], *b = &before->classes[i];
        u->sample.classes[i] = (struct weir_sample_class){.offered = (double)(n->offered - b->offered),
                                                          .refused = (double)(n->refused - b->refused),
                                                          .ended = (double)(n->ended - b->ended),
                                                          .response_s = quantile_s(&n->response_ns, &b->response_ns, u->percentile),
                                                          .wait_s = quantile_s(&n->wait_ns, &b->wait_ns, u->percentile)};
    }
}

/* The gate has it exactly, what `waits` has is the end of a bucket. */
static double shortest_wait_s(const struct weir_unit *u, const struct weir_hist_sum *waits)
{
    if (u->wait_min_ns != UINT64_MAX)
        return (double)u->wait_min_ns / 1e9;
    if (waits->count > 0)
        return shortest_s(waits);
    return u->sample.depth > 0 ? u->sample.elapsed_s : 0;
}

void weir_unit_sample(struct weir_unit *u, const struct weir_reading *readings, double busy, uint64_t now_ns)
{
    struct weir_sample *s = &u->sample;
    struct times times = {.wait = {.count = 0}};
    *s = (struct weir_sample){.now_s = (double)now_ns / 1e9, .elapsed_s = (double)(now_ns - u->stepped_ns) / 1e9,
                              .busy = busy};
    for (size_t i = 0; i < u->stage_count; i++) {
        const struct weir_reading *r = &readings[u->stages[i]->index];
        add_stage(s, &times, r, &u->bases[i].ledger);
        if (r->wait_min_ns < u->wait_min_ns)
            u->wait_min_ns = r->wait_min_ns;
    }
    s->wait_s = (double)weir_hist_quantile(&times.wait, u->percentile) / 1e9;
    s->service_s = times.service.count > 0 ? (double)times.service.sum / (double)times.service.count / 1e9 : 0;
    s->wait_min_s = shortest_wait_s(u, &times.wait);
    s->can_grow = u->can_grow;
    sample_pool(s, u, now_ns);
    if (u->bases[0].gate != NULL)
        sample_classes(u, readings[u->stage->index].gate);
    if (u->stage != NULL) {
        s->batch = atomic_load_explicit(&u->stage->batch, memory_order_relaxed);
        s->batch_min = u->batch_min;
        s->batch_max = u->batch_max;
        s->takes_batches = u->stage->takes_batches;
    }
}
