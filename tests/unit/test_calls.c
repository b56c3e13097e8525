#include "lua/calls.h"

#include <stdio.h>
#include <string.h>

#include "test.h"

static void note(void *arg, const char *port, size_t len, int line)
{
    char *out = arg;
    size_t at = strlen(out);
    snprintf(out + at, 200 - at, "%.*s:%d ", (int)len, port, line);
}

static void expect(const char *text, const char *calls)
{
    char got[200] = "";
    weir_lua_find_calls(text, strlen(text), note, got);
    assert_string_equal(got, calls);
}

static void calls_are_found_with_their_lines(void **state)
{
    (void)state;
    expect("local a = weir.call(\"price\", 1)\nreturn weir . call ( 'stock' )", "price:1 stock:2 ");
    expect("weir.call\n--[[ one\nand two ]] 'p' weir.call(\"q\",\n weir.call('r', 2))", "p:3 q:3 r:4 ");
    expect("weir.call('a', weir.emit('b'), weir.call 'c')", "a:1 c:1 ");
}

static void what_only_looks_like_one_is_none(void **state)
{
    (void)state;
    expect("-- weir.call('a')\n--[==[ weir.call('b') ]] ]==] weir.call('c')", "c:2 ");
    expect("x = \"weir.call('a')\" y = 'it\\'s weir.call(\"b\")' z = [[weir.call('c')]]", "");
    expect("weir.calls('a') myweir.call('b') weir.call(name, 'c') weir.call('d' .. x) weir.call('\\101') "
           "weir.call([[e]])",
           "");
    expect("weir.weir.call('a') weir:call('b')", "a:1 "); /* nobody has a table in it */
}

static void what_ends_in_the_middle_is_read_to_its_end(void **state)
{
    (void)state;
    static const char text[] = "--[==[ a ]==] x = [=[ b ]=] weir.call(\"c\\\\\", [[d]]) -- e";
    char got[200];
    for (size_t len = 0; len < sizeof text; len++) {
        got[0] = '\0';
        char part[sizeof text]; /* so that a sanitizer sees a byte too far */
        memcpy(part, text, len);
        memset(part + len, ']', sizeof part - len);
        weir_lua_find_calls(part, len, note, got);
        assert_string_equal(got, "");
    }
    expect("weir.call('a", "");
    expect("weir.call(", "");
    expect("weir", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_are_found_with_their_lines),
        TEST(what_only_looks_like_one_is_none),
        TEST(what_ends_in_the_middle_is_read_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
