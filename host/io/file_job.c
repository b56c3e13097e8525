#include "io/file_job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "core/worker.h"

enum { READ_STEP = 64 << 10 };

/* --- reaching the file --- */

static int open_root(const struct weir_file_job *job)
{
    return open(job->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int open_at(const struct weir_file_job *job, int root, const char *path, int flags)
{
    struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY)),
                           .mode = flags & O_CREAT ? (job->mode != 0 ? job->mode : 0644) : 0,
                           .resolve = job->beneath ? RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS : 0};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/* A negative errno on failure. O_NONBLOCK: a FIFO must not hold the thread. */
static int open_file(const struct weir_file_job *job, int flags)
{
    int root = open_root(job);
    if (root < 0)
        return -errno;
    int fd = open_at(job, root, job->path, flags & O_PATH ? flags : flags | O_NONBLOCK), error = errno;
    close(root);
    return fd < 0 ? -(error == EXDEV ? EACCES : error) : fd;
}

/* The folder that `path` names something in, opened, and that name. */
static int open_parent(const struct weir_file_job *job, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    *ret_name = slash != NULL ? slash + 1 : path;
    if (**ret_name == '\0' || strcmp(*ret_name, "..") == 0 || strcmp(*ret_name, ".") == 0)
        return -EINVAL;
    int root = open_root(job);
    if (root < 0)
        return -errno;
    if (slash == NULL)
        return root;
    char *parent = weir_asprintf("%.*s", slash == path ? 1 : (int)(slash - path), path);
    int fd = parent != NULL ? open_at(job, root, parent, O_PATH | O_DIRECTORY) : -1;
    int error = parent != NULL ? errno : ENOMEM;
    weir_free(parent);
    close(root);
    return fd < 0 ? -(error == EXDEV ? EACCES : error) : fd;
}

/* --- the operations; each returns 0 or a negative errno --- */

static int check_regular(struct weir_file_job *job, int fd)
{
    if (fstat(fd, &job->stat) != 0)
        return -errno;
    if (S_ISDIR(job->stat.st_mode))
        return -EISDIR;
    return S_ISREG(job->stat.st_mode) ? 0 : -EINVAL;
}

static int read_all(struct weir_file_job *job, int fd)
{
    int rc = check_regular(job, fd);
    while (rc == 0) {
        size_t room = job->max - job->data.len, step = room < READ_STEP ? room + 1 : READ_STEP; /* one more tells that there is more */
        if (!weir_strbuf_reserve(&job->data, step))
            return -ENOMEM;
        ssize_t n = pread(fd, job->data.data + job->data.len, step, (off_t)(job->offset + job->data.len));
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        if ((size_t)n > room && job->whole)
            return -EFBIG;
        job->data.len += (size_t)n > room ? room : (size_t)n;
        if ((size_t)n > room)
            break;
    }
    return rc;
}

static int write_all(struct weir_file_job *job, int fd)
{
    size_t at = 0;
    while (at < job->data.len) {
        ssize_t n = write(fd, job->data.data + at, job->data.len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += (size_t)n;
    }
    return job->sync && fsync(fd) != 0 ? -errno : 0;
}

static int on_open_file(struct weir_file_job *job, int flags, int (*fn)(struct weir_file_job *job, int fd))
{
    int fd = open_file(job, flags);
    if (fd < 0)
        return fd;
    int rc = fn(job, fd);
    if (close(fd) != 0 && rc == 0)
        rc = -errno;
    return rc;
}

static int write_regular(struct weir_file_job *job, int fd)
{
    int rc = check_regular(job, fd);
    return rc == 0 ? write_all(job, fd) : rc;
}

static int replace(struct weir_file_job *job)
{
    static _Atomic unsigned counter;
    const char *name;
    char beside[64];
    int parent = open_parent(job, job->path, &name);
    if (parent < 0)
        return parent;
    snprintf(beside, sizeof beside, ".weir-%ld-%u", (long)getpid(), atomic_fetch_add(&counter, 1));
    int fd = openat(parent, beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, job->mode != 0 ? job->mode : 0644);
    int rc = fd < 0 ? -errno : 0;
    job->sync = true;
    if (rc == 0)
        rc = write_all(job, fd);
    if (fd >= 0 && close(fd) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && renameat(parent, beside, parent, name) != 0)
        rc = -errno;
    if (rc != 0 && fd >= 0)
        (void)unlinkat(parent, beside, 0); /* nothing more can be done about it */
    close(parent);
    return rc;
}

static int stat_file(struct weir_file_job *job, int fd)
{
    return fstat(fd, &job->stat) != 0 ? -errno : 0;
}

static int list(struct weir_file_job *job, int fd)
{
    int copy = dup(fd); /* fdopendir takes it over */
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (dir == NULL) {
        int error = errno;
        if (copy >= 0)
            close(copy);
        return -error;
    }
    int rc = 0;
    struct dirent *entry;
    while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            weir_strbuf_add(&job->data, entry->d_name, strlen(entry->d_name) + 1);
        rc = job->data.failed ? -ENOMEM : job->data.len > job->max ? -EFBIG : 0;
    }
    if (rc == 0 && errno != 0)
        rc = -errno;
    closedir(dir);
    return rc;
}

static int remove_entry(struct weir_file_job *job)
{
    const char *name;
    int parent = open_parent(job, job->path, &name);
    if (parent < 0)
        return parent;
    int rc = unlinkat(parent, name, 0) == 0 ? 0 : -errno;
    if (rc == -EISDIR)
        rc = unlinkat(parent, name, AT_REMOVEDIR) == 0 ? 0 : -errno;
    close(parent);
    return rc;
}

static int rename_entry(struct weir_file_job *job)
{
    const char *name, *new_name;
    int parent = open_parent(job, job->path, &name);
    if (parent < 0)
        return parent;
    int new_parent = open_parent(job, job->to, &new_name);
    int rc = new_parent < 0 ? new_parent : 0;
    if (rc == 0 && renameat(parent, name, new_parent, new_name) != 0)
        rc = -errno;
    close(parent);
    if (new_parent >= 0)
        close(new_parent);
    return rc;
}

static int make_folder(struct weir_file_job *job)
{
    const char *name;
    int parent = open_parent(job, job->path, &name);
    if (parent < 0)
        return parent;
    int rc = mkdirat(parent, name, job->mode != 0 ? job->mode : 0755) == 0 ? 0 : -errno;
    close(parent);
    return rc;
}

static int run(struct weir_file_job *job)
{
    switch (job->op) {
    case WEIR_FILE_READ:
        return on_open_file(job, O_RDONLY, read_all);
    case WEIR_FILE_WRITE:
        return on_open_file(job, O_WRONLY | O_CREAT | O_TRUNC, write_regular);
    case WEIR_FILE_APPEND:
        return on_open_file(job, O_WRONLY | O_CREAT | O_APPEND, write_regular);
    case WEIR_FILE_REPLACE:
        return replace(job);
    case WEIR_FILE_STAT:
        return on_open_file(job, O_PATH, stat_file);
    case WEIR_FILE_LIST:
        return on_open_file(job, O_RDONLY | O_DIRECTORY, list);
    case WEIR_FILE_REMOVE:
        return remove_entry(job);
    case WEIR_FILE_RENAME:
        return rename_entry(job);
    case WEIR_FILE_MAKE_FOLDER:
        return make_folder(job);
    }
    return -EINVAL;
}

/* --- the job --- */

static void on_work(uv_work_t *work)
{
    struct weir_file_job *job = WEIR_LIST_ENTRY(work, struct weir_file_job, work); /* not by work->data: see handover.h */
    weir_handover_take(&job->handover);
    job->error = -run(job);
    weir_handover_give(&job->handover);
}

static void on_done(uv_work_t *work, int status)
{
    struct weir_file_job *job = WEIR_LIST_ENTRY(work, struct weir_file_job, work); /* not by work->data: see handover.h */
    weir_handover_take(&job->handover);
    if (status != 0)
        job->error = ECANCELED;
    if (job->done != NULL)
        job->done(job);
    else
        weir_file_job_destroy(job);
}

struct weir_file_job *weir_file_job_create(enum weir_file_op op, const char *root, const char *path, const char *to)
{
    struct weir_file_job *job = weir_calloc(1, sizeof *job);
    if (job == NULL)
        return NULL;
    job->op = op;
    job->root = weir_strdup(root);
    job->path = weir_strdup(path);
    job->to = to != NULL ? weir_strdup(to) : NULL;
    if (job->root != NULL && job->path != NULL && (to == NULL || job->to != NULL))
        return job;
    weir_file_job_destroy(job);
    return NULL;
}

void weir_file_job_start(struct weir_worker *w, struct weir_file_job *job)
{
    weir_handover_give(&job->handover);
    uv_queue_work(&w->loop, &job->work, on_work, on_done); /* fails only without a function */
}

void weir_file_job_abandon(struct weir_file_job *job)
{
    job->done = NULL;
    (void)uv_cancel((uv_req_t *)&job->work); /* one that runs already can't be */
}

void weir_file_job_destroy(struct weir_file_job *job)
{
    weir_free(job->root);
    weir_free(job->path);
    weir_free(job->to);
    weir_strbuf_fini(&job->data);
    weir_free(job);
}
