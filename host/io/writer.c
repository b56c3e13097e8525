#include "io/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"
#include "io/datepath.h"

enum {
    POLL_MS = 100,          /* how often a wait for a slow reader looks whether it is still wanted */
    KEEP_BYTES = 256 << 10, /* memory that an empty write keeps */
    FIRST_MARKS = 64,
};

struct weir_writer {
    struct weir_mutex mu;       /* rank WEIR_RANK_POOL */
    pthread_cond_t changed;     /* with mu; by the monotonic clock */
    pthread_t thread;           /* [const] */
    char *pattern;              /* [const] NULL: the descriptor was handed in */
    bool varies;                /* [const] the pattern holds a date */
    bool mkdir;                 /* [const] */
    enum weir_writer_sync sync; /* [const] */
    uint64_t sync_every_ns;     /* [const] */
    struct weir_list queue;     /* [mu] submitted */
    struct weir_list taken;     /* [mu] under way; what is in them is the thread's */
    bool reopen, stopping;      /* [mu] */
    uint64_t give_up_ns;        /* [mu] set with stopping: when to stop writing */

    /* [owner: thread] */
    int fd;              /* -1: a path that could not be opened the last time */
    bool own;            /* fd is ours to close */
    bool socket;         /* written to with send, which does not wait when told so */
    size_t max;          /* of one write that must not wait for a reader */
    char path[PATH_MAX]; /* what is open */
    time_t path_second;  /* when it was made of the pattern */
    bool dirty;          /* written to since the last sync */
    uint64_t sync_at_ns; /* when that is due */
};

/* ---- writes ---- */

struct weir_write *weir_write_create(struct weir_write_box *box)
{
    struct weir_write *wr = weir_calloc(1, sizeof *wr);
    if (wr == NULL)
        return NULL;
    wr->box = box;
    weir_list_init(&wr->node);
    weir_list_init(&wr->events);
    return wr;
}

bool weir_write_mark(struct weir_write *wr)
{
    if (wr->count == wr->cap) {
        size_t cap = wr->cap == 0 ? FIRST_MARKS : wr->cap * 2;
        size_t *ends = weir_realloc(wr->ends, cap * sizeof *ends);
        if (ends == NULL)
            return false;
        wr->ends = ends;
        wr->cap = cap;
    }
    wr->ends[wr->count++] = wr->bytes.len;
    return true;
}

void weir_write_reset(struct weir_write *wr)
{
    if (wr->bytes.cap > KEEP_BYTES)
        weir_strbuf_fini(&wr->bytes);
    else
        weir_strbuf_clear(&wr->bytes);
    wr->count = wr->written = 0;
    wr->error = 0;
}

void weir_write_destroy(struct weir_write *wr)
{
    if (wr == NULL)
        return;
    weir_strbuf_fini(&wr->bytes);
    weir_free(wr->ends);
    weir_free(wr);
}

/* ---- boxes ---- */

int weir_write_box_open(struct weir_write_box *box, uv_loop_t *loop, uv_async_cb on_done)
{
    weir_list_init(&box->done);
    int rc = uv_async_init(loop, &box->wake, on_done);
    box->open = rc == 0;
    return rc;
}

void weir_write_box_close(struct weir_writer *w, struct weir_write_box *box, uv_close_cb closed)
{
    weir_mutex_lock(&w->mu); /* the thread wakes it under the lock */
    box->open = false;
    weir_mutex_unlock(&w->mu);
    uv_close((uv_handle_t *)&box->wake, closed);
}

void weir_writer_submit(struct weir_writer *w, struct weir_write *wr)
{
    weir_mutex_lock(&w->mu);
    weir_list_append(&w->queue, &wr->node);
    pthread_cond_signal(&w->changed);
    weir_mutex_unlock(&w->mu);
}

void weir_writer_collect(struct weir_writer *w, struct weir_write_box *box, struct weir_list *ret)
{
    weir_mutex_lock(&w->mu);
    weir_list_splice(ret, &box->done);
    weir_mutex_unlock(&w->mu);
}

void weir_writer_revoke(struct weir_writer *w, struct weir_write_box *box, struct weir_list *ret_done,
                        struct weir_list *ret_events)
{
    struct weir_list unbegun;
    weir_list_init(&unbegun);
    weir_mutex_lock(&w->mu);
    weir_list_splice(ret_done, &box->done);
    WEIR_LIST_EACH(node, next, &w->taken)
    {
        struct weir_write *wr = WEIR_LIST_ENTRY(node, struct weir_write, node);
        if (wr->box != box || wr->abandoned)
            continue;
        weir_list_splice(ret_events, &wr->events);
        wr->abandoned = true;
        wr->box = NULL;
    }
    WEIR_LIST_EACH(waiting, following, &w->queue)
    {
        struct weir_write *wr = WEIR_LIST_ENTRY(waiting, struct weir_write, node);
        if (wr->box != box)
            continue;
        weir_list_remove(&wr->node);
        weir_list_splice(ret_events, &wr->events);
        weir_list_append(&unbegun, &wr->node);
    }
    weir_mutex_unlock(&w->mu);
    struct weir_list *node;
    while ((node = weir_list_take_first(&unbegun)) != NULL)
        weir_write_destroy(WEIR_LIST_ENTRY(node, struct weir_write, node));
}

/* ---- the descriptor; writer thread, or open before there is one ---- */

/* What a write may have that must not wait: all for a file; for a terminal, or a pipe that could not be
 * opened anew, what poll promises room for. */
static void learn_kind(struct weir_writer *w)
{
    struct stat st;
    w->socket = false;
    w->max = SIZE_MAX;
    if (fstat(w->fd, &st) < 0)
        return;
    w->socket = S_ISSOCK(st.st_mode);
    if ((fcntl(w->fd, F_GETFL) & O_NONBLOCK) == 0 && (S_ISFIFO(st.st_mode) || isatty(w->fd)))
        w->max = PIPE_BUF;
}

/* Makes the folders in front of the last '/'. */
static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0755); /* what can't be made is told by the open that follows */
        *slash = '/';
    }
}

/* Opens the path of now beside what is open. 0, or errno. */
static int open_path(struct weir_writer *w, bool truncate)
{
    char path[PATH_MAX];
    uint64_t wall = weir_clock_wall_ns();
    if (weir_datepath_expand(w->pattern, wall, path, sizeof path) < 0)
        return ENAMETOOLONG;
    if (w->mkdir)
        make_folders(path);
    /* O_NONBLOCK: a pipe that nobody reads is an error, not a wait; files take no notice */
    int fd =
        open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | (truncate ? O_TRUNC : 0), 0644);
    if (fd < 0)
        return errno;
    if (w->fd >= 0) {
        if (w->dirty && w->sync != WEIR_WRITER_NEVER)
            (void)fdatasync(w->fd); /* best effort for what was reported as written already */
        close(w->fd);
    }
    w->fd = fd;
    w->dirty = false;
    memcpy(w->path, path, sizeof path);
    w->path_second = (time_t)(wall / WEIR_NS_PER_S);
    learn_kind(w);
    return 0;
}

/* Follows the date, and opens what could not be opened before. 0, or errno. */
static int follow_path(struct weir_writer *w)
{
    time_t second = (time_t)(weir_clock_wall_ns() / WEIR_NS_PER_S);
    if (w->pattern == NULL || (w->fd >= 0 && (!w->varies || second == w->path_second)))
        return 0;
    char path[PATH_MAX];
    if (w->fd >= 0 &&
        weir_datepath_expand(w->pattern, (uint64_t)second * WEIR_NS_PER_S, path, sizeof path) == WEIR_OK &&
        strcmp(path, w->path) == 0) {
        w->path_second = second;
        return 0;
    }
    return open_path(w, false);
}

static void reopen_path(struct weir_writer *w)
{
    int error = w->pattern == NULL ? 0 : open_path(w, false);
    if (error != 0)
        weir_log(WEIR_LOG_ERROR, "sink", NULL,
                 "%s: can't be opened anew: %s; what was open is written to still", w->pattern,
                 strerror(error));
}

/* Whether `wr` is wanted still: its worker waits for it, and the writer need not end. */
static bool wanted(struct weir_writer *w, const struct weir_write *wr)
{
    weir_mutex_lock(&w->mu);
    bool yes = !wr->abandoned && !(w->stopping && weir_clock_ns() > w->give_up_ns);
    weir_mutex_unlock(&w->mu);
    return yes;
}

static ssize_t put(struct weir_writer *w, const char *bytes, size_t len, bool begun)
{
    if (WEIR_FAULT(WRITE_NOSPC)) {
        if (!begun)
            return write(w->fd, bytes, len / 2); /* armed twice: then the rest finds no room */
        errno = ENOSPC;
        return -1;
    }
    if (w->socket)
        return send(w->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return write(w->fd, bytes, len < w->max ? len : w->max);
}

static bool wait_for_room(struct weir_writer *w, const struct weir_write *wr)
{
    struct pollfd room = {.fd = w->fd, .events = POLLOUT};
    while (wanted(w, wr)) {
        int n = poll(&room, 1, POLL_MS);
        if (n > 0 || (n < 0 && errno != EINTR))
            return true;
    }
    return false;
}

/* Takes the rest of a cut frame out of the file again, if what we wrote last is its end. */
static void take_back(struct weir_writer *w, size_t cut)
{
    struct stat st;
    off_t at = lseek(w->fd, 0, SEEK_CUR);
    if (cut > 0 && fstat(w->fd, &st) == 0 && S_ISREG(st.st_mode) && at == st.st_size && at >= (off_t)cut)
        (void)!ftruncate(w->fd, at - (off_t)cut); /* else the frame stays cut: nothing better can be done */
}

/* Writes `wr`, waits for a slow reader as long as it is wanted. */
static void write_one(struct weir_writer *w, struct weir_write *wr)
{
    size_t done = 0, len = wr->bytes.len;
    wr->doing = "write to";
    while (done < len && wr->error == 0) {
        if (w->max == PIPE_BUF && !wait_for_room(w, wr))
            break;
        ssize_t n = put(w, wr->bytes.data + done, len - done, done > 0);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno == EAGAIN) {
            if (!wait_for_room(w, wr))
                break;
        } else if (n < 0 && errno != EINTR)
            wr->error = errno;
    }
    while (wr->written < wr->count && wr->ends[wr->written] <= done)
        wr->written++;
    size_t whole = wr->written > 0 ? wr->ends[wr->written - 1] : 0;
    if (wr->error == 0 && wr->written < wr->count)
        wr->error = ECANCELED;
    take_back(w, done - whole);
    if (done > 0 && !w->dirty) {
        w->dirty = true;
        w->sync_at_ns = weir_clock_ns() + w->sync_every_ns;
    }
}

static int sync_file(struct weir_writer *w)
{
    w->dirty = false;
    if (WEIR_FAULT(FSYNC_EIO))
        return EIO;
    return fdatasync(w->fd) == 0 || errno == EINVAL || errno == EROFS
               ? 0
               : errno; /* EINVAL: a pipe has no disk */
}

/* ---- the thread ---- */

static bool sync_pending(const struct weir_writer *w)
{
    return w->dirty && w->sync == WEIR_WRITER_INTERVAL;
}

/* Until there is something to do; takes all that is queued. Returns false when it is to end. */
static bool take_all(struct weir_writer *w, bool *ret_reopen)
{
    weir_mutex_lock(&w->mu);
    while (weir_list_empty(&w->queue) && !w->stopping && !w->reopen) {
        if (!sync_pending(w)) {
            pthread_cond_wait(&w->changed, &w->mu.mu);
            continue;
        }
        struct timespec until = {.tv_sec = (time_t)(w->sync_at_ns / WEIR_NS_PER_S),
                                 .tv_nsec = (long)(w->sync_at_ns % WEIR_NS_PER_S)};
        if (weir_clock_ns() >= w->sync_at_ns ||
            pthread_cond_timedwait(&w->changed, &w->mu.mu, &until) == ETIMEDOUT)
            break;
    }
    weir_list_splice(&w->taken, &w->queue);
    *ret_reopen = w->reopen;
    w->reopen = false;
    bool go_on = !w->stopping || !weir_list_empty(&w->taken) || *ret_reopen;
    weir_mutex_unlock(&w->mu);
    return go_on;
}

/* The i-th write under way; the list grows and shrinks only by this thread. */
static struct weir_write *next_taken(struct weir_writer *w, const struct weir_write *after)
{
    weir_mutex_lock(&w->mu);
    struct weir_list *node = after != NULL ? after->node.next : w->taken.next;
    weir_mutex_unlock(&w->mu);
    return node == &w->taken ? NULL : WEIR_LIST_ENTRY(node, struct weir_write, node);
}

static void write_taken(struct weir_writer *w)
{
    bool any = false;
    for (struct weir_write *wr = next_taken(w, NULL); wr != NULL; wr = next_taken(w, wr)) {
        if (!wanted(w, wr)) {
            wr->error = ECANCELED;
            wr->doing = "write to";
            continue;
        }
        wr->error = follow_path(w);
        wr->doing = "open";
        if (wr->error == 0)
            write_one(w, wr);
        any = any || wr->written > 0;
    }
    int error = any && w->sync == WEIR_WRITER_ALWAYS ? sync_file(w) : 0;
    for (struct weir_write *wr = error != 0 ? next_taken(w, NULL) : NULL; wr != NULL;
         wr = next_taken(w, wr)) {
        if (wr->written == 0)
            continue;
        wr->written = 0; /* what of it is on the disk nobody knows */
        wr->error = error;
        wr->doing = "sync";
    }
}

/* Under one lock, so that a revoke sees each write in exactly one place. */
static void give_back(struct weir_writer *w)
{
    struct weir_list abandoned, *node;
    weir_list_init(&abandoned);
    weir_mutex_lock(&w->mu);
    while ((node = weir_list_take_first(&w->taken)) != NULL) {
        struct weir_write *wr = WEIR_LIST_ENTRY(node, struct weir_write, node);
        if (wr->abandoned) {
            weir_list_append(&abandoned, node);
            continue;
        }
        weir_list_append(&wr->box->done, node);
        if (wr->box->open)
            uv_async_send(&wr->box->wake);
    }
    weir_mutex_unlock(&w->mu);
    while ((node = weir_list_take_first(&abandoned)) != NULL)
        weir_write_destroy(WEIR_LIST_ENTRY(node, struct weir_write, node));
}

static void sync_if_due(struct weir_writer *w, bool last)
{
    bool due = sync_pending(w) && (last || weir_clock_ns() >= w->sync_at_ns);
    int error = due ? sync_file(w) : 0;
    if (error != 0)
        weir_log(WEIR_LOG_ERROR, "sink", NULL, "%s: can't be synced to the disk: %s", w->path,
                 strerror(error));
}

static void *run_thread(void *arg)
{
    struct weir_writer *w = arg;
    bool reopen;
    while (take_all(w, &reopen)) {
        if (reopen)
            reopen_path(w);
        write_taken(w);
        give_back(w);
        sync_if_due(w, false);
    }
    sync_if_due(w, true);
    return NULL;
}

/* ---- open and close ---- */

/* A pipe of our own that does not wait: the flag would be seen by everyone who has the one that was handed
 * in. */
static void take_descriptor(struct weir_writer *w, int fd)
{
    struct stat st;
    char link[40];
    w->fd = fd;
    if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        int own = open(link, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        w->own = own >= 0;
        w->fd = own >= 0 ? own : fd;
    }
    learn_kind(w);
}

static int start_thread(struct weir_writer *w)
{
    pthread_condattr_t by_monotonic;
    pthread_condattr_init(&by_monotonic);
    pthread_condattr_setclock(&by_monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &by_monotonic);
    pthread_condattr_destroy(&by_monotonic);
    weir_mutex_init(&w->mu, WEIR_RANK_POOL, "writer");
    return WEIR_FAULT(THREAD_CREATE) ? EAGAIN : pthread_create(&w->thread, NULL, run_thread, w);
}

int weir_writer_open(const struct weir_writer_settings *o, struct weir_writer **ret, struct weir_err *reterr)
{
    const char *name = o->path != NULL ? o->path : "stdout";
    if (o->path != NULL && weir_datepath_check(o->path, reterr) < 0)
        return WEIR_E_CONFIG;
    struct weir_writer *w = weir_calloc(1, sizeof *w);
    if (w == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", name);
    int rc = WEIR_OK;
    w->fd = -1;
    w->mkdir = o->mkdir;
    w->sync = o->sync;
    w->sync_every_ns = o->sync_every_ns;
    weir_list_init(&w->queue);
    weir_list_init(&w->taken);
    if (o->path == NULL) {
        take_descriptor(w, o->fd);
    } else {
        w->own = true;
        w->varies = weir_datepath_varies(o->path);
        w->pattern = weir_strdup(o->path);
        int error = w->pattern == NULL ? ENOMEM : open_path(w, o->truncate);
        if (error != 0) {
            rc = weir_err_set(reterr, error == ENOMEM ? WEIR_E_NOMEM : WEIR_E_IO,
                              "%s: can't open for writing: %s", name, strerror(error));
            goto fail;
        }
    }
    int failed = start_thread(w);
    if (failed == 0) {
        *ret = w;
        return WEIR_OK;
    }
    rc = weir_err_set(reterr, WEIR_E_IO, "%s: can't start its writer thread: %s", name, strerror(failed));
    pthread_cond_destroy(&w->changed);
    weir_mutex_fini(&w->mu);
fail:
    if (w->own && w->fd >= 0)
        close(w->fd);
    weir_free(w->pattern);
    weir_free(w);
    return rc;
}

void weir_writer_reopen(struct weir_writer *w)
{
    weir_mutex_lock(&w->mu);
    w->reopen = true;
    pthread_cond_signal(&w->changed);
    weir_mutex_unlock(&w->mu);
}

void weir_writer_close(struct weir_writer *w, unsigned wait_ms)
{
    if (w == NULL)
        return;
    weir_mutex_lock(&w->mu);
    w->stopping = true;
    w->give_up_ns = weir_clock_ns() + wait_ms * WEIR_NS_PER_MS;
    pthread_cond_signal(&w->changed);
    weir_mutex_unlock(&w->mu);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    weir_mutex_fini(&w->mu);
    if (w->own && w->fd >= 0)
        close(w->fd);
    weir_free(w->pattern);
    weir_free(w);
}
