/* weir check: everything that `weir run` would refuse before it starts, all of it, and what the application
 * may take. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/app_arg.h"
#include "cli/command.h"
#include "cli/figures.h"
#include "cli/table.h"
#include "config/app.h"
#include "config/app_calls.h"
#include "config/conf.h"
#include "core/source_script.h"
#include "loader/registry.h"

enum { SET };

static const struct weir_cli_option options[] = {
    [SET] = {"set", "PATH=VALUE", "sets a value of weir.yaml, as in stages.page.batch=8; may be repeated"},
    {NULL, NULL, NULL},
};

struct totals {
    size_t scripts, vm_bytes, queue_bytes, shared_bytes;
};

/* The scripts that it asks (core/source_script.h). */
static void add_source(const struct weir_app *app, const struct weir_app_stage *s, struct totals *t)
{
    static const char *const names[] = {"class", "on_reject"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (weir_conf_option_string(weir_conf_option_map(s->options, names[i]), "script") == NULL)
            continue;
        t->scripts++;
        t->vm_bytes += WEIR_SOURCE_SCRIPT_MEMORY * (size_t)app->pools[s->pool_index].max;
    }
}

static struct totals add_up(const struct weir_app *app)
{
    struct totals t = {0, 0, 0, 0};
    for (size_t i = 0; i < app->stage_count; i++) {
        const struct weir_app_stage *s = &app->stages[i];
        if (s->kind == WEIR_APP_SOURCE) {
            add_source(app, s, &t);
            continue;
        }
        t.queue_bytes += s->bytes;
        if (s->kind != WEIR_APP_HANDLER)
            continue;
        t.scripts++;
        t.vm_bytes += s->memory * app->pools[s->pool_index].max;
    }
    for (size_t i = 0; i < app->shared_count; i++)
        t.shared_bytes += app->shared[i].bytes;
    return t;
}

static void print_bounds(const struct weir_app *app, struct weir_strbuf *out)
{
    static const char *const titles[] = {"STAGE", "POOL", ">WORKERS", ">MEMORY/VM", ">VMS", ">QUEUE", NULL};
    struct weir_table table;
    char one[WEIR_FIGURE_MAX], all[WEIR_FIGURE_MAX], queue[WEIR_FIGURE_MAX];
    weir_table_init(&table, titles);
    for (size_t i = 0; i < app->stage_count; i++) {
        const struct weir_app_stage *s = &app->stages[i];
        unsigned workers = app->pools[s->pool_index].max;
        if (s->kind == WEIR_APP_SOURCE)
            continue;
        bool vm = s->kind == WEIR_APP_HANDLER;
        weir_table_add(&table, "%s", s->name);
        weir_table_add(&table, "%s", s->pool);
        weir_table_add(&table, "%u", workers);
        weir_table_add(&table, "%s", vm ? weir_figure_bytes(one, s->memory) : "-");
        weir_table_add(&table, "%s", vm ? weir_figure_bytes(all, s->memory * workers) : "-");
        weir_table_add(&table, "%s", weir_figure_bytes(queue, s->bytes));
    }
    weir_table_print(&table, out);
    weir_table_fini(&table);
}

static int say_ok(const struct weir_app *app)
{
    struct totals t = add_up(app);
    char vms[WEIR_FIGURE_MAX], queues[WEIR_FIGURE_MAX], shared[WEIR_FIGURE_MAX];
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    weir_strbuf_addf(&out, "ok: %zu stage%s, %zu pool%s, %zu script%s; memory bound: %s in VMs, %s in queues",
                     app->stage_count, app->stage_count == 1 ? "" : "s", app->pool_count,
                     app->pool_count == 1 ? "" : "s", t.scripts, t.scripts == 1 ? "" : "s",
                     weir_figure_bytes(vms, t.vm_bytes), weir_figure_bytes(queues, t.queue_bytes));
    if (app->shared_count > 0)
        weir_strbuf_addf(&out, ", %s in shared tables", weir_figure_bytes(shared, t.shared_bytes));
    weir_strbuf_adds(&out, "\n\n");
    print_bounds(app, &out);
    int code = WEIR_EXIT_DONE;
    if (out.failed)
        code = weir_cli_fail(WEIR_EXIT_FAILED, "out of memory");
    else
        (void)fputs(out.data, stdout); /* checked by weir_cli_finish */
    weir_strbuf_fini(&out);
    return weir_cli_finish(code);
}

static int check_scripts(const struct weir_app *app, const struct weir_registry *registry)
{
    size_t problems;
    struct weir_err err;
    if (weir_app_arg_check_scripts(app, registry, &problems, &err) < 0)
        return weir_cli_fail(WEIR_EXIT_FAILED, "%s", err.text);
    return problems == 0 ? WEIR_EXIT_DONE
                         : weir_cli_fail(WEIR_EXIT_CONFIG, "%s: %zu script%s can't be loaded", app->file,
                                         problems, problems == 1 ? "" : "s");
}

/* --- calls --- */

struct calls {
    const struct weir_app *app;
    size_t stage; /* whose script is read */
    struct weir_app_call *list;
    size_t count, cap;
    bool failed; /* no memory */
};

static void note_call(void *arg, const char *port, size_t len, int line)
{
    struct calls *c = arg;
    const struct weir_app_stage *st = &c->app->stages[c->stage];
    size_t p = 0;
    (void)line; /* the edge is what is to be changed */
    while (p < st->port_count &&
           (strlen(st->ports[p].name) != len || memcmp(st->ports[p].name, port, len) != 0))
        p++;
    for (size_t i = 0; i < c->count; i++)
        if (c->list[i].stage == c->stage && c->list[i].port == p)
            return;
    if (p == st->port_count || c->failed)
        return; /* a port that is none: the call itself says so */
    if (c->count == c->cap) {
        size_t cap = c->cap == 0 ? 16 : c->cap * 2;
        struct weir_app_call *list = weir_realloc(c->list, cap * sizeof *list);
        if (list == NULL) {
            c->failed = true;
            return;
        }
        c->list = list;
        c->cap = cap;
    }
    c->list[c->count++] = (struct weir_app_call){c->stage, p};
}

static int find_calls(struct calls *c, const struct weir_registry *registry, struct weir_err *reterr)
{
    for (c->stage = 0; registry->handlers.calls != NULL && c->stage < c->app->stage_count; c->stage++) {
        const struct weir_app_stage *st = &c->app->stages[c->stage];
        int rc = WEIR_OK;
        if (st->kind == WEIR_APP_HANDLER)
            rc = registry->handlers.calls(c->app, st, note_call, c, reterr);
        if (rc < 0)
            return rc;
    }
    return c->failed ? weir_err_set(reterr, WEIR_E_NOMEM, "out of memory") : WEIR_OK;
}

/* Warns of stages that wait for each other by calls. */
static int check_calls(const struct weir_app *app, const struct weir_registry *registry)
{
    struct calls c = {.app = app};
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    struct weir_err err;
    size_t found;
    int rc = find_calls(&c, registry, &err);
    if (rc == WEIR_OK)
        rc = weir_app_check_calls(app, c.list, c.count, &out, &found, &err);
    if (rc == WEIR_OK && found > 0)
        (void)fputs(out.data, stderr); /* where would a failure of stderr be told? */
    weir_strbuf_fini(&out);
    weir_free(c.list);
    return rc == WEIR_OK ? WEIR_EXIT_DONE : weir_cli_fail(WEIR_EXIT_FAILED, "%s", err.text);
}

static int check_app(const struct weir_app_arg *arg, const struct weir_registry *registry)
{
    struct weir_app *app;
    int code = weir_app_arg_load(arg, &weir_cmd_check, registry, &app);
    if (code != WEIR_EXIT_DONE)
        return code;
    code = check_scripts(app, registry);
    if (code == WEIR_EXIT_DONE)
        code = check_calls(app, registry);
    if (code == WEIR_EXIT_DONE)
        code = say_ok(app);
    weir_app_free(app);
    return code;
}

static int run(const struct weir_registry *registry, int argc, char **argv)
{
    struct weir_app_arg app = {.scripts = true};
    struct weir_cli_words words;
    const char *value;
    int option, code = WEIR_EXIT_DONE;
    weir_cli_words_init(&words, &weir_cmd_check, argc, argv);
    while (code == WEIR_EXIT_DONE && (option = weir_cli_next(&words, &value)) >= 0)
        code = weir_app_arg_set(&app, &weir_cmd_check, value);
    if (code == WEIR_EXIT_DONE && option == WEIR_CLI_STOP) {
        code = words.exit;
    } else if (code == WEIR_EXIT_DONE) {
        app.path = weir_cli_word(&words, 0);
        code = check_app(&app, registry);
    }
    weir_app_arg_fini(&app);
    return code;
}

const struct weir_cli_command weir_cmd_check = {
    .name = "check",
    .words = "[APP] [OPTION]...",
    .summary = "checks an application and its scripts without starting anything",
    .details =
        "APP is a folder with a weir.yaml, a YAML file, or one Lua file (default: .). Every script is "
        "loaded, its handler\n"
        "is not called. All problems go to stderr, each with its place; without any, what the application "
        "may take in\n"
        "memory goes to stdout: limits.memory of each VM, one VM for each worker of the stage's pool.\n\n"
        "exit status: 0 fine; 64 usage; 78 problems\n",
    .options = options,
    .words_max = 1,
    .run = run,
};
