/* admin/client.h - asks a running host over its admin socket: one request, one answer, waiting for it. Any
 * thread but a loop's. */
#ifndef WEIR_ADMIN_CLIENT_H
#define WEIR_ADMIN_CLIENT_H

#include <signal.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/strbuf.h"

struct weir_client_answer {
    int status;
    struct weir_strbuf body; /* the caller frees it with weir_strbuf_fini, also after a failure */
};

/* Whether somebody listens on the unix socket `path`. */
bool weir_client_probe(const char *path);

struct weir_client_question {
    const char *path;   /* of the socket */
    const char *target;
    const char *json;   /* what is posted; NULL: GET */
    /* Gets the body of an answer of status 200 as it comes, in place of `body`; false: enough. NULL: it is gathered. */
    bool (*piece)(void *arg, const char *data, size_t len);
    void *arg;
    const volatile sig_atomic_t *stop; /* not 0, and a signal came: enough. NULL: nothing stops it */
};

/* Asks. Any status is an answer. NOHOST: nobody listens; TIMEOUT: nothing came for 10 s. `ret->body` is initialised by the caller. */
int weir_client_ask(const struct weir_client_question *q, struct weir_client_answer *ret, struct weir_err *reterr);

#endif
