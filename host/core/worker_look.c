/* What other threads ask of a worker: how long it has been idle, and whether it is quiet. */
#include "core/worker.h"

uint64_t weir_worker_idle_ns(const struct weir_worker *w, uint64_t now_ns)
{
    uint64_t idle = atomic_load_explicit(&w->idle_ns, memory_order_relaxed);
    uint64_t parked = atomic_load_explicit(&w->parked_ns, memory_order_relaxed);
    return idle + (parked != 0 && now_ns > parked ? now_ns - parked : 0);
}

bool weir_worker_quiet(const struct weir_worker *w)
{
    if (atomic_load_explicit(&w->state, memory_order_acquire) == WEIR_WORKER_GONE)
        return true; /* it left before it saw the last order */
    unsigned orders = atomic_load_explicit(&w->orders, memory_order_acquire);
    return orders != 0 && atomic_load_explicit(&w->quiet_for, memory_order_acquire) == orders;
}
