/* `controller:` of a pool and of a batch, `admission:` of a stage: which ones, and their settings. What there is comes with weir_app_types; each
 * type's table of options says what it takes. */
#include <stdio.h>
#include <string.h>

#include "config/app_build.h"
#include "config/types.h"

enum { NAMES_MAX = 32 };

static const char *const none = "none";

/* What a controller's name stands behind: {name: queue, …} where `controller:` is the key already, else {controller: codel, …}. */
static const char *name_key(enum weir_knob knob)
{
    return knob == WEIR_KNOB_ADMISSION ? "controller" : "name";
}

/* The types of one knob. */
static size_t list_types(const struct weir_app_build *b, enum weir_knob knob, const struct weir_app_controller_type **types)
{
    size_t n = 0;
    for (size_t i = 0; b->types != NULL && i < b->types->controller_count && n < NAMES_MAX - 2; i++)
        if (b->types->controllers[i].knob == knob)
            types[n++] = &b->types->controllers[i];
    return n;
}

/* Whether there is none of that knob to choose from, which is told of what the file says. */
static bool has_no_effect(struct weir_app_build *b, const struct weir_conf *c, enum weir_knob knob)
{
    const struct weir_app_controller_type *types[NAMES_MAX];
    if (list_types(b, knob, types) > 0 || (b->types != NULL && b->types->script != NULL))
        return false;
    if (c != NULL)
        weir_problems_warn(b->schema.problems, c->at, "'%s' has no effect in this version",
                           knob == WEIR_KNOB_ADMISSION ? "admission" : "controller");
    return true;
}

/* The type that `c` names; `*ret` stays NULL for `none`. Whether the name is one. */
static bool find_type(struct weir_app_build *b, const struct weir_conf *c, enum weir_knob knob, const struct weir_app_controller_type **ret)
{
    const struct weir_app_controller_type *types[NAMES_MAX];
    const char *names[NAMES_MAX + 1];
    size_t count = list_types(b, knob, types), which;
    for (size_t i = 0; i < count; i++)
        names[i] = types[i]->name;
    names[count] = none;
    names[count + 1] = NULL;
    if (knob == WEIR_KNOB_ADMISSION) /* what has none says nothing */
        names[count] = NULL;
    if (!weir_schema_word(&b->schema, c, name_key(knob), names, &which))
        return false;
    if (which < count)
        *ret = types[which];
    return true;
}

static void check_keys(struct weir_app_build *b, const struct weir_conf *map, const struct weir_app_controller_type *type)
{
    const char **known = weir_arena_alloc(b->schema.arena, type->option_count + 2, sizeof *known);
    if (known == NULL)
        return;
    known[0] = name_key(type->knob);
    for (size_t i = 0; i < type->option_count; i++)
        known[i + 1] = type->options[i].name;
    weir_schema_map(&b->schema, map, type->knob == WEIR_KNOB_ADMISSION ? "admission" : "controller", known);
}

/* {name: TYPE, option: value, …}. */
static void read_settings(struct weir_app_build *b, const struct weir_conf *c, enum weir_knob knob, struct weir_app_controller *ret)
{
    const struct weir_app_controller_type *type = NULL;
    char where[WEIR_SCHEMA_NAME_MAX + 16];
    if (!find_type(b, weir_conf_get(c, name_key(knob)), knob, &type) || type == NULL)
        return;
    check_keys(b, c, type);
    snprintf(where, sizeof where, "controller '%s'", type->name);
    *ret = (struct weir_app_controller){.name = type->name, .at = weir_conf_mark(c)};
    ret->options = weir_schema_controller(&b->schema, c, where, type);
}

/* "policies/calm.lua" is called "calm": settings lie below that. */
static const char *name_of_script(struct weir_app_build *b, const char *file)
{
    const char *slash = strrchr(file, '/'), *base = slash != NULL ? slash + 1 : file;
    size_t len = strcspn(base, ".");
    return len > 0 ? weir_arena_strndup(b->schema.arena, base, len) : "script";
}

/* {script: FILE, interval: …, config: …}. */
static void read_script(struct weir_app_build *b, const struct weir_conf *c, const char *what, struct weir_app_controller *ret)
{
    const struct weir_app_controller_type *type = b->types->script;
    const char *file, **known = weir_arena_alloc(b->schema.arena, type->option_count + 3, sizeof *known);
    const struct weir_conf *config = weir_conf_get(c, "config");
    if (known == NULL)
        return;
    known[0] = "script";
    known[1] = "config";
    for (size_t i = 0; i < type->option_count; i++)
        known[i + 2] = type->options[i].name;
    weir_schema_map(&b->schema, c, what, known);
    if (config != NULL && weir_conf_kind(config) != WEIR_CONF_MAP)
        weir_schema_expected(&b->schema, config, "config", "a map of the script's settings");
    if (!weir_schema_string(&b->schema, weir_conf_get(c, "script"), "script", &file))
        return;
    *ret = (struct weir_app_controller){.name = name_of_script(b, file), .script = file, .config = config, .at = weir_conf_mark(c)};
    ret->options = weir_schema_controller(&b->schema, c, what, type);
}

/* A name alone stands for the controller with its defaults. */
static const struct weir_conf *as_map(struct weir_app_build *b, const struct weir_conf *c, enum weir_knob knob)
{
    if (weir_conf_kind(c) != WEIR_CONF_STRING)
        return c;
    struct weir_conf *map = weir_conf_new(b->schema.arena, WEIR_CONF_MAP, c->at);
    if (map != NULL)
        weir_conf_add(b->schema.arena, map, name_key(knob), c->at, weir_conf_new_string(b->schema.arena, weir_conf_text(c), c->len, c->at));
    return map;
}

static void read_one(struct weir_app_build *b, const struct weir_conf *c, enum weir_knob knob, const char *what, struct weir_app_controller *ret)
{
    c = as_map(b, c, knob);
    if (weir_conf_kind(c) != WEIR_CONF_MAP)
        weir_schema_expected(&b->schema, c, what, "a name, or a map with a name and settings");
    else if (weir_conf_get(c, "script") != NULL && b->types != NULL && b->types->script != NULL)
        read_script(b, c, what, ret);
    else if (weir_conf_get(c, name_key(knob)) == NULL)
        weir_problems_error(b->schema.problems, weir_conf_mark(c), "'%s': expected '%s' or 'script'", what, name_key(knob));
    else
        read_settings(b, c, knob, ret);
}

void weir_app_read_controller(struct weir_app_build *b, const struct weir_conf *c, enum weir_knob knob, const char *fallback,
                              struct weir_app_controller *ret)
{
    struct weir_app_mark at = ret->at;
    *ret = (struct weir_app_controller){.name = NULL};
    if (has_no_effect(b, c, knob))
        return;
    if (c == NULL)
        c = weir_conf_new_string(b->schema.arena, fallback, strlen(fallback), at);
    if (c == NULL)
        return;
    read_one(b, c, knob, "controller", ret);
}

void weir_app_read_admission(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st)
{
    if (c == NULL || has_no_effect(b, c, WEIR_KNOB_ADMISSION))
        return;
    bool several = weir_conf_kind(c) == WEIR_CONF_LIST;
    size_t n = several ? weir_conf_size(c) : 1;
    st->admission = weir_arena_alloc(b->schema.arena, n + 1, sizeof *st->admission);
    for (size_t i = 0; st->admission != NULL && i < n; i++) {
        struct weir_app_controller *one = &st->admission[st->admission_count];
        *one = (struct weir_app_controller){.name = NULL};
        read_one(b, several ? weir_conf_at(c, i) : c, WEIR_KNOB_ADMISSION, "admission", one);
        st->admission_count += one->name != NULL;
    }
}
