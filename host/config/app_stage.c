/* `stages:`: what each one is, and its settings. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/app_build.h"
#include "config/nearest.h"

enum {
    SOURCE = 1 << WEIR_APP_SOURCE,
    HANDLER = 1 << WEIR_APP_HANDLER,
    PLUGIN = 1 << WEIR_APP_PLUGIN,
    SINK = 1 << WEIR_APP_SINK,
    QUEUED = HANDLER | PLUGIN | SINK,
    ALL = SOURCE | QUEUED,
    KINDS = 4,
    KNOWN_MAX = 96,
};

/* In the order of enum weir_app_kind. */
static const char *const kind_keys[KINDS] = {"source", "handler", "plugin", "sink"};
static const char *const kind_texts[KINDS] = {"a source", "a Lua stage", "a plugin", "a sink"};

/* Every key of a stage, and what kinds take it. */
static const struct stage_key {
    const char *name;
    unsigned kinds;
} stage_keys[] = {
    {"source", SOURCE},
    {"handler", HANDLER},
    {"plugin", PLUGIN},
    {"sink", SINK},
    {"to", SOURCE | HANDLER | PLUGIN},
    {"pool", ALL},
    {"queue", QUEUED},
    {"batch", QUEUED},
    {"concurrency", QUEUED},
    {"admission", QUEUED},
    {"limits", HANDLER | PLUGIN},
    {"libs", HANDLER},
    {"config", HANDLER | PLUGIN},
    {"on_error", QUEUED},
    {"state", HANDLER | PLUGIN},
    {"deadline", SOURCE},
    {NULL, 0},
};

/* A stage being read. */
struct reading {
    struct weir_app_build *b;
    const struct weir_conf *map;
    struct weir_app_stage *st;
    const struct weir_app_type *type; /* sources and sinks; NULL: none, or not known */
    bool kind_known, type_missing, file_missing;
    char where[WEIR_SCHEMA_NAME_MAX + 16]; /* "stage 'page'" */
};

static const struct weir_conf *get(const struct reading *r, const char *key)
{
    return weir_conf_get(r->map, key);
}

static bool is_option(const struct weir_app_type *type, const char *key)
{
    for (size_t i = 0; type != NULL && i < type->option_count; i++)
        if (strcmp(type->options[i].name, key) == 0)
            return true;
    return false;
}

static void report_unknown_key(struct reading *r, size_t index)
{
    const char *known[KNOWN_MAX + 1];
    size_t count = 0;
    for (const struct stage_key *k = stage_keys; k->name != NULL; k++)
        if (!r->kind_known || (k->kinds & 1u << r->st->kind))
            known[count++] = k->name;
    for (size_t i = 0; r->type != NULL && i < r->type->option_count && count < KNOWN_MAX; i++)
        known[count++] = r->type->options[i].name;
    known[count] = NULL;
    weir_schema_unknown(&r->b->schema, weir_conf_key_mark(r->map, index), weir_conf_key(r->map, index),
                        r->where, known);
}

static void check_key(struct reading *r, size_t index)
{
    const char *key = weir_conf_key(r->map, index);
    if (is_option(r->type, key))
        return;
    const struct stage_key *k = stage_keys;
    while (k->name != NULL && strcmp(k->name, key) != 0)
        k++;
    if (k->name == NULL) {
        if (!r->type_missing) /* of an unknown type any key might be an option */
            report_unknown_key(r, index);
        return;
    }
    bool is_kind = k - stage_keys < KINDS;
    if (!r->kind_known || is_kind || (k->kinds & 1u << r->st->kind))
        return;
    if (strcmp(key, "to") == 0)
        weir_problems_error(r->b->schema.problems, weir_conf_key_mark(r->map, index),
                            "stage '%s' is a sink and sends nothing: it can't have 'to'", r->st->name);
    else
        weir_problems_error(r->b->schema.problems, weir_conf_key_mark(r->map, index),
                            "'%s' is not for %s (stage '%s')", key, kind_texts[r->st->kind], r->st->name);
}

static void check_handler_file(struct reading *r)
{
    struct weir_app_build *b = r->b;
    struct stat info;
    const char *file = r->st->what, *wrong = NULL;
    char *path = file[0] == '/' ? weir_strdup(file) : weir_asprintf("%s/%s", b->app->folder, file);
    if (path == NULL) {
        b->schema.arena->failed = true;
        return;
    }
    if (stat(path, &info) < 0)
        wrong = errno == ENOENT || errno == ENOTDIR ? "there is no such file" : strerror(errno);
    else if (S_ISDIR(info.st_mode))
        wrong = "that is a folder";
    else if (!S_ISREG(info.st_mode))
        wrong = "that is not a regular file";
    else if (access(path, R_OK) < 0)
        wrong = "it can't be read";
    r->file_missing = wrong != NULL;
    if (wrong != NULL)
        weir_problems_error(b->schema.problems, r->st->what_at,
                            "stage '%s' has the handler '%.200s', and %s (%.200s)", r->st->name, file, wrong,
                            path);
    weir_free(path);
}

/* The type of a source or sink; reports one that is not known, with the nearest and all that are. */
static void find_type(struct reading *r)
{
    const struct weir_app_types *types = r->b->types;
    const struct weir_app_stage *st = r->st;
    r->type = weir_app_types_find(types, st->kind, st->what);
    if (r->type != NULL)
        return;
    r->type_missing = true;
    struct weir_nearest near;
    char list[256] = "";
    size_t len = 0;
    weir_nearest_init(&near, st->what);
    for (size_t i = 0; types != NULL && i < types->count; i++) {
        if (types->types[i]->kind != st->kind)
            continue;
        weir_nearest_offer(&near, types->types[i]->name);
        int n = snprintf(list + len, sizeof list - len, "%s%s", len == 0 ? "" : ", ", types->types[i]->name);
        len += n > 0 && (size_t)n < sizeof list - len ? (size_t)n : 0;
    }
    const char *best = weir_nearest_best(&near), *kind = kind_keys[st->kind];
    if (best != NULL)
        weir_problems_error(r->b->schema.problems, st->what_at,
                            "stage '%s': there is no %s '%.80s' (did you mean '%s'?); known: %s", st->name,
                            kind, st->what, best, list);
    else
        weir_problems_error(r->b->schema.problems, st->what_at,
                            "stage '%s': there is no %s '%.80s'; known: %s", st->name, kind, st->what,
                            list[0] != '\0' ? list : "none");
}

/* Which of the four it is. */
static void read_kind(struct reading *r)
{
    struct weir_problems *problems = r->b->schema.problems;
    struct weir_app_stage *st = r->st;
    int found = -1;
    for (int i = 0; i < KINDS; i++) {
        const struct weir_conf *c = get(r, kind_keys[i]);
        if (c == NULL)
            continue;
        if (found >= 0) {
            weir_problems_error(problems, c->at,
                                "stage '%s' has both '%s' and '%s': exactly one of source, handler, plugin "
                                "and sink is needed",
                                st->name, kind_keys[found], kind_keys[i]);
            r->b->incomplete = true;
            continue;
        }
        found = i;
        st->kind = (enum weir_app_kind)i;
        st->what_at = c->at;
        r->kind_known = weir_schema_reference(&r->b->schema, c, kind_keys[i], &st->what);
    }
    if (found < 0)
        weir_problems_error(problems, st->at,
                            "stage '%s' needs exactly one of source, handler, plugin and sink", st->name);
    if (!r->kind_known) {
        r->b->incomplete = true;
        return;
    }
    if (st->kind == WEIR_APP_PLUGIN)
        weir_problems_error(problems, st->what_at,
                            "stage '%s': native plugins are not supported by this version", st->name);
    else if (st->kind == WEIR_APP_HANDLER)
        check_handler_file(r);
    else
        find_type(r);
}

static void read_settings(struct reading *r)
{
    static const char *const states[] = {"keep", "reset", NULL};
    struct weir_app_build *b = r->b;
    struct weir_app_stage *st = r->st;
    const struct weir_conf *c;
    size_t state;
    if ((c = get(r, "pool")) != NULL && weir_schema_reference(&b->schema, c, "pool", &st->pool))
        st->pool_at = c->at;
    if ((c = get(r, "deadline")) != NULL && st->kind == WEIR_APP_SOURCE)
        weir_schema_duration(&b->schema, c, "deadline", 0, UINT64_C(365) * 86400 * 1000000000,
                             &st->deadline_ns);
    weir_app_read_queue(b, get(r, "queue"), st, false);
    weir_app_read_batch(b, get(r, "batch"), st);
    weir_app_read_concurrency(b, get(r, "concurrency"), st);
    weir_app_read_limits(b, get(r, "limits"), st);
    weir_app_read_libs(b, get(r, "libs"), st);
    weir_app_read_admission(b, get(r, "admission"), st);
    if ((c = get(r, "config")) != NULL && weir_conf_kind(c) != WEIR_CONF_NIL)
        st->config = c;
    if ((c = get(r, "state")) != NULL && !is_option(r->type, "state") &&
        weir_schema_word(&b->schema, c, "state", states, &state))
        st->keep_state = state == 0;
    if ((c = get(r, "on_error")) != NULL) {
        st->on_error.at = c->at;
        weir_schema_reference(&b->schema, c, "on_error", &st->on_error.stage);
    }
}

static void read_stage(struct weir_app_build *b, const struct weir_conf *map, struct weir_app_stage *st)
{
    struct reading r = {.b = b, .map = map, .st = st};
    snprintf(r.where, sizeof r.where, "stage '%s'", st->name);
    if (weir_conf_kind(map) != WEIR_CONF_MAP) {
        weir_schema_expected(&b->schema, map, st->name, "a map that has source, handler, plugin or sink");
        st->script_unknown = true;
        b->incomplete = true;
        return;
    }
    read_kind(&r);
    for (size_t i = 0; i < weir_conf_size(map); i++)
        check_key(&r, i);
    read_settings(&r);
    st->script_unknown = st->script_unknown || r.file_missing || st->what == NULL;
    if (r.type != NULL)
        st->options = weir_schema_options(&b->schema, map, r.where, r.type);
    const struct weir_conf *to = get(&r, "to");
    if (to != NULL && st->kind != WEIR_APP_SINK)
        weir_app_read_to(b, to, st);
    else if (to == NULL && r.kind_known && st->kind == WEIR_APP_SOURCE)
        weir_problems_error(b->schema.problems, st->at, "source '%s' sends nowhere: it needs 'to'", st->name);
}

size_t weir_app_find_stage(const struct weir_app *app, const char *name)
{
    size_t i = 0;
    while (i < app->stage_count && strcmp(app->stages[i].name, name) != 0)
        i++;
    return i;
}

void weir_app_build_stages(struct weir_app_build *b, const struct weir_conf *stages)
{
    struct weir_app *app = b->app;
    size_t count = weir_conf_size(stages);
    b->stages = stages;
    if (weir_conf_kind(stages) != WEIR_CONF_MAP || count == 0 || count > WEIR_APP_MAX_STAGES) {
        b->incomplete = true;
        if (count > WEIR_APP_MAX_STAGES)
            weir_problems_error(b->schema.problems, stages->at, "more than %d stages", WEIR_APP_MAX_STAGES);
        else
            weir_schema_expected(&b->schema, stages, "stages", "a map with at least one stage");
        return;
    }
    app->stages = weir_arena_alloc(b->schema.arena, count, sizeof *app->stages);
    for (size_t i = 0; app->stages != NULL && i < count; i++) {
        struct weir_app_stage *st = &app->stages[app->stage_count];
        *st = b->defaults;
        st->name = weir_conf_key(stages, i);
        st->at = weir_conf_key_mark(stages, i);
        if (!weir_schema_check_name(&b->schema, st->at, "stage", st->name)) {
            b->incomplete = true;
            continue;
        }
        app->stage_count++;
        read_stage(b, weir_conf_at(stages, i), st);
    }
}
