/* A stage's `to:` in all its shapes, each becoming ports of edges:
 *   to: page                               one port 'out' with one edge
 *   to: [page, audit]                      one port 'out', fan-out
 *   to: {stage: page, overflow: wait}      one port 'out' whose edge has an overflow of its own
 *   to: {ok: page, bad: {stage: …}, copy: [audit, stats]}   named ports, each with any of the above
 * A map with both `stage` and `overflow` is an edge; any other map is one of ports. Names are resolved later.
 */
#include <stdio.h>
#include <string.h>

#include "config/app_build.h"

static bool is_edge_map(const struct weir_conf *c)
{
    return weir_conf_kind(c) == WEIR_CONF_MAP && weir_conf_size(c) == 2 &&
           weir_conf_get(c, "stage") != NULL && weir_conf_get(c, "overflow") != NULL;
}

/* A stage's name, or {stage: , overflow: }. */
static bool read_edge(struct weir_app_build *b, const struct weir_conf *c, const char *port,
                      struct weir_app_edge *edge)
{
    static const char *const keys[] = {"stage", "overflow", NULL};
    edge->at = weir_conf_mark(c);
    if (weir_conf_kind(c) != WEIR_CONF_MAP) {
        if (weir_conf_text(c) != NULL)
            return weir_schema_reference(&b->schema, c, port, &edge->stage);
        weir_schema_expected(&b->schema, c, port, "a stage");
        return false;
    }
    weir_schema_map(&b->schema, c, port, keys);
    const struct weir_conf *stage = weir_conf_get(c, "stage"), *overflow = weir_conf_get(c, "overflow");
    if (stage == NULL) {
        weir_problems_error(b->schema.problems, c->at,
                            "'%s': expected a stage, or {stage: NAME, overflow: POLICY}", port);
        return false;
    }
    edge->at = stage->at;
    bool ok = weir_schema_reference(&b->schema, stage, "stage", &edge->stage);
    if (overflow != NULL) {
        edge->overrides = weir_app_read_overflow(b, overflow, &edge->overflow);
        ok = ok && edge->overrides;
    }
    return ok;
}

static void read_port(struct weir_app_build *b, const struct weir_conf *c, const char *name,
                      struct weir_app_mark at, struct weir_app_stage *st)
{
    struct weir_app_port *port = &st->ports[st->port_count];
    bool list = weir_conf_kind(c) == WEIR_CONF_LIST;
    size_t count = list ? weir_conf_size(c) : 1;
    if (count == 0) {
        weir_problems_error(b->schema.problems, c->at, "port '%s' of stage '%s' has an empty list", name,
                            st->name);
        return;
    }
    if (count > WEIR_APP_MAX_STAGES) {
        weir_problems_error(b->schema.problems, c->at, "port '%s' of stage '%s' sends to more than %d stages",
                            name, st->name, WEIR_APP_MAX_STAGES);
        b->incomplete = true;
        return;
    }
    port->edges = weir_arena_alloc(b->schema.arena, count, sizeof *port->edges);
    if (port->edges == NULL)
        return;
    port->name = name;
    port->at = at;
    for (size_t i = 0; i < count; i++) {
        const struct weir_conf *one = list ? weir_conf_at(c, i) : c;
        if (read_edge(b, one, name, &port->edges[port->edge_count]))
            port->edge_count++;
        else
            b->incomplete = true;
    }
    st->port_count++;
}

void weir_app_read_to(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st)
{
    if (weir_conf_kind(c) == WEIR_CONF_NIL) {
        weir_schema_expected(&b->schema, c, "to", "a stage, a list of stages or a map of ports");
        b->incomplete = true;
        return;
    }
    bool ports = weir_conf_kind(c) == WEIR_CONF_MAP && !is_edge_map(c);
    size_t count = ports ? weir_conf_size(c) : 1;
    st->ports = weir_arena_alloc(b->schema.arena, count + 1, sizeof *st->ports);
    if (st->ports == NULL)
        return;
    if (!ports)
        read_port(b, c, "out", c->at, st);
    for (size_t i = 0; ports && i < count; i++) {
        const char *name = weir_conf_key(c, i);
        struct weir_app_mark at = weir_conf_key_mark(c, i);
        if (!weir_schema_check_name(&b->schema, at, "port", name))
            continue;
        if (st->kind == WEIR_APP_SOURCE && strcmp(name, "out") != 0)
            weir_problems_error(b->schema.problems, at,
                                "source '%s' has one output, named 'out', and no '%s'", st->name, name);
        read_port(b, weir_conf_at(c, i), name, at, st);
    }
}
