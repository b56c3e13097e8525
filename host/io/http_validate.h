/* io/http_validate.h - conditional and range requests (RFC 9110 sections 13 and 14), HTTP dates. Pure
 * functions. Threads: any. */
#ifndef WEIR_IO_HTTP_VALIDATE_H
#define WEIR_IO_HTTP_VALIDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "io/http_request.h"

enum { WEIR_HTTP_DATE_LEN = 29 }; /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Writes the date, NUL included. */
void weir_http_date_print(time_t seconds, char out[WEIR_HTTP_DATE_LEN + 1]);
/* Reads any of the three forms of RFC 9110 5.6.7. false: it is none. */
bool weir_http_date_parse(struct weir_http_text t, time_t *ret);

/* What a client may have a copy of. */
struct weir_http_validators {
    struct weir_http_text etag; /* quotes included, strong */
    time_t modified;
};

/* What the request's conditions make of a 200: 200 go on, 304, 412. */
int weir_http_evaluate(const struct weir_http_request *r, const struct weir_http_validators *v);

struct weir_http_range {
    uint64_t first, len;
};

/* What the request's Range makes of a 200 with `size` bytes: 206 with `ret` set, 416, or 200 for all of it:
 * no range, several, not one of bytes, or If-Range names another version. */
int weir_http_range(const struct weir_http_request *r, const struct weir_http_validators *v, uint64_t size,
                    struct weir_http_range *ret);

#endif
