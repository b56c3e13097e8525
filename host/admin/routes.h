/* admin/routes.h - which path answers what: a table, free of sockets. Control thread. */
#ifndef WEIR_ADMIN_ROUTES_H
#define WEIR_ADMIN_ROUTES_H

#include <stdbool.h>

#include "base/strbuf.h"
#include "io/http_request.h"

struct weir_view;

struct weir_route_answer {
    int status;
    const char *type;        /* Content-Type, static */
    const char *allow;       /* 405: the Allow header, static; else NULL */
    struct weir_strbuf body; /* the caller's: initialised by it and freed */
};

/* Answers a request. HEAD is answered as GET: who sends it leaves the body out. */
void weir_route(const struct weir_view *v, struct weir_http_text method, struct weir_http_text path,
                struct weir_http_text query, struct weir_route_answer *ret);
/* Whether the path is open to those who have no token: a health probe learns nothing but that the host is
 * there. */
bool weir_route_is_public(struct weir_http_text path);
/* Fills `ret` with a status and {"error": text}. */
void weir_route_error(struct weir_route_answer *ret, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
