/* io/file_look.h - what the source `file` asks of the file system. Everything here may wait for a disk:
 * called in libuv's threads, and by the control thread before the host runs. No state; a structure is its
 * caller's. */
#ifndef WEIR_IO_FILE_LOOK_H
#define WEIR_IO_FILE_LOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A file by what it is, whatever it is called. The head tells it from a later file that was given its number.
 */
enum { WEIR_FILE_HEAD_MAX = 128 };

struct weir_file_head {
    unsigned char bytes[WEIR_FILE_HEAD_MAX];
    size_t len; /* as far as it has been read */
};

struct weir_file_seen {
    char *path;
    uint64_t dev, ino, size;
    int64_t changed_ns; /* mtime */
};

struct weir_file_list {
    struct weir_file_seen *files; /* in the order of the patterns, then of names */
    size_t count, room;
    size_t skipped; /* that are no regular files, or can't be reached */
};

/* Whether there is a wildcard in it. */
bool weir_file_is_pattern(const char *path);
/* The regular files that the patterns name now. A pattern that names none is no error. NOMEM; the list is to
 * be freed whatever came of it. */
int weir_file_list_fill(struct weir_file_list *list, const char *const *patterns, size_t count);
void weir_file_list_fini(struct weir_file_list *list);

/* Opens the file that is called `path`, if it is (dev, ino) still; else the one in the same folder that is. A
 * descriptor, or -errno: -ENOENT when there is none. */
int weir_file_open(const char *path, uint64_t dev, uint64_t ino);

/* One read. `data`, `room`, `offset`, `fd` and `head` are given; the rest comes back. */
struct weir_file_chunk {
    int fd;
    uint64_t offset;
    char *data;
    size_t room;
    struct weir_file_head head; /* comes back longer */
    size_t len;
    bool at_end;    /* there was nothing more */
    bool truncated; /* it was made shorter or written anew: nothing of what it was is there */
    int error;      /* errno; 0: none */
};

void weir_file_read(struct weir_file_chunk *c);

#endif
