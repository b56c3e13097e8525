/* io/tcp_server.h - inside the source `tcp`: what a worker's connections share. Only io/tcp_*.c include it. */
#ifndef WEIR_IO_TCP_SERVER_H
#define WEIR_IO_TCP_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "core/source.h"
#include "io/framing.h"
#include "io/intake.h"

struct weir_listener;
struct weir_tls_server;

struct weir_tcp_settings {
    struct weir_framing framing;
    size_t max_connections, bound;
    uint64_t idle_ns;   /* 0: none */
    uint64_t linger_ns; /* after the peer's end */
    bool waits, notify, cut_overlong;
};

/* Of a source, all its workers. */
struct weir_tcp_shared {
    struct weir_stage *stage;           /* [const] */
    struct weir_listener *listener;     /* [const] until destroyed */
    struct weir_tls_server *tls;        /* [const] NULL: plain */
    struct weir_tcp_settings settings;  /* [const] */
    struct weir_intake_counts counts;
    _Atomic size_t connections;         /* [atomic relaxed] */
    _Atomic uint64_t accepted, refused, slow, idle, failed, bytes_out; /* [atomic relaxed] counts */
};

/* [owner: worker] */
struct weir_tcp_server {
    struct weir_source base; /* first */
    struct weir_tcp_shared *shared;
    struct weir_list conns;
    uv_poll_t poll;          /* of a duplicate of the listening socket */
    uv_timer_t resume;       /* accepting again after a failure */
    int fd;
    bool started, stopped, closed;
};

#endif
