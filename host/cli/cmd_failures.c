/* weir failures: the last events of the running host that failed, newest first. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "cli/ask.h"
#include "cli/command.h"

enum { JSON, LIMIT, ADMIN };

static const struct weir_cli_option options[] = {
    [JSON] = {"json", NULL, "for programs: what the host answers to /v1/failures"},
    [LIMIT] = {"limit", "N", "at most so many (default: 10; with --json all that are kept, 256)"},
    [ADMIN] = {"admin", "SOCK", "the running host (default: $WEIR_ADMIN, else the only one)"},
    {NULL, NULL, NULL},
};

static const char default_limit[] = "10";

struct request {
    const char *stage, *admin, *limit;
    bool json;
};

static const char *text_at(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "-";
}

static long long int_at(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

/* Each of its lines, indented. */
static void add_lines(struct weir_strbuf *out, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        weir_strbuf_addf(out, "    %.*s\n", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

static void draw_one(const json_t *f, struct weir_strbuf *out)
{
    weir_strbuf_addf(out, "%s  stage %s  %s  event %lld, worker %lld, generation %lld\n", text_at(f, "time"), text_at(f, "stage"),
                     text_at(f, "reason"), int_at(f, "id"), int_at(f, "worker"), int_at(f, "generation"));
    const char *error = json_string_value(json_object_get(f, "error"));
    if (error != NULL)
        add_lines(out, error);
    const json_t *event = json_object_get(f, "event");
    char *text = event != NULL ? json_dumps(event, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text != NULL)
        weir_strbuf_addf(out, "    event: %s\n", text);
    else
        weir_strbuf_addf(out, "    event: not kept, %lld bytes\n", int_at(f, "event_bytes"));
    free(text); /* jansson made it */
}

static int draw(const struct weir_strbuf *body)
{
    json_error_t why;
    json_t *doc = json_loadb(body->data != NULL ? body->data : "", body->len, 0, &why);
    if (doc == NULL)
        return weir_cli_fail(WEIR_EXIT_FAILED, "the host's answer is not JSON: %s", why.text);
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    const json_t *list = json_object_get(doc, "failures");
    for (size_t i = 0; i < json_array_size(list); i++)
        draw_one(json_array_get(list, i), &out);
    json_decref(doc);
    int code = out.failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory") : WEIR_EXIT_DONE;
    if (!out.failed && out.len > 0)
        (void)fwrite(out.data, 1, out.len, stdout); /* checked by weir_cli_finish */
    weir_strbuf_fini(&out);
    return code;
}

static int show(const struct request *r)
{
    struct weir_strbuf target = WEIR_STRBUF_INIT, body = WEIR_STRBUF_INIT;
    const char *limit = r->limit != NULL ? r->limit : r->json ? NULL : default_limit;
    weir_strbuf_adds(&target, "/v1/failures?");
    if (limit != NULL)
        weir_ask_add_query(&target, "limit", limit);
    if (r->stage != NULL)
        weir_ask_add_query(&target, "stage", r->stage);
    int status = 0;
    int code = target.failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory")
                             : weir_ask(r->admin, target.data, &body, &status);
    if (code == WEIR_EXIT_DONE && r->json)
        (void)fwrite(body.data, 1, body.len, stdout); /* checked by weir_cli_finish */
    else if (code == WEIR_EXIT_DONE)
        code = draw(&body);
    else if (status == 404 && r->stage != NULL)
        code = weir_ask_unknown_stage(r->admin, r->stage);
    else if (status != 0)
        code = weir_ask_refused(&body, status);
    weir_strbuf_fini(&target);
    weir_strbuf_fini(&body);
    return weir_cli_finish(code);
}

static bool is_limit(const char *text)
{
    size_t len = strlen(text);
    long n = len > 0 && len <= 3 && strspn(text, "0123456789") == len ? strtol(text, NULL, 10) : 0;
    return n >= 1 && n <= 256;
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    struct request r = {.stage = NULL};
    struct weir_cli_words words;
    const char *value;
    int option;
    weir_cli_words_init(&words, &weir_cmd_failures, argc, argv);
    while ((option = weir_cli_next(&words, &value)) >= 0) {
        if (option == JSON)
            r.json = true;
        else if (option == LIMIT)
            r.limit = value;
        else
            r.admin = value;
    }
    if (option == WEIR_CLI_STOP)
        return words.exit;
    if (r.limit != NULL && !is_limit(r.limit))
        return weir_cli_usage(&weir_cmd_failures, "--limit: expected a whole number from 1 to 256, found '%s'", r.limit);
    r.stage = weir_cli_word(&words, 0);
    return show(&r);
}

const struct weir_cli_command weir_cmd_failures = {
    .name = "failures",
    .words = "[STAGE] [OPTION]...",
    .summary = "shows the last events that failed, newest first: why, where and with what",
    .details = "Reasons: error (the handler raised), cpu, wall, stall, memory (it went over limits.…), shutdown (it was\n"
               "ended when the host stopped). The last 256 are kept. With STAGE, those of one stage.\n\n"
               "exit status: 0 done; 1 failed, or there is no such stage; 64 usage; 69 no running host\n",
    .options = options,
    .words_max = 1,
    .run = run,
};
