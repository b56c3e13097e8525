#include <stdio.h>
#include <string.h>

#include "admin/build_info.h"
#include "admin/json_out.h"
#include "base/strbuf.h"
#include "cli/command.h"

enum { JSON };

static const struct weir_cli_option options[] = {
    [JSON] = {"json", NULL, "for programs"},
    {NULL, NULL, NULL},
};

static void print_text(struct weir_strbuf *out)
{
    struct weir_build_library library;
    weir_strbuf_addf(out, "weir %s\nbuild: %s, %s", weir_build_version(), weir_build_type(),
                     weir_build_compiler());
    if (weir_build_testing())
        weir_strbuf_adds(out, ", test hooks");
    if (weir_build_sanitizers()[0] != '\0')
        weir_strbuf_addf(out, ", sanitizers %s", weir_build_sanitizers());
    weir_strbuf_adds(out, "\nwith:");
    for (size_t i = 0; weir_build_library(i, &library); i++)
        weir_strbuf_addf(out, "%s %s %s", i > 0 ? "," : "", library.name, library.version);
    weir_strbuf_addc(out, '\n');
}

static void print_json(struct weir_strbuf *out)
{
    struct weir_build_library library;
    struct weir_json_out j = {.out = out};
    weir_json_open(&j, NULL, '{');
    weir_json_string(&j, "version", weir_build_version());
    weir_json_string(&j, "build", weir_build_type());
    weir_json_string(&j, "compiler", weir_build_compiler());
    weir_json_bool(&j, "testing", weir_build_testing());
    weir_json_string(&j, "sanitizers", weir_build_sanitizers());
    weir_json_open(&j, "libraries", '{');
    for (size_t i = 0; weir_build_library(i, &library); i++)
        weir_json_string(&j, library.name, library.version);
    weir_json_close(&j, '}');
    weir_json_close(&j, '}');
    weir_strbuf_addc(out, '\n');
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    (void)registry; /* nothing is loaded */
    struct weir_cli_words words;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    const char *value;
    bool json = false;
    int option;
    weir_cli_words_init(&words, &weir_cmd_version, argc, argv);
    while ((option = weir_cli_next(&words, &value)) >= 0)
        json = true;
    if (option == WEIR_CLI_STOP)
        return words.exit;
    if (json)
        print_json(&out);
    else
        print_text(&out);
    int code = out.failed ? weir_cli_fail(WEIR_EXIT_FAILED, "out of memory") : WEIR_EXIT_DONE;
    if (code == WEIR_EXIT_DONE)
        (void)fputs(out.data, stdout); /* checked by weir_cli_finish */
    weir_strbuf_fini(&out);
    return weir_cli_finish(code);
}

const struct weir_cli_command weir_cmd_version = {
    .name = "version",
    .words = "[--json]",
    .summary = "tells the version, how it was built and with what",
    .options = options,
    .run = run,
};
