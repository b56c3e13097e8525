#include "config/app_calls.h"

#include "base/mem.h"
#include "config/app.h"
#include "config/app_build.h"

/* A breadth-first walk over pairs of a stage and whether a wait for room led there. */
struct walk {
    const struct weir_app *app;
    const struct weir_app_call *calls;
    size_t count;
    struct way {
        size_t from; /* the place before */
        bool seen, call;
    } * ways; /* by place: stage * 2 + waited */
    size_t *todo;
    size_t todo_count;
};

static void reach(struct walk *w, size_t from, size_t stage, bool waited, bool call)
{
    size_t place = stage * 2 + waited;
    if (stage == WEIR_APP_NO_TARGET || w->ways[place].seen)
        return;
    w->ways[place] = (struct way){.from = from, .seen = true, .call = call};
    w->todo[w->todo_count++] = place;
}

/* Where a call along the port may come to: its stage, and those that a full queue routes to. Routes do not go
 * round. */
static void reach_called(struct walk *w, size_t from, const struct weir_app_port *port, bool waited)
{
    for (size_t k = 0; k < port->edge_count; k++) {
        const struct weir_app_edge *e = &port->edges[k];
        size_t target = e->target;
        const struct weir_app_overflow *o = e->overrides ? &e->overflow : &w->app->stages[target].overflow;
        reach(w, from, target, waited, true);
        while (o->policy == WEIR_OVERFLOW_ROUTE) {
            target = o->target;
            o = &w->app->stages[target].overflow;
            reach(w, from, target, waited, true);
        }
    }
}

/* Whom the stage may wait for. */
static void go_on(struct walk *w, size_t place)
{
    size_t stage = place / 2;
    bool waited = place % 2 != 0;
    const struct weir_app_stage *st = &w->app->stages[stage];
    for (size_t p = 0; p < st->port_count; p++) {
        for (size_t k = 0; k < st->ports[p].edge_count; k++) {
            const struct weir_app_edge *e = &st->ports[p].edges[k];
            reach(w, place,
                  weir_app_waits_for(w->app, e->target,
                                     e->overrides ? &e->overflow : &w->app->stages[e->target].overflow),
                  true, false);
        }
    }
    for (size_t i = 0; i < w->count; i++)
        if (w->calls[i].stage == stage)
            reach_called(w, place, &st->ports[w->calls[i].port], waited);
}

/* "a calls b, b waits for room in a", from the caller to `place`; `depth` bounds the text. */
static void describe(const struct walk *w, size_t place, size_t caller, unsigned depth,
                     struct weir_strbuf *out)
{
    const struct way *way = &w->ways[place];
    size_t from = way->from == SIZE_MAX ? caller : way->from / 2;
    if (way->from != SIZE_MAX && depth > 0)
        describe(w, way->from, caller, depth - 1, out);
    else if (way->from != SIZE_MAX)
        weir_strbuf_adds(out, "…");
    weir_strbuf_addf(out, "%s%s %s %s", way->from == SIZE_MAX ? "" : ", ", w->app->stages[from].name,
                     way->call ? "calls" : "waits for room in", w->app->stages[place / 2].name);
}

static void tell(const struct walk *w, const struct weir_app_call *call, struct weir_strbuf *out)
{
    const struct weir_app_stage *st = &w->app->stages[call->stage];
    struct weir_app_mark at = st->ports[call->port].edges[0].at;
    if (at.line <= 0) /* a default, or of --set */
        at = st->at;
    weir_strbuf_addf(out, "%s:%d:%d: warning: stages could wait for each other until their time is over: ",
                     w->app->file, at.line, at.column);
    describe(w, call->stage * 2 + 1, call->stage, 20, out);
    weir_strbuf_adds(out,
                     " (answer before emitting, or give that edge or queue another overflow than wait)\n");
}

/* Whether what is called may come to wait for the caller. */
static bool comes_back(struct walk *w, const struct weir_app_call *call)
{
    for (size_t i = 0; i < w->app->stage_count * 2; i++)
        w->ways[i].seen = false;
    w->todo_count = 0;
    reach_called(w, SIZE_MAX, &w->app->stages[call->stage].ports[call->port], false);
    for (size_t i = 0; i < w->todo_count; i++)
        go_on(w, w->todo[i]);
    return w->ways[call->stage * 2 + 1].seen;
}

int weir_app_check_calls(const struct weir_app *app, const struct weir_app_call *calls, size_t count,
                         struct weir_strbuf *out, size_t *ret_count, struct weir_err *reterr)
{
    struct walk w = {.app = app, .calls = calls, .count = count};
    size_t found = 0;
    w.ways = weir_calloc(app->stage_count * 2, sizeof *w.ways);
    w.todo = weir_calloc(app->stage_count * 2, sizeof *w.todo);
    bool memory = w.ways != NULL && w.todo != NULL;
    for (size_t i = 0; memory && i < count; i++) {
        if (!comes_back(&w, &calls[i]))
            continue;
        found++;
        tell(&w, &calls[i], out);
    }
    weir_free(w.ways);
    weir_free(w.todo);
    if (!memory || out->failed)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    *ret_count = found;
    return WEIR_OK;
}
