/* cli/main.c - the composition root: names every command, source, sink and binding, and nothing else does. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "admin/build_info.h"
#include "base/fault.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/test_host.h"
#include "config/app.h"
#include "config/nearest.h"
#include "io/file_sink.h"
#include "io/file_source.h"
#include "io/generator_source.h"
#include "io/http_source.h"
#include "io/null_sink.h"
#include "io/stdin_source.h"
#include "io/stdout_sink.h"
#include "io/tcp_sink.h"
#include "io/tcp_source.h"
#include "io/timer_source.h"
#include "io/udp_sink.h"
#include "io/udp_source.h"
#include "loader/registry.h"
#include "lua/lua_binding.h"
#include "lua/test_run.h"

static const struct weir_cli_command *const commands[] = {
    &weir_cmd_run, &weir_cmd_check, &weir_cmd_graph, &weir_cmd_stats, &weir_cmd_explain, &weir_cmd_failures,
    &weir_cmd_top, &weir_cmd_queue, &weir_cmd_tap, &weir_cmd_set, &weir_cmd_freeze, &weir_cmd_unfreeze, &weir_cmd_events,
    &weir_cmd_test, &weir_cmd_new, &weir_cmd_version,
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

/* --- handlers: the Lua binding --- */

/* The binding's maker and the path that it refers to. */
struct script {
    struct weir_handler_maker maker;
    char *file;
};

/* A file's path as users would type it from here. */
static char *path_of(const struct weir_app *app, const char *file)
{
    return file[0] == '/' || strcmp(app->folder, ".") == 0 ? weir_strdup(file) : weir_asprintf("%s/%s", app->folder, file);
}

static char *script_path(const struct weir_app *app, const struct weir_app_stage *stage)
{
    return path_of(app, stage->what);
}

static struct weir_lua_options lua_options(const struct weir_app *app, const struct weir_app_stage *stage,
                                           const char *file)
{
    return (struct weir_lua_options){.file = file,
                                     .folder = app->folder,
                                     .libs = stage->libs,
                                     .lib_count = stage->lib_count,
                                     .blocking = app->pools[stage->pool_index].blocking,
                                     .memory = stage->memory,
                                     .limits = {.slice_ns = stage->slice_ns,
                                                .stall_ns = stage->stall_ns,
                                                .cpu_ns = stage->cpu_ns,
                                                .wall_ns = stage->wall_ns},
                                     .config = stage->config,
                                     .app = app};
}

static int script_make(void *self, struct weir_seat *seat, struct weir_handler **ret, struct weir_err *reterr)
{
    struct script *s = self;
    return s->maker.make(s->maker.self, seat, ret, reterr);
}

static void script_destroy(void *self)
{
    struct script *s = self;
    if (s->maker.destroy != NULL)
        s->maker.destroy(s->maker.self);
    weir_free(s->file);
    weir_free(s);
}

static int load_script(const struct weir_app *app, const struct weir_app_stage *stage,
                       struct weir_handler_maker *ret, bool *takes_batches, struct weir_err *reterr)
{
    struct script *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    s->file = script_path(app, stage);
    struct weir_lua_options options = lua_options(app, stage, s->file);
    int rc = s->file == NULL ? weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name)
                             : weir_lua_maker_create(&options, &s->maker, reterr);
    if (rc < 0) {
        weir_free(s->file);
        weir_free(s);
        return rc;
    }
    *takes_batches = weir_lua_maker_takes_batches(&s->maker);
    *ret = (struct weir_handler_maker){.make = script_make, .destroy = script_destroy, .self = s};
    return WEIR_OK;
}

static int check_script(const struct weir_app *app, const struct weir_app_stage *stage,
                        struct weir_err *reterr)
{
    char *file = script_path(app, stage);
    if (file == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    struct weir_lua_options options = lua_options(app, stage, file);
    int rc = weir_lua_check(&options, reterr);
    weir_free(file);
    return rc;
}

static int find_calls(const struct weir_app *app, const struct weir_app_stage *stage,
                      void (*found)(void *arg, const char *port, size_t len, int line), void *arg,
                      struct weir_err *reterr)
{
    char *file = script_path(app, stage);
    if (file == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    struct weir_lua_options options = lua_options(app, stage, file);
    int rc = weir_lua_calls(&options, found, arg, reterr);
    weir_free(file);
    return rc;
}

/* --- controllers: likewise --- */

static int load_controller(const struct weir_app *app, const struct weir_app_controller *from, enum weir_knob knob,
                           const struct weir_controller_type **ret, struct weir_err *reterr)
{
    char *file = path_of(app, from->script);
    if (file == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", from->script);
    const struct weir_lua_options options = {.file = file, .folder = app->folder, .config = from->config, .app = app};
    int rc = weir_lua_controller_load(&options, knob, from->name, ret, reterr);
    weir_free(file);
    return rc;
}

/* --- tests of handlers --- */

static int open_tested(void *self, const struct weir_lua_test_source *source, struct weir_strbuf *report, void **ret,
                       struct weir_graph **ret_graph, struct weir_err *reterr)
{
    const struct weir_test_plan *plan = self;
    const struct weir_test_host_source from = {.path = source->path,
                                               .text = source->text,
                                               .len = source->len,
                                               .name = source->name,
                                               .folder = source->folder,
                                               .sets = source->sets,
                                               .set_count = source->set_count};
    struct weir_test_hosted *hosted;
    int rc = weir_test_host_open(plan->registry, &from, report, &hosted, reterr);
    if (rc != WEIR_OK)
        return rc;
    *ret = hosted;
    *ret_graph = weir_test_host_graph(hosted);
    return WEIR_OK;
}

static void close_tested(void *self, void *opened)
{
    (void)self;
    weir_test_host_close(opened);
}

static int run_tests(const struct weir_test_plan *plan, bool *ret_failed, struct weir_err *reterr)
{
    struct weir_test_plan own = *plan;
    const struct weir_lua_test_options options = {
        .arguments = plan->arguments,
        .argument_count = plan->argument_count,
        .coverage = plan->coverage,
        .host = {.self = &own, .open = open_tested, .close = close_tested},
    };
    return weir_lua_test_run(&options, ret_failed, reterr);
}

/* --- commands --- */

static const struct weir_cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_usage(FILE *to)
{
    (void)fputs("usage: weir COMMAND [ARGUMENT]...\n\n",
                to); /* stdout is checked at the end; stderr can't be helped */
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        (void)fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    (void)fputs("  help       tells about a command: weir help COMMAND\n", to);
}

static int unknown_command(const char *name)
{
    struct weir_nearest near;
    weir_nearest_init(&near, name);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        weir_nearest_offer(&near, commands[i]->name);
    weir_nearest_offer(&near, "help");
    const char *best = weir_nearest_best(&near);
    if (best != NULL)
        (void)weir_cli_fail(0, "there is no command '%s'; did you mean '%s'?", name, best);
    else
        (void)weir_cli_fail(0, "there is no command '%s'; 'weir help' lists them", name);
    return WEIR_EXIT_USAGE;
}

static int help(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "help") == 0 || strncmp(argv[1], "-", 1) == 0) {
        print_usage(stdout);
        return weir_cli_finish(WEIR_EXIT_DONE);
    }
    const struct weir_cli_command *c = find_command(argv[1]);
    if (c == NULL)
        return unknown_command(argv[1]);
    weir_cli_help(c);
    return weir_cli_finish(WEIR_EXIT_DONE);
}

/* A client that closes its end is an error of that write, never the end of the process. */
static void ignore_sigpipe(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL); /* can't fail for a valid signal */
}

int main(int argc, char **argv)
{
    const struct weir_source_type sources[] = {
        {&weir_http_source_type, weir_http_source_open},
        {&weir_tcp_source_type, weir_tcp_source_open},
        {&weir_udp_source_type, weir_udp_source_open},
        {&weir_timer_source_type, weir_timer_source_open},
        {&weir_generator_source_type, weir_generator_source_open},
        {&weir_stdin_source_type, weir_stdin_source_open},
        {&weir_file_source_type, weir_file_source_open},
    };
    const struct weir_sink_type sinks[] = {
        {&weir_null_sink_type, weir_null_sink_open},     {&weir_file_sink_type, weir_file_sink_open},
        {&weir_stdout_sink_type, weir_stdout_sink_open}, {&weir_tcp_sink_type, weir_tcp_sink_open},
        {&weir_udp_sink_type, weir_udp_sink_open},
    };
    const struct weir_registry registry = {
        .sources = sources,
        .source_count = sizeof sources / sizeof sources[0],
        .sinks = sinks,
        .sink_count = sizeof sinks / sizeof sinks[0],
        .handlers = {.load = load_script, .check = check_script, .calls = find_calls},
        .scripts = {.load = weir_lua_source_script_load},
        .controllers = {.load = load_controller},
        .test = run_tests,
    };
    if (argc < 2) {
        print_usage(stderr);
        return WEIR_EXIT_USAGE;
    }
    ignore_sigpipe();
    weir_fault_arm_from_env();
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(name, "--version") == 0)
        name = argv[1] = "version";
    const struct weir_cli_command *c = find_command(name);
    return c != NULL ? c->run(&registry, argc - 1, argv + 1) : unknown_command(name);
}
