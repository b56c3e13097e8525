/* io/file_state.h - how far files have been read, kept in a file over restarts: one line each,
 *
 *     weir file positions 1
 *     DEV INO OFFSET HEAD PATH       HEAD: the file's first bytes in hex, or -; PATH: '\\' and line breaks
 * written as \\ and \n
 *
 * Writing replaces the file whole, so that a crash leaves the old or the new one. May wait for a disk: as
 * io/file_look.h. */
#ifndef WEIR_IO_FILE_STATE_H
#define WEIR_IO_FILE_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "io/file_look.h"

struct weir_file_position {
    char *path;
    uint64_t dev, ino, offset;
    struct weir_file_head head;
};

struct weir_file_state {
    struct weir_file_position *positions;
    size_t count, room;
};

/* Reads `path`; one that is not there is an empty one, and NOTFOUND says so. CONFIG: it is no such file, and
 * the text names the line. The state is to be freed whatever came of it. */
int weir_file_state_read(const char *path, struct weir_file_state *ret, struct weir_err *reterr);
void weir_file_state_fini(struct weir_file_state *state);

/* The text of a state: the first line, then one for each position. A lack of memory shows as out->failed. */
void weir_file_state_begin(struct weir_strbuf *out);
void weir_file_state_add(struct weir_strbuf *out, const struct weir_file_position *p);
/* Replaces the file at `path` by `text`, synced to its disk. 0, or -errno. */
int weir_file_state_write(const char *path, const char *text, size_t len);

#endif
