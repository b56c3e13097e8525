/* io/tcp_server.h - inside the source `tcp`: what a worker's connections share, and what its files need of
 * each other. Only io/tcp_*.c include it. */
#ifndef WEIR_IO_TCP_SERVER_H
#define WEIR_IO_TCP_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "core/source.h"
#include "core/worker.h"
#include "io/framing.h"
#include "io/intake.h"
#include "io/key_rule.h"

struct weir_class_rule;
struct weir_listener;
struct weir_tcp_conn;
struct weir_tls_server;

struct weir_tcp_settings {
    struct weir_framing framing;
    size_t max_connections, bound;
    uint64_t idle_ns;   /* 0: none */
    uint64_t linger_ns; /* after the peer's end, and after ours */
    uint64_t handshake_ns;
    bool waits, notify, cut_overlong;
    bool greets;              /* a connection begins with lines, whatever the framing of what follows is: */
    uint64_t greeting_lines;  /* so many; 0: as many as it takes */
    const char *greeting_end; /* [const] the line that is the last of them; NULL: none */
};

/* Of a source, all its workers. */
struct weir_tcp_shared {
    struct weir_stage *stage;          /* [const] */
    struct weir_listener *listener;    /* [const] until destroyed */
    struct weir_tls_server *tls;       /* [const] NULL: plain */
    struct weir_class_rule *class;     /* [const] NULL: who connects does not matter */
    struct weir_key_rule key;          /* [const] of the events of a connection */
    struct weir_tcp_settings settings; /* [const] */
    struct weir_intake_counts counts;
    _Atomic size_t connections; /* [atomic relaxed] */
    /* [atomic relaxed] counts */
    _Atomic uint64_t accepted, refused, slow, idle, failed, handshakes_failed, bytes_out;
};

/* [owner: worker] */
struct weir_tcp_server {
    struct weir_source base; /* first */
    struct weir_tcp_shared *shared;
    struct weir_list conns;
    struct weir_list dirty; /* of connections with something to do that no poll will tell of */
    struct weir_aside tidy; /* does it */
    uv_poll_t poll;         /* of a duplicate of the listening socket */
    uv_timer_t resume;      /* accepting again after a failure */
    int fd;
    bool started, stopped, closed;
};

static inline void weir_tcp_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- tcp_conn.c ---- */

/* Takes an accepted socket, whose events are of class `class`, -1: of the source's, and the reference to their key; NULL: no memory, the socket
 * is closed. */
struct weir_tcp_conn *weir_tcp_conn_begin(struct weir_tcp_server *server, int fd, const char *remote, int class,
                                          struct weir_value key);
/* Does what is on the server's list `dirty`. */
void weir_tcp_conn_tidy(struct weir_tcp_server *server);
/* Looks at what it waits for now; ends it when nothing is left to do: whoever calls this last touches the
 * connection no more without a reference of its own. */
void weir_tcp_conn_update(struct weir_tcp_conn *c);
/* Ends it, for `reason`, a constant; frames that have come and its end are still to be told. As update. */
void weir_tcp_conn_end(struct weir_tcp_conn *c, const char *reason);
/* Has its worker end it, as weir_tcp_conn_close. The caller holds c->mu, and it is not closed. */
void weir_tcp_conn_close_locked(struct weir_tcp_conn *c, const char *cut);
/* Whether nothing is on its way, in either direction. */
bool weir_tcp_conn_at_rest(const struct weir_tcp_conn *c);
/* Ends it and closes its handle, whatever waits: its worker leaves. */
void weir_tcp_conn_cut(struct weir_tcp_conn *c);

/* ---- tcp_frames.c ---- */

/* Makes its intake, and its id. */
void weir_tcp_frames_init(struct weir_tcp_conn *c);
/* All whole frames have become events: tells of its opening and its end, if they are to be told, and goes on.
 * As weir_tcp_conn_update. */
void weir_tcp_frames_tell(struct weir_tcp_conn *c);

/* ---- tcp_sending.c; all on the connection's worker ---- */

/* Takes in what was sent from anywhere, in the order in which it was. */
void weir_tcp_sending_gather(struct weir_tcp_conn *c);
/* Lets those in that wait and fit. */
void weir_tcp_sending_let_in(struct weir_tcp_conn *c);
/* `n` bytes of `queued` have gone, to the peer or nowhere. */
void weir_tcp_sending_release(struct weir_tcp_conn *c, size_t n);
/* The connection is closed: nobody waits any more, and nothing is kept. */
void weir_tcp_sending_refuse_all(struct weir_tcp_conn *c);

/* ---- tcp_registry.c ---- */

void weir_tcp_registry_add(struct weir_tcp_conn *c);
void weir_tcp_registry_remove(struct weir_tcp_conn *c);

#endif
