/* io/tls.h - TLS for sources, sinks and clients: certificates and rules as one context that connections are
 * made from. OpenSSL's types stay behind it.
 *
 *   options ──weir_tls_server_open──> server ──weir_tls_server_accept(fd)──> transport (io/transport.h)
 *             weir_tls_client_open──> client ──weir_tls_client_connect(fd, name)──> transport
 *
 * A server or client context is shared by all workers: any thread may make connections from it, and
 * connections outlive it. Errors name the file, and the place in weir.yaml when the options came from there.
 */
#ifndef WEIR_IO_TLS_H
#define WEIR_IO_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/types.h"

struct weir_conf;
struct weir_strbuf;
struct weir_tls_client;
struct weir_tls_server;
struct weir_transport;

/* ---- what was agreed on ---- */

/* Counted; never changes. */
struct weir_tls_info {
    const char *version;        /* "TLSv1.3" */
    const char *cipher;         /* "TLS_AES_128_GCM_SHA256" */
    const char *alpn;           /* "http/1.1"; "" none */
    const char *server_name;    /* as the client asked for it (SNI); "" none */
    const char *client_subject; /* of a client's certificate that was verified: "CN=ann,O=Example"; "" none */
    bool resumed;
};

/* Another reference; takes and returns NULL. Any thread, as unref. */
struct weir_tls_info *weir_tls_info_ref(struct weir_tls_info *info);
void weir_tls_info_unref(struct weir_tls_info *info);

/* ---- servers ---- */

enum weir_tls_version { WEIR_TLS_1_2, WEIR_TLS_1_3 };
enum weir_tls_verify { WEIR_TLS_VERIFY_NONE, WEIR_TLS_VERIFY_OPTIONAL, WEIR_TLS_VERIFY_REQUIRED };

struct weir_tls_pair {
    const char *certificate,
        *key; /* PEM files; the certificate's with its chain. key NULL: in the same file */
};

struct weir_tls_server_settings {
    const struct weir_tls_pair
        *pairs; /* the first is for clients that name no server, or one that none fits */
    size_t pair_count;
    const char
        *client_ca; /* PEM file of authorities that client certificates are checked against; NULL: none */
    enum weir_tls_verify verify;
    enum weir_tls_version min_version;
    const char *ciphers;     /* OpenSSL names, colons between them, most wanted first; NULL: a modern list */
    bool tickets;            /* sessions can be resumed */
    const char *const *alpn; /* NULL-terminated, most wanted first; NULL: ALPN is not answered. A constant */
};

/* Reads certificates and keys. Expired certificates and keys that others may read are told in `warnings`
 * (lines; may be NULL). Any thread. */
int weir_tls_server_open(const struct weir_tls_server_settings *s, struct weir_tls_server **ret,
                         struct weir_strbuf *warnings, struct weir_err *reterr);
/* Reads the files anew. On success new connections get the new ones, and `said` a text such as "web.pem
 * (example.org, until 2027-03-01)"; on failure everything stays as it was. A certificate that has expired is
 * refused here. Any one thread; may wait for the disk. */
int weir_tls_server_reload(struct weir_tls_server *server, struct weir_strbuf *said, struct weir_err *reterr);
struct weir_tls_server *weir_tls_server_ref(struct weir_tls_server *server);
void weir_tls_server_unref(struct weir_tls_server *server);

/* Makes a transport of an accepted socket; the handshake begins with its first read. WEIR_E_NOMEM: `fd` stays
 * the caller's. Any thread; the transport is its caller's. */
int weir_tls_server_accept(struct weir_tls_server *server, int fd, struct weir_transport *ret);

/* ---- servers by weir.yaml: the option `tls` of a source ---- */

/* One option for the table of a source type (config/types.h):
 *     WEIR_TLS_SERVER_OPTION,
 *     …
 *     .check = weir_tls_check_options
 * It is a map: certificate, key, certificates, client_ca, verify, min_version, ciphers, tickets. */
#define WEIR_TLS_SERVER_OPTION                                                                               \
    {                                                                                                        \
        .name = "tls", .type = WEIR_OPTION_MAP, .options = weir_tls_server_options,                          \
        .option_count = WEIR_TLS_SERVER_OPTION_COUNT, .text = "serves TLS: certificate, key and more"        \
    }
enum { WEIR_TLS_SERVER_OPTION_COUNT = 8 };
extern const struct weir_option weir_tls_server_options[];

/* For weir_app_type.check: loads what the stage's `tls` names and reports what is wrong with it, each at its
 * line. Does nothing without `tls`. */
void weir_tls_check_options(const struct weir_conf *options, struct weir_problems *problems);
/* From the checked options of a stage. *ret is NULL without `tls`. Warnings have been told by check. `alpn`
 * as above. Errors do not name the stage. */
int weir_tls_server_open_options(const struct weir_conf *options, const char *const *alpn,
                                 struct weir_tls_server **ret, struct weir_err *reterr);
/* For weir_source_maker.reload: reads them anew and logs what came of it, under `stage`. Takes NULL. */
void weir_tls_server_reload_logged(struct weir_tls_server *server, const char *stage);

/* ---- clients ---- */

struct weir_tls_client_settings {
    const char *ca; /* PEM file of trusted authorities; NULL: the system's */
    bool insecure;  /* does not verify the server. `verify: false` */
    enum weir_tls_version min_version;
    const char *certificate, *key; /* our own, for servers that ask; NULL: none. key NULL: in the same file */
    const char *ciphers;           /* as above */
    const char *const *alpn;       /* NULL-terminated; NULL: none. Read at open only */
};

int weir_tls_client_open(const struct weir_tls_client_settings *s, struct weir_tls_client **ret,
                         struct weir_err *reterr);
struct weir_tls_client *weir_tls_client_ref(struct weir_tls_client *client);
void weir_tls_client_unref(struct weir_tls_client *client);
/* Makes a transport of a connected socket. `name` is what the server's certificate must be for, a host name
 * or an address, and (names only) what it is asked for by SNI. Failures as weir_tls_server_accept, and
 * WEIR_E_INVAL for a name that is none. */
int weir_tls_client_connect(struct weir_tls_client *client, int fd, const char *name,
                            struct weir_transport *ret);

/* The option `tls` of a sink or client stage: `tls: true`, or a map: ca, verify, name, min_version,
 * certificate, key, ciphers. */
#define WEIR_TLS_CLIENT_OPTION                                                                               \
    {                                                                                                        \
        .name = "tls", .type = WEIR_OPTION_MAP, .or_true = true, .options = weir_tls_client_options,         \
        .option_count = WEIR_TLS_CLIENT_OPTION_COUNT,                                                        \
        .text = "speaks TLS; the server's certificate is verified"                                           \
    }
enum { WEIR_TLS_CLIENT_OPTION_COUNT = 7 };
extern const struct weir_option weir_tls_client_options[];
/* For weir_app_type.check of sinks. */
void weir_tls_check_client_options(const struct weir_conf *options, struct weir_problems *problems);
/* *ret is NULL without `tls`; *ret_name is its `name`, or NULL: the host of the address (lives as long as
 * `options`). */
int weir_tls_client_open_options(const struct weir_conf *options, struct weir_tls_client **ret,
                                 const char **ret_name, struct weir_err *reterr);

#endif
