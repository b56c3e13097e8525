/* YAML to a tree: types, positions, environment, and everything that is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/strbuf.h"
#include "config/conf.h"
#include "config/problems.h"
#include "config/yaml_doc.h"

/* A text being read, and all that came of it. */
struct reading {
    struct weir_arena arena;
    struct weir_sources sources;
    struct weir_problems problems;
    struct weir_strbuf report;
    const struct weir_conf *root;
};

static void read_bytes(struct reading *r, const char *text, size_t len)
{
    weir_arena_init(&r->arena);
    weir_strbuf_init(&r->report);
    r->sources = (struct weir_sources){.file = {"weir.yaml", text, len}};
    weir_problems_init(&r->problems, &r->arena, &r->sources);
    r->root = weir_yaml_parse(&r->arena, &r->sources.file, 0, &r->problems);
    weir_problems_print(&r->problems, &r->report);
    weir_strbuf_addc(&r->report, '\0');
}

static void read_text(struct reading *r, const char *text)
{
    read_bytes(r, text, strlen(text));
}

static void done(struct reading *r)
{
    weir_arena_fini(&r->arena);
    weir_strbuf_fini(&r->report);
    assert_int_equal(weir_mem_live(), 0);
}

/* Reads text that is fine. */
static const struct weir_conf *read_good(struct reading *r, const char *text)
{
    read_text(r, text);
    if (r->problems.errors != 0)
        fail_msg("%s\n%s", text, r->report.data);
    assert_non_null(r->root);
    return r->root;
}

static void assert_begins(const char *text, const char *beginning)
{
    if (strncmp(text, beginning, strlen(beginning)) != 0)
        assert_string_equal(text, beginning);
}

static void scalars_have_the_types_of_the_core_schema(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum weir_conf_kind kind;
        double number;
    } table[] = {
        {"null", WEIR_CONF_NIL, 0},
        {"~", WEIR_CONF_NIL, 0},
        {"", WEIR_CONF_NIL, 0},
        {"NULL", WEIR_CONF_NIL, 0},
        {"nUll", WEIR_CONF_STRING, 0},
        {"true", WEIR_CONF_BOOL, 1},
        {"False", WEIR_CONF_BOOL, 0},
        {"yes", WEIR_CONF_STRING, 0},
        {"on", WEIR_CONF_STRING, 0},
        {"no", WEIR_CONF_STRING, 0},
        {"0", WEIR_CONF_INT, 0},
        {"-17", WEIR_CONF_INT, -17},
        {"+3", WEIR_CONF_INT, 3},
        {"0x1F", WEIR_CONF_INT, 31},
        {"0o17", WEIR_CONF_INT, 15},
        {"010", WEIR_CONF_INT, 10},
        {"0x", WEIR_CONF_STRING, 0},
        {"0o8", WEIR_CONF_STRING, 0},
        {"1_000", WEIR_CONF_STRING, 0},
        {"1.5", WEIR_CONF_FLOAT, 1.5},
        {".5", WEIR_CONF_FLOAT, .5},
        {"1.", WEIR_CONF_FLOAT, 1},
        {"1e3", WEIR_CONF_FLOAT, 1000},
        {"-2.5E-1", WEIR_CONF_FLOAT, -.25},
        {"1e", WEIR_CONF_STRING, 0},
        {".", WEIR_CONF_STRING, 0},
        {"-", WEIR_CONF_STRING, 0},
        {"+", WEIR_CONF_STRING, 0},
        {"nan", WEIR_CONF_STRING, 0},
        {"inf", WEIR_CONF_STRING, 0},
        {"-.inf", WEIR_CONF_FLOAT, (double)-INFINITY},
        {".INF", WEIR_CONF_FLOAT, (double)INFINITY},
        {"0x1p3", WEIR_CONF_STRING, 0},
        {"1:30", WEIR_CONF_STRING, 0},
        {"2026-01-01", WEIR_CONF_STRING, 0},
        {"'1'", WEIR_CONF_STRING, 0},
        {"\"true\"", WEIR_CONF_STRING, 0},
        {"''", WEIR_CONF_STRING, 0},
        {"9223372036854775807", WEIR_CONF_INT, 9223372036854775807.0},
        {"|\n   12", WEIR_CONF_STRING, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[64];
        struct reading r;
        snprintf(text, sizeof text, strcmp(table[i].text, "-") == 0 ? "k: '%s'" : "k: %s", table[i].text);
        const struct weir_conf *c = weir_conf_get(read_good(&r, text), "k");
        if (weir_conf_kind(c) != table[i].kind)
            fail_msg("%s is %s", text, weir_conf_kind_text(c));
        if (table[i].kind == WEIR_CONF_BOOL)
            assert_int_equal(weir_conf_bool(c), table[i].number != 0);
        else
            assert_true(weir_conf_float(c) == table[i].number);
        done(&r);
    }
    struct reading r;
    assert_true(isnan(weir_conf_float(weir_conf_get(read_good(&r, "k: .nan"), "k"))));
    done(&r);
}

static void trees_keep_order_and_positions(void **state)
{
    (void)state;
    struct reading r;
    const struct weir_conf *root = read_good(&r, "b: 1\na: [x, {y: 2.5}]\nc:\n  d: \"ä\\0b\"\n  e:\n");
    assert_int_equal(weir_conf_kind(root), WEIR_CONF_MAP);
    assert_int_equal(weir_conf_size(root), 3);
    assert_string_equal(weir_conf_key(root, 0), "b");
    assert_string_equal(weir_conf_key(root, 1), "a");
    assert_null(weir_conf_key(root, 3));
    assert_null(weir_conf_at(root, 3));
    assert_null(weir_conf_get(root, "zz"));
    assert_int_equal(weir_conf_int(weir_conf_get(root, "b")), 1);
    const struct weir_conf *a = weir_conf_get(root, "a"), *y = weir_conf_get(weir_conf_at(a, 1), "y");
    assert_int_equal(weir_conf_size(a), 2);
    assert_null(weir_conf_key(a, 0));
    assert_string_equal(weir_conf_string(weir_conf_at(a, 0), NULL), "x");
    assert_true(weir_conf_float(y) == 2.5);
    assert_int_equal(weir_conf_mark(y).line, 2);
    assert_int_equal(weir_conf_mark(y).column, 12);
    assert_int_equal(weir_conf_key_mark(root, 1).line, 2);
    assert_int_equal(weir_conf_key_mark(root, 1).column, 1);
    size_t len = 0;
    const char *d = weir_conf_string(weir_conf_get(weir_conf_get(root, "c"), "d"), &len);
    assert_int_equal(len, 4);
    assert_memory_equal(d, "\xc3\xa4\0b", 5);
    assert_int_equal(weir_conf_kind(weir_conf_get(weir_conf_get(root, "c"), "e")), WEIR_CONF_NIL);
    assert_int_equal(weir_conf_kind(NULL), WEIR_CONF_NIL);
    assert_null(weir_conf_string(root, NULL));
    assert_null(weir_conf_get(a, "x"));
    done(&r);
}

static void the_environment_comes_before_the_type(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum weir_conf_kind kind;
        const char *value;
    } table[] = {
        {"${WEIR_T_PORT}", WEIR_CONF_INT, "8080"},
        {"'${WEIR_T_PORT}'", WEIR_CONF_STRING, "8080"},
        {"\":${WEIR_T_PORT}/${WEIR_T_PORT}\"", WEIR_CONF_STRING, ":8080/8080"},
        {"${WEIR_T_NONE:-9}", WEIR_CONF_INT, "9"},
        {"${WEIR_T_EMPTY:-9}", WEIR_CONF_INT, "9"},
        {"${WEIR_T_EMPTY}", WEIR_CONF_NIL, ""},
        {"${WEIR_T_NONE:-}", WEIR_CONF_NIL, ""},
        {"${WEIR_T_PORT:-9}", WEIR_CONF_INT, "8080"},
        {"${WEIR_T_NONE:-a:-b}", WEIR_CONF_STRING, "a:-b"},
        {"$${WEIR_T_PORT}", WEIR_CONF_STRING, "${WEIR_T_PORT}"},
        {"a$b $ {x} $", WEIR_CONF_STRING, "a$b $ {x} $"},
        {"${WEIR_T_PORT}$${x}${WEIR_T_PORT}", WEIR_CONF_STRING, "8080${x}8080"},
    };
    setenv("WEIR_T_PORT", "8080", 1);
    setenv("WEIR_T_EMPTY", "", 1);
    unsetenv("WEIR_T_NONE");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[96];
        struct reading r;
        snprintf(text, sizeof text, "k: %s\n", table[i].text);
        const struct weir_conf *c = weir_conf_get(read_good(&r, text), "k");
        assert_int_equal(weir_conf_kind(c), table[i].kind);
        assert_string_equal(weir_conf_text(c), table[i].value);
        done(&r);
    }
}

/* --- Refusals --- */

struct refusal {
    const char *text, *report;
};

static const struct refusal refusals[] = {
    {"a: 1\nb: 2\na: 3\n", "weir.yaml:3:1: error: the key 'a' is given twice: in line 1 and in line 3\n"
                           "        a: 3\n        ^\n"},
    {"k: {a: 1, a: 2}", "weir.yaml:1:11: error: the key 'a' is given twice in line 1\n"
                        "        k: {a: 1, a: 2}\n                  ^\n"},
    {"a: &x 1\n", "weir.yaml:1:4: error: anchors are not supported: write the value out where '*x' stands\n"
                  "        a: &x 1\n           ^\n"},
    {"b: *x\n", "weir.yaml:1:4: error: aliases are not supported: write out what '*x' stands for\n"
                "        b: *x\n           ^\n"},
    {"a: !foo 1\n",
     "weir.yaml:1:4: error: tags are not supported (found '!foo')\n        a: !foo 1\n           ^\n"},
    {"a:\n  <<: {b: 1}\n", "weir.yaml:2:3: error: merge keys ('<<') are not supported: write the values out\n"
                           "        <<: {b: 1}\n        ^\n"},
    {"a: 1\n---\nb: 1\n",
     "weir.yaml:2:1: error: a second document begins here; an application is one document\n"
     "        ---\n        ^\n"},
    {"404: x\n",
     "weir.yaml:1:1: error: a key must be a string: write \"404\" in quotes\n        404: x\n        ^\n"},
    {"true: x\n",
     "weir.yaml:1:1: error: a key must be a string: write \"true\" in quotes\n        true: x\n        ^\n"},
    {"? [a]\n: x\n",
     "weir.yaml:1:3: error: a key must be a string, not a list\n        ? [a]\n          ^\n"},
    {"? {a: b}\n: {c: d}\n",
     "weir.yaml:1:3: error: a key must be a string, not a map\n        ? {a: b}\n          ^\n"},
    {"\"a\\0b\": x\n", "weir.yaml:1:1: error: a key can't hold a NUL\n        \"a\\0b\": x\n        ^\n"},
    {"a:\n\tb: 1\n",
     "weir.yaml:2:1: error: this is not YAML: found character that cannot start any token, while scanning "
     "for the next token in line 2 (a tab: YAML is indented by spaces)\n         b: 1\n        ^\n"},
    {"a: @x\n",
     "weir.yaml:1:4: error: this is not YAML: found character that cannot start any token, while scanning "
     "for the "
     "next token in line 1 (quote a value that begins with @, ` or %)\n        a: @x\n           ^\n"},
    {"a: \"x\n", "weir.yaml:2:1: error: this is not YAML: found unexpected end of stream, while scanning a "
                 "quoted scalar in "
                 "line 1\n"},
    {"a: [1, 2\n", "weir.yaml:2:1: error: this is not YAML: did not find expected ',' or ']', while parsing "
                   "a flow sequence "
                   "in line 1\n"},
    {"a: b: c\n", "weir.yaml:1:5: error: this is not YAML: mapping values are not allowed in this context\n"
                  "        a: b: c\n            ^\n"},
    {"a: {b: ${X}}\n",
     "weir.yaml:1:9: error: this is not YAML: did not find expected ',' or '}', while parsing a flow "
     "mapping in line 1 (inside { } or [ ], quote a value that holds ${…})\n"
     "        a: {b: ${X}}\n                ^\n"},
    {"\xef\xbb\xbf"
     "a: 1\n",
     "weir.yaml:1:1: error: the file begins with a byte order mark; save it as UTF-8 without one\n"
     "        \xef\xbb\xbf"
     "a: 1\n        ^\n"},
    {"a: 1\nb: ä\x01\n",
     "weir.yaml:2:5: error: a control character (0x01) can't be in YAML\n        b: ä?\n            ^\n"},
    {"a: \xff\n", "weir.yaml:1:4: error: the byte 0xff is not valid UTF-8\n        a: ?\n           ^\n"},
    {"a: \xed\xa0\x80\n",
     "weir.yaml:1:4: error: the byte 0xed is not valid UTF-8\n        a: ???\n           ^\n"},
    {"a: \xc2\x9b\n",
     "weir.yaml:1:4: error: a control character (0x9b) can't be in YAML\n        a: ?\n           ^\n"},
    {"a: ${WEIR_T_NONE}\n",
     "weir.yaml:1:4: error: the environment variable 'WEIR_T_NONE' is not set "
     "(${WEIR_T_NONE:-default} gives it a default)\n        a: ${WEIR_T_NONE}\n           ^\n"},
    {"a: ${}\n",
     "weir.yaml:1:4: error: expected ${NAME} or ${NAME:-default}, found '${}' ($${ stands for a plain ${)\n"
     "        a: ${}\n           ^\n"},
    {"a: ${1x}\n",
     "weir.yaml:1:4: error: expected ${NAME} or ${NAME:-default}, found '${1x}' ($${ stands for a plain ${)\n"
     "        a: ${1x}\n           ^\n"},
    {"a: ${X\n", "weir.yaml:1:4: error: '${' without its '}' ($${ stands for a plain ${)\n        a: ${X\n   "
                 "        ^\n"},
    {"a: ${WEIR_T_BAD}\n", "weir.yaml:1:4: error: the environment variable 'WEIR_T_BAD' is not valid UTF-8\n"
                           "        a: ${WEIR_T_BAD}\n           ^\n"},
    {"a: 9223372036854775808\n",
     "weir.yaml:1:4: error: the number '9223372036854775808' does not fit into 64 bits (quote it "
     "to have it as text)\n        a: 9223372036854775808\n           ^\n"},
    {"a: 1e999\n", "weir.yaml:1:4: error: the number '1e999' is too large (quote it to have it as text)\n"
                   "        a: 1e999\n           ^\n"},
};

static void what_is_refused_is_named_with_its_place(void **state)
{
    (void)state;
    setenv("WEIR_T_BAD", "\xff", 1);
    unsetenv("WEIR_T_NONE");
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct reading r;
        read_text(&r, refusals[i].text);
        assert_string_equal(r.report.data, refusals[i].report);
        assert_int_equal(r.problems.errors, 1);
        done(&r);
    }
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    (void)state;
    struct reading r;
    read_bytes(&r, "a: 1\nb: \0x\n", 11);
    assert_string_equal(r.report.data, "weir.yaml:2:4: error: a control character (0x00) can't be in YAML\n"
                                       "        b: ?x\n           ^\n");
    done(&r);
    read_bytes(&r,
               "\xff\xfe"
               "a\0:\0",
               6);
    assert_begins(r.report.data, "weir.yaml:1:1: error: the file is UTF-16; save it as UTF-8\n");
    done(&r);
    read_bytes(&r, "", 0);
    assert_null(r.root);
    assert_int_equal(r.problems.errors, 0);
    done(&r);
    read_text(&r, "# nothing\n");
    assert_null(r.root);
    assert_int_equal(r.problems.errors, 0);
    done(&r);
    unsigned seed = 12345;
    for (int round = 0; round < 300; round++) { /* junk: any answer, but an answer */
        char junk[257];
        for (size_t i = 0; i < sizeof junk; i++) {
            seed = seed * 1103515245u + 12345u;
            junk[i] = (char)(seed >> 16);
        }
        read_bytes(&r, junk, sizeof junk);
        assert_true(r.problems.errors > 0);
        done(&r);
    }
}

static void all_problems_are_reported_not_the_first(void **state)
{
    (void)state;
    struct reading r;
    read_text(&r, "a: &x 1\nb: *x\nc: !t 1\n1: 2\na: 3\n");
    assert_int_equal(r.problems.errors, 5);
    const char *at = r.report.data;
    for (int line = 1; line <= 5; line++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "weir.yaml:%d:", line);
        at = strstr(at, prefix);
        assert_non_null(at);
    }
    done(&r);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* `count` times `unit`. */
static char *repeat(const char *unit, size_t count)
{
    size_t len = strlen(unit);
    char *text = malloc(len * count + 1);
    assert_non_null(text);
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * len, unit, len);
    text[len * count] = '\0';
    return text;
}

static void depth_is_refused_at_once(void **state)
{
    (void)state;
    struct reading r;
    char *text = repeat("[", 100000);
    double start = seconds();
    read_text(&r, text);
    assert_true(seconds() - start < 2.0); /* libyaml alone takes ten and more */
    assert_null(r.root);
    assert_begins(r.report.data, "weir.yaml:1:65: error: lists and maps are nested more than 64 deep\n");
    done(&r);
    free(text);
    text = repeat("- ", 100000);
    read_text(&r, text);
    assert_int_equal(r.problems.errors, 1);
    done(&r);
    free(text);
    char *open = repeat("[", 64), *close = repeat("]", 64), both[129];
    snprintf(both, sizeof both, "%s%s", open, close);
    read_text(&r, both);
    assert_int_equal(r.problems.errors, 0);
    done(&r);
    free(open);
    free(close);
}

static void an_alias_bomb_is_only_a_list_of_problems(void **state)
{
    (void)state;
    struct reading r;
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    weir_strbuf_adds(&text, "a0: &a0 [x]\n");
    for (int i = 1; i < 10; i++) {
        weir_strbuf_addf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            weir_strbuf_addf(&text, "*a%d,", i - 1);
        weir_strbuf_adds(&text, "]\n");
    }
    read_bytes(&r, text.data, text.len);
    assert_int_equal(r.problems.errors, 10 + 9 * 9);
    assert_non_null(strstr(r.report.data, "\nand 41 more errors\n"));
    weir_strbuf_fini(&text);
    done(&r);
    read_text(&r, "&a [*a]\n"); /* a cycle, to who follows it */
    assert_int_equal(r.problems.errors, 2);
    done(&r);
}

static void many_values_are_bounded(void **state)
{
    (void)state;
    struct reading r;
    char *text = repeat("- 1\n", 100001);
    read_text(&r, text);
    assert_null(r.root);
    assert_string_equal(r.report.data,
                        "weir.yaml:100000:3: error: more than 100000 values\n        - 1\n          ^\n");
    done(&r);
    free(text);
    struct weir_strbuf keys = WEIR_STRBUF_INIT; /* many keys: no quadratic search for those given twice */
    for (int i = 0; i < 40000; i++)
        weir_strbuf_addf(&keys, "k%d: 1\n", i);
    weir_strbuf_adds(&keys, "k77: 1\n");
    double start = seconds();
    read_bytes(&r, keys.data, keys.len);
    assert_true(seconds() - start < 2.0);
    assert_int_equal(r.problems.errors, 1);
    assert_int_equal(weir_conf_size(r.root), 40000);
    weir_strbuf_fini(&keys);
    done(&r);
}

static void expansion_is_bounded(void **state)
{
    (void)state;
    struct reading r;
    char *value = repeat("x", 100000), *text = repeat("- ${WEIR_T_LONG}\n", 2000);
    setenv("WEIR_T_LONG", value, 1);
    read_text(&r, text);
    assert_non_null(
        strstr(r.report.data, "weir.yaml:42:3: error: the environment makes the file too large\n"));
    done(&r);
    unsetenv("WEIR_T_LONG");
    free(value);
    free(text);
}

static void long_lines_are_shown_around_the_caret(void **state)
{
    (void)state;
    struct reading r;
    char *pad = repeat("x", 500), text[600];
    snprintf(text, sizeof text, "a: [%s, *b]\n", pad);
    read_text(&r, text);
    const char *line = strchr(r.report.data, '\n') + 1, *caret = strchr(line, '\n') + 1;
    assert_int_equal(strchr(caret, '^') - caret, strchr(line, '*') - line);
    assert_true(caret - line < 110);
    free(pad);
    done(&r);
}

static void no_memory_is_an_answer(void **state)
{
    (void)state;
    static const char text[] = "a: [1, two, {b: ${WEIR_T_NONE:-xyz}}]\nc: {d: 1, d: 2, e: *x}\n";
    bool failed = true;
    for (long n = 0; failed; n++) {
        struct reading r;
        weir_arena_init(&r.arena);
        r.sources = (struct weir_sources){.file = {"weir.yaml", text, sizeof text - 1}};
        weir_problems_init(&r.problems, &r.arena, &r.sources);
        weir_mem_fail_after(n);
        r.root = weir_yaml_parse(&r.arena, &r.sources.file, 0, &r.problems);
        weir_mem_fail_after(-1);
        failed = r.arena.failed;
        assert_true(failed || (r.root != NULL || r.problems.errors > 0));
        weir_arena_fini(&r.arena);
        assert_int_equal(weir_mem_live(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_have_the_types_of_the_core_schema),
        cmocka_unit_test(trees_keep_order_and_positions),
        cmocka_unit_test(the_environment_comes_before_the_type),
        cmocka_unit_test(what_is_refused_is_named_with_its_place),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(all_problems_are_reported_not_the_first),
        cmocka_unit_test(depth_is_refused_at_once),
        cmocka_unit_test(an_alias_bomb_is_only_a_list_of_problems),
        cmocka_unit_test(many_values_are_bounded),
        cmocka_unit_test(expansion_is_bounded),
        cmocka_unit_test(long_lines_are_shown_around_the_caret),
        cmocka_unit_test(no_memory_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
