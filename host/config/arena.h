/* config/arena.h - memory that is given back all at once: an application and its YAML tree live and die
 * together. An allocation that finds no memory sets `failed`, so that a tree is built first and asked once at
 * its end. Owner: whoever embeds it; one thread while it is filled. */
#ifndef WEIR_CONFIG_ARENA_H
#define WEIR_CONFIG_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct weir_arena_chunk;

struct weir_arena {
    struct weir_arena_chunk *chunks; /* newest first */
    bool failed;
};

void weir_arena_init(struct weir_arena *a);
/* Frees everything that was ever taken from it. */
void weir_arena_fini(struct weir_arena *a);
/* Zeroed memory for `count` things of `size` bytes, aligned for any type; NULL (and `failed`) when there is
 * none. */
void *weir_arena_alloc(struct weir_arena *a, size_t count, size_t size);
/* A NUL-terminated copy of `len` bytes; NULL as above. */
char *weir_arena_strndup(struct weir_arena *a, const char *s, size_t len);
char *weir_arena_strdup(struct weir_arena *a, const char *s);

#endif
