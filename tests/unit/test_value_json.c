#include "core/value_json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "test.h"

static void check_bytes(const void *bytes, size_t len, const char *expected)
{
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    unsigned char *copy = weir_malloc(len + 1); /* of its exact size, for AddressSanitizer */
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    weir_strbuf_adds(&b, "<");
    weir_value_json_bytes(copy, len, &b);
    assert_false(b.failed);
    assert_string_equal(b.data + 1, expected);
    weir_strbuf_fini(&b);
    weir_free(copy);
}

#define CHECK(bytes, expected) check_bytes(bytes, sizeof(bytes) - 1, expected)

static void integers_are_exact(void **state)
{
    (void)state;
    CHECK("\x00", "0");
    CHECK("\x7f", "127");
    CHECK("\xff", "-1");
    CHECK("\xe0", "-32");
    CHECK("\xcc\xff", "255");
    CHECK("\xcd\x01\x00", "256");
    CHECK("\xce\xff\xff\xff\xff", "4294967295");
    CHECK("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615");
    CHECK("\xd0\x80", "-128");
    CHECK("\xd1\x80\x00", "-32768");
    CHECK("\xd2\x80\x00\x00\x00", "-2147483648");
    CHECK("\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808");
    CHECK("\xd3\x00\x20\x00\x00\x00\x00\x00\x01", "9007199254740993"); /* 2^53 + 1: no double has it */
}

static void print_float(double d, char *out, size_t size)
{
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    weir_value_json((struct weir_value){.kind = WEIR_VALUE_FLOAT, .number = d}, &b);
    snprintf(out, size, "%s", b.data);
    weir_strbuf_fini(&b);
}

static void floats_are_the_shortest_text_that_comes_back(void **state)
{
    (void)state;
    static const struct {
        double d;
        const char *text;
    } known[] = {
        {0.1, "0.1"},
        {1.0, "1.0"},
        {-0.0, "-0.0"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1e100, "1e+100"},
        {123456789.0, "123456789.0"},
        {5e-324, "4.94065645841247e-324"},
        {NAN, "null"},
        {INFINITY, "null"},
        {2.5, "2.5"},
    };
    char text[64];
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        print_float(known[i].d, text, sizeof text);
        assert_string_equal(text, known[i].text);
    }
    uint64_t x = 88172645463325252ULL;
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        double d;
        memcpy(&d, &x, sizeof d);
        if (!isfinite(d))
            continue;
        print_float(d, text, sizeof text);
        assert_true(strtod(text, NULL) == d);
        assert_non_null(strpbrk(text, ".e"));
    }
    CHECK("\xca\x3f\x00\x00\x00", "0.5");
    CHECK("\xcb\xbf\xe0\x00\x00\x00\x00\x00\x00", "-0.5");
}

static void text_is_valid_and_one_line_whatever_is_in_it(void **state)
{
    (void)state;
    CHECK("\xa0", "\"\"");
    CHECK("\xa5"
          "a\n\"\\b",
          "\"a\\n\\\"\\\\b\"");
    CHECK("\xa4\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"");
    CHECK("\xa3"
          "a\xff"
          "b",
          "\"a\xef\xbf\xbd"
          "b\"");
    CHECK("\xa3\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* a surrogate */
    CHECK("\xa2\x00\x1f", "\"\\u0000\\u001f\"");
    CHECK("\xd9\x01x", "\"x\"");
    CHECK("\xda\x00\x01x", "\"x\"");
    CHECK("\xdb\x00\x00\x00\x01x", "\"x\"");
    CHECK("\xc4\x02\xff!", "\"\xef\xbf\xbd!\"");
}

static void tables_and_what_is_in_them(void **state)
{
    (void)state;
    CHECK("\x90", "[]");
    CHECK("\x80", "{}");
    CHECK("\x94\xc0\xc2\xc3\x01", "[null,false,true,1]");
    CHECK("\xdc\x00\x02\x01\x02", "[1,2]");
    CHECK("\xdd\x00\x00\x00\x01\x90", "[[]]");
    CHECK("\x82\xa1"
          "a\x01\xa1"
          "b\x91\x80",
          "{\"a\":1,\"b\":[{}]}");
    CHECK("\xde\x00\x01\xa1k\xc0", "{\"k\":null}");
    CHECK("\xdf\x00\x00\x00\x01\xa1k\xc0", "{\"k\":null}");
    CHECK("\x83\x01\xc0\xc3\xc0\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00\xc0",
          "{\"1\":null,\"true\":null,\"0.5\":null}");
    CHECK("\x91\xd4\x01\x00", "[\"<request>\"]");
    CHECK("\x91\xc7\x00\x01", "[\"<request>\"]");
}

static void what_is_malformed_is_null_as_a_whole(void **state)
{
    (void)state;
    CHECK("", "null");
    CHECK("\xc1", "null");
    CHECK("\x92\x01", "null"); /* a member is missing */
    CHECK("\x01\x02", "null"); /* something follows */
    CHECK("\xa5xy", "null");   /* cut in a string */
    CHECK("\xcf\x01", "null"); /* cut in a number */
    CHECK("\xdf\xff\xff\xff\xff", "null");
    CHECK("\xdb\xff\xff\xff\xff", "null");
    CHECK("\xc9\xff\xff\xff\xff\x01", "null");
    char deep[100];
    memset(deep, '\x91', sizeof deep);
    check_bytes(deep, sizeof deep, "null");
}

static void strings_are_told_from_all_else(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *text; /* NULL: it is no string */
    } known[] = {
        {"\xa2hi", 3, "hi"},           {"\xd9\x02hi", 4, "hi"}, {"\xda\x00\x02hi", 5, "hi"},
        {"\xdb\0\0\0\x02hi", 7, "hi"}, {"\xc4\x02hi", 4, "hi"}, {"\xa3hi", 3, NULL},
        {"\x91\x01", 2, NULL},         {"\xa0", 1, ""},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct weir_value v = {.kind = WEIR_VALUE_BYTES, .blob = weir_blob_create(known[i].len)};
        const char *s = NULL;
        size_t len = 0;
        memcpy(v.blob->data, known[i].bytes, known[i].len);
        assert_int_equal(weir_value_string(v, &s, &len), known[i].text != NULL);
        if (known[i].text != NULL)
            assert_true(len == strlen(known[i].text) && memcmp(s, known[i].text, len) == 0);
        weir_value_unref(v);
    }
    const char *s;
    size_t len;
    assert_false(weir_value_string((struct weir_value){.kind = WEIR_VALUE_INT, .integer = 1}, &s, &len));
}

static void no_memory_shows_in_the_buffer_only(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    static const char bytes[] = "\x82\xa1"
                                "a\x01\x02\xa1"
                                "b";
    for (long n = 0;; n++) {
        struct weir_strbuf b = WEIR_STRBUF_INIT;
        weir_mem_fail_after(n);
        weir_value_json_bytes((const unsigned char *)bytes, sizeof bytes - 1, &b);
        weir_mem_fail_after(-1);
        bool done = !b.failed;
        if (done)
            assert_string_equal(b.data, "{\"a\":1,\"2\":\"b\"}");
        weir_strbuf_fini(&b);
        assert_int_equal(weir_mem_live(), 0);
        if (done)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(integers_are_exact),
        TEST(floats_are_the_shortest_text_that_comes_back),
        TEST(text_is_valid_and_one_line_whatever_is_in_it),
        TEST(tables_and_what_is_in_them),
        TEST(what_is_malformed_is_null_as_a_whole),
        TEST(strings_are_told_from_all_else),
        TEST(no_memory_shows_in_the_buffer_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
