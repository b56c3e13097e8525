/* What a connection has agreed on, in one block of memory. */
#include <openssl/bio.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "io/tls_context.h"

struct counted_info {
    struct weir_tls_info info; /* first */
    _Atomic unsigned refs;     /* [atomic acq/rel] */
    char text[];
};

static struct counted_info *counted(struct weir_tls_info *info)
{
    return (struct counted_info *)(void *)info; /* it is the first member */
}

/* The subject of a peer's certificate that was found good, as RFC 2253 writes it; NULL: none. To be freed. */
static BIO *read_subject(SSL *ssl)
{
    X509 *peer = SSL_is_server(ssl) ? SSL_get0_peer_certificate(ssl) : NULL;
    if (peer == NULL || SSL_get_verify_result(ssl) != X509_V_OK)
        return NULL;
    BIO *out = BIO_new(BIO_s_mem());
    if (out != NULL && X509_NAME_print_ex(out, X509_get_subject_name(peer), 0,
                                          XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0) {
        BIO_free(out);
        return NULL;
    }
    return out;
}

static const char *put(char **at, const char *s, size_t len)
{
    char *begin = *at;
    if (len > 0)
        memcpy(begin, s, len);
    begin[len] = '\0';
    *at = begin + len + 1;
    return begin;
}

struct weir_tls_info *weir_tls_info_create(SSL *ssl)
{
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;
    char *subject = NULL;
    const char *name = SSL_is_server(ssl) ? SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) : NULL;
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
    BIO *written = read_subject(ssl);
    long subject_len = written != NULL ? BIO_get_mem_data(written, &subject) : 0;
    size_t name_len = name != NULL ? strlen(name) : 0;
    size_t size = name_len + alpn_len + (size_t)subject_len + 3;
    struct counted_info *c = weir_malloc(sizeof *c + size);
    if (c != NULL) {
        char *at = c->text;
        atomic_init(&c->refs, 1);
        c->info = (struct weir_tls_info){
            .version = SSL_get_version(ssl),
            .cipher = SSL_get_cipher_name(ssl),
            .alpn = put(&at, (const char *)alpn, alpn_len),
            .server_name = put(&at, name, name_len),
            .client_subject = put(&at, subject, (size_t)subject_len),
            .resumed = SSL_session_reused(ssl) == 1,
        };
    }
    BIO_free(written);
    return c != NULL ? &c->info : NULL;
}

struct weir_tls_info *weir_tls_info_ref(struct weir_tls_info *info)
{
    if (info != NULL)
        atomic_fetch_add_explicit(&counted(info)->refs, 1, memory_order_relaxed);
    return info;
}

void weir_tls_info_unref(struct weir_tls_info *info)
{
    if (info != NULL && atomic_fetch_sub_explicit(&counted(info)->refs, 1, memory_order_acq_rel) == 1)
        weir_free(counted(info));
}
