/* weir test: runs specs of handlers and applications in the program's own Lua. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "core/watchdog.h"
#include "loader/registry.h"

enum { OUTPUT, FILTER, COVERAGE, LOG_LEVEL };

static const struct weir_cli_option options[] = {
    [OUTPUT] = {"output", "FORMAT", "text (the default), TAP or junit"},
    [FILTER] = {"filter", "PATTERN", "runs only tests whose names match this Lua pattern"},
    [COVERAGE] = {"coverage", NULL, "counts lines of specs and of what they require, by luacov"},
    [LOG_LEVEL] = {"log-level", "LEVEL", "shows what stages log from this level on: debug, info, warn or error"},
    {NULL, NULL, NULL},
};

enum { ARGUMENTS_MAX = 8 };

struct job {
    const char *output; /* busted's name of it; NULL: its choice */
    const char *filter;
    bool coverage;
    int log_level; /* beyond error: nothing */
    char *root;    /* the folder that specs run in */
    char *path;    /* what to run, from there */
};

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool has(const char *folder, const char *name)
{
    char *path = weir_asprintf("%s/%s", folder, name);
    bool there = path != NULL && access(path, F_OK) == 0;
    weir_free(path);
    return there;
}

static bool cut_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return false;
    *slash = '\0';
    return true;
}

/* The application's folder: the nearest one around `path` (absolute) with a weir.yaml; else the one of `path`, or that around
 * its spec folder. To be freed. */
static char *find_root(const char *path)
{
    char *start = weir_strdup(path);
    if (start == NULL || (!is_folder(start) && !cut_last(start)))
        return start;
    char *folder = weir_strdup(start);
    bool found = folder != NULL && has(folder, "weir.yaml");
    while (folder != NULL && !found && cut_last(folder))
        found = has(folder, "weir.yaml");
    if (found) {
        weir_free(start);
        return folder;
    }
    weir_free(folder);
    const char *last = strrchr(start, '/');
    if (last != NULL && strcmp(last, "/spec") == 0)
        (void)cut_last(start);
    return start;
}

static int find_place(struct job *job, const char *word)
{
    char *path = realpath(word != NULL ? word : ".", NULL);
    if (path == NULL)
        return weir_cli_usage(&weir_cmd_test, "there is no '%s'", word != NULL ? word : ".");
    job->root = find_root(path);
    const char *from = path;
    if (job->root != NULL && strncmp(path, job->root, strlen(job->root)) == 0 && path[strlen(job->root)] == '/')
        from = path + strlen(job->root) + 1;
    if (job->root != NULL && strcmp(path, job->root) == 0)
        from = has(path, "spec") ? "spec" : ".";
    job->path = weir_strdup(from);
    free(path); /* realpath's */
    return job->root != NULL && job->path != NULL ? WEIR_EXIT_DONE : weir_cli_fail(WEIR_EXIT_FAILED, "out of memory");
}

static int take_option(struct job *job, int option, const char *value)
{
    static const struct {
        const char *name, *output;
    } outputs[] = {{"text", "plainTerminal"}, {"TAP", "TAP"}, {"junit", "junit"}};
    switch (option) {
    case OUTPUT:
        for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++)
            if (strcasecmp(value, outputs[i].name) == 0) {
                job->output = outputs[i].output;
                return WEIR_EXIT_DONE;
            }
        return weir_cli_usage(&weir_cmd_test, "--output is text, TAP or junit, not '%s'", value);
    case FILTER:
        job->filter = value;
        return WEIR_EXIT_DONE;
    case COVERAGE:
        job->coverage = true;
        return WEIR_EXIT_DONE;
    default:
        job->log_level = weir_log_level_named(value);
        if (job->log_level < 0)
            return weir_cli_usage(&weir_cmd_test, "--log-level is debug, info, warn or error, not '%s'", value);
        return WEIR_EXIT_DONE;
    }
}

/* The specs run on this thread, watched as a worker is: a handler that loops is ended by its limits. */
static int run_watched(const struct weir_registry *registry, const struct weir_test_plan *plan, bool *ret_failed,
                       struct weir_err *reterr)
{
    struct weir_watchdog *dog;
    struct weir_watch watch = {.dog = NULL};
    int rc = weir_watchdog_start(10 * 1000000, &dog, reterr);
    if (rc < 0)
        return rc;
    weir_watchdog_add(dog, &watch, "specs", NULL);
    rc = registry->test(plan, ret_failed, reterr);
    weir_watchdog_remove(&watch);
    weir_watchdog_stop(dog);
    return rc;
}

static int run_job(const struct job *job, const struct weir_registry *registry)
{
    const char *arguments[ARGUMENTS_MAX];
    size_t n = 0;
    struct weir_err err;
    bool failed = true;
    char *output = job->output != NULL ? weir_asprintf("--output=%s", job->output) : NULL;
    char *filter = job->filter != NULL ? weir_asprintf("--filter=%s", job->filter) : NULL;
    if (output != NULL)
        arguments[n++] = output;
    if (filter != NULL)
        arguments[n++] = filter;
    arguments[n++] = "--pattern=_spec%.lua$";
    arguments[n++] = job->path;
    if (chdir(job->root) != 0)
        return weir_cli_fail(WEIR_EXIT_FAILED, "%s: can't be entered", job->root);
    int code = WEIR_EXIT_FAILED;
    const struct weir_test_plan plan = {
        .registry = registry, .arguments = arguments, .argument_count = n, .coverage = job->coverage};
    if (weir_log_start((enum weir_log_level)job->log_level, false, &err) < 0 ||
        run_watched(registry, &plan, &failed, &err) < 0) {
        weir_log_stop();
        (void)weir_cli_fail(code, "%s", err.text);
    } else {
        weir_log_stop();
        code = failed ? WEIR_EXIT_FAILED : WEIR_EXIT_DONE;
    }
    weir_free(output);
    weir_free(filter);
    return weir_cli_finish(code);
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    struct job job = {.log_level = WEIR_LOG_ERROR + 1};
    struct weir_cli_words words;
    const char *value;
    int option, code = WEIR_EXIT_DONE;
    weir_cli_words_init(&words, &weir_cmd_test, argc, argv);
    while (code == WEIR_EXIT_DONE && (option = weir_cli_next(&words, &value)) >= 0)
        code = take_option(&job, option, value);
    if (code == WEIR_EXIT_DONE && option == WEIR_CLI_STOP)
        return words.exit;
    if (code == WEIR_EXIT_DONE)
        code = find_place(&job, weir_cli_word(&words, 0));
    if (code == WEIR_EXIT_DONE)
        code = run_job(&job, registry);
    weir_free(job.root);
    weir_free(job.path);
    return code;
}

const struct weir_cli_command weir_cmd_test = {
    .name = "test",
    .words = "[PATH] [OPTION]...",
    .summary = "runs the specs of an application's handlers",
    .details =
        "PATH is an application's folder, a folder of specs or one spec (default: .). Of a folder all files *_spec.lua are run, "
        "of an\n"
        "application those in its folder spec, if it has one. They run in the application's folder, by busted (Debian: lua-busted), "
        "and\n"
        "get at stages and applications by require \"weir.test\": docs/testing.md.\n\n"
        "exit status: 0 all passed; 1 some did not, or nothing could be run; 64 usage\n",
    .options = options,
    .words_max = 1,
    .run = run,
};
