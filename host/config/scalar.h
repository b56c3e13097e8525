/* config/scalar.h - what a scalar's text means: the environment in it, then its type by the core schema of
 * YAML 1.2. One thread; reads the environment. */
#ifndef WEIR_CONFIG_SCALAR_H
#define WEIR_CONFIG_SCALAR_H

#include "base/err.h"
#include "config/arena.h"
#include "config/conf_node.h"

/* Expands ${NAME} and ${NAME:-default} (the default when NAME is unset or empty) in `*text`; "$${" stands for
 * "${". A text without them is left as it is, another one is replaced by a new one in the arena. `budget` is
 * how many bytes expansions may still make, and is lowered. Errors: INVAL (text says what), LIMIT, NOMEM. */
int weir_scalar_expand(struct weir_arena *a, const char **text, size_t *len, size_t *budget,
                       struct weir_err *reterr);
/* Sets the kind and value of `c` from its text, as for a plain (unquoted) scalar. INVAL: a number too large.
 */
int weir_scalar_resolve(struct weir_conf *c, struct weir_err *reterr);

#endif
