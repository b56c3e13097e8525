#include "io/file_threads.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { USUAL = 4, MOST = 1024 }; /* libuv's (threadpool.c) */

static _Atomic size_t pending; /* [atomic relaxed] a count; orders nothing */

void weir_file_threads_begin(void)
{
    atomic_fetch_add_explicit(&pending, 1, memory_order_relaxed);
}

void weir_file_threads_end(void)
{
    atomic_fetch_sub_explicit(&pending, 1, memory_order_relaxed);
}

size_t weir_file_threads_pending(void)
{
    return atomic_load_explicit(&pending, memory_order_relaxed);
}

size_t weir_file_threads_count(void)
{
    const char *text = getenv("UV_THREADPOOL_SIZE");
    long n = text != NULL ? strtol(text, NULL, 10) : USUAL;
    return n < 1 ? 1 : n > MOST ? MOST : (size_t)n;
}
