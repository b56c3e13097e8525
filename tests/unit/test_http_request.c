#include "test.h"

#include <string.h>

#include "io/http_request.h"

#define T(literal)                                                                                           \
    {                                                                                                        \
        literal, sizeof(literal) - 1                                                                         \
    }

static int check(struct weir_http_header h, struct weir_err *err)
{
    return weir_http_check_headers(&h, 1, err);
}

static void headers_of_answers_can_break_out_of_nothing(void **state)
{
    (void)state;
    struct weir_err err;
    assert_int_equal(check((struct weir_http_header){T("X-A"), T("b c\t\xff")}, &err), WEIR_OK);
    assert_int_equal(check((struct weir_http_header){T("X-A"), T("")}, &err), WEIR_OK);
    static const struct weir_http_header bad[] = {
        {T("X-A"), T("b\r\nSet-Cookie: c")},
        {T("X-A"), T("b\n")},
        {T("X-A"), T("b\0c")},
        {T("X-A"), T("\x1b[31m")},
        {T("X A"), T("b")},
        {T(""), T("b")},
        {T("X-A:"), T("b")},
        {T("X\r\nB"), T("b")},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(check(bad[i], &err), WEIR_E_INVAL);
    check(bad[0], &err);
    assert_non_null(strstr(err.text, "header 'X-A'"));
}

static void the_hosts_own_headers_are_not_for_handlers(void **state)
{
    (void)state;
    struct weir_err err;
    static const char *const ours[] = {"content-length", "Transfer-Encoding", "CONNECTION",
                                       "Date",           "keep-alive",        "Upgrade"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        assert_int_equal(check((struct weir_http_header){{ours[i], strlen(ours[i])}, T("x")}, &err),
                         WEIR_E_INVAL);
        assert_non_null(strstr(err.text, "set by the host"));
    }
}

static void headers_are_found_by_their_lower_case_names(void **state)
{
    (void)state;
    static const struct weir_http_header headers[] = {{T("host"), T("a")}, {T("x-y"), T("")}};
    struct weir_http_request r = {.headers = headers, .header_count = 2};
    assert_ptr_equal(weir_http_request_header(&r, "host", 4), &headers[0].value);
    assert_ptr_equal(weir_http_request_header(&r, "x-y", 3), &headers[1].value);
    assert_null(weir_http_request_header(&r, "hos", 3));
    assert_null(weir_http_request_header(&r, "Host", 4));
}

static bool never(const struct weir_request *r)
{
    (void)r;
    return false;
}

static void requests_of_other_protocols_are_not_ours(void **state)
{
    (void)state;
    static const struct weir_request_ops other = {.gone = never};
    struct weir_http_request r = {.base = {.ops = &other}};
    assert_null(weir_http_request_of(&r.base));
    assert_null(weir_http_request_of(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(headers_of_answers_can_break_out_of_nothing),
        TEST(the_hosts_own_headers_are_not_for_handlers),
        TEST(headers_are_found_by_their_lower_case_names),
        TEST(requests_of_other_protocols_are_not_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
