/* `tls:` in weir.yaml: what can be said, what is wrong with it and where. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "config/conf.h"
#include "config/problems.h"
#include "config/types.h"
#include "io/tls_context.h"

static const char *const verify_words[] = {"none", "optional", "required", NULL};
static const char *const version_words[] = {"1.2", "1.3", NULL};

static const struct weir_option pair_options[] = {
    {.name = "certificate",
     .type = WEIR_OPTION_PATH,
     .required = true,
     .text = "PEM file with the certificate and the chain to its authority"},
    {.name = "key",
     .type = WEIR_OPTION_PATH,
     .text = "PEM file with the private key; the certificate's file unless given"},
};

const struct weir_option weir_tls_server_options[] = {
    {.name = "certificate",
     .type = WEIR_OPTION_PATH,
     .text = "PEM file with the certificate and the chain to its authority"},
    {.name = "key",
     .type = WEIR_OPTION_PATH,
     .text = "PEM file with the private key; the certificate's file unless given"},
    {.name = "certificates",
     .type = WEIR_OPTION_MAPS,
     .options = pair_options,
     .option_count = 2,
     .min = 1,
     .max = 10000,
     .text = "more of them, chosen by the name that the client asks for (SNI); else the first is used"},
    {.name = "client_ca",
     .type = WEIR_OPTION_PATH,
     .text = "PEM file of authorities for client certificates"},
    {.name = "verify",
     .type = WEIR_OPTION_ENUM,
     .words = verify_words,
     .text = "client certificates: none, optional, required; required when there is a client_ca"},
    {.name = "min_version",
     .type = WEIR_OPTION_ENUM,
     .words = version_words,
     .fallback = "1.2",
     .text = "the oldest TLS version served: 1.2 or 1.3"},
    {.name = "ciphers",
     .type = WEIR_OPTION_STRING,
     .min = 1,
     .max = 2000,
     .text = "OpenSSL names, colons between them, the best first; by default ECDHE with AES-GCM or ChaCha20"},
    {.name = "tickets",
     .type = WEIR_OPTION_BOOL,
     .fallback = "true",
     .text = "clients can resume sessions; the keys change every hour"},
};
_Static_assert(sizeof weir_tls_server_options / sizeof *weir_tls_server_options ==
                   WEIR_TLS_SERVER_OPTION_COUNT,
               "the count in tls.h");

const struct weir_option weir_tls_client_options[] = {
    {.name = "ca",
     .type = WEIR_OPTION_PATH,
     .text = "PEM file of trusted authorities; the system's unless given"},
    {.name = "verify",
     .type = WEIR_OPTION_BOOL,
     .fallback = "true",
     .text = "false: takes any certificate, so anybody on the way can listen in"},
    {.name = "name",
     .type = WEIR_OPTION_STRING,
     .min = 1,
     .max = 253,
     .text = "whom the certificate must be for; the host of the address unless given"},
    {.name = "min_version",
     .type = WEIR_OPTION_ENUM,
     .words = version_words,
     .fallback = "1.2",
     .text = "the oldest TLS version spoken: 1.2 or 1.3"},
    {.name = "certificate",
     .type = WEIR_OPTION_PATH,
     .text = "PEM file with our own certificate and its chain"},
    {.name = "key",
     .type = WEIR_OPTION_PATH,
     .text = "PEM file with its private key; the certificate's file unless given"},
    {.name = "ciphers",
     .type = WEIR_OPTION_STRING,
     .min = 1,
     .max = 2000,
     .text = "OpenSSL names, colons between them, the best first; by default ECDHE with AES-GCM or ChaCha20"},
};
_Static_assert(sizeof weir_tls_client_options / sizeof *weir_tls_client_options ==
                   WEIR_TLS_CLIENT_OPTION_COUNT,
               "the count in tls.h");

/* ---- servers ---- */

/* The map that pair `index` stands in. */
static const struct weir_conf *map_of(const struct weir_conf *tls, size_t index)
{
    if (!weir_conf_option_given(tls, "certificate"))
        return weir_conf_option_maps_at(tls, "certificates", index);
    return index == 0 ? tls : weir_conf_option_maps_at(tls, "certificates", index - 1);
}

/* *ret_pairs is to be freed. false: no memory. */
static bool read_settings(const struct weir_conf *tls, struct weir_tls_server_settings *s,
                          struct weir_tls_pair **ret_pairs)
{
    size_t count =
        weir_conf_option_maps_size(tls, "certificates") + weir_conf_option_given(tls, "certificate");
    struct weir_tls_pair *pairs = weir_calloc(count + 1, sizeof *pairs);
    if (pairs == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct weir_conf *map = map_of(tls, i);
        pairs[i] = (struct weir_tls_pair){weir_conf_option_string(map, "certificate"),
                                          weir_conf_option_string(map, "key")};
    }
    const char *ca = weir_conf_option_string(tls, "client_ca");
    *s = (struct weir_tls_server_settings){
        .pairs = pairs,
        .pair_count = count,
        .client_ca = ca,
        .verify = ca != NULL ? WEIR_TLS_VERIFY_REQUIRED : WEIR_TLS_VERIFY_NONE,
        .min_version = (enum weir_tls_version)weir_conf_option_enum(tls, "min_version"),
        .ciphers = weir_conf_option_string(tls, "ciphers"),
        .tickets = weir_conf_option_bool(tls, "tickets"),
    };
    if (weir_conf_option_given(tls, "verify"))
        s->verify = (enum weir_tls_verify)weir_conf_option_enum(tls, "verify");
    *ret_pairs = pairs;
    return true;
}

struct checking {
    const struct weir_conf *tls;
    struct weir_problems *problems;
};

static struct weir_app_mark mark_of(const struct weir_conf *map, const char *name, const char *other)
{
    const struct weir_conf *c = weir_conf_get(map, name);
    if (c == NULL)
        c = weir_conf_get(map, other);
    return weir_conf_mark(c != NULL ? c : map);
}

static struct weir_app_mark mark_of_part(const struct weir_conf *tls, size_t index, enum weir_tls_part part)
{
    return mark_of(map_of(tls, index), part == WEIR_TLS_PART_KEY ? "key" : "certificate", "certificate");
}

static void on_warning(void *arg, size_t index, enum weir_tls_part part, const char *text)
{
    struct checking *c = arg;
    weir_problems_warn(c->problems, mark_of_part(c->tls, index, part), "%s", text);
}

/* What needs no file to be seen. */
static bool check_shape(const struct weir_conf *tls, const struct weir_tls_server_settings *s,
                        struct weir_problems *problems)
{
    size_t errors = problems->errors;
    if (weir_conf_option_given(tls, "key") && !weir_conf_option_given(tls, "certificate"))
        weir_problems_error(problems, mark_of(tls, "key", NULL),
                            "'tls': 'key' needs a 'certificate' beside it");
    if (s->pair_count == 0)
        weir_problems_error(problems, weir_conf_mark(tls), "'tls' needs a 'certificate' and its 'key'");
    if (s->verify != WEIR_TLS_VERIFY_NONE && s->client_ca == NULL)
        weir_problems_error(
            problems, mark_of(tls, "verify", NULL),
            "'tls': 'verify' needs 'client_ca', the authorities to check client certificates against");
    if (s->verify == WEIR_TLS_VERIFY_NONE && s->client_ca != NULL)
        weir_problems_warn(problems, mark_of(tls, "verify", "client_ca"),
                           "'tls': with 'verify: none' the 'client_ca' has no effect");
    return problems->errors == errors;
}

static struct weir_app_mark blamed(const struct weir_conf *tls, const struct weir_tls_blame *b)
{
    switch (b->setting) {
    case WEIR_TLS_BLAME_PAIR:
        return mark_of_part(tls, b->index, b->part);
    case WEIR_TLS_BLAME_CLIENT_CA:
        return mark_of(tls, "client_ca", NULL);
    case WEIR_TLS_BLAME_CIPHERS:
        return mark_of(tls, "ciphers", NULL);
    case WEIR_TLS_BLAME_NOTHING:
        break;
    }
    return weir_conf_mark(tls);
}

void weir_tls_check_options(const struct weir_conf *options, struct weir_problems *problems)
{
    struct checking c = {weir_conf_option_map(options, "tls"), problems};
    struct weir_tls_server_settings s;
    struct weir_tls_pair *pairs;
    struct weir_tls_server *server = NULL;
    struct weir_tls_blame blame;
    struct weir_err err;
    if (c.tls == NULL)
        return;
    if (!read_settings(c.tls, &s, &pairs)) {
        weir_problems_error(problems, weir_conf_mark(c.tls), "'tls': out of memory");
        return;
    }
    if (check_shape(c.tls, &s, problems) &&
        weir_tls_server_try(&s, on_warning, &c, &server, &blame, &err) < 0)
        weir_problems_error(problems, blamed(c.tls, &blame), "%s", err.text);
    weir_tls_server_unref(server);
    weir_free(pairs);
}

int weir_tls_server_open_options(const struct weir_conf *options, const char *const *alpn,
                                 struct weir_tls_server **ret, struct weir_err *reterr)
{
    const struct weir_conf *tls = weir_conf_option_map(options, "tls");
    struct weir_tls_server_settings s;
    struct weir_tls_pair *pairs;
    *ret = NULL;
    if (tls == NULL)
        return WEIR_OK;
    if (!read_settings(tls, &s, &pairs))
        return weir_err_set(reterr, WEIR_E_NOMEM, "tls: out of memory");
    s.alpn = alpn;
    int rc = weir_tls_server_open(&s, ret, NULL, reterr);
    weir_free(pairs);
    return rc;
}

void weir_tls_server_reload_logged(struct weir_tls_server *server, const char *stage)
{
    struct weir_strbuf said = WEIR_STRBUF_INIT;
    struct weir_err err;
    if (server == NULL)
        return;
    if (weir_tls_server_reload(server, &said, &err) < 0)
        weir_log(WEIR_LOG_ERROR, "tls", NULL, "stage '%s': %s; the certificates in use stay", stage,
                 err.text);
    else
        weir_log(WEIR_LOG_INFO, "tls", NULL, "stage '%s': new connections get %s", stage,
                 said.data != NULL ? said.data : "the certificates read anew");
    weir_strbuf_fini(&said);
}

/* ---- clients ---- */

static void read_client(const struct weir_conf *tls, struct weir_tls_client_settings *s)
{
    *s = (struct weir_tls_client_settings){
        .ca = weir_conf_option_string(tls, "ca"),
        .insecure = !weir_conf_option_bool(tls, "verify"),
        .min_version = (enum weir_tls_version)weir_conf_option_enum(tls, "min_version"),
        .certificate = weir_conf_option_string(tls, "certificate"),
        .key = weir_conf_option_string(tls, "key"),
        .ciphers = weir_conf_option_string(tls, "ciphers"),
    };
}

void weir_tls_check_client_options(const struct weir_conf *options, struct weir_problems *problems)
{
    const struct weir_conf *tls = weir_conf_option_map(options, "tls");
    struct weir_tls_client_settings s;
    struct weir_tls_client *client = NULL;
    struct weir_err err;
    if (tls == NULL)
        return;
    read_client(tls, &s);
    if (s.key != NULL && s.certificate == NULL)
        weir_problems_error(problems, mark_of(tls, "key", NULL),
                            "'tls': 'key' needs a 'certificate' beside it");
    else if (weir_tls_client_open(&s, &client, &err) < 0)
        weir_problems_error(problems, weir_conf_mark(tls), "%s", err.text);
    if (s.insecure)
        weir_problems_warn(problems, mark_of(tls, "verify", NULL),
                           "'tls': with 'verify: false' anybody on the way can read and change what is sent");
    weir_tls_client_unref(client);
}

int weir_tls_client_open_options(const struct weir_conf *options, struct weir_tls_client **ret,
                                 const char **ret_name, struct weir_err *reterr)
{
    const struct weir_conf *tls = weir_conf_option_map(options, "tls");
    struct weir_tls_client_settings s;
    *ret = NULL;
    *ret_name = NULL;
    if (tls == NULL)
        return WEIR_OK;
    read_client(tls, &s);
    *ret_name = weir_conf_option_string(tls, "name");
    return weir_tls_client_open(&s, ret, reterr);
}
