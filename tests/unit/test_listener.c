#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/listener.h"

static struct weir_listener *open_ok(const char *address, bool many)
{
    struct weir_err err = {0};
    struct weir_listener *l = NULL;
    struct weir_listener_options o = {.address = address, .many = many};
    if (weir_listener_open(&o, &l, &err) < 0)
        fail_msg("%s: %s", address, err.text);
    return l;
}

static void open_fails(const char *address, int code, const char *part)
{
    struct weir_err err = {0};
    struct weir_listener *l = NULL;
    struct weir_listener_options o = {.address = address};
    assert_int_equal(weir_listener_open(&o, &l, &err), code);
    assert_null(l);
    if (strstr(err.text, part) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, part);
}

static int port_of(int fd)
{
    struct sockaddr_in in;
    socklen_t len = sizeof in;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    return ntohs(in.sin_port);
}

static void port_0_gives_one_port_to_all_sockets(void **state)
{
    (void)state;
    struct weir_err err;
    struct weir_listener *l = open_ok("127.0.0.1:0", true);
    int fds[3] = {weir_listener_fd(l, 0)};
    assert_int_equal(weir_listener_add(l, &fds[1], &err), WEIR_OK);
    assert_int_equal(weir_listener_add(l, &fds[2], &err), WEIR_OK);
    assert_int_equal(weir_listener_count(l), 3);
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%d", port_of(fds[0]));
    assert_string_equal(weir_listener_text(l), text);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(port_of(fds[i]), port_of(fds[0]));
        assert_int_equal(weir_listener_fd(l, (size_t)i), fds[i]);
    }
    weir_listener_close(l);
}

static void a_taken_port_is_an_error_even_to_our_like(void **state)
{
    (void)state;
    struct weir_listener *l = open_ok("127.0.0.1:0", true);
    open_fails(weir_listener_text(l), WEIR_E_EXISTS, "Address already in use");
    char text[64];
    snprintf(text, sizeof text, "%s", weir_listener_text(l));
    weir_listener_close(l);
    weir_listener_close(open_ok(text, true)); /* it is free again */
}

static void addresses_that_are_none_are_refused(void **state)
{
    (void)state;
    open_fails("", WEIR_E_INVAL, "expected an address");
    open_fails("127.0.0.1", WEIR_E_INVAL, "port");
    open_fails("127.0.0.1:x", WEIR_E_INVAL, "port");
    open_fails("127.0.0.1:65536", WEIR_E_INVAL, "65535");
    open_fails("192.0.2.1:80", WEIR_E_IO, "192.0.2.1:80"); /* an address of nobody's */
    struct weir_err err;
    assert_int_equal(weir_listener_check(":8080", &err), WEIR_OK);
    assert_int_equal(weir_listener_check("8080", &err), WEIR_E_INVAL);
}

static void every_interface_is_shown_as_a_place_to_go_to(void **state)
{
    (void)state;
    struct weir_listener *l = open_ok(":0", false);
    assert_int_equal(strncmp(weir_listener_text(l), "127.0.0.1:", 10), 0);
    weir_listener_close(l);
}

static char folder[] = "/tmp/weir-listener-XXXXXX";

static const char *socket_path(void)
{
    static char text[100];
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(folder));
    snprintf(text, sizeof text, "unix:%s/s", folder);
    return text;
}

static void a_unix_socket_has_the_mode_asked_for_and_goes_with_its_listener(void **state)
{
    (void)state;
    struct weir_err err;
    struct stat st;
    const char *address = socket_path();
    struct weir_listener *l = NULL;
    struct weir_listener_options o = {.address = address, .mode = 0600};
    assert_int_equal(weir_listener_open(&o, &l, &err), WEIR_OK);
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_string_equal(weir_listener_text(l), address);
    assert_true(weir_listener_is_unix(l));
    int fd = -1;
    assert_int_equal(weir_listener_add(l, &fd, &err), WEIR_OK);
    assert_int_equal(fd, weir_listener_fd(l, 0));
    open_fails(address, WEIR_E_EXISTS, "Address already in use");
    weir_listener_close(l);
    assert_int_equal(rmdir(folder), 0);
}

static void a_dead_socket_is_replaced_and_other_files_are_not(void **state)
{
    (void)state;
    const char *address = socket_path();
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", address + 5);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&un, sizeof un), 0);
    close(dead);
    weir_listener_close(open_ok(address, false));
    FILE *f = fopen(address + 5, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    open_fails(address, WEIR_E_IO, "left alone");
    assert_int_equal(unlink(address + 5), 0);
    assert_int_equal(rmdir(folder), 0);
    open_fails(address, WEIR_E_IO, "No such file");
}

static void a_file_that_is_not_ours_any_more_stays(void **state)
{
    (void)state;
    const char *address = socket_path();
    struct weir_listener *l = open_ok(address, false);
    assert_int_equal(unlink(address + 5), 0);
    struct weir_listener *other = open_ok(address, false);
    weir_listener_close(l);
    struct stat st;
    assert_int_equal(stat(address + 5, &st), 0);
    weir_listener_close(other);
    assert_int_equal(rmdir(folder), 0);
}

static void abstract_sockets_have_no_file(void **state)
{
    (void)state;
    char address[64];
    snprintf(address, sizeof address, "unix:@weir-test-%d", (int)getpid());
    struct weir_listener *l = open_ok(address, false);
    open_fails(address, WEIR_E_EXISTS, "in use");
    assert_int_equal(access(address + 5, F_OK), -1);
    weir_listener_close(l);
}

static void no_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_err err;
        struct weir_listener *l = NULL;
        struct weir_listener_options o = {.address = "127.0.0.1:0", .many = true};
        weir_mem_fail_after(n);
        rc = weir_listener_open(&o, &l, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && l == NULL));
        weir_listener_close(l);
        assert_int_equal(weir_mem_live(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(port_0_gives_one_port_to_all_sockets),
        TEST(a_taken_port_is_an_error_even_to_our_like),
        TEST(addresses_that_are_none_are_refused),
        TEST(every_interface_is_shown_as_a_place_to_go_to),
        TEST(a_unix_socket_has_the_mode_asked_for_and_goes_with_its_listener),
        TEST(a_dead_socket_is_replaced_and_other_files_are_not),
        TEST(a_file_that_is_not_ours_any_more_stays),
        TEST(abstract_sockets_have_no_file),
        TEST(no_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
