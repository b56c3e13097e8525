/* admin/failures_print.h - the document of GET /v1/failures: the last events that failed (core/failures.h), newest first. Control thread. */
#ifndef WEIR_ADMIN_FAILURES_PRINT_H
#define WEIR_ADMIN_FAILURES_PRINT_H

#include <stddef.h>

#include "base/strbuf.h"

struct weir_failures;
struct weir_stage;

/* Appends up to `max` of them, of `stage` or (NULL) of all. A lack of memory shows as out->failed. */
void weir_failures_print(struct weir_failures *failures, const struct weir_stage *stage, size_t max, struct weir_strbuf *out);

#endif
