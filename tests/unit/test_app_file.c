/* Applications from files and folders, and without memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "app_fixture.h"

/* --- Files --- */

static void load(struct fixture_result *r, const char *path)
{
    *r = (struct fixture_result){.report = WEIR_STRBUF_INIT};
    r->code = weir_app_load(path, NULL, 0, &fixture_types, &r->report, &r->app, &r->err);
    weir_strbuf_add(&r->report, "", 0);
}

static void load_fails(const char *name, int code, const char *text)
{
    struct fixture_result r;
    char path[256], expected[512];
    fixture_path(path, sizeof path, name);
    load(&r, path);
    assert_int_equal(r.code, code);
    snprintf(expected, sizeof expected, "%s: %s", path, text);
    assert_string_equal(r.err.text, expected);
    snprintf(expected, sizeof expected, "%s: error: %s\n", path, text);
    assert_string_equal(r.report.data, expected);
    fixture_done(&r);
}

static void files_and_folders_are_loaded(void **state)
{
    (void)state;
    struct fixture_result r;
    char path[256], expected[256];
    fixture_write("weir.yaml", fixture_minimal, sizeof fixture_minimal - 1);
    fixture_path(expected, sizeof expected, "weir.yaml");
    static const char *const names[] = {"", "/", "weir.yaml"};
    for (size_t i = 0; i < 3; i++) {
        fixture_path(path, sizeof path, names[i]);
        load(&r, path);
        assert_int_equal(r.code, WEIR_OK);
        assert_string_equal(r.app->file, expected);
        assert_string_equal(r.app->folder, fixture_folder);
        fixture_done(&r);
    }
    char before[256];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(fixture_folder), 0);
    load(&r, ".");
    assert_int_equal(r.code, WEIR_OK);
    assert_string_equal(r.app->file, "weir.yaml");
    assert_string_equal(r.app->folder, ".");
    assert_string_equal(r.app->name, strrchr(fixture_folder, '/') + 1);
    fixture_done(&r);
    assert_int_equal(chdir(before), 0);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    char path[256];
    load_fails("none.yaml", WEIR_E_NOTFOUND, "there is no such file");
    load_fails("a.lua/x.yaml", WEIR_E_NOTFOUND, "there is no such file");
    load_fails("sub", WEIR_E_NOTFOUND, "there is no weir.yaml in this folder");
    fixture_path(path, sizeof path, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    load_fails("fifo", WEIR_E_IO, "that is not a regular file");
    fixture_path(path, sizeof path, "sub/weir.yaml");
    assert_int_equal(mkdir(path, 0700), 0);
    struct fixture_result r;
    fixture_path(path, sizeof path, "sub");
    load(&r, path);
    assert_int_equal(r.code, WEIR_E_IO);
    assert_non_null(strstr(r.report.data, "sub/weir.yaml: error: that is a folder\n"));
    fixture_done(&r);
    fixture_write("secret.yaml", "x", 1);
    fixture_path(path, sizeof path, "secret.yaml");
    assert_int_equal(chmod(path, 0), 0);
    if (access(path, R_OK) < 0) /* root may read all */
        load_fails("secret.yaml", WEIR_E_IO, "Permission denied");
}

static void ten_megabytes_are_refused(void **state)
{
    (void)state;
    size_t len = 10 << 20;
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, '#', len);
    text[len] = '\0';
    fixture_write("large.yaml", text, len);
    load_fails("large.yaml", WEIR_E_CONFIG, "the file has 10485760 bytes, and may have 1 MiB at most");
    struct fixture_result r;
    fixture_parse(&r, text, NULL, 0);
    assert_string_equal(r.report.data,
                        "weir.yaml: error: the file has 10485760 bytes, and may have 1 MiB at most\n");
    fixture_done(&r);
    free(text);
}

/* --- Lack of memory --- */

static void parse_without_memory(const char *text, const struct weir_app_override *sets, size_t count,
                                 int code)
{
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc == WEIR_E_NOMEM; n++) {
        struct weir_app *app = NULL;
        struct weir_strbuf report = WEIR_STRBUF_INIT;
        struct weir_err err = {0, ""};
        weir_mem_fail_after(n);
        rc = weir_app_parse(text, strlen(text), "weir.yaml", fixture_folder, sets, count, &fixture_types,
                            &report, &app, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == code || rc == WEIR_E_NOMEM);
        assert_true((rc != WEIR_E_NOMEM) == (app != NULL)); /* with mistakes: as far as it goes */
        assert_true(rc == WEIR_OK || err.text[0] != '\0');
        weir_app_free(app);
        weir_strbuf_fini(&report);
        assert_int_equal(weir_mem_live(), 0);
    }
}

static void lack_of_memory_is_an_answer(void **state)
{
    (void)state;
    static const struct weir_app_override sets[] = {{"stages.page.batch", "8"},
                                                    {"stages.page.config.a.b", "[1]"}};
    parse_without_memory(fixture_shop, sets, 2, WEIR_OK);
    parse_without_memory(fixture_minimal, NULL, 0, WEIR_OK);
    parse_without_memory("weir: 1\nstages:\n  web: {source: http, listen: ':80', to: a}\n"
                         "  a: {handler: a.lua, to: a, queue: {overflow: wait}, colour: ${WEIR_T_NONE}}\n",
                         sets, 2, WEIR_E_CONFIG);
    parse_without_memory("weir: 1\nstages:\n  web: {source: http, listen: ':80', to: a}\n"
                         "  a: {handler: a.lua, to: a, queue: {overflow: wait}}\n",
                         NULL, 0, WEIR_E_CONFIG);
}

static void loading_without_memory_leaves_nothing(void **state)
{
    (void)state;
    fixture_write("weir.yaml", fixture_minimal, sizeof fixture_minimal - 1);
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_app *app = NULL;
        struct weir_strbuf report = WEIR_STRBUF_INIT;
        struct weir_err err = {0, ""};
        weir_mem_fail_after(n);
        rc = weir_app_load(fixture_folder, NULL, 0, &fixture_types, &report, &app, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && app == NULL));
        weir_app_free(app);
        weir_strbuf_fini(&report);
        assert_int_equal(weir_mem_live(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_and_folders_are_loaded),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(ten_megabytes_are_refused),
        cmocka_unit_test(lack_of_memory_is_an_answer),
        cmocka_unit_test(loading_without_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
