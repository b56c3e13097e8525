/* `controller:` of a pool and of a batch: which one, and its settings. What there is comes with weir_app_types; each type's table of options
 * says what it takes. */
#include <stdio.h>
#include <string.h>

#include "config/app_build.h"
#include "config/types.h"

enum { NAMES_MAX = 32 };

static const char *const none = "none";

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
    if (list_types(b, knob, types) > 0)
        return false;
    if (c != NULL)
        weir_problems_warn(b->schema.problems, c->at, "'controller' has no effect in this version");
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
    if (!weir_schema_word(&b->schema, c, "name", names, &which))
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
    known[0] = "name";
    for (size_t i = 0; i < type->option_count; i++)
        known[i + 1] = type->options[i].name;
    weir_schema_map(&b->schema, map, "controller", known);
}

/* {name: TYPE, option: value, …}. */
static void read_settings(struct weir_app_build *b, const struct weir_conf *c, enum weir_knob knob, struct weir_app_controller *ret)
{
    const struct weir_app_controller_type *type = NULL;
    char where[WEIR_SCHEMA_NAME_MAX + 16];
    if (!find_type(b, weir_conf_get(c, "name"), knob, &type) || type == NULL)
        return;
    check_keys(b, c, type);
    snprintf(where, sizeof where, "controller '%s'", type->name);
    *ret = (struct weir_app_controller){.name = type->name, .at = weir_conf_mark(c)};
    ret->options = weir_schema_controller(&b->schema, c, where, type);
}

/* A name alone stands for the controller with its defaults. */
static const struct weir_conf *as_map(struct weir_app_build *b, const struct weir_conf *c)
{
    if (weir_conf_kind(c) != WEIR_CONF_STRING)
        return c;
    struct weir_conf *map = weir_conf_new(b->schema.arena, WEIR_CONF_MAP, c->at);
    if (map != NULL)
        weir_conf_add(b->schema.arena, map, "name", c->at, weir_conf_new_string(b->schema.arena, weir_conf_text(c), c->len, c->at));
    return map;
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
    c = as_map(b, c);
    if (weir_conf_kind(c) != WEIR_CONF_MAP)
        weir_schema_expected(&b->schema, c, "controller", "a name, or {name: , setting: …}");
    else if (weir_conf_get(c, "name") == NULL)
        weir_problems_error(b->schema.problems, weir_conf_mark(c), "'controller': expected 'name'");
    else
        read_settings(b, c, knob, ret);
}
