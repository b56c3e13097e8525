/* config/conf_node.h - how a YAML value is built. For host/config only; others read by config/conf.h.
 * Nodes live in an arena; every maker returns NULL when that has no memory. */
#ifndef WEIR_CONFIG_CONF_NODE_H
#define WEIR_CONFIG_CONF_NODE_H

#include "config/arena.h"
#include "config/conf.h"

struct weir_conf_entry {
    const char *key; /* NULL in a list */
    struct weir_app_mark key_at;
    struct weir_conf *value;
};

struct weir_conf {
    enum weir_conf_kind kind;
    bool bad; /* reported already: readers pass over it in silence */
    struct weir_app_mark at;
    const char *text; /* scalars: as written, environment expanded */
    size_t len;
    union {
        bool boolean;
        int64_t integer; /* checked options: also ns, bytes, index of a word */
        double number;
        struct {
            struct weir_conf_entry *entries;
            size_t count, cap;
        } list; /* lists and maps */
    } u;
};

struct weir_conf *weir_conf_new(struct weir_arena *a, enum weir_conf_kind kind, struct weir_app_mark at);
struct weir_conf *weir_conf_new_string(struct weir_arena *a, const char *text, size_t len,
                                       struct weir_app_mark at);
/* Appends; `key` NULL in a list. Neither is copied. Does not look for a second `key`. */
void weir_conf_add(struct weir_arena *a, struct weir_conf *c, const char *key, struct weir_app_mark key_at,
                   struct weir_conf *value);
/* As weir_conf_get, to change what was found. */
struct weir_conf_entry *weir_conf_find(struct weir_conf *c, const char *key);

#endif
