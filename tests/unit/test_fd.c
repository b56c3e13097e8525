#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test.h"

static int temporary(void)
{
    char path[] = "/tmp/weir-fd-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

static void all_of_it_is_written(void **state)
{
    (void)state;
    char got[16];
    int fd = temporary();
    assert_int_equal(weir_fd_write_all(fd, "hello", 5), 0);
    assert_int_equal(weir_fd_write_all(fd, NULL, 0), 0);
    assert_int_equal(pread(fd, got, sizeof got, 0), 5);
    assert_memory_equal(got, "hello", 5);
    close(fd);
}

/* The system writes the part that the limit leaves room for, and refuses the rest when it is asked again. */
static void a_short_write_is_gone_on_with(void **state)
{
    (void)state;
    struct rlimit kept, small;
    int fd = temporary();
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    assert_int_equal(sigaction(SIGXFSZ, &ignore, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    small = (struct rlimit){.rlim_cur = 3, .rlim_max = kept.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = weir_fd_write_all(fd, "hello", 5);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
    assert_int_equal(rc, -EFBIG);
    assert_int_equal(lseek(fd, 0, SEEK_END), 3);
    close(fd);
}

static void what_fails_says_why(void **state)
{
    (void)state;
    assert_int_equal(weir_fd_write_all(-1, "x", 1), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_of_it_is_written),
        TEST(a_short_write_is_gone_on_with),
        TEST(what_fails_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
