/* io/http_parse.h - bytes of a connection to one request, checked strictly: what two parsers could read in two
 * ways is refused.
 *
 *   HEAD ──(end of the header)──> BODY ──(its end)──> DONE
 *     └─────────────────────────────┴──> FAILED, with the status to answer
 *
 * llhttp does the parsing. In front of it a scan refuses what it lets pass: line feeds without carriage
 * returns, folded lines, blanks before the first header. After it we check Host, target, framing and our limits.
 * Owner: embeds it, and gives it room for the usual header, so that the usual request costs no allocation.
 * Threads: one at a time. */
#ifndef WEIR_IO_HTTP_PARSE_H
#define WEIR_IO_HTTP_PARSE_H

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "io/http_request.h"

struct weir_http_settings;

enum weir_http_phase { WEIR_HTTP_HEAD, WEIR_HTTP_BODY, WEIR_HTTP_DONE, WEIR_HTTP_FAILED };

/* Room that the owner lends: headers, and text for the target and all names and values. Larger needs are
 * allocated. */
struct weir_http_room {
    struct weir_http_header *headers;
    size_t header_cap;
    char *text;
    size_t text_cap;
};

struct weir_http_parser {
    enum weir_http_phase phase;
    int status;               /* FAILED: what to answer */
    const char *reason;       /* FAILED: why, a static text */
    bool keep_alive;          /* from the end of HEAD on: the client may send another request */
    bool has_length, chunked; /* there is a body, and how it ends */
    bool wants_continue;      /* Expect: 100-continue */
    uint64_t content_length;  /* with has_length */
    uint64_t body_len;        /* bytes of the body so far */
    struct weir_strbuf *body; /* where they are appended */
    /* private */
    llhttp_t ll;
    struct weir_http_request *r;
    const struct weir_http_settings *limits;
    struct weir_http_room room, lent;
    size_t text_len, head_len, line_len, extension_len, trailers, trailer_len;
    uint64_t framing_len, chunks;
    const char *piece; /* what llhttp works on now */
    char tail[8];      /* the last bytes of the piece before */
    char last;         /* the last byte scanned */
    bool line_seen, head_scanned, version_seen, in_value;
};

/* Ready for a request's first byte; fills `r` (its strings, headers, version) and appends its body to `body`.
 * All borrowed. */
void weir_http_parser_init(struct weir_http_parser *p, struct weir_http_request *r,
                           const struct weir_http_settings *limits, struct weir_http_room room,
                           struct weir_strbuf *body);
/* Frees what was allocated; the request's strings end with it. */
void weir_http_parser_fini(struct weir_http_parser *p);
/* Parses what it needs of `data` and returns how many bytes it took. It stops at the end of the header, at
 * the end of the request, and when it fails: look at `phase`, and call it again for the body. */
size_t weir_http_parser_feed(struct weir_http_parser *p, const char *data, size_t len);
/* Copies a text into the request's room, so that it lives as long. NULL data: no memory. */
struct weir_http_text weir_http_parser_keep(struct weir_http_parser *p, const char *data, size_t len);

#endif
