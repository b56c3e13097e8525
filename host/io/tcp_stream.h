/* io/tcp_stream.h - a connection that a handler opens (weir.tcp.connect), plain or TLS, on its worker's loop. It reads ahead up to a bound and
 * writes behind up to another; whoever uses it looks at `in`, and asks to be told of more.
 *
 *   open ──> DIALING ──> HANDSHAKE (TLS) ──> UP ──> (the peer's end: eof) ──> close
 *               └──────────────┴──────────────┴──> FAILED: code, why
 *
 * Owner: its opener, from open to close. Threads: the worker's. */
#ifndef WEIR_IO_TCP_STREAM_H
#define WEIR_IO_TCP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "io/holder.h"
#include "io/transport.h"

struct weir_address;
struct weir_dial;
struct weir_tls_client;
struct weir_worker;

enum { WEIR_TCP_STREAM_AHEAD_MAX = 64 << 10, WEIR_TCP_STREAM_BEHIND_MAX = 256 << 10 };

enum weir_tcp_stream_state { WEIR_TCP_STREAM_DIALING, WEIR_TCP_STREAM_HANDSHAKE, WEIR_TCP_STREAM_UP, WEIR_TCP_STREAM_FAILED };

struct weir_tcp_stream {
    /* Something is new: its state, bytes in `in`, its end, or room to write. May close it. Never inside a function of this header. */
    void (*progress)(struct weir_tcp_stream *s);
    void *arg;                /* the opener's */
    enum weir_tcp_stream_state state;
    struct weir_strbuf in;    /* received, not taken yet; the opener consumes it */
    struct weir_strbuf out;   /* to be sent */
    bool eof;                 /* the peer has sent its end, or it was cut: */
    bool truncated;           /* TLS: nobody has said that this is the end */
    const char *code;         /* FAILED: a name such as "ECONNREFUSED" */
    char why[WEIR_TRANSPORT_WHY_MAX];
    struct weir_holder *holder; /* the opener's, until it closes the stream: answers for `in` and `out`; NULL: nobody */
    bool refused;             /* it refused room for what the peer sends: nothing is read until the opener asks to read on */
    size_t ahead_max;         /* it stops reading at so many bytes; the opener may raise it to get a long piece whole */
    /* private */
    struct weir_worker *worker;
    struct weir_transport t;
    struct weir_dial *dial;
    struct weir_tls_client *tls;
    char *name;
    uv_poll_t poll;
    uv_idle_t again; /* TLS has bytes that no poll tells of */
    unsigned handles;
    int polled; /* for what */
    bool opened, closing, shut_wanted, nudged;
};

/* Connects to `to` within `timeout_ns` (the handshake is the opener's to limit). `tls` NULL: plain; else a reference is kept, and `name` is
 * what the peer's certificate must be for. */
int weir_tcp_stream_open(struct weir_worker *w, const struct weir_address *to, struct weir_tls_client *tls, const char *name,
                         uint64_t timeout_ns, void (*progress)(struct weir_tcp_stream *s), void *arg, struct weir_tcp_stream **ret,
                         struct weir_err *reterr);
/* Bytes were taken from `in`, ahead_max changed, or there may be room again: read on. */
void weir_tcp_stream_read_on(struct weir_tcp_stream *s);
/* Calls `progress` in the loop's next turn, whatever is new. */
void weir_tcp_stream_nudge(struct weir_tcp_stream *s);
/* Sends `data`, now as far as it goes; the rest waits in `out`, whose length the opener bounds. WEIR_E_CLOSED: it has failed, for want of memory
 * perhaps. WEIR_E_LIMIT: its holder refuses the room that the data may need, and nothing is sent. */
int weir_tcp_stream_write(struct weir_tcp_stream *s, const void *data, size_t len);
/* Our end, once `out` is sent. */
void weir_tcp_stream_shutdown(struct weir_tcp_stream *s);
/* What waits in `out` is lost. Frees it when the loop has let go of it. Takes NULL. */
void weir_tcp_stream_close(struct weir_tcp_stream *s);

#endif
