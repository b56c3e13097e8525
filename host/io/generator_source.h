/* io/generator_source.h - the source type `generator`: events out of nothing, for tests, benches and
 * demonstrations. One stream in the application. */
#ifndef WEIR_IO_GENERATOR_SOURCE_H
#define WEIR_IO_GENERATOR_SOURCE_H

#include <stddef.h>

#include "base/err.h"
#include "core/source.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_generator_source_type;

/* As weir_source_type.open. Control thread. */
int weir_generator_source_open(struct weir_stage *stage, const struct weir_conf *options,
                               struct weir_source_maker *ret, char *bound, size_t size,
                               struct weir_err *reterr);

#endif
