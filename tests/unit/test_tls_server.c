#include "test.h"

#include "tls_fixture.h"

#include "io/tls_context.h"

/* ---- what is said of files ---- */

static void expect_refusal(const char *certificate, const char *key, const char *text)
{
    struct weir_tls_pair pair = {certificate, key};
    struct weir_tls_server_settings s = {.pairs = &pair, .pair_count = 1};
    struct weir_tls_server *server = NULL;
    struct weir_err err = {0};
    assert_int_equal(weir_tls_server_open(&s, &server, NULL, &err), WEIR_E_CONFIG);
    assert_null(server);
    if (strstr(err.text, text) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, text);
    assert_int_equal(ERR_peek_error(), 0);
}

static void bad_files_are_named_with_what_is_wrong(void **state)
{
    (void)state;
    expect_refusal(tls_path("none.pem"), tls_path("web.key"), "none.pem: there is no such file");
    expect_refusal(tls_path("web.pem"), tls_path("none.key"), "none.key: there is no such file");
    expect_refusal(tls_folder, tls_path("web.key"), "that is a folder");
    expect_refusal(tls_path("empty.pem"), tls_path("web.key"),
                   "empty.pem: there is no certificate in PEM format");
    expect_refusal(tls_path("web.key"), tls_path("web.key"),
                   "web.key: there is no certificate in PEM format");
    expect_refusal(tls_path("web.pem"), tls_path("web.pem"),
                   "web.pem: there is no private key in PEM format");
    expect_refusal(tls_path("web.pem"), tls_path("empty.pem"), "empty.pem: there is no private key");
    expect_refusal(tls_path("garbage.pem"), tls_path("web.key"), "garbage.pem: ");
    expect_refusal(tls_path("web.pem"), tls_path("other.key"),
                   "other.key: this key does not belong to the certificate in");
    expect_refusal(tls_path("locked.pem"), tls_path("locked.key"), "locked.key: the key is encrypted");
    if (geteuid() != 0) {
        assert_int_equal(chmod(tls_path("ann.key"), 0), 0);
        expect_refusal(tls_path("ann.pem"), tls_path("ann.key"), "ann.key: Permission denied");
        assert_int_equal(chmod(tls_path("ann.key"), 0600), 0);
    }
}

static void what_is_not_well_is_a_warning(void **state)
{
    struct weir_tls_pair pairs[] = {{tls_path("expired.pem"), tls_path("expired.key")},
                                    {tls_path("early.pem"), tls_path("early.key")}};
    struct weir_tls_server_settings s = {.pairs = pairs, .pair_count = 2};
    struct weir_strbuf warnings = WEIR_STRBUF_INIT;
    struct weir_tls_server *server;
    struct weir_err err;
    (void)state;
    assert_int_equal(chmod(pairs[1].key, 0644), 0);
    assert_int_equal(weir_tls_server_open(&s, &server, &warnings, &err), WEIR_OK);
    assert_non_null(strstr(warnings.data, "expired.pem: the certificate for a.example expired on "));
    assert_non_null(strstr(warnings.data, "early.pem: the certificate for a.example is not valid before "));
    assert_non_null(strstr(warnings.data, "early.key: everybody on this machine may read"));
    assert_null(strstr(warnings.data, "expired.key"));
    assert_int_equal(chmod(tls_path("early.key"), 0600), 0);
    weir_tls_server_unref(server);
    weir_strbuf_fini(&warnings);
}

static void certificate_and_key_may_share_a_file(void **state)
{
    (void)state;
    char command[400];
    snprintf(command, sizeof command, "cat %s/web.pem %s/web.key > %s/both.pem", tls_folder, tls_folder,
             tls_folder);
    assert_int_equal(system(command), 0);
    struct weir_tls_pair pair = {tls_path("both.pem"), NULL};
    struct weir_tls_server_settings s = {.pairs = &pair, .pair_count = 1};
    weir_tls_server_unref(tls_server_with(&s));
}

static void ciphers_are_checked_and_split_by_version(void **state)
{
    char certificate[128], key[128];
    struct weir_err err;
    struct weir_tls_server *server = NULL;
    struct tls_link l;
    (void)state;
    snprintf(certificate, sizeof certificate, "%s", tls_path("web.pem"));
    snprintf(key, sizeof key, "%s", tls_path("web.key"));
    struct weir_tls_pair pair = {certificate, key};
    struct weir_tls_server_settings s = {.pairs = &pair, .pair_count = 1};
    static const char *const bad[] = {"NO-SUCH-CIPHER", "TLS_NO_SUCH", ""};
    for (size_t i = 0; i < 3; i++) {
        s.ciphers = bad[i];
        s.min_version = i == 2 ? WEIR_TLS_1_3 : WEIR_TLS_1_2;
        assert_int_equal(weir_tls_server_open(&s, &server, NULL, &err), WEIR_E_CONFIG);
        assert_non_null(strstr(err.text, "ciphers"));
    }
    static const struct {
        const char *list, *version, *cipher;
    } good[] = {
        {"ECDHE-ECDSA-CHACHA20-POLY1305", "TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"},
        {"TLS_AES_256_GCM_SHA384", "TLSv1.3", "TLS_AES_256_GCM_SHA384"},
        {"ECDHE-ECDSA-AES256-GCM-SHA384, TLS_CHACHA20_POLY1305_SHA256", "TLSv1.3",
         "TLS_CHACHA20_POLY1305_SHA256"},
    };
    struct weir_tls_client *client = tls_client();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        s.ciphers = good[i].list;
        s.min_version = WEIR_TLS_1_2;
        server = tls_server_with(&s);
        tls_join(&l, client, server, "a.example");
        tls_shake_well(&l);
        assert_string_equal(weir_transport_info(&l.server)->version, good[i].version);
        assert_string_equal(weir_transport_info(&l.client)->cipher, good[i].cipher);
        tls_part(&l);
        weir_tls_server_unref(server);
    }
    weir_tls_client_unref(client);
}

/* ---- clients and what they refuse ---- */

static void expect_client_error(struct weir_tls_client *client, const char *file, const char *name,
                                const char *code)
{
    struct weir_tls_server *server = tls_server(file);
    struct tls_link l;
    int a, b;
    tls_join(&l, client, server, name);
    tls_shake(&l, SIZE_MAX, &a, &b);
    if (code == NULL && a != 0)
        fail_msg("%s for %s: %s", file, name, weir_transport_code(&l.client, a));
    if (code != NULL) {
        assert_int_equal(a, -EPROTO);
        assert_string_equal(weir_transport_code(&l.client, a), code);
    }
    tls_part(&l);
    weir_tls_server_unref(server);
}

static void clients_name_what_is_wrong_with_a_certificate(void **state)
{
    struct weir_tls_client *client = tls_client();
    (void)state;
    expect_client_error(client, "web", "a.example", NULL);
    expect_client_error(client, "web", "x.b.example", NULL);
    expect_client_error(client, "web", "127.0.0.1", NULL);
    expect_client_error(client, "web", "127.0.0.2", "CERT_NAME_MISMATCH");
    expect_client_error(client, "web", "b.example", "CERT_NAME_MISMATCH");
    expect_client_error(client, "web", "x.y.b.example", "CERT_NAME_MISMATCH");
    expect_client_error(client, "expired", "a.example", "CERT_EXPIRED");
    expect_client_error(client, "early", "a.example", "CERT_NOT_YET_VALID");
    expect_client_error(client, "stranger", "a.example", "CERT_UNTRUSTED");
    weir_tls_client_unref(client);
    struct weir_tls_client_settings any = {.insecure = true};
    client = tls_client_with(&any);
    expect_client_error(client, "stranger", "z.example", NULL);
    expect_client_error(client, "expired", "a.example", NULL);
    weir_tls_client_unref(client);
}

static void a_client_without_a_name_is_refused(void **state)
{
    struct weir_tls_client *client = tls_client();
    struct weir_transport t;
    int a, b;
    (void)state;
    tls_pair_of_sockets(&a, &b);
    assert_int_equal(weir_tls_client_connect(client, a, "", &t), WEIR_E_INVAL);
    assert_int_equal(weir_tls_client_connect(client, a, NULL, &t), WEIR_E_INVAL);
    close(a);
    close(b);
    weir_tls_client_unref(client);
    struct weir_tls_client_settings s = {.ca = tls_path("nothing.pem")};
    struct weir_err err;
    assert_int_equal(weir_tls_client_open(&s, &client, &err), WEIR_E_CONFIG);
    assert_non_null(strstr(err.text, "nothing.pem: there is no such file"));
    s.ca = tls_path("empty.pem");
    assert_int_equal(weir_tls_client_open(&s, &client, &err), WEIR_E_CONFIG);
    assert_non_null(strstr(err.text, "empty.pem: there is no PEM certificate"));
}

static void peers_that_do_not_speak_tls_are_named(void **state)
{
    struct weir_tls_server *server = tls_server("web");
    struct weir_tls_client *client = tls_client();
    struct tls_link l;
    char why[WEIR_TRANSPORT_WHY_MAX];
    (void)state;
    tls_join(&l, client, server, "a.example");
    assert_int_equal(send(l.to_server, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    int rc = weir_transport_handshake(&l.server);
    assert_int_equal(rc, -EPROTO);
    assert_true(weir_transport_met_http(&l.server));
    assert_string_equal(weir_transport_code(&l.server, rc), "TLS_HANDSHAKE");
    assert_int_equal(weir_transport_handshake(&l.server), -EPROTO);
    assert_int_equal(weir_transport_handshake(&l.client), -EAGAIN);
    assert_int_equal(send(l.to_client, "220 mail.example ESMTP\r\n", 24, 0), 24);
    rc = weir_transport_handshake(&l.client);
    assert_int_equal(rc, -EPROTO);
    assert_string_equal(weir_transport_code(&l.client, rc), "TLS_HANDSHAKE");
    assert_string_equal(weir_transport_why(&l.client, rc, why), "the peer does not speak TLS");
    tls_part(&l);
    weir_tls_server_unref(server);
    weir_tls_client_unref(client);
}

/* ---- client certificates ---- */

static void servers_ask_for_certificates_and_tell_whose_it_is(void **state)
{
    char certificate[128], key[128], ca[128];
    static const struct {
        enum weir_tls_verify verify;
        const char *own; /* the client's */
        bool good;
        const char *subject;
    } cases[] = {
        {WEIR_TLS_VERIFY_REQUIRED, "ann", true, "CN=ann"}, {WEIR_TLS_VERIFY_REQUIRED, NULL, false, ""},
        {WEIR_TLS_VERIFY_REQUIRED, "stranger", false, ""}, {WEIR_TLS_VERIFY_OPTIONAL, NULL, true, ""},
        {WEIR_TLS_VERIFY_OPTIONAL, "ann", true, "CN=ann"}, {WEIR_TLS_VERIFY_OPTIONAL, "stranger", false, ""},
        {WEIR_TLS_VERIFY_NONE, "ann", true, ""},
    };
    (void)state;
    snprintf(certificate, sizeof certificate, "%s", tls_path("web.pem"));
    snprintf(key, sizeof key, "%s", tls_path("web.key"));
    snprintf(ca, sizeof ca, "%s", tls_path("ca.pem"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char own[128], own_key[128];
        struct weir_tls_pair pair = {certificate, key};
        struct weir_tls_server_settings s = {
            .pairs = &pair, .pair_count = 1, .client_ca = ca, .verify = cases[i].verify, .tickets = true};
        struct weir_tls_client_settings c = {.ca = ca};
        if (cases[i].own != NULL) {
            snprintf(own, sizeof own, "%s/%s.pem", tls_folder, cases[i].own);
            snprintf(own_key, sizeof own_key, "%s/%s.key", tls_folder, cases[i].own);
            c.certificate = own;
            c.key = own_key;
        }
        struct weir_tls_server *server = tls_server_with(&s);
        struct weir_tls_client *client = tls_client_with(&c);
        struct tls_link l;
        int a, b;
        tls_join(&l, client, server, "a.example");
        tls_shake(&l, SIZE_MAX, &a, &b);
        assert_int_equal(b, cases[i].good ? 0 : -EPROTO);
        if (cases[i].good)
            assert_string_equal(weir_transport_info(&l.server)->client_subject, cases[i].subject);
        else if (cases[i].own != NULL)
            assert_string_equal(weir_transport_code(&l.server, b), "CERT_UNTRUSTED");
        if (!cases[i].good && a == 0) { /* 1.3: the client learns it with its first read */
            char buf[10];
            ssize_t n = weir_transport_read(&l.client, buf, sizeof buf);
            assert_int_equal(n, -EPROTO);
            assert_string_equal(weir_transport_code(&l.client, (int)n), "TLS_PROTOCOL");
        }
        tls_part(&l);
        weir_tls_server_unref(server);
        weir_tls_client_unref(client);
    }
}

/* ---- names ---- */

static const char *common_name(SSL *ssl, char *out, size_t size)
{
    X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(ssl)), NID_commonName, out,
                              (int)size);
    return out;
}

static void clients_get_the_certificate_of_the_name_they_ask_for(void **state)
{
    char paths[6][128];
    static const char *const files[] = {"web", "other", "named"};
    static const struct {
        const char *name, *cn;
    } cases[] = {
        {"a.example", "web"},      {"A.Example", "web"},         {"c.example", "other"},
        {"x.b.example", "web"},    {"exact.b.example", "other"}, {"d.example", "d.example"},
        {"nobody.example", "web"}, {"x.y.b.example", "web"},     {"127.0.0.1", "web"},
    };
    struct weir_tls_pair pairs[3];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s.pem", tls_folder, files[i]);
        snprintf(paths[3 + i], sizeof paths[i], "%s/%s.key", tls_folder, files[i]);
        pairs[i] = (struct weir_tls_pair){paths[i], paths[3 + i]};
    }
    struct weir_tls_server_settings s = {.pairs = pairs, .pair_count = 3, .tickets = true};
    struct weir_tls_client_settings any = {.insecure = true};
    struct weir_tls_server *server = tls_server_with(&s);
    struct weir_tls_client *client = tls_client_with(&any);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tls_link l;
        char cn[64];
        tls_join(&l, client, server, cases[i].name);
        tls_shake_well(&l);
        assert_string_equal(common_name(l.client.ssl, cn, sizeof cn), cases[i].cn);
        assert_string_equal(weir_transport_info(&l.server)->server_name,
                            cases[i].name[0] == '1' ? "" : cases[i].name);
        tls_part(&l);
    }
    weir_tls_server_unref(server);
    weir_tls_client_unref(client);
}

static void two_kinds_of_keys_serve_the_same_names(void **state)
{
    char paths[4][128];
    struct weir_tls_pair pairs[2];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s.pem", tls_folder, i == 0 ? "web" : "webrsa");
        snprintf(paths[2 + i], sizeof paths[i], "%s/%s.key", tls_folder, i == 0 ? "web" : "webrsa");
        pairs[i] = (struct weir_tls_pair){paths[i], paths[2 + i]};
    }
    struct weir_tls_server_settings s = {.pairs = pairs, .pair_count = 2};
    struct weir_tls_server *server = tls_server_with(&s);
    static const int kinds[] = {EVP_PKEY_EC, EVP_PKEY_RSA};
    static const char *const lists[] = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"};
    for (size_t i = 0; i < 2; i++) {
        struct weir_tls_client_settings c = {.ca = tls_path("ca.pem"), .ciphers = lists[i]};
        struct weir_tls_client *client = tls_client_with(&c);
        struct tls_link l;
        tls_join(&l, client, server, "a.example");
        tls_shake_well(&l);
        assert_int_equal(EVP_PKEY_get_base_id(X509_get0_pubkey(SSL_get0_peer_certificate(l.client.ssl))),
                         kinds[i]);
        tls_part(&l);
        weir_tls_client_unref(client);
    }
    weir_tls_server_unref(server);
}

static void protocols_are_agreed_on_or_refused(void **state)
{
    static const char *const offered[] = {"h2", "http/1.1", NULL};
    static const char *const ours[] = {"http/1.1", NULL}, *const other[] = {"smtp", NULL};
    char certificate[128], key[128];
    (void)state;
    snprintf(certificate, sizeof certificate, "%s", tls_path("web.pem"));
    snprintf(key, sizeof key, "%s", tls_path("web.key"));
    struct weir_tls_pair pair = {certificate, key};
    struct weir_tls_server_settings s = {.pairs = &pair, .pair_count = 1, .alpn = ours};
    struct weir_tls_server *server = tls_server_with(&s);
    for (int i = 0; i < 3; i++) {
        struct weir_tls_client_settings c = {.ca = tls_path("ca.pem"),
                                             .alpn = i == 0   ? offered
                                                     : i == 1 ? other
                                                              : NULL};
        struct weir_tls_client *client = tls_client_with(&c);
        struct tls_link l;
        int a, b;
        tls_join(&l, client, server, "a.example");
        tls_shake(&l, SIZE_MAX, &a, &b);
        assert_int_equal(b, i == 1 ? -EPROTO : 0);
        if (i != 1) {
            assert_string_equal(weir_transport_info(&l.server)->alpn, i == 0 ? "http/1.1" : "");
            assert_string_equal(weir_transport_info(&l.client)->alpn, i == 0 ? "http/1.1" : "");
        }
        tls_part(&l);
        weir_tls_client_unref(client);
    }
    weir_tls_server_unref(server);
}

/* ---- sessions ---- */

/* What a client of OpenSSL's own was given last. */
static SSL_SESSION *kept;

/* Connects, with the session kept from before; whether it was resumed. */
static bool resumes(struct weir_tls_server *server, SSL_CTX *client)
{
    struct tls_link l;
    char buf[10];
    int a, b, left, right;
    memset(&l, 0, sizeof l);
    tls_pair_of_sockets(&a, &l.to_client);
    tls_pair_of_sockets(&b, &l.to_server);
    assert_int_equal(weir_transport_attach(&l.client, a, client, weir_tls_method()), WEIR_OK);
    SSL_set_connect_state(l.client.ssl);
    if (kept != NULL)
        assert_int_equal(SSL_set_session(l.client.ssl, kept), 1);
    assert_int_equal(weir_tls_server_accept(server, b, &l.server), WEIR_OK);
    tls_shake(&l, SIZE_MAX, &left, &right);
    assert_int_equal(left, 0);
    assert_int_equal(right, 0);
    assert_int_equal(weir_transport_read(&l.client, buf, sizeof buf), -EAGAIN); /* takes the tickets */
    bool resumed = weir_transport_info(&l.server)->resumed;
    SSL_SESSION_free(kept);
    kept = SSL_get1_session(l.client.ssl);
    tls_part(&l);
    return resumed;
}

static void sessions_are_resumed_while_their_key_lasts(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
        struct weir_tls_server *server = tls_server("web");
        SSL_CTX *client = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_max_proto_version(client, version);
        assert_false(resumes(server, client));
        assert_non_null(kept);
        assert_true(resumes(server, client));
        /* the certificate may change meanwhile, and another key seal tickets */
        struct weir_err err;
        assert_int_equal(weir_tls_server_reload(server, NULL, &err), WEIR_OK);
        weir_clock_set_virtual((1000 + 3700) * WEIR_NS_PER_S);
        SSL_SESSION *old = SSL_SESSION_dup(kept);
        assert_true(resumes(server, client)); /* and it is given a new one */
        assert_true(resumes(server, client));
        SSL_SESSION_free(kept);
        kept = old;
        weir_clock_set_virtual((1000 + 3 * 3600) * WEIR_NS_PER_S);
        assert_false(resumes(server, client)); /* nobody has the key any more */
        SSL_SESSION_free(kept);
        kept = NULL;
        SSL_CTX_free(client);
        weir_tls_server_unref(server);
    }
}

static void without_tickets_nothing_is_resumed(void **state)
{
    struct weir_tls_pair pair = {tls_path("web.pem"), tls_path("web.key")};
    struct weir_tls_server_settings s = {.pairs = &pair, .pair_count = 1, .tickets = false};
    struct weir_tls_server *server = tls_server_with(&s);
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    (void)state;
    assert_false(resumes(server, client));
    assert_false(resumes(server, client));
    SSL_SESSION_free(kept);
    kept = NULL;
    SSL_CTX_free(client);
    weir_tls_server_unref(server);
}

/* ---- reload ---- */

static void expect_cn(struct weir_tls_server *server, const char *cn)
{
    struct weir_tls_client_settings any = {.insecure = true};
    struct weir_tls_client *client = tls_client_with(&any);
    struct tls_link l;
    char text[64];
    tls_join(&l, client, server, "a.example");
    tls_shake_well(&l);
    assert_string_equal(common_name(l.client.ssl, text, sizeof text), cn);
    tls_part(&l);
    weir_tls_client_unref(client);
}

static void reload_takes_new_files_and_keeps_old_ones_on_errors(void **state)
{
    struct weir_strbuf said = WEIR_STRBUF_INIT;
    struct weir_err err;
    struct tls_link before;
    char buf[10];
    (void)state;
    tls_copy("web.pem", "live.pem");
    tls_copy("web.key", "live.key");
    struct weir_tls_server *server = tls_server("live");
    struct weir_tls_client *client = tls_client();
    tls_join(&before, client, server, "a.example");
    tls_shake_well(&before);
    weir_tls_client_unref(client);
    expect_cn(server, "web");
    tls_copy("other.pem", "live.pem"); /* half of the new pair: the usual moment of a renewal */
    assert_int_equal(weir_tls_server_reload(server, &said, &err), WEIR_E_CONFIG);
    assert_non_null(strstr(err.text, "does not belong"));
    assert_int_equal(said.len, 0);
    expect_cn(server, "web");
    tls_copy("other.key", "live.key");
    assert_int_equal(weir_tls_server_reload(server, &said, &err), WEIR_OK);
    assert_non_null(strstr(said.data, "live.pem (c.example, until "));
    expect_cn(server, "other");
    tls_copy("expired.pem", "live.pem");
    tls_copy("expired.key", "live.key");
    assert_int_equal(weir_tls_server_reload(server, NULL, &err), WEIR_E_CONFIG);
    assert_non_null(strstr(err.text, "expired on"));
    expect_cn(server, "other");
    unlink(tls_path("live.key"));
    assert_int_equal(weir_tls_server_reload(server, NULL, &err), WEIR_E_CONFIG);
    expect_cn(server, "other");
    weir_tls_server_unref(server);
    /* a connection outlives all of that, and its server */
    assert_int_equal(weir_transport_send(&before.client, "x", 1), 1);
    tls_carry(&before, SIZE_MAX);
    assert_int_equal(weir_transport_read(&before.server, buf, sizeof buf), 1);
    tls_part(&before);
    weir_strbuf_fini(&said);
}

/* ---- no memory ---- */

static void constructors_survive_every_failed_allocation(void **state)
{
    static const char *const alpn[] = {"http/1.1", NULL};
    char paths[5][128];
    struct weir_err err;
    (void)state;
    NEEDS_INJECTION();
    static const char *const names[] = {"web.pem", "web.key", "other.pem", "other.key", "ca.pem"};
    for (size_t i = 0; i < 5; i++)
        snprintf(paths[i], sizeof paths[i], "%s", tls_path(names[i]));
    struct weir_tls_pair pairs[] = {{paths[0], paths[1]}, {paths[2], paths[3]}};
    struct weir_tls_server_settings s = {.pairs = pairs,
                                         .pair_count = 2,
                                         .client_ca = paths[4],
                                         .verify = WEIR_TLS_VERIFY_OPTIONAL,
                                         .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256",
                                         .tickets = true,
                                         .alpn = alpn};
    int rc = WEIR_E_NOMEM;
    struct weir_tls_server *server = NULL;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_tls_server_open(&s, &server, NULL, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && server == NULL));
        assert_true(rc == WEIR_OK || weir_mem_live() == 0);
    }
    rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        long live = weir_mem_live();
        weir_mem_fail_after(n);
        rc = weir_tls_server_reload(server, NULL, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
        assert_int_equal(weir_mem_live(), live);
    }
    struct weir_tls_client_settings c = {.ca = paths[4], .alpn = alpn};
    struct weir_tls_client *client = NULL;
    weir_mem_fail_after(0);
    assert_int_equal(weir_tls_client_open(&c, &client, &err), WEIR_E_NOMEM);
    weir_mem_fail_after(-1);
    assert_null(client);
    client = tls_client_with(&c);
    struct tls_link l;
    int a, b;
    tls_join(&l, client, server, "a.example");
    weir_mem_fail_after(0);
    tls_shake(&l, SIZE_MAX, &a, &b);
    weir_mem_fail_after(-1);
    assert_int_equal(a, -ENOMEM);
    assert_string_equal(weir_transport_code(&l.client, a), "ENOMEM");
    tls_part(&l);
    weir_tls_server_unref(server);
    weir_tls_client_unref(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_files_are_named_with_what_is_wrong),
        TEST(what_is_not_well_is_a_warning),
        TEST(certificate_and_key_may_share_a_file),
        TEST(ciphers_are_checked_and_split_by_version),
        TEST(clients_name_what_is_wrong_with_a_certificate),
        TEST(a_client_without_a_name_is_refused),
        TEST(peers_that_do_not_speak_tls_are_named),
        TEST(servers_ask_for_certificates_and_tell_whose_it_is),
        TEST(clients_get_the_certificate_of_the_name_they_ask_for),
        TEST(two_kinds_of_keys_serve_the_same_names),
        TEST(protocols_are_agreed_on_or_refused),
        TEST(sessions_are_resumed_while_their_key_lasts),
        TEST(without_tickets_nothing_is_resumed),
        TEST(reload_takes_new_files_and_keeps_old_ones_on_errors),
        TEST(constructors_survive_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
