/* The options of sources and sinks: config/types.h says what there is, config/schema.h declares what is here.
 */
#include "config/types.h"

#include <stdio.h>
#include <string.h>

#include "config/address.h"
#include "config/network.h"
#include "config/scalar.h"
#include "config/schema.h"

const struct weir_app_type *weir_app_types_find(const struct weir_app_types *types, enum weir_app_kind kind,
                                                const char *name)
{
    for (size_t i = 0; types != NULL && i < types->count; i++)
        if (types->types[i]->kind == kind && strcmp(types->types[i]->name, name) == 0)
            return types->types[i];
    return NULL;
}

static const double number_max = 1e12;

static uint64_t upper(const struct weir_option *o)
{
    return o->max == 0 ? INT64_MAX : (uint64_t)o->max;
}

static uint64_t lower(const struct weir_option *o)
{
    return o->min < 0 ? 0 : (uint64_t)o->min;
}

static struct weir_conf *new_int(struct weir_schema *s, const struct weir_conf *c, int64_t value)
{
    struct weir_conf *out = weir_conf_new(s->arena, WEIR_CONF_INT, c->at);
    if (out != NULL) {
        out->u.integer = value;
        out->text = c->text;
        out->len = c->len;
    }
    return out;
}

static struct weir_conf *read_int(struct weir_schema *s, const struct weir_conf *c,
                                  const struct weir_option *o)
{
    int64_t value;
    return weir_schema_int(s, c, o->name, o->min, (int64_t)upper(o), &value) ? new_int(s, c, value) : NULL;
}

static struct weir_conf *read_number(struct weir_schema *s, const struct weir_conf *c,
                                     const struct weir_option *o)
{
    double value, low = (double)o->min, high = o->max == 0 ? number_max : (double)o->max;
    if (o->min == 0 && o->max == 0)
        low = -number_max;
    struct weir_conf *out = weir_schema_number(s, c, o->name, low, high, &value)
                                ? weir_conf_new(s->arena, WEIR_CONF_FLOAT, c->at)
                                : NULL;
    if (out != NULL)
        out->u.number = value;
    return out;
}

static struct weir_conf *read_bool(struct weir_schema *s, const struct weir_conf *c,
                                   const struct weir_option *o)
{
    bool value;
    struct weir_conf *out =
        weir_schema_bool(s, c, o->name, &value) ? weir_conf_new(s->arena, WEIR_CONF_BOOL, c->at) : NULL;
    if (out != NULL)
        out->u.boolean = value;
    return out;
}

static struct weir_conf *read_duration(struct weir_schema *s, const struct weir_conf *c,
                                       const struct weir_option *o)
{
    uint64_t ns;
    return weir_schema_duration(s, c, o->name, lower(o), upper(o), &ns) ? new_int(s, c, (int64_t)ns) : NULL;
}

static struct weir_conf *read_size(struct weir_schema *s, const struct weir_conf *c,
                                   const struct weir_option *o)
{
    size_t bytes;
    return weir_schema_size(s, c, o->name, lower(o), upper(o), &bytes) ? new_int(s, c, (int64_t)bytes) : NULL;
}

static struct weir_conf *read_word(struct weir_schema *s, const struct weir_conf *c,
                                   const struct weir_option *o)
{
    size_t index;
    return weir_schema_word(s, c, o->name, o->words, &index) ? new_int(s, c, (int64_t)index) : NULL;
}

static struct weir_conf *read_string(struct weir_schema *s, const struct weir_conf *c,
                                     const struct weir_option *o)
{
    const char *text;
    if (weir_conf_kind(c) == WEIR_CONF_STRING && c->len == 0 && !c->bad && o->min <= 0)
        return weir_conf_new_string(s->arena, "", 0,
                                    c->at); /* "" may mean something: an option says so by its min */
    if (!weir_schema_string(s, c, o->name, &text))
        return NULL;
    if (strlen(text) < lower(o) || strlen(text) > upper(o)) {
        weir_problems_error(s->problems, c->at, "'%s': the text is %s", o->name,
                            strlen(text) < lower(o) ? "too short" : "too long");
        return NULL;
    }
    return weir_conf_new_string(s->arena, text, c->len, c->at);
}

static struct weir_conf *read_address(struct weir_schema *s, const struct weir_conf *c,
                                      const struct weir_option *o)
{
    const char *text;
    struct weir_address address;
    struct weir_err err;
    if (!weir_schema_string(s, c, o->name, &text))
        return NULL;
    if (weir_address_parse(text, &address, &err) < 0) {
        weir_problems_error(s->problems, c->at, "'%s': %s", o->name, err.text);
        return NULL;
    }
    return weir_conf_new_string(s->arena, text, c->len, c->at);
}

static struct weir_conf *read_strings(struct weir_schema *s, const struct weir_conf *c,
                                      const struct weir_option *o)
{
    const char *text;
    bool list = weir_conf_kind(c) == WEIR_CONF_LIST, ok = true;
    size_t count = list ? weir_conf_size(c) : 1;
    struct weir_conf *out = weir_conf_new(s->arena, WEIR_CONF_LIST, c->at);
    for (size_t i = 0; i < count && out != NULL; i++) {
        const struct weir_conf *one = list ? weir_conf_at(c, i) : c;
        if (weir_schema_string(s, one, o->name, &text))
            weir_conf_add(s->arena, out, NULL, one->at,
                          weir_conf_new_string(s->arena, text, one->len, one->at));
        else
            ok = false;
    }
    if (ok && (count < lower(o) || count > upper(o))) {
        weir_problems_error(s->problems, c->at, "'%s': the list is too %s", o->name,
                            count < lower(o) ? "short" : "long");
        ok = false;
    }
    return ok ? out : NULL;
}

static struct weir_conf *read_path(struct weir_schema *s, const struct weir_conf *c, const struct weir_option *o);

static struct weir_conf *read_paths(struct weir_schema *s, const struct weir_conf *c, const struct weir_option *o)
{
    struct weir_conf *texts = read_strings(s, c, o), *out = weir_conf_new(s->arena, WEIR_CONF_LIST, c->at);
    for (size_t i = 0; i < weir_conf_size(texts); i++)
        weir_conf_add(s->arena, out, NULL, c->at, read_path(s, weir_conf_at(texts, i), o));
    return texts != NULL ? out : NULL;
}

static struct weir_conf *read_path(struct weir_schema *s, const struct weir_conf *c,
                                   const struct weir_option *o)
{
    const char *text;
    if (!weir_schema_string(s, c, o->name, &text))
        return NULL;
    size_t len = c->len, before = s->folder != NULL ? strlen(s->folder) : 0;
    if (text[0] == '/' || before == 0 || strcmp(s->folder, ".") == 0)
        return weir_conf_new_string(s->arena, text, len, c->at);
    char *path = weir_arena_alloc(s->arena, before + len + 2, 1);
    if (path == NULL)
        return NULL;
    memcpy(path, s->folder, before);
    if (path[before - 1] != '/')
        path[before++] = '/';
    memcpy(path + before, text, len + 1);
    return weir_conf_new_string(s->arena, path, before + len, c->at);
}

static struct weir_conf *read_options(struct weir_schema *s, const struct weir_conf *map, const char *where,
                                      const struct weir_option *options, size_t count);
static struct weir_conf *read_any(struct weir_schema *s, const struct weir_conf *c);

static struct weir_conf *read_map(struct weir_schema *s, const struct weir_conf *c,
                                  const struct weir_option *o)
{
    char where[WEIR_SCHEMA_NAME_MAX + 8];
    if (o->or_true && weir_conf_kind(c) == WEIR_CONF_BOOL && !c->bad) {
        const struct weir_conf *none = weir_conf_new(s->arena, WEIR_CONF_MAP, c->at);
        bool wanted = c->u.boolean && none != NULL;
        return wanted ? read_options(s, none, o->name, o->options, o->option_count) : NULL;
    }
    if (o->or_option != NULL && weir_conf_kind(c) != WEIR_CONF_MAP && weir_conf_kind(c) != WEIR_CONF_NIL) {
        struct weir_conf *one = weir_conf_new(s->arena, WEIR_CONF_MAP, c->at);
        if (one != NULL)
            weir_conf_add(s->arena, one, o->or_option, c->at, read_any(s, c));
        snprintf(where, sizeof where, "'%.64s'", o->name);
        return one != NULL ? read_options(s, one, where, o->options, o->option_count) : NULL;
    }
    const char **known = weir_arena_alloc(s->arena, o->option_count + 1, sizeof *known);
    for (size_t i = 0; known != NULL && i < o->option_count; i++)
        known[i] = o->options[i].name;
    if (known == NULL || !weir_schema_map(s, c, o->name, known))
        return NULL;
    snprintf(where, sizeof where, "'%.64s'", o->name);
    return read_options(s, c, where, o->options, o->option_count);
}

static struct weir_conf *read_maps(struct weir_schema *s, const struct weir_conf *c,
                                   const struct weir_option *o)
{
    bool list = weir_conf_kind(c) == WEIR_CONF_LIST, ok = true;
    size_t count = list ? weir_conf_size(c) : 1;
    struct weir_conf *out = weir_conf_new(s->arena, WEIR_CONF_LIST, c->at);
    for (size_t i = 0; i < count && out != NULL; i++) {
        const struct weir_conf *one = list ? weir_conf_at(c, i) : c;
        struct weir_conf *map = read_map(s, one, o);
        if (map != NULL)
            weir_conf_add(s->arena, out, NULL, one->at, map);
        ok = ok && map != NULL;
    }
    if (ok && (count < lower(o) || count > upper(o))) {
        weir_problems_error(s->problems, c->at, "'%s': the list is too %s", o->name,
                            count < lower(o) ? "short" : "long");
        ok = false;
    }
    return ok ? out : NULL;
}

static bool check_network(struct weir_schema *s, struct weir_app_mark at, const char *label, const char *text)
{
    struct weir_network network;
    struct weir_err err;
    if (weir_network_parse(text, &network, &err) == WEIR_OK)
        return true;
    weir_problems_error(s->problems, at, "'%s': %s", label, err.text);
    return false;
}

static struct weir_conf *read_networks(struct weir_schema *s, const struct weir_conf *c, const struct weir_option *o)
{
    struct weir_conf *texts = read_strings(s, c, o);
    bool ok = texts != NULL;
    for (size_t i = 0; i < weir_conf_size(texts); i++)
        ok &= check_network(s, weir_conf_mark(weir_conf_at(texts, i)), o->name, weir_conf_text(weir_conf_at(texts, i)));
    return ok ? texts : NULL;
}

static struct weir_conf *read_class(struct weir_schema *s, const struct weir_conf *c, const char *label)
{
    static const char *const only[] = {"normal", NULL};
    size_t index;
    return weir_schema_word(s, c, label, s->classes != NULL ? s->classes : only, &index) ? new_int(s, c, (int64_t)index)
                                                                                         : NULL;
}

/* {"10.0.0.0/8": bulk}, as a list of {network: "10.0.0.0/8", class: 2} */
static struct weir_conf *read_network_classes(struct weir_schema *s, const struct weir_conf *c, const struct weir_option *o)
{
    size_t count = weir_conf_size(c);
    bool ok = true;
    if (weir_conf_kind(c) != WEIR_CONF_MAP || count < lower(o) || count > upper(o)) {
        weir_schema_expected(s, c, o->name, "a map of networks to classes, such as {\"10.0.0.0/8\": normal}");
        return NULL;
    }
    struct weir_conf *out = weir_conf_new(s->arena, WEIR_CONF_LIST, c->at);
    for (size_t i = 0; i < count && out != NULL; i++) {
        const char *network = weir_conf_key(c, i);
        struct weir_app_mark at = weir_conf_key_mark(c, i);
        struct weir_conf *class = read_class(s, weir_conf_at(c, i), network);
        struct weir_conf *one = weir_conf_new(s->arena, WEIR_CONF_MAP, at);
        ok &= check_network(s, at, o->name, network) && class != NULL && one != NULL;
        if (!ok)
            continue;
        weir_conf_add(s->arena, one, "network", at, weir_conf_new_string(s->arena, network, strlen(network), at));
        weir_conf_add(s->arena, one, "class", class->at, class);
        weir_conf_add(s->arena, out, NULL, at, one);
    }
    return ok ? out : NULL;
}

static struct weir_conf *read_any(struct weir_schema *s, const struct weir_conf *c)
{
    struct weir_conf *out = weir_conf_new(s->arena, weir_conf_kind(c), c->at);
    if (out != NULL)
        *out = *c; /* what is below it is shared: nobody changes it */
    return out;
}

struct weir_conf *weir_schema_option(struct weir_schema *s, const struct weir_conf *c,
                                     const struct weir_option *o)
{
    switch (o->type) {
    case WEIR_OPTION_STRING:
        return read_string(s, c, o);
    case WEIR_OPTION_BOOL:
        return read_bool(s, c, o);
    case WEIR_OPTION_INT:
        return read_int(s, c, o);
    case WEIR_OPTION_NUMBER:
        return read_number(s, c, o);
    case WEIR_OPTION_DURATION:
        return read_duration(s, c, o);
    case WEIR_OPTION_SIZE:
        return read_size(s, c, o);
    case WEIR_OPTION_ENUM:
        return read_word(s, c, o);
    case WEIR_OPTION_STRINGS:
        return read_strings(s, c, o);
    case WEIR_OPTION_ADDRESS:
        return read_address(s, c, o);
    case WEIR_OPTION_PATH:
        return read_path(s, c, o);
    case WEIR_OPTION_PATHS:
        return read_paths(s, c, o);
    case WEIR_OPTION_MAP:
        return read_map(s, c, o);
    case WEIR_OPTION_MAPS:
        return read_maps(s, c, o);
    case WEIR_OPTION_CLASS:
        return read_class(s, c, o->name);
    case WEIR_OPTION_NETWORKS:
        return read_networks(s, c, o);
    case WEIR_OPTION_NETWORK_CLASSES:
        return read_network_classes(s, c, o);
    case WEIR_OPTION_ANY:
        return read_any(s, c);
    }
    return NULL;
}

/* The default as if it had been written, but standing nowhere. */
static struct weir_conf *new_default(struct weir_schema *s, const struct weir_option *o)
{
    struct weir_app_mark nowhere = {0, 0};
    struct weir_err err;
    struct weir_conf *c = weir_conf_new_string(s->arena, o->fallback, strlen(o->fallback), nowhere);
    if (c != NULL && (o->type == WEIR_OPTION_INT || o->type == WEIR_OPTION_NUMBER || o->type == WEIR_OPTION_BOOL) &&
        weir_scalar_resolve(c, &err) < 0)
        weir_problems_error(s->problems, nowhere, "the default of '%s': %s", o->name, err.text);
    return c;
}

static struct weir_conf *read_options(struct weir_schema *s, const struct weir_conf *map, const char *where,
                                      const struct weir_option *options, size_t count)
{
    struct weir_conf *out = weir_conf_new(s->arena, WEIR_CONF_MAP, weir_conf_mark(map));
    for (size_t i = 0; i < count && out != NULL; i++) {
        const struct weir_option *o = &options[i];
        const struct weir_conf *given = weir_conf_get(map, o->name);
        if (given == NULL && o->required)
            weir_problems_error(s->problems, weir_conf_mark(map), "%s needs '%s' (%s)", where, o->name,
                                o->text);
        if (given == NULL && o->fallback != NULL)
            given = new_default(s, o);
        if (given != NULL)
            weir_conf_add(s->arena, out, o->name, given->at, weir_schema_option(s, given, o));
    }
    return out;
}

const struct weir_conf *weir_schema_controller(struct weir_schema *s, const struct weir_conf *map, const char *where,
                                               const struct weir_app_controller_type *type)
{
    return read_options(s, map, where, type->options, type->option_count);
}

const struct weir_conf *weir_schema_options(struct weir_schema *s, const struct weir_conf *map,
                                            const char *where, const struct weir_app_type *type)
{
    size_t errors = s->problems->errors;
    const struct weir_conf *out = read_options(s, map, where, type->options, type->option_count);
    if (type->check != NULL && out != NULL && s->problems->errors == errors)
        type->check(out, s->problems);
    return out;
}
