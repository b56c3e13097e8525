/* io/http_source.h - the source type `http`: HTTP/1.1 connections to events. */
#ifndef WEIR_IO_HTTP_SOURCE_H
#define WEIR_IO_HTTP_SOURCE_H

#include <stddef.h>

#include "base/err.h"
#include "core/source.h"

struct weir_app_type;
struct weir_conf;
struct weir_stage;

/* Its options, for the configuration checker: listen, limits, timeouts, access log. */
extern const struct weir_app_type weir_http_source_type;

/* Opens the listening sockets of `stage`, one per worker that its pool may have (SO_REUSEPORT; probed without
 * it first, so that a taken port is an error and port 0 gives one port; unix: one shared). `bound` (size
 * bytes) gets the address as a client types it ("http://127.0.0.1:8080", "unix:/run/x.sock"). Control thread,
 * before the pool starts. */
int weir_http_source_open(struct weir_stage *stage, const struct weir_conf *options,
                          struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr);

#endif
