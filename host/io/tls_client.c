/* TLS towards servers: verified, by authority and by name, unless somebody said otherwise in so many words.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "io/tls_context.h"
#include "io/transport.h"

enum { ALPN_MAX = 256, NAME_MAX_LEN = 253 };

struct weir_tls_client {
    _Atomic unsigned refs; /* [atomic acq/rel] */
    SSL_CTX *context;      /* [const] */
};

static int set_trust(SSL_CTX *c, const struct weir_tls_client_settings *s, struct weir_err *reterr)
{
    if (s->insecure) {
        SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
        return WEIR_OK;
    }
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
    if (s->ca != NULL)
        return weir_tls_context_trust(c, s->ca, false, reterr);
    if (SSL_CTX_set_default_verify_paths(c) != 1)
        return weir_tls_fail(reterr, WEIR_E_IO, "the system's certificate authorities");
    return WEIR_OK;
}

static int set_up(SSL_CTX *c, const struct weir_tls_client_settings *s, struct weir_err *reterr)
{
    int rc = set_trust(c, s, reterr);
    if (rc == WEIR_OK && s->certificate != NULL) {
        struct weir_tls_pair own = {s->certificate, s->key};
        struct weir_tls_facts facts;
        enum weir_tls_part part;
        rc = weir_tls_pair_load(c, &own, &facts, &part, reterr);
    }
    if (rc == WEIR_OK && s->alpn != NULL) {
        unsigned char wire[ALPN_MAX];
        size_t len = weir_tls_alpn(s->alpn, wire, sizeof wire);
        if (len == 0)
            rc = weir_err_set(reterr, WEIR_E_CONFIG, "alpn: a name is empty, or the list is too long");
        else if (SSL_CTX_set_alpn_protos(c, wire, (unsigned)len) != 0)
            rc = weir_tls_fail(reterr, WEIR_E_NOMEM, "alpn");
    }
    return rc;
}

int weir_tls_client_open(const struct weir_tls_client_settings *s, struct weir_tls_client **ret,
                         struct weir_err *reterr)
{
    struct weir_tls_client *client = weir_calloc(1, sizeof *client);
    if (client == NULL || weir_tls_method() == NULL) {
        weir_free(client);
        return weir_err_set(reterr, WEIR_E_NOMEM, "tls: out of memory");
    }
    atomic_init(&client->refs, 1);
    int rc = weir_tls_context_create(false, s->min_version, s->ciphers, &client->context, reterr);
    if (rc == WEIR_OK)
        rc = set_up(client->context, s, reterr);
    if (rc < 0)
        weir_tls_client_unref(client);
    else
        *ret = client;
    return rc;
}

struct weir_tls_client *weir_tls_client_ref(struct weir_tls_client *client)
{
    if (client != NULL)
        atomic_fetch_add_explicit(&client->refs, 1, memory_order_relaxed);
    return client;
}

void weir_tls_client_unref(struct weir_tls_client *client)
{
    if (client == NULL || atomic_fetch_sub_explicit(&client->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(client->context);
    weir_free(client);
}

static bool is_address(const char *name)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

/* Who the certificate must be for, and who is asked for. */
static bool set_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

int weir_tls_client_connect(struct weir_tls_client *client, int fd, const char *name,
                            struct weir_transport *ret)
{
    size_t len = name != NULL ? strlen(name) : 0;
    if (len == 0 || len > NAME_MAX_LEN)
        return WEIR_E_INVAL; /* OpenSSL would take no name for any name */
    struct weir_transport t;
    int rc = weir_transport_attach(&t, fd, client->context, weir_tls_method());
    if (rc < 0)
        return rc;
    if (!set_name(t.ssl, name)) {
        ERR_clear_error();
        (void)weir_transport_detach(&t); /* the socket is the caller's */
        return WEIR_E_NOMEM;
    }
    SSL_set_connect_state(t.ssl);
    *ret = t;
    return WEIR_OK;
}
