/* io/handover.h - data that go to one of libuv's threads with a uv_work_t and come back with it. libuv orders
 * both by its own locks; this says so once more where ThreadSanitizer, which can't see into libuv, does. */
#ifndef WEIR_IO_HANDOVER_H
#define WEIR_IO_HANDOVER_H

#include <stdatomic.h>

struct weir_handover {
    _Atomic unsigned passed; /* [atomic acq/rel] */
};

/* The last thing that one side does with the data, the first that the other does. */
static inline void weir_handover_give(struct weir_handover *h)
{
    atomic_fetch_add_explicit(&h->passed, 1, memory_order_release);
}

static inline void weir_handover_take(struct weir_handover *h)
{
    (void)atomic_load_explicit(&h->passed, memory_order_acquire); /* the order is wanted, not the number */
}

#endif
