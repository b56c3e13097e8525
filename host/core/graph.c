#include "core/graph.h"

#include <string.h>

#include "base/mem.h"
#include "core/event.h"
#include "core/failures.h"
#include "core/gate.h"
#include "core/metric.h"
#include "core/seat.h"
#include "core/shared_tables.h"
#include "core/tap.h"
#include "core/worker.h"

static int no_memory(struct weir_err *reterr)
{
    return weir_err_set(reterr, WEIR_E_NOMEM, "graph: out of memory");
}

int weir_graph_create(size_t stage_count, size_t pool_count, struct weir_graph **ret, struct weir_err *reterr)
{
    struct weir_graph *g = weir_calloc(1, sizeof *g);
    if (g == NULL)
        return no_memory(reterr);
    g->stages = weir_calloc(stage_count + 1, sizeof *g->stages);
    g->pools = weir_calloc(pool_count + 1, sizeof *g->pools);
    if (g->stages == NULL || g->pools == NULL) {
        weir_free(g->stages);
        weir_free(g->pools);
        weir_free(g);
        return no_memory(reterr);
    }
    g->stage_count = stage_count;
    g->pool_count = pool_count;
    g->class_count = 1;
    for (size_t i = 0; i < stage_count; i++) {
        g->stages[i].index = i;
        g->stages[i].graph = g;
    }
    for (size_t i = 0; i < pool_count; i++) {
        g->pools[i].index = i;
        g->pools[i].graph = g;
    }
    int rc = weir_shared_tables_create(&g->shared, reterr);
    if (rc == WEIR_OK)
        rc = weir_metrics_create(&g->metrics, reterr);
    if (rc < 0) {
        weir_graph_destroy(g);
        return rc;
    }
    *ret = g;
    return WEIR_OK;
}

struct weir_port *weir_graph_add_port(struct weir_stage *s, const char *name, size_t edge_count)
{
    struct weir_port *ports = weir_realloc(s->ports, (s->port_count + 1) * sizeof *ports);
    if (ports == NULL)
        return NULL;
    s->ports = ports;
    struct weir_port *p = &ports[s->port_count];
    *p = (struct weir_port){.name = name, .index = s->port_count, .edge_count = edge_count};
    p->edges = weir_calloc(edge_count, sizeof *p->edges);
    if (p->edges == NULL)
        return NULL;
    s->port_count++;
    return p;
}

/* Depth first from `s`: a stage is numbered after everything that it can reach, so downstream has the smaller rank. */
static void number_from(struct weir_stage *s, size_t *next)
{
    if (s->rank != SIZE_MAX)
        return;
    s->rank = SIZE_MAX - 1; /* being visited: a cycle ends here */
    for (size_t p = 0; p < s->port_count; p++)
        for (size_t e = 0; e < s->ports[p].edge_count; e++)
            number_from(s->ports[p].edges[e].target, next);
    if (s->on_error.target != NULL)
        number_from(s->on_error.target, next);
    s->rank = (*next)++;
}

static void number_stages(struct weir_graph *g)
{
    size_t next = 0;
    for (size_t i = 0; i < g->stage_count; i++)
        g->stages[i].rank = SIZE_MAX;
    for (size_t i = 0; i < g->stage_count; i++)
        number_from(&g->stages[i], &next);
}

static int finish_pool(struct weir_graph *g, struct weir_pool *p, struct weir_err *reterr)
{
    p->first_slot = (unsigned)g->slot_count;
    p->slot_count = p->max + WEIR_POOL_SLOTS_SPARE;
    g->slot_count += p->slot_count;
    p->words = (g->stage_count + 63) / 64;
    p->ready = weir_calloc(p->words, sizeof *p->ready);
    p->paused = weir_calloc(p->words, sizeof *p->paused);
    p->workers = weir_calloc(p->slot_count, sizeof(struct weir_worker *));
    p->event_ids = weir_calloc(p->slot_count, sizeof *p->event_ids);
    if (p->ready == NULL || p->paused == NULL || p->workers == NULL || p->event_ids == NULL)
        return no_memory(reterr);
    if (g->slot_count > WEIR_GRAPH_SLOTS_MAX)
        return weir_err_set(reterr, WEIR_E_LIMIT, "pool '%s': with it there are room for %zu workers, expected at most %d", p->name,
                            g->slot_count, (int)WEIR_GRAPH_SLOTS_MAX);
    weir_mutex_init(&p->mu, WEIR_RANK_POOL, "pool");
    return WEIR_OK;
}

int weir_graph_finish(struct weir_graph *g, struct weir_err *reterr)
{
    number_stages(g);
    for (size_t i = 0; i < g->stage_count; i++) {
        struct weir_queue *q = &g->stages[i].queue;
        atomic_init(&g->stages[i].batch, g->stages[i].batch_max);
        if (q->capacity > WEIR_QUEUE_CAPACITY_MAX || q->bytes > WEIR_QUEUE_BYTES_MAX)
            return weir_err_set(reterr, WEIR_E_LIMIT, "stage '%s': its queue may hold at most %zu events and %zu bytes",
                                g->stages[i].name, (size_t)WEIR_QUEUE_CAPACITY_MAX, (size_t)WEIR_QUEUE_BYTES_MAX);
        int rc = weir_shared_lane_init(&q->shared, q->order, q->keys.by != WEIR_BY_NONE && !q->keys.fair, q->keys.fair ? q->capacity : 0, reterr);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < g->pool_count; i++) {
        int rc = finish_pool(g, &g->pools[i], reterr);
        if (rc < 0)
            return rc;
    }
    g->slots = weir_calloc(g->slot_count, sizeof *g->slots);
    if (g->slots == NULL)
        return no_memory(reterr);
    return weir_failures_create(&g->failures, reterr);
}

const char *weir_graph_class_name(const struct weir_graph *g, size_t class_index)
{
    return g->class_names != NULL && class_index < g->class_count ? g->class_names[class_index] : "normal";
}

int weir_graph_class(const struct weir_graph *g, const char *name, size_t len)
{
    for (size_t i = 0; i < g->class_count; i++) {
        const char *known = weir_graph_class_name(g, i);
        if (strlen(known) == len && memcmp(known, name, len) == 0)
            return (int)i;
    }
    return -1;
}

struct weir_stage *weir_graph_stage(struct weir_graph *g, const char *name)
{
    for (size_t i = 0; i < g->stage_count; i++)
        if (strcmp(g->stages[i].name, name) == 0)
            return &g->stages[i];
    return NULL;
}

static void free_seats(struct weir_seat **seats)
{
    for (size_t i = 0; seats != NULL && seats[i] != NULL; i++) {
        weir_gate_tally_destroy(seats[i]->tally);
        weir_free(seats[i]);
    }
    weir_free(seats);
}

/* Room for what the stage's gate counts, if it has one; times only where a worker of its pool may come to sit. */
static bool make_tally(struct weir_seat *seat, const struct weir_stage *stage, size_t slot)
{
    if (stage->gate == NULL)
        return true;
    const struct weir_pool *p = stage->pool;
    seat->tally = weir_gate_tally_create(stage->gate, slot >= p->first_slot && slot - p->first_slot < p->slot_count);
    return seat->tally != NULL;
}

struct weir_seat **weir_graph_seats(struct weir_graph *g, size_t slot)
{
    struct weir_seat **seats = atomic_load_explicit(&g->slots[slot], memory_order_relaxed);
    if (seats != NULL)
        return seats;
    seats = weir_calloc(g->stage_count + 1, sizeof(struct weir_seat *));
    for (size_t i = 0; seats != NULL && i < g->stage_count; i++) {
        struct weir_stage *stage = &g->stages[i];
        seats[i] = weir_calloc(1, sizeof *seats[i] + stage->port_count * sizeof seats[i]->emitted[0]);
        if (seats[i] == NULL || !make_tally(seats[i], stage, slot)) {
            free_seats(seats);
            return NULL;
        }
        seats[i]->stage = stage;
        seats[i]->share = SIZE_MAX;
        weir_lane_init(&seats[i]->lane, stage->queue.order);
        weir_list_init(&seats[i]->outbound);
        weir_list_init(&seats[i]->outbound_node);
    }
    atomic_store_explicit(&g->slots[slot], seats, memory_order_release);
    return seats;
}

static int64_t ended(const struct weir_seat *s)
{
    return atomic_load_explicit(&s->ledger.handled, memory_order_acquire) + atomic_load_explicit(&s->ledger.failed, memory_order_acquire) +
           atomic_load_explicit(&s->ledger.expired, memory_order_acquire) + atomic_load_explicit(&s->ledger.dropped, memory_order_acquire);
}

static int64_t accepted(const struct weir_seat *s)
{
    return atomic_load_explicit(&s->ledger.accepted, memory_order_acquire);
}

static int64_t waiting(const struct weir_seat *s)
{
    return atomic_load_explicit(&s->ledger.waiting, memory_order_acquire);
}

static int64_t unfinished(const struct weir_seat *s)
{
    return atomic_load_explicit(&s->unfinished, memory_order_acquire);
}

static int64_t sum_seats(struct weir_graph *g, int64_t (*count)(const struct weir_seat *s))
{
    int64_t n = 0;
    for (size_t i = 0; i < g->slot_count; i++) {
        struct weir_seat **seats = atomic_load_explicit(&g->slots[i], memory_order_acquire);
        for (size_t s = 0; seats != NULL && s < g->stage_count; s++)
            n += count(seats[s]);
    }
    return n;
}

/* Both counts only grow and what ended is read first, so at the moment between the two readings no more was under way than this
 * says; 0 is certain. `queued` and `running` move both ways, and a sum of them read while events move can be 0 by chance. */
int64_t weir_graph_in_flight(struct weir_graph *g)
{
    int64_t before = sum_seats(g, ended);
    int64_t wait = sum_seats(g, waiting);
    return sum_seats(g, accepted) - before + (wait > 0 ? wait : 0) + sum_seats(g, unfinished);
}

static void destroy_stage(struct weir_stage *s)
{
    if (s->handler.destroy != NULL)
        s->handler.destroy(s->handler.self);
    if (s->source.destroy != NULL)
        s->source.destroy(s->source.self);
    for (size_t p = 0; p < s->port_count; p++)
        weir_free(s->ports[p].edges);
    weir_free(s->ports);
    weir_gate_destroy(s->gate);
    weir_shared_lane_fini(&s->queue.shared);
    weir_taps_destroy(atomic_load_explicit(&s->taps, memory_order_relaxed));
}

void weir_graph_expect_end(struct weir_graph *g)
{
    atomic_fetch_add_explicit(&g->ends.expected, 1, memory_order_relaxed); /* no worker runs yet */
}

void weir_graph_end(struct weir_graph *g)
{
    if (atomic_fetch_sub_explicit(&g->ends.expected, 1, memory_order_acq_rel) == 1 && g->ends.tell != NULL)
        g->ends.tell(g->ends.arg);
}

void weir_graph_destroy(struct weir_graph *g)
{
    if (g == NULL)
        return;
    for (size_t i = 0; g->slots != NULL && i < g->slot_count; i++)
        free_seats(atomic_load_explicit(&g->slots[i], memory_order_relaxed));
    for (size_t i = 0; i < g->stage_count; i++)
        destroy_stage(&g->stages[i]);
    for (size_t i = 0; i < g->pool_count; i++) {
        weir_free(g->pools[i].ready);
        weir_free(g->pools[i].paused);
        weir_free(g->pools[i].workers);
        weir_free(g->pools[i].event_ids);
    }
    weir_shared_tables_destroy(g->shared);
    weir_metrics_destroy(g->metrics);
    weir_failures_destroy(g->failures);
    weir_free(g->slots);
    weir_free(g->stages);
    weir_free(g->pools);
    weir_free(g);
}
