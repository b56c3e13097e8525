/* io/tcp_sending.h - bytes on their way to a connection of the source `tcp`, from any worker:
 *
 *   same worker, nothing before it ─────────────────────────> conn->out
 *   else ──> conn->sendings ──(its worker is kicked)─┬─room──> conn->out
 *                                                    └─none──> conn->senders, until the peer has taken enough
 *
 * What one caller sends, and all of what callers send one after the other, goes out in that order: while one
 * waits for room, later ones wait behind it. `queued` counts bytes before they are posted, so the bound holds
 * over all callers; those that wait are bounded by the calls that wait. */
#ifndef WEIR_IO_TCP_SENDING_H
#define WEIR_IO_TCP_SENDING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/inbox.h"
#include "base/list.h"

struct weir_tcp_conn;
struct weir_worker;

/* One that waits belongs to its connection until it is answered, then to who is told. */
struct weir_tcp_sending {
    struct weir_message message; /* back to who waits */
    struct weir_message recall;  /* to the connection's worker, with a reference */
    struct weir_list node;       /* [mu of the connection] of sendings, then [owner: its worker] of senders */
    struct weir_tcp_conn *conn;  /* [const] a reference */
    struct weir_worker *back;    /* [const] who waits to be told; NULL: nobody */
    /* [owner: back] They are on their way (WEIR_OK) or never will be (WEIR_E_CLOSED). Frees it
     * (weir_tcp_sending_unref). */
    void (*done)(struct weir_tcp_sending *s, int rc);
    void *arg;             /* [owner: back] */
    _Atomic unsigned refs; /* [atomic acq/rel] */
    bool recalled;         /* [mu of the connection] nobody waits for it any more */
    bool answered;         /* [mu of the connection] it is on its way back */
    bool listed;           /* [owner: the connection's worker] it is in senders */
    int rc;
    char *data;
    size_t len;
};

struct weir_tcp_send {
    const void *data;
    size_t len;
    bool whole; /* as it is, not as a frame */
    /* On the calling worker, when the sending that waited has come to its turn; NULL: it does not wait. */
    void (*done)(struct weir_tcp_sending *s, int rc);
    void *arg;
};

/* Sends a frame. WEIR_OK: it is on its way. WEIR_E_FULL (only with `done`): it waits for room, `done` tells;
 * without `done`: there is none. WEIR_E_CLOSED: the connection has ended, is being closed, or is cut now
 * since its peer is slow (`on_overflow: close`). WEIR_E_LIMIT, WEIR_E_INVAL: no such frame (io/framing.h).
 * WEIR_E_NOMEM. `w` is the calling worker. Any worker. */
int weir_tcp_conn_send(struct weir_tcp_conn *c, struct weir_worker *w, const struct weir_tcp_send *send,
                       struct weir_tcp_sending **ret);
/* One that waits: it need not be sent any more, and `done` will not be called. It is not the caller's from
 * here on. If its turn has come already, it is sent. The worker that waits. */
void weir_tcp_sending_recall(struct weir_tcp_sending *s);
/* For `done`. */
void weir_tcp_sending_unref(struct weir_tcp_sending *s);

#endif
