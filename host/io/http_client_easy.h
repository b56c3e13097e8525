/* io/http_client_easy.h - libcurl's handle of a request, set up from the request's options. For io/http_client.c. Worker thread. */
#ifndef WEIR_IO_HTTP_CLIENT_EASY_H
#define WEIR_IO_HTTP_CLIENT_EASY_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>

#include "io/http_client.h"

/* What libcurl calls during a request; `arg` is weir_http_easy_set's. */
struct weir_http_easy_hooks {
    size_t (*on_header)(char *line, size_t size, size_t count, void *arg);
    size_t (*on_data)(char *data, size_t size, size_t count, void *arg);
    size_t (*on_read)(char *buffer, size_t size, size_t count, void *arg); /* of a streamed request body */
};

/* A handle with what holds for all requests; NULL: no memory. */
CURL *weir_http_easy_create(const struct weir_http_easy_hooks *hooks);
/* Whether a request sets nothing but what every request sets: its handle can be used again without being reset, which costs as much as
 * setting it up. */
bool weir_http_easy_is_plain(const struct weir_http_fetch_options *o);
/* Sets `e` up for a request. `error` has CURL_ERROR_SIZE bytes; `*headers`, which is the caller's to free, `o` and the rest stay in place
 * until the request has ended. false: no memory. */
bool weir_http_easy_set(CURL *e, const struct weir_http_fetch_options *o, void *arg, char *error, struct curl_slist **headers);
/* Makes it ready for another request. Returns it, or NULL: it was freed, there is no memory. */
CURL *weir_http_easy_clear(CURL *e, const struct weir_http_easy_hooks *hooks, bool was_plain);

#endif
