/* config/schema.h - reading typed values out of a YAML tree. Each reader returns whether it wrote `ret`; if
 * not, it has reported the problem at the value's place, as "'label': expected …, found …" (or the value was
 * bad already). One thread. Strings returned live as long as the tree. */
#ifndef WEIR_CONFIG_SCHEMA_H
#define WEIR_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/conf_node.h"
#include "config/problems.h"
#include "config/types.h"

#define WEIR_SCHEMA_NAME_MAX 64

struct weir_schema {
    struct weir_arena *arena;
    struct weir_problems *problems;
    const char *folder; /* what paths are relative to; NULL: the current one */
    const char *const *classes; /* NULL-terminated, the highest first; NULL: not known yet */
};

/* Reports that `c` is not what was expected; says what it is instead. Silent when `c` is bad already. */
void weir_schema_expected(struct weir_schema *s, const struct weir_conf *c, const char *label,
                          const char *what);

bool weir_schema_int(struct weir_schema *s, const struct weir_conf *c, const char *label, int64_t min,
                     int64_t max, int64_t *ret);
/* The same for what is an unsigned or a size_t in the application; 0 <= min, max within the type. */
bool weir_schema_unsigned(struct weir_schema *s, const struct weir_conf *c, const char *label, unsigned min,
                          unsigned max, unsigned *ret);
bool weir_schema_count(struct weir_schema *s, const struct weir_conf *c, const char *label, size_t min,
                       size_t max, size_t *ret);
bool weir_schema_number(struct weir_schema *s, const struct weir_conf *c, const char *label, double min,
                        double max, double *ret);
bool weir_schema_bool(struct weir_schema *s, const struct weir_conf *c, const char *label, bool *ret);
bool weir_schema_duration(struct weir_schema *s, const struct weir_conf *c, const char *label,
                          uint64_t min_ns, uint64_t max_ns, uint64_t *ret);
bool weir_schema_size(struct weir_schema *s, const struct weir_conf *c, const char *label, uint64_t min,
                      uint64_t max, size_t *ret);
/* Not empty, no NUL in it; a number is taken as it was written. */
bool weir_schema_string(struct weir_schema *s, const struct weir_conf *c, const char *label,
                        const char **ret);
/* What refers to something by name: any scalar but an empty one, taken as it was written (`sink: null` is a
 * name). */
bool weir_schema_reference(struct weir_schema *s, const struct weir_conf *c, const char *label,
                           const char **ret);
/* One of `words` (NULL-terminated): its index. */
bool weir_schema_word(struct weir_schema *s, const struct weir_conf *c, const char *label,
                      const char *const *words, size_t *ret);
/* A map with no other keys than `known` (NULL-terminated). Each unknown one is reported; they are no reason
 * for false. */
bool weir_schema_map(struct weir_schema *s, const struct weir_conf *c, const char *label,
                     const char *const *known);

/* [a-z_][a-z0-9_-]*, at most WEIR_SCHEMA_NAME_MAX long. Reports at `at`: "the stage name 'X' …" with what =
 * "stage". */
bool weir_schema_check_name(struct weir_schema *s, struct weir_app_mark at, const char *what,
                            const char *name);
/* "unknown key 'x' in WHERE (did you mean 'y'?)", or the list of the known ones. */
void weir_schema_unknown(struct weir_schema *s, struct weir_app_mark at, const char *key, const char *where,
                         const char *const *known);

/* Reads the option `o` of a type: a node of the option's type, NULL when it was reported or there is no
 * memory. */
struct weir_conf *weir_schema_option(struct weir_schema *s, const struct weir_conf *c,
                                     const struct weir_option *o);
/* All options of `type` from the keys of the stage `map`, defaults filled in, as conf.h's readers want them.
 * Keys that are none of its options are the caller's business. `where`, e.g. "stage 'web'", is for what is
 * missing. */
const struct weir_conf *weir_schema_options(struct weir_schema *s, const struct weir_conf *map,
                                            const char *where, const struct weir_app_type *type);
/* The same of a controller. */
const struct weir_conf *weir_schema_controller(struct weir_schema *s, const struct weir_conf *map, const char *where,
                                               const struct weir_app_controller_type *type);

#endif
