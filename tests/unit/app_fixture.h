/* tests/unit/app_fixture.h - what the tests of host/config share: a folder with handler files, types, one
 * parse. */
#ifndef WEIR_TESTS_UNIT_APP_FIXTURE_H
#define WEIR_TESTS_UNIT_APP_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/app.h"
#include "config/conf.h"
#include "config/types.h"

static const char *const fixture_modes[] = {"whole", "stream", NULL};

static const struct weir_option fixture_http_options[] = {
    {.name = "listen", .type = WEIR_OPTION_ADDRESS, .required = true, .text = "where to listen"},
    {.name = "idle_timeout",
     .type = WEIR_OPTION_DURATION,
     .fallback = "75s",
     .min = 1000000,
     .text = "between requests"},
    {.name = "max_body",
     .type = WEIR_OPTION_SIZE,
     .fallback = "1MiB",
     .max = 1 << 30,
     .text = "of a request"},
    {.name = "max_connections",
     .type = WEIR_OPTION_INT,
     .fallback = "10000",
     .min = 1,
     .max = 1000000,
     .text = "at once"},
    {.name = "body",
     .type = WEIR_OPTION_ENUM,
     .fallback = "whole",
     .words = fixture_modes,
     .text = "how it is read"},
    {.name = "date", .type = WEIR_OPTION_BOOL, .fallback = "true", .text = "send Date"},
    {.name = "server", .type = WEIR_OPTION_STRING, .max = 8, .text = "send Server"},
    {.name = "hosts", .type = WEIR_OPTION_STRINGS, .min = 1, .max = 2, .text = "names answered for"},
};
static const struct weir_app_type fixture_http = {.name = "http",
                                                  .kind = WEIR_APP_SOURCE,
                                                  .makes_requests = true,
                                                  .text = "HTTP/1.1",
                                                  .options = fixture_http_options,
                                                  .option_count = 8};
static const struct weir_app_type fixture_null = {
    .name = "null", .kind = WEIR_APP_SINK, .text = "ends events"};
static const struct weir_option fixture_file_options[] = {
    {.name = "path", .type = WEIR_OPTION_STRING, .required = true, .min = 1, .text = "where to write"}};
static const struct weir_app_type fixture_file = {.name = "file",
                                                  .kind = WEIR_APP_SINK,
                                                  .text = "writes",
                                                  .options = fixture_file_options,
                                                  .option_count = 1};
static const struct weir_app_type *const fixture_type_list[] = {&fixture_http, &fixture_null, &fixture_file};
#ifndef FIXTURE_CONTROLLERS
#define FIXTURE_CONTROLLERS 6 /* 0: none, for those who run what they read */
#endif
static const struct weir_option fixture_queue_options[] = {
    {.name = "sample", .type = WEIR_OPTION_DURATION, .fallback = "2s", .min = 1000000, .text = "time between steps"},
    {.name = "threshold", .type = WEIR_OPTION_NUMBER, .fallback = "50.5", .text = "events that make it grow"},
    {.name = "idle", .type = WEIR_OPTION_DURATION, .fallback = "5s", .text = "when a worker leaves"},
};
static const struct weir_option fixture_admission_options[] = {
    {.name = "target", .type = WEIR_OPTION_DURATION, .fallback = "5ms", .min = 100000, .text = "what is all right"},
    {.name = "interval", .type = WEIR_OPTION_DURATION, .fallback = "100ms", .min = 1000000, .text = "time between steps"},
    {.name = "percentile", .type = WEIR_OPTION_NUMBER, .fallback = "90", .min = 1, .max = 100, .text = "of what"},
};
static const struct weir_option fixture_bucket_options[] = {
    {.name = "rate", .type = WEIR_OPTION_NUMBER, .required = true, .min = 0, .max = 1000000, .text = "events a second"},
    {.name = "burst", .type = WEIR_OPTION_NUMBER, .min = 1, .max = 1000000, .text = "events at once"},
};
static const struct weir_app_controller_type fixture_controllers[] = {
    {"queue", WEIR_KNOB_THREADS, "by queue length", fixture_queue_options, 3},
    {"throughput", WEIR_KNOB_BATCH, "by throughput", NULL, 0},
    {"response_time", WEIR_KNOB_ADMISSION, "by response time", fixture_admission_options, 3},
    {"codel", WEIR_KNOB_ADMISSION, "by delay", fixture_admission_options, 2},
    {"gradient", WEIR_KNOB_ADMISSION, "by gradient", NULL, 0},
    {"token_bucket", WEIR_KNOB_ADMISSION, "by rate", fixture_bucket_options, 2},
};
static const struct weir_app_types fixture_types = {
    .types = fixture_type_list, .count = 3, .controllers = fixture_controllers, .controller_count = FIXTURE_CONTROLLERS};

static char fixture_folder[] = "/tmp/weir-test-app-XXXXXX";

static inline void fixture_path(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s/%s", fixture_folder, name);
}

static inline void fixture_write(const char *name, const char *text, size_t len)
{
    char path[256];
    fixture_path(path, sizeof path, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static inline int fixture_setup(void **state)
{
    (void)state;
    if (mkdtemp(fixture_folder) == NULL)
        return -1;
    fixture_write("a.lua", "", 0);
    fixture_write("route.lua", "", 0);
    fixture_write("page.lua", "", 0);
    char path[256];
    fixture_path(path, sizeof path, "sub");
    return mkdir(path, 0700);
}

static inline int fixture_teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", fixture_folder);
    return system(command);
}

/* One parse: `code`, the report as text, and the application when there is one. */
struct fixture_result {
    int code;
    struct weir_strbuf report;
    struct weir_app *app;
    struct weir_err err;
};

static inline void fixture_parse(struct fixture_result *r, const char *text,
                                 const struct weir_app_override *sets, size_t count)
{
    *r = (struct fixture_result){.report = WEIR_STRBUF_INIT};
    r->code = weir_app_parse(text, strlen(text), "weir.yaml", fixture_folder, sets, count, &fixture_types,
                             &r->report, &r->app, &r->err);
    weir_strbuf_add(&r->report, "", 0); /* a text, even when it is empty */
}

static inline void fixture_done(struct fixture_result *r)
{
    weir_app_free(r->app);
    weir_strbuf_fini(&r->report);
    assert_int_equal(weir_mem_live(), 0);
}

/* As little as there can be. */
static const char fixture_minimal[] =
    "weir: 1\nstages:\n  web: {source: http, listen: ':80', to: page}\n  page: {handler: page.lua}\n";

/* interfaces.md section 1, without the plugin, and with what this version warns of left out unless said
 * otherwise. */
static const char fixture_shop[] =
    "weir: 1\n"
    "name: shop\n"
    "classes: [gold, normal, bulk]\n"
    "drain: 12s\n"
    "admin: {listen: '127.0.0.1:9901', token_file: token}\n"
    "pools:\n"
    "  disk: {threads: {min: 1, max: 16}, blocking: true,\n"
    "         controller: {name: queue, sample: 1s, threshold: 100, idle: 5s}}\n"
    "  main: {threads: 2}\n"
    "defaults:\n"
    "  {queue: {capacity: 512, bytes: 32MiB, overflow: drop_newest, order: fifo}, batch: 16,\n"
    "   concurrency: 1000, limits: {slice: 5ms, stall: 40ms, cpu: 500ms, wall: 20s, memory: 16MiB},\n"
    "   libs: [string, table]}\n"
    "stages:\n"
    "  web:\n"
    "    source: http\n"
    "    listen: \"127.0.0.1:${WEIR_T_PORT:-8080}\"\n"
    "    deadline: 5s\n"
    "    hosts: [a, b]\n"
    "    body: stream\n"
    "    to: route\n"
    "  route:\n"
    "    handler: route.lua\n"
    "    to: {page: page, file: {stage: cache, overflow: wait}, copy: [audit, stats]}\n"
    "    config: {any: [yaml, 1, 2.5, null, true], port: \"${WEIR_T_PORT:-8080}\"}\n"
    "  page:\n"
    "    handler: page.lua\n"
    "    pool: main\n"
    "    queue: {capacity: 256, bytes: 16MiB, max_age: 2s, overflow: reject, order: fifo, order_by: user}\n"
    "    batch: {min: 2, max: 64}\n"
    "    concurrency: 100\n"
    "    admission: {controller: response_time, target: 100ms, percentile: 90}\n"
    "    limits: {slice: 10ms, stall: 50ms, cpu: 100ms, wall: 2s, memory: 32MiB}\n"
    "    libs: safe\n"
    "    on_error: audit\n"
    "    state: reset\n"
    "    to: page\n"
    "  cache:\n"
    "    handler: page.lua\n"
    "    pool: disk\n"
    "    queue: {overflow: {route: stats}}\n"
    "  audit:\n"
    "    sink: file\n"
    "    path: audit.log\n"
    "    queue: {order: class}\n"
    "  stats:\n"
    "    sink: null\n";

/* What must be accepted. */
static inline struct weir_app *fixture_parse_good(struct fixture_result *r, const char *text)
{
    fixture_parse(r, text, NULL, 0);
    if (r->code != WEIR_OK)
        fail_msg("%s", r->report.data);
    return r->app;
}

#endif
