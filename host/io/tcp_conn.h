/* io/tcp_conn.h - a connection of the source `tcp`: frames in, bytes out, and a handle to it for everybody.
 *
 *   peer ──> transport ──> intake (frames) ──> events of the stage's port
 *                                              while one waits, nothing is read
 *   peer <── transport <── out <── sendings, from any thread (io/tcp_sending.h), bounded by `queued`
 *
 *   OPEN ──close──> FLUSHING ──all is sent──> ENDING (our end is said, the peer's is waited for) ──> GONE
 *     └── reset, abort, too slow, the peer's end and nothing to answer ──────┘
 *
 * Its worker owns the socket and all buffers. Others hold references, and may send and close: they look at
 * `closed` and post under its lock, so that nothing is posted to a worker that may have gone. A reference
 * keeps memory, not the connection. */
#ifndef WEIR_IO_TCP_CONN_H
#define WEIR_IO_TCP_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/inbox.h"
#include "base/sync.h"
#include "core/timer.h"
#include "io/framing.h"
#include "io/intake.h"
#include "io/transport.h"

struct weir_tcp_server;
struct weir_tls_info;
struct weir_worker;

enum { WEIR_TCP_REMOTE_MAX = 64 };

enum weir_tcp_state {
    WEIR_TCP_OPEN,
    WEIR_TCP_FLUSHING, /* nothing is read any more: what is to be sent goes out, then it ends */
    WEIR_TCP_ENDING,   /* it takes and gives nothing more; the last events are on their way */
    WEIR_TCP_GONE,
};

struct weir_tcp_conn {
    uint64_t id;                      /* [const] unique in the process: weir.meta().source of its events */
    char remote[WEIR_TCP_REMOTE_MAX]; /* [const] "127.0.0.1:5"; "unix:" for unix sockets */
    const char *stage;                /* [const] the source's name */
    struct weir_framing framing;      /* [const] of what is sent, too */
    struct weir_tls_info *tls;        /* [const] once it is registered; NULL: plain */
    size_t bound;                     /* [const] bytes of `queued` */
    bool waits;                       /* [const] who sends more waits for room; else the connection is cut */
    struct weir_worker *worker;       /* [const] posted to under mu, as long as it is not closed */
    _Atomic unsigned refs;            /* [atomic acq/rel] */
    _Atomic size_t queued;            /* [atomic relaxed] bytes on their way to the peer */
    _Atomic size_t waiting;    /* [atomic relaxed] sendings that wait for room: later ones queue up behind */
    struct weir_mutex mu;      /* rank WEIR_RANK_SHARED_TABLE */
    bool refusing;             /* [mu] it is being closed: nothing more is taken */
    bool closed;               /* [mu] nothing more is posted to its worker */
    struct weir_list sendings; /* [mu] in the order in which they were sent, by whatever worker */
    struct weir_message kick;  /* [mu] tells its worker of them */
    bool kicked;               /* [mu] it is on its way, with a reference; `deliver` alone clears it */
    struct weir_message wish;  /* [mu] tells its worker to end it */
    bool wishing;              /* [mu] as kicked */
    const char *wish_cut;      /* [mu] why, at once; NULL: when all is sent */
    struct weir_list registered; /* [registry] (tcp_registry.c) */

    /* [owner: worker] from here on */
    struct weir_tcp_server *server;
    struct weir_list node;  /* of the server's connections */
    struct weir_list dirty; /* of those with something to do */
    enum weir_tcp_state state;
    struct weir_transport t;
    uv_poll_t poll;
    struct weir_intake intake;
    struct weir_strbuf out;
    struct weir_list senders; /* of struct weir_tcp_sending: those that wait for room */
    struct weir_timer timer;
    uint64_t active_ns; /* when something moved last */
    uint64_t linger_until_ns;
    uint64_t greeted;         /* lines of its greeting that became events */
    size_t read_size;         /* of the next read */
    int watched;              /* what its socket is polled for */
    const char *reason;       /* why it ended: "eof", "closed", "reset", "idle", "slow", … */
    bool polling;             /* the handle is open */
    bool shaking;             /* TLS: the handshake is not over */
    bool opening;             /* its opening is to be told */
    bool wants_input;         /* the intake is hungry */
    bool greets, greets_last; /* its greeting is not over; the line that was made last is the last of it */
    bool blocked;             /* the socket has taken all it could */
    bool eof;                 /* the peer's end came */
    bool lingers;             /* our end was said: what comes is passed over until the peer's does */
    bool told;                /* its end was told */
};

/* A connection by its id, with a reference; NULL: there is none, or it has ended. Any thread. */
struct weir_tcp_conn *weir_tcp_conn_find(uint64_t id);
struct weir_tcp_conn *weir_tcp_conn_ref(struct weir_tcp_conn *c);
/* Takes NULL. */
void weir_tcp_conn_unref(struct weir_tcp_conn *c);
/* Ends it: once what was sent is out; or at once, for the reason `cut`, a constant. From now on nothing more
 * can be sent. Any thread. */
void weir_tcp_conn_close(struct weir_tcp_conn *c, const char *cut);

#endif
