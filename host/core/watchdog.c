#include "core/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sync.h"
#include "core/graph.h"
#include "core/pool.h"
#include "core/stage.h"
#include "core/worker.h"

enum {
    TICK_MIN_NS = 1000000,
    TICK_MAX_NS = 10000000,
    PLACE_TICKS = 2, /* for the signal to come and the place to be written */
    SIGNAL_OFFSET = 4, /* after SIGRTMIN: the first ones are others' habit */
};

static const uint64_t doze_ns = WEIR_NS_PER_S, silent_ns = 5 * WEIR_NS_PER_S;

struct weir_watchdog {
    uint64_t tick_ns;         /* [const] */
    struct weir_mutex mu;     /* rank WEIR_RANK_WATCHDOG */
    pthread_cond_t wake;      /* [mu] */
    struct weir_list watches; /* [mu] of struct weir_watch */
    bool ending;              /* [mu] */
    _Atomic bool dozing;      /* [atomic seq_cst] written under mu */
    void (*changed)(void *arg); /* [mu]; NULL: nobody wants to know */
    void *arg;                /* [mu] */
    bool has_thread;          /* [const] */
    pthread_t thread;         /* [const] */
};

static _Thread_local struct weir_watch *current;

struct weir_watch *weir_watch_current(void)
{
    return current;
}

/* ---- the signal ---- */

#ifndef __SANITIZE_THREAD__
/* On the watched thread. What it reads belongs to this thread but for the atomics; which stretch of logic the signal was meant for, the
 * order says. */
static void on_signal(int number)
{
    (void)number; /* only ours */
    int kept_errno = errno;
    struct weir_watch *w = current;
    if (w != NULL && weir_watch_order(w) != WEIR_WATCH_NONE) {
        bool place = weir_watch_wants_place(w);
        w->interrupt(w->arg);
        if (place) {
            atomic_store_explicit(&w->wants_place, false, memory_order_relaxed);
            atomic_store_explicit(&w->placed, atomic_load_explicit(&w->serial, memory_order_relaxed), memory_order_release);
        }
    }
    errno = kept_errno;
}

static int take_signal(struct weir_err *reterr)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&act.sa_mask);
    if (sigaction(SIGRTMIN + SIGNAL_OFFSET, &act, NULL) != 0)
        return weir_err_set(reterr, WEIR_E_IO, "watchdog: can't set the handler of signal %d: %s", SIGRTMIN + SIGNAL_OFFSET, strerror(errno));
    return WEIR_OK;
}

static void send_signal(const struct weir_watch *w)
{
    pthread_kill(w->thread, SIGRTMIN + SIGNAL_OFFSET); /* fails only when the queue of signals is full: the next tick sends another */
}
#else
static int take_signal(struct weir_err *reterr)
{
    (void)reterr; /* it can't fail */
    return WEIR_OK;
}

static void send_signal(const struct weir_watch *w)
{
    (void)w; /* it looks for orders itself */
}
#endif

/* ---- the log ---- */

struct names {
    char who[64], where[96], fields[160];
};

static void fill_names(const struct weir_watch *w, uint64_t ns, struct names *ret)
{
    unsigned long long ms = ns / WEIR_NS_PER_MS;
    if (w->worker != NULL) {
        const struct weir_pool *p = w->worker->pool;
        unsigned index = w->worker->index - p->first_slot;
        snprintf(ret->who, sizeof ret->who, "worker %u of pool '%.32s'", index, p->name);
        snprintf(ret->fields, sizeof ret->fields, "{\"pool\":\"%.64s\",\"worker\":%u,\"ms\":%llu}", p->name, w->worker->index, ms);
    } else {
        snprintf(ret->who, sizeof ret->who, "the %.32s thread", w->name);
        snprintf(ret->fields, sizeof ret->fields, "{\"thread\":\"%.64s\",\"ms\":%llu}", w->name, ms);
    }
    if (w->seen.stage != NULL)
        snprintf(ret->where, sizeof ret->where, "stage %.80s", w->seen.stage->name);
    else
        snprintf(ret->where, sizeof ret->where, "watchdog");
}

static void log_stuck(const struct weir_watch *w, uint64_t now, uint64_t serial)
{
    struct names n;
    bool placed = atomic_load_explicit(&w->placed, memory_order_acquire) == serial;
    uint64_t ns = now - w->seen.at_ns;
    fill_names(w, ns, &n);
    weir_log(WEIR_LOG_WARN, n.where, n.fields, "%s is stuck: a call has run for %llu ms and can't be interrupted where it is%s%s%s", n.who,
             (unsigned long long)(ns / WEIR_NS_PER_MS), placed ? ": " : "", placed ? w->where : "",
             w->worker != NULL ? "; others take over what they can" : "");
}

static void log_back(const struct weir_watch *w, uint64_t now)
{
    struct names n;
    uint64_t ns = now - w->seen.at_ns;
    fill_names(w, ns, &n);
    weir_log(WEIR_LOG_WARN, n.where, n.fields, "%s is back: that call took %llu ms", n.who, (unsigned long long)(ns / WEIR_NS_PER_MS));
}

/* ---- one thread ---- */

static void wake_pool(const struct weir_worker *w)
{
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        struct weir_stage *s = &w->graph->stages[i];
        if (s->pool == w->pool)
            weir_pool_wake_ready(s->pool, s);
    }
}

static void set_stuck(struct weir_watchdog *dog, struct weir_watch *w, bool stuck)
{
    atomic_store_explicit(&w->stuck, stuck, memory_order_release);
    if (w->worker == NULL)
        return;
    if (stuck)
        wake_pool(w->worker);
    if (dog->changed != NULL)
        dog->changed(dog->arg);
}

static bool is_stuck(const struct weir_watch *w)
{
    return atomic_load_explicit(&w->stuck, memory_order_relaxed);
}

/* The order that is out waits for `slice` already: nobody hears it. Asks where that is, then tells. */
static void find_stuck(struct weir_watchdog *dog, struct weir_watch *w, uint64_t serial, uint64_t now)
{
    struct weir_watch_seen *seen = &w->seen;
    if (is_stuck(w))
        return;
    if (seen->asked_ns == 0) {
        seen->asked_ns = now;
        atomic_store_explicit(&w->wants_place, true, memory_order_release);
        return;
    }
    if (atomic_load_explicit(&w->placed, memory_order_acquire) != serial && now - seen->asked_ns < PLACE_TICKS * dog->tick_ns)
        return;
    seen->stage = atomic_load_explicit(&w->stage, memory_order_relaxed);
    if (seen->stage != NULL)
        atomic_fetch_add_explicit(&seen->stage->stalls, 1, memory_order_relaxed);
    log_stuck(w, now, serial);
    set_stuck(dog, w, true);
}

static uint64_t cpu_of(const struct weir_watch *w)
{
    struct timespec ts;
    if (clock_gettime(w->cpu_clock, &ts) != 0)
        return 0;
    return (uint64_t)ts.tv_sec * WEIR_NS_PER_S + (uint64_t)ts.tv_nsec;
}

struct limits {
    uint64_t slice_ns, stall_ns, cpu_ns, ran_ns, wall_end_ns, cpu_began_ns;
    bool may_block; /* in a blocking pool: it holds up nobody */
};

/* false: the stretch of logic has ended meanwhile. */
static bool read_limits(struct weir_watch *w, uint64_t serial, struct limits *ret)
{
    ret->slice_ns = atomic_load_explicit(&w->slice_ns, memory_order_relaxed);
    ret->stall_ns = atomic_load_explicit(&w->stall_ns, memory_order_relaxed);
    ret->cpu_ns = atomic_load_explicit(&w->cpu_ns, memory_order_relaxed);
    ret->ran_ns = atomic_load_explicit(&w->ran_ns, memory_order_relaxed);
    uint64_t began_ns = atomic_load_explicit(&w->began_ns, memory_order_relaxed);
    ret->wall_end_ns = began_ns != 0 ? began_ns + atomic_load_explicit(&w->wall_ns, memory_order_relaxed) : 0;
    ret->cpu_began_ns = atomic_load_explicit(&w->cpu_began_ns, memory_order_relaxed);
    const struct weir_stage *stage = atomic_load_explicit(&w->stage, memory_order_relaxed);
    ret->may_block = stage != NULL && stage->pool->blocking;
    /* a read-modify-write that changes nothing: no earlier reading moves behind it, which a fence would do, but for ThreadSanitizer */
    return atomic_fetch_add_explicit(&w->serial, 0, memory_order_acq_rel) == serial;
}

static enum weir_watch_order wanted_order(const struct weir_watch *w, const struct limits *l, uint64_t now)
{
    uint64_t passed = now - w->seen.at_ns;
    if (l->wall_end_ns != 0 && now >= l->wall_end_ns)
        return WEIR_WATCH_WALL;
    if (l->ran_ns + passed >= l->cpu_ns) { /* it can't have used more than what passed, so else there is no need to ask */
        uint64_t began = l->cpu_began_ns != 0 ? l->cpu_began_ns : atomic_load_explicit(&w->seen.cpu_ns, memory_order_relaxed);
        if (l->ran_ns + (cpu_of(w) - began) >= l->cpu_ns)
            return WEIR_WATCH_CPU;
    }
    if (passed >= l->stall_ns && !l->may_block)
        return WEIR_WATCH_STALL;
    return passed >= l->slice_ns ? WEIR_WATCH_PREEMPT : WEIR_WATCH_NONE;
}

static void give(struct weir_watch *w, enum weir_watch_order order, uint64_t serial, uint64_t now)
{
    w->seen.given = order;
    w->seen.ordered_ns = now;
    atomic_store_explicit(&w->order, serial << WEIR_WATCH_ORDER_BITS | order, memory_order_release);
}

/* The stretch of logic that it saw before runs still. */
static void press(struct weir_watchdog *dog, struct weir_watch *w, uint64_t serial, uint64_t now)
{
    struct weir_watch_seen *seen = &w->seen;
    struct limits l;
    if (!read_limits(w, serial, &l))
        return;
    enum weir_watch_order wanted = wanted_order(w, &l, now);
    bool heard = atomic_load_explicit(&w->order, memory_order_acquire) >> WEIR_WATCH_ORDER_BITS != serial;
    if (heard)
        seen->stalled_ns = 0;
    if (wanted > seen->given)
        give(w, wanted, serial, now);
    else if (heard && seen->given >= WEIR_WATCH_STALL && now - seen->ordered_ns >= l.stall_ns)
        give(w, seen->given, serial, now);
    else if (heard)
        return;
    if (seen->given >= WEIR_WATCH_STALL && seen->stalled_ns == 0)
        seen->stalled_ns = now;
    if (seen->stalled_ns != 0 && now - seen->stalled_ns >= l.slice_ns)
        find_stuck(dog, w, serial, now);
    send_signal(w); /* anew each tick: it may have come while one coroutine handed over to another */
}

static void see(struct weir_watch *w, uint64_t serial, uint64_t now)
{
    struct weir_watch_seen *seen = &w->seen;
    atomic_store_explicit(&seen->serial, 0, memory_order_relaxed);
    atomic_store_explicit(&seen->cpu_ns, cpu_of(w), memory_order_relaxed);
    atomic_store_explicit(&seen->serial, serial, memory_order_release);
    seen->at_ns = now;
    seen->given = WEIR_WATCH_NONE;
    seen->stalled_ns = 0;
    seen->asked_ns = 0;
    atomic_store_explicit(&w->wants_place, false, memory_order_relaxed);
}

/* Returns when to look again at the latest. */
static uint64_t look(struct weir_watchdog *dog, struct weir_watch *w, uint64_t now)
{
    uint64_t serial = atomic_load_explicit(&w->serial, memory_order_acquire);
    bool same = serial == atomic_load_explicit(&w->seen.serial, memory_order_relaxed);
    if (!same && is_stuck(w)) {
        log_back(w, now);
        set_stuck(dog, w, false);
    }
    if ((serial & 1) == 0)
        return UINT64_MAX;
    if (same)
        press(dog, w, serial, now);
    else
        see(w, serial, now);
    uint64_t slice_end = w->seen.at_ns + atomic_load_explicit(&w->slice_ns, memory_order_relaxed);
    return slice_end > now ? slice_end : UINT64_MAX;
}

static void listen_for(struct weir_watch *w, uint64_t now)
{
    struct weir_watch_seen *seen = &w->seen;
    uint64_t beats = atomic_load_explicit(&w->beats, memory_order_relaxed);
    if (beats == 0)
        return;
    struct names n;
    if (beats != seen->beats) {
        fill_names(w, now - seen->beat_ns, &n);
        if (seen->silent)
            weir_log(WEIR_LOG_WARN, "watchdog", n.fields, "%s is back: it was silent for %.1f s", n.who, (double)(now - seen->beat_ns) / 1e9);
        seen->beats = beats;
        seen->beat_ns = now;
        seen->silent = false;
    } else if (!seen->silent && now - seen->beat_ns >= silent_ns) {
        seen->silent = true;
        fill_names(w, now - seen->beat_ns, &n);
        weir_log(WEIR_LOG_WARN, "watchdog", n.fields, "%s has been silent for %.1f s: what it does waits", n.who,
                 (double)(now - seen->beat_ns) / 1e9);
    }
}

static uint64_t look_at_all_locked(struct weir_watchdog *dog, uint64_t now)
{
    uint64_t next = now + dog->tick_ns;
    WEIR_LIST_EACH(node, following, &dog->watches)
    {
        struct weir_watch *w = WEIR_LIST_ENTRY(node, struct weir_watch, node);
        uint64_t due = look(dog, w, now);
        listen_for(w, now);
        if (due < next)
            next = due;
    }
    return next;
}

uint64_t weir_watchdog_step(struct weir_watchdog *dog, uint64_t now_ns)
{
    weir_mutex_lock(&dog->mu);
    uint64_t next = look_at_all_locked(dog, now_ns);
    weir_mutex_unlock(&dog->mu);
    return next;
}

/* ---- the thread ---- */

/* All rest: there is nothing to see until one says otherwise. */
static bool may_doze_locked(struct weir_watchdog *dog)
{
    WEIR_LIST_EACH(node, following, &dog->watches)
    {
        const struct weir_watch *w = WEIR_LIST_ENTRY(node, struct weir_watch, node);
        if (!atomic_load(&w->idle) || is_stuck(w))
            return false;
    }
    return true;
}

static void wait_locked(struct weir_watchdog *dog, uint64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until); /* not weir_clock_ns, which a test may have stopped */
    ns += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(ns / WEIR_NS_PER_S);
    until.tv_nsec = (long)(ns % WEIR_NS_PER_S);
    pthread_cond_timedwait(&dog->wake, &dog->mu.mu, &until); /* why it ends makes no difference */
}

static void *run_thread(void *arg)
{
    struct weir_watchdog *dog = arg;
    pthread_setname_np(pthread_self(), "watchdog");
    weir_mutex_lock(&dog->mu);
    while (!dog->ending) {
        uint64_t now = weir_clock_ns(), next = look_at_all_locked(dog, now);
        atomic_store(&dog->dozing, true); /* before it asks: weir_watch_rouse says why */
        if (may_doze_locked(dog)) {
            wait_locked(dog, doze_ns);
            atomic_store(&dog->dozing, false);
        } else {
            atomic_store(&dog->dozing, false);
            wait_locked(dog, next - now);
        }
    }
    weir_mutex_unlock(&dog->mu);
    return NULL;
}

void weir_watchdog_sync(struct weir_watchdog *dog)
{
    if (dog == NULL)
        return;
    weir_mutex_lock(&dog->mu);
    weir_mutex_unlock(&dog->mu);
}

void weir_watchdog_wake(struct weir_watchdog *dog)
{
    if (!atomic_load(&dog->dozing))
        return;
    weir_mutex_lock(&dog->mu);
    pthread_cond_signal(&dog->wake);
    weir_mutex_unlock(&dog->mu);
}

/* ---- making and ending one ---- */

int weir_watchdog_create(uint64_t slice_ns, struct weir_watchdog **ret, struct weir_err *reterr)
{
    struct weir_watchdog *dog = weir_calloc(1, sizeof *dog);
    if (dog == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "watchdog: out of memory");
    int rc = take_signal(reterr);
    if (rc < 0) {
        weir_free(dog);
        return rc;
    }
    uint64_t tick = slice_ns / 2;
    dog->tick_ns = tick < TICK_MIN_NS ? TICK_MIN_NS : tick > TICK_MAX_NS ? TICK_MAX_NS : tick;
    weir_mutex_init(&dog->mu, WEIR_RANK_WATCHDOG, "watchdog");
    weir_list_init(&dog->watches);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&dog->wake, &monotonic); /* fails never on Linux, as those before */
    pthread_condattr_destroy(&monotonic);
    *ret = dog;
    return WEIR_OK;
}

int weir_watchdog_start(uint64_t slice_ns, struct weir_watchdog **ret, struct weir_err *reterr)
{
    struct weir_watchdog *dog;
    int rc = weir_watchdog_create(slice_ns, &dog, reterr);
    if (rc < 0)
        return rc;
    int failed = WEIR_FAULT(THREAD_CREATE) ? EAGAIN : pthread_create(&dog->thread, NULL, run_thread, dog);
    if (failed != 0) {
        weir_watchdog_stop(dog);
        return weir_err_set(reterr, WEIR_E_IO, "can't start the watchdog's thread: %s", strerror(failed));
    }
    dog->has_thread = true;
    *ret = dog;
    return WEIR_OK;
}

void weir_watchdog_stop(struct weir_watchdog *dog)
{
    if (dog == NULL)
        return;
    if (dog->has_thread) {
        weir_mutex_lock(&dog->mu);
        dog->ending = true;
        pthread_cond_signal(&dog->wake);
        weir_mutex_unlock(&dog->mu);
        pthread_join(dog->thread, NULL);
    }
    pthread_cond_destroy(&dog->wake);
    weir_mutex_fini(&dog->mu);
    weir_free(dog);
}

void weir_watchdog_tell(struct weir_watchdog *dog, void (*changed)(void *arg), void *arg)
{
    weir_mutex_lock(&dog->mu);
    dog->changed = changed;
    dog->arg = arg;
    weir_mutex_unlock(&dog->mu);
}

void weir_watchdog_add(struct weir_watchdog *dog, struct weir_watch *w, const char *name, struct weir_worker *worker)
{
    if (dog == NULL)
        return;
    w->dog = dog;
    w->name = name;
    w->worker = worker;
    w->thread = pthread_self();
    pthread_getcpuclockid(w->thread, &w->cpu_clock); /* fails only for threads that are gone */
    current = w;
    weir_mutex_lock(&dog->mu);
    weir_list_append(&dog->watches, &w->node);
    pthread_cond_signal(&dog->wake); /* it may doze, and this one does not rest */
    weir_mutex_unlock(&dog->mu);
}

void weir_watchdog_remove(struct weir_watch *w)
{
    if (w->dog == NULL)
        return;
    weir_mutex_lock(&w->dog->mu);
    weir_list_remove(&w->node);
    weir_mutex_unlock(&w->dog->mu);
    atomic_store_explicit(&w->stuck, false, memory_order_release);
    current = NULL;
    w->dog = NULL;
}
