#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/access_log.h"

#define T(literal)                                                                                           \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

static const struct weir_http_header headers[] = {
    {T("user-agent"), T("a\"b\\c\x1b[0m")},
    {T("referer"), T("http://r/")},
};

static const struct weir_http_request request = {
    .method = T("GET"),
    .target = T("/x?y"),
    .remote = T("192.0.2.1"),
    .version_minor = 1,
    .headers = headers,
    .header_count = 2,
    .id = 7,
};

#define WALL (784111777 * WEIR_NS_PER_S + 1234000)

static void check(enum weir_access_format format, const struct weir_http_request *r, int status,
                  const char *expected)
{
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    weir_access_log_print(format, r, status, 42, 1500000, WALL, &out);
    assert_string_equal(out.data, expected);
    weir_strbuf_fini(&out);
}

static void combined_lines_are_escaped(void **state)
{
    (void)state;
    check(WEIR_ACCESS_COMBINED, &request, 200,
          "192.0.2.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /x?y HTTP/1.1\" 200 42 \"http://r/\" "
          "\"a\\x22b\\x5Cc\\x1B[0m\" 0.001500\n");
}

static void a_request_that_never_was_one_has_a_line_too(void **state)
{
    (void)state;
    static const struct weir_http_request nothing = {.remote = T("::1")};
    check(WEIR_ACCESS_COMBINED, &nothing, 400,
          "::1 - - [06/Nov/1994:08:49:37 +0000] \"-\" 400 42 \"-\" \"-\" 0.001500\n");
    check(WEIR_ACCESS_JSON, &nothing, 400,
          "{\"time\":\"1994-11-06T08:49:37.001234Z\",\"remote\":\"::1\",\"status\":400,\"bytes\":42,"
          "\"duration_us\":1500,\"queued_us\":0,\"id\":0}\n");
}

static void json_lines_are_objects(void **state)
{
    (void)state;
    check(WEIR_ACCESS_JSON, &request, 200,
          "{\"time\":\"1994-11-06T08:49:37.001234Z\",\"remote\":\"192.0.2.1\",\"method\":\"GET\",\"target\":"
          "\"/x?y\",\"version\":\"1.1\","
          "\"status\":200,\"bytes\":42,\"duration_us\":1500,\"queued_us\":0,\"id\":7,\"referer\":\"http://r/"
          "\",\"user_agent\":\"a\\\"b\\\\c\\u001b[0m\"}\n");
}

static void lines_go_to_the_file_and_to_a_new_one_after_rotation(void **state)
{
    (void)state;
    char folder[] = "/tmp/weir-log-XXXXXX", path[60], old[60], text[200];
    struct weir_access_log *log = NULL;
    struct weir_err err;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a", folder);
    snprintf(old, sizeof old, "%s/b", folder);
    assert_int_equal(weir_access_log_open(path, WEIR_ACCESS_JSON, &log, &err), WEIR_OK);
    assert_int_equal(rename(path, old), 0);
    weir_access_log_reopen(log);
    weir_access_log_write(log, &request, 201, 0, 0);
    weir_access_log_close(log);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    assert_non_null(strstr(text, "\"status\":201"));
    fclose(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(unlink(old), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(weir_access_log_open("/nonexistent/x", WEIR_ACCESS_JSON, &log, &err), WEIR_E_IO);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
}

static void opening_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    char folder[] = "/tmp/weir-log-XXXXXX", path[60];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a", folder);
    const char *const paths[] = {path, "stdout", "stderr"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int rc = WEIR_E_NOMEM;
        for (long n = 0; rc != WEIR_OK; n++) {
            struct weir_access_log *log = NULL;
            struct weir_err err;
            weir_mem_fail_after(n);
            rc = weir_access_log_open(paths[i], WEIR_ACCESS_JSON, &log, &err);
            weir_mem_fail_after(-1);
            assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && err.code == WEIR_E_NOMEM && log == NULL));
            assert_true(rc < 0 || n > 0);
            weir_access_log_close(log);
            assert_int_equal(weir_mem_live(), 0);
        }
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(combined_lines_are_escaped),
        TEST(a_request_that_never_was_one_has_a_line_too),
        TEST(json_lines_are_objects),
        TEST(lines_go_to_the_file_and_to_a_new_one_after_rotation),
        TEST(opening_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
