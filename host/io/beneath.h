/* io/beneath.h - opening a file that must lie beneath a folder, whatever its path says. Pure but for the file
 * system. Threads: any; may wait for the disk, so not on a loop. */
#ifndef WEIR_IO_BENEATH_H
#define WEIR_IO_BENEATH_H

#include <stdbool.h>
#include <sys/stat.h>

/* Whether `path` may be asked for at all: relative, no "." or ".." or dot file among its segments, no
 * backslash. Leading slashes are none of its business: they are skipped. */
bool weir_beneath_allows(const char *path);
/* Opens a regular file for reading. Returns the descriptor and fills `ret_stat`, or a negative errno: EACCES
 * for what is there but not for others (links that lead out of `root`, no right), ENOENT for all else,
 * folders and devices included. */
int weir_beneath_open(const char *root, const char *path, struct stat *ret_stat);

#endif
