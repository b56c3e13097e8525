/* config/conf.h - a YAML value as read: a tree that never changes once loaded. Bindings walk it to hand
 * `config:` to a handler; source and sink types read their checked options from it. Owner: the weir_app it
 * belongs to; everything returned here lives as long. Threads: any, once loaded. */
#ifndef WEIR_CONFIG_CONF_H
#define WEIR_CONFIG_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/mark.h"

enum weir_conf_kind {
    WEIR_CONF_NIL,
    WEIR_CONF_BOOL,
    WEIR_CONF_INT,
    WEIR_CONF_FLOAT,
    WEIR_CONF_STRING,
    WEIR_CONF_LIST,
    WEIR_CONF_MAP, /* keys are strings, in the order of the file, none twice */
};

struct weir_conf;

/* NULL is a nil everywhere. */
enum weir_conf_kind weir_conf_kind(const struct weir_conf *c);
/* "a map", "a list", "nothing", … for messages. */
const char *weir_conf_kind_text(const struct weir_conf *c);
struct weir_app_mark weir_conf_mark(const struct weir_conf *c);

/* Entries of a list or a map, 0 for all else. */
size_t weir_conf_size(const struct weir_conf *c);
/* The i-th value, the i-th key (NULL in a list), from 0; NULL beyond the end. */
const struct weir_conf *weir_conf_at(const struct weir_conf *c, size_t i);
const char *weir_conf_key(const struct weir_conf *c, size_t i);
struct weir_app_mark weir_conf_key_mark(const struct weir_conf *c, size_t i);
/* The value of `key` in a map; NULL when it has none or is no map. */
const struct weir_conf *weir_conf_get(const struct weir_conf *c, const char *key);

/* A string's bytes (NUL-terminated, but they may hold NULs: ask for `ret_len`, which may be NULL), NULL for
 * all else. */
const char *weir_conf_string(const struct weir_conf *c, size_t *ret_len);
/* What a scalar was written as, environment expanded: "0x10" where the integer is 16. NULL for lists and
 * maps. */
const char *weir_conf_text(const struct weir_conf *c);
/* The value, or a zero when it is of another kind. An integer is a float, too, but not the other way round.
 */
bool weir_conf_bool(const struct weir_conf *c);
int64_t weir_conf_int(const struct weir_conf *c);
double weir_conf_float(const struct weir_conf *c);

/* Checked options of a source or sink (weir_app_stage.options). Each option that has a default, or that was
 * written, is there with the type it was declared with (config/types.h); asking for one with a wrong type is
 * a bug of the caller and gives a zero. */
bool weir_conf_option_given(const struct weir_conf *options,
                            const char *name); /* in the file, not by default */
const char *weir_conf_option_string(const struct weir_conf *options,
                                    const char *name); /* also ADDRESS, PATH; NULL: none */
bool weir_conf_option_bool(const struct weir_conf *options, const char *name);
int64_t weir_conf_option_int(const struct weir_conf *options, const char *name);
double weir_conf_option_number(const struct weir_conf *options, const char *name);
uint64_t weir_conf_option_duration(const struct weir_conf *options, const char *name); /* ns */
size_t weir_conf_option_size(const struct weir_conf *options, const char *name);       /* bytes */
size_t weir_conf_option_enum(const struct weir_conf *options,
                             const char *name); /* index in weir_option.words */
size_t weir_conf_option_list_size(const struct weir_conf *options, const char *name);
const char *weir_conf_option_list_at(const struct weir_conf *options, const char *name, size_t i);
/* A MAP: options again, for the readers here; NULL: none. */
const struct weir_conf *weir_conf_option_map(const struct weir_conf *options, const char *name);
/* CLASS, or MAP with an option `class` that is one: whether it was written, and which class. */
bool weir_conf_option_class(const struct weir_conf *options, const char *name, uint8_t *ret);
/* ANY: NULL: none was written. */
const struct weir_conf *weir_conf_option_any(const struct weir_conf *options, const char *name);
/* MAPS: how many, and the i-th, from 0; NULL beyond the end. */
size_t weir_conf_option_maps_size(const struct weir_conf *options, const char *name);
const struct weir_conf *weir_conf_option_maps_at(const struct weir_conf *options, const char *name, size_t i);

#endif
