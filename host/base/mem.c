#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WEIR_TESTING
#include <stdatomic.h>
#include <stdbool.h>

static _Atomic long live_blocks;                /* [atomic relaxed] a count; orders nothing */
static _Thread_local long allowed_allocations = -1;

static bool refuse_allocation(void)
{
    if (allowed_allocations < 0)
        return false;
    if (allowed_allocations == 0)
        return true;
    allowed_allocations--;
    return false;
}

static void *count_block(void *block)
{
    if (block != NULL)
        atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
    return block;
}

static void uncount_block(const void *block)
{
    if (block != NULL)
        atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
}

void weir_mem_fail_after(long n)
{
    allowed_allocations = n;
}

long weir_mem_live(void)
{
    return atomic_load_explicit(&live_blocks, memory_order_relaxed);
}
#else
#define refuse_allocation() 0
#define count_block(block) (block)
#define uncount_block(block) ((void)0)

void weir_mem_fail_after(long n)
{
    (void)n; /* release builds inject nothing */
}

long weir_mem_live(void)
{
    return 0;
}
#endif

void *weir_malloc(size_t size)
{
    return refuse_allocation() ? NULL : count_block(malloc(size));
}

void *weir_calloc(size_t count, size_t size)
{
    return refuse_allocation() ? NULL : count_block(calloc(count, size));
}

void *weir_realloc(void *block, size_t size)
{
    if (block == NULL)
        return weir_malloc(size);
    return refuse_allocation() ? NULL : realloc(block, size);
}

void weir_free(void *block)
{
    uncount_block(block);
    free(block);
}

char *weir_strndup(const char *s, size_t len)
{
    char *copy = weir_malloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, s, len);
        copy[len] = '\0';
    }
    return copy;
}

char *weir_strdup(const char *s)
{
    return weir_strndup(s, strlen(s));
}

char *weir_asprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int need = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = need < 0 ? NULL : weir_malloc((size_t)need + 1);
    if (text == NULL)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(text, (size_t)need + 1, fmt, ap);
    va_end(ap);
    return text;
}

void weir_mem_trim(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0); /* whether there was anything to give back */
#endif
}
