/* tests/unit/admin_fixture.h - an application with a graph and no workers: its ledgers are filled in by hand.
 */
#ifndef WEIR_TESTS_UNIT_ADMIN_FIXTURE_H
#define WEIR_TESTS_UNIT_ADMIN_FIXTURE_H

#include "admin/view.h"
#include "app_fixture.h"
#include "core/graph.h"
#include "core/seat.h"
#include "loader/registry.h"
#include "runtime/build.h"

static const char *const shop_text =
    "weir: 1\n"
    "name: shop\n"
    "pools: {main: {threads: 2}}\n"
    "stages:\n"
    "  web: {source: http, listen: ':8080', to: route}\n"
    "  route: {handler: route.lua, to: {page: page, log: {stage: log, overflow: drop_newest}}}\n"
    "  page: {handler: page.lua, queue: {capacity: 256, bytes: 1MiB}}\n"
    "  log: {sink: 'null'}\n";

struct shop {
    struct fixture_result parsed;
    struct weir_graph *graph;
    struct weir_address addresses[4];
    struct weir_view view;
};

static void shop_source_stats(void *self, struct weir_strbuf *out)
{
    (void)self;
    weir_strbuf_adds(out, "\"connections\":3,\"requests\":41,\"answers_5xx\":7");
}

static int shop_open_source(struct weir_stage *stage, const struct weir_conf *options,
                            struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr)
{
    (void)stage, (void)options, (void)reterr;
    snprintf(bound, size, "http://127.0.0.1:8080");
    *ret = (struct weir_source_maker){.stats = shop_source_stats};
    return WEIR_OK;
}

static int shop_open_sink(struct weir_stage *stage, const struct weir_conf *options,
                          struct weir_handler_maker *ret, struct weir_err *reterr)
{
    (void)stage, (void)options, (void)ret, (void)reterr;
    return WEIR_OK;
}

static int shop_load(const struct weir_app *app, const struct weir_app_stage *stage,
                     struct weir_handler_maker *ret, bool *takes_batches, struct weir_err *reterr)
{
    (void)app, (void)stage, (void)ret, (void)takes_batches, (void)reterr;
    return WEIR_OK;
}

static void shop_open(struct shop *s)
{
    static const struct weir_source_type sources[] = {{&fixture_http, shop_open_source}};
    static const struct weir_sink_type sinks[] = {{&fixture_null, shop_open_sink}};
    static const struct weir_registry registry = {
        .sources = sources, .source_count = 1, .sinks = sinks, .sink_count = 1, .handlers = {shop_load, NULL}};
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_err err;
    *s = (struct shop){.graph = NULL};
    fixture_parse(&s->parsed, shop_text, NULL, 0);
    if (s->parsed.code != WEIR_OK)
        fail_msg("%s", s->parsed.report.data);
    if (weir_build_graph(s->parsed.app, &registry, &report, s->addresses, &s->graph, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    s->view = (struct weir_view){s->parsed.app, s->graph, NULL, NULL};
    assert_non_null(weir_graph_seats(s->graph, 0));
    assert_non_null(weir_graph_seats(s->graph, 1));
}

static void shop_close(struct shop *s)
{
    weir_graph_destroy(s->graph);
    fixture_done(&s->parsed);
}

/* The seat of a stage on a worker. */
static inline struct weir_seat *shop_seat(struct shop *s, const char *stage, size_t slot)
{
    struct weir_stage *found = weir_graph_stage(s->graph, stage);
    assert_non_null(found);
    return atomic_load(&s->graph->slots[slot])[found->index];
}

#define SHOP_COUNT(s, stage, slot, field, n) weir_ledger_add(&shop_seat(s, stage, slot)->ledger.field, n)

#endif
