#include "cli/app_arg.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/command.h"
#include "config/address.h"
#include "config/app.h"
#include "config/conf.h"
#include "config/types.h"
#include "controller/controller.h"
#include "core/watchdog.h"
#include "loader/registry.h"

#define DEFAULT_LISTEN "127.0.0.1:8080"

int weir_app_arg_set(struct weir_app_arg *a, const struct weir_cli_command *c, const char *text)
{
    size_t len = strcspn(text, "=");
    if (len == 0 || text[len] == '\0')
        return weir_cli_usage(c, "--set takes PATH=VALUE, as in stages.page.batch=8, not '%s'", text);
    struct weir_app_override *sets = weir_realloc(a->sets, (a->set_count + 1) * sizeof *sets);
    if (sets != NULL)
        a->sets = sets;
    char **texts = weir_realloc(a->texts, (a->set_count + 1) * sizeof *texts);
    if (texts != NULL)
        a->texts = texts;
    char *path = weir_strndup(text, len);
    if (sets == NULL || texts == NULL || path == NULL) {
        weir_free(path);
        return weir_cli_fail(WEIR_EXIT_FAILED, "out of memory");
    }
    texts[a->set_count] = path;
    sets[a->set_count++] = (struct weir_app_override){path, text + len + 1};
    return WEIR_EXIT_DONE;
}

void weir_app_arg_fini(struct weir_app_arg *a)
{
    for (size_t i = 0; i < a->set_count; i++)
        weir_free(a->texts[i]);
    weir_free(a->texts);
    weir_free(a->sets);
}

static bool is_lua_file(const char *path)
{
    struct stat st;
    size_t len = strlen(path);
    return len > 4 && strcmp(path + len - 4, ".lua") == 0 && !(stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

/* A stage's name made of a file's: what a name may not hold becomes an underscore. */
static void add_stage_name(struct weir_strbuf *out, const char *file, size_t len)
{
    if (len == 0 || !isalpha((unsigned char)file[0]))
        weir_strbuf_addc(out, '_');
    for (size_t i = 0; i < len && i < 60; i++) {
        char c = (char)tolower((unsigned char)file[i]);
        weir_strbuf_addc(out,
                         (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ? c : '_');
    }
}

/* An application of two stages: `web`, an HTTP source, and the script; any shared table may be used. JSON
 * strings are YAML. */
static void write_app(struct weir_strbuf *out, const char *file, const char *listen)
{
    struct weir_strbuf name = WEIR_STRBUF_INIT;
    add_stage_name(&name, file, strlen(file) - strlen(".lua"));
    const char *stage = name.data != NULL ? name.data : "";
    const char *source = strcmp(stage, "web") == 0 ? "http" : "web";
    weir_strbuf_addf(out,
                     "weir: 1\nname: \"%s\"\nstages:\n  \"%s\": {source: http, to: \"%s\", listen: ", stage,
                     source, stage);
    weir_strbuf_add_json(out, listen, strlen(listen));
    weir_strbuf_addf(out, "}\n  \"%s\": {handler: ", stage);
    weir_strbuf_add_json(out, file, strlen(file));
    weir_strbuf_adds(out, "}\nshared: {\"*\": {}}\n"); /* where would one be declared? */
    out->failed = out->failed || name.failed;
    weir_strbuf_fini(&name);
}

static int parse_lua_app(const struct weir_app_arg *a, const char *path, const struct weir_app_types *types,
                         struct weir_strbuf *report, struct weir_app **ret, struct weir_err *reterr)
{
    const char *slash = strrchr(path, '/');
    const char *file = slash != NULL ? slash + 1 : path;
    if (access(path, R_OK) != 0) {
        weir_strbuf_addf(report, "%s: error: there is no such file, or it can't be read\n", path);
        return weir_err_set(reterr, WEIR_E_NOTFOUND, "%s: can't be read", path);
    }
    char *folder =
        slash == NULL ? weir_strdup(".") : weir_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    write_app(&text, file, a->listen != NULL ? a->listen : DEFAULT_LISTEN);
    int rc = folder == NULL || text.failed ? weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path)
                                           : weir_app_parse(text.data, text.len, path, folder, a->sets,
                                                            a->set_count, types, report, ret, reterr);
    weir_strbuf_fini(&text);
    weir_free(folder);
    return rc;
}

static int check_listen(const struct weir_app_arg *a, const struct weir_cli_command *c, bool is_lua)
{
    struct weir_address address;
    struct weir_err why;
    if (a->listen == NULL)
        return WEIR_EXIT_DONE;
    if (!is_lua)
        return weir_cli_usage(c, "--listen is for one Lua file; here say --set stages.NAME.listen=%s",
                              a->listen);
    if (weir_address_parse(a->listen, &address, &why) < 0)
        return weir_cli_usage(c, "--listen %s: %s", a->listen, why.text);
    return WEIR_EXIT_DONE;
}

static int load(const struct weir_app_arg *a, const char *path, bool is_lua,
                const struct weir_registry *registry, struct weir_strbuf *report, struct weir_app **ret,
                struct weir_err *reterr)
{
    size_t count = registry->source_count + registry->sink_count;
    const struct weir_app_type **all = weir_calloc(count + 1, sizeof *all);
    if (all == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < registry->source_count; i++)
        all[i] = registry->sources[i].type;
    for (size_t i = 0; i < registry->sink_count; i++)
        all[registry->source_count + i] = registry->sinks[i].type;
    struct weir_app_controller_type controllers[WEIR_CONTROLLERS_MAX];
    const struct weir_app_types types = {.types = all,
                                         .count = count,
                                         .controllers = controllers,
                                         .controller_count = weir_controller_app_types(controllers, WEIR_CONTROLLERS_MAX),
                                         .script = &weir_controller_script};
    int rc = is_lua ? parse_lua_app(a, path, &types, report, ret, reterr)
                    : weir_app_load(path, a->sets, a->set_count, &types, report, ret, reterr);
    weir_free(all);
    return rc;
}

/* Whether an earlier stage has the same script with the same libraries, so that its problems have been told.
 */
static bool was_checked(const struct weir_app *app, size_t stage)
{
    const struct weir_app_stage *s = &app->stages[stage];
    for (size_t i = 0; i < stage; i++) {
        const struct weir_app_stage *other = &app->stages[i];
        if (other->kind != WEIR_APP_HANDLER || other->script_unknown || strcmp(other->what, s->what) != 0 ||
            other->lib_count != s->lib_count)
            continue;
        size_t same = 0;
        while (same < s->lib_count && strcmp(other->libs[same], s->libs[same]) == 0)
            same++;
        if (same == s->lib_count)
            return true;
    }
    return false;
}

/* The scripts that a source asks; what is wrong with one of them goes to stderr. */
static size_t check_source(const struct weir_app *app, const struct weir_app_stage *s, const struct weir_registry *registry)
{
    static const char *const options[] = {"class", "on_reject"};
    size_t problems = 0;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        const char *file = weir_conf_option_string(weir_conf_option_map(s->options, options[i]), "script");
        struct weir_source_script_maker maker;
        struct weir_err err;
        if (file == NULL || registry->scripts.load == NULL)
            continue;
        if (registry->scripts.load(file, app->folder, &maker, &err) == WEIR_OK) {
            maker.destroy(maker.self);
            continue;
        }
        (void)fprintf(stderr, "%s\n", err.text); /* where would a failure of stderr be told? */
        problems++;
    }
    return problems;
}

static size_t check_each(const struct weir_app *app, const struct weir_registry *registry)
{
    size_t problems = 0;
    for (size_t i = 0; i < app->stage_count; i++) {
        const struct weir_app_stage *s = &app->stages[i];
        struct weir_err err;
        if (s->kind == WEIR_APP_SOURCE && s->options != NULL)
            problems += check_source(app, s, registry);
        if (s->kind != WEIR_APP_HANDLER || s->script_unknown || was_checked(app, i) ||
            registry->handlers.check(app, s, &err) == WEIR_OK)
            continue;
        (void)fprintf(stderr, "%s\n", err.text); /* where would a failure of stderr be told? */
        problems++;
    }
    return problems;
}

static size_t check_controller(const struct weir_app *app, const struct weir_app_controller *c, enum weir_knob knob,
                               const struct weir_registry *registry)
{
    const struct weir_controller_type *type;
    struct weir_err err;
    if (c->script == NULL || registry->controllers.load == NULL)
        return 0;
    if (registry->controllers.load(app, c, knob, &type, &err) == WEIR_OK) {
        type->release(type);
        return 0;
    }
    (void)fprintf(stderr, "%s\n", err.text); /* as above */
    return 1;
}

static size_t check_controllers(const struct weir_app *app, const struct weir_registry *registry)
{
    size_t problems = 0;
    for (size_t i = 0; i < app->pool_count; i++)
        problems += check_controller(app, &app->pools[i].controller, WEIR_KNOB_THREADS, registry);
    for (size_t i = 0; i < app->stage_count; i++) {
        const struct weir_app_stage *s = &app->stages[i];
        problems += check_controller(app, &s->batch, WEIR_KNOB_BATCH, registry);
        for (size_t a = 0; a < s->admission_count; a++)
            problems += check_controller(app, &s->admission[a], WEIR_KNOB_ADMISSION, registry);
    }
    return problems;
}

static uint64_t shortest_slice(const struct weir_app *app)
{
    uint64_t ns = WEIR_NS_PER_S;
    for (size_t i = 0; i < app->stage_count; i++)
        if (app->stages[i].kind == WEIR_APP_HANDLER && app->stages[i].slice_ns < ns)
            ns = app->stages[i].slice_ns;
    return ns;
}

int weir_app_arg_check_scripts(const struct weir_app *app, const struct weir_registry *registry,
                               size_t *problems, struct weir_err *reterr)
{
    struct weir_watchdog *dog;
    struct weir_watch watch = {.dog = NULL};
    int rc = weir_watchdog_start(shortest_slice(app), &dog, reterr);
    if (rc < 0)
        return rc;
    weir_watchdog_add(dog, &watch, "main", NULL);
    *problems = check_each(app, registry) + check_controllers(app, registry);
    weir_watchdog_remove(&watch);
    weir_watchdog_stop(dog);
    return WEIR_OK;
}

/* What is wrong with the scripts, too, and then how much there was of each. */
static void say_all(const struct weir_app_arg *a, const struct weir_app *app,
                    const struct weir_registry *registry, int code, const char *summary)
{
    size_t scripts = 0;
    struct weir_err err;
    if (a->scripts && app != NULL && weir_app_arg_check_scripts(app, registry, &scripts, &err) < 0)
        (void)weir_cli_fail(code, "%s", err.text);
    if (scripts == 0)
        (void)weir_cli_fail(code, "%s", summary);
    else
        (void)weir_cli_fail(code, "%s, and %zu script%s can't be loaded", summary, scripts,
                            scripts == 1 ? "" : "s");
}

int weir_app_arg_load(const struct weir_app_arg *a, const struct weir_cli_command *c,
                      const struct weir_registry *registry, struct weir_app **ret)
{
    const char *path = a->path != NULL ? a->path : ".";
    bool is_lua = is_lua_file(path);
    int code = check_listen(a, c, is_lua);
    if (code != WEIR_EXIT_DONE)
        return code;
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_err err;
    struct weir_app *app = NULL;
    int rc = load(a, path, is_lua, registry, &report, &app, &err);
    if (report.len > 0)
        (void)fputs(report.data, stderr); /* where would a failure of stderr be told? */
    if (rc < 0)
        code = rc == WEIR_E_NOMEM ? WEIR_EXIT_FAILED : WEIR_EXIT_CONFIG;
    if (rc == WEIR_E_CONFIG || rc == WEIR_E_NOMEM || (rc < 0 && report.len == 0))
        say_all(a, app, registry, code, err.text); /* of a file that can't be read the report says all */
    if (rc == WEIR_OK)
        *ret = app;
    else
        weir_app_free(app);
    weir_strbuf_fini(&report);
    return code;
}
