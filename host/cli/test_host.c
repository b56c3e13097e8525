#include "cli/test_host.h"

#include <string.h>

#include "base/mem.h"
#include "config/app.h"
#include "config/types.h"
#include "controller/controller.h"
#include "core/graph.h"
#include "core/watch.h"
#include "core/watchdog.h"
#include "core/stage.h"
#include "loader/registry.h"
#include "runtime/build.h"

struct weir_test_hosted {
    struct weir_app *app;
    struct weir_graph *g;
};

static const struct weir_app_type test_source = {.name = "test", .kind = WEIR_APP_SOURCE, .text = "makes what a spec sends"};

static int open_no_source(struct weir_stage *stage, const struct weir_conf *options, struct weir_source_maker *ret, char *bound,
                          size_t size, struct weir_err *reterr)
{
    (void)stage;
    (void)options;
    (void)bound;
    (void)size;
    (void)reterr; /* can't fail */
    *ret = (struct weir_source_maker){.make = NULL};
    return WEIR_OK;
}

static int open_no_sink(struct weir_stage *stage, const struct weir_conf *options, struct weir_handler_maker *ret,
                        struct weir_err *reterr)
{
    (void)stage;
    (void)options;
    (void)reterr; /* can't fail */
    *ret = (struct weir_handler_maker){.make = NULL};
    return WEIR_OK;
}

/* The program's own types, which open nothing here. */
struct tables {
    struct weir_source_type *sources;
    struct weir_sink_type *sinks;
    const struct weir_app_type **types;
    struct weir_registry registry;
};

static void free_tables(struct tables *t)
{
    weir_free(t->sources);
    weir_free(t->sinks);
    weir_free(t->types);
}

static int make_tables(const struct weir_registry *from, struct tables *t, struct weir_err *reterr)
{
    size_t sources = from->source_count + 1, sinks = from->sink_count;
    t->sources = weir_calloc(sources, sizeof *t->sources);
    t->sinks = weir_calloc(sinks + 1, sizeof *t->sinks);
    t->types = weir_calloc(sources + sinks, sizeof *t->types);
    if (t->sources == NULL || t->sinks == NULL || t->types == NULL) {
        free_tables(t);
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < sources; i++) {
        const struct weir_app_type *type = i < from->source_count ? from->sources[i].type : &test_source;
        t->sources[i] = (struct weir_source_type){type, open_no_source};
        t->types[i] = type;
    }
    for (size_t i = 0; i < sinks; i++) {
        t->sinks[i] = (struct weir_sink_type){from->sinks[i].type, open_no_sink};
        t->types[sources + i] = from->sinks[i].type;
    }
    t->registry = *from;
    t->registry.sources = t->sources;
    t->registry.source_count = sources;
    t->registry.sinks = t->sinks;
    return WEIR_OK;
}

static int load(const struct tables *t, const struct weir_test_host_source *source, const struct weir_app_override *sets,
                struct weir_strbuf *report, struct weir_app **ret, struct weir_err *reterr)
{
    struct weir_app_controller_type controllers[WEIR_CONTROLLERS_MAX];
    const struct weir_app_types types = {.types = t->types,
                                         .count = t->registry.source_count + t->registry.sink_count,
                                         .controllers = controllers,
                                         .controller_count = weir_controller_app_types(controllers, WEIR_CONTROLLERS_MAX),
                                         .script = &weir_controller_script};
    if (source->path != NULL)
        return weir_app_load(source->path, sets, source->set_count, &types, report, ret, reterr);
    return weir_app_parse(source->text, source->len, source->name, source->folder, sets, source->set_count, &types, report, ret,
                          reterr);
}

static int build(struct weir_test_hosted *h, const struct tables *t, struct weir_strbuf *report, struct weir_err *reterr)
{
    struct weir_address *addresses = weir_calloc(h->app->stage_count + 1, sizeof *addresses);
    if (addresses == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    int rc = weir_build_graph(h->app, &t->registry, report, addresses, &h->g, reterr);
    weir_free(addresses);
    return rc;
}

static int open_with(struct weir_test_hosted *h, const struct weir_registry *registry, const struct weir_test_host_source *source,
                     const struct weir_app_override *sets, struct weir_strbuf *report, struct weir_err *reterr)
{
    struct tables t;
    int rc = make_tables(registry, &t, reterr);
    if (rc != WEIR_OK)
        return rc;
    rc = load(&t, source, sets, report, &h->app, reterr);
    if (rc == WEIR_OK)
        rc = build(h, &t, report, reterr);
    free_tables(&t);
    return rc;
}

int weir_test_host_open(const struct weir_registry *registry, const struct weir_test_host_source *source, struct weir_strbuf *report,
                        struct weir_test_hosted **ret, struct weir_err *reterr)
{
    struct weir_test_hosted *h = weir_calloc(1, sizeof *h);
    struct weir_app_override *sets = weir_calloc(source->set_count + 1, sizeof *sets);
    int rc = h == NULL || sets == NULL ? weir_err_set(reterr, WEIR_E_NOMEM, "out of memory") : WEIR_OK;
    for (size_t i = 0; rc == WEIR_OK && i < source->set_count; i++)
        sets[i] = (struct weir_app_override){source->sets[2 * i], source->sets[2 * i + 1]};
    if (rc == WEIR_OK)
        rc = open_with(h, registry, source, sets, report, reterr);
    weir_free(sets);
    if (rc != WEIR_OK)
        weir_test_host_close(h);
    else
        *ret = h;
    return rc;
}

struct weir_graph *weir_test_host_graph(struct weir_test_hosted *h)
{
    return h->g;
}

void weir_test_host_close(struct weir_test_hosted *h)
{
    if (h == NULL)
        return;
    struct weir_watch *watch = weir_watch_current();
    weir_watchdog_sync(watch != NULL ? watch->dog : NULL); /* its stages are about to go, and it goes on */
    weir_graph_destroy(h->g);
    weir_app_free(h->app);
    weir_free(h);
}
