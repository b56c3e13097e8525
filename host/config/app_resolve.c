/* From names to indexes: pools, targets of edges, of routes and of `on_error`. */
#include <string.h>

#include "config/app_build.h"
#include "config/nearest.h"

/* The name nearest to one that is not there, for "(did you mean …?)"; NULL: none, or no longer worth the
 * time. */
static const char *nearest_stage(const struct weir_app_build *b, const char *name)
{
    struct weir_nearest near;
    if (weir_problems_many(b->schema.problems))
        return NULL;
    weir_nearest_init(&near, name);
    for (size_t i = 0; i < b->app->stage_count; i++)
        if (b->app->stages[i].kind != WEIR_APP_SOURCE || b->app->stages[i].what == NULL)
            weir_nearest_offer(&near, b->app->stages[i].name);
    return weir_nearest_best(&near);
}

/* A target by name, which must be there and be no source. `port` NULL: not by emit, and `does` says how. */
static bool find_target(struct weir_app_build *b, const struct weir_app_stage *from, const char *port,
                        const char *does, const char *name, struct weir_app_mark at, size_t *ret)
{
    struct weir_problems *problems = b->schema.problems;
    size_t i = weir_app_find_stage(b->app, name);
    const char *quote = port != NULL ? "'" : "";
    if (i < b->app->stage_count && b->app->stages[i].kind == WEIR_APP_SOURCE &&
        b->app->stages[i].what != NULL) {
        weir_problems_error(problems, at,
                            "stage '%s' %s%s%s%s to '%s', which is a source: a source takes no events",
                            from->name, does, quote, port != NULL ? port : "", quote, name);
    } else if (i < b->app->stage_count) {
        *ret = i;
        return true;
    } else if (weir_conf_get(b->stages, name) == NULL) { /* or its name was refused already */
        const char *near = nearest_stage(b, name);
        weir_problems_error(problems, at, "stage '%s' %s%s%s%s to '%.80s', and there is no such stage%s%s%s",
                            from->name, does, quote, port != NULL ? port : "", quote, name,
                            near != NULL ? " (did you mean '" : "", near != NULL ? near : "",
                            near != NULL ? "'?)" : "");
    }
    b->incomplete = true;
    *ret = WEIR_APP_NO_TARGET;
    return false;
}

static void resolve_overflow(struct weir_app_build *b, const struct weir_app_stage *from, size_t queue,
                             struct weir_app_overflow *o)
{
    if (o->policy != WEIR_OVERFLOW_ROUTE || o->stage == NULL)
        return;
    if (find_target(b, from, NULL, "routes", o->stage, o->at, &o->target) && o->target == queue) {
        weir_problems_error(b->schema.problems, o->at,
                            "what does not fit into the queue of '%s' can't be routed to '%s' itself",
                            o->stage, o->stage);
        o->target = WEIR_APP_NO_TARGET;
        b->incomplete = true;
    }
}

static void resolve_port(struct weir_app_build *b, const struct weir_app_stage *st,
                         struct weir_app_port *port)
{
    for (size_t i = 0; i < port->edge_count; i++) {
        struct weir_app_edge *e = &port->edges[i];
        bool found = find_target(b, st, port->name, "sends ", e->stage, e->at, &e->target);
        if (e->overrides)
            resolve_overflow(b, st, found ? e->target : b->app->stage_count, &e->overflow);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(port->edges[k].stage, e->stage) != 0)
                continue;
            weir_problems_error(b->schema.problems, e->at, "port '%s' of stage '%s' sends to '%s' twice",
                                port->name, st->name, e->stage);
            break;
        }
    }
}

/* Each event of such a source is one request, and whoever gets it answers it. */
static void check_requests(struct weir_app_build *b, const struct weir_app_stage *st)
{
    const struct weir_app_type *type =
        st->what != NULL ? weir_app_types_find(b->types, st->kind, st->what) : NULL;
    if (type == NULL || !type->makes_requests)
        return;
    for (size_t i = 0; i < st->port_count; i++)
        if (st->ports[i].edge_count > 1)
            weir_problems_error(b->schema.problems, st->ports[i].at,
                                "stage '%s' makes requests, and a request can't be sent to several stages "
                                "(send it to one stage, which may copy what it needs)",
                                st->name);
}

/* Handlers behind a source with streams keep the order within each, unless they say `order_by: none` or `fair_by`, or take the newest first. Sinks don't:
 * they gather events before they end them, one at a time of a stream would be slow. */
static void keep_streams(struct weir_app_build *b, const struct weir_app_stage *st)
{
    const struct weir_app_type *type =
        st->what != NULL ? weir_app_types_find(b->types, st->kind, st->what) : NULL;
    if (type == NULL || !type->makes_streams)
        return;
    for (size_t i = 0; i < st->port_count; i++) {
        for (size_t e = 0; e < st->ports[i].edge_count; e++) {
            size_t target = st->ports[i].edges[e].target;
            struct weir_app_stage *behind = target < b->app->stage_count ? &b->app->stages[target] : NULL;
            if (behind != NULL && behind->kind != WEIR_APP_SINK && behind->order_by == NULL && behind->fair_by == NULL &&
                behind->order == WEIR_ORDER_FIFO)
                behind->order_by = "source";
        }
    }
}

static void resolve_pool(struct weir_app_build *b, struct weir_app_stage *st, struct weir_app_mark at)
{
    const struct weir_app *app = b->app;
    st->pool_index = weir_app_find_pool(app, st->pool);
    if (st->pool_index == app->pool_count) {
        st->pool_index = 0; /* that of what is told: the application is refused */
        if (b->pools_unknown)
            return;
        struct weir_nearest near;
        weir_nearest_init(&near, st->pool);
        for (size_t i = 0; i < app->pool_count; i++)
            weir_nearest_offer(&near, app->pools[i].name);
        const char *best = weir_nearest_best(&near);
        weir_problems_error(b->schema.problems, at,
                            "stage '%s' is in the pool '%.80s', and there is no such pool%s%s%s", st->name,
                            st->pool, best != NULL ? " (did you mean '" : "", best != NULL ? best : "",
                            best != NULL ? "'?)" : "");
    } else if (app->pools[st->pool_index].blocking && st->kind == WEIR_APP_SOURCE && st->what != NULL) {
        weir_problems_error(
            b->schema.problems, at,
            "source '%s' can't be in the pool '%s', which is blocking: sources need an event-driven pool",
            st->name, st->pool);
    }
}

void weir_app_resolve(struct weir_app_build *b)
{
    for (size_t i = 0; i < b->app->stage_count; i++) {
        struct weir_app_stage *st = &b->app->stages[i];
        resolve_pool(b, st, st->pool_at);
        for (size_t k = 0; k < st->port_count; k++)
            resolve_port(b, st, &st->ports[k]);
        if (st->kind == WEIR_APP_SOURCE)
            check_requests(b, st);
        if (st->kind == WEIR_APP_SOURCE)
            keep_streams(b, st);
        if (st->kind != WEIR_APP_SOURCE)
            resolve_overflow(b, st, i, &st->overflow);
        if (st->on_error.stage != NULL)
            find_target(b, st, NULL, "gives failed events", st->on_error.stage, st->on_error.at,
                        &st->on_error.target);
    }
}
