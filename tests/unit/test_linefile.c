#include "base/linefile.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "test.h"

static char path[64], old_path[72];

static int make_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/weir-linefile-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    unlink(path);
    snprintf(old_path, sizeof old_path, "%s.1", path);
    return 0;
}

static int remove_path(void **state)
{
    unlink(path);
    unlink(old_path);
    return test_teardown(state);
}

static size_t read_file(const char *name, char *buffer, size_t size)
{
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, buffer, size - 1);
    assert_true(n >= 0);
    close(fd);
    buffer[n] = '\0';
    return (size_t)n;
}

static void lines_are_in_the_file_after_close(void **state)
{
    (void)state;
    struct weir_linefile *f = NULL;
    struct weir_err err;
    assert_int_equal(weir_linefile_open(path, -1, &f, &err), WEIR_OK);
    weir_linefile_write(f, "one\n", 4);
    weir_linefile_write(f, "two\n", 4);
    weir_linefile_close(f, 1000);
    assert_int_equal(weir_linefile_open(path, -1, &f, &err), WEIR_OK); /* appends */
    weir_linefile_write(f, "three\n", 6);
    assert_int_equal(weir_linefile_dropped(f), 0);
    weir_linefile_close(f, 1000);
    char text[64];
    read_file(path, text, sizeof text);
    assert_string_equal(text, "one\ntwo\nthree\n");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0);
}

static void reopen_follows_a_rotation(void **state)
{
    (void)state;
    struct weir_linefile *f = NULL;
    assert_int_equal(weir_linefile_open(path, -1, &f, NULL), WEIR_OK);
    weir_linefile_write(f, "old\n", 4);
    assert_int_equal(rename(path, old_path), 0);
    weir_linefile_reopen(f);
    struct stat st;
    while (stat(path, &st) != 0) /* the writer makes it anew, in its own time */
        poll(NULL, 0, 1);
    weir_linefile_write(f, "new\n", 4);
    weir_linefile_close(f, 1000);
    char text[64], old_text[64];
    read_file(path, text, sizeof text);
    read_file(old_path, old_text, sizeof old_text);
    assert_string_equal(strstr(text, "new"), "new\n");
    assert_int_equal(strlen(text) + strlen(old_text), 8);
}

static void a_slow_reader_costs_lines_that_are_counted(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct weir_linefile *f = NULL;
    assert_int_equal(weir_linefile_open(NULL, ends[1], &f, NULL), WEIR_OK);
    static char line[64 << 10];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (int i = 0; i < 100;
         i++) /* nobody reads: 6.4 MB for a pipe of 64 KiB, a buffer of 1 MiB and what the writer holds */
        weir_linefile_write(f, line, sizeof line);
    uint64_t dropped = weir_linefile_dropped(f);
    assert_true(dropped >= 50);
    weir_linefile_close(f, 0); /* does not wait for the reader */
    close(ends[1]);
    close(ends[0]);
}

static void what_was_dropped_is_said_when_there_is_room_again(void **state)
{
    (void)state;
    struct weir_linefile *f = NULL;
    assert_int_equal(weir_linefile_open(path, -1, &f, NULL), WEIR_OK);
    size_t too_large = (1 << 20) + 1;
    char *line = weir_calloc(1, too_large);
    assert_non_null(line);
    weir_linefile_write(f, line, too_large);
    weir_linefile_write(f, line, too_large);
    weir_free(line);
    weir_linefile_write(f, "small\n", 6);
    assert_int_equal(weir_linefile_dropped(f), 2);
    weir_linefile_close(f, 1000);
    char text[256];
    read_file(path, text, sizeof text);
    assert_non_null(strstr(text, "small\n"));
    assert_non_null(strstr(text, "lines dropped"));
}

static void open_fails_with_the_path_in_its_text(void **state)
{
    (void)state;
    struct weir_linefile *f = NULL;
    struct weir_err err;
    assert_int_equal(weir_linefile_open("/nowhere/at/all.log", -1, &f, &err), WEIR_E_IO);
    assert_null(f);
    assert_non_null(strstr(err.text, "/nowhere/at/all.log"));
    weir_linefile_close(NULL, 0);
}

static void open_fails_without_a_thread(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct weir_linefile *f = NULL;
    struct weir_err err;
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 1);
    assert_int_equal(weir_linefile_open(path, -1, &f, &err), WEIR_E_IO);
    assert_null(f);
    assert_int_equal(weir_mem_live(), 0);
}

static void open_survives_any_failed_allocation(void **state)
{
    (void)state;
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_linefile *f = NULL;
        weir_mem_fail_after(n);
        rc = weir_linefile_open(path, -1, &f, NULL);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && f == NULL));
        weir_linefile_close(f, 1000);
        assert_int_equal(weir_mem_live(), 0);
    }
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, make_path, remove_path)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(lines_are_in_the_file_after_close),
        FILE_TEST(reopen_follows_a_rotation),
        FILE_TEST(a_slow_reader_costs_lines_that_are_counted),
        FILE_TEST(what_was_dropped_is_said_when_there_is_room_again),
        FILE_TEST(open_fails_with_the_path_in_its_text),
        FILE_TEST(open_fails_without_a_thread),
        FILE_TEST(open_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests_name("linefile", tests, NULL, NULL);
}
