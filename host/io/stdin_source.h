/* io/stdin_source.h - the source type `stdin`: frames from the program's standard input. One stream in the
 * application, and one such source in the process. */
#ifndef WEIR_IO_STDIN_SOURCE_H
#define WEIR_IO_STDIN_SOURCE_H

#include <stddef.h>

#include "base/err.h"
#include "core/source.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_stdin_source_type;

/* As weir_source_type.open. Control thread. */
int weir_stdin_source_open(struct weir_stage *stage, const struct weir_conf *options,
                           struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr);

#endif
