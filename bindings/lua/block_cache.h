/* bindings/lua/block_cache.h - small blocks that a VM has given back and will soon ask for again: the collector frees them in bursts, which
 * overflow what malloc keeps at hand for a thread.
 *
 * Blocks are of CLASSES sizes, 16 bytes apart, the ones that malloc rounds to anyway; WEIR_BLOCK_CACHE_MAX bytes are kept at most, so that
 * a VM's limit holds. Owner: the VM; its thread. Built with AddressSanitizer nothing is kept: it would not see blocks used after they were
 * freed. */
#ifndef WEIR_LUA_BLOCK_CACHE_H
#define WEIR_LUA_BLOCK_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

enum {
    WEIR_BLOCK_CACHE_CLASSES = 24, /* blocks of up to 376 bytes */
    WEIR_BLOCK_CACHE_MAX = 32 << 10,
};

struct weir_block {
    struct weir_block *next;
};

struct weir_block_cache {
    struct weir_block *free[WEIR_BLOCK_CACHE_CLASSES];
    size_t bytes;
};

/* Of a block of `size` bytes. */
static inline size_t weir_block_class(size_t size)
{
    return (size + 7) / 16;
}

/* What is asked of malloc for a block of `size` bytes: what it would take for it. */
static inline size_t weir_block_size(size_t size)
{
    size_t class = weir_block_class(size);
    return class < WEIR_BLOCK_CACHE_CLASSES ? class * 16 + 8 : size;
}

/* What a block of `size` bytes takes of the process's memory, with what malloc keeps beside it. */
static inline size_t weir_block_footprint(size_t size)
{
    return size > 0 ? (size + 8 + 15) & ~(size_t)15 : 0;
}

/* A block of weir_block_size(size); NULL: none is kept. */
static inline void *weir_block_cache_take(struct weir_block_cache *c, size_t size)
{
    size_t class = weir_block_class(size);
    struct weir_block *b = class < WEIR_BLOCK_CACHE_CLASSES ? c->free[class] : NULL;
    if (b != NULL) {
        c->free[class] = b->next;
        c->bytes -= class * 16 + 8;
    }
    return b;
}

/* Takes a block that was made for `size` bytes, to keep it or to free it. */
static inline void weir_block_cache_give(struct weir_block_cache *c, void *block, size_t size)
{
    size_t class = weir_block_class(size);
#ifdef __SANITIZE_ADDRESS__
    bool keep = false;
#else
    bool keep = block != NULL && class < WEIR_BLOCK_CACHE_CLASSES && c->bytes < WEIR_BLOCK_CACHE_MAX;
#endif
    if (!keep) {
        weir_free(block);
        return;
    }
    struct weir_block *b = block;
    b->next = c->free[class];
    c->free[class] = b;
    c->bytes += class * 16 + 8;
}

static inline void weir_block_cache_fini(struct weir_block_cache *c)
{
    for (size_t class = 0; class < WEIR_BLOCK_CACHE_CLASSES; class++) {
        while (c->free[class] != NULL) {
            struct weir_block *b = c->free[class];
            c->free[class] = b->next;
            weir_free(b);
        }
    }
    c->bytes = 0;
}

#endif
