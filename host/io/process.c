#include "io/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/list.h"
#include "base/mem.h"
#include "core/service.h"
#include "core/timer.h"
#include "core/worker.h"

extern char **environ;

static const uint64_t GRACE_NS = 2 * WEIR_NS_PER_S; /* from TERM to KILL */

enum { READ_STEP = 16 << 10, READS_PER_POLL = 8 };

/* All processes of a worker: they end with its loop. */
struct keeper {
    struct weir_service service;
    struct weir_list processes;
    bool closing;
};

enum { INPUT, OUTPUT, ERRORS, END, POLLS };

struct process {
    struct weir_process p; /* first */
    struct weir_worker *worker;
    struct keeper *keeper;
    struct weir_list node;
    pid_t pid;
    struct weir_timer timer; /* the timeout, then the grace */
    uv_poll_t polls[POLLS];
    int fds[POLLS]; /* -1: closed */
    unsigned open;  /* polls that the loop has */
    char *input;
    size_t input_len, input_pos;
    size_t max_output;
    struct weir_holder *holder; /* NULL: nobody, or it was closed */
    bool ended, told, closed, terminated;
};

static struct process *process_of(struct weir_process *p)
{
    return (struct process *)(void *)p; /* its first member */
}

/* --- memory --- */

static size_t held_input(const struct process *p)
{
    return p->input != NULL ? p->input_len : 0;
}

static void free_input(struct process *p)
{
    weir_free(p->input);
    p->input = NULL;
    (void)weir_holder_hold(p->holder, p->p.output.cap + p->p.errors.cap); /* less is never refused */
}

/* Room in `to`; false: refused, or there is none. */
static bool reserve(struct process *p, struct weir_strbuf *to, size_t more)
{
    const struct weir_strbuf *other = to == &p->p.output ? &p->p.errors : &p->p.output;
    return weir_holder_reserve(p->holder, to, more, other->cap + held_input(p));
}

/* --- letting go --- */

static void release(struct process *p)
{
    if (p->open > 0 || !p->ended || !p->closed)
        return;
    struct keeper *k = p->keeper;
    weir_list_remove(&p->node);
    if (k->closing && weir_list_empty(&k->processes))
        weir_free(k);
    weir_free(p);
}

static void on_closed(uv_handle_t *handle)
{
    struct process *p = handle->data;
    p->open--;
    release(p);
}

static void close_end(struct process *p, int which)
{
    if (p->fds[which] < 0)
        return;
    uv_close((uv_handle_t *)&p->polls[which], on_closed); /* before the descriptor */
    close(p->fds[which]);
    p->fds[which] = -1;
}

/* --- ending it --- */

static void send_signal(const struct process *p, int sig)
{
    if (!p->ended)
        (void)kill(-p->pid, sig); /* it may have ended just now, which its descriptor tells */
}

static void on_grace(struct weir_timer *timer)
{
    send_signal(WEIR_LIST_ENTRY(timer, struct process, timer), SIGKILL);
}

static void terminate(struct process *p)
{
    if (p->terminated || p->ended)
        return;
    p->terminated = true;
    send_signal(p, SIGTERM);
    p->timer.fire = on_grace;
    if (p->keeper->closing || weir_timer_set(p->worker, &p->timer, weir_worker_now(p->worker) + GRACE_NS) != WEIR_OK)
        send_signal(p, SIGKILL);
}

static void give_up(struct process *p, const char *code)
{
    if (p->p.code == NULL)
        p->p.code = code;
    terminate(p);
}

static void on_timeout(struct weir_timer *timer)
{
    give_up(WEIR_LIST_ENTRY(timer, struct process, timer), "TIMEOUT");
}

/* --- moving bytes --- */

/* `most` bytes at most: one that talks on and on must not keep the worker. */
static void read_some(struct process *p, int which, size_t most)
{
    struct weir_strbuf *to = which == OUTPUT ? &p->p.output : &p->p.errors;
    char over[READ_STEP];
    for (size_t got = 0; p->fds[which] >= 0 && got < most;) {
        bool drop = p->p.code != NULL || !reserve(p, to, READ_STEP);
        if (drop)
            give_up(p, "ENOMEM"); /* unless it was given up before */
        ssize_t n = read(p->fds[which], drop ? over : to->data + to->len, READ_STEP);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close_end(p, which);
            return;
        }
        got += (size_t)n;
        if (drop)
            continue;
        to->len += (size_t)n;
        if (p->p.output.len + p->p.errors.len > p->max_output)
            give_up(p, "TOO_LARGE");
    }
}

static void write_some(struct process *p)
{
    while (p->input_pos < p->input_len) {
        ssize_t n = write(p->fds[INPUT], p->input + p->input_pos, p->input_len - p->input_pos);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            break; /* it does not want the rest */
        p->input_pos += (size_t)n;
    }
    close_end(p, INPUT);
    free_input(p);
}

/* --- its end --- */

/* What it had written when it ended; what programs that it left behind write is not read. */
static void read_rest(struct process *p, int which)
{
    int left = 0;
    if (p->fds[which] >= 0 && ioctl(p->fds[which], FIONREAD, &left) == 0 && left > 0)
        read_some(p, which, (size_t)left);
}

static void reap(struct process *p)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid(P_PIDFD, (id_t)p->fds[END], &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
        return;
    p->ended = true;
    p->p.status = info.si_code == CLD_EXITED ? info.si_status : 0;
    p->p.signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
    weir_timer_unset(p->worker, &p->timer);
    read_rest(p, OUTPUT);
    read_rest(p, ERRORS);
    for (int i = 0; i < POLLS; i++)
        close_end(p, i);
    p->told = true;
    if (!p->closed)
        p->p.done(&p->p); /* may close it */
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct process *p = poll->data;
    (void)status; /* the descriptor says it itself */
    (void)events;
    weir_worker_now(p->worker);
    if (poll == &p->polls[END])
        reap(p);
    else if (poll == &p->polls[INPUT])
        write_some(p);
    else
        read_some(p, poll == &p->polls[OUTPUT] ? OUTPUT : ERRORS, READS_PER_POLL * READ_STEP);
}

/* --- the worker's processes --- */

static const char keeper_key;

static void close_keeper(struct weir_service *service)
{
    struct keeper *k = WEIR_LIST_ENTRY(service, struct keeper, service);
    k->closing = true;
    if (weir_list_empty(&k->processes)) {
        weir_free(k);
        return;
    }
    WEIR_LIST_EACH(node, following, &k->processes)
    {
        struct process *p = WEIR_LIST_ENTRY(node, struct process, node);
        weir_timer_unset(p->worker, &p->timer);
        send_signal(p, SIGKILL); /* the loop runs until each has ended */
    }
}

static struct keeper *find_keeper(struct weir_worker *w)
{
    struct weir_service *s = weir_service_find(w, &keeper_key);
    if (s != NULL)
        return WEIR_LIST_ENTRY(s, struct keeper, service);
    struct keeper *k = weir_calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    weir_list_init(&k->processes);
    k->service = (struct weir_service){.key = &keeper_key, .close = close_keeper};
    weir_service_add(w, &k->service);
    return k;
}

/* --- starting --- */

/* The child's ends of the pipes. */
struct ends {
    int fds[END];
};

static void close_ends(struct ends *ends)
{
    for (int i = 0; i < END; i++)
        if (ends->fds[i] >= 0)
            close(ends->fds[i]);
}

/* 0 or an errno. */
static int make_pipes(struct process *p, struct ends *ends)
{
    for (int i = 0; i < END; i++) {
        int fds[2], ours = i == INPUT ? 1 : 0;
        if (i == INPUT && p->input == NULL) {
            ends->fds[INPUT] = open("/dev/null", O_RDONLY | O_CLOEXEC);
            if (ends->fds[INPUT] < 0)
                return errno;
            continue;
        }
        if (pipe2(fds, O_CLOEXEC) != 0)
            return errno;
        p->fds[i] = fds[ours];
        ends->fds[i] = fds[1 - ours];
        (void)fcntl(fds[ours], F_SETFL, O_NONBLOCK); /* can't fail: a flag that every pipe has */
    }
    return 0;
}

/* As dup2 in the child: 0 or an errno. Where an end has one of the numbers 0 to 2 already, that one is not lost: they are dup'ed above. */
static int set_actions(posix_spawn_file_actions_t *a, const struct ends *ends, const char *cwd)
{
    int rc = 0;
    for (int i = 0; i < END && rc == 0; i++)
        rc = posix_spawn_file_actions_adddup2(a, ends->fds[i], i);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(a, END);
    if (rc == 0 && cwd != NULL)
        rc = posix_spawn_file_actions_addchdir_np(a, cwd);
    return rc;
}

static void set_attributes(posix_spawnattr_t *a)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    posix_spawnattr_setflags(a, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(a, &none);
    posix_spawnattr_setsigdefault(a, &all);
    posix_spawnattr_setpgroup(a, 0);
}

static int run(struct process *p, const struct weir_process_options *o, const struct ends *ends)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc == 0) {
        set_attributes(&attributes);
        rc = set_actions(&actions, ends, o->cwd);
        if (rc == 0)
            rc = posix_spawnp(&p->pid, o->argv[0], &actions, &attributes, o->argv, o->env != NULL ? o->env : environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* 0 or an errno: nothing runs then. */
static int spawn(struct process *p, const struct weir_process_options *o)
{
    struct ends ends = {{-1, -1, -1}};
    int rc = make_pipes(p, &ends);
    if (rc == 0)
        rc = run(p, o, &ends);
    close_ends(&ends);
    if (rc != 0)
        return rc;
    p->fds[END] = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (p->fds[END] >= 0)
        return 0;
    rc = errno;
    (void)kill(-p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0); /* it was killed: this does not take long */
    return rc;
}

/* Ends what runs already; the ends before `polled` are polled. It is freed once those have closed. */
static void abandon(struct process *p, int polled)
{
    (void)kill(-p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0); /* it was killed: this does not take long */
    p->ended = p->closed = true;
    weir_timer_unset(p->worker, &p->timer);
    for (int i = 0; i < POLLS; i++) {
        if (i < polled)
            close_end(p, i);
        else if (p->fds[i] >= 0)
            close(p->fds[i]);
    }
    free_input(p);
    p->holder = NULL;
    release(p);
}

/* 0 or an errno: it was abandoned. */
static int watch(struct process *p)
{
    for (int i = 0; i < POLLS; i++) {
        if (p->fds[i] < 0)
            continue;
        int rc = WEIR_FAULT(POLL_INIT) ? UV_ENOMEM : uv_poll_init(&p->worker->loop, &p->polls[i], p->fds[i]);
        if (rc < 0) {
            abandon(p, i);
            return -rc;
        }
        p->polls[i].data = p;
        p->open++;
        uv_poll_start(&p->polls[i], i == INPUT ? UV_WRITABLE : UV_READABLE, on_poll);
    }
    return 0;
}

static struct process *make(struct weir_worker *w, const struct weir_process_options *o)
{
    struct keeper *k = find_keeper(w);
    struct process *p = k != NULL ? weir_calloc(1, sizeof *p) : NULL;
    if (p == NULL)
        return NULL;
    p->worker = w;
    p->keeper = k;
    p->max_output = o->max_output;
    p->holder = o->holder;
    p->input_len = o->input_len;
    weir_list_init(&p->node);
    for (int i = 0; i < POLLS; i++)
        p->fds[i] = -1;
    p->input = o->input != NULL ? weir_malloc(o->input_len + 1) : NULL;
    if (o->input == NULL)
        return p;
    if (p->input == NULL) {
        weir_free(p);
        return NULL;
    }
    memcpy(p->input, o->input, o->input_len);
    return p;
}

/* One that never ran. */
static void unmake(struct process *p)
{
    weir_timer_unset(p->worker, &p->timer);
    for (int i = 0; i < POLLS; i++)
        if (p->fds[i] >= 0)
            close(p->fds[i]);
    weir_free(p->input);
    weir_free(p);
}

int weir_process_start(struct weir_worker *w, const struct weir_process_options *o, void (*done)(struct weir_process *p), void *arg,
                       struct weir_process **ret, const char **ret_code, struct weir_err *reterr)
{
    *ret_code = "ENOMEM";
    if (!weir_holder_hold(o->holder, o->input != NULL ? o->input_len : 0))
        return weir_err_set(reterr, WEIR_E_LIMIT, "there is no room for its input");
    struct process *p = make(w, o);
    if (p == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    p->p.done = done;
    p->p.arg = arg;
    p->timer.fire = on_timeout;
    if (o->timeout_ns != 0 && weir_timer_set(w, &p->timer, weir_worker_now(w) + o->timeout_ns) != WEIR_OK) {
        unmake(p);
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    }
    int error = spawn(p, o);
    if (error != 0) {
        unmake(p);
        *ret_code = uv_err_name(-error);
        return weir_err_set(reterr, WEIR_E_IO, "%s: %s", o->argv[0], strerror(error));
    }
    weir_list_append(&p->keeper->processes, &p->node);
    error = watch(p);
    if (error != 0) {
        *ret_code = uv_err_name(-error);
        return weir_err_set(reterr, WEIR_E_IO, "%s: can't be watched: %s", o->argv[0], strerror(error));
    }
    *ret = &p->p;
    return WEIR_OK;
}

void weir_process_close(struct weir_process *base)
{
    if (base == NULL)
        return;
    struct process *p = process_of(base);
    p->closed = true;
    if (!p->terminated) /* else it is the one of the KILL that follows */
        weir_timer_unset(p->worker, &p->timer);
    for (int i = 0; i < END; i++)
        close_end(p, i);
    terminate(p);
    weir_strbuf_fini(&p->p.output);
    weir_strbuf_fini(&p->p.errors);
    free_input(p);
    p->holder = NULL; /* it need not outlive this */
    release(p);
}
