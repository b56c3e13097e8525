#include "base/linefile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "base/sync.h"

enum { BUFFER_MAX = 1 << 20 };

struct weir_linefile {
    struct weir_mutex mu;      /* rank WEIR_RANK_LOG */
    pthread_cond_t changed;    /* with mu: lines came, or `stopping` */
    pthread_t writer;          /* [const] */
    char *path;                /* [const] NULL: the descriptor was handed in */
    struct weir_strbuf filled; /* [mu] what writers append to */
    uint64_t dropped;          /* [mu] in all */
    uint64_t unreported;       /* [mu] dropped since the last line that said so */
    bool reopen, stopping;     /* [mu] */
    uint64_t give_up_ns;       /* [mu] set with stopping: when to stop writing */
    int fd;                    /* [owner: writer thread] */
};

static int open_path(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

static bool past_give_up(struct weir_linefile *f)
{
    weir_mutex_lock(&f->mu);
    bool past = f->stopping && weir_clock_ns() > f->give_up_ns;
    weir_mutex_unlock(&f->mu);
    return past;
}

/* How many bytes a write may have that must not block: a pipe that can be written to takes PIPE_BUF, of more it may wait for the rest. */
static size_t write_max(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? SIZE_MAX : PIPE_BUF;
}

/* Writes all of it; waits for a slow reader, but not past the end given by close. */
static void write_out(struct weir_linefile *f, const char *bytes, size_t len)
{
    size_t max = write_max(f->fd);
    while (len > 0 && !past_give_up(f)) {
        struct pollfd ready = {.fd = f->fd, .events = POLLOUT};
        if (poll(&ready, 1, 100) <= 0)
            continue;
        ssize_t n = write(f->fd, bytes, len < max ? len : max);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return; /* nowhere to say so */
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
}

static void reopen_path(struct weir_linefile *f)
{
    int fd = f->path == NULL ? -1 : open_path(f->path);
    if (fd < 0)
        return;
    close(f->fd);
    f->fd = fd;
}

static void *run_writer(void *arg)
{
    struct weir_linefile *f = arg;
    struct weir_strbuf taken = WEIR_STRBUF_INIT;
    for (;;) {
        weir_mutex_lock(&f->mu);
        while (f->filled.len == 0 && !f->stopping && !f->reopen)
            pthread_cond_wait(&f->changed, &f->mu.mu);
        struct weir_strbuf swap = f->filled;
        f->filled = taken;
        taken = swap;
        uint64_t lost = f->unreported;
        bool reopen = f->reopen, last = f->stopping && taken.len == 0;
        f->unreported = 0;
        f->reopen = false;
        weir_mutex_unlock(&f->mu);
        if (reopen)
            reopen_path(f);
        write_out(f, taken.data, taken.len);
        weir_strbuf_clear(&taken);
        if (lost != 0) {
            weir_strbuf_addf(&taken, "(%llu lines dropped: the reader of this log is too slow)\n", (unsigned long long)lost);
            write_out(f, taken.data, taken.len);
            weir_strbuf_clear(&taken);
        }
        if (last)
            break;
    }
    weir_strbuf_fini(&taken);
    return NULL;
}

int weir_linefile_open(const char *path, int fd, struct weir_linefile **ret, struct weir_err *reterr)
{
    struct weir_linefile *f = weir_calloc(1, sizeof *f);
    if (f == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path ? path : "log");
    int rc = WEIR_OK;
    if (path != NULL && (f->path = weir_strdup(path)) == NULL) {
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", path);
        goto fail_free;
    }
    f->fd = path != NULL ? open_path(path) : fd;
    if (f->fd < 0) {
        rc = weir_err_set(reterr, WEIR_E_IO, "%s: can't open for writing: %s", path, strerror(errno));
        goto fail_path;
    }
    weir_mutex_init(&f->mu, WEIR_RANK_LOG, "linefile");
    pthread_cond_init(&f->changed, NULL);
    int failed = WEIR_FAULT(THREAD_CREATE) ? EAGAIN : pthread_create(&f->writer, NULL, run_writer, f);
    if (failed != 0) {
        rc = weir_err_set(reterr, WEIR_E_IO, "%s: can't start its writer thread: %s", path ? path : "log",
                          strerror(failed));
        goto fail_fd;
    }
    *ret = f;
    return WEIR_OK;
fail_fd:
    pthread_cond_destroy(&f->changed);
    weir_mutex_fini(&f->mu);
    if (path != NULL)
        close(f->fd);
fail_path:
    weir_free(f->path);
fail_free:
    weir_free(f);
    return rc;
}

void weir_linefile_close(struct weir_linefile *f, unsigned wait_ms)
{
    if (f == NULL)
        return;
    weir_mutex_lock(&f->mu);
    f->stopping = true;
    f->give_up_ns = weir_clock_ns() + wait_ms * WEIR_NS_PER_MS;
    pthread_cond_signal(&f->changed);
    weir_mutex_unlock(&f->mu);
    pthread_join(f->writer, NULL);
    if (f->path != NULL)
        close(f->fd);
    pthread_cond_destroy(&f->changed);
    weir_mutex_fini(&f->mu);
    weir_strbuf_fini(&f->filled);
    weir_free(f->path);
    weir_free(f);
}

void weir_linefile_write(struct weir_linefile *f, const char *line, size_t len)
{
    weir_mutex_lock(&f->mu);
    bool fits = f->filled.len + len <= BUFFER_MAX;
    if (fits) {
        weir_strbuf_add(&f->filled, line, len);
        fits = !f->filled.failed;
        f->filled.failed = false;
    }
    if (!fits) {
        f->dropped++;
        f->unreported++;
    }
    pthread_cond_signal(&f->changed);
    weir_mutex_unlock(&f->mu);
}

void weir_linefile_reopen(struct weir_linefile *f)
{
    weir_mutex_lock(&f->mu);
    f->reopen = true;
    pthread_cond_signal(&f->changed);
    weir_mutex_unlock(&f->mu);
}

uint64_t weir_linefile_dropped(struct weir_linefile *f)
{
    weir_mutex_lock(&f->mu);
    uint64_t n = f->dropped;
    weir_mutex_unlock(&f->mu);
    return n;
}
