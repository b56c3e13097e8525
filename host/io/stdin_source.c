/* Pipes, terminals and sockets are polled and read without blocking; what can't be polled (files) is read by
 * libuv's threads. Descriptor 0 is often shared with the shell and others, who would be surprised to find it
 * non-blocking: pipes and terminals are opened a second time, so that it is only ours that is; of a socket,
 * for which that can't be done, the mode is put back at the end. */
#include "io/stdin_source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "config/conf.h"
#include "config/problems.h"
#include "config/types.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/source.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/class_rule.h"
#include "io/framing.h"
#include "io/intake.h"
#include "io/sole.h"
#include "io/source_value.h"

enum { CHUNK = 64 << 10 };

static const struct weir_option options_of_stdin[] = {
    WEIR_CLASS_OPTION,
    WEIR_FRAMING_OPTIONS,
    {.name = "stop_when_done",
     .type = WEIR_OPTION_BOOL,
     .fallback = "true",
     .text = "at the end of the input the host finishes what is in flight and ends"},
};

static void check(const struct weir_conf *options, struct weir_problems *problems)
{
    struct weir_framing framing;
    struct weir_err err;
    if (weir_framing_from_options(options, &framing, &err) < 0)
        weir_problems_error(problems, weir_conf_mark(options), "%s", err.text);
}

const struct weir_app_type weir_stdin_source_type = {
    .name = "stdin",
    .kind = WEIR_APP_SOURCE,
    .makes_streams = true,
    .text = "makes an event of each line, or other frame, of the standard input",
    .options = options_of_stdin,
    .option_count = sizeof options_of_stdin / sizeof *options_of_stdin,
    .check = check,
};

/* Two readers of one input would each get a part of it. */
static _Atomic bool taken; /* [atomic seq_cst] */

struct maker {
    struct weir_stage *stage;    /* [const] */
    struct weir_framing framing; /* [const] */
    bool stop_when_done;         /* [const] */
    struct weir_intake_counts counts;
};

/* All fields belong to the worker once it runs. */
struct instance {
    struct weir_source base; /* first */
    struct maker *maker;     /* [const] */
    struct weir_intake intake;
    int fd;    /* what is read: 0, or 0 opened once more */
    int flags; /* of descriptor 0, to be put back; -1: nothing was changed */
    uv_poll_t poll;
    uv_fs_t read;
    bool polls;   /* poll is open */
    bool reading; /* `read` is under way */
    bool stopped, closed, ended;
};

static struct instance *instance_of(const struct weir_source *s)
{
    return (struct instance *)(uintptr_t)s; /* the source is its first member */
}

static void say(enum weir_log_level level, const struct instance *in, const char *what, int errnum)
{
    weir_log(level, "stdin", NULL, "stage '%s': %s%s%s", in->maker->stage->name, what,
             errnum != 0 ? ": " : "", errnum != 0 ? strerror(errnum) : "");
}

/* ---- reading ---- */

static void end_of_input(struct instance *in, int errnum)
{
    if (errnum != 0)
        say(WEIR_LOG_ERROR, in, "the standard input can't be read any further", errnum);
    if (in->polls)
        uv_poll_stop(&in->poll);
    weir_intake_end(&in->intake);
}

static void got(struct instance *in, ssize_t n, int errnum)
{
    if (n < 0 && (errnum == EAGAIN || errnum == EINTR))
        return;
    if (n <= 0)
        end_of_input(in, n < 0 ? errnum : 0);
    else
        weir_intake_filled(&in->intake, (size_t)n);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct instance *in = poll->data;
    (void)events; /* a hang-up shows when it is read */
    (void)status;
    weir_worker_now(in->base.seat->worker);
    char *room = weir_intake_room(&in->intake, CHUNK);
    if (room == NULL)
        return; /* no memory: the poll asks again */
    ssize_t n = read(in->fd, room, CHUNK);
    got(in, n, errno);
    if (in->polls && (in->intake.busy || in->intake.last))
        uv_poll_stop(&in->poll);
}

static void read_file(struct instance *in);

static void on_read(uv_fs_t *req)
{
    struct instance *in = req->data;
    ssize_t n = req->result;
    uv_fs_req_cleanup(req);
    in->reading = false;
    if (in->closed)
        return;
    weir_worker_now(in->base.seat->worker);
    got(in, n, n < 0 ? (int)-n : 0);
    if (n == -EINTR || n == -EAGAIN)
        read_file(in);
}

static void read_file(struct instance *in)
{
    char *room = weir_intake_room(&in->intake, CHUNK);
    uv_buf_t buf = uv_buf_init(room, room != NULL ? CHUNK : 0);
    in->read.data = in;
    int rc = room == NULL ? -ENOMEM
                          : uv_fs_read(&in->base.seat->worker->loop, &in->read, in->fd, &buf, 1, -1, on_read);
    if (rc < 0) {
        say(WEIR_LOG_ERROR, in, "the standard input can't be read any further", -rc);
        in->intake.last =
            true; /* nothing is in the buffer but the beginning of a frame, for which there is no memory */
        return;
    }
    in->reading = true;
}

static void on_hungry(struct weir_intake *intake)
{
    struct instance *in = WEIR_LIST_ENTRY(intake, struct instance, intake);
    if (intake->last) {
        if (!in->ended && in->maker->stop_when_done && !in->stopped)
            weir_graph_end(in->maker->stage->graph);
        in->ended = true;
    } else if (in->stopped) {
        if (weir_intake_pending(intake) > 0)
            say(WEIR_LOG_WARN, in, "stopped in the middle of a frame, which is left out", 0);
    } else if (in->polls) {
        uv_poll_start(&in->poll, UV_READABLE, on_readable);
    } else {
        read_file(in);
    }
}

static bool make_value(struct weir_intake *intake, const struct weir_cut_frame *frame, uint64_t offset,
                       struct weir_value *ret)
{
    (void)intake;
    (void)offset;
    return weir_source_value_string(frame->data, frame->len, ret);
}

static const struct weir_intake_ops intake_ops = {.make = make_value, .hungry = on_hungry};

/* ---- the source ---- */

static int cant(const struct instance *in, int errnum, struct weir_err *reterr)
{
    return weir_err_set(reterr, WEIR_E_IO, "stage '%s': the standard input can't be read: %s",
                        in->maker->stage->name, strerror(errnum));
}

/* A descriptor of our own for the same pipe or terminal, else descriptor 0 itself. */
static void choose_descriptor(struct instance *in)
{
    int fd = open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0) {
        in->fd = fd;
        return;
    }
    in->fd = STDIN_FILENO;
    in->flags = fcntl(STDIN_FILENO, F_GETFL);
}

static int begin_poll(struct instance *in)
{
    choose_descriptor(in);
    int rc = uv_poll_init(&in->base.seat->worker->loop, &in->poll, in->fd);
    if (rc < 0)
        return rc;
    in->poll.data = in;
    in->polls = true;
    return uv_poll_start(&in->poll, UV_READABLE, on_readable);
}

static void give_back(struct instance *in)
{
    if (in->fd > STDIN_FILENO)
        close(in->fd);
    if (in->flags >= 0 && (in->flags & O_NONBLOCK) == 0)
        (void)fcntl(STDIN_FILENO, F_SETFL,
                    in->flags); /* whoever shares it may find it non-blocking: nobody to tell */
    in->fd = -1;
    in->flags = -1;
}

static int start(struct weir_source *s, struct weir_err *reterr)
{
    struct instance *in = instance_of(s);
    struct stat st;
    if (fstat(STDIN_FILENO, &st) != 0)
        return cant(in, errno, reterr);
    if (S_ISDIR(st.st_mode))
        return cant(in, EISDIR, reterr);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        int rc = begin_poll(in);
        if (rc == 0)
            return WEIR_OK;
        if (rc != UV_EPERM) /* the system has no way to poll it, such as /dev/null */
            return cant(in, -rc, reterr);
        give_back(in);
    }
    in->fd = STDIN_FILENO;
    read_file(in);
    return WEIR_OK;
}

static void stop(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    assert(weir_sole_ends(s->seat));
    if (in->stopped)
        return;
    in->stopped = true;
    if (in->polls)
        uv_poll_stop(&in->poll);
    if (!in->intake.busy && !in->reading && !in->intake.last)
        on_hungry(&in->intake);
}

/* What was read is sent still. */
static bool idle(const struct weir_source *s)
{
    const struct instance *in = instance_of(s);
    return in->stopped && !in->reading && !in->intake.busy && !weir_feed_waiting(&in->intake.feed);
}

static void close_source(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    in->stopped = in->closed = true;
    weir_intake_stop(&in->intake);
    if (in->polls)
        uv_close((uv_handle_t *)&in->poll, NULL);
    in->polls = false;
    if (!in->reading)
        give_back(in);
}

static void destroy(struct weir_source *s)
{
    struct instance *in = instance_of(s);
    give_back(in);
    weir_intake_fini(&in->intake);
    weir_free(in);
}

static const struct weir_source_ops ops = {
    .start = start, .stop = stop, .idle = idle, .close = close_source, .destroy = destroy};

static int make(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    struct maker *k = self;
    struct weir_source *made = NULL;
    int rc = weir_sole_make(seat, sizeof(struct instance), &ops, &made, reterr);
    if (made == NULL)
        return rc;
    struct instance *in = instance_of(made);
    in->maker = k;
    in->fd = in->flags = -1;
    weir_intake_init(&in->intake, &intake_ops, &k->counts, seat, &k->framing);
    *ret = made;
    return WEIR_OK;
}

static void stats(void *self, struct weir_strbuf *out)
{
    struct maker *k = self;
    weir_intake_counts_print(&k->counts, out);
}

static void destroy_maker(void *self)
{
    weir_free(self);
    atomic_store(&taken, false);
}

int weir_stdin_source_open(struct weir_stage *stage, const struct weir_conf *options,
                           struct weir_source_maker *ret, char *bound, size_t size, struct weir_err *reterr)
{
    (void)bound; /* it has no address */
    (void)size;
    struct maker *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", stage->name);
    k->stage = stage;
    k->stop_when_done = weir_conf_option_bool(options, "stop_when_done");
    int rc = weir_framing_from_options(options, &k->framing, reterr);
    if (rc == WEIR_OK && atomic_exchange(&taken, true))
        rc = weir_err_set(reterr, WEIR_E_CONFIG, "stage '%s': another stage reads the standard input already",
                          stage->name);
    if (rc < 0) {
        weir_free(k);
        return rc;
    }
    if (k->stop_when_done)
        weir_graph_expect_end(stage->graph);
    *ret = (struct weir_source_maker){.make = make, .stats = stats, .destroy = destroy_maker, .self = k};
    return WEIR_OK;
}
