/* weir stats: the document of GET /v1/stats as it is, or as tables. */
#include <jansson.h>
#include <stdio.h>

#include "base/strbuf.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/stats_draw.h"

enum { JSON, ADMIN };

static const struct weir_cli_option options[] = {
    [JSON] = {"json", NULL, "for programs: what the host answers to /v1/stats"},
    [ADMIN] = {"admin", "SOCK", "the running host (default: $WEIR_ADMIN, else the only one)"},
    {NULL, NULL, NULL},
};

struct request {
    const char *stage, *admin;
    bool json;
};

static int parse(const struct weir_strbuf *body, json_t **ret)
{
    json_error_t why;
    *ret = json_loadb(body->data != NULL ? body->data : "", body->len, 0, &why);
    return *ret != NULL ? WEIR_EXIT_DONE
                        : weir_cli_fail(WEIR_EXIT_FAILED, "the host's answer is not JSON: %s", why.text);
}

static int draw(const struct request *r, const struct weir_strbuf *body)
{
    json_t *doc;
    int code = parse(body, &doc);
    if (code != WEIR_EXIT_DONE)
        return code;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    if (r->stage != NULL)
        weir_stats_draw_stage(doc, r->stage, &out);
    else
        weir_stats_draw(doc, &out);
    json_decref(doc);
    if (out.failed)
        code = weir_cli_fail(WEIR_EXIT_FAILED, "out of memory");
    else
        (void)fputs(out.data, stdout); /* checked by weir_cli_finish */
    weir_strbuf_fini(&out);
    return code;
}

static int show(const struct request *r)
{
    struct weir_strbuf target = WEIR_STRBUF_INIT, body = WEIR_STRBUF_INIT;
    weir_strbuf_adds(&target, "/v1/stats?");
    if (r->stage != NULL)
        weir_ask_add_query(&target, "stage", r->stage);
    int status = 0;
    int code = target.failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory")
                             : weir_ask(r->admin, target.data, &body, &status);
    if (code == WEIR_EXIT_DONE && r->json)
        (void)fwrite(body.data, 1, body.len, stdout); /* checked by weir_cli_finish */
    else if (code == WEIR_EXIT_DONE)
        code = draw(r, &body);
    else if (status == 404 && r->stage != NULL)
        code = weir_ask_unknown_stage(r->admin, r->stage);
    else if (status != 0)
        code = weir_ask_refused(&body, status);
    weir_strbuf_fini(&target);
    weir_strbuf_fini(&body);
    return weir_cli_finish(code);
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    struct request r = {.stage = NULL};
    struct weir_cli_words words;
    const char *value;
    int option;
    weir_cli_words_init(&words, &weir_cmd_stats, argc, argv);
    while ((option = weir_cli_next(&words, &value)) >= 0) {
        if (option == JSON)
            r.json = true;
        else
            r.admin = value;
    }
    if (option == WEIR_CLI_STOP)
        return words.exit;
    r.stage = weir_cli_word(&words, 0);
    return show(&r);
}

const struct weir_cli_command weir_cmd_stats = {
    .name = "stats",
    .words = "[STAGE] [OPTION]...",
    .summary = "shows what became of every event, queues and times of the running host",
    .details = "Columns: QUEUE is depth/capacity; ACCEPTED = HANDLED + FAILED + EXPIRED + DROPPED + queued + "
               "RUNNING; WAIT is the\n"
               "time in the queue, SERVICE that of a handler call, as median/99th percentile. With STAGE, "
               "everything about one.\n\n"
               "exit status: 0 done; 1 failed, or there is no such stage; 64 usage; 69 no running host\n",
    .options = options,
    .words_max = 1,
    .run = run,
};
