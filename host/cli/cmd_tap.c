/* weir tap: events that pass a stage, as lines of JSON. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/stream.h"

enum { SAMPLE, RATE, NUMBER, SAVE, ADMIN };

static const struct weir_cli_option options[] = {
    [SAMPLE] = {"sample", "SHARE", "only a share of the events, as in 10% (default: all)"},
    [RATE] = {"rate", "N", "at most so many per second, as in 20/s (default: 100/s)"},
    [NUMBER] = {"number", "N", "-n N; ends after so many"},
    [SAVE] = {"save", "FILE", "writes them to FILE instead, for t.events in a test"},
    [ADMIN] = {"admin", "SOCK", "the running host (default: $WEIR_ADMIN, else the only one)"},
    {NULL, NULL, NULL},
};

static const char counts_begin[] = "{\"tap\":";

struct request {
    const char *stage, *admin, *number, *save;
    double sample, rate;
};

/* What has come. */
struct output {
    FILE *to;
    long long passed, shown, limited, lost;
    bool failed; /* writing; errno says why */
    int why;
};

static void read_counts(struct output *o, const char *line, size_t len)
{
    json_t *doc = json_loadb(line, len, 0, NULL);
    const json_t *tap = json_object_get(doc, "tap");
    o->passed = (long long)json_integer_value(json_object_get(tap, "passed"));
    o->shown = (long long)json_integer_value(json_object_get(tap, "shown"));
    o->limited = (long long)json_integer_value(json_object_get(tap, "limited"));
    o->lost = (long long)json_integer_value(json_object_get(tap, "lost"));
    json_decref(doc);
}

static bool take_line(void *arg, const char *line, size_t len)
{
    struct output *o = arg;
    if (len >= sizeof counts_begin - 1 && memcmp(line, counts_begin, sizeof counts_begin - 1) == 0) {
        read_counts(o, line, len);
        return true;
    }
    if (fwrite(line, 1, len, o->to) == len && fputc('\n', o->to) != EOF)
        return true;
    o->failed = true;
    o->why = errno;
    return false;
}

/* Who reads them wants them now. */
static bool flush(void *arg)
{
    struct output *o = arg;
    o->failed = fflush(o->to) != 0;
    o->why = errno;
    return !o->failed;
}

static int finish(const struct request *r, struct output *o, int code)
{
    const char *name = r->save != NULL ? r->save : "stdout";
    if (o->failed)
        return weir_cli_fail(WEIR_EXIT_FAILED, "%s: %s", name, strerror(o->why));
    if (code == WEIR_EXIT_DONE)
        (void)weir_cli_fail(0, "tap of %s: %lld passed, %lld shown, %lld beyond the rate, %lld lost", r->stage, o->passed, o->shown,
                            o->limited, o->lost);
    return code;
}

static int stream(const struct request *r, struct output *o)
{
    struct weir_strbuf target = WEIR_STRBUF_INIT, body = WEIR_STRBUF_INIT;
    weir_strbuf_adds(&target, "/v1/tap?");
    weir_ask_add_query(&target, "stage", r->stage);
    weir_strbuf_addf(&target, "sample=%.9g&rate=%.9g", r->sample, r->rate);
    if (r->number != NULL)
        weir_strbuf_addf(&target, "&n=%s", r->number);
    const struct weir_stream s = {.admin = r->admin, .target = target.data, .line = take_line, .flush = flush, .arg = o};
    int status = 0;
    int code = target.failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory") : weir_stream_run(&s, &body, &status);
    if (status == 404)
        code = weir_ask_unknown_stage(r->admin, r->stage);
    else if (status != 0 && status != 200)
        code = weir_ask_refused(&body, status);
    weir_strbuf_fini(&target);
    weir_strbuf_fini(&body);
    return finish(r, o, code);
}

static int show(const struct request *r)
{
    struct output o = {.to = stdout};
    if (r->save != NULL && (o.to = fopen(r->save, "we")) == NULL)
        return weir_cli_fail(WEIR_EXIT_FAILED, "%s: %s", r->save, strerror(errno));
    int code = stream(r, &o);
    if (r->save != NULL && fclose(o.to) != 0)
        code = weir_cli_fail(WEIR_EXIT_FAILED, "%s: %s", r->save, strerror(errno));
    return weir_cli_finish(code);
}

/* A number and, perhaps, its unit. */
static bool read_number(const char *text, const char *unit, double *ret, bool *ret_unit)
{
    char *end;
    double n = strtod(text, &end);
    if (end == text || !isfinite(n))
        return false;
    *ret_unit = strcmp(end, unit) == 0;
    *ret = n;
    return *ret_unit || *end == '\0';
}

static int read_option(struct request *r, int option, const char *value)
{
    bool unit = false;
    switch (option) {
    case SAMPLE:
        if (read_number(value, "%", &r->sample, &unit))
            r->sample /= unit ? 100 : 1;
        else
            r->sample = 0;
        if (r->sample <= 0 || r->sample > 1)
            return weir_cli_usage(&weir_cmd_tap, "--sample: expected a share such as 10%% or 0.1, found '%s'", value);
        break;
    case RATE:
        if (!read_number(value, "/s", &r->rate, &unit) || r->rate < 1 || r->rate > 100000)
            return weir_cli_usage(&weir_cmd_tap, "--rate: expected 1/s to 100000/s, found '%s'", value);
        break;
    case NUMBER:
        if (strlen(value) > 15 || value[0] < '1' || value[0] > '9' || strspn(value, "0123456789") != strlen(value))
            return weir_cli_usage(&weir_cmd_tap, "-n: expected a whole number from 1, found '%s'", value);
        r->number = value;
        break;
    case SAVE:
        r->save = value;
        break;
    default:
        r->admin = value;
        break;
    }
    return WEIR_EXIT_DONE;
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    struct request r = {.sample = 1, .rate = 100};
    struct weir_cli_words words;
    const char *value;
    int option;
    weir_cli_words_init(&words, &weir_cmd_tap, argc, argv);
    while ((option = weir_cli_next(&words, &value)) >= 0) {
        int code = read_option(&r, option, value);
        if (code != WEIR_EXIT_DONE)
            return code;
    }
    if (option == WEIR_CLI_STOP)
        return words.exit;
    r.stage = weir_cli_word(&words, 0);
    return r.stage != NULL ? show(&r) : weir_cli_usage(&weir_cmd_tap, "of which stage?");
}

const struct weir_cli_command weir_cmd_tap = {
    .name = "tap",
    .words = "STAGE [OPTION]...",
    .summary = "shows the events that pass a stage of the running host, as lines of JSON",
    .details = "An event passes when a worker begins it: what expires or is dropped in the queue does not. Nothing waits for\n"
               "the tap: events beyond the rate are left out, and counted. It ends after -n events, by Ctrl-C, or with the\n"
               "host; the counts are on stderr then.\n\n"
               "exit status: 0 done; 1 failed, or there is no such stage; 64 usage; 69 no running host\n",
    .options = options,
    .words_max = 1,
    .run = run,
};
