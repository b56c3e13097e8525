#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/beneath.h"

static void hidden_and_climbing_segments_are_not_allowed(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "/a", "a/b.c", "a//b", "a/", "~", "a b", "%2e%2e", "a.."};
    static const char *const bad[] = {"",      "/",  "///",    ".",    "..",    "../a",  "a/..", "a/../b",
                                      "a/./b", ".a", "a/.b/c", "a\\b", "..\\a", "/../a", "//.."};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(weir_beneath_allows(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(weir_beneath_allows(bad[i]));
}

static char root[] = "/tmp/weir-beneath-XXXXXX";

static const char *in_root(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void make_file(const char *name)
{
    int fd = open(in_root(name), O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
}

static int make_tree(void **state)
{
    (void)state;
    memcpy(root + sizeof root - 7, "XXXXXX", 6);
    if (mkdtemp(root) == NULL || mkdir(in_root("folder"), 0755) < 0 || mkfifo(in_root("pipe"), 0644) < 0 ||
        symlink("/etc/passwd", in_root("out")) < 0 || symlink("../../etc", in_root("up")) < 0 ||
        symlink("folder/file", in_root("link")) < 0)
        return -1;
    make_file("folder/file");
    make_file("file");
    return 0;
}

static int remove_tree(void **state)
{
    static const char *const names[] = {"folder/file", "file", "pipe", "out", "up", "link"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_root(names[i]));
    rmdir(in_root("folder"));
    rmdir(root);
    return test_teardown(state);
}

static int open_result(const char *path)
{
    struct stat st;
    int fd = weir_beneath_open(root, path, &st);
    if (fd < 0)
        return fd;
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_size, 1);
    close(fd);
    return 0;
}

static void only_regular_files_beneath_the_root_are_opened(void **state)
{
    (void)state;
    assert_int_equal(open_result("file"), 0);
    assert_int_equal(open_result("folder/file"), 0);
    assert_int_equal(open_result("/folder//file"), 0);
    assert_int_equal(open_result("nothing"), -ENOENT);
    assert_int_equal(open_result("folder"), -ENOENT);
    assert_int_equal(open_result("folder/"), -ENOENT);
    assert_int_equal(open_result("file/"), -ENOENT);
    assert_int_equal(open_result("file/x"), -ENOENT);
    assert_int_equal(open_result("pipe"), -ENOENT);
    assert_int_equal(open_result("out"), -EACCES);
    assert_int_equal(open_result("up/passwd"), -EACCES);
    assert_int_equal(open_result("../etc/passwd"), -ENOENT);
}

static void a_root_that_is_not_there_has_no_files(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(weir_beneath_open("/nonexistent", "file", &st), -ENOENT);
    assert_int_equal(weir_beneath_open("/etc/passwd", "file", &st), -ENOENT);
}

static void long_names_are_not_found(void **state)
{
    (void)state;
    char name[6000];
    memset(name, 'a', sizeof name);
    name[300] = '\0';
    assert_int_equal(open_result(name), -ENOENT);
    name[300] = 'a';
    name[sizeof name - 1] = '\0';
    assert_int_equal(open_result(name), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hidden_and_climbing_segments_are_not_allowed),
        cmocka_unit_test_setup_teardown(only_regular_files_beneath_the_root_are_opened, make_tree,
                                        remove_tree),
        TEST(a_root_that_is_not_there_has_no_files),
        cmocka_unit_test_setup_teardown(long_names_are_not_found, make_tree, remove_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
