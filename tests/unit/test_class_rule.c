/* `class:` and `on_reject:` of sources: read, checked, and what they decide. */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "config/app.h"
#include "config/conf.h"
#include "config/types.h"
#include "io/class_rule.h"
#include "io/http_page.h"
#include "io/http_source.h"
#include "io/null_sink.h"
#include "io/timer_source.h"
#include "io/udp_source.h"

static struct weir_app *parse(const char *web, struct weir_strbuf *report)
{
    static const struct weir_app_type *const all[] = {&weir_http_source_type, &weir_udp_source_type,
                                                      &weir_timer_source_type, &weir_null_sink_type};
    const struct weir_app_types types = {.types = all, .count = sizeof all / sizeof all[0]};
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    struct weir_app *app = NULL;
    struct weir_err err;
    weir_strbuf_addf(
        &text, "weir: 1\nclasses: [gold, normal, bulk]\nstages:\n  web: {%s, to: n}\n  n: {sink: 'null'}\n",
        web);
    (void)weir_app_parse(text.data, text.len, "weir.yaml", "/nowhere", NULL, 0, &types, report, &app,
                         &err); /* the report says */
    weir_strbuf_fini(&text);
    return app;
}

static int class_of(const struct weir_class_rule *k, const char *address)
{
    struct weir_network peer;
    weir_network_of_text(address, &peer);
    return weir_class_rule_of_peer(k, &peer);
}

static bool trusts(const struct weir_class_rule *k, const char *address)
{
    struct weir_network peer;
    weir_network_of_text(address, &peer);
    return weir_class_rule_trusts(k, &peer);
}

static struct weir_class_rule *open_rule(const char *web, struct weir_app **ret_app)
{
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_class_rule *k = NULL;
    struct weir_err err;
    *ret_app = parse(web, &report);
    if (report.len > 0)
        fail_msg("%s", report.data);
    weir_strbuf_fini(&report);
    assert_int_equal(weir_class_rule_open((*ret_app)->stages[0].options, &k, &err), WEIR_OK);
    return k;
}

static void the_narrowest_network_counts(void **state)
{
    struct weir_app *app;
    (void)state;
    struct weir_class_rule *k =
        open_rule("source: http, listen: ':80', class: {address: {'0.0.0.0/0': bulk, '10.0.0.0/8': normal, "
                  "'10.1.0.0/16': gold, '::/0': gold, unix: normal, '10.1.2.3': bulk}}",
                  &app);
    assert_int_equal(class_of(k, "192.0.2.1"), 2);
    assert_int_equal(class_of(k, "10.2.2.3"), 1);
    assert_int_equal(class_of(k, "10.1.2.4"), 0);
    assert_int_equal(class_of(k, "10.1.2.3"), 2);
    assert_int_equal(class_of(k, "::ffff:10.1.2.3"), 2);
    assert_int_equal(class_of(k, "fd00::1"), 0);
    assert_int_equal(class_of(k, "unix"), 1);
    assert_true(trusts(k, "1.2.3.4"));
    weir_class_rule_close(k);
    weir_app_free(app);
    k = open_rule("source: udp, listen: ':80', class: {address: {'10.0.0.0/8': bulk}}", &app);
    assert_int_equal(class_of(k, "11.0.0.1"), -1);
    assert_int_equal(class_of(NULL, "11.0.0.1"), -1);
    weir_class_rule_close(k);
    weir_app_free(app);
}

static void a_header_counts_from_those_who_are_trusted(void **state)
{
    struct weir_app *app;
    (void)state;
    struct weir_class_rule *k =
        open_rule("source: http, listen: ':80', class: {header: X-Class, from: [10.0.0.0/8, unix]}", &app);
    assert_string_equal(k->header, "x-class");
    assert_true(trusts(k, "10.9.9.9"));
    assert_true(trusts(k, "unix"));
    assert_false(trusts(k, "11.9.9.9"));
    weir_class_rule_close(k);
    weir_app_free(app);
}

static void a_word_is_a_class_of_the_stage(void **state)
{
    static const char *const sources[] = {"source: http, listen: ':80'", "source: udp, listen: ':80'",
                                          "source: timer, every: 1s"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char web[128];
        struct weir_app *app;
        uint8_t class = 77;
        snprintf(web, sizeof web, "%s, class: bulk", sources[i]);
        assert_null(open_rule(web, &app));
        assert_true(weir_conf_option_class(app->stages[0].options, "class", &class));
        assert_int_equal(class, 2);
        weir_app_free(app);
        assert_null(open_rule(sources[i], &app));
        assert_false(weir_conf_option_class(app->stages[0].options, "class", &class));
        weir_app_free(app);
    }
}

static void mistakes_are_told_with_their_places(void **state)
{
    static const struct {
        const char *web, *line;
    } mistakes[] = {
        {"source: http, listen: ':80', class: golf", "weir.yaml:4:45: error: 'class': expected gold, normal "
                                                     "or bulk, found 'golf' (did you mean 'gold'?)"},
        {"source: timer, every: 1s, class: silver",
         "weir.yaml:4:42: error: 'class': expected gold, normal or bulk, found 'silver'"},
        {"source: timer, every: 1s, class: {address: {}}",
         "weir.yaml:4:42: error: 'class': expected gold, normal or bulk, found a map"},
        {"source: udp, listen: ':80', class: {header: X}",
         "weir.yaml:4:45: error: unknown key 'header' in 'class'"},
        {"source: http, listen: ':80', class: {}", "weir.yaml:4:45: error: 'class' is empty"},
        {"source: http, listen: ':80', class: [gold]",
         "weir.yaml:4:45: error: 'class': expected gold, normal or bulk, found a list"},
        {"source: http, listen: ':80', class: {address: {'10.0.0.0/33': gold}}",
         "weir.yaml:4:56: error: 'address': expected a network"},
        {"source: http, listen: ':80', class: {address: {'10.0.0.0/8': glod}}",
         "weir.yaml:4:70: error: '10.0.0.0/8': expected gold, normal or bulk, found 'glod' (did you mean "
         "'gold'?)"},
        {"source: http, listen: ':80', class: {address: {'10.1.0.0/8': gold}}",
         "weir.yaml:4:56: error: 'address': '10.1.0.0/8': the address has bits"},
        {"source: http, listen: ':80', class: {address: {}}",
         "weir.yaml:4:55: error: 'address': expected a map of networks to classes"},
        {"source: http, listen: ':80', class: {header: 'X Y'}",
         "weir.yaml:4:54: error: 'header': 'X Y' is no header's name"},
        {"source: http, listen: ':80', class: {from: 10.0.0.0/8}",
         "weir.yaml:4:52: error: 'class': 'from' says whose header counts"},
        {"source: http, listen: ':80', class: {header: X, from: [10.0.0.0/8, ten]}",
         "weir.yaml:4:76: error: 'from': expected a network"},
        {"source: http, listen: ':80', class: {script: no.lua}",
         "weir.yaml:4:54: error: 'script': /nowhere/no.lua: No such file"},
        {"source: http, listen: ':80', deadline_header: 'a b'",
         "weir.yaml:4:55: error: 'deadline_header': 'a b' is no header's name"},
        {"source: http, listen: ':80', on_reject: no.lua",
         "weir.yaml:4:49: error: 'script': /nowhere/no.lua: No such file"},
        {"source: http, listen: ':80', on_reject: {status: 700}",
         "weir.yaml:4:58: error: 'status': expected a whole number from 200 to 599"},
        {"source: http, listen: ':80', on_reject: {stauts: 503}",
         "weir.yaml:4:50: error: unknown key 'stauts' in 'on_reject' (did you mean 'status'?)"},
        {"source: http, listen: ':80', on_reject: {file: no.html}",
         "weir.yaml:4:56: error: 'file': /nowhere/no.html: No such file"},
        {"source: http, listen: ':80', on_reject: {headers: {Connection: close}}",
         "weir.yaml:4:60: error: 'headers': header 'Connection': it is set by the host"},
        {"source: http, listen: ':80', on_reject: {headers: {'a b': x}}",
         "weir.yaml:4:60: error: 'headers': header 'a b': the name is not one"},
        {"source: http, listen: ':80', on_reject: {headers: [x]}",
         "weir.yaml:4:59: error: 'headers': expected a map of names to values, found a list"},
        {"source: http, listen: ':80', on_reject: {headers: {x: [1]}}",
         "weir.yaml:4:63: error: 'headers': expected the value of 'x', found a list"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct weir_strbuf report = WEIR_STRBUF_INIT;
        struct weir_app *app = parse(mistakes[i].web, &report);
        if (report.data == NULL || strncmp(report.data, mistakes[i].line, strlen(mistakes[i].line)) != 0)
            fail_msg("%s\nsaid: %sexpected: %s", mistakes[i].web, report.data, mistakes[i].line);
        weir_strbuf_fini(&report);
        weir_app_free(app);
    }
}

static void without_memory_nothing_is_left(void **state)
{
    struct weir_app *app;
    struct weir_err err;
    (void)state;
    weir_class_rule_close(
        open_rule("source: http, listen: ':80', on_reject: {body: no, headers: {X-A: b}, retry_after: 1ms}, "
                  "class: {header: X, from: 10.0.0.0/8, address: {'::/0': gold}}",
                  &app));
    const struct weir_conf *options = app->stages[0].options;
    long before = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_class_rule *k = NULL;
        weir_mem_fail_after(n);
        rc = weir_class_rule_open(options, &k, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && k == NULL));
        weir_class_rule_close(k);
        assert_int_equal(weir_mem_live(), before);
    }
    rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_http_page *p = NULL;
        weir_mem_fail_after(n);
        rc = weir_http_page_open(options, &p, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && p == NULL));
        weir_http_page_close(p);
        assert_int_equal(weir_mem_live(), before);
    }
    weir_app_free(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_narrowest_network_counts),
        cmocka_unit_test(a_header_counts_from_those_who_are_trusted),
        cmocka_unit_test(a_word_is_a_class_of_the_stage),
        cmocka_unit_test(mistakes_are_told_with_their_places),
        cmocka_unit_test(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
