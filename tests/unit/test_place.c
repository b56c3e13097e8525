/* Where admin sockets are, and which one a command means. Each test has a runtime folder of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/client.h"
#include "admin/place.h"
#include "base/mem.h"

static char runtime[] = "/tmp/weir-test-place-XXXXXX";

static int set_up(void **state)
{
    (void)state;
    memcpy(strrchr(runtime, '-') + 1, "XXXXXX", 6);
    if (mkdtemp(runtime) == NULL)
        return -1;
    unsetenv("WEIR_ADMIN");
    return setenv("XDG_RUNTIME_DIR", runtime, 1);
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", runtime);
    assert_int_equal(weir_mem_live(), 0);
    return system(command);
}

/* A socket NAME.sock in the folder, listened on until the descriptor is closed. */
static int listen_as(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/weir/%s.sock", runtime, name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void make_folder(void)
{
    struct weir_err err;
    char *folder = weir_place_folder();
    if (weir_place_make(folder, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    weir_free(folder);
}

static int find(const char *given, char *out, size_t size, struct weir_err *err)
{
    char *path = NULL;
    int rc = weir_place_find(given, &path, err);
    if (rc == WEIR_OK)
        snprintf(out, size, "%s", path);
    else
        assert_null(path);
    weir_free(path);
    return rc;
}

static void the_folder_is_made_for_its_user_alone(void **state)
{
    (void)state;
    struct stat st;
    char *folder = weir_place_folder();
    make_folder();
    make_folder();
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    weir_free(folder);
}

static void a_relative_runtime_folder_is_ignored(void **state)
{
    (void)state;
    char expected[64];
    setenv("XDG_RUNTIME_DIR", "here", 1);
    snprintf(expected, sizeof expected, "/tmp/weir-%lu", (unsigned long)geteuid());
    char *folder = weir_place_folder();
    assert_string_equal(folder, expected);
    weir_free(folder);
}

static void a_folder_that_others_may_enter_is_refused(void **state)
{
    (void)state;
    struct weir_err err;
    char path[128], target[128];
    make_folder();
    char *folder = weir_place_folder();
    assert_int_equal(chmod(folder, 0755), 0);
    assert_true(weir_place_make(folder, &err) < 0);
    assert_non_null(strstr(err.text, "others may enter it (mode 755, expected 700)"));
    assert_int_equal(find(NULL, path, sizeof path, &err), WEIR_E_NOHOST);
    assert_non_null(strstr(err.text, "mode 755"));
    assert_int_equal(rmdir(folder), 0);
    snprintf(target, sizeof target, "%s/elsewhere", runtime);
    assert_int_equal(mkdir(target, 0700), 0);
    assert_int_equal(symlink(target, folder), 0);
    assert_true(weir_place_make(folder, &err) < 0);
    assert_non_null(strstr(err.text, "not a folder"));
    weir_free(folder);
}

static void what_is_given_is_taken_as_it_is(void **state)
{
    (void)state;
    struct weir_err err;
    char path[128];
    setenv("WEIR_ADMIN", "/from/environment", 1);
    assert_int_equal(find("/x.sock", path, sizeof path, &err), WEIR_OK);
    assert_string_equal(path, "/x.sock");
    assert_int_equal(find("unix:/x.sock", path, sizeof path, &err), WEIR_OK);
    assert_string_equal(path, "/x.sock");
    assert_int_equal(find(NULL, path, sizeof path, &err), WEIR_OK);
    assert_string_equal(path, "/from/environment");
}

static void without_a_host_it_says_where_it_looked(void **state)
{
    (void)state;
    struct weir_err err;
    char path[128];
    assert_int_equal(find(NULL, path, sizeof path, &err), WEIR_E_NOHOST);
    assert_non_null(strstr(err.text, runtime));
    make_folder();
    assert_int_equal(find(NULL, path, sizeof path, &err), WEIR_E_NOHOST);
    assert_non_null(strstr(err.text, runtime));
}

static void the_only_host_is_found_and_what_a_killed_one_left_is_not(void **state)
{
    (void)state;
    struct weir_err err;
    char path[128], expected[128];
    make_folder();
    assert_int_equal(close(listen_as("killed")), 0);
    int fd = listen_as("shop");
    assert_int_equal(find(NULL, path, sizeof path, &err), WEIR_OK);
    snprintf(expected, sizeof expected, "%s/weir/shop.sock", runtime);
    assert_string_equal(path, expected);
    assert_true(weir_client_probe(path));
    assert_int_equal(close(fd), 0);
    assert_false(weir_client_probe(path));
    assert_int_equal(find(NULL, path, sizeof path, &err), WEIR_E_NOHOST);
}

static void of_several_hosts_all_are_listed(void **state)
{
    (void)state;
    struct weir_err err;
    char path[128];
    make_folder();
    int one = listen_as("one"), two = listen_as("two");
    assert_int_equal(find(NULL, path, sizeof path, &err), WEIR_E_INVAL);
    assert_non_null(strstr(err.text, "/weir/one.sock"));
    assert_non_null(strstr(err.text, "/weir/two.sock"));
    close(one);
    close(two);
}

static void a_path_too_long_for_a_socket_is_refused(void **state)
{
    (void)state;
    struct weir_err err;
    struct weir_client_answer answer = {0, WEIR_STRBUF_INIT};
    char path[200];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_false(weir_client_probe(path));
    assert_int_equal(weir_client_ask(&(struct weir_client_question){.path = path, .target = "/"}, &answer, &err), WEIR_E_INVAL);
    assert_non_null(strstr(err.text, "longer than the 107 bytes"));
}

static void a_lack_of_memory_is_an_error_and_leaves_nothing(void **state)
{
    (void)state;
    struct weir_err err;
    make_folder();
    int fd = listen_as("shop"), rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        char *path = NULL;
        weir_mem_fail_after(n);
        rc = weir_place_find(NULL, &path, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && path == NULL));
        weir_free(path);
        assert_int_equal(weir_mem_live(), 0);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_folder_is_made_for_its_user_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_relative_runtime_folder_is_ignored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_others_may_enter_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_given_is_taken_as_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_host_it_says_where_it_looked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_only_host_is_found_and_what_a_killed_one_left_is_not, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(of_several_hosts_all_are_listed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_path_too_long_for_a_socket_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lack_of_memory_is_an_error_and_leaves_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
