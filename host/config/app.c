/* From text to an application: the tree, the `--set`s, the top-level keys, and then stages and graph by their
 * own files. */
#include "config/app.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/address.h"
#include "config/app_build.h"
#include "config/override.h"
#include "config/utf8.h"
#include "config/yaml_doc.h"

const char *const weir_app_top_keys[] = {"weir",     "name",   "classes", "drain", "pools",
                                         "defaults", "stages", "admin",   "shared",
                                         "overload", NULL};

/* --- Top-level keys --- */

static void read_version(struct weir_app_build *b, const struct weir_conf *root)
{
    const struct weir_conf *c = weir_conf_get(root, "weir");
    if (c == NULL) {
        weir_problems_error(b->schema.problems, weir_conf_mark(root),
                            "'weir: 1', the version of the format, is missing");
    } else if (weir_conf_kind(c) != WEIR_CONF_INT || weir_conf_int(c) != 1) {
        weir_schema_expected(&b->schema, c, "weir", "1, the version of the format that this weir reads");
    }
}

/* The folder's own name, with what could not stand in a file name or a metric replaced. */
static const char *default_name(struct weir_arena *a, const char *folder)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    char full[PATH_MAX];
    const char *path = realpath(folder, full) != NULL ? full : folder;
    const char *slash = strrchr(path, '/');
    char *name = weir_arena_strdup(a, slash != NULL ? slash + 1 : path);
    if (name == NULL || *name == '\0' || *name == '.')
        return "weir";
    for (char *at = name; *at != '\0'; at++)
        if (strchr(fine, *at) == NULL)
            *at = '_';
    return name;
}

static void read_name(struct weir_app_build *b, const struct weir_conf *c)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *name;
    if (c == NULL) {
        b->app->name = default_name(b->schema.arena, b->app->folder);
        return;
    }
    if (!weir_schema_reference(&b->schema, c, "name", &name))
        return;
    if (strspn(name, fine) != strlen(name) || *name == '.' || *name == '-' ||
        strlen(name) > WEIR_SCHEMA_NAME_MAX)
        weir_schema_expected(&b->schema, c, "name", "at most 64 letters, digits, _, - and . (not first)");
    b->app->name = name;
}

static void read_classes(struct weir_app_build *b, const struct weir_conf *c)
{
    static const char *normal[] = {"normal", NULL};
    struct weir_app *app = b->app;
    size_t count = weir_conf_size(c);
    app->classes = normal;
    app->class_count = 1;
    if (c != NULL && (weir_conf_kind(c) != WEIR_CONF_LIST || count == 0 || count > WEIR_APP_MAX_CLASSES)) {
        weir_schema_expected(&b->schema, c, "classes", "a list of 1 to 16 names, the highest first");
    } else if (c != NULL) {
        const char **names = weir_arena_alloc(b->schema.arena, count + 1, sizeof *names); /* NULL-terminated */
        size_t kept = 0;
        for (size_t i = 0; names != NULL && i < count; i++) {
            const struct weir_conf *one = weir_conf_at(c, i);
            if (!weir_schema_reference(&b->schema, one, "classes", &names[kept]) ||
                !weir_schema_check_name(&b->schema, one->at, "class", names[kept]))
                continue;
            for (size_t k = 0; k < kept; k++)
                if (strcmp(names[k], names[kept]) == 0)
                    weir_problems_error(b->schema.problems, one->at, "the class '%s' is given twice",
                                        names[k]);
            kept++;
        }
        if (names != NULL)
            names[kept] = NULL;
        if (kept > 0) {
            app->classes = names;
            app->class_count = kept;
        }
    }
    app->default_class = app->class_count / 2;
    for (size_t i = 0; i < app->class_count; i++)
        if (strcmp(app->classes[i], "normal") == 0)
            app->default_class = i;
    app->default_class_name = app->classes[app->default_class];
    b->schema.classes = app->classes;
}

static void read_admin(struct weir_app_build *b, const struct weir_conf *c)
{
    static const char *const keys[] = {"listen", "token_file", NULL};
    struct weir_app_admin *admin = &b->app->admin;
    struct weir_address address;
    struct weir_err err;
    if (c == NULL || !weir_schema_map(&b->schema, c, "admin", keys))
        return;
    const struct weir_conf *listen = weir_conf_get(c, "listen"), *token = weir_conf_get(c, "token_file");
    admin->at = c->at;
    if (token != NULL)
        weir_schema_string(&b->schema, token, "token_file", &admin->token_file);
    if (listen == NULL) {
        weir_problems_error(b->schema.problems, c->at,
                            "'admin' needs 'listen', an address such as 127.0.0.1:9901");
        return;
    }
    if (!weir_schema_string(&b->schema, listen, "listen", &admin->listen))
        return;
    if (weir_address_parse(admin->listen, &address, &err) < 0)
        weir_problems_error(b->schema.problems, listen->at, "'listen': %s", err.text);
    else if (!address.loopback && token == NULL)
        weir_problems_error(b->schema.problems, listen->at,
                            "the admin API on '%s' could be reached from outside: that needs 'token_file'",
                            admin->listen);
}

void weir_app_build(struct weir_app_build *b, const struct weir_conf *root)
{
    const uint64_t second = UINT64_C(1000000000);
    for (size_t i = 0; i < weir_conf_size(root); i++) {
        const char *key = weir_conf_key(root, i);
        size_t k = 0;
        while (weir_app_top_keys[k] != NULL && strcmp(weir_app_top_keys[k], key) != 0)
            k++;
        if (weir_app_top_keys[k] == NULL)
            weir_schema_unknown(&b->schema, weir_conf_key_mark(root, i), key, "the application",
                                weir_app_top_keys);
    }
    read_version(b, root);
    read_name(b, weir_conf_get(root, "name"));
    read_classes(b, weir_conf_get(root, "classes"));
    read_admin(b, weir_conf_get(root, "admin"));
    b->app->drain_ns = 30 * second;
    if (weir_conf_get(root, "drain") != NULL)
        weir_schema_duration(&b->schema, weir_conf_get(root, "drain"), "drain", 0, 86400 * second,
                             &b->app->drain_ns);
    weir_app_build_pools(b, weir_conf_get(root, "pools"));
    weir_app_build_shared(b, weir_conf_get(root, "shared"));
    weir_app_build_overload(b, weir_conf_get(root, "overload"));
    weir_app_read_defaults(b, weir_conf_get(root, "defaults"));
    if (weir_conf_get(root, "stages") == NULL)
        weir_problems_error(b->schema.problems, weir_conf_mark(root), "'stages' is missing");
    else
        weir_app_build_stages(b, weir_conf_get(root, "stages"));
    if (b->schema.arena->failed)
        return;
    weir_app_resolve(b);
    weir_app_check_graph(b);
}

/* --- Parsing --- */

/* An application with nothing in it but its texts. */
static struct weir_app *new_app(struct weir_arena *a, const char *text, size_t len, const char *name,
                                const char *folder, const struct weir_app_override *sets, size_t set_count)
{
    struct weir_app *app = weir_arena_alloc(a, 1, sizeof *app);
    struct weir_sources *sources = weir_arena_alloc(a, 1, sizeof *sources);
    if (app == NULL || sources == NULL)
        return NULL;
    app->arena = a;
    app->file = weir_arena_strdup(a, name);
    app->folder = weir_arena_strdup(a, folder);
    app->sources = sources;
    len = len > WEIR_YAML_MAX_BYTES ? 0 : len; /* refused soon: not worth a copy */
    sources->file = (struct weir_text){app->file, weir_arena_strndup(a, text, len), len};
    sources->sets = weir_override_sources(a, sets, set_count);
    sources->set_count = set_count;
    return a->failed ? NULL : app;
}

static void read_app(struct weir_app *app, size_t len, const struct weir_app_override *sets,
                     const struct weir_app_types *types, struct weir_problems *problems)
{
    struct weir_app_build b = {.schema = {app->arena, problems, app->folder}, .app = app, .types = types};
    const struct weir_text *file = &app->sources->file;
    if (len > WEIR_YAML_MAX_BYTES) {
        weir_problems_error(problems, (struct weir_app_mark){0, 0},
                            "the file has %zu bytes, and may have 1 MiB at most", len);
        return;
    }
    struct weir_conf *root = weir_yaml_parse(app->arena, file, 0, problems);
    if (root == NULL) {
        if (problems->errors == 0 && !app->arena->failed)
            weir_problems_error(problems, (struct weir_app_mark){1, 1},
                                "there is nothing in it; an application begins with 'weir: 1'");
        return;
    }
    if (root->kind != WEIR_CONF_MAP) {
        if (!root->bad)
            weir_problems_error(problems, root->at,
                                "expected the keys of an application ('weir: 1', 'stages:' ...), found %s",
                                weir_conf_kind_text(root));
        return;
    }
    weir_override_apply(&b.schema, root, sets, app->sources->set_count, app->sources, weir_app_top_keys);
    weir_app_build(&b, root);
}

/* Says what came of it, in the report and as a code. */
static int conclude(struct weir_app *app, struct weir_problems *problems, struct weir_strbuf *report,
                    struct weir_err *reterr)
{
    bool failed = app->arena->failed;
    if (!failed)
        weir_problems_print(problems, report);
    if (failed || app->arena->failed || report->failed)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", app->file);
    if (problems->errors != 0)
        return weir_err_set(reterr, WEIR_E_CONFIG, "%s: %zu error%s", app->file, problems->errors,
                            problems->errors == 1 ? "" : "s");
    return WEIR_OK;
}

int weir_app_parse(const char *text, size_t len, const char *name, const char *folder,
                   const struct weir_app_override *sets, size_t set_count, const struct weir_app_types *types,
                   struct weir_strbuf *report, struct weir_app **ret, struct weir_err *reterr)
{
    struct weir_arena *a = weir_malloc(sizeof *a);
    *ret = NULL;
    if (a == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", name);
    weir_arena_init(a);
    int rc;
    struct weir_app *app = new_app(a, text, len, name, folder, sets, set_count);
    if (app != NULL) {
        struct weir_problems problems;
        weir_problems_init(&problems, a, app->sources);
        read_app(app, len, sets, types, &problems);
        rc = conclude(app, &problems, report, reterr);
    } else {
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", name);
    }
    if (rc < 0 && rc != WEIR_E_CONFIG) {
        weir_arena_fini(a);
        weir_free(a);
        return rc;
    }
    *ret = app;
    return rc;
}

void weir_app_free(struct weir_app *app)
{
    if (app == NULL)
        return;
    struct weir_arena *a = app->arena; /* `app` itself lives in it */
    weir_arena_fini(a);
    weir_free(a);
}

void weir_app_report(const struct weir_app *app, struct weir_app_mark at, struct weir_strbuf *report,
                     const char *fmt, ...)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    weir_strbuf_vaddf(&text, fmt, ap);
    va_end(ap);
    if (text.failed || text.data == NULL)
        report->failed = report->failed || text.failed;
    else
        weir_sources_print(app->sources, at, WEIR_SEVERITY_ERROR, text.data, report);
    weir_strbuf_fini(&text);
}
