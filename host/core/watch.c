#include "core/watch.h"

#include "base/clock.h"
#include "core/watchdog.h"

uint64_t weir_watch_clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts); /* fails never on Linux */
    return (uint64_t)ts.tv_sec * WEIR_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t weir_watch_cpu_ns(const struct weir_watch *w)
{
    uint64_t began = atomic_load_explicit(&w->cpu_began_ns, memory_order_relaxed);
    uint64_t latest = (atomic_load_explicit(&w->serial, memory_order_relaxed) - 1) | 1; /* it runs still, or has just ended */
    if (began == 0 && atomic_load_explicit(&w->seen.serial, memory_order_acquire) == latest)
        began = atomic_load_explicit(&w->seen.cpu_ns, memory_order_relaxed);
    return began == 0 ? 0 : weir_watch_clock_ns() - began;
}

void weir_watch_logic_init(struct weir_watch_logic *logic, const struct weir_watch_limits *limits, struct weir_stage *stage,
                           void (*interrupt)(void *arg), void *arg)
{
    static _Atomic uint64_t ids; /* [atomic relaxed] a count; orders nothing */
    *logic = (struct weir_watch_logic){.id = atomic_fetch_add_explicit(&ids, 1, memory_order_relaxed) + 1,
                                       .limits = *limits,
                                       .stage = stage,
                                       .interrupt = interrupt,
                                       .arg = arg};
}

void weir_watch_rest(struct weir_watch *w)
{
    if (w->dog != NULL)
        atomic_store(&w->idle, true);
}

void weir_watch_rouse(struct weir_watch *w)
{
    if (w->dog == NULL)
        return;
    atomic_store(&w->idle, false); /* seq_cst, here and in the watchdog: either it sees this, or this sees that it dozes */
    weir_watchdog_wake(w->dog);
}
