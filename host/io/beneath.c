#include "io/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    OPEN_FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
}; /* non-blocking: a FIFO must not hold us up */

bool weir_beneath_allows(const char *path)
{
    path += strspn(path, "/");
    if (*path == '\0' || strchr(path, '\\') != NULL)
        return false;
    for (const char *segment = path; *segment != '\0';) {
        size_t len = strcspn(segment, "/");
        if (segment[0] == '.')
            return false; /* ".", "..", and what is hidden */
        segment += len;
        segment += strspn(segment, "/");
    }
    return true;
}

/* Without openat2: one segment after the other, no symbolic link followed at all. */
static int open_by_segments(int root, const char *path)
{
    char name[NAME_MAX + 1];
    int at = root;
    for (;;) {
        size_t len = strcspn(path, "/");
        const char *next = path + len + strspn(path + len, "/");
        if (len > NAME_MAX) {
            errno = ENAMETOOLONG;
            len = 0;
        }
        memcpy(name, path, len);
        name[len] = '\0';
        bool last = *next == '\0' && path[len] == '\0';
        int fd = len == 0
                     ? -1
                     : openat(at, name,
                              last ? OPEN_FLAGS | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int error = errno;
        if (at != root)
            close(at);
        errno = error;
        if (fd < 0 || last)
            return fd;
        at = fd;
        path = next;
        if (*path == '\0') { /* "folder/" */
            close(at);
            errno = ENOENT;
            return -1;
        }
    }
}

static int open_in(int root, const char *path)
{
    static _Atomic bool missing; /* [atomic relaxed] the kernel, or a filter, has no openat2; finding that out
                                    twice does no harm */
    struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    if (!atomic_load_explicit(&missing, memory_order_relaxed)) {
        long fd = -1;
        for (int tries = 0; tries < 3 && fd < 0; tries++) {
            fd = syscall(SYS_openat2, root, path, &how, sizeof how);
            if (fd < 0 && errno != EAGAIN) /* EAGAIN: something was renamed meanwhile */
                break;
        }
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
            return (int)fd;
        atomic_store_explicit(&missing, true, memory_order_relaxed);
    }
    return open_by_segments(root, path);
}

static int refused(int error)
{
    return error == EACCES || error == EXDEV || error == ELOOP || error == EPERM ? -EACCES
           : error == EMFILE || error == ENFILE || error == ENOMEM               ? -error
                                                                                 : -ENOENT;
}

int weir_beneath_open(const char *root, const char *path, struct stat *ret_stat)
{
    if (!weir_beneath_allows(path))
        return -ENOENT;
    path += strspn(path, "/");
    int folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return refused(errno);
    int fd = open_in(folder, path), error = errno;
    close(folder);
    if (fd < 0)
        return refused(error);
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -ENOENT;
    }
    *ret_stat = st;
    return fd;
}
