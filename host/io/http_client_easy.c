#include "io/http_client_easy.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"

static bool add_line(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (longer != NULL)
        *list = longer;
    return longer != NULL;
}

static bool has_header(const struct weir_http_fetch_options *o, const char *name)
{
    for (size_t i = 0; i < o->header_count; i++)
        if (o->headers[i].name.len == strlen(name) && strncasecmp(o->headers[i].name.data, name, strlen(name)) == 0)
            return true;
    return false;
}

static bool set_headers(CURL *e, const struct weir_http_fetch_options *o, struct curl_slist **headers)
{
    bool ok = add_line(headers, "Expect:"); /* libcurl would wait a second for 100 (Continue) */
    if (ok && (o->has_body || o->body_streamed) && !has_header(o, "content-type"))
        ok = add_line(headers, "Content-Type:"); /* libcurl would call it a form */
    for (size_t i = 0; i < o->header_count && ok; i++) {
        const struct weir_http_header *h = &o->headers[i];
        char *line = weir_asprintf(h->value.len > 0 ? "%.*s: %.*s" : "%.*s;", (int)h->name.len, h->name.data, (int)h->value.len,
                                   h->value.data);
        ok = line != NULL && add_line(headers, line);
        weir_free(line);
    }
    return ok && curl_easy_setopt(e, CURLOPT_HTTPHEADER, *headers) == CURLE_OK;
}

static bool set_body(CURL *e, const struct weir_http_fetch_options *o, struct curl_slist **headers)
{
    CURLcode rc = CURLE_OK;
    if (o->body_streamed) {
        rc = curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body_size);
        if (o->body_size < 0 && !add_line(headers, "Transfer-Encoding: chunked"))
            rc = CURLE_OUT_OF_MEMORY;
    } else if (o->has_body) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->len);
        rc = curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, o->len > 0 ? o->body : "");
    }
    const char *natural = o->body_streamed || o->has_body ? "POST" : "GET";
    if (rc == CURLE_OK && o->method != NULL && strcmp(o->method, "HEAD") == 0)
        rc = curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    else if (rc == CURLE_OK && o->method != NULL && strcmp(o->method, natural) != 0) /* libcurl keeps such a one over redirects */
        rc = curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, o->method);
    return rc == CURLE_OK;
}

static long milliseconds(uint64_t ns)
{
    return (long)((ns + 999999) / 1000000);
}

static void set_limits(CURL *e, const struct weir_http_fetch_options *o)
{
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, milliseconds(o->timeout_ns));
    if (o->connect_timeout_ns != 0)
        curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(o->connect_timeout_ns));
    if (o->idle_timeout_ns != 0) {
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (milliseconds(o->idle_timeout_ns) + 999) / 1000);
    }
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, o->redirects > 0 ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_MAXREDIRS, (long)o->redirects);
}

static bool set_peer(CURL *e, const struct weir_http_fetch_options *o)
{
    bool ok = curl_easy_setopt(e, CURLOPT_URL, o->url) == CURLE_OK;
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, o->insecure ? 0L : 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, o->insecure ? 0L : 2L);
    if (o->socket != NULL)
        ok &= curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, o->socket) == CURLE_OK;
    if (o->ca != NULL)
        ok &= curl_easy_setopt(e, CURLOPT_CAINFO, o->ca) == CURLE_OK;
    if (o->certificate != NULL)
        ok &= curl_easy_setopt(e, CURLOPT_SSLCERT, o->certificate) == CURLE_OK;
    if (o->key != NULL)
        ok &= curl_easy_setopt(e, CURLOPT_SSLKEY, o->key) == CURLE_OK;
    return ok;
}

/* What holds for all requests; NULL: no memory. */
static CURL *set_common(CURL *e, const struct weir_http_easy_hooks *hooks)
{
    if (e == NULL)
        return NULL;
    CURLcode rc = curl_easy_setopt(e, CURLOPT_NOPROXY, "*"); /* proxies are not taken from the environment */
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    if (rc != CURLE_OK) {
        curl_easy_cleanup(e);
        return NULL;
    }
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* else ending one waits for the thread of its name's look-up */
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, hooks->on_header);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, hooks->on_data);
    curl_easy_setopt(e, CURLOPT_READFUNCTION, hooks->on_read);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    return e;
}

/* Credentials in a URL stay with a handle, and a redirect may lead to such a one. */
bool weir_http_easy_is_plain(const struct weir_http_fetch_options *o)
{
    bool gets = o->method == NULL || strcmp(o->method, "GET") == 0;
    return gets && !o->has_body && !o->body_streamed && o->socket == NULL && o->ca == NULL && o->certificate == NULL &&
           o->key == NULL && o->connect_timeout_ns == 0 && o->idle_timeout_ns == 0 && o->redirects == 0 && strchr(o->url, '@') == NULL;
}

CURL *weir_http_easy_create(const struct weir_http_easy_hooks *hooks)
{
    return set_common(curl_easy_init(), hooks);
}

CURL *weir_http_easy_clear(CURL *e, const struct weir_http_easy_hooks *hooks, bool was_plain)
{
    if (was_plain) {
        curl_easy_setopt(e, CURLOPT_HTTPHEADER, NULL); /* both are the last request's, and freed */
        curl_easy_setopt(e, CURLOPT_ERRORBUFFER, NULL);
        return e;
    }
    curl_easy_reset(e);
    return set_common(e, hooks);
}

bool weir_http_easy_set(CURL *e, const struct weir_http_fetch_options *o, void *arg, char *error, struct curl_slist **headers)
{
    curl_easy_setopt(e, CURLOPT_PRIVATE, arg);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, arg);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, arg);
    curl_easy_setopt(e, CURLOPT_READDATA, arg);
    if (strncasecmp(o->url, "http:", 5) == 0 && o->redirects == 0)
        curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    else
        curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    set_limits(e, o);
    return set_peer(e, o) && set_body(e, o, headers) && set_headers(e, o, headers);
}
