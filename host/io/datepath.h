/* io/datepath.h - paths with the date in them: "log/%Y-%m-%d.jsonl". Dates are UTC. Pure; any thread. */
#ifndef WEIR_IO_DATEPATH_H
#define WEIR_IO_DATEPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct weir_conf;
struct weir_problems;

/* Y, m, d, H, M, S, j, F (%Y-%m-%d) may follow a '%'; '%%' is one. CONFIG: the text says which is not known.
 */
int weir_datepath_check(const char *pattern, struct weir_err *reterr);
/* For weir_app_type.check: the same for the option `path`. */
void weir_datepath_check_options(const struct weir_conf *options, struct weir_problems *problems);
/* Whether it holds a date at all. */
bool weir_datepath_varies(const char *pattern);
/* The path at `wall_ns` (since 1970), written to `out`. WEIR_E_LIMIT: it is longer than that. */
int weir_datepath_expand(const char *pattern, uint64_t wall_ns, char *out, size_t size);

#endif
