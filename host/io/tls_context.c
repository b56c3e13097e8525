/* Our rules for every context: what a scanner of 2026 has nothing to say about. Forward secrecy and
 * authenticated encryption only, TLS 1.2 at least, nothing that costs the server more than the client. */
#include "io/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* AES-128 first: quick everywhere, and no weaker in practice. Clients that prefer ChaCha20 (no AES in
 * hardware) get it, see SSL_OP_PRIORITIZE_CHACHA. */
static const char default_ciphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char default_suites[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";

int weir_tls_fail(struct weir_err *reterr, int code, const char *what)
{
    unsigned long error = ERR_peek_error();
    const char *reason = ERR_reason_error_string(error);
    ERR_clear_error();
    if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", what);
    return weir_err_set(reterr, code, "%s: %s", what, reason != NULL ? reason : "OpenSSL gives no reason");
}

int weir_tls_index(_Atomic int *cache, CRYPTO_EX_free *free)
{
    int index = atomic_load_explicit(cache, memory_order_acquire), before = -1;
    if (index >= 0)
        return index;
    index =
        SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free); /* two threads at once waste a number, no more */
    if (!atomic_compare_exchange_strong_explicit(cache, &before, index, memory_order_acq_rel,
                                                 memory_order_acquire))
        return before;
    return index;
}

BIO_METHOD *weir_tls_method(void)
{
    static BIO_METHOD *_Atomic made; /* [atomic acq/rel] lives as long as the process */
    BIO_METHOD *m = atomic_load_explicit(&made, memory_order_acquire), *before = NULL;
    if (m != NULL)
        return m;
    m = weir_transport_new_method();
    if (m != NULL && !atomic_compare_exchange_strong_explicit(&made, &before, m, memory_order_acq_rel,
                                                              memory_order_acquire)) {
        BIO_meth_free(m);
        m = before;
    }
    return m;
}

/* Splits a list of ciphers: names that begin with TLS_ are of TLS 1.3, which has a list of its own. */
static bool split(const char *ciphers, char *old, char *suites, size_t size)
{
    old[0] = suites[0] = '\0';
    for (const char *at = ciphers; *at != '\0';) {
        size_t len = strcspn(at, ":, ");
        char *to = strncmp(at, "TLS_", 4) == 0 ? suites : old;
        size_t have = strlen(to);
        if (have + len + 2 > size)
            return false;
        if (len > 0)
            snprintf(to + have, size - have, "%s%.*s", have > 0 ? ":" : "", (int)len, at);
        at += len;
        at += strspn(at, ":, ");
    }
    return true;
}

static int set_ciphers(SSL_CTX *context, const char *ciphers, struct weir_err *reterr)
{
    char old[2048], suites[2048];
    if (ciphers == NULL) {
        snprintf(old, sizeof old, "%s", default_ciphers);
        snprintf(suites, sizeof suites, "%s", default_suites);
    } else if (!split(ciphers, old, suites, sizeof old)) {
        return weir_err_set(reterr, WEIR_E_CONFIG, "ciphers: the list is too long");
    }
    if (old[0] != '\0' && SSL_CTX_set_cipher_list(context, old) != 1)
        return weir_tls_fail(reterr, WEIR_E_CONFIG, "ciphers");
    if (suites[0] != '\0' && SSL_CTX_set_ciphersuites(context, suites) != 1)
        return weir_tls_fail(reterr, WEIR_E_CONFIG, "ciphers");
    if (old[0] == '\0' && SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1) /* none for 1.2 */
        return weir_tls_fail(reterr, WEIR_E_CONFIG, "ciphers");
    if (suites[0] == '\0' && (SSL_CTX_get_min_proto_version(context) == TLS1_3_VERSION))
        return weir_err_set(reterr, WEIR_E_CONFIG,
                            "ciphers: none of them is of TLS 1.3 (TLS_…), the lowest version");
    if (suites[0] == '\0' && SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION) != 1)
        return weir_tls_fail(reterr, WEIR_E_CONFIG, "ciphers");
    return WEIR_OK;
}

int weir_tls_context_create(bool is_server, enum weir_tls_version min_version, const char *ciphers,
                            SSL_CTX **ret, struct weir_err *reterr)
{
    ERR_clear_error();
    SSL_CTX *c = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (c == NULL)
        return weir_tls_fail(reterr, WEIR_E_NOMEM, "tls");
    SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_clear_options(c, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(c, 1); /* one read for a record, not one for its head and one for the rest */
    SSL_CTX_set_security_level(c, 2);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    int rc = WEIR_OK;
    if (SSL_CTX_set_min_proto_version(c, min_version == WEIR_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) !=
            1 ||
        SSL_CTX_set1_groups_list(c, groups) != 1)
        rc = weir_tls_fail(reterr, WEIR_E_CONFIG, "tls");
    if (rc == WEIR_OK)
        rc = set_ciphers(c, ciphers, reterr);
    if (rc < 0) {
        SSL_CTX_free(c);
        return rc;
    }
    *ret = c;
    return WEIR_OK;
}

size_t weir_tls_alpn(const char *const *names, unsigned char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; names[i] != NULL; i++) {
        size_t n = strlen(names[i]);
        if (n == 0 || n > 255 || len + n + 1 > size)
            return 0;
        out[len++] = (unsigned char)n;
        memcpy(out + len, names[i], n);
        len += n;
    }
    return len;
}

int weir_tls_context_trust(SSL_CTX *context, const char *path, bool names, struct weir_err *reterr)
{
    FILE *probe = fopen(path, "re"); /* OpenSSL's messages about files do not name them */
    if (probe == NULL)
        return weir_err_set(reterr, WEIR_E_CONFIG, "%s: %s", path,
                            errno == ENOENT ? "there is no such file" : strerror(errno));
    (void)fclose(probe); /* nothing was written */
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(context, path) != 1) {
        ERR_clear_error();
        return weir_err_set(reterr, WEIR_E_CONFIG, "%s: there is no PEM certificate in it that could be read",
                            path);
    }
    if (!names)
        return WEIR_OK;
    STACK_OF(X509_NAME) *list = SSL_load_client_CA_file(path);
    if (list == NULL)
        return weir_tls_fail(reterr, WEIR_E_CONFIG, path);
    SSL_CTX_set_client_CA_list(context, list); /* its own now */
    return WEIR_OK;
}
