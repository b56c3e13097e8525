#include "test.h"

#include "tls_fixture.h"

#include <signal.h>

enum { LONG = 300000 };

static void fill(unsigned char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (unsigned char)(i * 7 + i / 251);
}

/* Sends `len` bytes from one end to the other over the wire, `step` at a time, reading `piece` at most at
 * once. Each read is preceded by what an owner would look at: the socket, or pending. */
static void transfer(struct tls_link *l, struct weir_transport *from, struct weir_transport *to,
                     const unsigned char *data, size_t len, size_t step, size_t piece)
{
    unsigned char *got = malloc(len + piece);
    size_t sent = 0, have = 0;
    assert_non_null(got);
    while (have < len) {
        if (sent < len) {
            /* what is given again stands elsewhere, as in a buffer that has moved */
            unsigned char *copy = malloc(len - sent);
            assert_non_null(copy);
            memcpy(copy, data + sent, len - sent);
            ssize_t n = weir_transport_send(from, copy, len - sent);
            free(copy);
            assert_true(n > 0 || n == -EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
        }
        tls_carry(l, step);
        ssize_t n;
        do {
            n = weir_transport_read(to, got + have, piece);
            if (n <= 0 && n != -EAGAIN)
                fail_msg("%zd %s after %zu of %zu", n, weir_transport_why(to, (int)n, (char[256]){0}), have,
                         len);
            have += n > 0 ? (size_t)n : 0;
        } while (weir_transport_pending(to));
    }
    assert_int_equal(have, len);
    assert_memory_equal(got, data, len);
    free(got);
}

static void bytes_arrive_one_at_a_time(void **state)
{
    struct weir_tls_server *server = tls_server("web");
    struct weir_tls_client *client = tls_client();
    struct tls_link l;
    unsigned char data[2000];
    int a, b;
    (void)state;
    fill(data, sizeof data);
    tls_join(&l, client, server, "a.example");
    tls_shake(&l, 1, &a, &b);
    assert_int_equal(a, 0);
    assert_int_equal(b, 0);
    transfer(&l, &l.client, &l.server, data, sizeof data, 1, 300);
    transfer(&l, &l.server, &l.client, data, sizeof data, 1, 300);
    tls_part(&l);
    weir_tls_server_unref(server);
    weir_tls_client_unref(client);
}

static void large_transfers_are_whole_in_both_directions(void **state)
{
    static unsigned char data[LONG];
    struct tls_link l;
    (void)state;
    fill(data, sizeof data);
    tls_connect(&l, "web");
    transfer(&l, &l.client, &l.server, data, sizeof data, SIZE_MAX, 65536);
    transfer(&l, &l.server, &l.client, data, sizeof data, 1000, 4096);
    transfer(&l, &l.client, &l.server, data, sizeof data, 20000, 700);
    tls_part(&l);
}

/* Cut after every so many bytes, in either direction: an error or no end at all, never success, never a
 * crash. */
static void a_handshake_cut_anywhere_fails_on_both_sides(void **state)
{
    struct weir_tls_server *server = tls_server("web");
    struct weir_tls_client *client = tls_client();
    char why[WEIR_TRANSPORT_WHY_MAX];
    (void)state;
    for (int direction = 0; direction < 2; direction++) {
        for (size_t cut = 0; cut < 2000; cut += cut < 20 ? 1 : 37) {
            struct tls_link l;
            int a = -EAGAIN, b = -EAGAIN, quiet = 0;
            tls_join(&l, client, server, "a.example");
            while (quiet < 3) {
                if (a == -EAGAIN)
                    a = weir_transport_handshake(&l.client);
                if (b == -EAGAIN)
                    b = weir_transport_handshake(&l.server);
                size_t left = cut - l.carried[direction];
                size_t n = tls_carry_one(&l.to_client, &l.to_server, direction == 0 ? left : SIZE_MAX);
                size_t m = tls_carry_one(&l.to_server, &l.to_client, direction == 1 ? left : SIZE_MAX);
                l.carried[0] += n;
                l.carried[1] += m;
                if (l.carried[direction] == cut && l.to_client >= 0) {
                    close(l.to_client);
                    close(l.to_server);
                    l.to_client = l.to_server = -1;
                }
                quiet = n + m > 0 ? 0 : quiet + 1;
            }
            if (l.carried[direction] == cut) { /* else the handshake is shorter than that */
                int victim = direction == 0 ? b : a;
                if (cut < 100)
                    assert_true(victim == -ECONNRESET || victim == -EPROTO);
                if (victim == -ECONNRESET)
                    assert_non_null(
                        strstr(weir_transport_why(direction == 0 ? &l.server : &l.client, victim, why),
                               "during the TLS handshake"));
                assert_true(a != -EAGAIN && b != -EAGAIN);
            }
            tls_part(&l);
        }
    }
    weir_tls_server_unref(server);
    weir_tls_client_unref(client);
}

static void an_end_that_was_said_is_not_a_truncation(void **state)
{
    struct tls_link l;
    char buf[100];
    (void)state;
    tls_connect(&l, "web");
    assert_int_equal(weir_transport_send(&l.client, "last", 4), 4);
    assert_int_equal(weir_transport_shutdown(&l.client), 0);
    assert_int_equal(weir_transport_shutdown(&l.client), 0);
    assert_int_equal(weir_transport_send(&l.client, "x", 1), -EPIPE);
    tls_carry(&l, SIZE_MAX);
    /* the bytes and the end come in one read of the socket: pending must tell, since no poll will */
    assert_int_equal(weir_transport_read(&l.server, buf, sizeof buf), 4);
    assert_true(weir_transport_pending(&l.server));
    assert_int_equal(weir_transport_read(&l.server, buf, sizeof buf), 0);
    assert_false(weir_transport_truncated(&l.server));
    assert_false(weir_transport_pending(&l.server));
    assert_int_equal(weir_transport_read(&l.server, buf, sizeof buf), 0);
    /* the other half goes on */
    assert_int_equal(weir_transport_send(&l.server, "answer", 6), 6);
    tls_carry(&l, SIZE_MAX);
    assert_int_equal(weir_transport_read(&l.client, buf, sizeof buf), 6);
    weir_transport_close(&l.server, false);
    tls_carry(&l, SIZE_MAX);
    assert_int_equal(weir_transport_read(&l.client, buf, sizeof buf), 0);
    assert_false(weir_transport_truncated(&l.client));
    tls_part(&l);
}

static void an_end_that_was_not_said_is_a_truncation(void **state)
{
    struct tls_link l;
    char buf[100];
    (void)state;
    for (int with_bytes = 0; with_bytes < 2; with_bytes++) {
        tls_connect(&l, "web");
        if (with_bytes)
            assert_int_equal(weir_transport_send(&l.server, "half", 4), 4);
        weir_transport_close(&l.server, true);
        for (int i = 0; i < 4; i++)
            tls_carry(&l, SIZE_MAX);
        if (with_bytes)
            assert_int_equal(weir_transport_read(&l.client, buf, sizeof buf), 4);
        assert_int_equal(weir_transport_read(&l.client, buf, sizeof buf), 0);
        assert_true(weir_transport_truncated(&l.client));
        assert_int_equal(weir_transport_read(&l.client, buf, sizeof buf), 0);
        tls_part(&l);
    }
}

static void small_reads_are_told_of_the_rest(void **state)
{
    struct tls_link l;
    char buf[8];
    int reads = 0;
    (void)state;
    tls_connect(&l, "web");
    for (int i = 0; i < 3; i++)
        assert_int_equal(weir_transport_send(&l.client, "0123456789", 10), 10);
    tls_carry(&l, SIZE_MAX);
    size_t have = 0;
    do {
        ssize_t n = weir_transport_read(&l.server, buf, sizeof buf);
        assert_true(n > 0);
        have += (size_t)n;
        reads++;
    } while (weir_transport_pending(&l.server));
    assert_int_equal(have, 30);
    assert_int_equal(reads, 4);
    assert_int_equal(weir_transport_read(&l.server, buf, sizeof buf), -EAGAIN);
    assert_false(weir_transport_pending(&l.server));
    tls_part(&l);
}

static void half_a_record_is_no_pending_read(void **state)
{
    struct tls_link l;
    char buf[100];
    (void)state;
    tls_connect(&l, "web");
    assert_int_equal(weir_transport_send(&l.client, "0123456789", 10), 10);
    tls_carry(&l, 12);
    assert_int_equal(weir_transport_read(&l.server, buf, sizeof buf), -EAGAIN);
    assert_false(weir_transport_pending(&l.server)); /* else its owner would spin */
    assert_int_equal(weir_transport_polls_for_read(&l.server), WEIR_TRANSPORT_READABLE);
    tls_carry(&l, SIZE_MAX);
    assert_int_equal(weir_transport_read(&l.server, buf, sizeof buf), 10);
    tls_part(&l);
}

static void a_write_that_was_cut_short_goes_on_from_another_buffer(void **state)
{
    static unsigned char data[LONG];
    unsigned char got[65536];
    struct tls_link l;
    size_t sent = 0, have = 0;
    (void)state;
    fill(data, sizeof data);
    tls_connect(&l, "web");
    int small = 4096;
    setsockopt(l.client.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    while (sent < sizeof data) {
        /* first little, then more of the same: the rest has grown meanwhile */
        size_t len = sent + 20000 < sizeof data && sent % 2 == 0 ? 20000 : sizeof data - sent;
        ssize_t n = weir_transport_send(&l.client, data + sent, len);
        if (n > 0) {
            sent += (size_t)n;
            continue;
        }
        assert_int_equal(n, -EAGAIN);
        assert_int_equal(weir_transport_polls_for_write(&l.client), WEIR_TRANSPORT_WRITABLE);
        unsigned char *moved = malloc(sizeof data - sent);
        assert_non_null(moved);
        memcpy(moved, data + sent, sizeof data - sent);
        tls_carry(&l, SIZE_MAX);
        n = weir_transport_send(&l.client, moved, sizeof data - sent);
        free(moved);
        assert_true(n > 0 || n == -EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
        for (tls_carry(&l, SIZE_MAX); (n = weir_transport_read(&l.server, got, sizeof got)) > 0;
             have += (size_t)n)
            assert_memory_equal(got, data + have, (size_t)n);
        assert_int_equal(n, -EAGAIN);
    }
    for (int i = 0; i < 400 && have < sizeof data; i++) {
        tls_carry(&l, SIZE_MAX);
        ssize_t n = weir_transport_read(&l.server, got, sizeof got);
        if (n > 0)
            assert_memory_equal(got, data + have, (size_t)n);
        have += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(have, sizeof data);
    tls_part(&l);
}

static void pieces_share_records_and_keep_their_order(void **state)
{
    static unsigned char data[40000];
    static unsigned char got[sizeof data];
    struct tls_link l;
    (void)state;
    fill(data, sizeof data);
    tls_connect(&l, "web");
    static const size_t cuts[] = {0, 0, 3, 100, 100, 9000, 17000, 39000, 40000};
    size_t sent = 0, have = 0;
    for (int turn = 0; turn < 1000 && have < sizeof data; turn++) {
        struct iovec iov[8];
        int count = 0;
        for (size_t i = 0; i + 1 < sizeof cuts / sizeof *cuts; i++) {
            size_t from = cuts[i] > sent ? cuts[i] : sent;
            if (cuts[i + 1] >= from)
                iov[count++] = (struct iovec){data + from, cuts[i + 1] - from};
        }
        if (sent < sizeof data) {
            ssize_t n = weir_transport_writev(&l.server, iov, count);
            assert_true(n > 0 || n == -EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
        }
        tls_carry(&l, 3000);
        ssize_t n = weir_transport_read(&l.client, got + have, sizeof got - have);
        have += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(have, sizeof data);
    assert_memory_equal(got, data, sizeof data);
    assert_int_equal(weir_transport_writev(&l.server, NULL, 0), 0);
    tls_part(&l);
}

/* A client that asks for new keys makes the server write while it reads. */
static void new_keys_are_agreed_on_while_nothing_can_be_written(void **state)
{
    static unsigned char data[60000];
    struct tls_link l;
    char buf[100];
    (void)state;
    fill(data, sizeof data);
    tls_connect(&l, "web");
    int small = 4096;
    setsockopt(l.server.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    size_t sent = 0, have = 0;
    for (ssize_t n; (n = weir_transport_send(&l.server, data + sent, sizeof data - sent)) > 0;)
        sent += (size_t)n;
    assert_true(sent < sizeof data);
    assert_int_equal(SSL_key_update(l.client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(weir_transport_send(&l.client, "after", 5), 5);
    tls_carry_one(&l.to_client, &l.to_server, SIZE_MAX);
    ssize_t n = weir_transport_read(&l.server, buf, sizeof buf);
    if (n == -EAGAIN) /* the answer has to go first */
        assert_int_equal(weir_transport_polls_for_read(&l.server), WEIR_TRANSPORT_WRITABLE);
    unsigned char got[65536];
    for (int i = 0; i < 1000 && (have < sizeof data || n <= 0); i++) {
        tls_carry(&l, SIZE_MAX);
        ssize_t m = weir_transport_read(&l.client, got, sizeof got);
        if (m > 0)
            assert_memory_equal(got, data + have, (size_t)m);
        have += m > 0 ? (size_t)m : 0;
        if (sent < sizeof data) {
            m = weir_transport_send(&l.server, data + sent, sizeof data - sent);
            assert_true(m > 0 || m == -EAGAIN);
            sent += m > 0 ? (size_t)m : 0;
        }
        if (n <= 0)
            n = weir_transport_read(&l.server, buf, sizeof buf);
        assert_true(n > 0 || n == -EAGAIN);
    }
    assert_int_equal(n, 5);
    assert_int_equal(have, sizeof data);
    tls_part(&l);
}

static void a_record_that_was_changed_ends_it(void **state)
{
    struct tls_link l;
    char buf[200], why[WEIR_TRANSPORT_WHY_MAX];
    (void)state;
    tls_connect(&l, "web");
    tls_carry(&l, SIZE_MAX);
    assert_int_equal(weir_transport_send(&l.client, "0123456789", 10), 10);
    ssize_t n = recv(l.to_client, buf, sizeof buf, 0);
    assert_true(n > 10);
    buf[n - 1] = (char)(buf[n - 1] ^ 1);
    assert_int_equal(send(l.to_server, buf, (size_t)n, 0), n);
    ssize_t rc = weir_transport_read(&l.server, buf, sizeof buf);
    assert_int_equal(rc, -EPROTO);
    assert_string_equal(weir_transport_code(&l.server, (int)rc), "TLS_PROTOCOL");
    assert_non_null(strstr(weir_transport_why(&l.server, (int)rc, why), "decryption failed"));
    assert_int_equal(weir_transport_read(&l.server, buf, sizeof buf), -EPROTO);
    assert_int_equal(weir_transport_send(&l.server, "x", 1), -EPIPE);
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left for others */
    tls_part(&l);
}

static void a_peer_that_is_gone_is_an_error_and_no_signal(void **state)
{
    struct tls_link l;
    (void)state;
    struct sigaction by_default = {.sa_handler = SIG_DFL}, before;
    sigaction(SIGPIPE, &by_default, &before);
    tls_connect(&l, "web");
    close(l.to_server);
    l.to_server = -1;
    ssize_t n = weir_transport_send(&l.server, "x", 1);
    assert_int_equal(n, -EPIPE);
    assert_string_equal(weir_transport_code(&l.server, (int)n), "EPIPE");
    tls_part(&l);
    sigaction(SIGPIPE, &before, NULL);
}

static void plain_ones_do_the_same_without_tls(void **state)
{
    struct weir_transport a, b;
    int one, two;
    char buf[100], why[WEIR_TRANSPORT_WHY_MAX];
    (void)state;
    tls_pair_of_sockets(&one, &two);
    weir_transport_init(&a, one);
    weir_transport_init(&b, two);
    assert_false(weir_transport_is_tls(&a));
    assert_int_equal(weir_transport_handshake(&a), 0);
    assert_int_equal(weir_transport_read(&b, buf, sizeof buf), -EAGAIN);
    struct iovec iov[] = {{(void *)(uintptr_t) "ab", 2}, {NULL, 0}, {(void *)(uintptr_t) "c", 1}};
    assert_int_equal(weir_transport_writev(&a, iov, 3), 3);
    assert_int_equal(weir_transport_send(&a, "d", 1), 1);
    assert_int_equal(weir_transport_read(&b, buf, sizeof buf), 4);
    assert_memory_equal(buf, "abcd", 4);
    assert_false(weir_transport_pending(&b));
    assert_int_equal(weir_transport_shutdown(&a), 0);
    assert_int_equal(weir_transport_read(&b, buf, sizeof buf), 0);
    assert_false(weir_transport_truncated(&b));
    assert_null(weir_transport_info(&a));
    weir_transport_close(&a, false);
    weir_transport_close(&a, false);
    ssize_t n = weir_transport_send(&b, "x", 1);
    assert_int_equal(n, -EPIPE);
    assert_string_equal(weir_transport_code(&b, (int)n), "EPIPE");
    assert_string_equal(weir_transport_why(&b, (int)n, why), "Broken pipe");
    weir_transport_close(&b, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_arrive_one_at_a_time),
        TEST(large_transfers_are_whole_in_both_directions),
        TEST(a_handshake_cut_anywhere_fails_on_both_sides),
        TEST(an_end_that_was_said_is_not_a_truncation),
        TEST(an_end_that_was_not_said_is_a_truncation),
        TEST(small_reads_are_told_of_the_rest),
        TEST(half_a_record_is_no_pending_read),
        TEST(a_write_that_was_cut_short_goes_on_from_another_buffer),
        TEST(pieces_share_records_and_keep_their_order),
        TEST(new_keys_are_agreed_on_while_nothing_can_be_written),
        TEST(a_record_that_was_changed_ends_it),
        TEST(a_peer_that_is_gone_is_an_error_and_no_signal),
        TEST(plain_ones_do_the_same_without_tls),
    };
    return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
