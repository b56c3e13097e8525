#include "base/number.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static const char *float_text(double d)
{
    static char text[WEIR_NUMBER_MAX + 1];
    size_t n = weir_number_put_float(text, d);
    assert_true(n <= WEIR_NUMBER_MAX);
    text[n] = '\0';
    return text;
}

static void integers_are_exact(void **state)
{
    (void)state;
    static const struct {
        int64_t number;
        const char *text;
    } rows[] = {{0, "0"}, {-1, "-1"}, {10, "10"}, {INT64_MAX, "9223372036854775807"}, {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[WEIR_NUMBER_MAX];
        assert_int_equal(weir_number_put_int(text, rows[i].number), strlen(rows[i].text));
        assert_memory_equal(text, rows[i].text, strlen(rows[i].text));
    }
}

static void floats_have_their_shortest_text(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } rows[] = {{0.0, "0.0"},       {-0.0, "-0.0"},     {1.0, "1.0"},
                {-12.75, "-12.75"}, {0.1, "0.1"},       {0.0001, "0.0001"},
                {778.982, "778.982"}, {0.3, "0.3"},     {123456789012345.0, "123456789012345.0"},
                {1e15, "1e+15"},    {0.00001, "1e-05"}, {1.0 / 3.0, "0.3333333333333333"},
                {0.1 + 0.2, "0.30000000000000004"},     {1e300, "1e+300"},
                {99999999999999.9, "99999999999999.9"}, {1e22, "1e+22"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(float_text(rows[i].number), rows[i].text);
}

static void check_float(double d)
{
    const char *text = float_text(d);
    if (strtod(text, NULL) != d)
        fail_msg("%.17g became %s", d, text);
    if (strpbrk(text, ".e") == NULL)
        fail_msg("%.17g became %s, which reads as an integer", d, text);
}

static void every_float_reads_back_the_same(void **state)
{
    (void)state;
    static const double edges[] = {DBL_MAX, DBL_MIN, DBL_EPSILON, DBL_TRUE_MIN, 9007199254740993.0, 999999999999999.9, 1e15 - 0.125};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        check_float(edges[i]);
        check_float(-edges[i]);
    }
    uint64_t random = 88172645463325252ULL; /* xorshift64, https://www.jstatsoft.org/article/view/v008i14 */
    for (int i = 0; i < 200000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        double d;
        memcpy(&d, &random, sizeof d);
        if (isfinite(d))
            check_float(d);
        check_float((double)(random % 1000000000000ULL) / pow(10.0, (double)(random >> 60))); /* as people write them */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(floats_have_their_shortest_text),
        cmocka_unit_test(every_float_reads_back_the_same),
    };
    return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
