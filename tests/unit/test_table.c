/* Columns and figures for people. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>

#include "base/mem.h"
#include "cli/figures.h"
#include "cli/table.h"

static const char *const titles[] = {"NAME", ">COUNT", "LAST", NULL};

static void columns_are_aligned(void **state)
{
    (void)state;
    struct weir_table t;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    weir_table_init(&t, titles);
    weir_table_add(&t, "a");
    weir_table_add(&t, "%d", 1234567);
    weir_table_add(&t, "x");
    weir_table_add(&t, "größer");
    weir_table_add(&t, "%d", 2);
    weir_table_add(&t, "longer");
    weir_table_print(&t, &out);
    assert_string_equal(out.data, "NAME      COUNT  LAST\n"
                                  "a       1234567  x\n"
                                  "größer        2  longer\n");
    weir_strbuf_fini(&out);
    weir_table_fini(&t);
    assert_int_equal(weir_mem_live(), 0);
}

static void without_rows_there_are_no_titles(void **state)
{
    (void)state;
    struct weir_table t;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    weir_table_init(&t, titles);
    weir_table_print(&t, &out);
    assert_int_equal(out.len, 0);
    weir_table_fini(&t);
}

static void a_lack_of_memory_shows(void **state)
{
    (void)state;
    struct weir_table t;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    weir_table_init(&t, titles);
    weir_mem_fail_after(0);
    weir_table_add(&t, "a");
    weir_mem_fail_after(-1);
    weir_table_print(&t, &out);
    assert_true(out.failed);
    weir_strbuf_fini(&out);
    weir_table_fini(&t);
}

static void times_have_the_unit_that_fits(void **state)
{
    (void)state;
    char out[WEIR_FIGURE_MAX];
    assert_string_equal(weir_figure_us(out, 0), "0us");
    assert_string_equal(weir_figure_us(out, 999), "999us");
    assert_string_equal(weir_figure_us(out, 1000), "1.0ms");
    assert_string_equal(weir_figure_us(out, 1249), "1.2ms");
    assert_string_equal(weir_figure_us(out, 9999), "10ms");
    assert_string_equal(weir_figure_us(out, 4500000), "4.5s");
    assert_string_equal(weir_figure_us(out, 1200000000), "1200s");
    assert_string_equal(weir_figure_seconds(out, 0.5), "0s");
    assert_string_equal(weir_figure_seconds(out, 59.9), "59s");
    assert_string_equal(weir_figure_seconds(out, 185), "3m05s");
    assert_string_equal(weir_figure_seconds(out, 7620), "2h07m");
    assert_string_equal(weir_figure_seconds(out, 356400), "4d03h");
    assert_string_equal(weir_figure_seconds(out, -1), "0s");
}

static void sizes_have_the_unit_that_fits(void **state)
{
    (void)state;
    char out[WEIR_FIGURE_MAX];
    assert_string_equal(weir_figure_bytes(out, 0), "0B");
    assert_string_equal(weir_figure_bytes(out, 1023), "1023B");
    assert_string_equal(weir_figure_bytes(out, 1536), "1.5KiB");
    assert_string_equal(weir_figure_bytes(out, 64 << 20), "64MiB");
    assert_string_equal(weir_figure_bytes(out, 1023ull << 30), "1023GiB");
    assert_string_equal(weir_figure_bytes(out, UINT64_MAX), "16777216TiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned),           cmocka_unit_test(without_rows_there_are_no_titles),
        cmocka_unit_test(a_lack_of_memory_shows),        cmocka_unit_test(times_have_the_unit_that_fits),
        cmocka_unit_test(sizes_have_the_unit_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
