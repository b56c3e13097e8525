/* config/network.h: networks as users write them. */
#include "support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "config/network.h"

static bool holds(const char *network, const char *one)
{
    struct weir_network n, peer;
    struct weir_err err;
    assert_int_equal(weir_network_parse(network, &n, &err), WEIR_OK);
    weir_network_of_text(one, &peer);
    return weir_network_holds(&n, &peer);
}

static void addresses_are_in_their_networks(void **state)
{
    (void)state;
    assert_true(holds("10.0.0.0/8", "10.255.1.2"));
    assert_false(holds("10.0.0.0/8", "11.0.0.0"));
    assert_true(holds("127.0.0.1", "127.0.0.1"));
    assert_true(holds("127.0.0.1/32", "127.0.0.1"));
    assert_false(holds("127.0.0.1/32", "127.0.0.2"));
    assert_true(holds("0.0.0.0/0", "203.0.113.9"));
    assert_false(holds("0.0.0.0/0", "::1"));
    assert_true(holds("192.168.4.0/22", "192.168.7.255"));
    assert_false(holds("192.168.4.0/22", "192.168.8.0"));
    assert_true(holds("::1", "::1"));
    assert_true(holds("fd00::/8", "fdab::1"));
    assert_false(holds("fd00::/8", "fe80::1"));
    assert_true(holds("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(holds("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(holds("::/0", "2001:db8::1"));
    assert_false(holds("::/0", "10.0.0.1"));
}

static void mapped_addresses_are_of_ipv4(void **state)
{
    (void)state;
    assert_true(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_false(holds("::/0", "::ffff:10.1.2.3"));
}

static void unix_is_a_network_of_its_own(void **state)
{
    (void)state;
    assert_true(holds("unix", "unix"));
    assert_true(holds("unix", "unix:"));
    assert_false(holds("unix", "127.0.0.1"));
    assert_false(holds("0.0.0.0/0", "unix"));
    assert_false(holds("::/0", "unix"));
}

static void what_is_none_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "neither of IPv4 nor of IPv6"},
        {"10.0.0.0/33", "from 0 to 32"},
        {"10.0.0.0/", "from 0 to 32"},
        {"10.0.0.0/-1", "from 0 to 32"},
        {"10.0.0.0/8x", "from 0 to 32"},
        {"10.0.0.0/4294967304", "from 0 to 32"},
        {"::1/129", "from 0 to 128"},
        {"10.0.0/8", "neither of IPv4 nor of IPv6"},
        {"10.0.0.256", "neither of IPv4 nor of IPv6"},
        {"localhost", "neither of IPv4 nor of IPv6"},
        {"unix/8", "neither of IPv4 nor of IPv6"},
        {"10.1.2.3/8", "is 10.0.0.0/8 meant?"},
        {"fd00::1/8", "is fd00::/8 meant?"},
        {"1:2:3:4:5:6:7:8:9:0:1:2:3:4:5:6:7:8:9:0:1:2:3:4:5:6:7:8:9:0:1:2:3:4:5:6:7:8:9:0", "too long"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct weir_network n = {.bits = 77};
        struct weir_err err;
        assert_int_equal(weir_network_parse(bad[i].text, &n, &err), WEIR_E_INVAL);
        if (strstr(err.text, bad[i].why) == NULL)
            fail_msg("'%s': %s", bad[i].text, err.text);
        assert_int_equal(n.bits, 77); /* ret untouched */
    }
}

static void peers_as_the_system_gives_them(void **state)
{
    struct sockaddr_storage from;
    struct weir_network n, peer;
    struct weir_err err;
    (void)state;
    memset(&from, 0, sizeof from);
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&from;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(99);
    inet_pton(AF_INET, "10.1.2.3", &v4->sin_addr);
    weir_network_of_peer(&from, &peer);
    assert_int_equal(weir_network_parse("10.1.0.0/16", &n, &err), WEIR_OK);
    assert_true(weir_network_holds(&n, &peer));
    memset(&from, 0, sizeof from);
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&from;
    v6->sin6_family = AF_INET6;
    inet_pton(AF_INET6, "::ffff:10.1.2.3", &v6->sin6_addr);
    weir_network_of_peer(&from, &peer);
    assert_true(weir_network_holds(&n, &peer));
    inet_pton(AF_INET6, "fd00::7", &v6->sin6_addr);
    weir_network_of_peer(&from, &peer);
    assert_int_equal(weir_network_parse("fd00::/16", &n, &err), WEIR_OK);
    assert_true(weir_network_holds(&n, &peer));
    from.ss_family = AF_UNIX;
    weir_network_of_peer(&from, &peer);
    assert_int_equal(peer.kind, WEIR_NETWORK_UNIX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_in_their_networks), cmocka_unit_test(mapped_addresses_are_of_ipv4),
        cmocka_unit_test(unix_is_a_network_of_its_own),    cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(peers_as_the_system_gives_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
