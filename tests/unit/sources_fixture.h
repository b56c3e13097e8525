/* tests/unit/sources_fixture.h - a source of one stream on a worker that runs by hand: options as in
 * weir.yaml, a virtual clock, and a stage behind it that notes the values it gets, as JSON texts. */
#ifndef WEIR_UNIT_SOURCES_FIXTURE_H
#define WEIR_UNIT_SOURCES_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "config/app.h"
#include "config/types.h"
#include "core/source.h"
#include "core/stage.h"
#include "core/value.h"
#include "support.h"

struct sole {
    struct weir_app *app;
    struct rig *rig;
    struct weir_worker *w;
    struct weir_strbuf got; /* values, each followed by a space */
    size_t count;
    int ends; /* of weir_graph_ends */
};

typedef int sole_open_fn(struct weir_stage *stage, const struct weir_conf *options,
                         struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr);

static inline enum weir_reason sole_note(struct rig_handler *h, struct weir_event *ev)
{
    struct sole *s = h->logic->arg;
    weir_value_print(ev->value, &s->got);
    weir_strbuf_addc(&s->got, ' ');
    s->count++;
    return WEIR_REASON_NONE;
}

static inline void sole_tell(void *arg)
{
    ((struct sole *)arg)->ends++;
}

/* Parses `options` ("every: 1s, …"); what is wrong with them is in `report`. */
static inline struct weir_app *sole_parse(const struct weir_app_type *type, const char *options,
                                          struct weir_strbuf *report)
{
    static const struct weir_app_type null_type = {
        .name = "null", .kind = WEIR_APP_SINK, .text = "ends events"};
    const struct weir_app_type *types[] = {type, &null_type};
    const struct weir_app_types all = {.types = types, .count = 2};
    char text[1024];
    struct weir_app *app = NULL;
    struct weir_err err;
    snprintf(text, sizeof text, "weir: 1\nstages:\n  in: {source: %s, to: out%s%s}\n  out: {sink: 'null'}\n",
             type->name, options[0] != '\0' ? ", " : "", options);
    (void)weir_app_parse(text, strlen(text), "weir.yaml", ".", NULL, 0, &all, report, &app,
                         &err); /* the report says it */
    return app;
}

static inline void sole_expect_problem(const struct weir_app_type *type, const char *options,
                                       const char *problem)
{
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_app *app = sole_parse(type, options, &report);
    if (report.len == 0 || strstr(report.data, problem) == NULL)
        fail_msg("'%s' is not told, but: %s", problem, report.len > 0 ? report.data : "nothing");
    weir_app_free(app);
    weir_strbuf_fini(&report);
}

/* The stages: 0 the source, 1 the one behind; `overflow` is its policy, `capacity` its queue's. */
static inline void sole_open(struct sole *s, const struct weir_app_type *type, sole_open_fn *open_source,
                             const char *options, enum weir_overflow overflow, size_t capacity)
{
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_err err;
    char bound[16] = "";
    *s = (struct sole){.app = sole_parse(type, options, &report)};
    if (report.len > 0)
        fail_msg("%s", report.data);
    weir_strbuf_fini(&report);
    s->rig = rig_create(2, 1);
    rig_pool(s->rig, 0, "main", 1, false);
    struct weir_stage *source = rig_stage_defaults(s->rig, 0, "in", 0),
                      *behind = rig_stage(s->rig, 1, "out", 0, sole_note, s);
    source->kind = WEIR_STAGE_SOURCE;
    behind->queue.capacity = capacity;
    behind->queue.overflow.policy = overflow;
    rig_wire_one(s->rig, 0, "out", 1);
    rig_finish(s->rig);
    s->rig->g->ends.tell = sole_tell;
    s->rig->g->ends.arg = s;
    if (open_source(source, s->app->stages[0].options, &source->source, bound, sizeof bound, &err) < 0)
        fail_msg("%s", err.text);
    s->w = rig_worker(s->rig, 0);
    assert_int_equal(s->w->seats[0]->source->ops->start(s->w->seats[0]->source, &err), WEIR_OK);
}

/* What the source does alone, without the stage behind it. */
static inline void sole_advance(struct sole *s, uint64_t ns)
{
    rig_advance(s->w, ns);
    weir_timers_run(s->w);
}

static inline void sole_expect(struct sole *s, const char *values)
{
    rig_run(s->w);
    assert_string_equal(s->got.len > 0 ? s->got.data : "", values);
    weir_strbuf_clear(&s->got);
    if (s->got.data != NULL)
        s->got.data[0] = '\0';
}

static inline void sole_close(struct sole *s)
{
    struct weir_source *source = s->w->seats[0]->source;
    source->ops->stop(source);
    rig_run(s->w);
    assert_true(source->ops->idle(source));
    source->ops->close(source);
    rig_worker_end(s->w);
    rig_destroy(s->rig);
    weir_app_free(s->app);
    weir_strbuf_fini(&s->got);
}

#endif
