/* weir set, weir freeze, weir unfreeze: moves a knob of the running host, keeps its controller from moving it, lets it again. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/strbuf.h"
#include "cli/ask.h"
#include "cli/command.h"

enum { JSON, ADMIN };

static const struct weir_cli_option options[] = {
    [JSON] = {"json", NULL, "for programs: what the host answers"},
    [ADMIN] = {"admin", "SOCK", "the running host (default: $WEIR_ADMIN, else the only one)"},
    {NULL, NULL, NULL},
};

struct request {
    const char *admin, *path, *value; /* value NULL: not for this verb */
    bool json;
};

/* What is posted; to be freed by free(). */
static char *post_body(const struct request *r)
{
    json_t *body = json_object();
    (void)json_object_set_new(body, "path", json_string(r->path)); /* without memory json_dumps gives NULL or the host says what is missing */
    if (r->value != NULL)
        (void)json_object_set_new(body, "value", json_string(r->value));
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

static int act(const struct weir_cli_command *c, const struct request *r)
{
    struct weir_strbuf target = WEIR_STRBUF_INIT, body = WEIR_STRBUF_INIT;
    char *json = post_body(r);
    int status = 0, code = WEIR_EXIT_FAILED;
    weir_strbuf_addf(&target, "/v1/%s", c->name);
    if (target.failed || json == NULL)
        (void)weir_cli_fail(code, "out of memory");
    else
        code = weir_ask_post(r->admin, target.data, json, &body, &status);
    free(json); /* jansson made it */
    if (code == WEIR_EXIT_DONE && r->json)
        (void)fwrite(body.data, 1, body.len, stdout); /* checked by weir_cli_finish */
    else if (status != 0 && code != WEIR_EXIT_DONE)
        code = weir_ask_refused(&body, status);
    weir_strbuf_fini(&target);
    weir_strbuf_fini(&body);
    return weir_cli_finish(code);
}

static int run(const struct weir_cli_command *c, bool takes_value, int argc, char **argv)
{
    struct request r = {.path = NULL};
    struct weir_cli_words words;
    const char *value;
    int option;
    weir_cli_words_init(&words, c, argc, argv);
    while ((option = weir_cli_next(&words, &value)) >= 0) {
        if (option == JSON)
            r.json = true;
        else
            r.admin = value;
    }
    if (option == WEIR_CLI_STOP)
        return words.exit;
    r.path = weir_cli_word(&words, 0);
    r.value = takes_value ? weir_cli_word(&words, 1) : NULL;
    if (r.path == NULL || (takes_value && r.value == NULL))
        return weir_cli_usage(c, "expected %s", takes_value ? "PATH VALUE, as in stages.page.batch 8" : "PATH, as in stages.page.batch");
    return act(c, &r);
}

static int run_set(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    return run(&weir_cmd_set, true, argc, argv);
}

static int run_freeze(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    return run(&weir_cmd_freeze, false, argc, argv);
}

static int run_unfreeze(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    return run(&weir_cmd_unfreeze, false, argc, argv);
}

const struct weir_cli_command weir_cmd_set = {
    .name = "set",
    .words = "PATH VALUE [OPTION]...",
    .summary = "changes a knob or a controller's setting of the running host",
    .details = "PATH is one of stages.NAME.batch, pools.NAME.threads, pools.NAME.controller.SETTING and\n"
               "pools.NAME.controller.enabled. A controller that is enabled and not frozen may move its knob again.\n"
               "What was changed is in `weir events`; a restart begins with what weir.yaml says.\n\n"
               "exit status: 0 done; 1 failed, or nothing is at PATH; 64 usage; 69 no running host\n",
    .options = options,
    .words_max = 2,
    .run = run_set,
};

const struct weir_cli_command weir_cmd_freeze = {
    .name = "freeze",
    .words = "PATH [OPTION]...",
    .summary = "keeps a knob's controller from moving it",
    .details = "PATH is the knob's, as pools.NAME.threads. It stays where it is until `weir unfreeze`, or `weir set`.\n\n"
               "exit status: 0 done; 1 failed, or no controller moves what is at PATH; 64 usage; 69 no running host\n",
    .options = options,
    .words_max = 1,
    .run = run_freeze,
};

const struct weir_cli_command weir_cmd_unfreeze = {
    .name = "unfreeze",
    .words = "PATH [OPTION]...",
    .summary = "lets a knob's controller move it again",
    .details = "The controller begins anew: what happened while it was frozen is no sample.\n\n"
               "exit status: 0 done; 1 failed, or no controller moves what is at PATH; 64 usage; 69 no running host\n",
    .options = options,
    .words_max = 1,
    .run = run_unfreeze,
};
