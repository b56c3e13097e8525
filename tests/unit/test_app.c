/* weir.yaml to plain structures: every key, defaults, `--set`, files, lack of memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <uv.h>

#include <math.h>

#include "app_fixture.h"

static const uint64_t us = 1000, ms = 1000000, s = 1000000000;

static void a_minimal_application_has_the_built_in_defaults(void **state)
{
    (void)state;
    struct fixture_result r;
    const struct weir_app *app = fixture_parse_good(&r, fixture_minimal);
    assert_string_equal(r.report.data, "");
    assert_string_equal(app->name, strrchr(fixture_folder, '/') + 1);
    assert_string_equal(app->file, "weir.yaml");
    assert_string_equal(app->folder, fixture_folder);
    assert_int_equal(app->class_count, 1);
    assert_string_equal(app->default_class_name, "normal");
    assert_true(app->drain_ns == 30 * s);
    assert_null(app->admin.listen);
    assert_int_equal(app->pool_count, 1);
    assert_string_equal(app->pools[0].name, "main");
    assert_int_equal(app->pools[0].min, uv_available_parallelism());
    assert_int_equal(app->pools[0].max, app->pools[0].min);
    assert_false(app->pools[0].blocking);
    assert_int_equal(app->stage_count, 2);
    const struct weir_app_stage *page = &app->stages[1];
    assert_string_equal(page->name, "page");
    assert_int_equal(page->kind, WEIR_APP_HANDLER);
    assert_string_equal(page->what, "page.lua");
    assert_int_equal(page->at.line, 4);
    assert_int_equal(page->at.column, 3);
    assert_int_equal(page->what_at.column, 19);
    assert_string_equal(page->pool, "main");
    assert_int_equal(page->port_count, 0);
    assert_int_equal(page->capacity, 1024);
    assert_int_equal(page->bytes, 64 << 20);
    assert_true(page->max_age_ns == 0);
    assert_int_equal(page->overflow.policy, WEIR_OVERFLOW_REJECT);
    assert_int_equal(page->order, WEIR_ORDER_FIFO);
    assert_null(page->order_by);
    assert_int_equal(page->batch_min, 1);
    assert_int_equal(page->batch_max, 64);
    assert_int_equal(page->concurrency, 10000);
    assert_true(page->slice_ns == 10 * ms && page->stall_ns == 50 * ms && page->cpu_ns == s &&
                page->wall_ns == 30 * s);
    assert_int_equal(page->memory, 64 << 20);
    assert_int_equal(page->lib_count, 1);
    assert_string_equal(page->libs[0], "safe");
    assert_null(page->config);
    assert_null(page->options);
    assert_null(page->on_error.stage);
    assert_true(page->keep_state);
    fixture_done(&r);
}

static void pools_classes_and_admin_are_read(void **state)
{
    (void)state;
    struct fixture_result r;
    const struct weir_app *app = fixture_parse_good(&r, fixture_shop);
    assert_string_equal(app->name, "shop");
    assert_int_equal(app->class_count, 3);
    assert_string_equal(app->classes[2], "bulk");
    assert_int_equal(app->default_class, 1);
    assert_true(app->drain_ns == 12 * s);
    assert_string_equal(app->admin.listen, "127.0.0.1:9901");
    assert_string_equal(app->admin.token_file, "token");
    assert_int_equal(app->pool_count, 2);
    assert_string_equal(app->pools[0].name, "main"); /* although written second */
    assert_int_equal(app->pools[0].max, 2);
    assert_string_equal(app->pools[1].name, "disk");
    assert_int_equal(app->pools[1].min, 1);
    assert_int_equal(app->pools[1].max, 16);
    assert_true(app->pools[1].blocking);
    fixture_done(&r);
}

static void shared_tables_are_read(void **state)
{
    (void)state;
    static const char text[] = "weir: 1\n"
                               "shared: {sessions: {bytes: 64MiB, ttl: 10m}, counters: , \"*\": {bytes: 1MiB}}\n"
                               "stages: {web: {source: http, listen: ':80', to: n}, n: {sink: null}}\n";
    struct fixture_result r;
    const struct weir_app *app = fixture_parse_good(&r, text);
    assert_int_equal(app->shared_count, 2);
    assert_string_equal(app->shared[0].name, "sessions");
    assert_int_equal(app->shared[0].bytes, 64 << 20);
    assert_true(app->shared[0].ttl_ns == 600 * s);
    assert_string_equal(app->shared[1].name, "counters");
    assert_int_equal(app->shared[1].bytes, 16 << 20);
    assert_true(app->shared[1].ttl_ns == 0);
    assert_string_equal(app->shared_any.name, "*");
    assert_int_equal(app->shared_any.bytes, 1 << 20);
    fixture_done(&r);
}

static void overload_is_on_unless_it_says_off(void **state)
{
    (void)state;
    static const char stages[] = "stages: {web: {source: http, listen: ':80', to: n}, n: {sink: null}}\n";
    struct fixture_result r;
    char text[512];
    (void)snprintf(text, sizeof text, "weir: 1\n%s", stages);
    const struct weir_app_overload *o = &fixture_parse_good(&r, text)->overload;
    assert_false(o->off);
    assert_true(o->limit[WEIR_RESOURCE_MEMORY] == 0 && o->limit[WEIR_RESOURCE_LAG] == 1);
    assert_true(o->at[WEIR_RESOURCE_MEMORY][WEIR_RELIEF_STOP] == 0.95);
    assert_true(isinf(o->at[WEIR_RESOURCE_LAG][WEIR_RELIEF_STOP]));
    assert_true(o->every_ns == 250 * ms && o->hold_ns == 1 * s && o->hysteresis == 0.05);
    fixture_done(&r);
    (void)snprintf(text, sizeof text,
                   "weir: 1\noverload: {memory: {limit: 1GiB, shed: 85%%, stop: off}, descriptors: 500, lag: off, hold: 3s, hysteresis: 0.1}\n%s",
                   stages);
    o = &fixture_parse_good(&r, text)->overload;
    assert_true(o->limit[WEIR_RESOURCE_MEMORY] == 1 << 30 && o->limit[WEIR_RESOURCE_DESCRIPTORS] == 500);
    assert_true(o->at[WEIR_RESOURCE_MEMORY][WEIR_RELIEF_SHED] == 0.85);
    assert_true(isinf(o->at[WEIR_RESOURCE_MEMORY][WEIR_RELIEF_STOP]) && isinf(o->at[WEIR_RESOURCE_LAG][WEIR_RELIEF_SHED]));
    assert_true(o->at[WEIR_RESOURCE_DESCRIPTORS][WEIR_RELIEF_CLOSE] == 0.8);
    assert_true(o->hold_ns == 3 * s && o->hysteresis == 0.1);
    fixture_done(&r);
    (void)snprintf(text, sizeof text, "weir: 1\noverload: off\n%s", stages);
    assert_true(fixture_parse_good(&r, text)->overload.off);
    fixture_done(&r);
}

/* Parses with scripts for controllers; the report is the caller's to look at. */
static void parse_with_scripts(struct fixture_result *r, const char *admission)
{
    static const struct weir_option options[] = {
        {.name = "interval", .type = WEIR_OPTION_DURATION, .fallback = "100ms", .min = 20000000, .text = "between two steps"}};
    static const struct weir_app_controller_type script = {.name = "script", .options = options, .option_count = 1};
    struct weir_app_types types = fixture_types;
    char text[512];
    types.script = &script;
    (void)snprintf(text, sizeof text,
                   "weir: 1\npools: {slow: {threads: {min: 1, max: 4}, blocking: true, controller: {script: policy/grow.lua}}}\n"
                   "stages: {web: {source: http, listen: ':80', to: n}, n: {sink: null, pool: slow,\n  admission: %s}}\n",
                   admission);
    *r = (struct fixture_result){.report = WEIR_STRBUF_INIT};
    r->code = weir_app_parse(text, strlen(text), "weir.yaml", fixture_folder, NULL, 0, &types, &r->report, &r->app, &r->err);
    weir_strbuf_add(&r->report, "", 0);
}

static void scripts_take_the_place_of_controllers(void **state)
{
    (void)state;
    struct fixture_result r;
    parse_with_scripts(&r, "[{script: calm.lua, interval: 1s, config: {target: 3}}, {script: a.b/x.y.lua}]");
    assert_int_equal(r.code, WEIR_OK);
    const struct weir_app_controller *grow = &r.app->pools[1].controller, *calm = &r.app->stages[1].admission[0];
    assert_string_equal(grow->script, "policy/grow.lua");
    assert_string_equal(grow->name, "grow");
    assert_null(grow->config);
    assert_true(weir_conf_option_duration(grow->options, "interval") == 100 * ms);
    assert_int_equal(r.app->stages[1].admission_count, 2);
    assert_string_equal(calm->name, "calm");
    assert_true(weir_conf_option_duration(calm->options, "interval") == 1 * s);
    assert_int_equal(weir_conf_int(weir_conf_get(calm->config, "target")), 3);
    assert_string_equal(calm[1].name, "x");
    fixture_done(&r);
    static const struct {
        const char *admission, *problem;
    } bad[] = {
        {"{script: [a]}", "'script': expected a string, found a list"},
        {"{script: a.lua, intervall: 1s}", "unknown key 'intervall' in 'admission' (did you mean 'interval'?)"},
        {"{script: a.lua, interval: 1ms}", "'interval': expected a duration from 20ms"},
        {"{script: a.lua, config: 3}", "'config': expected a map of the script's settings, found '3'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        parse_with_scripts(&r, bad[i].admission);
        assert_int_equal(r.code, WEIR_E_CONFIG);
        if (strstr(r.report.data, bad[i].problem) == NULL)
            fail_msg("'%s' is not in:\n%s", bad[i].problem, r.report.data);
        fixture_done(&r);
    }
}

static void controllers_and_their_settings_are_read(void **state)
{
    (void)state;
    struct fixture_result r;
    const struct weir_app *app = fixture_parse_good(&r, fixture_shop);
    assert_int_equal(r.report.len, 0);
    const struct weir_app_controller *admission = app->stages[2].admission;
    assert_int_equal(app->stages[2].admission_count, 1);
    assert_string_equal(admission->name, "response_time");
    assert_true(weir_conf_option_duration(admission->options, "target") == s / 10);
    assert_null(app->pools[0].controller.name);
    const struct weir_app_controller *disk = &app->pools[1].controller;
    assert_string_equal(disk->name, "queue");
    assert_true(weir_conf_option_duration(disk->options, "sample") == 1 * s);
    assert_true(weir_conf_option_number(disk->options, "threshold") == 100);
    assert_string_equal(app->stages[2].batch.name, "throughput");
    assert_null(app->stages[1].batch.name);
    fixture_done(&r);
}

static void stages_take_defaults_and_their_own_settings(void **state)
{
    (void)state;
    struct fixture_result r;
    const struct weir_app *app = fixture_parse_good(&r, fixture_shop);
    const struct weir_app_stage *route = &app->stages[1], *page = &app->stages[2], *cache = &app->stages[3],
                                *audit = &app->stages[4];
    assert_int_equal(route->capacity, 512);
    assert_int_equal(route->bytes, 32 << 20);
    assert_int_equal(route->overflow.policy, WEIR_OVERFLOW_DROP_NEWEST);
    assert_int_equal(route->batch_min, 16);
    assert_int_equal(route->batch_max, 16);
    assert_int_equal(route->concurrency, 1000);
    assert_true(route->slice_ns == 5 * ms && route->stall_ns == 40 * ms);
    assert_true(route->cpu_ns == 500 * ms && route->wall_ns == 20 * s);
    assert_int_equal(route->memory, 16 << 20);
    assert_int_equal(route->lib_count, 2);
    assert_string_equal(route->libs[1], "table");
    assert_int_equal(page->capacity, 256);
    assert_int_equal(page->bytes, 16 << 20);
    assert_true(page->max_age_ns == 2 * s);
    assert_int_equal(page->overflow.policy, WEIR_OVERFLOW_REJECT);
    assert_string_equal(page->order_by, "user");
    assert_int_equal(page->batch_min, 2);
    assert_int_equal(page->batch_max, 64);
    assert_int_equal(page->concurrency, 100);
    assert_true(page->slice_ns == 10 * ms && page->stall_ns == 50 * ms);
    assert_true(page->cpu_ns == 100 * ms && page->wall_ns == 2 * s);
    assert_int_equal(page->lib_count, 1);
    assert_string_equal(page->libs[0], "safe");
    assert_string_equal(page->on_error.stage, "audit");
    assert_int_equal(page->on_error.target, 4);
    assert_false(page->keep_state);
    assert_true(route->keep_state);
    assert_string_equal(cache->pool, "disk");
    assert_int_equal(cache->pool_index, 1);
    assert_int_equal(cache->overflow.policy, WEIR_OVERFLOW_ROUTE);
    assert_string_equal(cache->overflow.stage, "stats");
    assert_int_equal(cache->overflow.target, 5);
    assert_int_equal(audit->kind, WEIR_APP_SINK);
    assert_int_equal(audit->order, WEIR_ORDER_CLASS);
    assert_int_equal(app->stages[5].kind, WEIR_APP_SINK);
    assert_string_equal(app->stages[5].what, "null"); /* a name here, no nil */
    fixture_done(&r);
}

static void outputs_have_their_shapes(void **state)
{
    (void)state;
    struct fixture_result r;
    const struct weir_app *app = fixture_parse_good(&r, fixture_shop);
    const struct weir_app_stage *web = &app->stages[0], *route = &app->stages[1], *page = &app->stages[2];
    assert_int_equal(web->port_count, 1);
    assert_string_equal(web->ports[0].name, "out");
    assert_int_equal(web->ports[0].edge_count, 1);
    assert_string_equal(web->ports[0].edges[0].stage, "route");
    assert_int_equal(web->ports[0].edges[0].target, 1);
    assert_false(web->ports[0].edges[0].overrides);
    assert_int_equal(route->port_count, 3);
    const struct weir_app_port *file = &route->ports[1], *copy = &route->ports[2];
    assert_string_equal(file->name, "file");
    assert_int_equal(file->edges[0].target, 3);
    assert_true(file->edges[0].overrides);
    assert_int_equal(file->edges[0].overflow.policy, WEIR_OVERFLOW_WAIT);
    assert_int_equal(copy->edge_count, 2);
    assert_string_equal(copy->edges[1].stage, "stats");
    assert_int_equal(copy->edges[1].target, 5);
    assert_int_equal(copy->edges[1].at.line, 24);
    assert_int_equal(page->ports[0].edges[0].target, 2); /* itself */
    fixture_done(&r);

    app = fixture_parse_good(
        &r, "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: {out: r}}\n"
            "  r: {handler: a.lua, to: {out: [a, {stage: b, overflow: {route: c}}]}}\n"
            "  a: {handler: a.lua, to: {stage: b, overflow: wait}}\n  b: {sink: null}\n  c: {sink: null}\n");
    const struct weir_app_port *out = &app->stages[1].ports[0];
    assert_int_equal(out->edge_count, 2);
    assert_int_equal(out->edges[1].overflow.policy, WEIR_OVERFLOW_ROUTE);
    assert_int_equal(out->edges[1].overflow.target, 4);
    out = &app->stages[2].ports[0];
    assert_string_equal(out->name, "out");
    assert_int_equal(out->edges[0].overflow.policy, WEIR_OVERFLOW_WAIT);
    fixture_done(&r);
}

static void config_is_handed_on_as_it_is(void **state)
{
    (void)state;
    struct fixture_result r;
    unsetenv("WEIR_T_PORT");
    const struct weir_conf *config = fixture_parse_good(&r, fixture_shop)->stages[1].config;
    const struct weir_conf *any = weir_conf_get(config, "any");
    assert_int_equal(weir_conf_size(config), 2);
    assert_int_equal(weir_conf_size(any), 5);
    assert_string_equal(weir_conf_string(weir_conf_at(any, 0), NULL), "yaml");
    assert_int_equal(weir_conf_int(weir_conf_at(any, 1)), 1);
    assert_true(weir_conf_float(weir_conf_at(any, 2)) == 2.5);
    assert_int_equal(weir_conf_kind(weir_conf_at(any, 3)), WEIR_CONF_NIL);
    assert_true(weir_conf_bool(weir_conf_at(any, 4)));
    assert_string_equal(weir_conf_string(weir_conf_get(config, "port"), NULL), "8080");
    fixture_done(&r);
}

static void options_are_typed_and_complete(void **state)
{
    (void)state;
    struct fixture_result r;
    setenv("WEIR_T_PORT", "9090", 1);
    const struct weir_app_stage *web = &fixture_parse_good(&r, fixture_shop)->stages[0];
    const struct weir_conf *o = web->options;
    assert_true(web->deadline_ns == 5 * s);
    assert_string_equal(weir_conf_option_string(o, "listen"), "127.0.0.1:9090");
    assert_true(weir_conf_option_given(o, "listen"));
    assert_true(weir_conf_option_duration(o, "idle_timeout") == 75 * s);
    assert_false(weir_conf_option_given(o, "idle_timeout"));
    assert_int_equal(weir_conf_option_size(o, "max_body"), 1 << 20);
    assert_int_equal(weir_conf_option_int(o, "max_connections"), 10000);
    assert_int_equal(weir_conf_option_enum(o, "body"), 1);
    assert_true(weir_conf_option_bool(o, "date"));
    assert_null(weir_conf_option_string(o, "server"));
    assert_false(weir_conf_option_given(o, "server"));
    assert_int_equal(weir_conf_option_list_size(o, "hosts"), 2);
    assert_string_equal(weir_conf_option_list_at(o, "hosts", 1), "b");
    assert_null(weir_conf_option_list_at(o, "hosts", 2));
    fixture_done(&r);
    unsetenv("WEIR_T_PORT");
    o = fixture_parse_good(
            &r, "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: n, idle_timeout: 1.5ms, "
                "max_body: 0, body: whole,\n"
                "        date: false, server: 12, hosts: one, max_connections: 0x10}\n  n: {sink: null}\n")
            ->stages[0]
            .options;
    assert_true(weir_conf_option_duration(o, "idle_timeout") == 1500 * us);
    assert_int_equal(weir_conf_option_size(o, "max_body"), 0);
    assert_int_equal(weir_conf_option_enum(o, "body"), 0);
    assert_false(weir_conf_option_bool(o, "date"));
    assert_true(weir_conf_option_given(o, "date"));
    assert_string_equal(weir_conf_option_string(o, "server"), "12");
    assert_string_equal(weir_conf_option_list_at(o, "hosts", 0), "one");
    assert_int_equal(weir_conf_option_int(o, "max_connections"), 16);
    fixture_done(&r);
}

static void an_empty_string_is_an_option_when_its_least_length_is_none(void **state)
{
    (void)state;
    struct fixture_result r;
    const struct weir_conf *o =
        fixture_parse_good(&r, "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: n, server: ''}\n"
                               "  n: {sink: null}\n")
            ->stages[0]
            .options;
    assert_string_equal(weir_conf_option_string(o, "server"), "");
    assert_true(weir_conf_option_given(o, "server"));
    fixture_done(&r);
    fixture_parse(
        &r, "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: n}\n  n: {sink: file, path: ''}\n",
        NULL, 0);
    assert_string_equal(r.report.data,
                        "weir.yaml:4:25: error: 'path': expected a string, found an empty string\n"
                        "        n: {sink: file, path: ''}\n                              ^\n");
    fixture_done(&r);
}

static void limits_that_nobody_wrote_follow_lower_ones(void **state)
{
    (void)state;
    struct fixture_result r;
    const struct weir_app_stage *a =
        &fixture_parse_good(&r, "weir: 1\nstages:\n  web: {source: http, listen: ':80', "
                                "to: a}\n  a: {handler: a.lua, limits: {wall: 5ms}}\n")
             ->stages[1];
    assert_true(a->wall_ns == 5 * ms && a->cpu_ns == 5 * ms && a->stall_ns == 5 * ms &&
                a->slice_ns == 5 * ms);
    fixture_done(&r);
}

static void the_middle_class_is_the_default_without_normal(void **state)
{
    (void)state;
    struct fixture_result r;
    char text[300];
    snprintf(text, sizeof text, "%sclasses: [a, b, c]\n", fixture_minimal);
    assert_string_equal(fixture_parse_good(&r, text)->default_class_name, "b");
    fixture_done(&r);
    snprintf(text, sizeof text, "%sclasses: [a, normal]\n", fixture_minimal);
    assert_int_equal(fixture_parse_good(&r, text)->default_class, 1);
    fixture_done(&r);
}

static void all_shapes_of_controllers_are_read(void **state)
{
    (void)state;
    struct fixture_result r;
    const struct weir_app *app = fixture_parse_good(
        &r, "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: a}\n"
            "  a: {handler: a.lua, to: b, batch: {min: 1, max: 8, controller: none}}\n"
            "  b: {handler: a.lua, to: c, batch: {min: 1, max: 8, controller: throughput}}\n"
            "  c: {sink: null, batch: {min: 1, max: 8}}\n"
            "pools: {d: {threads: {min: 1, max: 3}}, e: {threads: {min: 1, max: 3}, controller: none}}\n");
    assert_null(app->stages[1].batch.name);
    assert_string_equal(app->stages[2].batch.name, "throughput");
    assert_string_equal(app->stages[3].batch.name, "throughput");
    assert_string_equal(app->pools[1].controller.name, "queue");
    assert_true(weir_conf_option_number(app->pools[1].controller.options, "threshold") == 50.5);
    assert_null(app->pools[2].controller.name);
    fixture_done(&r);
}

static void all_shapes_of_admission_are_read(void **state)
{
    (void)state;
    struct fixture_result r;
    char text[400];
    static const struct {
        const char *text, *first;
        size_t count;
    } shapes[] = {{"{controller: codel, target: 5ms, interval: 100ms}", "codel", 1},
                  {"codel", "codel", 1},
                  {"{controller: gradient}", "gradient", 1},
                  {"{controller: token_bucket, rate: 0.5, burst: 10}", "token_bucket", 1},
                  {"[{controller: codel}, gradient]", "codel", 2},
                  {"[]", NULL, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        snprintf(text, sizeof text,
                 "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: a}\n  a: {handler: a.lua, "
                 "on_error: b, admission: %s}\n"
                 "  b: {sink: null}\ndefaults: {queue: {order: adaptive}}\n",
                 shapes[i].text);
        const struct weir_app *app = fixture_parse_good(&r, text);
        assert_int_equal(app->stages[1].admission_count, shapes[i].count);
        if (shapes[i].count > 0)
            assert_string_equal(app->stages[1].admission[0].name, shapes[i].first);
        fixture_done(&r);
    }
}

static void the_command_line_overrides(void **state)
{
    (void)state;
    struct fixture_result r;
    static const struct weir_app_override sets[] = {
        {"stages.page.batch", "8"},
        {"stages.page.queue.capacity", "16"},
        {"stages.page.queue.order_by", "user"},
        {"stages.page.libs", "[string]"},
        {"stages.page.config.deep.er", "{a: [1, 2]}"},
        {"stages.web.listen", "127.0.0.1:0"},
        {"stages.page.batch", "9"}, /* the last one counts */
        {"pools.main.threads", "3"},
        {"name", "other"},
        {"defaults.concurrency", "5"},
        {"drain", "0"},
    };
    fixture_parse(&r, fixture_minimal, sets, sizeof sets / sizeof sets[0]);
    if (r.code != WEIR_OK)
        fail_msg("%s", r.report.data);
    const struct weir_app_stage *page = &r.app->stages[1];
    assert_int_equal(page->batch_max, 9);
    assert_int_equal(page->capacity, 16);
    assert_string_equal(page->order_by, "user");
    assert_string_equal(page->libs[0], "string");
    const struct weir_conf *a = weir_conf_get(weir_conf_get(weir_conf_get(page->config, "deep"), "er"), "a");
    assert_int_equal(weir_conf_int(weir_conf_at(a, 1)), 2);
    assert_string_equal(weir_conf_option_string(r.app->stages[0].options, "listen"), "127.0.0.1:0");
    assert_int_equal(r.app->pools[0].max, 3);
    assert_string_equal(r.app->name, "other");
    assert_int_equal(page->concurrency, 5);
    assert_true(r.app->drain_ns == 0);
    fixture_done(&r);
}

static void later_problems_are_reported_alike(void **state)
{
    (void)state;
    struct fixture_result r;
    struct weir_app_override set = {"stages.page.handler", "a.lua"};
    fixture_parse(&r, fixture_minimal, &set, 1);
    assert_int_equal(r.code, WEIR_OK);
    weir_app_report(r.app, r.app->stages[0].what_at, &r.report, "source '%s' is tired", "web");
    weir_app_report(r.app, r.app->stages[1].what_at, &r.report, "no");
    weir_app_report(r.app, (struct weir_app_mark){0, 0}, &r.report, "nowhere");
    assert_string_equal(r.report.data, "weir.yaml:3:17: error: source 'web' is tired\n"
                                       "        web: {source: http, listen: ':80', to: page}\n"
                                       "                      ^\n"
                                       "--set stages.page.handler: error: no\n"
                                       "        a.lua\n"
                                       "        ^\n"
                                       "weir.yaml: error: nowhere\n");
    fixture_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minimal_application_has_the_built_in_defaults),
        cmocka_unit_test(pools_classes_and_admin_are_read),
        cmocka_unit_test(shared_tables_are_read),
        cmocka_unit_test(overload_is_on_unless_it_says_off),
        cmocka_unit_test(scripts_take_the_place_of_controllers),
        cmocka_unit_test(controllers_and_their_settings_are_read),
        cmocka_unit_test(stages_take_defaults_and_their_own_settings),
        cmocka_unit_test(outputs_have_their_shapes),
        cmocka_unit_test(config_is_handed_on_as_it_is),
        cmocka_unit_test(options_are_typed_and_complete),
        cmocka_unit_test(an_empty_string_is_an_option_when_its_least_length_is_none),
        cmocka_unit_test(limits_that_nobody_wrote_follow_lower_ones),
        cmocka_unit_test(the_middle_class_is_the_default_without_normal),
        cmocka_unit_test(all_shapes_of_admission_are_read),
        cmocka_unit_test(all_shapes_of_controllers_are_read),
        cmocka_unit_test(the_command_line_overrides),
        cmocka_unit_test(later_problems_are_reported_alike),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
