#include "config/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

#define CHUNK_BYTES ((size_t)16 * 1024)

struct weir_arena_chunk {
    struct weir_arena_chunk *next;
    size_t used, cap;
    alignas(max_align_t) char data[];
};

void weir_arena_init(struct weir_arena *a)
{
    a->chunks = NULL;
    a->failed = false;
}

void weir_arena_fini(struct weir_arena *a)
{
    while (a->chunks != NULL) {
        struct weir_arena_chunk *next = a->chunks->next;
        weir_free(a->chunks);
        a->chunks = next;
    }
    a->failed = false;
}

/* A chunk that holds `bytes`: a big thing gets one of its own, behind the newest, so that the newest keeps
 * its room. */
static struct weir_arena_chunk *add_chunk(struct weir_arena *a, size_t bytes)
{
    bool own = bytes > CHUNK_BYTES / 4;
    size_t cap = own ? bytes : CHUNK_BYTES;
    struct weir_arena_chunk *c = weir_malloc(sizeof *c + cap);
    if (c == NULL) {
        a->failed = true;
        return NULL;
    }
    c->used = 0;
    c->cap = cap;
    if (own && a->chunks != NULL) {
        c->next = a->chunks->next;
        a->chunks->next = c;
    } else {
        c->next = a->chunks;
        a->chunks = c;
    }
    return c;
}

void *weir_arena_alloc(struct weir_arena *a, size_t count, size_t size)
{
    const size_t align = alignof(max_align_t);
    if (size != 0 && count > (SIZE_MAX / 2) / size) {
        a->failed = true;
        return NULL;
    }
    size_t bytes = (count * size + align - 1) / align * align;
    struct weir_arena_chunk *c = a->chunks;
    if (c == NULL || c->cap - c->used < bytes)
        c = add_chunk(a, bytes);
    if (c == NULL)
        return NULL;
    void *block = c->data + c->used;
    c->used += bytes;
    memset(block, 0, bytes);
    return block;
}

char *weir_arena_strndup(struct weir_arena *a, const char *s, size_t len)
{
    char *copy = weir_arena_alloc(a, len + 1, 1);
    if (copy != NULL && len != 0)
        memcpy(copy, s, len);
    return copy;
}

char *weir_arena_strdup(struct weir_arena *a, const char *s)
{
    return weir_arena_strndup(a, s, strlen(s));
}
