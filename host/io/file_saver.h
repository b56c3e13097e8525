/* io/file_saver.h - writes a state file in libuv's threads, one write at a time. Owner and threads: the
 * worker's, but for what the thread that writes has meanwhile. */
#ifndef WEIR_IO_FILE_SAVER_H
#define WEIR_IO_FILE_SAVER_H

#include "base/strbuf.h"

struct weir_file_saver;
struct weir_worker;

/* `saved(arg, error)` follows each write, from the loop; error: 0, or an errno, which has been logged. NULL:
 * no memory. */
struct weir_file_saver *weir_file_saver_create(const char *path, const char *stage,
                                               void (*saved)(void *arg, int error), void *arg);
/* Where the next text is to be put; NULL: it writes. */
struct weir_strbuf *weir_file_saver_begin(struct weir_file_saver *s);
/* Writes that text, unless there was no memory for it. */
void weir_file_saver_write(struct weir_file_saver *s, struct weir_worker *w);
/* It does not write. Takes NULL. */
void weir_file_saver_destroy(struct weir_file_saver *s);

#endif
