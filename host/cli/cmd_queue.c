/* weir queue: looks into the queues of the running host, and acts on them. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/figures.h"
#include "cli/spark.h"
#include "cli/table.h"
#include "config/nearest.h"

enum { N, OLDER, HISTORY, JSON, ADMIN };

static const struct weir_cli_option options[] = {
    [N] = {"number", "N", "-n N; peek: show so many (default 10, at most 1000); drop: at most so many"},
    [OLDER] = {"older", "AGE", "drop: only what has waited so long, as in 5s"},
    [HISTORY] = {"history", NULL, "ls: how long the queues were over the last hour"},
    [JSON] = {"json", NULL, "for programs: what the host answers"},
    [ADMIN] = {"admin", "SOCK", "the running host (default: $WEIR_ADMIN, else the only one)"},
    {NULL, NULL, NULL},
};

enum { SPARK_WIDTH = 60, VALUE_SHOWN = 200 };

struct request {
    const char *verb, *stage, *admin, *number, *older;
    bool json, history;
};

static double real_at(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static long long int_at(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* "850us", "1.5s", "3m05s" */
static const char *figure_age(char out[WEIR_FIGURE_MAX], double s)
{
    return s < 60 ? weir_figure_us(out, (int64_t)(s * 1e6)) : weir_figure_seconds(out, s);
}

static void draw_list(const json_t *doc, struct weir_strbuf *out)
{
    static const char *const titles[] = {"STAGE", ">DEPTH", ">CAPACITY", ">FILL", ">BYTES", ">OLDEST", ">WAITING", "STATE", NULL};
    struct weir_table table;
    const char *name;
    json_t *q;
    char text[WEIR_FIGURE_MAX];
    weir_table_init(&table, titles);
    json_object_foreach(json_object_get(doc, "queues"), name, q)
    {
        double capacity = real_at(q, "capacity");
        const json_t *oldest = json_object_get(q, "oldest_s");
        weir_table_add(&table, "%s", name);
        weir_table_add(&table, "%lld", int_at(q, "depth"));
        weir_table_add(&table, "%.0f", capacity);
        weir_table_add(&table, "%.0f%%", capacity > 0 ? 100 * real_at(q, "depth") / capacity : 0);
        weir_table_add(&table, "%s", weir_figure_bytes(text, (uint64_t)int_at(q, "bytes")));
        weir_table_add(&table, "%s", oldest != NULL ? figure_age(text, json_number_value(oldest)) : "-");
        weir_table_add(&table, "%lld", int_at(q, "waiting"));
        weir_table_add(&table, "%s", json_is_true(json_object_get(q, "paused")) ? "paused" : "runs");
    }
    weir_table_print(&table, out);
    weir_table_fini(&table);
}

static void draw_history(const json_t *doc, struct weir_strbuf *out)
{
    static const char *const titles[] = {"STAGE", ">MOST", "LAST HOUR", "LAST 2 MINUTES", NULL};
    struct weir_table table;
    const char *name;
    json_t *q;
    weir_table_init(&table, titles);
    json_object_foreach(json_object_get(doc, "queues"), name, q)
    {
        const json_t *hour = json_object_get(json_object_get(q, "hour"), "max"),
                     *minutes = json_object_get(json_object_get(q, "minutes"), "max");
        struct weir_strbuf long_line = WEIR_STRBUF_INIT, short_line = WEIR_STRBUF_INIT;
        double most = weir_spark_most(hour);
        weir_spark_draw(hour, most, SPARK_WIDTH, &long_line);
        weir_spark_draw(minutes, most, SPARK_WIDTH / 2, &short_line);
        weir_table_add(&table, "%s", name);
        weir_table_add(&table, "%.0f", most);
        weir_table_add(&table, "%s", long_line.data != NULL ? long_line.data : "-");
        weir_table_add(&table, "%s", short_line.data != NULL ? short_line.data : "-");
        weir_strbuf_fini(&long_line);
        weir_strbuf_fini(&short_line);
    }
    weir_table_print(&table, out);
    weir_table_fini(&table);
}

static void draw_event(const json_t *ev, struct weir_strbuf *out)
{
    char age[WEIR_FIGURE_MAX], queued[WEIR_FIGURE_MAX];
    const json_t *key = json_object_get(ev, "key"), *value = json_object_get(ev, "value");
    weir_strbuf_addf(out, "%lld  %s  waits %s  age %s%s", int_at(ev, "id"), json_string_value(json_object_get(ev, "class")),
                     figure_age(queued, real_at(ev, "queued_s")), figure_age(age, real_at(ev, "age_s")),
                     json_is_true(json_object_get(ev, "request")) ? "  request" : "");
    char *text = key != NULL ? json_dumps(key, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text != NULL)
        weir_strbuf_addf(out, "  key %s", text);
    free(text); /* jansson made it */
    text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    const char *shown = text != NULL ? text : json_string_value(json_object_get(ev, "value_cut"));
    size_t len = shown != NULL ? strlen(shown) : 0, max = len > VALUE_SHOWN ? VALUE_SHOWN : len;
    while (max > 0 && max < len && ((unsigned char)shown[max] & 0xc0) == 0x80)
        max--; /* not in the middle of a character */
    weir_strbuf_addf(out, "\n    %.*s%s\n", (int)max, shown != NULL ? shown : "", max < len || text == NULL ? "…" : "");
    free(text); /* likewise */
}

static void draw_events(const json_t *doc, struct weir_strbuf *out)
{
    const json_t *events = json_object_get(doc, "events");
    for (size_t i = 0; i < json_array_size(events); i++)
        draw_event(json_array_get(events, i), out);
    weir_strbuf_addf(out, "%zu of %lld events that wait at %s\n", json_array_size(events), int_at(doc, "depth"),
                     json_string_value(json_object_get(doc, "stage")));
}

static void draw_dropped(const json_t *doc, struct weir_strbuf *out)
{
    weir_strbuf_addf(out, "%s: %lld dropped, %lld wait\n", json_string_value(json_object_get(doc, "stage")), int_at(doc, "dropped"),
                     int_at(doc, "depth"));
}

static void draw_paused(const json_t *doc, struct weir_strbuf *out)
{
    weir_strbuf_addf(out, "%s %s, %lld wait\n", json_string_value(json_object_get(doc, "stage")),
                     json_is_true(json_object_get(doc, "paused")) ? "is paused" : "runs", int_at(doc, "depth"));
}

/* On stderr: results are what the others said. */
static void tell_missing(const json_t *doc)
{
    const json_t *list = json_object_get(doc, "missing");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        (void)weir_cli_fail(0, "worker %lld of pool '%s' has not answered: its part is missing", int_at(one, "worker"),
                            json_string_value(json_object_get(one, "pool")));
    }
}

static const struct verb {
    const char *name, *target;
    bool posts, names_stage;
    void (*draw)(const json_t *doc, struct weir_strbuf *out);
} verbs[] = {
    {"ls", "/v1/queue", false, false, draw_list},
    {"peek", "/v1/queue/peek?", false, true, draw_events},
    {"drop", "/v1/queue/drop", true, true, draw_dropped},
    {"pause", "/v1/queue/pause", true, true, draw_paused},
    {"resume", "/v1/queue/resume", true, true, draw_paused},
    {"history", "/v1/queue/history", false, false, draw_history}, /* ls --history */
};

enum { VERBS = sizeof verbs / sizeof verbs[0] };

static int draw(const struct verb *v, const struct weir_strbuf *body)
{
    json_error_t why;
    json_t *doc = json_loadb(body->data != NULL ? body->data : "", body->len, 0, &why);
    if (doc == NULL)
        return weir_cli_fail(WEIR_EXIT_FAILED, "the host's answer is not JSON: %s", why.text);
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    v->draw(doc, &out);
    tell_missing(doc);
    json_decref(doc);
    int code = out.failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory") : WEIR_EXIT_DONE;
    if (!out.failed && out.len > 0)
        (void)fwrite(out.data, 1, out.len, stdout); /* checked by weir_cli_finish */
    weir_strbuf_fini(&out);
    return code;
}

/* What is posted; to be freed by free(). */
static char *post_body(const struct request *r)
{
    json_t *body = json_object();
    (void)json_object_set_new(body, "stage", json_string(r->stage)); /* without memory json_dumps gives NULL or the host says what is missing */
    if (r->older != NULL)
        (void)json_object_set_new(body, "older", json_string(r->older));
    if (r->number != NULL)
        (void)json_object_set_new(body, "n", json_integer(strtoll(r->number, NULL, 10)));
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

static int ask(const struct request *r, const struct verb *v, struct weir_strbuf *body, int *ret_status)
{
    struct weir_strbuf target = WEIR_STRBUF_INIT;
    char *json = v->posts ? post_body(r) : NULL;
    int code = WEIR_EXIT_FAILED;
    weir_strbuf_adds(&target, v->target);
    if (v->names_stage && !v->posts) {
        weir_ask_add_query(&target, "stage", r->stage);
        if (r->number != NULL)
            weir_ask_add_query(&target, "n", r->number);
    }
    if (target.failed || (v->posts && json == NULL))
        (void)weir_cli_fail(code, "out of memory");
    else
        code = weir_ask_post(r->admin, target.data, json, body, ret_status);
    free(json); /* jansson made it */
    weir_strbuf_fini(&target);
    return code;
}

static int show(const struct request *r, const struct verb *v)
{
    struct weir_strbuf body = WEIR_STRBUF_INIT;
    int status = 0, code = ask(r, v, &body, &status);
    if (code == WEIR_EXIT_DONE && r->json)
        (void)fwrite(body.data, 1, body.len, stdout); /* checked by weir_cli_finish */
    else if (code == WEIR_EXIT_DONE)
        code = draw(v, &body);
    else if (status == 404 && r->stage != NULL)
        code = weir_ask_unknown_stage(r->admin, r->stage);
    else if (status != 0)
        code = weir_ask_refused(&body, status);
    weir_strbuf_fini(&body);
    return weir_cli_finish(code);
}

static const struct verb *find_verb(const struct request *r)
{
    struct weir_nearest near;
    if (r->verb == NULL) {
        (void)weir_cli_usage(&weir_cmd_queue, "what is to be done? ls, peek, drop, pause or resume");
        return NULL;
    }
    weir_nearest_init(&near, r->verb);
    for (size_t i = 0; i + 1 < VERBS; i++) {
        weir_nearest_offer(&near, verbs[i].name);
        if (strcmp(r->verb, verbs[i].name) == 0)
            return i == 0 && r->history ? &verbs[VERBS - 1] : &verbs[i];
    }
    const char *best = weir_nearest_best(&near);
    if (best != NULL)
        (void)weir_cli_usage(&weir_cmd_queue, "there is no '%s'; did you mean '%s'?", r->verb, best);
    else
        (void)weir_cli_usage(&weir_cmd_queue, "there is no '%s'; there are ls, peek, drop, pause, resume", r->verb);
    return NULL;
}

static int check(const struct request *r, const struct verb *v)
{
    bool drops = strcmp(v->name, "drop") == 0, peeks = strcmp(v->name, "peek") == 0;
    if (v->names_stage && r->stage == NULL)
        return weir_cli_usage(&weir_cmd_queue, "%s: of which stage?", v->name);
    if (!v->names_stage && r->stage != NULL)
        return weir_cli_usage(&weir_cmd_queue, "ls shows all stages; what is '%s'?", r->stage);
    if (r->older != NULL && !drops)
        return weir_cli_usage(&weir_cmd_queue, "--older is for drop");
    if (r->number != NULL && !drops && !peeks)
        return weir_cli_usage(&weir_cmd_queue, "-n is for peek and drop");
    if (r->history && strcmp(r->verb, "ls") != 0)
        return weir_cli_usage(&weir_cmd_queue, "--history is for ls");
    size_t len = r->number != NULL ? strlen(r->number) : 1;
    if (r->number != NULL && (len == 0 || len > 15 || strspn(r->number, "0123456789") != len || strtoll(r->number, NULL, 10) < 1))
        return weir_cli_usage(&weir_cmd_queue, "-n: expected a whole number from 1, found '%s'", r->number);
    return WEIR_EXIT_DONE;
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    struct request r = {.verb = NULL};
    struct weir_cli_words words;
    const char *value;
    int option;
    weir_cli_words_init(&words, &weir_cmd_queue, argc, argv);
    while ((option = weir_cli_next(&words, &value)) >= 0) {
        switch (option) {
        case N:
            r.number = value;
            break;
        case OLDER:
            r.older = value;
            break;
        case HISTORY:
            r.history = true;
            break;
        case JSON:
            r.json = true;
            break;
        default:
            r.admin = value;
            break;
        }
    }
    if (option == WEIR_CLI_STOP)
        return words.exit;
    r.verb = weir_cli_word(&words, 0);
    r.stage = r.verb != NULL ? weir_cli_word(&words, 1) : NULL;
    const struct verb *v = find_verb(&r);
    if (v == NULL)
        return WEIR_EXIT_USAGE;
    int code = check(&r, v);
    return code == WEIR_EXIT_DONE ? show(&r, v) : code;
}

const struct weir_cli_command weir_cmd_queue = {
    .name = "queue",
    .words = "ls|peek|drop|pause|resume [STAGE] [OPTION]...",
    .summary = "looks into queues of the running host, and acts on them",
    .details = "ls      all queues: how many events wait, since when the oldest does, how many emits wait for room\n"
               "peek    the events of STAGE that wait longest; they stay where they are\n"
               "drop    takes events out of the queue of STAGE, those that wait longest first; requests are answered 503\n"
               "pause   STAGE takes nothing from its queue until resume, or until the host stops\n\n"
               "exit status: 0 done; 1 failed, or there is no such stage; 64 usage; 69 no running host\n",
    .options = options,
    .words_max = 2,
    .run = run,
};
