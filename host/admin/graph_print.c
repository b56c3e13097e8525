/* The document of GET /v1/graph, and of `weir graph APP`, which has no live figures:
 * {"app", "state", "pools": [{name, blocking, min, max}], "stages": [{name, kind, what, pool, …}], "edges":
 * [{from, port, to, …}]} */
#include "admin/json_out.h"
#include "admin/view.h"
#include "config/app.h"
#include "core/graph.h"

static const char *const overflow_names[] = {
    [WEIR_OVERFLOW_REJECT] = "reject",
    [WEIR_OVERFLOW_WAIT] = "wait",
    [WEIR_OVERFLOW_DROP_NEWEST] = "drop_newest",
    [WEIR_OVERFLOW_DROP_OLDEST] = "drop_oldest",
    [WEIR_OVERFLOW_ROUTE] = "route",
};

static const char *const order_names[] = {
    [WEIR_ORDER_FIFO] = "fifo",
    [WEIR_ORDER_LIFO] = "lifo",
    [WEIR_ORDER_ADAPTIVE] = "adaptive",
    [WEIR_ORDER_CLASS] = "class",
};

static void print_overflow(struct weir_json_out *j, const struct weir_app_overflow *o)
{
    weir_json_string(j, "overflow", overflow_names[o->policy]);
    if (o->policy == WEIR_OVERFLOW_ROUTE)
        weir_json_string(j, "route", o->stage);
}

static void print_live(struct weir_json_out *j, struct weir_stage *s)
{
    struct weir_stage_sample sample;
    weir_stage_read(s, &sample);
    weir_json_open(j, "live", '{');
    weir_json_uint(j, "depth", weir_queue_depth(&s->queue));
    weir_json_real(j, "rate", sample.rate);
    weir_json_int(j, "handled", sample.ledger.handled);
    weir_json_int(j, "rejected", sample.ledger.rejected);
    weir_json_int(j, "failed", sample.ledger.failed);
    weir_json_int(j, "expired", sample.ledger.expired);
    weir_json_int(j, "dropped", sample.ledger.dropped);
    weir_json_int(j, "running", sample.ledger.running);
    weir_json_close(j, '}');
}

static void print_stage(struct weir_json_out *j, const struct weir_view *v, size_t i)
{
    const struct weir_app_stage *s = &v->app->stages[i];
    weir_json_open(j, NULL, '{');
    weir_json_string(j, "name", s->name);
    weir_json_string(j, "kind", weir_view_kind(s));
    weir_json_string(j, "what", s->what);
    weir_json_string(j, "pool", s->pool);
    if (weir_view_address(v, i) != NULL)
        weir_json_string(j, "address", weir_view_address(v, i));
    if (s->kind != WEIR_APP_SOURCE) {
        weir_json_open(j, "queue", '{');
        weir_json_uint(j, "capacity", s->capacity);
        weir_json_uint(j, "bytes", s->bytes);
        print_overflow(j, &s->overflow);
        weir_json_string(j, "order", order_names[s->order]);
        if (s->order_by != NULL)
            weir_json_string(j, "order_by", s->order_by);
        if (s->fair_by != NULL)
            weir_json_string(j, "fair_by", s->fair_by);
        weir_json_close(j, '}');
        if (v->graph != NULL)
            print_live(j, &v->graph->stages[i]);
    }
    weir_json_close(j, '}');
}

/* One edge of a port. `emitted` counts the port's accepted emits: the same number on all edges of a fan-out.
 */
static void print_edge(struct weir_json_out *j, const struct weir_view *v, size_t stage, size_t port,
                       size_t edge)
{
    const struct weir_app_stage *s = &v->app->stages[stage];
    const struct weir_app_edge *e = &s->ports[port].edges[edge];
    weir_json_open(j, NULL, '{');
    weir_json_string(j, "from", s->name);
    weir_json_string(j, "port", s->ports[port].name);
    weir_json_string(j, "to", e->stage);
    if (e->overrides)
        print_overflow(j, &e->overflow);
    weir_json_bool(j, "fan_out", s->ports[port].edge_count > 1);
    if (v->graph != NULL)
        weir_json_int(j, "emitted", weir_stage_emitted(&v->graph->stages[stage], port));
    weir_json_close(j, '}');
}

static void print_edges(struct weir_json_out *j, const struct weir_view *v)
{
    weir_json_open(j, "edges", '[');
    for (size_t i = 0; i < v->app->stage_count; i++)
        for (size_t p = 0; p < v->app->stages[i].port_count; p++)
            for (size_t e = 0; e < v->app->stages[i].ports[p].edge_count; e++)
                print_edge(j, v, i, p, e);
    weir_json_close(j, ']');
}

void weir_graph_print(const struct weir_view *v, struct weir_strbuf *out)
{
    struct weir_json_out j = {.out = out};
    weir_json_open(&j, NULL, '{');
    weir_json_string(&j, "app", v->app->name);
    if (v->graph != NULL)
        weir_json_string(&j, "state", weir_view_state(v));
    weir_json_open(&j, "pools", '[');
    for (size_t i = 0; i < v->app->pool_count; i++) {
        const struct weir_app_pool *p = &v->app->pools[i];
        weir_json_open(&j, NULL, '{');
        weir_json_string(&j, "name", p->name);
        weir_json_bool(&j, "blocking", p->blocking);
        weir_json_uint(&j, "min", p->min);
        weir_json_uint(&j, "max", p->max);
        weir_json_close(&j, '}');
    }
    weir_json_close(&j, ']');
    weir_json_open(&j, "stages", '[');
    for (size_t i = 0; i < v->app->stage_count; i++)
        print_stage(&j, v, i);
    weir_json_close(&j, ']');
    print_edges(&j, v);
    weir_json_close(&j, '}');
    weir_strbuf_addc(out, '\n');
}
