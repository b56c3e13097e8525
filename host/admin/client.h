/* admin/client.h - asks a running host over its admin socket: one request, one answer, waiting for it. Any
 * thread but a loop's. */
#ifndef WEIR_ADMIN_CLIENT_H
#define WEIR_ADMIN_CLIENT_H

#include <stdbool.h>

#include "base/err.h"
#include "base/strbuf.h"

struct weir_client_answer {
    int status;
    struct weir_strbuf body; /* the caller frees it with weir_strbuf_fini, also after a failure */
};

/* Whether somebody listens on the unix socket `path`. */
bool weir_client_probe(const char *path);
/* GET `target` from the socket `path`. Any status is an answer. NOHOST: nobody listens; TIMEOUT: no answer
 * within 10 s. `ret->body` is initialised by the caller. */
int weir_client_get(const char *path, const char *target, struct weir_client_answer *ret,
                    struct weir_err *reterr);

#endif
