/* io/holder.h - who answers for the memory of buffers: a Lua VM, among whose memory they count
 * (lua/vm_hold.h). Owner: whoever embeds it, for longer than the buffers. Threads: the worker's. */
#ifndef WEIR_IO_HOLDER_H
#define WEIR_IO_HOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

struct weir_holder {
    /* What it answers for is `bytes` from now on. false: that is too much, and everything stays as it was.
     * Less than until now is never refused. */
    bool (*hold)(struct weir_holder *h, size_t bytes);
};

/* `h` NULL: nobody counts. */
static inline bool weir_holder_hold(struct weir_holder *h, size_t bytes)
{
    return h == NULL || h->hold(h, bytes);
}

/* Room for `more` bytes in `b`, which `h` answers for, as it does for `others` bytes elsewhere. false:
 * refused; or no memory, `failed` is set then. */
static inline bool weir_holder_reserve(struct weir_holder *h, struct weir_strbuf *b, size_t more,
                                       size_t others)
{
    if (b->cap - b->len > more)
        return true;
    size_t need = b->len + more + 1, cap = b->cap + b->cap / 2;
    if (cap <= need || !weir_holder_hold(h, others + cap))
        cap = weir_holder_hold(h, others + need) ? need : 0;
    return cap != 0 && weir_strbuf_resize(b, cap);
}

#endif
