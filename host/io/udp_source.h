/* io/udp_source.h - the source type `udp`: makes an event of each datagram. Each worker has a socket of its
 * own on the address; the kernel deals datagrams between them by sender. While the stage behind says `wait`
 * nothing is read, and what the kernel then drops is counted. */
#ifndef WEIR_IO_UDP_SOURCE_H
#define WEIR_IO_UDP_SOURCE_H

#include <stddef.h>

#include "base/err.h"
#include "core/source.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

extern const struct weir_app_type weir_udp_source_type;

/* As weir_source_type.open: `bound` becomes "udp://127.0.0.1:5140". Control thread. */
int weir_udp_source_open(struct weir_stage *stage, const struct weir_conf *options,
                         struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr);

#endif
