/* From a configuration to a graph, and from there to a running application, with source and sink types and
 * scripts that are the test's. */
#include "runtime/build.h"

#include "test.h"

#define FIXTURE_CONTROLLERS 0
#include "app_fixture.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/source.h"
#include "core/stage.h"
#include "io/null_sink.h"
#include "loader/registry.h"
#include "runtime/runtime.h"

/* ---- a registry whose parts fail when they are told to ---- */

static struct {
    const char *fail[4]; /* names of stages that can't be opened */
    int fail_code, fail_make;
    size_t loaded, sources_open; /* stages; what is not destroyed yet */
    bool socket_before_scripts;
    size_t scripts;
} fake;

static int refuse(const char *stage, struct weir_err *reterr)
{
    for (size_t i = 0; i < sizeof fake.fail / sizeof *fake.fail; i++)
        if (fake.fail[i] != NULL && strcmp(fake.fail[i], stage) == 0)
            return weir_err_set(reterr, fake.fail_code, "stage '%s': told to fail", stage);
    return WEIR_OK;
}

static void close_fake(struct weir_source *s)
{
    (void)s; /* it has nothing in the loop */
}

static void destroy_fake(struct weir_source *s)
{
    weir_free(s);
}

static int start_fake(struct weir_source *s, struct weir_err *reterr)
{
    (void)s, (void)reterr; /* makes no events */
    return WEIR_OK;
}

static bool fake_is_idle(const struct weir_source *s)
{
    (void)s;
    return true;
}

static const struct weir_source_ops fake_ops = {
    .start = start_fake,
    .stop = close_fake,
    .idle = fake_is_idle,
    .close = close_fake,
    .destroy = destroy_fake,
};

static int make_fake(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    (void)self;
    struct weir_source *s = fake.fail_make ? NULL : weir_calloc(1, sizeof *s);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    s->ops = &fake_ops;
    s->seat = seat;
    *ret = s;
    return WEIR_OK;
}

static void destroy_source_maker(void *self)
{
    fake.sources_open--;
    weir_free(self);
}

static void destroy_script(void *self)
{
    fake.loaded--;
    weir_free(self);
}

static void reopen_fake(void *self)
{
    ++*(int *)self;
}

static int open_fake_http(struct weir_stage *stage, const struct weir_conf *options,
                          struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr)
{
    fake.socket_before_scripts |= fake.loaded != fake.scripts;
    int rc = refuse(stage->name, reterr);
    if (rc < 0)
        return rc;
    void *self = weir_calloc(1, sizeof(int));
    if (self == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    snprintf(bound, size, "http://%s", weir_conf_option_string(options, "listen"));
    fake.sources_open++;
    *ret = (struct weir_source_maker){
        .make = make_fake, .reopen = reopen_fake, .destroy = destroy_source_maker, .self = self};
    return WEIR_OK;
}

/* Handlers of all kinds are null sinks here: what they do is other tests' matter. */
static int load_fake(const char *stage, struct weir_handler_maker *ret, struct weir_err *reterr)
{
    int rc = refuse(stage, reterr);
    if (rc < 0)
        return rc;
    void *self = weir_malloc(1);
    if (self == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage);
    weir_null_sink_open(NULL, NULL, ret, reterr);
    ret->destroy = destroy_script;
    ret->self = self;
    fake.loaded++;
    return WEIR_OK;
}

static int open_fake_file(struct weir_stage *stage, const struct weir_conf *options,
                          struct weir_handler_maker *ret, struct weir_err *reterr)
{
    assert_non_null(options);
    return load_fake(stage->name, ret, reterr);
}

static int load(const struct weir_app *app, const struct weir_app_stage *stage,
                struct weir_handler_maker *ret, bool *takes_batches, struct weir_err *reterr)
{
    assert_non_null(app);
    *takes_batches = strcmp(stage->what, "page.lua") == 0;
    return load_fake(stage->name, ret, reterr);
}

static const struct weir_source_type sources[] = {{.type = &fixture_http, .open = open_fake_http}};
static const struct weir_sink_type sinks[] = {{.type = &fixture_null, .open = weir_null_sink_open},
                                              {.type = &fixture_file, .open = open_fake_file}};
static const struct weir_registry registry = {
    .sources = sources, .source_count = 1, .sinks = sinks, .sink_count = 2, .handlers = {.load = load}};

/* ---- one application, parsed, and what became of it ---- */

struct built {
    struct fixture_result parsed;
    struct weir_address addresses[16];
    struct weir_strbuf report;
    struct weir_graph *g;
    struct weir_err err;
    int code;
};

/* Parses `text`, whose stages that are not sources and not of type null number `scripts`. */
static struct weir_app *prepare(struct built *b, const char *text, size_t scripts)
{
    memset(&fake, 0, sizeof fake);
    fake.fail_code = WEIR_E_SCRIPT;
    fake.scripts = scripts;
    *b = (struct built){.report = WEIR_STRBUF_INIT};
    return fixture_parse_good(&b->parsed, text);
}

static void build(struct built *b)
{
    b->code = weir_build_graph(b->parsed.app, &registry, &b->report, b->addresses, &b->g, &b->err);
    weir_strbuf_add(&b->report, "", 0); /* a text, even when it is empty */
    assert_true((b->code == WEIR_OK) == (b->g != NULL));
}

static void build_good(struct built *b, const char *text, size_t scripts)
{
    prepare(b, text, scripts);
    build(b);
    if (b->code != WEIR_OK)
        fail_msg("%s\n%s", b->err.text, b->report.data);
    assert_string_equal(b->report.data, "");
}

static void done(struct built *b)
{
    weir_graph_destroy(b->g);
    weir_strbuf_fini(&b->report);
    assert_int_equal(fake.loaded, 0);
    assert_int_equal(fake.sources_open, 0);
    fixture_done(&b->parsed);
}

enum { WEB, ROUTE, PAGE, CACHE, AUDIT, STATS }; /* the stages of fixture_shop */
enum { SHOP_SCRIPTS = 4 };

/* ---- as configured ---- */

static void pools_and_classes_are_as_configured(void **state)
{
    (void)state;
    struct built b;
    build_good(&b, fixture_shop, SHOP_SCRIPTS);
    assert_int_equal(b.g->class_count, 3);
    assert_int_equal(b.g->default_class, 1);
    assert_string_equal(b.g->class_names[2], "bulk");
    assert_int_equal(b.g->pool_count, 2);
    assert_string_equal(b.g->pools[0].name, "main");
    assert_int_equal(b.g->pools[0].min, 2);
    assert_int_equal(b.g->pools[0].max, 2);
    assert_false(b.g->pools[0].blocking);
    assert_string_equal(b.g->pools[1].name, "disk");
    assert_int_equal(b.g->pools[1].min, 1);
    assert_int_equal(b.g->pools[1].max, 16);
    assert_true(b.g->pools[1].blocking);
    done(&b);
}

static void stages_are_as_configured(void **state)
{
    (void)state;
    static const enum weir_stage_kind kinds[] = {WEIR_STAGE_SOURCE,  WEIR_STAGE_HANDLER, WEIR_STAGE_HANDLER,
                                                 WEIR_STAGE_HANDLER, WEIR_STAGE_SINK,    WEIR_STAGE_SINK};
    struct built b;
    build_good(&b, fixture_shop, SHOP_SCRIPTS);
    assert_int_equal(b.g->stage_count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(b.g->stages[i].name, b.parsed.app->stages[i].name);
        assert_int_equal(b.g->stages[i].kind, kinds[i]);
        assert_int_equal(b.g->stages[i].generation, 1);
        assert_ptr_equal(b.g->stages[i].pool, &b.g->pools[i == CACHE ? 1 : 0]);
        assert_string_equal(b.addresses[i].text, i == WEB ? "http://127.0.0.1:8080" : "");
    }
    assert_true(b.g->stages[WEB].deadline_ns == 5 * WEIR_NS_PER_S);
    assert_non_null(b.g->stages[WEB].source.make);
    const struct weir_stage *page = &b.g->stages[PAGE];
    assert_int_equal(page->batch_max, 64);
    assert_int_equal(page->concurrency, 100);
    assert_true(page->slice_ns == 10 * WEIR_NS_PER_MS && page->stall_ns == 50 * WEIR_NS_PER_MS);
    assert_true(page->cpu_ns == 100 * WEIR_NS_PER_MS && page->wall_ns == 2 * WEIR_NS_PER_S);
    assert_int_equal(page->memory, 32 << 20);
    assert_true(page->takes_batches);
    assert_false(b.g->stages[ROUTE].takes_batches);
    assert_non_null(page->handler.make);
    assert_int_equal(page->queue.capacity, 256);
    assert_int_equal(page->queue.bytes, 16 << 20);
    assert_true(page->queue.max_age_ns == 2 * WEIR_NS_PER_S);
    assert_int_equal(page->queue.overflow.policy, WEIR_OVERFLOW_REJECT);
    assert_int_equal(page->queue.keys.by, WEIR_BY_FIELD);
    assert_string_equal(page->queue.keys.field, "user");
    assert_int_equal(b.g->stages[AUDIT].queue.order, WEIR_ORDER_CLASS);
    assert_int_equal(b.g->stages[AUDIT].queue.keys.by, WEIR_BY_NONE);
    done(&b);
}

static void ports_lead_where_they_should(void **state)
{
    (void)state;
    struct built b;
    build_good(&b, fixture_shop, SHOP_SCRIPTS);
    struct weir_stage *s = b.g->stages;
    assert_int_equal(s[ROUTE].port_count, 3);
    assert_string_equal(s[ROUTE].ports[2].name, "copy");
    assert_int_equal(s[ROUTE].ports[2].index, 2);
    assert_int_equal(s[ROUTE].ports[2].edge_count, 2);
    assert_ptr_equal(s[ROUTE].ports[2].edges[0].target, &s[AUDIT]);
    assert_ptr_equal(s[ROUTE].ports[2].edges[1].target, &s[STATS]);
    assert_ptr_equal(weir_stage_port(&s[ROUTE], "page")->edges[0].target, &s[PAGE]);
    assert_ptr_equal(s[PAGE].ports[0].edges[0].target, &s[PAGE]); /* itself */
    assert_int_equal(s[CACHE].port_count, 0);
    assert_true(s[PAGE].rank < s[ROUTE].rank && s[ROUTE].rank < s[WEB].rank);
    done(&b);
}

static void an_edge_has_its_own_overflow_or_its_target_s(void **state)
{
    (void)state;
    struct built b;
    build_good(&b, fixture_shop, SHOP_SCRIPTS);
    struct weir_stage *s = b.g->stages;
    assert_int_equal(s[WEB].ports[0].edges[0].overflow.policy, WEIR_OVERFLOW_DROP_NEWEST);
    assert_int_equal(weir_stage_port(&s[ROUTE], "page")->edges[0].overflow.policy, WEIR_OVERFLOW_REJECT);
    assert_int_equal(weir_stage_port(&s[ROUTE], "file")->edges[0].overflow.policy, WEIR_OVERFLOW_WAIT);
    assert_int_equal(s[CACHE].queue.overflow.policy, WEIR_OVERFLOW_ROUTE);
    assert_ptr_equal(s[CACHE].queue.overflow.route, &s[STATS]);
    done(&b);

    build_good(&b,
               "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: r}\n"
               "  r: {handler: route.lua, to: {out: [a, {stage: b, overflow: {route: c}}]}}\n"
               "  a: {handler: a.lua, queue: {overflow: {route: b}}}\n  b: {sink: null}\n  c: {sink: null}\n",
               2);
    s = b.g->stages;
    struct weir_edge *edges = s[1].ports[0].edges;
    assert_int_equal(edges[0].overflow.policy, WEIR_OVERFLOW_ROUTE);
    assert_ptr_equal(edges[0].overflow.route, &s[3]); /* the target's */
    assert_int_equal(edges[1].overflow.policy, WEIR_OVERFLOW_ROUTE);
    assert_ptr_equal(edges[1].overflow.route, &s[4]); /* its own */
    assert_null(s[3].queue.overflow.route);
    done(&b);
}

static void order_by_and_fair_by_are_a_word_or_a_field(void **state)
{
    (void)state;
    static const struct {
        const char *key, *word;
        enum weir_queue_by by;
    } cases[] = {{"order_by", "none", WEIR_BY_NONE}, {"order_by", "key", WEIR_BY_KEY}, {"order_by", "source", WEIR_BY_SOURCE},
                 {"order_by", "keys", WEIR_BY_FIELD}, {"fair_by", "none", WEIR_BY_NONE}, {"fair_by", "tenant", WEIR_BY_FIELD}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        struct built b;
        snprintf(text, sizeof text,
                 "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: a}\n  a: {handler: a.lua, queue: {%s: %s}}\n",
                 cases[i].key, cases[i].word);
        build_good(&b, text, 1);
        const struct weir_queue *q = &b.g->stages[1].queue;
        bool keyed = cases[i].by != WEIR_BY_NONE, fair = keyed && strcmp(cases[i].key, "fair_by") == 0;
        assert_int_equal(q->keys.by, cases[i].by);
        if (cases[i].by == WEIR_BY_FIELD)
            assert_string_equal(q->keys.field, cases[i].word);
        assert_int_equal(q->shared.fair != NULL, fair);
        assert_int_equal(q->shared.partitions != NULL, keyed && !fair);
        done(&b);
    }
}

/* ---- problems ---- */

static void every_problem_with_scripts_is_told(void **state)
{
    (void)state;
    struct built b;
    prepare(&b, fixture_shop, SHOP_SCRIPTS);
    fake.fail[0] = "route";
    fake.fail[1] = "cache";
    fake.fail[2] = "audit";
    fake.fail[3] = "web"; /* not tried: there are problems with scripts */
    build(&b);
    assert_int_equal(b.code, WEIR_E_SCRIPT);
    assert_int_equal(b.err.code, WEIR_E_SCRIPT);
    assert_string_equal(b.err.text, "weir.yaml: 3 stages can't be loaded");
    assert_string_equal(b.report.data, "stage 'route': told to fail\nstage 'cache': told to fail\n"
                                       "stage 'audit': told to fail\n");
    assert_int_equal(fake.loaded, 0); /* what did load is gone again */
    done(&b);
}

static void one_problem_is_one_and_keeps_its_code(void **state)
{
    (void)state;
    static const int codes[] = {WEIR_E_SCRIPT, WEIR_E_NOTFOUND, WEIR_E_IO};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct built b;
        prepare(&b, fixture_shop, SHOP_SCRIPTS);
        fake.fail[0] = "route"; /* stages after it load */
        fake.fail_code = codes[i];
        build(&b);
        assert_int_equal(b.code, codes[i]);
        assert_string_equal(b.err.text, "weir.yaml: 1 stage can't be loaded");
        done(&b);
    }
}

static void problems_are_told_to_who_wants_no_summary(void **state)
{
    (void)state;
    struct built b;
    prepare(&b, fixture_shop, SHOP_SCRIPTS);
    fake.fail[0] = "route";
    assert_int_equal(weir_build_graph(b.parsed.app, &registry, &b.report, b.addresses, &b.g, NULL),
                     WEIR_E_SCRIPT);
    assert_string_equal(b.report.data, "stage 'route': told to fail\n");
    done(&b);
}

static void sockets_are_opened_last_and_tell_of_themselves(void **state)
{
    (void)state;
    struct built b;
    prepare(&b, fixture_shop, SHOP_SCRIPTS);
    fake.fail[0] = "web";
    fake.fail_code = WEIR_E_EXISTS;
    build(&b);
    assert_int_equal(b.code, WEIR_E_EXISTS);
    assert_string_equal(b.err.text, "stage 'web': told to fail");
    assert_string_equal(b.report.data, "");
    assert_false(fake.socket_before_scripts);
    done(&b);
    build_good(&b, fixture_shop, SHOP_SCRIPTS);
    assert_false(fake.socket_before_scripts);
    assert_int_equal(fake.sources_open, 1);
    done(&b);
}

static void native_plugins_are_refused(void **state)
{
    (void)state;
    struct built b;
    struct weir_app *app = prepare(&b, fixture_shop, SHOP_SCRIPTS);
    app->stages[PAGE].kind = WEIR_APP_PLUGIN; /* no file may say so yet */
    build(&b);
    assert_int_equal(b.code, WEIR_E_CONFIG);
    assert_string_equal(b.report.data,
                        "stage 'page': native plugins are not supported by this version\n");
    done(&b);
}

static void building_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct built b;
    prepare(&b, fixture_shop, SHOP_SCRIPTS);
    long before = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_graph *g = NULL;
        struct weir_err err;
        weir_mem_fail_after(n);
        rc = weir_build_graph(b.parsed.app, &registry, &b.report, b.addresses, &g, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && err.code == WEIR_E_NOMEM && g == NULL));
        assert_true(rc < 0 || n > 0);
        weir_graph_destroy(g);
        weir_strbuf_fini(&b.report);
        assert_int_equal(weir_mem_live(), before);
        assert_int_equal(fake.loaded + fake.sources_open, 0);
    }
    done(&b);
}

/* ---- the runtime around it ---- */

struct running {
    struct built b;
    uv_loop_t loop;
    struct weir_runtime *rt;
    int stopped;
};

static void run_prepare(struct running *r, const char *text, size_t scripts)
{
    *r = (struct running){.rt = NULL};
    prepare(&r->b, text, scripts);
    assert_int_equal(uv_loop_init(&r->loop), 0);
}

static int run_create(struct running *r, struct weir_err *reterr)
{
    return weir_runtime_create(r->b.parsed.app, &registry, &r->loop, &r->b.report, &r->rt, reterr);
}

static void run_done(struct running *r)
{
    weir_runtime_destroy(r->rt);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    done(&r->b);
}

static void on_stopped(void *arg)
{
    ((struct running *)arg)->stopped++;
}

static void an_application_is_built_started_and_stopped(void **state)
{
    (void)state;
    struct running r;
    struct weir_err err;
    run_prepare(&r, fixture_shop, SHOP_SCRIPTS);
    assert_int_equal(run_create(&r, &err), WEIR_OK);
    assert_int_equal(weir_runtime_state(r.rt), WEIR_RUNTIME_BUILT);
    assert_ptr_equal(weir_runtime_app(r.rt), r.b.parsed.app);
    assert_string_equal(weir_runtime_address(r.rt, WEB), "http://127.0.0.1:8080");
    assert_null(weir_runtime_address(r.rt, PAGE));
    struct weir_graph *g = weir_runtime_graph(r.rt);
    weir_runtime_stop(r.rt, on_stopped, &r); /* nothing runs */
    assert_int_equal(weir_runtime_state(r.rt), WEIR_RUNTIME_BUILT);
    assert_int_equal(weir_runtime_start(r.rt, &err), WEIR_OK);
    assert_int_equal(weir_runtime_state(r.rt), WEIR_RUNTIME_RUNNING);
    assert_int_equal(g->pools[0].target, 2);
    assert_int_equal(g->pools[1].target, 16);
    weir_runtime_reopen(r.rt);
    assert_int_equal(*(int *)g->stages[WEB].source.self, 1);
    weir_runtime_stop(r.rt, on_stopped, &r);
    assert_int_equal(weir_runtime_state(r.rt), WEIR_RUNTIME_DRAINING);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(weir_runtime_state(r.rt), WEIR_RUNTIME_STOPPED);
    assert_int_equal(r.stopped, 1);
    assert_false(weir_runtime_was_cut(r.rt));
    assert_false(weir_runtime_is_stuck(r.rt));
    run_done(&r);
}

static void a_second_stop_stops_at_once(void **state)
{
    (void)state;
    struct running r;
    struct weir_err err;
    run_prepare(&r, fixture_minimal, 1);
    assert_int_equal(run_create(&r, &err), WEIR_OK);
    assert_int_equal(weir_runtime_start(r.rt, &err), WEIR_OK);
    weir_runtime_stop(r.rt, on_stopped, &r);
    weir_runtime_stop(r.rt, on_stopped, &r);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(weir_runtime_state(r.rt), WEIR_RUNTIME_STOPPED);
    assert_int_equal(r.stopped, 1);
    assert_true(weir_runtime_was_cut(r.rt));
    run_done(&r);
}

static void a_start_that_fails_can_be_tried_again(void **state)
{
    (void)state;
    struct running r;
    struct weir_err err;
    run_prepare(&r, fixture_shop, SHOP_SCRIPTS);
    assert_int_equal(run_create(&r, &err), WEIR_OK);
    fake.fail_make = 1; /* in the pool that starts last */
    assert_int_equal(weir_runtime_start(r.rt, &err), WEIR_E_NOMEM);
    assert_string_equal(err.text, "stage 'web': out of memory");
    assert_int_equal(weir_runtime_state(r.rt), WEIR_RUNTIME_BUILT);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(weir_runtime_graph(r.rt)->pools[i].target, 0);
        assert_null(weir_runtime_graph(r.rt)->pools[i].workers[0]);
    }
    fake.fail_make = 0;
    assert_int_equal(weir_runtime_start(r.rt, &err), WEIR_OK);
    weir_runtime_stop(r.rt, on_stopped, &r);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    assert_int_equal(r.stopped, 1);
    run_done(&r);
}

static void the_runtime_reports_problems_with_scripts(void **state)
{
    (void)state;
    struct running r;
    struct weir_err err;
    run_prepare(&r, fixture_shop, SHOP_SCRIPTS);
    fake.fail[0] = "page";
    assert_int_equal(run_create(&r, &err), WEIR_E_SCRIPT);
    assert_null(r.rt);
    assert_string_equal(r.b.report.data, "stage 'page': told to fail\n");
    run_done(&r);
}

static void creating_a_runtime_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct running r;
    run_prepare(&r, fixture_shop, SHOP_SCRIPTS);
    long before = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = run_create(&r, NULL);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && r.rt == NULL));
        assert_true(rc < 0 || n > 0);
        weir_runtime_destroy(r.rt);
        uv_run(&r.loop, UV_RUN_DEFAULT); /* its timers close */
        weir_strbuf_fini(&r.b.report);
        assert_int_equal(weir_mem_live(), before);
    }
    r.rt = NULL;
    run_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pools_and_classes_are_as_configured),
        TEST(stages_are_as_configured),
        TEST(ports_lead_where_they_should),
        TEST(an_edge_has_its_own_overflow_or_its_target_s),
        TEST(order_by_and_fair_by_are_a_word_or_a_field),
        TEST(every_problem_with_scripts_is_told),
        TEST(one_problem_is_one_and_keeps_its_code),
        TEST(problems_are_told_to_who_wants_no_summary),
        TEST(sockets_are_opened_last_and_tell_of_themselves),
        TEST(native_plugins_are_refused),
        TEST(building_survives_any_failed_allocation),
        TEST(an_application_is_built_started_and_stopped),
        TEST(a_second_stop_stops_at_once),
        TEST(a_start_that_fails_can_be_tried_again),
        TEST(the_runtime_reports_problems_with_scripts),
        TEST(creating_a_runtime_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
