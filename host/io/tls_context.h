/* io/tls_context.h - inside TLS: what servers and clients have in common. Only io/tls*.c and io/transport.c
 * include it. */
#ifndef WEIR_IO_TLS_CONTEXT_H
#define WEIR_IO_TLS_CONTEXT_H

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "io/tls.h"

struct weir_strbuf;
struct weir_transport;

/* ---- transport.c ---- */

/* How OpenSSL reads and writes a socket of ours; NULL: no memory. Freed with BIO_meth_free, after every
 * connection. */
BIO_METHOD *weir_transport_new_method(void);
/* Makes a TLS transport that is neither client nor server yet. WEIR_E_NOMEM: `fd` stays the caller's. */
int weir_transport_attach(struct weir_transport *t, int fd, SSL_CTX *context, BIO_METHOD *method);

/* ---- tls_context.c ---- */

/* One for the process, made when first asked for; NULL: no memory. Any thread. */
BIO_METHOD *weir_tls_method(void);
/* A number for something that contexts carry, made when first asked for and kept in `cache` (-1 before); < 0:
 * no memory. `free`: as of SSL_CTX_get_ex_new_index. Any thread. */
int weir_tls_index(_Atomic int *cache, CRYPTO_EX_free *free);
/* Our rules: versions, ciphers, no compression, no renegotiation. `is_server`. */
int weir_tls_context_create(bool is_server, enum weir_tls_version min_version, const char *ciphers,
                            SSL_CTX **ret, struct weir_err *reterr);
/* ALPN's wire format of a NULL-terminated list. Its length; 0: they do not fit. */
size_t weir_tls_alpn(const char *const *names, unsigned char *out, size_t size);
/* Puts "what: reason" of OpenSSL's oldest error into reterr, empties its queue, returns `code`. */
int weir_tls_fail(struct weir_err *reterr, int code, const char *what);
/* Authorities from a PEM file; `names` also as those that clients are told of. */
int weir_tls_context_trust(SSL_CTX *context, const char *path, bool names, struct weir_err *reterr);

/* ---- tls_info.c ---- */

/* What a connection whose handshake is over has agreed on. NULL: no memory. */
struct weir_tls_info *weir_tls_info_create(SSL *ssl);

/* ---- tls_pair.c ---- */

/* What of a pair is at fault. */
enum weir_tls_part { WEIR_TLS_PART_NONE, WEIR_TLS_PART_CERTIFICATE, WEIR_TLS_PART_KEY };

struct weir_tls_facts {
    char name[80];            /* what the certificate is for, one of them */
    char from[12], until[12]; /* "2027-03-01" */
    bool has_expired, is_early;
    bool key_is_open; /* everybody may read the key's file */
};

/* Reads certificate, chain and key into `context`. `*ret_part`: what an error is about. Any thread. */
int weir_tls_pair_load(SSL_CTX *context, const struct weir_tls_pair *pair, struct weir_tls_facts *ret,
                       enum weir_tls_part *ret_part, struct weir_err *reterr);
/* What is no error, but not well either: text for `part`; NULL: nothing. */
const char *weir_tls_pair_warning(const struct weir_tls_pair *pair, const struct weir_tls_facts *facts,
                                  enum weir_tls_part part, char *out, size_t size);

/* ---- tls_ticket.c: the keys that session tickets are sealed with, shared by all workers ---- */

struct weir_tls_tickets;

/* Counted. NULL: no memory. */
struct weir_tls_tickets *weir_tls_tickets_create(void);
struct weir_tls_tickets *weir_tls_tickets_ref(struct weir_tls_tickets *k);
void weir_tls_tickets_unref(struct weir_tls_tickets *k);
/* `context` seals its tickets with these keys, and keeps a reference to them. WEIR_E_NOMEM. */
int weir_tls_tickets_use(struct weir_tls_tickets *k, SSL_CTX *context);
/* Forgets all keys: nobody resumes what began before. Any thread. */
void weir_tls_tickets_forget(struct weir_tls_tickets *k);

/* ---- tls_names.c: which certificate for which name ---- */

/* A context for each pair, and the names that their certificates are for. It belongs to the first context,
 * which is what connections are made from, and ends with it. */
struct weir_tls_names;

/* Takes over a reference to each of `contexts` but the first, which gets the list. On failure it took
 * nothing. */
int weir_tls_names_set(SSL_CTX *const *contexts, size_t count, struct weir_err *reterr);
/* For tests: the context for a name in lower case; NULL: none fits. */
SSL_CTX *weir_tls_names_find(SSL_CTX *first, const char *name);

/* ---- tls_server.c ---- */

/* What of a server's settings is at fault: of pair `index`, or another setting. */
struct weir_tls_blame {
    enum {
        WEIR_TLS_BLAME_NOTHING,
        WEIR_TLS_BLAME_PAIR,
        WEIR_TLS_BLAME_CLIENT_CA,
        WEIR_TLS_BLAME_CIPHERS
    } setting;
    size_t index;
    enum weir_tls_part part;
};

/* As weir_tls_server_open, and tells what is at fault, and by `warn` what is not well. */
int weir_tls_server_try(const struct weir_tls_server_settings *s,
                        void (*warn)(void *arg, size_t index, enum weir_tls_part part, const char *text),
                        void *arg, struct weir_tls_server **ret, struct weir_tls_blame *ret_blame,
                        struct weir_err *reterr);

#endif
