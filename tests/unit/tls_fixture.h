/* tests/unit/tls_fixture.h - certificates made on the spot, and both ends of a TLS connection in one thread.
 *
 *   client transport <──socketpair──> wire <──socketpair──> server transport
 *
 * The wire carries bytes when it is told to: all, so many, none. */
#ifndef WEIR_TESTS_UNIT_TLS_FIXTURE_H
#define WEIR_TESTS_UNIT_TLS_FIXTURE_H

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "io/tls.h"
#include "io/transport.h"

/* ---- certificates ---- */

static char tls_folder[] = "/tmp/weir-test-tls-XXXXXX";

/* The path of a file in the folder; four at a time. */
static inline const char *tls_path(const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", tls_folder, name);
    return path;
}

struct tls_wish {
    const char *file; /* writes FILE.pem and FILE.key */
    const char *cn;
    const char *names;    /* "DNS:a,IP:127.0.0.1"; NULL: none */
    long from_s, until_s; /* from now; until 0: a day */
    bool rsa, is_ca;
    const char *password; /* of the key's file */
};

struct tls_identity {
    X509 *x;
    EVP_PKEY *key;
};

static inline void tls_add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static inline void tls_write(const struct tls_wish *w, const struct tls_identity *id)
{
    char name[64];
    snprintf(name, sizeof name, "%s.pem", w->file);
    FILE *f = fopen(tls_path(name), "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, id->x), 1);
    fclose(f);
    snprintf(name, sizeof name, "%s.key", w->file);
    f = fopen(tls_path(name), "w");
    assert_non_null(f);
    assert_int_equal(fchmod(fileno(f), 0600), 0);
    assert_int_equal(PEM_write_PrivateKey(f, id->key, w->password != NULL ? EVP_aes_128_cbc() : NULL, NULL, 0,
                                          NULL, (void *)(uintptr_t)w->password),
                     1);
    fclose(f);
}

/* Signed by `by`; NULL: by itself. */
static inline struct tls_identity tls_make(const struct tls_wish *w, const struct tls_identity *by)
{
    static long serial = 1000;
    struct tls_identity id = {X509_new(), w->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")};
    assert_non_null(id.key);
    X509_set_version(id.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(id.x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(id.x), w->from_s != 0 ? w->from_s : -3600);
    X509_gmtime_adj(X509_getm_notAfter(id.x), w->until_s != 0 ? w->until_s : 86400);
    X509_set_pubkey(id.x, id.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(id.x), "CN", MBSTRING_ASC, (const unsigned char *)w->cn,
                               -1, -1, 0);
    X509_set_issuer_name(id.x, X509_get_subject_name(by != NULL ? by->x : id.x));
    if (w->is_ca)
        tls_add_extension(id.x, NID_basic_constraints, "critical,CA:TRUE");
    if (w->names != NULL)
        tls_add_extension(id.x, NID_subject_alt_name, w->names);
    assert_true(X509_sign(id.x, by != NULL ? by->key : id.key, EVP_sha256()) > 0);
    tls_write(w, &id);
    return id;
}

static inline void tls_drop(struct tls_identity id)
{
    X509_free(id.x);
    EVP_PKEY_free(id.key);
}

static inline void tls_write_text(const char *name, const char *text)
{
    FILE *f = fopen(tls_path(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* ca · web (a.example, *.b.example, 127.0.0.1) · other (c.example) · expired · early · stranger (own
 * authority) · locked (encrypted key) · ann (a client) */
static inline int tls_setup(void **state)
{
    static const struct tls_wish ca = {.file = "ca", .cn = "Test CA", .is_ca = true};
    static const struct tls_wish leaves[] = {
        {.file = "web", .cn = "web", .names = "DNS:a.example,DNS:*.b.example,IP:127.0.0.1"},
        {.file = "webrsa", .cn = "web", .names = "DNS:a.example,DNS:*.b.example,IP:127.0.0.1", .rsa = true},
        {.file = "other", .cn = "other", .names = "DNS:c.example,DNS:exact.b.example"},
        {.file = "named", .cn = "d.example"},
        {.file = "expired", .cn = "expired", .names = "DNS:a.example", .from_s = -7200, .until_s = -3600},
        {.file = "early", .cn = "early", .names = "DNS:a.example", .from_s = 3600},
        {.file = "locked", .cn = "locked", .names = "DNS:a.example", .password = "secret"},
        {.file = "ann", .cn = "ann"},
    };
    static const struct tls_wish stranger = {.file = "stranger", .cn = "stranger", .names = "DNS:a.example"};
    (void)state;
    if (mkdtemp(tls_folder) == NULL)
        return -1;
    struct tls_identity authority = tls_make(&ca, NULL);
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++)
        tls_drop(tls_make(&leaves[i], &authority));
    tls_drop(tls_make(&stranger, NULL));
    tls_drop(authority);
    tls_write_text("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    tls_write_text("empty.pem", "");
    return 0;
}

static inline int tls_teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", tls_folder);
    return system(command);
}

static inline void tls_copy(const char *from, const char *to)
{
    char command[400];
    snprintf(command, sizeof command, "cp -p %s/%s %s/%s", tls_folder, from, tls_folder, to);
    assert_int_equal(system(command), 0);
}

/* ---- contexts ---- */

static inline struct weir_tls_server *tls_server_with(const struct weir_tls_server_settings *s)
{
    struct weir_tls_server *server = NULL;
    struct weir_err err = {0};
    if (weir_tls_server_open(s, &server, NULL, &err) < 0)
        fail_msg("%s", err.text);
    return server;
}

/* A server with one pair of the folder. */
static inline struct weir_tls_server *tls_server(const char *file)
{
    char certificate[128], key[128];
    snprintf(certificate, sizeof certificate, "%s/%s.pem", tls_folder, file);
    snprintf(key, sizeof key, "%s/%s.key", tls_folder, file);
    struct weir_tls_pair pair = {certificate, key};
    struct weir_tls_server_settings s = {.pairs = &pair, .pair_count = 1, .tickets = true};
    return tls_server_with(&s);
}

static inline struct weir_tls_client *tls_client_with(const struct weir_tls_client_settings *s)
{
    struct weir_tls_client *client = NULL;
    struct weir_err err = {0};
    if (weir_tls_client_open(s, &client, &err) < 0)
        fail_msg("%s", err.text);
    return client;
}

static inline struct weir_tls_client *tls_client(void)
{
    struct weir_tls_client_settings s = {.ca = tls_path("ca.pem")};
    return tls_client_with(&s);
}

/* ---- a connection ---- */

struct tls_link {
    struct weir_transport client, server;
    int to_client, to_server; /* the wire's ends */
    size_t carried[2];        /* bytes: from the client, from the server */
};

static inline void tls_pair_of_sockets(int *one, int *two)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    *one = fds[0];
    *two = fds[1];
}

/* Takes no reference: the caller may unref both at once. */
static inline void tls_join(struct tls_link *l, struct weir_tls_client *client,
                            struct weir_tls_server *server, const char *name)
{
    int a, b;
    memset(l, 0, sizeof *l);
    tls_pair_of_sockets(&a, &l->to_client);
    tls_pair_of_sockets(&b, &l->to_server);
    assert_int_equal(weir_tls_client_connect(client, a, name, &l->client), WEIR_OK);
    assert_int_equal(weir_tls_server_accept(server, b, &l->server), WEIR_OK);
}

/* Carries at most `max` bytes from one end to the other. Returns how many; an end that was closed is closed
 * on the other side, too. */
static inline size_t tls_carry_one(int *from, int *to, size_t max)
{
    char buffer[65536];
    size_t want = max < sizeof buffer ? max : sizeof buffer;
    if (*from < 0 || *to < 0 || want == 0)
        return 0;
    ssize_t n = recv(*from, buffer, want, MSG_PEEK);
    if (n == 0)
        shutdown(*to, SHUT_WR);
    if (n <= 0)
        return 0;
    n = send(*to, buffer, (size_t)n, MSG_NOSIGNAL); /* what it has no room for stays where it is */
    return n > 0 ? (size_t)recv(*from, buffer, (size_t)n, 0) : 0;
}

static inline size_t tls_carry(struct tls_link *l, size_t max)
{
    size_t a = tls_carry_one(&l->to_client, &l->to_server, max);
    size_t b = tls_carry_one(&l->to_server, &l->to_client, max);
    l->carried[0] += a;
    l->carried[1] += b;
    return a + b;
}

/* Both ends shake hands, `step` bytes at a time. Their results; -EAGAIN when it stands still. */
static inline void tls_shake(struct tls_link *l, size_t step, int *ret_client, int *ret_server)
{
    int quiet = 0;
    *ret_client = *ret_server = -EAGAIN;
    while (quiet < 3) {
        if (*ret_client == -EAGAIN)
            *ret_client = weir_transport_handshake(&l->client);
        if (*ret_server == -EAGAIN)
            *ret_server = weir_transport_handshake(&l->server);
        quiet = tls_carry(l, step) > 0 ? 0 : quiet + 1;
    }
}

static inline void tls_shake_well(struct tls_link *l)
{
    int a, b;
    char why[WEIR_TRANSPORT_WHY_MAX];
    tls_shake(l, SIZE_MAX, &a, &b);
    if (a != 0 || b != 0)
        fail_msg("client %d %s, server %d", a, weir_transport_why(&l->client, a, why), b);
}

static inline void tls_part(struct tls_link *l)
{
    weir_transport_close(&l->client, false);
    weir_transport_close(&l->server, false);
    if (l->to_client >= 0)
        close(l->to_client);
    if (l->to_server >= 0)
        close(l->to_server);
}

/* A connection that has shaken hands, of a server with the pair `file`. */
static inline void tls_connect(struct tls_link *l, const char *file)
{
    struct weir_tls_server *server = tls_server(file);
    struct weir_tls_client *client = tls_client();
    tls_join(l, client, server, "a.example");
    weir_tls_server_unref(server);
    weir_tls_client_unref(client);
    tls_shake_well(l);
}

#endif
