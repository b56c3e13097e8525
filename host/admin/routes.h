/* admin/routes.h - which path answers what: a table, free of sockets. Control thread.
 *
 * A route answers at once, by filling `ret`; or it takes the request (weir_route_take) and answers it later
 * (weir_route_reply) or bit by bit (weir_http_start). What is taken must be answered before the admin interface
 * closes: admin/looks.h keeps what waits for workers. */
#ifndef WEIR_ADMIN_ROUTES_H
#define WEIR_ADMIN_ROUTES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/strbuf.h"
#include "io/http_request.h"

struct weir_stage;
struct weir_view;

struct weir_route_answer {
    int status;
    const char *type;        /* Content-Type, static */
    const char *allow;       /* 405: the Allow header, static; else NULL */
    struct weir_strbuf body; /* the caller's: initialised by it and freed */
};

/* Who asks what. */
struct weir_route_ask {
    const struct weir_view *view;
    struct weir_http_text method, path, query, body;
    struct weir_http_request *request; /* NULL: taken, or there is none (a test asks) */
};

/* Answers a request, unless its route takes it: ask->request is NULL then. HEAD is answered as GET: who sends
 * it leaves the body out. */
void weir_route(struct weir_route_ask *ask, struct weir_route_answer *ret);
/* Whether the path is open to those who have no token: a health probe learns nothing but that the host is
 * there. */
bool weir_route_is_public(struct weir_http_text path);

/* ---- for routes ---- */

/* Fills `ret` with a status and {"error": text}. */
void weir_route_error(struct weir_route_answer *ret, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The request is the caller's from now on, to be answered later. NULL: there is none; `ret` says so (501). */
struct weir_http_request *weir_route_take(struct weir_route_ask *ask, struct weir_route_answer *ret);
/* Answers a request that was taken. */
void weir_route_reply(struct weir_http_request *r, const struct weir_route_answer *a);
/* The decoded value of `key` in the query, to be freed; NULL: not there (or no memory, then *ret_failed). */
char *weir_route_query(const struct weir_route_ask *ask, const char *key, bool *ret_failed);
/* The body as a JSON object whose members are all among `keys` (NULL at the end); an empty body is an empty
 * object. To be json_decref'ed. NULL: it is none, which `ret` says (400). */
json_t *weir_route_body(const struct weir_route_ask *ask, const char *const *keys, struct weir_route_answer *ret);
/* The stage named so. NULL: there is none, or `name` is NULL, which `ret` says (404, 400), with the nearest name. */
struct weir_stage *weir_route_stage(const struct weir_route_ask *ask, const char *name,
                                    struct weir_route_answer *ret);

#endif
