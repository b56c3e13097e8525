/* io/http_conn.h - inside the HTTP server: connections and exchanges. Only io/http_*.c include it.
 *
 *           first byte            the request             its answer           written
 *   IDLE ──────────────> READING ─────────────> OUT ────────────────> ANSWERING ──────> IDLE
 *    │                      │ refused: malformed, too large, too slow     ^  │
 *    │                      └─────────────────────────────────────────────┘  │ unread input
 *    v                                                                       v
 *   CLOSED <──── an error, the end of input, or nobody read it ───────── LINGERING
 *
 * A request with a streamed body is OUT as soon as its header is whole; its body is read meanwhile.
 * A connection belongs to its server's loop thread. An exchange, one request and its answer, is the
 * connection's while it is read; its holder's while it is out; the loop's again when its answer has been
 * posted. The fields are tagged accordingly. */
#ifndef WEIR_IO_HTTP_CONN_H
#define WEIR_IO_HTTP_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/inbox.h"
#include "base/list.h"
#include "base/strbuf.h"
#include "config/network.h"
#include "core/port.h"
#include "core/timer.h"
#include "core/worker.h"
#include "io/http_parse.h"
#include "io/http_request.h"
#include "io/http_server.h"
#include "io/transport.h"

enum {
    WEIR_HTTP_AHEAD_MAX = 16 << 10, /* bytes read ahead of the answer before */
    WEIR_HTTP_READ_MAX = 64 << 10,  /* bytes read at once */
    WEIR_HTTP_OUT_MAX = 64 << 10,   /* of a streamed answer not written yet: beyond it its writer waits */
    WEIR_HTTP_IN_MAX = 64 << 10,    /* of a streamed body waiting to be read by its handler */
    WEIR_HTTP_KEEP_MAX = 16 << 10,  /* buffers larger than this are not kept for the next exchange */
    WEIR_HTTP_REMOTE_MAX = 48,
    WEIR_HTTP_EXCHANGE_SIZE = 4096, /* of an exchange with its room for headers and text */
    WEIR_HTTP_EXCHANGE_HEADERS = 24,
};

enum weir_http_timer {
    WEIR_HTTP_TIMER_HEADER,
    WEIR_HTTP_TIMER_BODY,
    WEIR_HTTP_TIMER_IDLE,
    WEIR_HTTP_TIMER_WRITE,
    WEIR_HTTP_TIMER_LINGER,
    WEIR_HTTP_TIMER_COUNT,
};

enum weir_http_state {
    WEIR_HTTP_IDLE,
    WEIR_HTTP_READING,
    WEIR_HTTP_OUT,
    WEIR_HTTP_ANSWERING,
    WEIR_HTTP_LINGERING,
    WEIR_HTTP_CLOSED,
};

/* [owner: loop] all of it */
struct weir_http_conn {
    uv_poll_t poll;
    struct weir_http_server *server;
    struct weir_http_exchange *ex; /* NULL: IDLE, LINGERING, CLOSED */
    struct weir_list node;         /* of the server's connections */
    struct weir_list timer;        /* of one of the server's timer lists, or of none */
    struct weir_list unread;       /* of the server's list of those whose next bytes no poll tells of, or of none */
    uint64_t due_ns;
    struct weir_strbuf ahead; /* received, not parsed yet */
    size_t ahead_pos;
    uint64_t body_mark; /* body bytes when its timer was set last */
    uint64_t id;
    struct weir_transport transport;
    unsigned answers; /* written so far */
    int events;       /* what the poll waits for */
    uint8_t state;    /* enum weir_http_state */
    bool eof;         /* the client has sent its end */
    bool hung_up;     /* … as the kernel said while we were not reading */
    bool yields;      /* its last request failed, perhaps after long: those who came meanwhile are read first */
    bool consuming;   /* parsing is under way further up the stack */
    bool refused;     /* it is beyond max_connections */
    bool peer_known;
    struct weir_network peer; /* `remote`, once somebody asked: peer_known */
    char remote[WEIR_HTTP_REMOTE_MAX];
};

/* What makes the rest of an answer, when there is one. */
struct weir_http_producer {
    /* The answer's buffer has run low: fill it, now or later. Loop thread. */
    void (*more)(struct weir_http_exchange *ex);
    /* The connection is gone (WEIR_E_CLOSED) or was cut (WEIR_E_TIMEOUT); nothing more is asked for. Loop
     * thread. */
    void (*cut)(struct weir_http_exchange *ex, int rc);
};

/* A streamed answer. */
struct weir_http_stream {
    struct weir_worker *worker;  /* [const] the writer's */
    struct weir_http_wait *wait; /* [owner: holder] who waits for room */
    struct weir_message end;     /* the writer's close, on its way to the loop */
    struct weir_message ack;     /* there is room again, on its way to the writer */
    size_t unacked;              /* [owner: holder] bytes sent to the loop since the last ack */
    bool acking;                 /* [owner: holder] an ack has been asked for and is yet to come */
    bool closed_whole;           /* [owner: holder, then loop] */
    bool ack_wanted;             /* [owner: loop] */
    int ack_rc;                  /* [owner: loop, then holder] */
    bool bodiless, chunked;      /* [const] HEAD, 204, 304 · HTTP/1.1 */
};

/* Reading a streamed body. */
struct weir_http_intake {
    struct weir_http_wait *wait; /* [owner: holder] */
    struct weir_worker *worker;  /* [owner: holder] */
    struct weir_message ask, reply;
    struct weir_strbuf data; /* [owner: loop until replied, then holder] */
    int rc;                  /* [owner: loop until replied, then holder] */
    bool asking;             /* [owner: holder] a reply is yet to come */
    bool given;              /* [owner: holder] a body that came whole was handed to a reader */
    bool ready;              /* [owner: holder] replied, but its reader had gone: for the next one */
    bool ended;              /* [owner: holder] it has seen the body's end */
    bool wanted;             /* [owner: loop] a reader waits */
    bool continued;          /* [owner: loop] 100 (Continue) was sent, or need not be */
    int failed;              /* [owner: loop] 0, or why no more of the body comes */
};

struct weir_http_exchange {
    struct weir_http_request r;      /* first */
    struct weir_http_server *server; /* [const] */
    struct weir_http_conn *conn;     /* [owner: loop] NULL: gone */
    _Atomic bool gone;               /* [atomic relaxed] a hint for the holder; orders nothing */
    _Atomic unsigned refs; /* [atomic acq/rel] 1, and 1 for each message on its way to a holder's worker */
    struct weir_list node; /* [owner: loop] of the server's free list; while OUT of its list `out` */
    struct weir_timer due; /* [owner: loop] while OUT: a deadline of its own */
    struct weir_http_exchange *late; /* [owner: loop] the one whose deadline passed, which this one answers
                                        instead: a reference. NULL: none */
    struct weir_message message;    /* takes the answer to the loop */
    struct weir_http_parser parser; /* [owner: loop]; its end results are [const] once the request is out */
    struct weir_strbuf body;        /* [owner: loop] */
    struct weir_strbuf out;         /* [owner: holder until answered, then loop] */
    size_t out_pos;                 /* [owner: loop] */
    const struct weir_http_producer
        *producer;   /* [owner: holder until answered, then loop] NULL: `out` is all */
    uint64_t sent;   /* [owner: loop] bytes of the answer */
    size_t head_len; /* [owner: holder until answered] of the answer */
    int status;      /* [owner: holder until answered] */
    int end;         /* [owner: holder until answered] enum weir_request_end, -1: answered by its holder */
    uint64_t number; /* [owner: loop] of its connection */
    bool keep_alive; /* [const] once out: the client may send another request */
    bool closes;     /* [owner: holder until answered] the answer says Connection: close */
    struct weir_http_file *file; /* [owner: whoever answers] */
    struct weir_http_stream stream;
    struct weir_http_intake in;
    struct weir_emission emission; /* [owner: loop] the source's */
    struct weir_http_header headers[WEIR_HTTP_EXCHANGE_HEADERS];
    char text[]; /* to WEIR_HTTP_EXCHANGE_SIZE */
};

struct weir_http_socket {
    uv_poll_t poll;
    struct weir_http_server *server;
    struct weir_list node;
    int fd, given; /* the duplicate, and what it is one of */
};

struct weir_http_server {
    uv_loop_t *loop;                                                                        /* [const] */
    struct weir_worker *worker;                                                             /* [const] */
    struct weir_http_settings settings;                                                     /* [const] */
    struct weir_access_log *log;                                                            /* [const] */
    void (*on_request)(struct weir_http_server *s, struct weir_http_request *r, void *arg); /* [const] */
    void (*on_reject)(struct weir_http_server *s, struct weir_http_request *r, void *arg);  /* [const] NULL: none */
    void *arg;                                                                              /* [const] */
    _Atomic size_t *connections;                                                            /* [const] */
    _Atomic size_t own_connections;
    _Atomic bool stopping; /* [atomic relaxed] holders look at it for Connection: close */
    struct weir_http_counts counts;
    /* [owner: loop] from here on */
    uint64_t now_ns;
    struct weir_list sockets, conns;
    struct weir_list timers[WEIR_HTTP_TIMER_COUNT];
    uint64_t durations[WEIR_HTTP_TIMER_COUNT];
    struct weir_list unread; /* connections that have decrypted bytes and room for them */
    struct weir_list out; /* exchanges that have a deadline and no answer yet, oldest first */
    struct weir_list free;
    size_t free_count, conn_count, refused_count;
    size_t exchange_count; /* not ended: somebody may still send their answers here */
    uint64_t next_id, next_conn;
    uv_timer_t sweep, resume;     /* the timeouts; accepting again after a failure */
    uv_idle_t reader;             /* runs while `unread` has something */
    uv_timer_t deadline;          /* runs while `out` has had something since it was started */
    bool closed, paused, reading; /* reading: read_buffer is in use */
    uint64_t complained_ns;       /* when the log last heard of a failure to accept */
    uint64_t puzzled_ns, puzzles; /* … of a deadline header that is none; how many it did not hear of since */
    char *read_buffer;
};

static inline void weir_http_count(_Atomic uint64_t *cell, uint64_t n)
{
    /* one writer: a plain addition, not a locked one */
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline struct weir_http_exchange *weir_http_exchange_of(const struct weir_http_request *r)
{
    return (struct weir_http_exchange *)(uintptr_t)r; /* the request is its first member */
}

/* ---- http_server.c ---- */

/* The clock, read anew. Loop thread, as all below. */
uint64_t weir_http_server_now(struct weir_http_server *s);
/* `unread` has something: it is read in the next turn. */
void weir_http_server_read_on(struct weir_http_server *s);
void weir_http_server_conn_gone(struct weir_http_server *s, struct weir_http_conn *c);

/* ---- http_conn.c ---- */

/* Takes over an accepted socket. `refused`: answers 503 and closes. WEIR_E_NOMEM, WEIR_E_IO: the caller
 * closes `fd`. */
int weir_http_conn_open(struct weir_http_server *s, int fd, const char *remote, bool refused);
void weir_http_conn_set_timer(struct weir_http_conn *c, enum weir_http_timer kind);
void weir_http_conn_clear_timer(struct weir_http_conn *c);
/* The time of a timer list is over. */
void weir_http_conn_timed_out(struct weir_http_conn *c, enum weir_http_timer kind);
/* The server stops: takes what an idle one has sent, closes it if that is nothing. */
void weir_http_conn_stop(struct weir_http_conn *c);
/* Parts a request that is OUT from its connection: what its holder answers goes nowhere. `rc` is told to who
 * reads its body. */
void weir_http_conn_part(struct weir_http_exchange *ex, int rc);
/* Closes it now; `rc` is told to who streams an answer or a body. */
void weir_http_conn_close(struct weir_http_conn *c, int rc);
/* After an answer: parses what came meanwhile. */
void weir_http_conn_advance(struct weir_http_conn *c);
/* Says that no more comes and waits a little for the client to read what did: closing with unread input would
 * reset the connection, and the client might lose the answer. */
void weir_http_conn_linger(struct weir_http_conn *c);
/* Sends 100 (Continue). May close the connection. */
void weir_http_conn_continue(struct weir_http_conn *c);
/* The time for a body runs while we wait for the client, not while it waits for us. */
void weir_http_conn_time_body(struct weir_http_conn *c);
/* Reads what is in memory already. */
void weir_http_conn_read(struct weir_http_conn *c);
/* Reads again after a pause, if there is room. */
void weir_http_conn_watch(struct weir_http_conn *c);

/* ---- http_answer.c ---- */

/* The exchange's answer, or its head, is in `out`. The exchange is the loop's. */
void weir_http_conn_answer(struct weir_http_exchange *ex);
/* The exchange has been answered, but its answer takes time to make. false: the connection is gone. */
bool weir_http_conn_hold(struct weir_http_exchange *ex, const struct weir_http_producer *producer);
/* More of the answer is in `out`; or, with no producer left, it is complete. */
void weir_http_conn_write(struct weir_http_conn *c);
/* Writes the access log's line. */
void weir_http_answer_log(struct weir_http_exchange *ex);

/* ---- http_deadline.c ---- */

void weir_http_deadline_init(struct weir_http_server *s);
/* The exchange is OUT from now on: says when its time is over (r.deadline_ns), and answers 504 then if its answer has not begun. */
void weir_http_deadline_start(struct weir_http_exchange *ex);
static inline void weir_http_deadline_end(struct weir_http_exchange *ex)
{
    weir_list_remove(&ex->node);
    if (ex->due.slot != 0)
        weir_timer_unset(ex->server->worker, &ex->due);
}

/* ---- http_exchange.c ---- */

struct weir_http_exchange *weir_http_exchange_create(struct weir_http_server *s, struct weir_http_conn *c);
/* The loop is through with it, and so is its holder: gives up its first reference. Loop thread. */
void weir_http_exchange_end(struct weir_http_exchange *ex);
/* Gives up one reference: on the loop's thread recycled, elsewhere freed. */
void weir_http_exchange_unref(struct weir_http_exchange *ex, bool on_loop);
void weir_http_exchange_free(struct weir_http_exchange *ex);
/* Answers it as the host does for `ex->end`, the reason why nobody else did. Its holder's thread; `w` its worker. */
void weir_http_exchange_respond(struct weir_http_exchange *ex, struct weir_worker *w);
/* Gives the exchange, whose answer stands in it, to the loop. The holder's thread; `w` its worker. */
void weir_http_exchange_answer(struct weir_http_exchange *ex, struct weir_worker *w);
/* Whether `w` is the worker of the exchange's loop. */
static inline bool weir_http_exchange_is_local(const struct weir_http_exchange *ex,
                                               const struct weir_worker *w)
{
    return ex->server->worker == w;
}
void weir_http_exchange_post(struct weir_http_exchange *ex, struct weir_message *m);

/* ---- http_response.c ---- */

enum weir_http_framing {
    WEIR_HTTP_FRAMING_LENGTH,
    WEIR_HTTP_FRAMING_CHUNKED,
    WEIR_HTTP_FRAMING_NONE,
    WEIR_HTTP_FRAMING_CLOSE
};

/* Writes the head of the answer to `ex->out` and decides `closes`. FRAMING_NONE: no body and no word about
 * one (204). */
void weir_http_response_head(struct weir_http_exchange *ex, struct weir_worker *w, int status,
                             const struct weir_http_header *headers, size_t count,
                             enum weir_http_framing framing, uint64_t length);
/* Retry-After: when a queue may have room for a request that was refused, in whole seconds; the value is in `text`. */
enum { WEIR_HTTP_RETRY_MAX = 12 };
struct weir_http_header weir_http_retry_after(const struct weir_http_exchange *ex, char text[WEIR_HTTP_RETRY_MAX]);
/* Makes a short answer of the host's own. */
void weir_http_response_plain(struct weir_http_exchange *ex, struct weir_worker *w, int status);
/* HTTP's name of a status; "" for one without. */
const char *weir_http_status_text(int status);
/* Whether an answer of this status to this request has a body. */
bool weir_http_has_body(const struct weir_http_exchange *ex, int status);
/* 503 for no memory and for connections beyond the limit: static bytes. */
extern const char weir_http_busy[];
extern const size_t weir_http_busy_len;

/* ---- http_intake.c ---- */

/* More of a streamed body has come, or its end, or it failed. */
void weir_http_intake_serve(struct weir_http_exchange *ex);

#endif
