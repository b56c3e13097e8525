/* Whether values are the same: types, numbers, tables in any order. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "core/value_equal.h"

static struct weir_value whole(int64_t i)
{
    return (struct weir_value){.kind = WEIR_VALUE_INT, .integer = i};
}

static struct weir_value real(double d)
{
    return (struct weir_value){.kind = WEIR_VALUE_FLOAT, .number = d};
}

static struct weir_value bytes_of(const char *data, size_t len)
{
    struct weir_blob *blob = weir_blob_create(len);
    assert_non_null(blob);
    memcpy(blob->data, data, len);
    return (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
}

static void equality_looks_into_tables(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t a_len, b_len;
        int equal;
    } rows[] = {
        {"\x92\x01\x02", "\x92\x01\x02", 3, 3, 1},
        {"\x92\x01\x02", "\x92\x02\x01", 3, 3, 0},
        {"\x80", "\x90", 1, 1, 0},
        {"\x82\x01\x02\x03\x04", "\x82\x03\x04\x01\x02", 5, 5, 1},
        {"\x82\x01\x02\x03\x04", "\x82\x03\x02\x01\x04", 5, 5, 0},
        {"\x81\x01\x82\xa1x\xc0\xa1y\xc3", "\x81\x01\x82\xa1y\xc3\xa1x\xc0", 9, 9, 1},
        {"\x91\x01", "\x91\xcb\x3f\xf0\0\0\0\0\0\0", 2, 10, 0},             /* 1 is not 1.0 */
        {"\x91\xca\x3f\x80\0\0", "\x91\xcb\x3f\xf0\0\0\0\0\0\0", 6, 10, 1}, /* both are 1.0 */
        {"\xa1x", "\xa1y", 2, 2, 0},
        {"\x81\x01\x02", "\x91\x01", 3, 2, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_value a = bytes_of(rows[i].a, rows[i].a_len), b = bytes_of(rows[i].b, rows[i].b_len);
        if (weir_value_equal(a, b) != rows[i].equal || weir_value_equal(b, a) != rows[i].equal)
            fail_msg("row %zu", i);
        weir_value_unref(a);
        weir_value_unref(b);
    }
    assert_int_equal(weir_value_equal(real(NAN), real(NAN)), 1);
    assert_int_equal(weir_value_equal(whole(1), real(1)), 0);
    assert_int_equal(weir_value_equal(whole(1), whole(1)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(equality_looks_into_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
