/* weir graph: the document of GET /v1/graph (admin/view.h), of a running host or made from a file, drawn in
 * one of three ways. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "admin/view.h"
#include "base/strbuf.h"
#include "cli/app_arg.h"
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/graph_draw.h"
#include "config/app.h"

enum { FORMAT, JSON, SET, ADMIN };

static const struct weir_cli_option options[] = {
    [FORMAT] = {"format", "FORMAT", "text (default), dot (Graphviz) or mermaid"},
    [JSON] = {"json", NULL, "for programs"},
    [SET] = {"set", "PATH=VALUE", "with APP: sets a value of weir.yaml; may be repeated"},
    [ADMIN] = {"admin", "SOCK", "without APP: the running host (default: $WEIR_ADMIN, else the only one)"},
    {NULL, NULL, NULL},
};

struct request {
    struct weir_app_arg app;
    const char *admin, *format;
    bool json;
};

static int read_option(struct request *r, int option, const char *value)
{
    switch (option) {
    case FORMAT:
        r->format = value;
        if (strcmp(value, "text") != 0 && strcmp(value, "dot") != 0 && strcmp(value, "mermaid") != 0)
            return weir_cli_usage(&weir_cmd_graph, "--format is text, dot or mermaid, not '%s'", value);
        break;
    case JSON:
        r->json = true;
        break;
    case SET:
        return weir_app_arg_set(&r->app, &weir_cmd_graph, value);
    case ADMIN:
        r->admin = value;
        break;
    }
    return WEIR_EXIT_DONE;
}

static int from_file(const struct request *r, const struct weir_registry *registry, struct weir_strbuf *doc)
{
    struct weir_app *app;
    int code = weir_app_arg_load(&r->app, &weir_cmd_graph, registry, &app);
    if (code != WEIR_EXIT_DONE)
        return code;
    weir_graph_print(&(struct weir_view){.app = app}, doc);
    weir_app_free(app);
    return doc->failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory") : WEIR_EXIT_DONE;
}

static int from_host(const struct request *r, struct weir_strbuf *doc)
{
    int status;
    int code = weir_ask(r->admin, "/v1/graph", doc, &status);
    return code != WEIR_EXIT_DONE && status != 0 ? weir_ask_refused(doc, status) : code;
}

static int draw(const struct request *r, const struct weir_strbuf *doc)
{
    json_error_t why;
    json_t *graph = json_loadb(doc->data, doc->len, 0, &why);
    if (graph == NULL)
        return weir_cli_fail(WEIR_EXIT_FAILED, "the host's answer is not JSON: %s", why.text);
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    if (strcmp(r->format, "dot") == 0)
        weir_graph_draw_dot(graph, &out);
    else if (strcmp(r->format, "mermaid") == 0)
        weir_graph_draw_mermaid(graph, &out);
    else
        weir_graph_draw_text(graph, &out);
    json_decref(graph);
    int code = out.failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory") : WEIR_EXIT_DONE;
    if (code == WEIR_EXIT_DONE)
        (void)fputs(out.data, stdout); /* checked by weir_cli_finish */
    weir_strbuf_fini(&out);
    return code;
}

static int show(const struct request *r, const struct weir_registry *registry)
{
    struct weir_strbuf doc = WEIR_STRBUF_INIT;
    int code = r->app.path != NULL ? from_file(r, registry, &doc) : from_host(r, &doc);
    if (code == WEIR_EXIT_DONE && r->json)
        (void)fwrite(doc.data, 1, doc.len, stdout); /* checked by weir_cli_finish */
    else if (code == WEIR_EXIT_DONE)
        code = draw(r, &doc);
    weir_strbuf_fini(&doc);
    return weir_cli_finish(code);
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    struct request r = {.format = "text"};
    struct weir_cli_words words;
    const char *value;
    int option, code = WEIR_EXIT_DONE;
    weir_cli_words_init(&words, &weir_cmd_graph, argc, argv);
    while (code == WEIR_EXIT_DONE && (option = weir_cli_next(&words, &value)) >= 0)
        code = read_option(&r, option, value);
    if (code == WEIR_EXIT_DONE && option == WEIR_CLI_STOP) {
        code = words.exit;
    } else if (code == WEIR_EXIT_DONE) {
        r.app.path = weir_cli_word(&words, 0);
        if (r.app.path == NULL && r.app.set_count > 0)
            code = weir_cli_usage(&weir_cmd_graph,
                                  "--set needs an APP: a running host's values are not changed by looking");
        else if (r.app.path != NULL && r.admin != NULL)
            code = weir_cli_usage(&weir_cmd_graph, "--admin and APP: say one of them");
        else
            code = show(&r, registry);
    }
    weir_app_arg_fini(&r.app);
    return code;
}

const struct weir_cli_command weir_cmd_graph = {
    .name = "graph",
    .words = "[APP] [OPTION]...",
    .summary = "shows the stages and who sends to whom",
    .details = "With APP, a folder with a weir.yaml, a YAML file or one Lua file, what it says; without, the "
               "running host's graph\n"
               "with live figures.\n\n"
               "exit status: 0 done; 1 failed; 64 usage; 69 no running host; 78 bad configuration\n",
    .options = options,
    .words_max = 1,
    .run = run,
};
