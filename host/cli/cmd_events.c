/* weir events: what the host decided and what it was told, as it happens. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/strbuf.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/stream.h"

enum { ONCE, AFTER, JSON, ADMIN };

static const struct weir_cli_option options[] = {
    [ONCE] = {"once", NULL, "what is kept, then the end"},
    [AFTER] = {"after", "NUMBER", "only events with a higher number"},
    [JSON] = {"json", NULL, "for programs: a JSON object a line, with the inputs of decisions"},
    [ADMIN] = {"admin", "SOCK", "the running host (default: $WEIR_ADMIN, else the only one)"},
    {NULL, NULL, NULL},
};

static const char data_begin[] = "data: ";

struct request {
    const char *admin, *after;
    bool once, json;
    int why; /* errno of a failed write; 0: none failed */
};

static void draw_number(struct weir_strbuf *out, const json_t *doc, const char *key)
{
    const json_t *n = json_object_get(doc, key);
    if (n != NULL)
        weir_strbuf_addf(out, "%.6g", json_number_value(n));
    else
        weir_strbuf_addc(out, '-');
}

static const char *text_of(const json_t *doc, const char *key)
{
    const char *text = json_string_value(json_object_get(doc, key));
    return text != NULL ? text : "";
}

/* "2026-01-02T03:04:05.678Z decision pools.disk.threads 1 -> 2 queue: queue over threshold (depth 120)" */
static void draw(struct weir_strbuf *out, const json_t *doc)
{
    double time_s = json_number_value(json_object_get(doc, "time"));
    time_t whole = (time_t)time_s;
    struct tm tm;
    char when[32];
    (void)gmtime_r(&whole, &tm); /* times of now */
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    weir_strbuf_addf(out, "%s.%03dZ %-8s %s", when, (int)((time_s - (double)whole) * 1000), text_of(doc, "kind"), text_of(doc, "path"));
    if (json_object_get(doc, "from") != NULL || json_object_get(doc, "to") != NULL) {
        weir_strbuf_addc(out, ' ');
        draw_number(out, doc, "from");
        weir_strbuf_adds(out, " -> ");
        draw_number(out, doc, "to");
    }
    if (text_of(doc, "rule")[0] != '\0')
        weir_strbuf_addf(out, " %s: %s", text_of(doc, "controller"), text_of(doc, "rule"));
    const json_t *inputs = json_object_get(doc, "inputs");
    if (inputs != NULL)
        weir_strbuf_addf(out, " (depth %.0f, waited %.3gs at p90, %.0f idle)", json_number_value(json_object_get(inputs, "depth")),
                         json_number_value(json_object_get(inputs, "wait_s")), json_number_value(json_object_get(inputs, "idle")));
    if (text_of(doc, "text")[0] != '\0')
        weir_strbuf_addf(out, " - %s", text_of(doc, "text"));
    weir_strbuf_addc(out, '\n');
}

static bool take_line(void *arg, const char *line, size_t len)
{
    struct request *r = arg;
    size_t skip = sizeof data_begin - 1;
    if (len < skip || memcmp(line, data_begin, skip) != 0)
        return true; /* id, event, a comment, or the empty line after an event */
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    json_t *doc = r->json ? NULL : json_loadb(line + skip, len - skip, 0, NULL);
    if (r->json)
        weir_strbuf_addf(&out, "%.*s\n", (int)(len - skip), line + skip);
    else
        draw(&out, doc);
    json_decref(doc);
    if (out.failed)
        r->why = ENOMEM;
    else if (fwrite(out.data, 1, out.len, stdout) != out.len)
        r->why = errno;
    weir_strbuf_fini(&out);
    return r->why == 0;
}

/* Who reads them wants them now. */
static bool flush(void *arg)
{
    struct request *r = arg;
    r->why = fflush(stdout) != 0 ? errno : 0;
    return r->why == 0;
}

static int show(struct request *r)
{
    struct weir_strbuf target = WEIR_STRBUF_INIT, body = WEIR_STRBUF_INIT;
    weir_strbuf_addf(&target, "/v1/events?once=%d", r->once);
    if (r->after != NULL)
        weir_strbuf_addf(&target, "&after=%s", r->after);
    const struct weir_stream s = {.admin = r->admin, .target = target.data, .line = take_line, .flush = flush, .arg = r};
    int status = 0;
    int code = target.failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory") : weir_stream_run(&s, &body, &status);
    if (r->why != 0)
        code = weir_cli_fail(WEIR_EXIT_FAILED, "stdout: %s", strerror(r->why));
    else if (status != 0 && status != 200)
        code = weir_ask_refused(&body, status);
    weir_strbuf_fini(&target);
    weir_strbuf_fini(&body);
    return weir_cli_finish(code);
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    struct request r = {.once = false};
    struct weir_cli_words words;
    const char *value;
    int option;
    weir_cli_words_init(&words, &weir_cmd_events, argc, argv);
    while ((option = weir_cli_next(&words, &value)) >= 0) {
        r.once = r.once || option == ONCE;
        r.json = r.json || option == JSON;
        r.after = option == AFTER ? value : r.after;
        r.admin = option == ADMIN ? value : r.admin;
    }
    if (option == WEIR_CLI_STOP)
        return words.exit;
    size_t len = r.after != NULL ? strlen(r.after) : 1;
    if (r.after != NULL && (len == 0 || len > 18 || strspn(r.after, "0123456789") != len))
        return weir_cli_usage(&weir_cmd_events, "--after: expected the number of an event, found '%s'", r.after);
    return show(&r);
}

const struct weir_cli_command weir_cmd_events = {
    .name = "events",
    .words = "[OPTION]...",
    .summary = "shows what controllers of the running host decide, and what was set, as it happens",
    .details = "First what is kept, the last 1024, then what comes; it ends by Ctrl-C, or with the host. A decision shows the\n"
               "knob, what it was and is, the controller and its rule; with --json all that the controller saw.\n\n"
               "exit status: 0 done; 1 failed; 64 usage; 69 no running host\n",
    .options = options,
    .words_max = 0,
    .run = run,
};
