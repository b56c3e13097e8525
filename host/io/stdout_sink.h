/* io/stdout_sink.h - the sink type `stdout`: writes events to the standard output, framed. All stages that
 * have it share one writer, so their frames do not mix. */
#ifndef WEIR_IO_STDOUT_SINK_H
#define WEIR_IO_STDOUT_SINK_H

#include "base/err.h"
#include "core/handler.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_stdout_sink_type;

/* As weir_sink_type.open. Control thread. */
int weir_stdout_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                          struct weir_handler_maker *ret, struct weir_err *reterr);

#endif
