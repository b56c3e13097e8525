/* io/http_request.h - an HTTP request in the hands of a handler: read it, answer it once.
 * Owner: its holder (core/request.h), on whatever worker the event that carries it is; an answer finds its
 * own way back to the worker that owns the connection. After reply, reply_file, start or `end` the holder
 * must not touch it again. The strings live as long as the request. */
#ifndef WEIR_IO_HTTP_REQUEST_H
#define WEIR_IO_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/request.h"
#include "core/value.h"

struct weir_event;
struct weir_strbuf;
struct weir_http_stream;
struct weir_tls_info;
struct weir_worker;

struct weir_http_text {
    const char *data; /* not NUL-terminated */
    size_t len;
};

struct weir_http_header {
    struct weir_http_text name, value; /* of a request: the name in lower case */
};

struct weir_http_request {
    struct weir_request base; /* first: a struct weir_request of an event of an HTTP source is one of these */
    /* [const] once made */
    struct weir_http_text method, target, path, query, remote; /* path: as sent, up to the question mark */
    int version_minor;                                         /* HTTP/1.x */
    const struct weir_http_header *headers;
    size_t header_count;
    uint64_t arrival_ns;
    uint64_t deadline_ns; /* 0: none */
    uint64_t id;
    uint8_t class_index;
    bool body_streamed; /* read it with weir_http_read; else it is whole in `body` */
    struct weir_http_text body;
    struct weir_tls_info *tls; /* what the connection has agreed on (io/tls.h); NULL: it is plain. One reference */
    struct weir_value vars; /* [owner: holder] travels along; one reference */
};

/* The value of a header given in lower case; several of the same name are joined with ", " by the source.
 * NULL: none. */
const struct weir_http_text *weir_http_request_header(const struct weir_http_request *r, const char *name,
                                                      size_t len);

/* Appends {"method": …, "target": …, "version": …, "remote": …, "headers": {…}, "body": …}; a body that is streamed or too long is left out, and
 * "body_bytes" says so. Only reads. */
void weir_http_request_describe(const struct weir_http_request *r, struct weir_strbuf *out);

/* The request of an event that comes from an HTTP source; NULL when `r` is another protocol's. */
struct weir_http_request *weir_http_request_of(struct weir_request *r);

/* A header of an answer, checked (token; no CR, LF, NUL). Content-Length, Transfer-Encoding, Connection and
 * Date are the host's: giving them is an error that weir_http_check_headers names. */
int weir_http_check_headers(const struct weir_http_header *headers, size_t count, struct weir_err *reterr);

/* Answers with a whole body (copied). `headers` have been checked. Consumes `r`, also on failure (then the
 * client gets 500: no memory). Never waits. The holder's worker `w`. Status 200..999; 204 and 304 send no
 * body. */
void weir_http_reply(struct weir_http_request *r, struct weir_worker *w, int status,
                     const struct weir_http_header *headers, size_t count, const void *body, size_t len);

/* Answers with a file: validators (ETag, Last-Modified → 304, 412), one range (206, 416), content type by
 * extension unless given. `root` is a folder that `path` (relative, decoded; ".." and symlinks out refused)
 * is opened beneath; what can't be had is answered 404 or 403. Opening and reading happen off the loop.
 * Consumes `r`. The holder's worker `w`. */
void weir_http_reply_file(struct weir_http_request *r, struct weir_worker *w, int status,
                          const struct weir_http_header *headers, size_t count, const char *root,
                          const char *path);

/* Begins a streamed answer: head now, body by writes. Consumes `r`. NULL: no memory (the client got 500).
 * Owner of the stream: the caller, on worker `w` alone. */
struct weir_http_stream *weir_http_start(struct weir_http_request *r, struct weir_worker *w, int status,
                                         const struct weir_http_header *headers, size_t count);

/* How a wait for a stream or a body ends: WEIR_OK, WEIR_E_CLOSED (the client is gone), WEIR_E_TIMEOUT (it was
 * too slow). The waiter's worker thread, never inside the call that began the wait. Embedded by the waiter,
 * in place until then. */
struct weir_http_wait {
    /* data: of weir_http_read, else NULL; valid inside. */
    void (*done)(struct weir_http_wait *wait, int rc, const void *data, size_t len);
};

/* Writes a chunk (copied). WEIR_OK: taken, go on. WEIR_E_CLOSED: the client is gone. WEIR_E_FULL: taken, but
 * the client is slow: `wait->done` tells when to go on, and until then nothing more is written. WEIR_E_NOMEM: not
 * taken; close it as not whole. */
int weir_http_stream_write(struct weir_http_stream *s, const void *data, size_t len,
                           struct weir_http_wait *wait);
/* Ends the answer and frees the stream. `whole` false: cuts the connection, so that the client knows that it
 * is not complete. No wait is under way, or it is dropped (`done` won't be called). */
void weir_http_stream_close(struct weir_http_stream *s, bool whole);

/* Reads the next chunk of a streamed body: always ends by `wait->done`; len 0 with WEIR_OK: the end of the
 * body. WEIR_E_LIMIT: longer than allowed. */
void weir_http_read(struct weir_http_request *r, struct weir_worker *w, struct weir_http_wait *wait);
/* Takes a read that is under way back: `done` won't be called. The holder's worker. */
void weir_http_read_cancel(struct weir_http_request *r, struct weir_http_wait *wait);

#endif
