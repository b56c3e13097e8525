#include "io/http_client_error.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

struct name {
    CURLcode result;
    const char *code;
};

static const struct name names[] = {
    {CURLE_UNSUPPORTED_PROTOCOL, "BAD_URL"},
    {CURLE_URL_MALFORMAT, "BAD_URL"},
    {CURLE_COULDNT_RESOLVE_HOST, "ENOTFOUND"},
    {CURLE_COULDNT_CONNECT, "ECONNREFUSED"},
    {CURLE_OPERATION_TIMEDOUT, "TIMEOUT"},
    {CURLE_TOO_MANY_REDIRECTS, "TOO_MANY_REDIRECTS"},
    {CURLE_PARTIAL_FILE, "TRUNCATED"},
    {CURLE_GOT_NOTHING, "ECONNRESET"},
    {CURLE_SEND_FAIL_REWIND, "BODY_NOT_REPEATABLE"},
    {CURLE_HTTP2, "BAD_ANSWER"},
    {CURLE_HTTP2_STREAM, "ECONNRESET"},
    {CURLE_SEND_ERROR, "ECONNRESET"},
    {CURLE_RECV_ERROR, "ECONNRESET"},
    {CURLE_WEIRD_SERVER_REPLY, "BAD_ANSWER"},
    {CURLE_BAD_CONTENT_ENCODING, "BAD_ANSWER"},
    {CURLE_OUT_OF_MEMORY, "ENOMEM"},
    {CURLE_SSL_CONNECT_ERROR, "TLS_HANDSHAKE"},
    {CURLE_SSL_CIPHER, "TLS_HANDSHAKE"},
    {CURLE_SSL_CACERT_BADFILE, "BAD_CERTIFICATE_FILE"},
    {CURLE_SSL_CERTPROBLEM, "BAD_CERTIFICATE_FILE"},
};

static const char *name_of(CURLcode result)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].result == result)
            return names[i].code;
    return "HTTP_CLIENT";
}

/* libcurl compares the name itself, and says so only in words. */
static const char *certificate_code(CURL *easy, const char *detail)
{
    long verify = X509_V_OK;
    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    if (verify == X509_V_ERR_CERT_HAS_EXPIRED || verify == X509_V_ERR_CERT_NOT_YET_VALID)
        return "CERT_EXPIRED";
    if (verify == X509_V_OK || strstr(detail, "subject name") != NULL)
        return "CERT_NAME_MISMATCH";
    return "CERT_UNTRUSTED";
}

void weir_http_client_failed(struct weir_http_fetch *f, const char *code, const char *text)
{
    f->code = code;
    snprintf(f->text, sizeof f->text, "%s", text);
}

void weir_http_client_explain(struct weir_http_fetch *f, CURL *easy, CURLcode result, const char *detail)
{
    const char *text = detail[0] != '\0' ? detail : curl_easy_strerror(result), *code = name_of(result);
    long system = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &system);
    if (result == CURLE_UNSUPPORTED_PROTOCOL && strstr(detail, "HTTP/0.9") != NULL)
        code = "BAD_ANSWER"; /* not HTTP at all, says libcurl */
    if (result == CURLE_PEER_FAILED_VERIFICATION)
        code = certificate_code(easy, detail);
    else if (system != 0 && result == CURLE_COULDNT_CONNECT) /* of others it may be left over from an earlier use of the handle */
        code = uv_err_name((int)-system);
    weir_http_client_failed(f, code, text);
}
