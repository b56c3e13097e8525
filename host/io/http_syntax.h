/* io/http_syntax.h - the small grammars of HTTP/1.1 that the parser library leaves to us: tokens, targets,
 * Host, transfer codings. Pure functions. Threads: any. */
#ifndef WEIR_IO_HTTP_SYNTAX_H
#define WEIR_IO_HTTP_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/http_request.h"

/* RFC 9110 5.6.2: a method, a header's name. */
bool weir_http_is_token(const char *s, size_t len);
/* What may stand in a header's value: HTAB, visible characters, bytes from 0x80 on. */
bool weir_http_is_value(const char *s, size_t len);
bool weir_http_text_is(struct weir_http_text t, const char *lower); /* ASCII case does not matter */
/* RFC 9110 7.2: host [":" port]; no user, no path. Empty only if `may_be_empty`. */
bool weir_http_is_host(struct weir_http_text t, bool may_be_empty);

/* Splits a request's target. 0, or the status to refuse it with: 400 malformed, 405 CONNECT. `ret_host` is
 * the authority of the absolute form, else empty. The path of an absolute form without one is "/". */
int weir_http_split_target(struct weir_http_text method, struct weir_http_text target,
                           struct weir_http_text *ret_path, struct weir_http_text *ret_query,
                           struct weir_http_text *ret_host);
/* Of a Transfer-Encoding value: 0 for exactly `chunked`, 501 for codings we do not have, 400 for what has no
 * clear end. */
int weir_http_check_transfer(struct weir_http_text value);
/* Whether a comma-separated list holds `lower`, without regard to case. */
bool weir_http_list_has(struct weir_http_text list, const char *lower);
/* The text without blanks at its ends. */
struct weir_http_text weir_http_trim(struct weir_http_text t);
/* Takes the next element of a comma-separated list off `list`, trimmed. false: no more. */
bool weir_http_list_next(struct weir_http_text *list, struct weir_http_text *ret);

#endif
