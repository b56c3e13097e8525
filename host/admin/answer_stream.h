/* admin/answer_stream.h - an answer that is written bit by bit, as a chore of the admin interface (looks.h) comes to it. Nothing waits for an
 * asker who is slow. Owner: the chore. Control thread. */
#ifndef WEIR_ADMIN_ANSWER_STREAM_H
#define WEIR_ADMIN_ANSWER_STREAM_H

#include <stdbool.h>

#include "io/http_request.h"

struct weir_route_answer;
struct weir_route_ask;
struct weir_strbuf;

/* In place from start to close. */
struct weir_answer_stream {
    struct weir_http_wait wait;      /* private */
    struct weir_http_stream *stream; /* private */
    bool blocked;                    /* what was written last is not out yet: write nothing */
    bool cut;                        /* the asker has gone, or there was no memory: close it */
};

/* Takes the request and begins to answer it; `type`, the Content-Type, is static. false: the asker has been told, or `ret` says why not. */
bool weir_answer_stream_start(struct weir_answer_stream *s, struct weir_route_ask *ask, const char *type, struct weir_route_answer *ret);
/* Writes what `out` holds. */
void weir_answer_stream_write(struct weir_answer_stream *s, const struct weir_strbuf *out);
void weir_answer_stream_close(struct weir_answer_stream *s);

#endif
