/* io/udp_sink.h - the sink type `udp`: sends each event as a datagram, over UDP or to a unix datagram socket.
 * An event is handled when the kernel has taken it; nobody knows whether it arrives. */
#ifndef WEIR_IO_UDP_SINK_H
#define WEIR_IO_UDP_SINK_H

#include "base/err.h"
#include "core/handler.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_udp_sink_type;

/* As weir_sink_type.open. Control thread. */
int weir_udp_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                       struct weir_handler_maker *ret, struct weir_err *reterr);

#endif
