/* io/http_server.h - HTTP/1.1 connections on one libuv loop: accepts them, parses requests, hands each to a
 * callback, writes answers. The source type `http` has one per worker (http_source.h); the admin interface has
 * one on the control thread.
 *
 *   listening fd ──> connections ──> on_request(server, request, arg)
 *                        ^                     │  answered at once or later, here or on another worker,
 *                        └─────────────────────┘  by the functions of io/http_request.h
 *
 * A connection has one request at a time; what a client sends ahead waits, bounded, until the answer is
 * written. Owner: the loop's thread, for all functions here that do not say otherwise. Answers: with `worker`
 * NULL on the loop's thread only (give NULL as their `w`; weir_http_read is not for these), else on any worker. */
#ifndef WEIR_IO_HTTP_SERVER_H
#define WEIR_IO_HTTP_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"

struct weir_access_log;
struct weir_http_page;
struct weir_http_request;
struct weir_http_server;
struct weir_strbuf;
struct weir_tls_server;
struct weir_worker;

struct weir_http_settings {
    size_t max_connections;  /* beyond it: 503 and closed */
    size_t max_header_bytes; /* of all header fields: 431 */
    size_t max_headers;      /* 431 */
    size_t max_uri;          /* 414 */
    size_t max_body;         /* 413; of a streamed body: WEIR_E_LIMIT */
    bool stream_body;        /* hand requests over before their bodies have come */
    bool half_close; /* a client that has sent its end still waits for its answer; else it counts as gone */
    uint64_t header_ns;      /* from the first byte (or accepting) to the end of the header: 408 */
    uint64_t body_ns;        /* per 4 KiB of a body: 408 */
    uint64_t idle_ns;        /* between requests */
    uint64_t write_ns;       /* without any progress of an answer: the connection is cut */
    uint64_t deadline_ns;    /* from the request to the beginning of its answer: 504; 0: any time */
    const char *deadline_header; /* the milliseconds that a client gives its request, if they are less; in lower case. NULL: none */
    uint64_t linger_ns;      /* for the client to read an answer that came before its request had */
    bool same_user_only;     /* unix sockets: only clients of this process's user, and root, are served */
    struct weir_tls_server *tls; /* serves TLS (io/tls.h); NULL: plain. Outlives the server */
    const char *server_name; /* Server header; NULL or "": none. Outlives the server */
    const struct weir_http_page *reject_page; /* what a request is answered that was refused or dropped; NULL: 503. Outlives the server */
};

/* What `http` has when nothing is said. */
void weir_http_settings_default(struct weir_http_settings *s);

#define WEIR_HTTP_COUNT_MAP(X)                                                                               \
    X(accepted, "connections accepted")                                                                      \
    X(refused, "connections refused: max_connections")                                                       \
    X(foreign, "connections refused: another user")                                                          \
    X(accept_errors, "failures to accept: no descriptor, no memory")                                         \
    X(handshakes, "TLS handshakes done")                                                                     \
    X(resumed, "TLS handshakes that resumed a session")                                                      \
    X(handshakes_failed, "TLS handshakes that failed")                                                       \
    X(requests, "requests received whole, or up to their bodies when these are streamed")                    \
    X(answers_1xx, "interim answers")                                                                        \
    X(answers_2xx, "answers 200..299")                                                                       \
    X(answers_3xx, "answers 300..399")                                                                       \
    X(answers_4xx, "answers 400..499")                                                                       \
    X(answers_5xx, "answers 500..999")                                                                       \
    X(unanswered, "answers 500 for a handler that gave none")                                                \
    X(failed, "answers 500 for a handler that failed")                                                       \
    X(overloaded, "answers for a queue that refused or dropped: 503, or those of on_reject")                 \
    X(expired, "answers 504")                                                                                \
    X(malformed, "requests refused as malformed or ambiguous: 400, 417, 501, 505")                           \
    X(too_large, "requests over a limit: 413, 414, 431")                                                     \
    X(timeout_header, "408 for a header")                                                                    \
    X(timeout_body, "408 for a body")                                                                        \
    X(timeout_idle, "idle connections closed")                                                               \
    X(timeout_write, "connections cut since the client read nothing")                                        \
    X(class_ignored, "class headers that named no class, or came from clients that are not trusted")         \
    X(classifier_failed, "classifier scripts that failed or named no class")                                 \
    X(deadline_ignored, "deadline headers that were no number of milliseconds")                              \
    X(reject_failed, "on_reject scripts that failed or gave no answer")                                      \
    X(gone, "clients that left before their answer")                                                         \
    X(bytes_in, "bytes received")                                                                            \
    X(bytes_out, "bytes sent")

struct weir_http_counts {
#define X(name, text)                                                                                        \
    _Atomic uint64_t name; /* [atomic relaxed] one writer, the loop's thread; counts order nothing */
    WEIR_HTTP_COUNT_MAP(X)
#undef X
    _Atomic uint64_t connections; /* [atomic relaxed] open now */
};

/* A plain sum of several, for reading. */
struct weir_http_totals {
#define X(name, text) uint64_t name;
    WEIR_HTTP_COUNT_MAP(X)
#undef X
    uint64_t connections;
};

struct weir_http_options {
    uv_loop_t *loop;
    struct weir_worker
        *worker; /* whose loop it is; NULL: none, then all answers are given on the loop's thread */
    const struct weir_http_settings *settings; /* copied */
    struct weir_access_log *log;               /* outlives the server; NULL: none */
    _Atomic size_t *connections; /* [atomic relaxed] shared by the servers that max_connections counts
                                    together; NULL: its own */
    /* A request has come; it is the callee's now, who answers it, here or later. */
    void (*on_request)(struct weir_http_server *s, struct weir_http_request *r, void *arg);
    /* A request of it was refused or dropped: answers it now, if need be by weir_http_exchange_respond. On the loop's thread, not inside other
     * logic. NULL: settings.reject_page. */
    void (*on_reject)(struct weir_http_server *s, struct weir_http_request *r, void *arg);
    void *arg;
};

/* Makes a server without sockets. Any thread before the loop runs, then the loop's. */
int weir_http_server_create(const struct weir_http_options *o, struct weir_http_server **ret,
                            struct weir_err *reterr);
/* Accepts from a listening, non-blocking socket (io/listener.h); `fd` stays the caller's (it is duplicated)
 * and must differ from those it listens on already. */
int weir_http_server_listen(struct weir_http_server *s, int fd, struct weir_err *reterr);
/* Whether it does. */
bool weir_http_server_listens(const struct weir_http_server *s, int fd);
/* No longer accepts from the socket given as `fd`: what waits in its backlog is left to others. */
void weir_http_server_unlisten(struct weir_http_server *s, int fd);
/* Serves a connected, non-blocking stream socket whose client is called `remote`. WEIR_OK: the server owns it; else it is
 * closed. */
int weir_http_server_adopt(struct weir_http_server *s, int fd, const char *remote);
/* Takes what waits in the backlogs, then accepts no more; closes idle connections, the others after their
 * next answer. */
void weir_http_server_stop(struct weir_http_server *s);
/* After stop: whether every connection has gone, and no request is out whose client has left;
 * after close: the former alone. */
bool weir_http_server_idle(const struct weir_http_server *s);
/* Cuts all connections and closes all handles. Requests still held elsewhere are freed when their answers
 * come. */
void weir_http_server_close(struct weir_http_server *s);
/* Frees it; the loop has run dry after close, and no request is out. Takes NULL. Any one thread. */
void weir_http_server_destroy(struct weir_http_server *s);
/* Adds what it counted to `to`. Any thread. */
void weir_http_server_read(const struct weir_http_server *s, struct weir_http_totals *to);
/* Appends the members of a JSON object: "connections":3,"accepted":9,… */
void weir_http_totals_print(const struct weir_http_totals *t, struct weir_strbuf *out);

#endif
