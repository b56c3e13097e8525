#include "base/err.h"

#include <string.h>

#include "test.h"

static void set_fills_code_and_text_and_returns_the_code(void **state)
{
    (void)state;
    struct weir_err err;
    assert_int_equal(weir_err_set(&err, WEIR_E_CONFIG, "weir.yaml:%d: %s", 3, "no such stage"),
                     WEIR_E_CONFIG);
    assert_int_equal(err.code, WEIR_E_CONFIG);
    assert_string_equal(err.text, "weir.yaml:3: no such stage");
}

static void set_takes_no_err(void **state)
{
    (void)state;
    assert_int_equal(weir_err_set(NULL, WEIR_E_IO, "lost"), WEIR_E_IO);
}

static void a_long_text_is_cut(void **state)
{
    (void)state;
    struct weir_err err;
    char longer[2 * WEIR_ERR_TEXT];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    weir_err_set(&err, WEIR_E_SCRIPT, "%s", longer);
    assert_int_equal(strlen(err.text), WEIR_ERR_TEXT - 1);
}

static void every_code_has_a_name_and_a_text(void **state)
{
    (void)state;
#define X(name, text)                                                                                        \
    assert_true(WEIR_E_##name < 0);                                                                          \
    assert_string_equal(weir_err_name(WEIR_E_##name), #name);                                                \
    assert_string_equal(weir_err_text(WEIR_E_##name), text);
    WEIR_ERR_MAP(X)
#undef X
    assert_string_equal(weir_err_name(WEIR_OK), "OK");
    assert_string_equal(weir_err_text(WEIR_OK), "done");
    assert_string_equal(weir_err_name(-999), "UNKNOWN");
    assert_string_equal(weir_err_text(7), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(set_fills_code_and_text_and_returns_the_code),
        TEST(set_takes_no_err),
        TEST(a_long_text_is_cut),
        TEST(every_code_has_a_name_and_a_text),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
