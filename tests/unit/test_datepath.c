#include "io/datepath.h"

#include <string.h>

#include "base/clock.h"
#include "test.h"

static const uint64_t when = 1709251199ULL * WEIR_NS_PER_S; /* 2024-02-29 23:59:59 */

static void dates_are_put_in(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool varies;
    } known[] = {
        {"log/a.txt", "log/a.txt", false},
        {"log/%Y-%m-%d.txt", "log/2024-02-29.txt", true},
        {"%F/%H%M%S", "2024-02-29/235959", true},
        {"%j", "060", true},
        {"100%%", "100%", false},
        {"%%Y", "%Y", false},
        {"%%%Y", "%2024", true},
    };
    char path[64];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(weir_datepath_check(known[i].pattern, NULL), WEIR_OK);
        assert_int_equal(weir_datepath_expand(known[i].pattern, when, path, sizeof path), WEIR_OK);
        assert_string_equal(path, known[i].path);
        assert_int_equal(weir_datepath_varies(known[i].pattern), known[i].varies);
    }
}

static void what_is_no_date_is_refused_by_name(void **state)
{
    (void)state;
    struct weir_err err;
    assert_int_equal(weir_datepath_check("a/%q.log", &err), WEIR_E_CONFIG);
    assert_non_null(strstr(err.text, "'%q'"));
    assert_non_null(strstr(err.text, "a/%q.log"));
    assert_int_equal(weir_datepath_check("a%", &err), WEIR_E_CONFIG);
    assert_non_null(strstr(err.text, "'a%'"));
}

static void a_path_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    char path[5];
    assert_int_equal(weir_datepath_expand("%Y", when, path, sizeof path), WEIR_OK);
    assert_int_equal(weir_datepath_expand("%Yx", when, path, sizeof path), WEIR_E_LIMIT);
    assert_int_equal(weir_datepath_expand("abcde", when, path, sizeof path), WEIR_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dates_are_put_in),
        TEST(what_is_no_date_is_refused_by_name),
        TEST(a_path_that_does_not_fit_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
