/* base/mem.h - allocation. Builds with WEIR_TESTING count live blocks and can make the n-th allocation fail; the others
 * are plain malloc. Threads: any. A block may be freed on another thread than the one that made it. */
#ifndef WEIR_BASE_MEM_H
#define WEIR_BASE_MEM_H

#include <stddef.h>

/* As their namesakes in C; NULL when there is no memory. weir_free takes NULL. */
void *weir_malloc(size_t size);
void *weir_calloc(size_t count, size_t size);
void *weir_realloc(void *block, size_t size);
void weir_free(void *block);

/* Copies of a string (or its first `len` bytes), to be freed by the caller; NULL when there is no memory. */
char *weir_strdup(const char *s);
char *weir_strndup(const char *s, size_t len);
char *weir_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Test builds: the allocation after the next `n` ones of the calling thread fails, and every later one; -1 switches it off. */
void weir_mem_fail_after(long n);

/* Test builds: blocks allocated and not yet freed, of all threads; else 0. */
long weir_mem_live(void);
/* Gives what is free, but not yet the system's, back to it. May take long; other threads' allocations may wait. Any thread. */
void weir_mem_trim(void);

#endif
