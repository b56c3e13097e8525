#include "test.h"

#include "tls_fixture.h"

#include "config/app.h"
#include "config/conf.h"
#include "config/types.h"
#include "io/http_source.h"

static const struct weir_option sink_options[] = {
    {.name = "address", .type = WEIR_OPTION_ADDRESS, .required = true, .text = "whom to send to"},
    WEIR_TLS_CLIENT_OPTION,
};
static const struct weir_app_type sink_type = {.name = "out",
                                               .kind = WEIR_APP_SINK,
                                               .text = "sends",
                                               .options = sink_options,
                                               .option_count = 2,
                                               .check = weir_tls_check_client_options};
static const struct weir_app_type *const type_list[] = {&weir_http_source_type, &sink_type};
static const struct weir_app_types types = {.types = type_list, .count = 2};

struct outcome {
    int code;
    struct weir_app *app;
    struct weir_strbuf report;
};

/* `tls` of the source and of the sink, as in YAML; paths are relative to the folder. */
static void parse(struct outcome *o, const char *source, const char *sink)
{
    char yaml[2048];
    struct weir_err err;
    int n = snprintf(yaml, sizeof yaml,
                     "weir: 1\nstages:\n  web:\n    source: http\n    listen: ':0'\n    to: end\n%s%s\n"
                     "  end:\n    sink: out\n    address: 'a.example:1'\n%s%s\n",
                     source != NULL ? "    tls: " : "", source != NULL ? source : "",
                     sink != NULL ? "    tls: " : "", sink != NULL ? sink : "");
    *o = (struct outcome){.report = WEIR_STRBUF_INIT};
    o->code =
        weir_app_parse(yaml, (size_t)n, "weir.yaml", tls_folder, NULL, 0, &types, &o->report, &o->app, &err);
    weir_strbuf_add(&o->report, "", 0);
}

static void end(struct outcome *o)
{
    weir_app_free(o->app);
    weir_strbuf_fini(&o->report);
}

static void expect(const char *source, const char *sink, int code, const char *text)
{
    struct outcome o;
    parse(&o, source, sink);
    if (o.code != code || strstr(o.report.data, text) == NULL || (text[0] == '\0' && o.report.len > 0))
        fail_msg("%s %s: %d instead of %d, or not '%s':\n%s", source != NULL ? source : "",
                 sink != NULL ? sink : "", o.code, code, text, o.report.data);
    end(&o);
}

#define PAIR "certificate: web.pem, key: web.key"

static void what_is_right_is_accepted_in_silence(void **state)
{
    (void)state;
    expect("{" PAIR "}", NULL, WEIR_OK, "");
    expect("{" PAIR ", min_version: 1.3, tickets: false, client_ca: ca.pem, verify: optional}", NULL, WEIR_OK,
           "");
    expect("{certificates: [{" PAIR "}, {certificate: other.pem, key: other.key}]}", NULL, WEIR_OK, "");
    expect("{" PAIR ", certificates: {certificate: other.pem, key: other.key}}", NULL, WEIR_OK, "");
    expect("{" PAIR ", ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256'}", NULL, WEIR_OK, "");
    expect(NULL, "true", WEIR_OK, "");
    expect(NULL, "false", WEIR_OK, "");
    expect(NULL, "{ca: ca.pem, name: b.example, certificate: ann.pem, key: ann.key}", WEIR_OK, "");
}

static void what_is_wrong_is_told_at_its_place(void **state)
{
    static const struct {
        const char *tls, *text;
    } cases[] = {
        {"{certificate: none.pem, key: web.key}",
         "weir.yaml:7:24: error: %s/none.pem: there is no such file"},
        {"{certificate: web.pem, key: none.key}",
         "weir.yaml:7:38: error: %s/none.key: there is no such file"},
        {"{certificate: web.pem, key: other.key}",
         "weir.yaml:7:38: error: %s/other.key: this key does not belong"},
        {"{certificate: locked.pem, key: locked.key}",
         "weir.yaml:7:41: error: %s/locked.key: the key is encrypted"},
        {"{certificate: expired.pem, key: expired.key}",
         "weir.yaml:7:24: warning: %s/expired.pem: the certificate for"},
        {"{certificate: web.pem}", "weir.yaml:7:24: error: %s/web.pem: there is no private key"},
        {"{key: web.key}", "weir.yaml:7:16: error: 'tls': 'key' needs a 'certificate'"},
        {"{}", "weir.yaml:7:10: error: 'tls' needs a 'certificate'"},
        {"{" PAIR ", verify: required}", "weir.yaml:7:55: error: 'tls': 'verify' needs 'client_ca'"},
        {"{" PAIR ", client_ca: empty.pem}",
         "weir.yaml:7:58: error: %s/empty.pem: there is no PEM certificate"},
        {"{" PAIR ", client_ca: ca.pem, verify: none}",
         "weir.yaml:7:74: warning: 'tls': with 'verify: none'"},
        {"{" PAIR ", ciphers: NOTHING}", "weir.yaml:7:56: error: ciphers: "},
        {"{" PAIR ", certificates: [{certificate: other.pem, key: web.key}]}",
         "weir.yaml:7:92: error: %s/web.key: this key does not"},
        {"{" PAIR ", certificates: [{key: web.key}]}",
         "weir.yaml:7:62: error: 'certificates' needs 'certificate'"},
        {"{" PAIR ", certificates: []}", "'certificates': the list is too short"},
        {"{certificte: web.pem, key: web.key}",
         "weir.yaml:7:11: error: unknown key 'certificte' in 'tls' (did you mean 'certificate'?)"},
        {"{" PAIR ", min_version: 1.1}", "'min_version': expected 1.2 or 1.3, found '1.1'"},
        {"{" PAIR ", verify: yess}", "'verify': expected none, optional or required, found 'yess'"},
        {"web.pem", "weir.yaml:7:10: error: 'tls': expected a map, found 'web.pem'"},
        {"true", "'tls': expected a map"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        const char *at = strstr(cases[i].text, "%s");
        if (at != NULL)
            snprintf(text, sizeof text, "%.*s%s%s", (int)(at - cases[i].text), cases[i].text, tls_folder,
                     at + 2);
        else
            snprintf(text, sizeof text, "%s", cases[i].text);
        expect(cases[i].tls, NULL, strstr(text, "warning") != NULL ? WEIR_OK : WEIR_E_CONFIG, text);
    }
    expect(NULL, "{ca: none.pem}", WEIR_E_CONFIG, "none.pem: there is no such file");
    expect(NULL, "{key: ann.key}", WEIR_E_CONFIG,
           "weir.yaml:11:16: error: 'tls': 'key' needs a 'certificate'");
    expect(NULL, "{verify: false}", WEIR_OK, "weir.yaml:11:19: warning: 'tls': with 'verify: false' anybody");
    expect(NULL, "yes please", WEIR_E_CONFIG, "'tls': expected a map");
}

static void keys_that_everybody_may_read_are_a_warning(void **state)
{
    (void)state;
    assert_int_equal(chmod(tls_path("web.key"), 0644), 0);
    expect("{" PAIR "}", NULL, WEIR_OK, "weir.yaml:7:38: warning: ");
    assert_int_equal(chmod(tls_path("web.key"), 0600), 0);
}

static void contexts_are_made_of_checked_options(void **state)
{
    struct outcome o;
    struct weir_err err;
    struct weir_tls_server *server;
    struct weir_tls_client *client;
    const char *name;
    struct tls_link l;
    (void)state;
    parse(&o, "{" PAIR ", min_version: 1.3}", "{ca: ca.pem, name: x.b.example}");
    assert_int_equal(o.code, WEIR_OK);
    assert_int_equal(weir_tls_server_open_options(o.app->stages[0].options, NULL, &server, &err), WEIR_OK);
    assert_int_equal(weir_tls_client_open_options(o.app->stages[1].options, &client, &name, &err), WEIR_OK);
    assert_string_equal(name, "x.b.example");
    tls_join(&l, client, server, name);
    tls_shake_well(&l);
    assert_string_equal(weir_transport_info(&l.server)->version, "TLSv1.3");
    tls_part(&l);
    weir_tls_server_reload_logged(server, "web");
    weir_tls_server_unref(server);
    weir_tls_client_unref(client);
    end(&o);
    parse(&o, NULL, "false");
    assert_int_equal(weir_tls_server_open_options(o.app->stages[0].options, NULL, &server, &err), WEIR_OK);
    assert_null(server);
    assert_int_equal(weir_tls_client_open_options(o.app->stages[1].options, &client, &name, &err), WEIR_OK);
    assert_null(client);
    weir_tls_server_reload_logged(NULL, "web");
    end(&o);
    parse(&o, NULL, "true");
    assert_int_equal(weir_tls_client_open_options(o.app->stages[1].options, &client, &name, &err), WEIR_OK);
    assert_non_null(client);
    assert_null(name);
    weir_tls_client_unref(client);
    end(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_right_is_accepted_in_silence),
        TEST(what_is_wrong_is_told_at_its_place),
        TEST(keys_that_everybody_may_read_are_a_warning),
        TEST(contexts_are_made_of_checked_options),
    };
    return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
