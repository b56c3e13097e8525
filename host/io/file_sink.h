/* io/file_sink.h - the sink type `file`: appends events to a file, framed, and opens it anew when the log was
 * rotated. An event is handled when its bytes are written (with `sync: always`, on the disk), failed (reason
 * io) when they can't be. */
#ifndef WEIR_IO_FILE_SINK_H
#define WEIR_IO_FILE_SINK_H

#include "base/err.h"
#include "core/handler.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_file_sink_type;

/* As weir_sink_type.open. Control thread. */
int weir_file_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                        struct weir_handler_maker *ret, struct weir_err *reterr);

#endif
