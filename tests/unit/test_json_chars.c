#include "base/json_chars.h"

#include <stdlib.h>

#include "test.h"

static size_t plain_byte_by_byte(const unsigned char *s, size_t len)
{
    size_t n = 0;
    while (n < len && s[n] >= 0x20 && s[n] < 0x80 && s[n] != '"' && s[n] != '\\')
        n++;
    return n;
}

static void every_byte_stops_where_it_should(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 20; len++) {
        unsigned char *s = malloc(len > 0 ? len : 1); /* of its very size, for AddressSanitizer */
        assert_non_null(s);
        for (size_t place = 0; place < len; place++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(s, 'a', len);
                s[place] = (unsigned char)c;
                assert_int_equal(weir_json_chars_plain(s, len), plain_byte_by_byte(s, len));
            }
        }
        free(s);
    }
}

static void neighbours_do_not_matter(void **state)
{
    (void)state;
    unsigned char s[9];
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            memset(s, '~', sizeof s);
            s[3] = (unsigned char)a;
            s[4] = (unsigned char)b;
            assert_int_equal(weir_json_chars_plain(s, sizeof s), plain_byte_by_byte(s, sizeof s));
        }
    }
}

static void characters_are_those_of_rfc_3629(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t expected;
    } rows[] = {{"a", 1},        {"\xc2\x80", 2},     {"\xc1\xbf", 0},         {"\xe0\xa0\x80", 3},     {"\xe0\x9f\xbf", 0},
                {"\xed\x9f\xbf", 3}, {"\xed\xa0\x80", 0}, {"\xf0\x90\x80\x80", 4}, {"\xf0\x8f\xbf\xbf", 0}, {"\xf4\x8f\xbf\xbf", 4},
                {"\xf4\x90\x80\x80", 0}, {"\xf5\x80\x80\x80", 0}, {"\x80", 0},     {"\xff", 0},             {"\xe2\x82", 0},
                {"\xe2\x82" "a", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(weir_json_chars_utf8((const unsigned char *)rows[i].bytes, strlen(rows[i].bytes)), rows[i].expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_stops_where_it_should),
        cmocka_unit_test(neighbours_do_not_matter),
        cmocka_unit_test(characters_are_those_of_rfc_3629),
    };
    return cmocka_run_group_tests_name("json_chars", tests, NULL, NULL);
}
