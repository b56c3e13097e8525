/* The graph as a whole: what no source reaches, routes that go round, and stages that would wait for each
 * other. */
#include <string.h>

#include "base/strbuf.h"
#include "config/app_build.h"

/* A directed graph over the stages, made for one question: an arrow per edge that matters for it. */
struct arrow {
    size_t from, to;
    struct weir_app_mark at;
};

struct arrows {
    struct weir_arena *arena;
    struct arrow *list; /* ascending by `from` */
    size_t count, cap;
    size_t *first; /* per stage, and one past the last: where its arrows begin */
};

static void add_arrow(struct arrows *g, size_t from, size_t to, struct weir_app_mark at)
{
    if (to == WEIR_APP_NO_TARGET)
        return;
    if (g->count == g->cap) {
        size_t cap = g->cap == 0 ? 64 : g->cap * 2;
        struct arrow *grown = weir_arena_alloc(g->arena, cap, sizeof *grown);
        if (grown == NULL)
            return;
        if (g->count != 0)
            memcpy(grown, g->list, g->count * sizeof *grown);
        g->list = grown;
        g->cap = cap;
    }
    g->list[g->count++] = (struct arrow){from, to, at};
}

/* A route leads on to the next queue and its own policy. Routes do not go round: that was checked first. */
size_t weir_app_waits_for(const struct weir_app *app, size_t target, const struct weir_app_overflow *o)
{
    while (target != WEIR_APP_NO_TARGET && o->policy == WEIR_OVERFLOW_ROUTE) {
        target = o->target;
        if (target != WEIR_APP_NO_TARGET)
            o = &app->stages[target].overflow;
    }
    return o->policy == WEIR_OVERFLOW_WAIT ? target : WEIR_APP_NO_TARGET;
}

static void add_wait(const struct weir_app *app, struct arrows *g, size_t from, size_t target,
                     const struct weir_app_overflow *o, struct weir_app_mark at)
{
    add_arrow(g, from, weir_app_waits_for(app, target, o), at);
}

static void index_arrows(const struct weir_app *app, struct arrows *g)
{
    g->first = weir_arena_alloc(g->arena, app->stage_count + 1, sizeof *g->first);
    if (g->first == NULL)
        return;
    size_t at = 0;
    for (size_t i = 0; i <= app->stage_count; i++) {
        while (at < g->count && g->list[at].from < i)
            at++;
        g->first[i] = at;
    }
}

/* Who waits for whom. */
static void collect_waits(const struct weir_app *app, struct arrows *g)
{
    for (size_t i = 0; i < app->stage_count; i++) {
        const struct weir_app_stage *st = &app->stages[i];
        for (size_t p = 0; p < st->port_count; p++) {
            for (size_t k = 0; k < st->ports[p].edge_count; k++) {
                const struct weir_app_edge *e = &st->ports[p].edges[k];
                if (e->target != WEIR_APP_NO_TARGET)
                    add_wait(app, g, i, e->target,
                             e->overrides ? &e->overflow : &app->stages[e->target].overflow, e->at);
            }
        }
        const struct weir_app_edge *e = &st->on_error;
        if (e->stage != NULL && e->target != WEIR_APP_NO_TARGET)
            add_wait(app, g, i, e->target, &app->stages[e->target].overflow, e->at);
    }
    index_arrows(app, g);
}

/* Where events may come to from each stage. A queue's route is an arrow of that queue's stage: who reaches
 * the stage may be routed on from there. */
static void collect_paths(const struct weir_app *app, struct arrows *g)
{
    for (size_t i = 0; i < app->stage_count; i++) {
        const struct weir_app_stage *st = &app->stages[i];
        for (size_t p = 0; p < st->port_count; p++) {
            for (size_t k = 0; k < st->ports[p].edge_count; k++) {
                const struct weir_app_edge *e = &st->ports[p].edges[k];
                add_arrow(g, i, e->target, e->at);
                if (e->overrides && e->overflow.policy == WEIR_OVERFLOW_ROUTE)
                    add_arrow(g, i, e->overflow.target, e->at);
            }
        }
        if (st->on_error.stage != NULL)
            add_arrow(g, i, st->on_error.target, st->on_error.at);
        if (st->kind != WEIR_APP_SOURCE && st->overflow.policy == WEIR_OVERFLOW_ROUTE)
            add_arrow(g, i, st->overflow.target, st->overflow.at);
    }
    index_arrows(app, g);
}

/* --- Cycles --- */

/* A depth-first walk. `path` holds the arrows from the root to where it is. */
struct walk {
    struct weir_app_build *b;
    const struct arrows *g;
    const char *what;   /* the message up to the names */
    const char *advice; /* and after them */
    enum { UNSEEN, OPEN, DONE } * state;
    size_t *next; /* per stage: its next arrow to try */
    const struct arrow **path;
    size_t depth;
};

/* The walk found an arrow back to a stage of its path: the cycle is the path from there on. It is told from
 * its first stage in the file, so that one cycle reads the same however it was found. */
static void report_cycle(struct walk *w, const struct arrow *back)
{
    const struct weir_app *app = w->b->app;
    struct weir_strbuf names = WEIR_STRBUF_INIT;
    size_t start = w->depth;
    while (start > 0 && w->path[start - 1]->from != back->to)
        start--;
    start = back->to == back->from ? w->depth : start - 1;
    w->path[w->depth] = back;
    size_t len = w->depth + 1 - start, lowest = 0;
    for (size_t i = 1; i < len; i++)
        if (w->path[start + i]->from < w->path[start + lowest]->from)
            lowest = i;
    const struct arrow *first = w->path[start + lowest];
    for (size_t i = 0; i < len && i < 20; i++)
        weir_strbuf_addf(&names, "%s -> ", app->stages[w->path[start + (lowest + i) % len]->from].name);
    weir_strbuf_addf(&names, "%s%s", len > 20 ? "... -> " : "", app->stages[first->from].name);
    if (names.failed)
        w->b->schema.arena->failed = true;
    else
        weir_problems_error(w->b->schema.problems, first->at, "%s: %s (%s)", w->what, names.data, w->advice);
    weir_strbuf_fini(&names);
}

static void walk_from(struct walk *w, size_t root)
{
    size_t here = root;
    w->state[here] = OPEN;
    for (;;) {
        if (w->next[here] == w->g->first[here + 1]) {
            w->state[here] = DONE;
            if (w->depth == 0)
                return;
            here = w->path[--w->depth]->from;
            continue;
        }
        const struct arrow *a = &w->g->list[w->next[here]++];
        if (w->state[a->to] == OPEN) {
            report_cycle(w, a);
        } else if (w->state[a->to] == UNSEEN) {
            w->path[w->depth++] = a;
            here = a->to;
            w->state[here] = OPEN;
        }
    }
}

static void check_cycles(struct weir_app_build *b, const struct arrows *g, const char *what,
                         const char *advice)
{
    size_t count = b->app->stage_count;
    struct weir_arena *arena = b->schema.arena;
    struct walk w = {.b = b, .g = g, .what = what, .advice = advice};
    w.state = weir_arena_alloc(arena, count, sizeof *w.state);
    w.next = weir_arena_alloc(arena, count, sizeof *w.next);
    w.path = weir_arena_alloc(arena, count + 1, sizeof *w.path);
    if (arena->failed)
        return;
    memcpy(w.next, g->first, count * sizeof *w.next);
    for (size_t i = 0; i < count; i++)
        if (w.state[i] == UNSEEN)
            walk_from(&w, i);
}

/* --- The questions --- */

static void check_waits(struct weir_app_build *b)
{
    struct arrows waits = {.arena = b->schema.arena};
    collect_waits(b->app, &waits);
    if (!b->schema.arena->failed)
        check_cycles(b, &waits, "stages that wait for each other could wait for ever",
                     "give one of these edges or queues another overflow than wait");
}

/* true: no route goes round. */
static bool check_routes(struct weir_app_build *b)
{
    struct arrows routes = {.arena = b->schema.arena};
    size_t errors = b->schema.problems->errors;
    for (size_t i = 0; i < b->app->stage_count; i++) {
        const struct weir_app_stage *st = &b->app->stages[i];
        if (st->kind != WEIR_APP_SOURCE && st->overflow.policy == WEIR_OVERFLOW_ROUTE)
            add_arrow(&routes, i, st->overflow.target, st->overflow.at);
    }
    index_arrows(b->app, &routes);
    if (!b->schema.arena->failed)
        check_cycles(b, &routes, "queues that route to each other",
                     "an event would go round when all are full");
    return b->schema.problems->errors == errors && !b->schema.arena->failed;
}

/* A failed event has nobody who could wait for room. */
static void check_on_error_wait(struct weir_app_build *b, const struct weir_app_stage *st)
{
    const struct weir_app *app = b->app;
    size_t target = st->on_error.target;
    while (target != WEIR_APP_NO_TARGET && app->stages[target].overflow.policy == WEIR_OVERFLOW_ROUTE)
        target = app->stages[target].overflow.target;
    if (target != WEIR_APP_NO_TARGET && app->stages[target].overflow.policy == WEIR_OVERFLOW_WAIT)
        weir_problems_error(b->schema.problems, st->on_error.at,
                            "stage '%s' gives failed events to '%s', whose queue has overflow wait, and a failed "
                            "event can't wait: give that queue another overflow (edges to it may have one of their own)",
                            st->name, app->stages[target].name);
}

/* Who gets the failed events of whom; routes do not go round. */
static void check_on_error(struct weir_app_build *b)
{
    const struct weir_app *app = b->app;
    struct arrows failed = {.arena = b->schema.arena};
    for (size_t i = 0; i < app->stage_count; i++) {
        const struct weir_app_stage *st = &app->stages[i];
        if (st->on_error.stage == NULL)
            continue;
        size_t target = st->on_error.target;
        while (target != WEIR_APP_NO_TARGET) {
            const struct weir_app_overflow *o = &app->stages[target].overflow;
            add_arrow(&failed, i, target, st->on_error.at);
            target = o->policy == WEIR_OVERFLOW_ROUTE ? o->target : WEIR_APP_NO_TARGET;
        }
        check_on_error_wait(b, st);
    }
    index_arrows(app, &failed);
    if (!b->schema.arena->failed)
        check_cycles(b, &failed, "stages that give their failed events to each other",
                     "an event that fails in each of them would go round for ever");
}

static void check_reachable(struct weir_app_build *b)
{
    const struct weir_app *app = b->app;
    struct arrows all = {.arena = b->schema.arena};
    collect_paths(app, &all);
    bool *seen = weir_arena_alloc(b->schema.arena, app->stage_count, sizeof *seen);
    size_t *todo = weir_arena_alloc(b->schema.arena, app->stage_count, sizeof *todo), count = 0;
    if (b->schema.arena->failed)
        return;
    for (size_t i = 0; i < app->stage_count; i++) {
        seen[i] = app->stages[i].kind == WEIR_APP_SOURCE;
        if (seen[i])
            todo[count++] = i;
    }
    if (count == 0) {
        weir_problems_error(b->schema.problems, app->stages[0].at,
                            "no stage is a source: nothing would ever happen");
        return;
    }
    while (count > 0) {
        size_t here = todo[--count];
        for (size_t k = all.first[here]; k < all.first[here + 1]; k++) {
            size_t to = all.list[k].to;
            if (!seen[to])
                todo[count++] = to;
            seen[to] = true;
        }
    }
    for (size_t i = 0; i < app->stage_count; i++)
        if (!seen[i])
            weir_problems_error(b->schema.problems, app->stages[i].at,
                                "no source reaches stage '%s': nothing sends to it", app->stages[i].name);
}

void weir_app_check_graph(struct weir_app_build *b)
{
    if (b->schema.arena->failed || b->app->stage_count == 0)
        return;
    if (check_routes(b)) { /* else following routes would go round, too */
        check_waits(b);
        check_on_error(b);
    }
    if (!b->incomplete && !b->schema.arena->failed)
        check_reachable(b); /* else what is missing might be what leads there */
}
