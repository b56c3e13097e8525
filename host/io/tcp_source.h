/* io/tcp_source.h - the source type `tcp`: what peers send, cut into frames, becomes events; what handlers
 * send goes back (io/tcp_conn.h). */
#ifndef WEIR_IO_TCP_SOURCE_H
#define WEIR_IO_TCP_SOURCE_H

#include <stddef.h>

#include "base/err.h"
#include "core/source.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_tcp_source_type;

/* As weir_http_source_open. All workers accept from one socket, so none that is stuck or leaves holds a
 * client up. */
int weir_tcp_source_open(struct weir_stage *stage, const struct weir_conf *options,
                         struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr);

#endif
