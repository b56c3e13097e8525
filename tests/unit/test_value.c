#include "core/value.h"

#include <math.h>
#include <string.h>

#include "test.h"

static struct weir_value bytes_value(const void *data, size_t len)
{
    struct weir_value v = {.kind = WEIR_VALUE_BYTES, .blob = weir_blob_create(len)};
    assert_non_null(v.blob);
    memcpy(v.blob->data, data, len);
    return v;
}

#define BYTES(literal) bytes_value(literal, sizeof(literal) - 1)

static void a_blob_lives_as_long_as_its_last_reference(void **state)
{
    (void)state;
    struct weir_value v = BYTES("\xa1x");
    struct weir_value w = weir_value_ref(v);
    assert_int_equal(weir_value_size(w), 2);
    weir_value_unref(v);
    assert_memory_equal(w.blob->data, "\xa1x", 2);
    weir_value_unref(w);
    weir_value_unref(WEIR_VALUE_NOTHING);
    assert_int_equal(weir_value_size(WEIR_VALUE_NOTHING), 0);
    assert_null(weir_blob_create((size_t)UINT32_MAX + 1));
}

static void check(const char *data, size_t len, bool good)
{
    unsigned char *copy =
        weir_malloc(len == 0 ? 1 : len); /* exactly as long: a read beyond it is seen by ASan */
    memcpy(copy, data, len);
    assert_int_equal(weir_value_check(copy, len), good);
    weir_free(copy);
}

#define GOOD(literal) check(literal, sizeof(literal) - 1, true)
#define BAD(literal)  check(literal, sizeof(literal) - 1, false)

static void well_formed_objects_pass(void **state)
{
    (void)state;
    GOOD("\xc0");
    GOOD("\xc2");
    GOOD("\x7f");
    GOOD("\xff");
    GOOD("\xcc\x80");
    GOOD("\xcf\x01\x02\x03\x04\x05\x06\x07\x08");
    GOOD("\xd3\xff\xff\xff\xff\xff\xff\xff\xff");
    GOOD("\xca\x3f\x80\x00\x00");
    GOOD("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00");
    GOOD("\xa3"
         "abc");
    GOOD("\xd9\x03"
         "abc");
    GOOD("\xda\x00\x03"
         "abc");
    GOOD("\xdb\x00\x00\x00\x03"
         "abc");
    GOOD("\xc4\x02\x00\xff");
    GOOD("\x90");
    GOOD("\x92\x01\x92\x02\x03");
    GOOD("\xdc\x00\x01\xc0");
    GOOD("\xdd\x00\x00\x00\x01\xc0");
    GOOD("\x82\xa1"
         "a\x01\xa1"
         "b\x80");
    GOOD("\xde\x00\x01\x01\x02");
    GOOD("\xdf\x00\x00\x00\x01\x01\x02");
    GOOD("\xd4\x01\x00");
    GOOD("\xd8\x05"
         "0123456789abcdef");
    GOOD("\xc7\x00\x01");
}

static void malformed_ones_do_not(void **state)
{
    (void)state;
    BAD("");
    BAD("\xc1");
    BAD("\xc0\xc0"); /* two objects */
    BAD("\xa3"
        "ab"); /* cut short */
    BAD("\xd9");
    BAD("\xda\x00");
    BAD("\xcd\x01");
    BAD("\xd6\x01\x00\x00\x00");
    BAD("\x92\x01");
    BAD("\x81\x01");
    BAD("\xc7\x00");
    BAD("\xdb\xff\xff\xff\xff"
        "abc");
    BAD("\xdd\xff\xff\xff\xff\xc0"); /* says 4 G members: no memory is set aside for them */
    BAD("\xdf\xff\xff\xff\xff\xc0");
    BAD("\xdd\xff\xff\xff\xff\xdd\xff\xff\xff\xff\xdd\xff\xff\xff\xff");
}

static void depth_has_a_limit(void **state)
{
    (void)state;
    unsigned char nested[64];
    for (size_t depth = 1; depth < sizeof nested; depth++) {
        memset(nested, 0x91, depth);
        nested[depth] = 0xc0;
        assert_int_equal(weir_value_check(nested, depth + 1), depth <= WEIR_VALUE_MAX_DEPTH);
        nested[depth - 1] = 0x90; /* an empty innermost table counts as well */
        assert_int_equal(weir_value_check(nested, depth), depth <= WEIR_VALUE_MAX_DEPTH);
    }
}

static void size_has_a_limit(void **state)
{
    (void)state;
    size_t len = WEIR_VALUE_MAX_BYTES + 1;
    unsigned char *data = weir_calloc(1, len);
    assert_non_null(data);
    const unsigned char head[5] = {0xdb, 0x00, 0xff, 0xff, 0xfb};
    memcpy(data, head, 5);
    assert_true(weir_value_check(data, len - 1));
    data[4]++;
    assert_false(weir_value_check(data, len));
    weir_free(data);
}

static uint64_t hash(struct weir_value v, const char *field)
{
    uint64_t h = weir_value_hash(v, field);
    weir_value_unref(v);
    return h;
}

static struct weir_value number(double d)
{
    return (struct weir_value){.kind = WEIR_VALUE_FLOAT, .number = d};
}

static struct weir_value integer(int64_t i)
{
    return (struct weir_value){.kind = WEIR_VALUE_INT, .integer = i};
}

static void equal_values_have_equal_hashes(void **state)
{
    (void)state;
    assert_int_equal(hash(integer(7), NULL), hash(BYTES("\x07"), NULL));
    assert_int_equal(hash(integer(7), NULL), hash(BYTES("\xcd\x00\x07"), NULL));
    assert_int_equal(hash(integer(-3), NULL), hash(BYTES("\xd0\xfd"), NULL));
    assert_int_equal(hash(integer(1), NULL), hash(number(1.0), NULL)); /* they are equal in Lua */
    assert_int_equal(hash(number(0.0), NULL), hash(number(-0.0), NULL));
    assert_int_equal(hash(number(0.5), NULL), hash(BYTES("\xca\x3f\x00\x00\x00"), NULL));
    assert_int_equal(hash(BYTES("\xa3"
                                "key"),
                          NULL),
                     hash(BYTES("\xd9\x03"
                                "key"),
                          NULL));
    assert_int_not_equal(hash(integer(1), NULL), hash(integer(2), NULL));
    assert_int_not_equal(hash(BYTES("\xa1"
                                    "a"),
                              NULL),
                         hash(BYTES("\xa1"
                                    "b"),
                              NULL));
    assert_int_not_equal(hash(number(INFINITY), NULL), 0);
}

static void a_field_of_a_map_is_hashed_as_its_value(void **state)
{
    (void)state;
#define MAP                                                                                                  \
    "\x83\xa4"                                                                                               \
    "user\xa2"                                                                                               \
    "al\xa1"                                                                                                 \
    "n\x05\xa1"                                                                                              \
    "t\x81\xa1"                                                                                              \
    "x\x01"
    assert_int_equal(hash(BYTES(MAP), "user"), hash(BYTES("\xa2"
                                                          "al"),
                                                    NULL));
    assert_int_equal(hash(BYTES(MAP), "n"), hash(integer(5), NULL));
    assert_int_equal(hash(BYTES(MAP), "t"), 0); /* a table is no key */
    assert_int_equal(hash(BYTES(MAP), "nobody"), 0);
    assert_int_equal(hash(BYTES("\x92\x01\x02"), "n"), 0);
    assert_int_equal(hash(integer(5), "n"), 0);
    assert_int_equal(hash(WEIR_VALUE_NOTHING, NULL), 0);
#undef MAP
}

static void keys_spread_over_partitions(void **state)
{
    (void)state;
    unsigned counts[64] = {0};
    for (int64_t i = 0; i < 6400; i++)
        counts[hash(integer(i), NULL) % 64]++;
    for (size_t i = 0; i < 64; i++)
        assert_in_range(counts[i], 50, 160);
}

static void prints(struct weir_value v, const char *expected)
{
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    weir_value_print(v, &b);
    assert_string_equal(b.data, expected);
    weir_strbuf_fini(&b);
    weir_value_unref(v);
}

static void values_print_as_json(void **state)
{
    (void)state;
    prints(WEIR_VALUE_NOTHING, "null");
    prints((struct weir_value){.kind = WEIR_VALUE_BOOL, .boolean = true}, "true");
    prints(integer(INT64_MIN), "-9223372036854775808");
    prints(number(0.5), "0.5");
    prints(number(NAN), "null");
    prints((struct weir_value){.kind = WEIR_VALUE_REQUEST}, "\"<request>\"");
    prints(BYTES("\x93\xc0\xc2\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "[null,false,18446744073709551615]");
    prints(BYTES("\x82\xa1"
                 "a\x92\x01\xff\x02\xa1"
                 "b"),
           "{\"a\":[1,-1],\"2\":\"b\"}");
    prints(BYTES("\x81\xa1\xff\xd4\x01\x00"), "{\"\xef\xbf\xbd\":\"<request>\"}");
    prints(BYTES("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"), "null");
    prints(BYTES("\xc1"), "null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_blob_lives_as_long_as_its_last_reference),
        TEST(well_formed_objects_pass),
        TEST(malformed_ones_do_not),
        TEST(depth_has_a_limit),
        TEST(size_has_a_limit),
        TEST(equal_values_have_equal_hashes),
        TEST(a_field_of_a_map_is_hashed_as_its_value),
        TEST(keys_spread_over_partitions),
        TEST(values_print_as_json),
    };
    return cmocka_run_group_tests_name("value", tests, NULL, NULL);
}
