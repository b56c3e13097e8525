#include "base/strbuf.h"

#include <string.h>

#include "test.h"

static void appends_of_all_kinds_add_up(void **state)
{
    (void)state;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    weir_strbuf_adds(&b, "ab");
    weir_strbuf_addc(&b, 'c');
    weir_strbuf_add(&b, "d\0e", 3);
    weir_strbuf_addf(&b, "%d", 42);
    weir_strbuf_add(&b, NULL, 0);
    assert_int_equal(b.len, 8);
    assert_memory_equal(b.data, "abcd\0e42", 9);
    weir_strbuf_fini(&b);
    assert_null(b.data);
}

static void it_grows_far_beyond_its_first_size(void **state)
{
    (void)state;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    for (int i = 0; i < 10000; i++)
        weir_strbuf_addf(&b, "%04d,", i);
    assert_int_equal(b.len, 50000);
    assert_memory_equal(b.data + 5 * 9999, "9999,", 6);
    weir_strbuf_fini(&b);
}

static void consume_removes_from_the_front(void **state)
{
    (void)state;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    weir_strbuf_consume(&b, 0);
    weir_strbuf_adds(&b, "header body");
    weir_strbuf_consume(&b, 7);
    assert_string_equal(b.data, "body");
    weir_strbuf_consume(&b, 4);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    weir_strbuf_fini(&b);
}

static void clear_empties_the_text_too(void **state)
{
    (void)state;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    weir_strbuf_adds(&b, "old");
    weir_strbuf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    weir_strbuf_fini(&b);
}

static void take_hands_the_memory_out(void **state)
{
    (void)state;
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    assert_null(weir_strbuf_take(&b));
    weir_strbuf_adds(&b, "mine");
    char *text = weir_strbuf_take(&b);
    assert_string_equal(text, "mine");
    assert_null(b.data);
    weir_free(text);
}

static void a_failed_append_sticks_until_clear(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    weir_strbuf_adds(&b, "kept");
    weir_mem_fail_after(0);
    char large[200] = {0};
    weir_strbuf_add(&b, large, sizeof large);
    weir_mem_fail_after(-1);
    assert_true(b.failed);
    weir_strbuf_adds(&b, "more");
    assert_int_equal(b.len, 4);
    assert_string_equal(b.data, "kept");
    assert_null(weir_strbuf_take(&b)); /* frees what there was */
    assert_false(b.failed);
}

static void assert_json(const char *bytes, size_t len, const char *expected)
{
    struct weir_strbuf b = WEIR_STRBUF_INIT;
    weir_strbuf_add_json(&b, bytes, len);
    assert_string_equal(b.data, expected);
    weir_strbuf_fini(&b);
}

static void json_escapes_what_it_must(void **state)
{
    (void)state;
    assert_json("", 0, "\"\"");
    assert_json("a\"\\\n\t\r\b\f", 8, "\"a\\\"\\\\\\n\\t\\r\\b\\f\"");
    assert_json("\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\"");
    assert_json("/é€😀", 10, "\"/é€😀\"");
}

static void json_replaces_bytes_that_are_no_utf8(void **state)
{
    (void)state;
#define R "\xef\xbf\xbd"
    assert_json("\xff", 1, "\"" R "\"");
    assert_json("a\x80z", 3, "\"a" R "z\"");
    assert_json("\xc0\xaf", 2, "\"" R R "\"");             /* overlong */
    assert_json("\xe0\x80\xaf", 3, "\"" R R R "\"");       /* overlong */
    assert_json("\xed\xa0\x80", 3, "\"" R R R "\"");       /* surrogate */
    assert_json("\xf4\x90\x80\x80", 4, "\"" R R R R "\""); /* above 10FFFF */
    assert_json("\xe2\x82", 2, "\"" R R "\"");             /* cut short */
#undef R
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(appends_of_all_kinds_add_up),    TEST(it_grows_far_beyond_its_first_size),
        TEST(consume_removes_from_the_front), TEST(clear_empties_the_text_too),
        TEST(take_hands_the_memory_out),      TEST(a_failed_append_sticks_until_clear),
        TEST(json_escapes_what_it_must),      TEST(json_replaces_bytes_that_are_no_utf8),
    };
    return cmocka_run_group_tests_name("strbuf", tests, NULL, NULL);
}
