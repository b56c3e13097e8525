#include "config/conf.h"

#include <string.h>

#include "config/conf_node.h"

enum weir_conf_kind weir_conf_kind(const struct weir_conf *c)
{
    return c != NULL ? c->kind : WEIR_CONF_NIL;
}

const char *weir_conf_kind_text(const struct weir_conf *c)
{
    static const char *const texts[] = {
        [WEIR_CONF_NIL] = "nothing",    [WEIR_CONF_BOOL] = "a boolean",  [WEIR_CONF_INT] = "a whole number",
        [WEIR_CONF_FLOAT] = "a number", [WEIR_CONF_STRING] = "a string", [WEIR_CONF_LIST] = "a list",
        [WEIR_CONF_MAP] = "a map",
    };
    return texts[weir_conf_kind(c)];
}

struct weir_app_mark weir_conf_mark(const struct weir_conf *c)
{
    return c != NULL ? c->at : (struct weir_app_mark){0, 0};
}

static bool is_container(const struct weir_conf *c)
{
    return c != NULL && (c->kind == WEIR_CONF_LIST || c->kind == WEIR_CONF_MAP);
}

size_t weir_conf_size(const struct weir_conf *c)
{
    return is_container(c) ? c->u.list.count : 0;
}

const struct weir_conf *weir_conf_at(const struct weir_conf *c, size_t i)
{
    return i < weir_conf_size(c) ? c->u.list.entries[i].value : NULL;
}

const char *weir_conf_key(const struct weir_conf *c, size_t i)
{
    return i < weir_conf_size(c) ? c->u.list.entries[i].key : NULL;
}

struct weir_app_mark weir_conf_key_mark(const struct weir_conf *c, size_t i)
{
    return i < weir_conf_size(c) ? c->u.list.entries[i].key_at : (struct weir_app_mark){0, 0};
}

/* Where `key` stands in a map; its size when it has none. */
static size_t find(const struct weir_conf *c, const char *key)
{
    size_t count = weir_conf_kind(c) == WEIR_CONF_MAP ? weir_conf_size(c) : 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(c->u.list.entries[i].key, key) == 0)
            return i;
    return count;
}

const struct weir_conf *weir_conf_get(const struct weir_conf *c, const char *key)
{
    return weir_conf_kind(c) == WEIR_CONF_MAP ? weir_conf_at(c, find(c, key)) : NULL;
}

struct weir_conf_entry *weir_conf_find(struct weir_conf *c, const char *key)
{
    size_t i = find(c, key);
    return c != NULL && c->kind == WEIR_CONF_MAP && i < c->u.list.count ? &c->u.list.entries[i] : NULL;
}

const char *weir_conf_string(const struct weir_conf *c, size_t *ret_len)
{
    if (weir_conf_kind(c) != WEIR_CONF_STRING)
        return NULL;
    if (ret_len != NULL)
        *ret_len = c->len;
    return c->text;
}

const char *weir_conf_text(const struct weir_conf *c)
{
    return c == NULL || is_container(c) ? NULL : c->text;
}

bool weir_conf_bool(const struct weir_conf *c)
{
    return weir_conf_kind(c) == WEIR_CONF_BOOL && c->u.boolean;
}

int64_t weir_conf_int(const struct weir_conf *c)
{
    return weir_conf_kind(c) == WEIR_CONF_INT ? c->u.integer : 0;
}

double weir_conf_float(const struct weir_conf *c)
{
    if (weir_conf_kind(c) == WEIR_CONF_INT)
        return (double)c->u.integer;
    return weir_conf_kind(c) == WEIR_CONF_FLOAT ? c->u.number : 0.0;
}

bool weir_conf_option_given(const struct weir_conf *options, const char *name)
{
    return weir_conf_mark(weir_conf_get(options, name)).line != 0; /* a default stands nowhere */
}

const char *weir_conf_option_string(const struct weir_conf *options, const char *name)
{
    return weir_conf_string(weir_conf_get(options, name), NULL);
}

bool weir_conf_option_bool(const struct weir_conf *options, const char *name)
{
    return weir_conf_bool(weir_conf_get(options, name));
}

int64_t weir_conf_option_int(const struct weir_conf *options, const char *name)
{
    return weir_conf_int(weir_conf_get(options, name));
}

double weir_conf_option_number(const struct weir_conf *options, const char *name)
{
    return weir_conf_float(weir_conf_get(options, name));
}

uint64_t weir_conf_option_duration(const struct weir_conf *options, const char *name)
{
    return (uint64_t)weir_conf_option_int(options, name); /* checked not to be negative */
}

size_t weir_conf_option_size(const struct weir_conf *options, const char *name)
{
    return (size_t)weir_conf_option_int(options, name);
}

size_t weir_conf_option_enum(const struct weir_conf *options, const char *name)
{
    return (size_t)weir_conf_option_int(options, name);
}

size_t weir_conf_option_list_size(const struct weir_conf *options, const char *name)
{
    return weir_conf_size(weir_conf_get(options, name));
}

const char *weir_conf_option_list_at(const struct weir_conf *options, const char *name, size_t i)
{
    return weir_conf_string(weir_conf_at(weir_conf_get(options, name), i), NULL);
}

struct weir_conf *weir_conf_new(struct weir_arena *a, enum weir_conf_kind kind, struct weir_app_mark at)
{
    struct weir_conf *c = weir_arena_alloc(a, 1, sizeof *c);
    if (c != NULL) {
        c->kind = kind;
        c->at = at;
    }
    return c;
}

struct weir_conf *weir_conf_new_string(struct weir_arena *a, const char *text, size_t len,
                                       struct weir_app_mark at)
{
    struct weir_conf *c = weir_conf_new(a, WEIR_CONF_STRING, at);
    if (c != NULL) {
        c->text = text;
        c->len = len;
    }
    return c;
}

void weir_conf_add(struct weir_arena *a, struct weir_conf *c, const char *key, struct weir_app_mark key_at,
                   struct weir_conf *value)
{
    if (c == NULL || value == NULL)
        return; /* no memory, and the arena knows */
    if (c->u.list.count == c->u.list.cap) {
        size_t cap = c->u.list.cap == 0 ? 4 : c->u.list.cap * 2;
        struct weir_conf_entry *grown = weir_arena_alloc(a, cap, sizeof *grown);
        if (grown == NULL)
            return;
        if (c->u.list.count != 0)
            memcpy(grown, c->u.list.entries, c->u.list.count * sizeof *grown);
        c->u.list.entries = grown;
        c->u.list.cap = cap;
    }
    c->u.list.entries[c->u.list.count++] = (struct weir_conf_entry){key, key_at, value};
}

const struct weir_conf *weir_conf_option_map(const struct weir_conf *options, const char *name)
{
    const struct weir_conf *c = weir_conf_get(options, name);
    return weir_conf_kind(c) == WEIR_CONF_MAP ? c : NULL;
}

bool weir_conf_option_class(const struct weir_conf *options, const char *name, uint8_t *ret)
{
    const struct weir_conf *c = weir_conf_get(options, name);
    if (weir_conf_kind(c) == WEIR_CONF_MAP)
        c = weir_conf_get(c, "class");
    if (weir_conf_kind(c) != WEIR_CONF_INT)
        return false;
    *ret = (uint8_t)c->u.integer;
    return true;
}

const struct weir_conf *weir_conf_option_any(const struct weir_conf *options, const char *name)
{
    return weir_conf_get(options, name);
}

size_t weir_conf_option_maps_size(const struct weir_conf *options, const char *name)
{
    return weir_conf_size(weir_conf_get(options, name));
}

const struct weir_conf *weir_conf_option_maps_at(const struct weir_conf *options, const char *name, size_t i)
{
    return weir_conf_at(weir_conf_get(options, name), i);
}
