#include "io/file_job.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/mem.h"
#include "core/worker.h"
#include "io/file_threads.h"

enum {
    FIRST = 4 << 10, /* bytes of data that are asked for before anything is known of the file */
    STEP = 4 << 10,  /* bytes that a file which says 0, as those of /proc do, is read by at first */
    NAMES_TRIED = 1000, /* for the file that is to replace another */
    WANTS = 1,       /* an operation's answer: more room, then it goes on */
};

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

/* Room for `more` bytes of data: 0, WANTS or a negative errno. */
static int make_room(struct weir_file_job *job, size_t more)
{
    size_t cap = job->data.len + more + 1;
    if (cap <= job->data.cap)
        return 0;
    job->wanted = cap;
    if (cap > job->granted)
        return WANTS;
    return weir_strbuf_resize(&job->data, cap) ? 0 : -ENOMEM;
}

/* What the file has left, and one byte more, which tells whether it has grown. */
static size_t next_step(const struct weir_file_job *job)
{
    uint64_t at = job->offset + job->data.len, size = (uint64_t)job->stat.st_size;
    uint64_t left = job->data.len > STEP ? job->data.len : STEP, room = job->max - job->data.len;
    if (size > at)
        left = size - at;
    return (size_t)(left < room ? left : room) + 1;
}

static int read_all(struct weir_file_job *job)
{
    for (;;) {
        size_t room = job->max - job->data.len, step = next_step(job);
        int rc = make_room(job, step);
        if (rc != 0)
            return rc;
        ssize_t n = pread(job->fd, job->data.data + job->data.len, step, (off_t)(job->offset + job->data.len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if ((size_t)n > room && job->whole)
            return -EFBIG;
        job->data.len += (size_t)n > room ? room : (size_t)n;
        if (n == 0 || (size_t)n > room || ((size_t)n < step && job->stat.st_size > 0)) /* all, enough, all */
            return 0;
    }
}

static int read_file(struct weir_file_job *job)
{
    if (job->fd < 0) {
        int fd = open_file(job, O_RDONLY);
        if (fd < 0)
            return fd;
        job->fd = fd;
        int rc = check_regular(job, fd);
        if (rc != 0)
            return rc;
        uint64_t size = (uint64_t)job->stat.st_size;
        if (job->whole && size > job->offset && size - job->offset > job->max)
            return -EFBIG;
    }
    return read_all(job);
}

static int write_all(struct weir_file_job *job, int fd)
{
    int rc = weir_fd_write_all(fd, job->data.data, job->data.len);
    return rc == 0 && job->sync && fsync(fd) != 0 ? -errno : rc;
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

/* A new file in `parent` under a name that is free: one of a process that died may be there still. Its descriptor, or a negative errno. */
static int create_beside(const struct weir_file_job *job, int parent, char *name, size_t size)
{
    static _Atomic unsigned counter;
    for (int tries = 1;; tries++) {
        snprintf(name, size, ".weir-%ld-%u", (long)getpid(), atomic_fetch_add(&counter, 1));
        int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, job->mode != 0 ? job->mode : 0644);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST || tries == NAMES_TRIED)
            return -errno;
    }
}

static int replace(struct weir_file_job *job)
{
    const char *name;
    char beside[64];
    int parent = open_parent(job, job->path, &name);
    if (parent < 0)
        return parent;
    int fd = create_beside(job, parent, beside, sizeof beside), rc = fd < 0 ? fd : 0;
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

static int open_folder(struct weir_file_job *job)
{
    int fd = open_file(job, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fd;
    job->dir = fdopendir(fd); /* takes it over */
    if (job->dir != NULL)
        return 0;
    int error = errno;
    close(fd);
    return -error;
}

static int add_name(struct weir_file_job *job, const char *name)
{
    size_t len = strlen(name) + 1, more = job->data.len > FIRST / 2 ? job->data.len : FIRST / 2;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    if (len > job->max - job->data.len)
        return -EFBIG;
    int rc = job->data.cap - job->data.len > len ? 0 : make_room(job, len > more ? len : more);
    if (rc == 0)
        weir_strbuf_add(&job->data, name, len);
    return rc;
}

static int list(struct weir_file_job *job)
{
    int rc = job->dir == NULL ? open_folder(job) : 0;
    while (rc == 0 && (job->entry != NULL || (errno = 0, job->entry = readdir(job->dir)) != NULL)) {
        rc = add_name(job, job->entry->d_name);
        if (rc == 0)
            job->entry = NULL;
    }
    return rc == 0 && errno != 0 ? -errno : rc;
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
        return read_file(job);
    case WEIR_FILE_WRITE:
        return on_open_file(job, O_WRONLY | O_CREAT | O_TRUNC, write_regular);
    case WEIR_FILE_APPEND:
        return on_open_file(job, O_WRONLY | O_CREAT | O_APPEND, write_regular);
    case WEIR_FILE_REPLACE:
        return replace(job);
    case WEIR_FILE_STAT:
        return on_open_file(job, O_PATH, stat_file);
    case WEIR_FILE_LIST:
        return list(job);
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

static void close_files(struct weir_file_job *job)
{
    if (job->fd >= 0)
        close(job->fd);
    if (job->dir != NULL)
        closedir(job->dir);
    job->fd = -1;
    job->dir = NULL;
}

static void on_work(uv_work_t *work)
{
    struct weir_file_job *job = WEIR_LIST_ENTRY(work, struct weir_file_job, work); /* not by work->data: see handover.h */
    weir_handover_take(&job->handover);
    job->rc = run(job);
    if (job->rc != WANTS)
        close_files(job);
    weir_handover_give(&job->handover);
}

static void on_done(uv_work_t *work, int status);

static void queue(uv_loop_t *loop, struct weir_file_job *job)
{
    weir_handover_give(&job->handover);
    weir_file_threads_begin();
    uv_queue_work(loop, &job->work, on_work, on_done); /* fails only without a function */
}

static void on_done(uv_work_t *work, int status)
{
    struct weir_file_job *job = WEIR_LIST_ENTRY(work, struct weir_file_job, work); /* not by work->data: see handover.h */
    weir_handover_take(&job->handover);
    weir_file_threads_end();
    if (status != 0 || (job->rc == WANTS && job->cancelled))
        job->rc = -ECANCELED;
    if (job->rc == WANTS && weir_holder_hold(job->holder, job->wanted)) {
        job->granted = job->wanted;
        queue(work->loop, job);
        return;
    }
    job->error = job->rc == WANTS ? ENOMEM : -job->rc;
    close_files(job);
    if (job->rc == WANTS) { /* it makes way for others before the opener goes on */
        weir_strbuf_fini(&job->data);
        (void)weir_holder_hold(job->holder, 0); /* less is never refused */
    }
    job->done(job);
}

struct weir_file_job *weir_file_job_create(enum weir_file_op op, const char *root, const char *path, const char *to)
{
    struct weir_file_job *job = weir_calloc(1, sizeof *job);
    if (job == NULL)
        return NULL;
    job->op = op;
    job->fd = -1;
    job->root = weir_strdup(root);
    job->path = weir_strdup(path);
    job->to = to != NULL ? weir_strdup(to) : NULL;
    if (job->root != NULL && job->path != NULL && (to == NULL || job->to != NULL))
        return job;
    weir_file_job_destroy(job);
    return NULL;
}

bool weir_file_job_start(struct weir_worker *w, struct weir_file_job *job)
{
    bool fills = job->op == WEIR_FILE_READ || job->op == WEIR_FILE_LIST;
    if (fills && !weir_holder_hold(job->holder, FIRST))
        return false;
    job->granted = fills ? FIRST : 0;
    queue(&w->loop, job);
    return true;
}

void weir_file_job_cancel(struct weir_file_job *job)
{
    job->cancelled = true;
    (void)uv_cancel((uv_req_t *)&job->work); /* one that runs already can't be */
}

void weir_file_job_destroy(struct weir_file_job *job)
{
    if (job == NULL)
        return;
    weir_free(job->root);
    weir_free(job->path);
    weir_free(job->to);
    weir_strbuf_fini(&job->data);
    weir_free(job);
}
