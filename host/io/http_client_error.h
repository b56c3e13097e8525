/* io/http_client_error.h - inside the HTTP client: how a request failed, as a name that programs compare and a text for people. */
#ifndef WEIR_IO_HTTP_CLIENT_ERROR_H
#define WEIR_IO_HTTP_CLIENT_ERROR_H

#include <curl/curl.h>

#include "io/http_client.h"

void weir_http_client_failed(struct weir_http_fetch *f, const char *code, const char *text);
/* `detail` is libcurl's text for this request; it may be empty. */
void weir_http_client_explain(struct weir_http_fetch *f, CURL *easy, CURLcode result, const char *detail);

#endif
