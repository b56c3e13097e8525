#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

static char text[8192];
static int real_stderr;
static int ends[2];

static int catch_stderr(void **state)
{
    (void)state;
    fflush(stderr);
    real_stderr = dup(STDERR_FILENO);
    return pipe(ends) < 0 || dup2(ends[1], STDERR_FILENO) < 0 ? -1 : 0;
}

/* What went to stderr since catch_stderr; stderr is the real one again. */
static void release_stderr(void)
{
    fflush(stderr);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    text[n < 0 ? 0 : n] = '\0';
}

static void levels_have_names(void **state)
{
    (void)state;
    release_stderr();
    assert_int_equal(weir_log_level_named("debug"), WEIR_LOG_DEBUG);
    assert_int_equal(weir_log_level_named("error"), WEIR_LOG_ERROR);
    assert_int_equal(weir_log_level_named("loud"), -1);
}

static void text_lines_say_when_who_and_what(void **state)
{
    (void)state;
    int rc = weir_log_start(WEIR_LOG_INFO, false, NULL);
    weir_log(WEIR_LOG_DEBUG, "stage a", NULL, "hidden");
    weir_log(WEIR_LOG_WARN, "stage page", "{\"n\":1}", "slow: %d ms", 12);
    weir_log_stop();
    release_stderr();
    assert_int_equal(rc, WEIR_OK);
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "Z warn  stage page: slow: 12 ms {\"n\":1}\n"));
    int year, month;
    assert_int_equal(sscanf(text, "%4d-%2d-", &year, &month), 2);
    assert_true(year > 2000);
}

static void no_text_can_look_like_an_entry_of_its_own(void **state)
{
    (void)state;
    weir_log(WEIR_LOG_WARN, "stage page", NULL, "a\n2026-01-01T00:00:00.000Z error host: b\x1b[2J");
    release_stderr();
    assert_non_null(strstr(text, "page: a\n    2026-01-01T00:00:00.000Z error host: b\\x1b[2J\n"));
}

static void json_lines_are_json(void **state)
{
    (void)state;
    weir_log_start(WEIR_LOG_DEBUG, true, NULL);
    weir_log(WEIR_LOG_ERROR, "pool \"x\"", "{\"k\":[1]}", "line\nbreak");
    weir_log(WEIR_LOG_DEBUG, "", NULL, "%s", "");
    weir_log_stop();
    release_stderr();
    const char *expected = "\",\"level\":\"error\",\"where\":\"pool "
                           "\\\"x\\\"\",\"message\":\"line\\nbreak\",\"fields\":{\"k\":[1]}}\n";
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "\"level\":\"debug\",\"where\":\"\",\"message\":\"\"}\n"));
}

static void before_start_lines_go_out_at_once(void **state)
{
    (void)state;
    weir_log(WEIR_LOG_ERROR, "weir", NULL, "early");
    release_stderr();
    assert_non_null(strstr(text, "error weir: early\n"));
}

static void without_memory_there_is_no_line_and_no_harm(void **state)
{
    (void)state;
    weir_mem_fail_after(0);
    weir_log(WEIR_LOG_ERROR, "weir", NULL, "lost");
    weir_mem_fail_after(-1);
    release_stderr();
#ifdef WEIR_TESTING
    assert_string_equal(text, "");
#endif
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, catch_stderr, test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(levels_have_names),
        LOG_TEST(before_start_lines_go_out_at_once), /* before any start */
        LOG_TEST(text_lines_say_when_who_and_what),
        LOG_TEST(no_text_can_look_like_an_entry_of_its_own),
        LOG_TEST(json_lines_are_json),
        LOG_TEST(without_memory_there_is_no_line_and_no_harm),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
