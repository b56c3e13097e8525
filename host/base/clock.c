#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic uint64_t virtual_now; /* [atomic relaxed] 0: the real clock */
static _Atomic uint64_t wall_offset; /* [atomic relaxed] of the virtual clock; 0: wall time is real */

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * WEIR_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t weir_clock_ns(void)
{
    uint64_t fixed = atomic_load_explicit(&virtual_now, memory_order_relaxed);
    return fixed != 0 ? fixed : read_clock(CLOCK_MONOTONIC);
}

uint64_t weir_clock_wall_ns(void)
{
    uint64_t fixed = atomic_load_explicit(&virtual_now, memory_order_relaxed);
    uint64_t offset = atomic_load_explicit(&wall_offset, memory_order_relaxed);
    return fixed != 0 && offset != 0 ? fixed + offset : read_clock(CLOCK_REALTIME);
}

void weir_clock_set_virtual_wall(uint64_t offset_ns)
{
    atomic_store_explicit(&wall_offset, offset_ns, memory_order_relaxed);
}

void weir_clock_set_virtual(uint64_t now_ns)
{
    atomic_store_explicit(&virtual_now, now_ns, memory_order_relaxed);
}
