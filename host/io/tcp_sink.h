/* io/tcp_sink.h - the sink type `tcp`: sends events to a peer over TCP, TLS or a unix socket, framed. Each
 * worker has a connection, made when there is something to send and made again, with growing pauses, when it
 * breaks. An event is handled when the kernel has taken its bytes. */
#ifndef WEIR_IO_TCP_SINK_H
#define WEIR_IO_TCP_SINK_H

#include "base/err.h"
#include "core/handler.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_tcp_sink_type;

/* As weir_sink_type.open. Control thread. */
int weir_tcp_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                       struct weir_handler_maker *ret, struct weir_err *reterr);

#endif
