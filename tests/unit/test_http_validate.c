#include "test.h"

#include <string.h>

#include "io/http_validate.h"

static struct weir_http_text text(const char *s)
{
    return (struct weir_http_text){s, strlen(s)};
}

#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"
enum { SECONDS = 784111777 };

static void dates_are_printed_as_http_has_them(void **state)
{
    (void)state;
    char out[WEIR_HTTP_DATE_LEN + 1];
    weir_http_date_print(SECONDS, out);
    assert_string_equal(out, DATE);
}

static void dates_are_read_in_all_three_forms(void **state)
{
    (void)state;
    static const char *const good[] = {DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"};
    static const char *const bad[] = {
        "",
        "now",
        "Sun, 06 Nov 1994 08:49:37 EST",
        "Sun, 06 Nov 1994 08:49:37 GMT x",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "784111777",
        "Sun, 06 Nov 1994 08:49:37 GMTSun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08"};
    time_t t;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        t = 0;
        assert_true(weir_http_date_parse(text(good[i]), &t));
        assert_int_equal(t, SECONDS);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(weir_http_date_parse(text(bad[i]), &t));
}

static struct weir_http_request make(struct weir_http_header *headers, const char *method, const char *n1,
                                     const char *v1, const char *n2, const char *v2)
{
    struct weir_http_request r = {.method = text(method), .headers = headers};
    if (n1 != NULL)
        headers[r.header_count++] = (struct weir_http_header){text(n1), text(v1)};
    if (n2 != NULL)
        headers[r.header_count++] = (struct weir_http_header){text(n2), text(v2)};
    return r;
}

static const struct weir_http_validators validators = {.etag = {"\"x1\"", 4}, .modified = SECONDS};

static void conditions_decide_between_200_304_and_412(void **state)
{
    (void)state;
    static const struct {
        const char *method, *n1, *v1, *n2, *v2;
        int status;
    } cases[] = {
        {"GET", NULL, NULL, NULL, NULL, 200},
        {"GET", "if-none-match", "\"x1\"", NULL, NULL, 304},
        {"HEAD", "if-none-match", "W/\"x1\"", NULL, NULL, 304},
        {"GET", "if-none-match", "\"a\", \"x1\"", NULL, NULL, 304},
        {"GET", "if-none-match", "*", NULL, NULL, 304},
        {"POST", "if-none-match", "*", NULL, NULL, 412},
        {"GET", "if-none-match", "\"x2\"", "if-modified-since", DATE, 200},
        {"GET", "if-none-match", "x1", NULL, NULL, 200},
        {"GET", "if-modified-since", DATE, NULL, NULL, 304},
        {"GET", "if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT", NULL, NULL, 200},
        {"GET", "if-modified-since", "yesterday", NULL, NULL, 200},
        {"POST", "if-modified-since", DATE, NULL, NULL, 200},
        {"GET", "if-match", "\"x1\"", NULL, NULL, 200},
        {"GET", "if-match", "W/\"x1\"", NULL, NULL, 412},
        {"GET", "if-match", "\"x2\"", NULL, NULL, 412},
        {"GET", "if-match", "*", "if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT", 200},
        {"GET", "if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT", NULL, NULL, 412},
        {"GET", "if-unmodified-since", DATE, NULL, NULL, 200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_http_header headers[2];
        struct weir_http_request r =
            make(headers, cases[i].method, cases[i].n1, cases[i].v1, cases[i].n2, cases[i].v2);
        assert_int_equal(weir_http_evaluate(&r, &validators), cases[i].status);
    }
}

static void one_range_is_cut_out(void **state)
{
    (void)state;
    static const struct {
        const char *range;
        uint64_t size;
        int status;
        uint64_t first, len;
    } cases[] = {
        {"bytes=0-0", 10, 206, 0, 1},
        {"bytes=0-", 10, 206, 0, 10},
        {"bytes=3-5", 10, 206, 3, 3},
        {"bytes=3-500", 10, 206, 3, 7},
        {"bytes=9-", 10, 206, 9, 1},
        {"bytes=-3", 10, 206, 7, 3},
        {"bytes=-30", 10, 206, 0, 10},
        {"Bytes=0-1", 10, 206, 0, 2},
        {"bytes=10-", 10, 416, 0, 0},
        {"bytes=-0", 10, 416, 0, 0},
        {"bytes=0-0", 0, 416, 0, 0},
        {"bytes=-1", 0, 416, 0, 0},
        {"bytes=5-3", 10, 200, 0, 0},
        {"bytes=0-1,3-4", 10, 200, 0, 0},
        {"bytes=", 10, 200, 0, 0},
        {"bytes=-", 10, 200, 0, 0},
        {"bytes=a-b", 10, 200, 0, 0},
        {"bytes=+1-2", 10, 200, 0, 0},
        {"bytes=--1", 10, 200, 0, 0},
        {"bytes=1", 10, 200, 0, 0},
        {"items=0-1", 10, 200, 0, 0},
        {"bytes=99999999999999999999-", 10, 200, 0, 0},
        {"bytes=0-18446744073709551616", 10, 200, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_http_header headers[2];
        struct weir_http_range range = {0, 0};
        struct weir_http_request r = make(headers, "GET", "range", cases[i].range, NULL, NULL);
        assert_int_equal(weir_http_range(&r, &validators, cases[i].size, &range), cases[i].status);
        assert_int_equal(range.first, cases[i].first);
        assert_int_equal(range.len, cases[i].len);
    }
}

static void a_range_needs_get_and_the_same_version(void **state)
{
    (void)state;
    static const struct {
        const char *method, *condition;
        int status;
    } cases[] = {
        {"GET", "\"x1\"", 206},
        {"GET", "\"x2\"", 200},
        {"GET", "W/\"x1\"", 200},
        {"GET", DATE, 206},
        {"GET", "Sun, 06 Nov 1994 08:49:38 GMT", 200},
        {"GET", "", 200},
        {"HEAD", "\"x1\"", 200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_http_header headers[2];
        struct weir_http_range range;
        struct weir_http_request r =
            make(headers, cases[i].method, "range", "bytes=0-1", "if-range", cases[i].condition);
        assert_int_equal(weir_http_range(&r, &validators, 10, &range), cases[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dates_are_printed_as_http_has_them),        TEST(dates_are_read_in_all_three_forms),
        TEST(conditions_decide_between_200_304_and_412), TEST(one_range_is_cut_out),
        TEST(a_range_needs_get_and_the_same_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
