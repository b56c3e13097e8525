#include "config/override.h"

#include <string.h>

#include "config/nearest.h"
#include "config/yaml_doc.h"

struct weir_text *weir_override_sources(struct weir_arena *a, const struct weir_app_override *sets,
                                          size_t count)
{
    static const char prefix[] = "--set ";
    struct weir_text *out = weir_arena_alloc(a, count + 1, sizeof *out);
    for (size_t i = 0; out != NULL && i < count; i++) {
        size_t len = strlen(sets[i].path);
        char *name = weir_arena_alloc(a, sizeof prefix + len, 1);
        char *text = weir_arena_strdup(a, sets[i].value);
        if (name == NULL || text == NULL)
            return NULL;
        memcpy(name, prefix, sizeof prefix - 1);
        memcpy(name + sizeof prefix - 1, sets[i].path, len);
        out[i] = (struct weir_text){name, text, strlen(text)};
    }
    return out;
}

/* One path being walked. */
struct walk {
    struct weir_schema *s;
    struct weir_app_mark at; /* of the `--set` */
    struct weir_conf *here;
    const char *const *known;
    size_t depth;
    bool in_stages, in_pools;
};

static bool refuse_unknown(struct walk *w, const char *what, const char *key, const struct weir_conf *map,
                           const char *extra)
{
    struct weir_nearest near;
    weir_nearest_init(&near, key);
    for (size_t i = 0; i < weir_conf_size(map); i++)
        weir_nearest_offer(&near, weir_conf_key(map, i));
    if (extra != NULL)
        weir_nearest_offer(&near, extra);
    const char *best = weir_nearest_best(&near);
    if (best != NULL)
        weir_problems_error(w->s->problems, w->at, "there is no %s '%s' (did you mean '%s'?)", what, key,
                            best);
    else
        weir_problems_error(w->s->problems, w->at, "there is no %s '%s'", what, key);
    return false;
}

/* Whether `key` may be looked for, or made, in w->here. */
static bool check_key(struct walk *w, const char *key)
{
    if (*key == '\0') {
        weir_problems_error(w->s->problems, w->at,
                            "expected a path such as stages.page.batch: a key is empty");
        return false;
    }
    if (w->depth == 0) {
        for (size_t i = 0; w->known[i] != NULL; i++)
            if (strcmp(w->known[i], key) == 0)
                return true;
        weir_schema_unknown(w->s, w->at, key, "the path", w->known);
        return false;
    }
    bool exists = weir_conf_get(w->here, key) != NULL;
    if (w->depth == 1 && w->in_stages && !exists)
        return refuse_unknown(w, "stage", key, w->here, NULL);
    if (w->depth == 1 && w->in_pools && !exists && strcmp(key, "main") != 0)
        return refuse_unknown(w, "pool", key, w->here, "main");
    return true;
}

static struct weir_conf *new_map(struct walk *w)
{
    return weir_conf_new(w->s->arena, WEIR_CONF_MAP, w->at);
}

/* Goes down into `key`, making a map of it where there is nothing. */
static bool descend(struct walk *w, const char *key)
{
    struct weir_conf_entry *e = weir_conf_find(w->here, key);
    struct weir_conf *next = e != NULL ? e->value : NULL;
    if (next == NULL || (next->kind == WEIR_CONF_NIL && !next->bad)) {
        next = new_map(w);
        if (e != NULL)
            e->value = next != NULL ? next : e->value;
        else
            weir_conf_add(w->s->arena, w->here, key, w->at, next);
    }
    if (next == NULL)
        return false;
    if (next->kind != WEIR_CONF_MAP) {
        weir_problems_error(w->s->problems, w->at, "'%s' is %s here and has no keys to set", key,
                            weir_conf_kind_text(next));
        return false;
    }
    w->here = next;
    return true;
}

static void put(struct walk *w, const char *key, struct weir_conf *value)
{
    struct weir_conf_entry *e = weir_conf_find(w->here, key);
    if (e != NULL) {
        e->value = value;
        e->key_at = w->at;
    } else {
        weir_conf_add(w->s->arena, w->here, key, w->at, value);
    }
}

static void apply(struct walk *w, char *path, struct weir_conf *value)
{
    for (;; w->depth++) {
        char *dot = strchr(path, '.');
        if (dot != NULL)
            *dot = '\0';
        if (!check_key(w, path))
            return;
        if (dot == NULL)
            break;
        if (w->depth + 2 > WEIR_YAML_MAX_DEPTH) {
            weir_problems_error(w->s->problems, w->at, "the path is more than %d keys deep",
                                WEIR_YAML_MAX_DEPTH);
            return;
        }
        if (!descend(w, path))
            return;
        if (w->depth == 0) {
            w->in_stages = strcmp(path, "stages") == 0;
            w->in_pools = strcmp(path, "pools") == 0;
        }
        path = dot + 1;
    }
    put(w, path, value);
}

void weir_override_apply(struct weir_schema *s, struct weir_conf *root, const struct weir_app_override *sets,
                         size_t count, const struct weir_sources *sources, const char *const *known)
{
    for (size_t i = 0; i < count; i++) {
        struct walk w = {.s = s, .at = {-(int)i - 1, 1}, .here = root, .known = known};
        const struct weir_text *source = &sources->sets[i];
        if (source->len > WEIR_YAML_MAX_BYTES || strpbrk(source->text, "\r\n") != NULL) {
            weir_problems_error(s->problems, w.at, "the value must be a single line of YAML");
            continue;
        }
        size_t errors = s->problems->errors;
        struct weir_conf *value = weir_yaml_parse(s->arena, source, (int)i + 1, s->problems);
        if (value == NULL && s->problems->errors == errors && !s->arena->failed) { /* "", or a comment */
            value = weir_conf_new(s->arena, WEIR_CONF_NIL, w.at);
            if (value != NULL)
                value->text = "";
        }
        char *path = weir_arena_strdup(s->arena, sets[i].path);
        if (value != NULL && path != NULL)
            apply(&w, path, value);
    }
}
