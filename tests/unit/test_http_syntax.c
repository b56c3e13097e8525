#include "test.h"

#include <string.h>

#include "io/http_syntax.h"

static struct weir_http_text text(const char *s)
{
    return (struct weir_http_text){s, strlen(s)};
}

static void tokens_are_told_from_other_text(void **state)
{
    (void)state;
    assert_true(weir_http_is_token("a-B_9!#$%&'*+.^`|~", 18));
    static const char *const bad[] = {"", " ", "a b", "a:", "(a)", "a\"", "a/b", "a\x80", "[", "a=b", "a\t"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(weir_http_is_token(bad[i], strlen(bad[i])));
    assert_false(weir_http_is_token("a\0b", 3));
}

static void values_hold_no_control_characters_but_the_tab(void **state)
{
    (void)state;
    assert_true(weir_http_is_value("", 0));
    assert_true(weir_http_is_value("a\t b \xff", 6));
    assert_false(weir_http_is_value("a\r", 2));
    assert_false(weir_http_is_value("a\n", 2));
    assert_false(weir_http_is_value("\0", 1));
    assert_false(weir_http_is_value("\x7f", 1));
    assert_false(weir_http_is_value("\x1b[0m", 4));
}

static void hosts_have_a_name_and_maybe_a_port(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a",     "a:",           "a:80", "A.b-c_d~", "127.0.0.1:65535", "[::1]", "[::ffff:192.0.2.1]:1",
        "a%20b", "xn--bcher-kva"};
    static const char *const bad[] = {
        ":80",     "a:65536", "a:123456",         "a:-1", "a:8x",    "a b", "a@b", "a/b", "a?b", "[]", "[::1",
        "[::1]80", "[x]",     "[fe80::1%25eth0]", "a\"b", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(weir_http_is_host(text(good[i]), false));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(weir_http_is_host(text(bad[i]), true));
    assert_true(weir_http_is_host(text(""), true));
    assert_false(weir_http_is_host(text(""), false));
}

static void lists_are_walked_item_by_item(void **state)
{
    (void)state;
    struct weir_http_text list = text(" a ,, b\t,c"), item;
    static const char *const items[] = {"a", "", "b", "c"};
    for (size_t i = 0; i < 4; i++) {
        assert_true(weir_http_list_next(&list, &item));
        assert_true(item.len == strlen(items[i]) && memcmp(item.data, items[i], item.len) == 0);
    }
    assert_false(weir_http_list_next(&list, &item));
    assert_true(weir_http_list_has(text("x, CLOSE"), "close"));
    assert_false(weir_http_list_has(text("x, closed"), "close"));
}

static void only_exactly_chunked_is_taken(void **state)
{
    (void)state;
    assert_int_equal(weir_http_check_transfer(text("Chunked")), 0);
    assert_int_equal(weir_http_check_transfer(text("gzip")), 501);
    assert_int_equal(weir_http_check_transfer(text("gzip, chunked")), 501);
    assert_int_equal(weir_http_check_transfer(text("chunked, gzip")), 400);
    assert_int_equal(weir_http_check_transfer(text("chunked, chunked")), 400);
    assert_int_equal(weir_http_check_transfer(text("chunked;q=1")), 400);
    assert_int_equal(weir_http_check_transfer(text("")), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tokens_are_told_from_other_text),    TEST(values_hold_no_control_characters_but_the_tab),
        TEST(hosts_have_a_name_and_maybe_a_port), TEST(lists_are_walked_item_by_item),
        TEST(only_exactly_chunked_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
