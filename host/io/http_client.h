/* io/http_client.h - HTTP requests to other servers, by libcurl's multi interface on a worker's loop. A worker has one client, made on first
 * use and closed with its loop: connections are kept and used again, and bounded per host.
 *
 *   open ──> progress: HEAD ──> progress: BODY (read it: weir_http_fetch_read) … ──> progress: END
 *               └── a streamed request body: progress: ROOM (weir_http_fetch_write) …
 *
 * Owner: a fetch is its opener's from open to close. Threads: the worker's. */
#ifndef WEIR_IO_HTTP_CLIENT_H
#define WEIR_IO_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "io/holder.h"
#include "io/http_request.h"

struct weir_http_fetch;
struct weir_worker;

enum {
    WEIR_HTTP_FETCH_PER_HOST = 64,            /* connections of one worker to one host, unless set */
    WEIR_HTTP_FETCH_KEPT = 256,               /* idle connections of one worker, unless set */
    WEIR_HTTP_FETCH_AHEAD_MAX = 64 << 10,     /* bytes of a streamed body that wait to be read or sent: beyond it the peer waits */
    WEIR_HTTP_FETCH_HEADERS_MAX = 64 << 10,
};

struct weir_http_fetch_options {
    const char *method; /* NULL: GET, or POST with a body */
    const char *url;    /* http or https */
    const char *socket; /* path of a unix socket to connect to; NULL: none */
    const struct weir_http_header *headers;
    size_t header_count;
    const void *body; /* copied */
    size_t len;
    bool has_body;
    bool body_streamed;      /* it comes by weir_http_fetch_write */
    int64_t body_size;       /* with body_streamed: -1: not known, it is sent in chunks */
    bool answer_streamed;    /* else the answer's body is gathered, up to max_body */
    size_t max_body;
    uint64_t timeout_ns;         /* of all of it; 0: none */
    uint64_t connect_timeout_ns; /* 0: libcurl's */
    uint64_t idle_timeout_ns;    /* no byte either way for so long; 0: none. Whole seconds */
    unsigned redirects;          /* followed at most; 0: none */
    bool insecure;               /* the server's certificate is not checked */
    unsigned per_host, kept;     /* of the worker's client from now on: connections to one host, idle ones; 0: as they are */
    struct weir_holder *holder; /* answers for bodies, both ways, and headers until it is closed; NULL: nobody. Refused: "ENOMEM" */
    const char *ca, *certificate, *key; /* PEM files; NULL: the system's authorities, no certificate of our own */
};

enum weir_http_fetch_news {
    WEIR_HTTP_FETCH_HEAD = 1, /* status and headers are there */
    WEIR_HTTP_FETCH_BODY = 2, /* bytes of a streamed answer are there */
    WEIR_HTTP_FETCH_ROOM = 4, /* a streamed request body wants bytes */
    WEIR_HTTP_FETCH_END = 8,  /* it is over: `code` NULL, or what went wrong */
};

/* What the opener looks at. */
struct weir_http_fetch {
    /* Something of it is new: bits of enum weir_http_fetch_news, all that are true now. May read, write and close the fetch. Worker thread,
     * never inside a function of this header. */
    void (*progress)(struct weir_http_fetch *f, unsigned news);
    void *arg;                  /* the opener's */
    unsigned news;              /* so far and not taken back */
    int status;                 /* of the last answer, redirects left out */
    struct weir_strbuf headers; /* "name: value\n" lines, names in lower case */
    struct weir_strbuf body;    /* of the answer, or the part of it that was not read yet */
    const char *code;           /* how it failed: "ECONNREFUSED", "TIMEOUT", "CERT_NAME_MISMATCH" … */
    char text[256];             /* … in words */
};

/* Begins a request. A failure is that of the arguments or of memory (WEIR_E_LIMIT: its holder refuses the body); those of the network come
 * with END. */
int weir_http_fetch_open(struct weir_worker *w, const struct weir_http_fetch_options *o,
                         void (*progress)(struct weir_http_fetch *f, unsigned news), void *arg, struct weir_http_fetch **ret,
                         struct weir_err *reterr);
/* Bytes for the request's body, `end`: the last. Call it when ROOM is new: they are copied. WEIR_E_NOMEM; WEIR_E_LIMIT: its holder refuses them. */
int weir_http_fetch_write(struct weir_http_fetch *f, const void *data, size_t len, bool end);
/* The opener has taken the body's bytes (the buffer is emptied): the peer may send more. */
void weir_http_fetch_consume(struct weir_http_fetch *f);
/* Ends it, at whatever point, and frees it. Takes NULL. */
void weir_http_fetch_close(struct weir_http_fetch *f);

#endif
