/* Certificates and rules of a server, and their renewal while it serves. A reload builds contexts beside the
 * old ones and changes one pointer; connections keep those that they were made from. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "base/sync.h"
#include "io/tls_context.h"
#include "io/transport.h"

enum { ALPN_MAX = 256 };

/* What a context's ALPN callback needs. */
struct offer {
    unsigned char wire[ALPN_MAX];
    unsigned len;
};

struct weir_tls_server {
    _Atomic unsigned refs;             /* [atomic acq/rel] */
    struct weir_tls_server_settings s; /* [const] strings are its own */
    struct weir_tls_tickets *tickets;  /* [const] */
    struct weir_mutex mu;              /* rank WEIR_RANK_INBOX: nothing is taken under it */
    SSL_CTX *context;                  /* [mu] */
    bool fresh;                        /* [owner: who reloads] no certificate in use had expired when read */
};

/* ---- settings of our own ---- */

static void free_settings(struct weir_tls_server_settings *s)
{
    for (size_t i = 0; s->pairs != NULL && i < s->pair_count; i++) {
        weir_free((void *)(uintptr_t)s->pairs[i].certificate);
        weir_free((void *)(uintptr_t)s->pairs[i].key);
    }
    weir_free((void *)(uintptr_t)s->pairs);
    weir_free((void *)(uintptr_t)s->client_ca);
    weir_free((void *)(uintptr_t)s->ciphers);
}

/* A copy of a text that may be NULL. */
static bool copy_text(const char *from, const char **ret)
{
    *ret = from != NULL ? weir_strdup(from) : NULL;
    return from == NULL || *ret != NULL;
}

static bool copy_settings(const struct weir_tls_server_settings *from, struct weir_tls_server_settings *to)
{
    struct weir_tls_pair *pairs = weir_calloc(from->pair_count, sizeof *pairs);
    *to = *from;
    to->pairs = pairs;
    to->client_ca = to->ciphers = NULL;
    if (pairs == NULL)
        return false;
    bool ok = copy_text(from->client_ca, &to->client_ca);
    ok = copy_text(from->ciphers, &to->ciphers) && ok;
    for (size_t i = 0; i < from->pair_count; i++) {
        ok = copy_text(from->pairs[i].certificate, &pairs[i].certificate) && ok;
        ok = copy_text(from->pairs[i].key, &pairs[i].key) && ok;
    }
    return ok;
}

/* ---- a context ---- */

static void free_offer(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long number, void *arg)
{
    (void)parent, (void)data, (void)index, (void)number, (void)arg;
    weir_free(ptr);
}

static int offer_index(void)
{
    static _Atomic int index = -1;
    return weir_tls_index(&index, free_offer);
}

/* The server's first protocol that the client has, too; a client that has none of them is told so (RFC 7301).
 */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg)
{
    const struct offer *o = arg;
    unsigned char *chosen;
    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, o->wire, o->len, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int set_alpn(SSL_CTX *c, const char *const *names, struct weir_err *reterr)
{
    struct offer *o = weir_calloc(1, sizeof *o);
    int index = offer_index();
    if (o == NULL || index < 0 ||
        SSL_CTX_set_ex_data(c, index, o) != 1) { /* it belongs to the context from here */
        weir_free(o);
        return weir_err_set(reterr, WEIR_E_NOMEM, "tls: out of memory");
    }
    o->len = (unsigned)weir_tls_alpn(names, o->wire, sizeof o->wire);
    if (o->len == 0)
        return weir_err_set(reterr, WEIR_E_CONFIG, "alpn: a name is empty, or the list is too long");
    SSL_CTX_set_alpn_select_cb(c, on_alpn, o);
    return WEIR_OK;
}

static int set_verify(SSL_CTX *c, const struct weir_tls_server_settings *s, struct weir_err *reterr)
{
    static const unsigned char id[] =
        "weir"; /* sessions with client certificates can't be resumed without one */
    if (SSL_CTX_set_session_id_context(c, id, sizeof id - 1) != 1)
        return weir_tls_fail(reterr, WEIR_E_NOMEM, "tls");
    if (s->verify == WEIR_TLS_VERIFY_NONE)
        return WEIR_OK;
    SSL_CTX_set_verify(
        c, SSL_VERIFY_PEER | (s->verify == WEIR_TLS_VERIFY_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        NULL);
    return weir_tls_context_trust(c, s->client_ca, true, reterr);
}

static int make_context(const struct weir_tls_server_settings *s, struct weir_tls_tickets *tickets,
                        SSL_CTX **ret, struct weir_tls_blame *blame, struct weir_err *reterr)
{
    SSL_CTX *c;
    blame->setting = WEIR_TLS_BLAME_CIPHERS;
    int rc = weir_tls_context_create(true, s->min_version, s->ciphers, &c, reterr);
    if (rc < 0)
        return rc;
    blame->setting = WEIR_TLS_BLAME_CLIENT_CA;
    rc = set_verify(c, s, reterr);
    if (rc == WEIR_OK) {
        blame->setting = WEIR_TLS_BLAME_NOTHING;
        if (s->alpn != NULL)
            rc = set_alpn(c, s->alpn, reterr);
    }
    if (rc == WEIR_OK && !s->tickets)
        SSL_CTX_set_options(c, SSL_OP_NO_TICKET), SSL_CTX_set_num_tickets(c, 0);
    else if (rc == WEIR_OK && weir_tls_tickets_use(tickets, c) < 0)
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "tls: out of memory");
    if (rc < 0) {
        SSL_CTX_free(c);
        return rc;
    }
    *ret = c;
    return WEIR_OK;
}

/* ---- all contexts of a server ---- */

/* Whether both are for the same names, with keys of different kinds: then one context has both, and the
 * client decides. */
static bool belong_together(X509 *a, X509 *b)
{
    int i = X509_get_ext_by_NID(a, NID_subject_alt_name, -1),
        j = X509_get_ext_by_NID(b, NID_subject_alt_name, -1);
    if (i < 0 || j < 0 ||
        EVP_PKEY_get_base_id(X509_get0_pubkey(a)) == EVP_PKEY_get_base_id(X509_get0_pubkey(b)))
        return false;
    return ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(X509_get_ext(a, i)),
                                 X509_EXTENSION_get_data(X509_get_ext(b, j))) == 0;
}

/* What is being made. */
struct making {
    const struct weir_tls_server_settings *s;
    struct weir_tls_tickets *tickets;
    SSL_CTX **contexts; /* one for a pair, or for two that belong together */
    size_t count;
    struct weir_tls_facts *facts; /* by pair */
    struct weir_tls_blame blame;
};

static int add_pair(struct making *m, size_t index, struct weir_err *reterr)
{
    SSL_CTX *c;
    int rc = make_context(m->s, m->tickets, &c, &m->blame, reterr);
    if (rc < 0)
        return rc;
    m->blame = (struct weir_tls_blame){.setting = WEIR_TLS_BLAME_PAIR, .index = index};
    rc = weir_tls_pair_load(c, &m->s->pairs[index], &m->facts[index], &m->blame.part, reterr);
    for (size_t i = 0; rc == WEIR_OK && i < m->count; i++) {
        if (!belong_together(SSL_CTX_get0_certificate(m->contexts[i]), SSL_CTX_get0_certificate(c)))
            continue;
        SSL_CTX_free(c);
        return weir_tls_pair_load(m->contexts[i], &m->s->pairs[index], &m->facts[index], &m->blame.part,
                                  reterr);
    }
    if (rc < 0)
        SSL_CTX_free(c);
    else
        m->contexts[m->count++] = c;
    return rc;
}

/* On failure nothing is left. The facts are the caller's, who frees them. */
static int make(struct making *m, SSL_CTX **ret, struct weir_err *reterr)
{
    int rc = WEIR_OK;
    m->contexts = weir_calloc(m->s->pair_count, sizeof(SSL_CTX *));
    m->facts = weir_calloc(m->s->pair_count, sizeof *m->facts);
    if (m->contexts == NULL || m->facts == NULL)
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "tls: out of memory");
    for (size_t i = 0; rc == WEIR_OK && i < m->s->pair_count; i++)
        rc = add_pair(m, i, reterr);
    if (rc == WEIR_OK) {
        m->blame.setting = WEIR_TLS_BLAME_NOTHING;
        rc = weir_tls_names_set(m->contexts, m->count, reterr);
    }
    for (size_t i = 0; rc < 0 && i < m->count; i++)
        SSL_CTX_free(m->contexts[i]);
    if (rc == WEIR_OK)
        *ret = m->contexts[0];
    weir_free(m->contexts);
    return rc;
}

/* ---- the server ---- */

static void tell_warnings(const struct making *m,
                          void (*warn)(void *, size_t, enum weir_tls_part, const char *), void *arg)
{
    static const enum weir_tls_part parts[] = {WEIR_TLS_PART_CERTIFICATE, WEIR_TLS_PART_KEY};
    char text[WEIR_ERR_TEXT];
    for (size_t i = 0; warn != NULL && i < m->s->pair_count; i++) {
        for (size_t k = 0; k < 2; k++) {
            if (weir_tls_pair_warning(&m->s->pairs[i], &m->facts[i], parts[k], text, sizeof text) != NULL)
                warn(arg, i, parts[k], text);
        }
    }
}

static bool all_fresh(const struct making *m)
{
    bool fresh = true;
    for (size_t i = 0; i < m->s->pair_count; i++)
        fresh = fresh && !m->facts[i].has_expired;
    return fresh;
}

int weir_tls_server_try(const struct weir_tls_server_settings *s,
                        void (*warn)(void *arg, size_t index, enum weir_tls_part part, const char *text),
                        void *arg, struct weir_tls_server **ret, struct weir_tls_blame *ret_blame,
                        struct weir_err *reterr)
{
    struct weir_tls_server *server = weir_calloc(1, sizeof *server);
    *ret_blame = (struct weir_tls_blame){.setting = WEIR_TLS_BLAME_NOTHING};
    if (server == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "tls: out of memory");
    atomic_init(&server->refs, 1);
    weir_mutex_init(&server->mu, WEIR_RANK_INBOX, "tls server");
    int rc = WEIR_OK;
    if (!copy_settings(s, &server->s) || (server->tickets = weir_tls_tickets_create()) == NULL ||
        weir_tls_method() == NULL)
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "tls: out of memory");
    struct making m = {.s = &server->s, .tickets = server->tickets};
    if (rc == WEIR_OK)
        rc = make(&m, &server->context, reterr);
    if (rc == WEIR_OK) {
        tell_warnings(&m, warn, arg);
        server->fresh = all_fresh(&m);
    }
    weir_free(m.facts);
    *ret_blame = m.blame;
    if (rc < 0)
        weir_tls_server_unref(server);
    else
        *ret = server;
    return rc;
}

static void add_warning(void *arg, size_t index, enum weir_tls_part part, const char *text)
{
    (void)index, (void)part;
    weir_strbuf_addf(arg, "%s\n", text);
}

int weir_tls_server_open(const struct weir_tls_server_settings *s, struct weir_tls_server **ret,
                         struct weir_strbuf *warnings, struct weir_err *reterr)
{
    struct weir_tls_blame blame;
    return weir_tls_server_try(s, warnings != NULL ? add_warning : NULL, warnings, ret, &blame, reterr);
}

static void describe(const struct making *m, struct weir_strbuf *said)
{
    for (size_t i = 0; said != NULL && i < m->s->pair_count; i++)
        weir_strbuf_addf(said, "%s%s (%s, until %s)", i > 0 ? ", " : "", m->s->pairs[i].certificate,
                         m->facts[i].name, m->facts[i].until);
}

/* A certificate that has expired takes the place of one that has not by mistake only. */
static int refuse_expired(const struct making *m, struct weir_err *reterr)
{
    char text[WEIR_ERR_TEXT];
    for (size_t i = 0; i < m->s->pair_count; i++) {
        if (m->facts[i].has_expired)
            return weir_err_set(reterr, WEIR_E_CONFIG, "%s",
                                weir_tls_pair_warning(&m->s->pairs[i], &m->facts[i],
                                                      WEIR_TLS_PART_CERTIFICATE, text, sizeof text));
    }
    return WEIR_OK;
}

int weir_tls_server_reload(struct weir_tls_server *server, struct weir_strbuf *said, struct weir_err *reterr)
{
    struct making m = {.s = &server->s, .tickets = server->tickets};
    SSL_CTX *context = NULL;
    int rc = make(&m, &context, reterr);
    if (rc == WEIR_OK && server->fresh)
        rc = refuse_expired(&m, reterr);
    if (rc == WEIR_OK) {
        describe(&m, said);
        server->fresh = all_fresh(&m);
        if (server->s.verify != WEIR_TLS_VERIFY_NONE)
            weir_tls_tickets_forget(
                server->tickets); /* clients are to be checked against the new authorities */
        weir_mutex_lock(&server->mu);
        SSL_CTX *old = server->context;
        server->context = context;
        weir_mutex_unlock(&server->mu);
        context = old;
    }
    weir_free(m.facts);
    SSL_CTX_free(context); /* the old one, or what was made in vain */
    return rc;
}

struct weir_tls_server *weir_tls_server_ref(struct weir_tls_server *server)
{
    if (server != NULL)
        atomic_fetch_add_explicit(&server->refs, 1, memory_order_relaxed);
    return server;
}

void weir_tls_server_unref(struct weir_tls_server *server)
{
    if (server == NULL || atomic_fetch_sub_explicit(&server->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(server->context);
    weir_tls_tickets_unref(server->tickets);
    free_settings(&server->s);
    weir_mutex_fini(&server->mu);
    weir_free(server);
}

int weir_tls_server_accept(struct weir_tls_server *server, int fd, struct weir_transport *ret)
{
    weir_mutex_lock(&server->mu);
    SSL_CTX *context = server->context;
    SSL_CTX_up_ref(context);
    weir_mutex_unlock(&server->mu);
    int rc = weir_transport_attach(ret, fd, context, weir_tls_method());
    if (rc == WEIR_OK)
        SSL_set_accept_state(ret->ssl);
    SSL_CTX_free(context); /* the connection has one of its own */
    return rc;
}
