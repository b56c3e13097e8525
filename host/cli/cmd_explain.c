/* weir explain: what holds the running application up, and the evidence for it. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "cli/ask.h"
#include "cli/command.h"

enum { JSON, ADMIN };

static const struct weir_cli_option options[] = {
    [JSON] = {"json", NULL, "for programs: what the host answers to /v1/explain"},
    [ADMIN] = {"admin", "SOCK", "the running host (default: $WEIR_ADMIN, else the only one)"},
    {NULL, NULL, NULL},
};

static const char *text_at(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "-";
}

static void draw(const json_t *doc, struct weir_strbuf *out)
{
    const json_t *found = json_object_get(doc, "findings"), *pool = json_object_get(doc, "busiest_pool");
    for (size_t i = 0; i < json_array_size(found); i++) {
        const json_t *f = json_array_get(found, i);
        weir_strbuf_addf(out, "%zu. %s\n   %s\n   what helps: %s\n", i + 1, text_at(f, "what"), text_at(f, "evidence"),
                         text_at(f, "advice"));
    }
    if (json_real_value(json_object_get(doc, "span_s")) <= 0)
        weir_strbuf_adds(out, "It has not run for two seconds yet: ask again.\n");
    else if (json_array_size(found) == 0)
        weir_strbuf_addf(out, "Nothing holds it up: no queue stands, nothing is refused. The busiest pool is '%s', %.0f %% of %.0f workers.\n",
                         text_at(pool, "name"), 100 * json_number_value(json_object_get(pool, "busy")),
                         json_number_value(json_object_get(pool, "threads")));
}

static int show(const struct weir_strbuf *body)
{
    json_error_t why;
    json_t *doc = json_loadb(body->data != NULL ? body->data : "", body->len, 0, &why);
    if (doc == NULL)
        return weir_cli_fail(WEIR_EXIT_FAILED, "the host's answer is not JSON: %s", why.text);
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    draw(doc, &out);
    json_decref(doc);
    int code = out.failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory") : WEIR_EXIT_DONE;
    if (!out.failed && out.len > 0)
        (void)fwrite(out.data, 1, out.len, stdout); /* checked by weir_cli_finish */
    weir_strbuf_fini(&out);
    return code;
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    const char *admin = NULL, *value;
    bool json = false;
    struct weir_cli_words words;
    int option;
    weir_cli_words_init(&words, &weir_cmd_explain, argc, argv);
    while ((option = weir_cli_next(&words, &value)) >= 0) {
        if (option == JSON)
            json = true;
        else
            admin = value;
    }
    if (option == WEIR_CLI_STOP)
        return words.exit;
    struct weir_strbuf body = WEIR_STRBUF_INIT;
    int status = 0, code = weir_ask(admin, "/v1/explain", &body, &status);
    if (code == WEIR_EXIT_DONE && json)
        (void)fwrite(body.data, 1, body.len, stdout); /* checked by weir_cli_finish */
    else if (code == WEIR_EXIT_DONE)
        code = show(&body);
    else if (status != 0)
        code = weir_ask_refused(&body, status);
    weir_strbuf_fini(&body);
    return weir_cli_finish(code);
}

const struct weir_cli_command weir_cmd_explain = {
    .name = "explain",
    .words = "[options]",
    .summary = "name what holds the running application up, and the evidence",
    .details = "It looks at the last second: whose queue stands or refuses, whom that one waits for, and what has the\n"
               "workers. The heaviest finding is first; nothing is changed.\n",
    .options = options,
    .words_max = 0,
    .run = run,
};
