/* admin/admin.h - the admin interface of a running host: HTTP/1.1 and JSON on a unix socket and, if the
 * application asks for it, on TCP. It reads what the host counts; nothing here touches a worker. Owner: the
 * caller. Threads: all functions on the control thread, whose loop serves it. */
#ifndef WEIR_ADMIN_ADMIN_H
#define WEIR_ADMIN_ADMIN_H

#include <uv.h>

#include "base/err.h"

struct weir_admin;
struct weir_runtime;

struct weir_admin_options {
    struct weir_runtime *rt; /* outlives the admin interface */
    uv_loop_t *loop;         /* the control thread's */
    /* A path (also "unix:PATH"), "none", or NULL for NAME.sock in the default folder (admin/place.h): if
     * another host of that name has it, NAME-PID.sock. */
    const char *socket; /* outlives the admin interface */
};

/* An admin interface without sockets. */
int weir_admin_create(const struct weir_admin_options *o, struct weir_admin **ret, struct weir_err *reterr);
/* Opens the sockets. A path that somebody listens on, or that is no socket, is an error; what a killed host
 * left is replaced. After a failure it can only be closed. */
int weir_admin_listen(struct weir_admin *a, struct weir_err *reterr);
/* Path of the unix socket; NULL: none. */
const char *weir_admin_socket(const struct weir_admin *a);
/* "http://127.0.0.1:9901"; NULL: not on TCP. */
const char *weir_admin_address(const struct weir_admin *a);
/* Removes the socket and cuts all connections; the loop must run until they are closed. Takes NULL. */
void weir_admin_close(struct weir_admin *a);
/* After close, when the loop has run dry. Takes NULL. */
void weir_admin_destroy(struct weir_admin *a);

#endif
