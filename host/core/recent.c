#include "core/recent.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/graph.h"
#include "core/pause.h"
#include "core/pool.h"
#include "core/stage.h"
#include "core/worker.h"

struct kept {
    struct weir_ledger_sum before;
    int64_t worked_ns, collected_ns; /* before */
    struct weir_recent_figures figures;
    struct weir_recent_length fine[WEIR_RECENT_FINE], coarse[WEIR_RECENT_COARSE];
};

struct cpu_times {
    uint64_t ran_ns, delayed_ns;
};

struct kept_pool {
    struct weir_pool_load load;
    struct cpu_times *cpu; /* by worker, at the last tick */
    struct weir_recent_pool figures;
};

struct weir_recent {
    struct weir_graph *graph;
    struct kept_pool *pools;
    uint64_t ticked_ns;
    size_t ticks;
    struct kept stages[];
};

static bool make_pools(struct weir_recent *r)
{
    r->pools = weir_calloc(r->graph->pool_count + 1, sizeof *r->pools);
    for (size_t i = 0; r->pools != NULL && i < r->graph->pool_count; i++) {
        r->pools[i].cpu = weir_calloc(r->graph->pools[i].slot_count + 1, sizeof(struct cpu_times));
        if (r->pools[i].cpu == NULL)
            return false;
    }
    return r->pools != NULL;
}

int weir_recent_create(struct weir_graph *graph, struct weir_recent **ret, struct weir_err *reterr)
{
    struct weir_recent *r = weir_calloc(1, sizeof *r + graph->stage_count * sizeof r->stages[0]);
    if (r != NULL)
        r->graph = graph;
    if (r == NULL || !make_pools(r)) {
        weir_recent_destroy(r);
        return weir_err_set(reterr, WEIR_E_NOMEM, "statistics: out of memory");
    }
    *ret = r;
    return WEIR_OK;
}

void weir_recent_destroy(struct weir_recent *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; r->pools != NULL && i < r->graph->pool_count; i++)
        weir_free(r->pools[i].cpu);
    weir_free(r->pools);
    weir_free(r);
}

/* The values that came since `before`: its max is the upper end of the last bucket that got one. */
static void subtract(struct weir_hist_sum *now, const struct weir_hist_sum *before)
{
    now->max = 0;
    now->count = 0;
    for (size_t i = 0; i < WEIR_HIST_BUCKETS; i++) {
        now->buckets[i] -= before->buckets[i];
        now->count += now->buckets[i];
        if (now->buckets[i] > 0)
            now->max = weir_hist_upper(i);
    }
}

static void quantiles(const struct weir_hist_sum *now, const struct weir_hist_sum *before, uint64_t *ret_p50, uint64_t *ret_p90,
                      uint64_t *ret_p99)
{
    struct weir_hist_sum fresh = *now;
    subtract(&fresh, before);
    *ret_p50 = weir_hist_quantile(&fresh, 0.50);
    *ret_p90 = weir_hist_quantile(&fresh, 0.90);
    *ret_p99 = weir_hist_quantile(&fresh, 0.99);
}

static void compare(struct weir_recent_figures *f, const struct weir_ledger_sum *now, const struct weir_ledger_sum *before, double span_s)
{
    *f = (struct weir_recent_figures){.span_s = span_s};
    if (span_s <= 0)
        return;
    f->offered = (double)(now->offered - before->offered) / span_s;
    f->rejected = (double)(now->rejected - before->rejected) / span_s;
    f->accepted = (double)(now->accepted - before->accepted) / span_s;
    f->handled = (double)(now->handled - before->handled) / span_s;
    f->failed = (double)(now->failed - before->failed) / span_s;
    f->expired = (double)(now->expired - before->expired) / span_s;
    f->dropped = (double)(now->dropped - before->dropped) / span_s;
    f->gated = (double)(now->reasons[WEIR_REASON_GATE] - before->reasons[WEIR_REASON_GATE] + now->reasons[WEIR_REASON_SHED] -
                        before->reasons[WEIR_REASON_SHED]) / span_s;
    quantiles(&now->wait_ns, &before->wait_ns, &f->wait_p50_ns, &f->wait_p90_ns, &f->wait_p99_ns);
    quantiles(&now->service_ns, &before->service_ns, &f->service_p50_ns, &f->service_p90_ns, &f->service_p99_ns);
}

static void publish(struct weir_stage *s, const struct weir_recent_figures *f)
{
    const uint64_t wait_ns[] = {f->wait_p50_ns, f->wait_p90_ns, f->wait_p99_ns}, service_ns[] = {f->service_p50_ns, f->service_p90_ns, f->service_p99_ns};
    atomic_store_explicit(&s->rate, f->handled, memory_order_relaxed);
    for (size_t i = 0; i < WEIR_STAGE_QUANTILES; i++) {
        atomic_store_explicit(&s->wait_s[i], (double)wait_ns[i] / WEIR_NS_PER_S, memory_order_relaxed);
        atomic_store_explicit(&s->service_s[i], (double)service_ns[i] / WEIR_NS_PER_S, memory_order_relaxed);
    }
}

static void keep_length(struct kept *k, size_t tick, size_t depth)
{
    struct weir_recent_length *c = &k->coarse[tick / WEIR_RECENT_PER_COARSE % WEIR_RECENT_COARSE];
    size_t seen = tick % WEIR_RECENT_PER_COARSE;
    if (seen == 0)
        *c = (struct weir_recent_length){0};
    c->mean += ((float)depth - c->mean) / (float)(seen + 1);
    if (depth > c->max)
        c->max = (uint32_t)depth;
    k->fine[tick % WEIR_RECENT_FINE] = (struct weir_recent_length){(float)depth, (uint32_t)depth};
}

/* What its handlers did with the workers. */
static void note_work(struct kept *k, const struct weir_stage_sample *sample, double span_s)
{
    double worked = (double)(sample->worked_ns - k->worked_ns), collected = (double)(sample->collected_ns - k->collected_ns);
    k->worked_ns = sample->worked_ns;
    k->collected_ns = sample->collected_ns;
    if (span_s <= 0)
        return;
    k->figures.workers = worked / (span_s * (double)WEIR_NS_PER_S);
    k->figures.collected = worked > 0 ? collected / worked : 0;
}

/* Of its thread, from the kernel's books (Documentation/scheduler/sched-stats.rst): zeros where there are none. */
static struct cpu_times read_cpu(const struct weir_worker *w)
{
    struct cpu_times t = {0};
    char path[64], text[96];
    snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", (int)w->tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n > 0) {
        char *at = text;
        text[n] = '\0';
        t.ran_ns = strtoull(at, &at, 10);
        t.delayed_ns = strtoull(at, &at, 10);
    }
    return t;
}

/* What the worker in slot `i` has had since the last tick. */
static struct cpu_times take_cpu(struct kept_pool *k, const struct weir_worker *w, size_t i)
{
    struct cpu_times now = {0}, before = k->cpu[i];
    if (w != NULL && atomic_load_explicit(&w->state, memory_order_acquire) == WEIR_WORKER_RUNNING)
        now = read_cpu(w);
    k->cpu[i] = now;
    if (now.ran_ns < before.ran_ns || now.delayed_ns < before.delayed_ns) /* another worker has the slot, or none */
        return (struct cpu_times){0};
    return (struct cpu_times){now.ran_ns - before.ran_ns, now.delayed_ns - before.delayed_ns};
}

static void tick_pool(struct kept_pool *k, struct weir_pool *p, uint64_t now_ns, double span_s)
{
    struct cpu_times sum = {0};
    unsigned stuck = 0;
    double busy = weir_pool_busy(p, &k->load, now_ns);
    for (unsigned i = 0; p->workers != NULL && i < p->slot_count; i++) {
        struct cpu_times one = take_cpu(k, p->workers[i], i);
        sum.ran_ns += one.ran_ns;
        sum.delayed_ns += one.delayed_ns;
        stuck += p->workers[i] != NULL && weir_worker_stuck(p->workers[i]);
    }
    k->figures = (struct weir_recent_pool){.stuck = stuck};
    if (span_s <= 0)
        return;
    k->figures.busy = busy;
    k->figures.cpu = (double)sum.ran_ns / (span_s * (double)WEIR_NS_PER_S);
    k->figures.delayed = (double)sum.delayed_ns / (span_s * (double)WEIR_NS_PER_S);
}

void weir_recent_tick(struct weir_recent *r, uint64_t now_ns)
{
    double span_s = r->ticked_ns == 0 ? 0 : (double)(now_ns - r->ticked_ns) / (double)WEIR_NS_PER_S;
    for (size_t i = 0; i < r->graph->stage_count; i++) {
        struct weir_stage *s = &r->graph->stages[i];
        struct kept *k = &r->stages[i];
        struct weir_stage_sample sample;
        weir_stage_read(s, &sample);
        compare(&k->figures, &sample.ledger, &k->before, span_s);
        k->before = sample.ledger;
        note_work(k, &sample, span_s);
        publish(s, &k->figures);
        if (span_s > 0)
            keep_length(k, r->ticks, weir_queue_depth(&s->queue));
    }
    for (size_t i = 0; i < r->graph->pool_count; i++)
        tick_pool(&r->pools[i], &r->graph->pools[i], now_ns, span_s);
    if (span_s > 0)
        r->ticks++;
    r->ticked_ns = now_ns;
}

const struct weir_recent_pool *weir_recent_read_pool(const struct weir_recent *r, const struct weir_pool *p)
{
    return &r->pools[p->index].figures;
}

const struct weir_recent_figures *weir_recent_read(const struct weir_recent *r, const struct weir_stage *s)
{
    return &r->stages[s->index].figures;
}

/* The last `room` of `n` steps. */
static size_t copy_ring(const struct weir_recent_length *ring, size_t room, size_t n, struct weir_recent_length *out)
{
    size_t from = n > room ? n - room : 0;
    for (size_t i = from; i < n; i++)
        out[i - from] = ring[i % room];
    return n - from;
}

size_t weir_recent_fine(const struct weir_recent *r, const struct weir_stage *s, struct weir_recent_length *out)
{
    return copy_ring(r->stages[s->index].fine, WEIR_RECENT_FINE, r->ticks, out);
}

size_t weir_recent_coarse(const struct weir_recent *r, const struct weir_stage *s, struct weir_recent_length *out)
{
    size_t begun = (r->ticks + WEIR_RECENT_PER_COARSE - 1) / WEIR_RECENT_PER_COARSE; /* the last one may be young */
    return copy_ring(r->stages[s->index].coarse, WEIR_RECENT_COARSE, begun, out);
}

const struct weir_stage *weir_recent_waits_for(const struct weir_stage *s)
{
    for (size_t p = 0; p < s->port_count; p++) {
        for (size_t e = 0; e < s->ports[p].edge_count; e++) {
            const struct weir_edge *edge = &s->ports[p].edges[e];
            if (edge->overflow.policy == WEIR_OVERFLOW_WAIT && atomic_load(&edge->target->queue.shared.waiting) > 0)
                return edge->target;
        }
    }
    return NULL;
}

const char *weir_recent_blocked_by(struct weir_stage *s, double busy, int64_t running)
{
    static const double all_busy = 0.95;
    unsigned live = atomic_load_explicit(&s->pool->live, memory_order_relaxed);
    if (weir_stage_is_paused(s))
        return "paused";
    const struct weir_stage *other = weir_recent_waits_for(s);
    if (other != NULL)
        return other->name;
    if (s->kind == WEIR_STAGE_SOURCE || weir_queue_depth(&s->queue) == 0)
        return NULL;
    if (running >= (int64_t)s->concurrency * live)
        return "concurrency";
    return busy >= all_busy || (s->pool->blocking && running >= live) ? "pool" : NULL;
}
