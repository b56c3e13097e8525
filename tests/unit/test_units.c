/* Durations, sizes, addresses and nearest names. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "config/address.h"
#include "config/nearest.h"
#include "config/units.h"

struct quantity {
    const char *text;
    uint64_t value;
};

static void durations_are_read(void **state)
{
    (void)state;
    static const struct quantity good[] = {
        {"250us", 250000},
        {"10ms", 10000000},
        {"1.5s", 1500000000},
        {"2m", 120000000000},
        {"1h", 3600000000000},
        {"1d", 86400000000000},
        {"0", 0},
        {"0.0", 0},
        {"0s", 0},
        {"0.001us", 1},
        {"0.000000001s", 1},
        {"1.999999999h", 7199999996400},
        {"0.333333333d", 28799999971200},
        {"007ms", 7000000},
        {"213503d", 18446659200000000000u},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t ns = 77;
        struct weir_err err = {0, ""};
        if (weir_duration_parse(good[i].text, &ns, &err) != WEIR_OK || ns != good[i].value)
            fail_msg("%s: %llu ns, %s", good[i].text, (unsigned long long)ns, err.text);
    }
}

static void sizes_are_read(void **state)
{
    (void)state;
    static const struct quantity good[] = {
        {"512", 512},
        {"0", 0},
        {"64KiB", 65536},
        {"10MB", 10000000},
        {"1GiB", 1073741824},
        {"2TiB", 2199023255552},
        {"1.5MiB", 1572864},
        {"0.1KiB", 102},
        {"1kB", 1000},
        {"3B", 3},
        {"16777215TiB", 18446742974197923840u},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t bytes = 77;
        struct weir_err err = {0, ""};
        if (weir_size_parse(good[i].text, &bytes, &err) != WEIR_OK || bytes != good[i].value)
            fail_msg("%s: %llu bytes, %s", good[i].text, (unsigned long long)bytes, err.text);
    }
}

struct mistake {
    const char *text, *why;
};

#define DURATION "expected a duration such as 250us, 10ms, 1.5s, 2m or 1h, found "
#define SIZE     "expected a size such as 512, 64KiB, 10MB or 1GiB, found "

static void bad_durations_say_why(void **state)
{
    (void)state;
    static const struct mistake bad[] = {
        {"5", DURATION "'5': the unit is missing"},
        {"", DURATION "'': it is empty"},
        {"-5s", DURATION "'-5s': it can't be negative"},
        {"s", DURATION "'s': it does not begin with a digit"},
        {" 5s", DURATION "' 5s': it does not begin with a digit"},
        {"+5s", DURATION "'+5s': it does not begin with a digit"},
        {"5 s", DURATION "'5 s': there is no such unit (us, ms, s, m, h, d)"},
        {"5S", DURATION "'5S': there is no such unit (us, ms, s, m, h, d)"},
        {"5s ", DURATION "'5s ': there is no such unit (us, ms, s, m, h, d)"},
        {"1e3s", DURATION "'1e3s': there is no such unit (us, ms, s, m, h, d)"},
        {"1.s", DURATION "'1.s': digits are missing after the point"},
        {".5s", DURATION "'.5s': it does not begin with a digit"},
        {"1.1234567891s", DURATION "'1.1234567891s': it has more than nine digits after the point"},
        {"0.0001us", DURATION "'0.0001us': the number is too small"},
        {"213504d", DURATION "'213504d': the number is too large"},
        {"18446744073709551616s", DURATION "'18446744073709551616s': the number is too large"},
        {"99999999999999999999999999us", DURATION "'99999999999999999999999999us': the number is too large"},
        {"0x10s", DURATION "'0x10s': there is no such unit (us, ms, s, m, h, d)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t ns = 77;
        struct weir_err err = {0, ""};
        assert_int_equal(weir_duration_parse(bad[i].text, &ns, &err), WEIR_E_INVAL);
        assert_string_equal(err.text, bad[i].why);
        assert_true(ns == 77); /* written only on success */
    }
}

static void bad_sizes_say_why(void **state)
{
    (void)state;
    static const struct mistake bad[] = {
        {"64K", SIZE "'64K': there is no such unit (B, KB, KiB, MB, MiB, GB, GiB, TB, TiB)"},
        {"64kib", SIZE "'64kib': there is no such unit (B, KB, KiB, MB, MiB, GB, GiB, TB, TiB)"},
        {"-1", SIZE "'-1': it can't be negative"},
        {"many", SIZE "'many': it does not begin with a digit"},
        {"16777216TiB", SIZE "'16777216TiB': the number is too large"},
        {"0.1B", SIZE "'0.1B': the number is too small"},
        {"0x10", SIZE "'0x10': there is no such unit (B, KB, KiB, MB, MiB, GB, GiB, TB, TiB)"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t bytes = 77;
        struct weir_err err = {0, ""};
        assert_int_equal(weir_size_parse(bad[i].text, &bytes, &err), WEIR_E_INVAL);
        assert_string_equal(err.text, bad[i].why);
        assert_true(bytes == 77);
    }
}

static void what_is_formatted_reads_back(void **state)
{
    (void)state;
    static const uint64_t values[] = {0,
                                      1,
                                      999,
                                      1000,
                                      1001,
                                      250000,
                                      1500000000,
                                      60000000000,
                                      90000000000,
                                      86400000000000,
                                      1234567890123456789};
    char text[WEIR_UNITS_TEXT];
    uint64_t back;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_int_equal(weir_duration_parse(weir_duration_format(values[i], text), &back, NULL), WEIR_OK);
        assert_true(back == values[i]);
        assert_int_equal(weir_size_parse(weir_size_format(values[i], text), &back, NULL), WEIR_OK);
        assert_true(back == values[i]);
    }
    assert_string_equal(weir_duration_format(1500000000, text), "1500ms");
    assert_string_equal(weir_duration_format(7200000000000, text), "2h");
    assert_string_equal(weir_duration_format(1001, text), "1.001us");
    assert_string_equal(weir_size_format(65536, text), "64KiB");
    assert_string_equal(weir_size_format(10000000, text), "10MB");
    assert_string_equal(weir_size_format(1001, text), "1001");
}

struct address {
    const char *text, *host;
    uint16_t port;
    bool is_unix, loopback;
};

static void addresses_are_read(void **state)
{
    (void)state;
    static const struct address good[] = {
        {":8080", "", 8080, false, false},
        {"127.0.0.1:0", "127.0.0.1", 0, false, true},
        {"127.9.9.9:65535", "127.9.9.9", 65535, false, true},
        {"0.0.0.0:80", "0.0.0.0", 80, false, false},
        {"[::1]:80", "::1", 80, false, true},
        {"[::]:80", "::", 80, false, false},
        {"localhost:80", "localhost", 80, false, true},
        {"web-1.example_x:80", "web-1.example_x", 80, false, false},
        {"unix:/run/x.sock", "/run/x.sock", 0, true, true},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct weir_address a;
        struct weir_err err;
        assert_int_equal(weir_address_parse(good[i].text, &a, &err), WEIR_OK);
        assert_string_equal(a.host, good[i].host);
        assert_int_equal(a.port, good[i].port);
        assert_int_equal(a.is_unix, good[i].is_unix);
        assert_int_equal(a.loopback, good[i].loopback);
    }
}

static void bad_addresses_say_why(void **state)
{
    (void)state;
    static const struct mistake bad[] = {
        {"", "the port is missing"},
        {"8080", "the port is missing"},
        {"localhost", "the port is missing"},
        {":", "the port is missing"},
        {":http", "the port is not a number"},
        {":65536", "the port is over 65535"},
        {":99999999999999999999", "the port is over 65535"},
        {"::1:80", "an IPv6 address is written in [ ]"},
        {"[::1:80", "the ']' is missing"},
        {"[::1]", "the port is missing"},
        {"[x]:80", "what is in [ ] is not an IPv6 address"},
        {"a b:80", "the host is not a name or an address"},
        {"unix:", "the path is missing"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct weir_address a;
        struct weir_err err;
        char expected[256];
        snprintf(expected, sizeof expected,
                 "expected an address such as :8080, 127.0.0.1:8080, [::1]:8080 or unix:/run/x.sock, found "
                 "'%s': %s",
                 bad[i].text, bad[i].why);
        assert_int_equal(weir_address_parse(bad[i].text, &a, &err), WEIR_E_INVAL);
        assert_string_equal(err.text, expected);
    }
    char path[200] = "unix:/";
    memset(path + 6, 'x', 120);
    assert_int_equal(weir_address_parse(path, &(struct weir_address){false, "", 0, false}, NULL),
                     WEIR_E_INVAL);
}

static void distance_counts_swaps_once(void **state)
{
    (void)state;
    assert_int_equal(weir_nearest_distance("page", "page"), 0);
    assert_int_equal(weir_nearest_distance("pgae", "page"), 1);
    assert_int_equal(weir_nearest_distance("", "abc"), 3);
    assert_int_equal(weir_nearest_distance("abc", ""), 3);
    assert_int_equal(weir_nearest_distance("kitten", "sitting"), 3);
    assert_int_equal(weir_nearest_distance("ca", "abc"), 3);
    assert_int_equal(weir_nearest_distance("capacity", "capcity"), 1);
}

static void the_nearest_name_is_near(void **state)
{
    (void)state;
    static const char *const known[] = {"queue", "batch", "limits", "libs", "to", NULL};
    assert_string_equal(weir_nearest_of("que", known), "queue");
    assert_string_equal(weir_nearest_of("bacth", known), "batch");
    assert_string_equal(weir_nearest_of("limit", known), "limits");
    assert_string_equal(weir_nearest_of("lib", known), "libs");
    assert_null(weir_nearest_of("x", known));
    assert_null(weir_nearest_of("", known));
    assert_null(weir_nearest_of("concurrency", known));
    char longer[100];
    memset(longer, 'q', sizeof longer - 1);
    longer[99] = '\0';
    assert_null(weir_nearest_of(longer, known));
    assert_null(weir_nearest_of("queue", (const char *const[]){longer, NULL}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read),           cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(bad_durations_say_why),        cmocka_unit_test(bad_sizes_say_why),
        cmocka_unit_test(what_is_formatted_reads_back), cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(bad_addresses_say_why),        cmocka_unit_test(distance_counts_swaps_once),
        cmocka_unit_test(the_nearest_name_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
