#include "io/file_look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/strbuf.h"

bool weir_file_is_pattern(const char *path)
{
    return strpbrk(path, "*?[") != NULL;
}

static int add(struct weir_file_list *list, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
        list->skipped++;
        return WEIR_OK;
    }
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 16 : list->room * 2;
        struct weir_file_seen *files = weir_realloc(list->files, room * sizeof *files);
        if (files == NULL)
            return WEIR_E_NOMEM;
        list->files = files;
        list->room = room;
    }
    char *copy = weir_strdup(path);
    if (copy == NULL)
        return WEIR_E_NOMEM;
    list->files[list->count++] = (struct weir_file_seen){
        .path = copy,
        .dev = st.st_dev,
        .ino = st.st_ino,
        .size = (uint64_t)st.st_size,
        .changed_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
    };
    return WEIR_OK;
}

static int add_matches(struct weir_file_list *list, const char *pattern)
{
    glob_t found;
    int rc = glob(pattern, 0, NULL, &found), failed = rc == GLOB_NOSPACE ? WEIR_E_NOMEM : WEIR_OK;
    for (size_t i = 0; rc == 0 && i < found.gl_pathc && failed == WEIR_OK; i++)
        failed = add(list, found.gl_pathv[i]);
    globfree(&found);
    return failed;
}

int weir_file_list_fill(struct weir_file_list *list, const char *const *patterns, size_t count)
{
    int rc = WEIR_OK;
    *list = (struct weir_file_list){.files = NULL};
    for (size_t i = 0; i < count && rc == WEIR_OK; i++)
        rc = weir_file_is_pattern(patterns[i]) ? add_matches(list, patterns[i]) : add(list, patterns[i]);
    return rc;
}

void weir_file_list_fini(struct weir_file_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        weir_free(list->files[i].path);
    weir_free(list->files);
    *list = (struct weir_file_list){.files = NULL};
}

static bool is_it(const struct stat *st, uint64_t dev, uint64_t ino)
{
    return S_ISREG(st->st_mode) && st->st_dev == dev && st->st_ino == ino;
}

/* Opens `name` in `dir` (AT_FDCWD: a path) if it is the one. */
static int open_if(int dir, const char *name, uint64_t dev, uint64_t ino)
{
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && is_it(&st, dev, ino))
        return fd;
    close(fd);
    return -ENOENT;
}

static DIR *open_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder =
        slash == NULL ? weir_strdup(".") : weir_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    DIR *dir = folder != NULL ? opendir(folder) : NULL;
    weir_free(folder);
    return dir;
}

int weir_file_open(const char *path, uint64_t dev, uint64_t ino)
{
    int fd = open_if(AT_FDCWD, path, dev, ino);
    if (fd != -ENOENT)
        return fd;
    DIR *dir = open_folder_of(path);
    struct dirent *entry;
    while (dir != NULL && fd == -ENOENT && (entry = readdir(dir)) != NULL)
        if (entry->d_ino == ino)
            fd = open_if(dirfd(dir), entry->d_name, dev, ino);
    if (dir != NULL)
        closedir(dir);
    return fd;
}

static ssize_t read_at(int fd, void *data, size_t room, uint64_t offset)
{
    ssize_t n;
    do
        n = pread(fd, data, room, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n;
}

/* After the read: what was read is of the file as it was, or the head says that it isn't. */
static void check_head(struct weir_file_chunk *c)
{
    unsigned char now[WEIR_FILE_HEAD_MAX];
    ssize_t n = read_at(c->fd, now, sizeof now, 0);
    if (n < 0) {
        c->error = errno;
        return;
    }
    uint64_t known = c->offset + c->len;
    if ((size_t)n < c->head.len || memcmp(now, c->head.bytes, c->head.len) != 0) {
        c->truncated = true;
        c->len = 0;
        return;
    }
    size_t len = known < (uint64_t)n ? (size_t)known : (size_t)n;
    if (len > c->head.len) {
        memcpy(c->head.bytes, now, len);
        c->head.len = len;
    }
}

void weir_file_read(struct weir_file_chunk *c)
{
    struct stat st;
    c->len = 0;
    c->at_end = c->truncated = false;
    c->error = 0;
    ssize_t n = read_at(c->fd, c->data, c->room, c->offset);
    if (n < 0 || fstat(c->fd, &st) != 0) {
        c->error = errno;
        return;
    }
    c->len = (size_t)n;
    c->at_end = n == 0;
    if (n == 0 && (uint64_t)st.st_size < c->offset)
        c->truncated = true;
    else
        check_head(c);
}
