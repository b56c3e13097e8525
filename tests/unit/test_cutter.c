#include "test.h"

#include <string.h>

#include "io/cutter.h"

/* Cuts `data` given in pieces of `piece` bytes; appends each frame in brackets, '!' for one that is too long.
 */
static void cut_all(const struct weir_framing *f, const char *data, size_t len, size_t piece, char *out,
                    size_t room)
{
    struct weir_cutter c;
    size_t begin = 0, end = 0, at = 0;
    weir_cutter_init(&c, f);
    for (;;) {
        struct weir_cut_frame frame;
        size_t used;
        bool last = end == len;
        enum weir_cut cut = weir_cutter_next(&c, data + begin, end - begin, last, &used, &frame);
        assert_true(used <= end - begin);
        begin += used;
        if (cut == WEIR_CUT_FRAME) {
            assert_true(at + frame.len + 3 < room);
            out[at++] = '[';
            memcpy(out + at, frame.data, frame.len);
            at += frame.len;
            out[at++] = ']';
        } else if (cut == WEIR_CUT_OVERLONG) {
            out[at++] = '!';
        } else if (used == 0 || begin == end) {
            if (last)
                break;
            end = end + piece < len ? end + piece : len;
        }
    }
    out[at] = '\0';
}

static void expect(const struct weir_framing *f, const char *data, size_t len, const char *wanted)
{
    char out[512];
    for (size_t piece = 1; piece <= len; piece++) { /* however the bytes come */
        cut_all(f, data, len, piece, out, sizeof out);
        assert_string_equal(out, wanted);
    }
}

#define BYTES(s) s, sizeof(s) - 1

static void lines_end_at_the_delimiter_and_the_last_one_at_the_end(void **state)
{
    (void)state;
    struct weir_framing f = {.kind = WEIR_FRAMING_LINE, .max = 5, .delimiter = '\n'};
    expect(&f, BYTES("a\nbc\r\n\nlast"), "[a][bc][][last]");
    expect(&f, BYTES("a\r\n\r\n"), "[a][]");
    expect(&f, BYTES("12345\n12345\r\n"), "[12345][12345]");
    f.delimiter = ';';
    expect(&f, BYTES("a\r;b\n;c"), "[a\r][b\n][c]");
}

static void lines_that_are_too_long_are_passed_over_once(void **state)
{
    (void)state;
    struct weir_framing f = {.kind = WEIR_FRAMING_LINE, .max = 5, .delimiter = '\n'};
    expect(&f, BYTES("123456\nok\n"), "![ok]");
    expect(&f, BYTES("1234567890123\nok\n123456789"), "![ok]!");
    expect(&f, BYTES("ok\n1234567\r\n\n"), "[ok]![]");
}

static void lengths_say_how_much_follows(void **state)
{
    (void)state;
    struct weir_framing f = {.kind = WEIR_FRAMING_LENGTH, .max = 5, .header = 2, .offset = 0, .size = 2};
    expect(&f, BYTES("\0\2ab\0\0\0\5vwxyz"), "[ab][][vwxyz]");
    expect(&f, BYTES("\0\6abcdef\0\1x"), "![x]");
    expect(&f, BYTES("\0\1x\0\5ab"), "[x]!"); /* cut short by the end */
    expect(&f, BYTES("\0\1x\0"), "[x]!");
    f.little = true;
    expect(&f, BYTES("\2\0ab"), "[ab]");
    struct weir_framing whole = {.kind = WEIR_FRAMING_LENGTH, .max = 8, .header = 4, .offset = 2, .size = 1};
    expect(&whole, BYTES("hh\2tabHH\0T"), "[hh\2tab][HH"); /* its text ends at the NUL that it holds */
}

static void raw_is_what_came(void **state)
{
    (void)state;
    struct weir_framing f = {.kind = WEIR_FRAMING_RAW, .max = 4};
    char out[64];
    cut_all(&f, BYTES("abcdefghij"), 3, out, sizeof out);
    assert_string_equal(out, "[abc][def][ghi][j]");
    cut_all(&f, BYTES("abcdefghij"), 10, out, sizeof out);
    assert_string_equal(out, "[abcd][efgh][ij]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_end_at_the_delimiter_and_the_last_one_at_the_end),
        TEST(lines_that_are_too_long_are_passed_over_once),
        TEST(lengths_say_how_much_follows),
        TEST(raw_is_what_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
