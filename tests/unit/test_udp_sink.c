#include "io/udp_sink.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "sink_fixture.h"

static int receiver(int *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)*ret_port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static void udp_bed(struct bed *b, int port, const char *more)
{
    char options[200];
    snprintf(options, sizeof options, "connect: '127.0.0.1:%d'%s", port, more);
    bed_make(b, &weir_udp_sink_type, weir_udp_sink_open, options, 1000);
}

static void expect(int fd, const char *expected)
{
    char got[2048];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    ssize_t n = recv(fd, got, sizeof got - 1, 0);
    assert_true(n >= 0);
    got[n] = '\0';
    assert_string_equal(got, expected);
}

static void each_event_is_a_datagram(void **state)
{
    (void)state;
    struct bed b;
    int port = 0, fd = receiver(&port);
    udp_bed(&b, port, "");
    bed_emits(&b, "one");
    bed_emits(&b, "");
    rig_emit_value(b.w, FEED, 3);
    bed_until(&b, bed_handled, &(int){3});
    expect(fd, "one");
    expect(fd, "");
    expect(fd, "3");
    for (int i = 0; i < 150; i++) /* more than one system call takes */
        rig_emit_value(b.w, FEED, i);
    bed_until(&b, bed_handled, &(int){153});
    for (int i = 0; i < 150; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        expect(fd, text);
    }
    bed_end(&b);
    close(fd);
}

static void one_that_is_too_large_fails_and_the_others_go(void **state)
{
    (void)state;
    struct bed b;
    int port = 0, fd = receiver(&port);
    udp_bed(&b, port, "");
    static char large[70000];
    memset(large, 'x', sizeof large);
    bed_emits(&b, "before");
    bed_emit(&b, large, sizeof large);
    bed_emits(&b, "after");
    bed_until(&b, bed_handled, &(int){2});
    expect(fd, "before");
    expect(fd, "after");
    assert_int_equal(rig_ledger(b.rig, END).reasons[WEIR_REASON_ENCODE], 1);
    bed_end(&b);
    close(fd);
}

static void a_receiver_that_is_away_loses_what_is_sent_meanwhile_and_nothing_else(void **state)
{
    (void)state;
    struct bed b;
    int port = 0, fd = receiver(&port);
    udp_bed(&b, port, "");
    bed_emits(&b, "a");
    bed_until(&b, bed_handled, &(int){1});
    expect(fd, "a");
    close(fd);
    for (int i = 0; i < 10; i++) {
        rig_emit_value(b.w, FEED, i);
        bed_until(&b, bed_handled, &(int){2 + i}); /* handled: the kernel took it */
    }
    fd = receiver(&port);
    bed_emits(&b, "b");
    bed_until(&b, bed_handled, &(int){12});
    expect(fd, "b");
    assert_int_equal(rig_ledger(b.rig, END).failed, 0);
    bed_end(&b);
    close(fd);
}

/* The next one, whatever it takes, is `number`. */
static void expect_datagram(struct bed *b, int fd, int number)
{
    char text[16], got[16];
    ssize_t n = -1;
    for (int turns = 0; n < 0 && turns < 5000; turns++) {
        bed_turn(b);
        rig_advance(b->w, WEIR_NS_PER_MS);
        n = recv(fd, got, sizeof got - 1, 0);
        poll(NULL, 0, n < 0);
    }
    assert_true(n >= 0);
    got[n] = '\0';
    snprintf(text, sizeof text, "%d", number);
    assert_string_equal(got, text);
}

static void events_wait_for_a_unix_receiver_that_is_slow_or_away(void **state)
{
    (void)state;
    struct bed b;
    char options[128];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "/tmp/weir-udp-sink-%d", (int)getpid());
    snprintf(options, sizeof options, "connect: 'unix:%s'", un.sun_path);
    bed_make(&b, &weir_udp_sink_type, weir_udp_sink_open, options, 1000);
    for (int i = 0; i < 200; i++)
        rig_emit_value(b.w, FEED, i);
    bed_turn(&b);
    assert_int_equal(rig_ledger(b.rig, END).running, 200);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    for (int i = 0; i < 200; i++) /* the kernel keeps a few of them only */
        expect_datagram(&b, fd, i);
    bed_until(&b, bed_handled, &(int){200});
    bed_end(&b);
    close(fd);
    unlink(un.sun_path);
}

/* What comes while a part is sent is a datagram each, too. */
static void each_event_is_a_datagram_when_some_were_sent_before_others_came(void **state)
{
    (void)state;
    struct bed b;
    char options[128];
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "/tmp/weir-udp-sink-%d", (int)getpid());
    snprintf(options, sizeof options, "connect: 'unix:%s'", un.sun_path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    bed_make(&b, &weir_udp_sink_type, weir_udp_sink_open, options, 1000);
    for (int i = 0; i < 60; i++)
        rig_emit_value(b.w, FEED, i);
    for (int i = 0; i < 40; i++)
        expect_datagram(&b, fd, i);
    for (int i = 60; i < 90; i++)
        rig_emit_value(b.w, FEED, i);
    for (int i = 40; i < 90; i++)
        expect_datagram(&b, fd, i);
    bed_until(&b, bed_handled, &(int){90});
    bed_end(&b);
    close(fd);
    unlink(un.sun_path);
}

static void a_cancel_ends_what_waits(void **state)
{
    (void)state;
    struct bed b;
    bed_make(&b, &weir_udp_sink_type, weir_udp_sink_open, "connect: 'unix:/nowhere/at/all'", 1000);
    for (int i = 0; i < 10; i++)
        rig_emit_value(b.w, FEED, i);
    for (int i = 0; i < 10; i++)
        bed_turn(&b);
    struct weir_handler *h = b.w->seats[END]->handler;
    assert_true(h->ops->memory(h) > 0);
    h->ops->cancel(h);
    h->ops->cancel(h);
    assert_int_equal(rig_ledger(b.rig, END).reasons[WEIR_REASON_CANCELLED], 10);
    bed_end(&b);
}

static void opening_and_making_survive_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bed b;
    udp_bed(&b, 9, "");
    bed_expect_no_leaks(&b, weir_udp_sink_open);
    bed_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_event_is_a_datagram),
        TEST(one_that_is_too_large_fails_and_the_others_go),
        TEST(a_receiver_that_is_away_loses_what_is_sent_meanwhile_and_nothing_else),
        TEST(events_wait_for_a_unix_receiver_that_is_slow_or_away),
        TEST(each_event_is_a_datagram_when_some_were_sent_before_others_came),
        TEST(a_cancel_ends_what_waits),
        TEST(opening_and_making_survive_any_failed_allocation),
    };
    ignore_sigpipe();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
