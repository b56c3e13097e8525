/* io/null_sink.h - the sink type `null`: every event that reaches it is handled and forgotten. */
#ifndef WEIR_IO_NULL_SINK_H
#define WEIR_IO_NULL_SINK_H

#include <stddef.h>

#include "base/err.h"
#include "core/handler.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_null_sink_type;

/* As weir_sink_type.open. Control thread. */
int weir_null_sink_open(struct weir_stage *stage, const struct weir_conf *options, struct weir_handler_maker *ret,
                        struct weir_err *reterr);

#endif
