#include "runtime/build.h"

#include <string.h>

#include "config/app.h"
#include "config/conf.h"
#include "config/types.h"
#include "controller/controller.h"
#include "controller/loop.h"
#include "core/gate.h"
#include "core/shared_tables.h"
#include "loader/registry.h"

static struct weir_overflow_policy convert_overflow(struct weir_graph *g, const struct weir_app_overflow *o)
{
    struct weir_overflow_policy p = {.policy = o->policy};
    if (o->policy == WEIR_OVERFLOW_ROUTE)
        p.route = weir_graph_stage(g, o->stage);
    return p;
}

static enum weir_queue_by convert_by(const char *by)
{
    if (by == NULL || strcmp(by, "none") == 0)
        return WEIR_BY_NONE;
    if (strcmp(by, "key") == 0)
        return WEIR_BY_KEY;
    return strcmp(by, "source") == 0 ? WEIR_BY_SOURCE : WEIR_BY_FIELD;
}

/* Only one of the two is given. */
static struct weir_queue_keys convert_keys(const struct weir_app_stage *from)
{
    const char *by = from->fair_by != NULL ? from->fair_by : from->order_by;
    return (struct weir_queue_keys){.by = convert_by(by), .field = by, .fair = from->fair_by != NULL};
}

static enum weir_stage_kind convert_kind(enum weir_app_kind kind)
{
    return kind == WEIR_APP_SOURCE ? WEIR_STAGE_SOURCE : kind == WEIR_APP_SINK ? WEIR_STAGE_SINK : WEIR_STAGE_HANDLER;
}

static void fill_stage(struct weir_graph *g, struct weir_stage *s, const struct weir_app_stage *from)
{
    s->name = from->name;
    s->kind = convert_kind(from->kind);
    s->pool = &g->pools[from->pool_index];
    s->batch_max = from->batch_max;
    s->concurrency = from->concurrency;
    s->slice_ns = from->slice_ns;
    s->stall_ns = from->stall_ns;
    s->cpu_ns = from->cpu_ns;
    s->wall_ns = from->wall_ns;
    s->deadline_ns = from->deadline_ns;
    s->has_class = from->kind == WEIR_APP_SOURCE && weir_conf_option_class(from->options, "class", &s->class_index);
    s->memory = from->memory;
    s->generation = 1;
    s->queue.capacity = from->capacity;
    s->queue.bytes = from->bytes;
    s->queue.max_age_ns = from->max_age_ns;
    s->queue.order = from->order;
    s->queue.keys = convert_keys(from);
}

static int fill_ports(struct weir_graph *g, struct weir_stage *s, const struct weir_app *app, const struct weir_app_stage *from,
                      struct weir_err *reterr)
{
    s->queue.overflow = convert_overflow(g, &from->overflow);
    for (size_t i = 0; i < from->port_count; i++) {
        const struct weir_app_port *port = &from->ports[i];
        struct weir_port *p = weir_graph_add_port(s, port->name, port->edge_count);
        if (p == NULL)
            return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", s->name);
        for (size_t e = 0; e < port->edge_count; e++) {
            const struct weir_app_edge *edge = &port->edges[e];
            p->edges[e].target = &g->stages[edge->target];
            p->edges[e].overflow = convert_overflow(g, edge->overrides ? &edge->overflow : &app->stages[edge->target].overflow);
        }
    }
    return WEIR_OK;
}

/* It never waits, so a target that lets senders wait refuses this one. `weir check` says so before. */
static void fill_on_error(struct weir_graph *g, struct weir_stage *s, const struct weir_app *app, const struct weir_app_stage *from)
{
    if (from->on_error.stage == NULL)
        return;
    s->on_error.target = &g->stages[from->on_error.target];
    s->on_error.overflow = convert_overflow(g, &app->stages[from->on_error.target].overflow);
}

static int open_stage(struct weir_stage *s, const struct weir_app *app, const struct weir_app_stage *from,
                      const struct weir_registry *registry, struct weir_address *address, struct weir_err *reterr)
{
    switch (from->kind) {
    case WEIR_APP_SOURCE:
        return weir_registry_source(registry, from->what)
            ->open(s, from->options, &s->source, address->text, sizeof address->text, reterr);
    case WEIR_APP_SINK:
        return weir_registry_sink(registry, from->what)->open(s, from->options, &s->handler, reterr);
    case WEIR_APP_HANDLER:
        return registry->handlers.load(app, from, &s->handler, &s->takes_batches, reterr);
    case WEIR_APP_PLUGIN:
        break;
    }
    return weir_err_set(reterr, WEIR_E_CONFIG, "stage '%s': native plugins are not supported by this version", from->name);
}

/* Scripts first, all of them, so that every problem is told; sockets only when there was none. */
static int open_stages(struct weir_graph *g, const struct weir_app *app, const struct weir_registry *registry, struct weir_strbuf *report,
                       struct weir_address *addresses, struct weir_err *reterr)
{
    size_t problems = 0;
    int rc = WEIR_OK;
    for (size_t i = 0; i < g->stage_count; i++) {
        if (app->stages[i].kind == WEIR_APP_SOURCE)
            continue;
        struct weir_err why;
        int failed = open_stage(&g->stages[i], app, &app->stages[i], registry, &addresses[i], &why);
        if (failed == WEIR_OK)
            continue;
        weir_strbuf_addf(report, "%s\n", why.text);
        rc = failed;
        problems++;
    }
    if (problems > 0)
        return weir_err_set(reterr, rc, "%s: %zu stage%s can't be loaded", app->file, problems, problems == 1 ? "" : "s");
    for (size_t i = 0; i < g->stage_count && rc == WEIR_OK; i++)
        if (app->stages[i].kind == WEIR_APP_SOURCE)
            rc = open_stage(&g->stages[i], app, &app->stages[i], registry, &addresses[i], reterr);
    return rc;
}

static int no_controller(const struct weir_app *app, const char *what, const char *name, struct weir_err *reterr)
{
    return weir_err_set(reterr, WEIR_E_CONFIG, "%s: %s has no controller '%s'", app->file, what, name);
}

static int find_controller(const struct weir_app *app, const struct weir_registry *registry, const struct weir_app_controller *from,
                           enum weir_knob knob, const char *what, const struct weir_controller_type **ret, struct weir_err *reterr)
{
    if (from->script != NULL && registry->controllers.load != NULL)
        return registry->controllers.load(app, from, knob, ret, reterr);
    *ret = from->script == NULL ? weir_controller_find(knob, from->name) : NULL;
    return *ret != NULL ? WEIR_OK : no_controller(app, what, from->name, reterr);
}

static int add_controller(struct weir_loop *loop, const struct weir_app *app, const struct weir_registry *registry,
                          const struct weir_app_controller *from, enum weir_knob knob, struct weir_pool *pool, struct weir_stage *stage,
                          const struct weir_app_stage *st, struct weir_err *reterr)
{
    double settings[WEIR_SETTINGS_MAX] = {0};
    const struct weir_controller_type *type;
    int rc = find_controller(app, registry, from, knob, stage != NULL ? stage->name : pool->name, &type, reterr);
    if (rc < 0)
        return rc;
    weir_controller_settings(type, from->options, settings);
    switch (knob) {
    case WEIR_KNOB_THREADS:
        return weir_loop_add_threads(loop, pool, type, settings, reterr);
    case WEIR_KNOB_BATCH:
        return weir_loop_add_batch(loop, stage, st->batch_min, st->batch_max, type, settings, reterr);
    case WEIR_KNOB_ADMISSION:
        break;
    }
    return weir_loop_add_admission(loop, stage, type, settings, reterr);
}

int weir_build_controllers(const struct weir_app *app, const struct weir_registry *registry, struct weir_graph *g, struct weir_loop *loop,
                           struct weir_err *reterr)
{
    int rc = WEIR_OK;
    for (size_t i = 0; i < app->pool_count && rc == WEIR_OK; i++)
        if (app->pools[i].controller.name != NULL)
            rc = add_controller(loop, app, registry, &app->pools[i].controller, WEIR_KNOB_THREADS, &g->pools[i], NULL, NULL, reterr);
    for (size_t i = 0; i < app->stage_count && rc == WEIR_OK; i++) {
        const struct weir_app_stage *st = &app->stages[i];
        struct weir_stage *s = &g->stages[i];
        if (st->kind == WEIR_APP_SOURCE)
            continue;
        if (st->batch.name != NULL)
            rc = add_controller(loop, app, registry, &st->batch, WEIR_KNOB_BATCH, s->pool, s, st, reterr);
        for (size_t a = 0; a < st->admission_count && rc == WEIR_OK; a++)
            rc = add_controller(loop, app, registry, &st->admission[a], WEIR_KNOB_ADMISSION, s->pool, s, st, reterr);
    }
    return rc;
}

static void fill_pool(struct weir_pool *p, const struct weir_app_pool *from)
{
    p->name = from->name;
    p->blocking = from->blocking;
    p->min = from->min;
    p->max = from->max;
}

static int declare_shared(struct weir_graph *g, const struct weir_app *app, struct weir_err *reterr)
{
    const struct weir_app_shared *any = &app->shared_any;
    weir_shared_tables_undeclared(g->shared, any->name != NULL, any->bytes, any->ttl_ns);
    int rc = WEIR_OK;
    for (size_t i = 0; i < app->shared_count && rc == WEIR_OK; i++)
        rc = weir_shared_tables_declare(g->shared, app->shared[i].name, app->shared[i].bytes, app->shared[i].ttl_ns, reterr);
    return rc;
}

int weir_build_graph(const struct weir_app *app, const struct weir_registry *registry, struct weir_strbuf *report,
                     struct weir_address *addresses, struct weir_graph **ret, struct weir_err *reterr)
{
    struct weir_graph *g;
    int rc = weir_graph_create(app->stage_count, app->pool_count, &g, reterr);
    if (rc < 0)
        return rc;
    g->class_count = app->class_count;
    g->default_class = (uint8_t)app->default_class;
    g->class_names = app->classes;
    g->scripts = &registry->scripts;
    g->folder = app->folder;
    for (size_t i = 0; i < app->pool_count; i++)
        fill_pool(&g->pools[i], &app->pools[i]);
    for (size_t i = 0; i < app->stage_count; i++)
        fill_stage(g, &g->stages[i], &app->stages[i]);
    for (size_t i = 0; i < app->stage_count; i++)
        fill_on_error(g, &g->stages[i], app, &app->stages[i]);
    for (size_t i = 0; i < app->stage_count && rc == WEIR_OK; i++)
        rc = fill_ports(g, &g->stages[i], app, &app->stages[i], reterr);
    if (rc == WEIR_OK)
        rc = declare_shared(g, app, reterr);
    for (size_t i = 0; i < app->stage_count && rc == WEIR_OK; i++)
        if (app->stages[i].admission_count > 0)
            rc = weir_gate_create(g->class_count, &g->stages[i].gate, reterr);
    if (rc == WEIR_OK)
        rc = weir_graph_finish(g, reterr);
    if (rc == WEIR_OK)
        rc = open_stages(g, app, registry, report, addresses, reterr);
    if (rc < 0) {
        weir_graph_destroy(g);
        return rc;
    }
    *ret = g;
    return WEIR_OK;
}
