/* io/tcp_conn.h - a connection of the source `tcp`: frames in, bytes out, and a handle to it for everybody.
 *
 *   peer ──> transport ──> intake (frames) ──> events of the stage's port          while it waits, nothing is read
 *   peer <── transport <── out <── send, from any thread: by message, bounded by `queued`
 *
 * Its worker owns the socket and all buffers. Others hold references, and may send and close: they look at `closed` and post under its
 * lock, so that nothing is posted to a worker that may have gone. A reference keeps memory, not the connection. */
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
struct weir_worker;

enum { WEIR_TCP_REMOTE_MAX = 64 };

enum weir_tcp_state {
    WEIR_TCP_OPEN,
    WEIR_TCP_FLUSHING, /* nothing is read any more: what is to be sent goes out, then it ends */
    WEIR_TCP_ENDING,   /* its socket is closed; the last events are on their way */
    WEIR_TCP_GONE,
};

struct weir_tcp_conn {
    uint64_t id;                      /* [const] unique in the process: weir.meta().source of its events */
    char remote[WEIR_TCP_REMOTE_MAX]; /* [const] "127.0.0.1:5"; "unix:" for unix sockets */
    const char *stage;                /* [const] the source's name */
    struct weir_framing framing;      /* [const] */
    size_t bound;                     /* [const] bytes of `queued` */
    bool waits;                       /* [const] who sends more waits for room; else the connection is cut */
    struct weir_worker *worker;       /* [const] posted to under mu, as long as it is not closed */
    _Atomic unsigned refs;            /* [atomic acq/rel] */
    _Atomic size_t queued;            /* [atomic relaxed] bytes on their way to the peer, messages included */
    struct weir_mutex mu;             /* rank WEIR_RANK_SHARED_TABLE */
    bool closed;                      /* [mu] */
    struct weir_list sendings;        /* [mu] in the order in which they were sent, by whatever worker */
    struct weir_message kick;         /* [mu] tells its worker of them */
    bool kicked;                      /* [mu] it is on its way, with a reference */
    struct weir_list registered;      /* [registry] (tcp_registry.c) */

    /* [owner: worker] from here on */
    struct weir_tcp_server *server;
    struct weir_list node; /* of the server's connections */
    enum weir_tcp_state state;
    struct weir_transport t;
    uv_poll_t poll;
    bool polling;           /* the handle is open */
    bool wants_input;       /* the intake is hungry */
    struct weir_intake intake;
    struct weir_strbuf out;
    struct weir_list senders; /* of struct weir_tcp_sending: those that wait for room */
    struct weir_timer idle;
    uint64_t active_ns;
    const char *reason;       /* why it ended: "closed", "reset", "idle", "slow", "stopped" … */
    bool eof, told, fresh;    /* the peer's end came · its end was told · its opening is to be told */
};

/* Bytes on their way to a connection. */
struct weir_tcp_sending {
    struct weir_message message; /* back to who waits */
    struct weir_list node;
    struct weir_tcp_conn *conn;  /* a reference */
    struct weir_worker *back;    /* who waits to be told; NULL: nobody */
    /* On the worker `back`: they are on their way (WEIR_OK) or will never be (WEIR_E_CLOSED). Frees it (weir_tcp_sending_free). */
    void (*done)(struct weir_tcp_sending *s, int rc);
    void *arg;
    int rc;
    char *data;
    size_t len;
};

/* A connection by its id, with a reference; NULL: there is none, or it has ended. Any thread. */
struct weir_tcp_conn *weir_tcp_conn_find(uint64_t id);
struct weir_tcp_conn *weir_tcp_conn_ref(struct weir_tcp_conn *c);
void weir_tcp_conn_unref(struct weir_tcp_conn *c);
/* Sends one frame. WEIR_OK: it is on its way. WEIR_E_FULL (only with `done`): it waits for room, `done` tells; without `done`: there is
 * none. WEIR_E_CLOSED: the connection has ended, or is cut since its peer is slow (`on_overflow: close`). WEIR_E_LIMIT, WEIR_E_INVAL: no
 * such frame (io/framing.h). WEIR_E_NOMEM. `w` is the calling worker. Any worker. */
int weir_tcp_conn_send(struct weir_tcp_conn *c, struct weir_worker *w, const void *data, size_t len,
                       void (*done)(struct weir_tcp_sending *s, int rc), void *arg, struct weir_tcp_sending **ret);
/* Ends it: once what was sent is out; or at once, for the reason `cut`, a constant. Any thread. */
void weir_tcp_conn_close(struct weir_tcp_conn *c, const char *cut);
void weir_tcp_sending_free(struct weir_tcp_sending *s);

/* ---- for tcp_source.c ---- */

/* Takes an accepted socket; NULL: no memory, the socket is closed. */
struct weir_tcp_conn *weir_tcp_conn_begin(struct weir_tcp_server *server, int fd, const char *remote);
/* The source has stopped: reads nothing more. What was sent to it goes out. */
void weir_tcp_conn_stop(struct weir_tcp_conn *c);
/* Whether nothing is on its way, in either direction. */
bool weir_tcp_conn_at_rest(const struct weir_tcp_conn *c);
/* Cuts it and closes its handle, whatever waits. */
void weir_tcp_conn_cut(struct weir_tcp_conn *c);

/* ---- tcp_registry.c ---- */
void weir_tcp_registry_add(struct weir_tcp_conn *c);
void weir_tcp_registry_remove(struct weir_tcp_conn *c);

#endif
