/* Fuzz target: an application's file, and `--set`s. Comment lines at the beginning steer it, so that every
 * input is still a file: "#set PATH=VALUE" adds an override, "#oom N" lets the allocation after the N-th fail
 * (test builds). Handler files are looked for in /etc, where `passwd` is one. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/app.h"
#include "config/conf.h"
#include "config/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const modes[] = {"whole", "stream", NULL};
static const struct weir_option http_options[] = {
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
    {.name = "body", .type = WEIR_OPTION_ENUM, .fallback = "whole", .words = modes, .text = "how it is read"},
    {.name = "date", .type = WEIR_OPTION_BOOL, .fallback = "true", .text = "send Date"},
    {.name = "server", .type = WEIR_OPTION_STRING, .max = 8, .text = "send Server"},
    {.name = "hosts", .type = WEIR_OPTION_STRINGS, .min = 1, .max = 2, .text = "names answered for"},
};
static const struct weir_app_type http_type = {
    .name = "http", .kind = WEIR_APP_SOURCE, .text = "HTTP/1.1", .options = http_options, .option_count = 8};
static const struct weir_app_type null_type = {.name = "null", .kind = WEIR_APP_SINK, .text = "ends events"};
static const struct weir_app_type *const type_list[] = {&http_type, &null_type};
static const struct weir_app_types types = {.types = type_list, .count = 2};

enum { SETS_MAX = 4, LINE_MAX = 512 };

struct input {
    char lines[SETS_MAX][LINE_MAX];
    struct weir_app_override sets[SETS_MAX];
    size_t set_count;
    long fail_after;
};

/* One line without its '#' and newline, as a string. */
static void steer(struct input *in, const char *line)
{
    if (strncmp(line, "oom ", 4) == 0) {
        in->fail_after = strtol(line + 4, NULL, 10);
    } else if (strncmp(line, "set ", 4) == 0 && strchr(line, '=') != NULL && in->set_count < SETS_MAX) {
        char *kept = in->lines[in->set_count];
        memcpy(kept, line + 4, strlen(line + 4) + 1);
        char *equals = strchr(kept, '=');
        if (equals == NULL)
            return;
        *equals = '\0';
        in->sets[in->set_count++] = (struct weir_app_override){kept, equals + 1};
    }
}

static void read_directives(struct input *in, const char *text, size_t size)
{
    const char *end = text + size, *newline;
    while (text < end && *text == '#' && (newline = memchr(text, '\n', (size_t)(end - text))) != NULL) {
        char line[LINE_MAX];
        size_t len = (size_t)(newline - text) - 1;
        if (len < LINE_MAX) {
            memcpy(line, text + 1, len);
            line[len] = '\0';
            steer(in, line);
        }
        text = newline + 1;
    }
}

/* Touches every value, as a binding does. */
static size_t walk(const struct weir_conf *c)
{
    size_t sum = weir_conf_text(c) != NULL ? strlen(weir_conf_text(c)) : 0;
    for (size_t i = 0; i < weir_conf_size(c); i++) {
        const char *key = weir_conf_key(c, i);
        sum += (key != NULL ? strlen(key) : 0) + walk(weir_conf_at(c, i));
    }
    return sum;
}

static void check_app(const struct weir_app *app, struct weir_strbuf *report)
{
    for (size_t i = 0; i < app->stage_count; i++) {
        const struct weir_app_stage *st = &app->stages[i];
        if (st->capacity == 0 || st->bytes == 0 || st->batch_min == 0 || st->batch_min > st->batch_max ||
            st->concurrency == 0 || st->slice_ns > st->stall_ns || st->stall_ns > st->wall_ns ||
            st->cpu_ns > st->wall_ns || st->pool_index >= app->pool_count ||
            strcmp(app->pools[st->pool_index].name, st->pool) != 0)
            abort();
        for (size_t p = 0; p < st->port_count; p++)
            for (size_t e = 0; e < st->ports[p].edge_count; e++)
                if (st->ports[p].edges[e].target >= app->stage_count ||
                    strcmp(app->stages[st->ports[p].edges[e].target].name, st->ports[p].edges[e].stage) != 0)
                    abort();
        walk(st->config);
        walk(st->options);
        weir_app_report(app, st->what_at, report, "seen: %s", st->what);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {.fail_after = -1};
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_app *app = NULL;
    struct weir_err err = {0, ""};
    setenv("WEIR_FUZZ", "8080", 1);
    read_directives(&in, (const char *)data, size);
    weir_mem_fail_after(in.fail_after);
    int rc = weir_app_parse((const char *)data, size, "weir.yaml", "/etc", in.sets, in.set_count, &types,
                            &report, &app, &err);
    weir_mem_fail_after(-1);
    if ((rc == WEIR_OK || rc == WEIR_E_CONFIG) != (app != NULL) || (rc < 0 && err.text[0] == '\0'))
        abort();
    if (rc == WEIR_E_CONFIG && report.len == 0)
        abort(); /* refused without a reason */
    if (rc == WEIR_OK)
        check_app(app, &report);
    weir_app_free(app);
    weir_strbuf_fini(&report);
    if (weir_mem_live() != 0)
        abort();
    return 0;
}
