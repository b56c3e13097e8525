/* base/linefile.h - lines to a file descriptor that may be slow, from threads that may not wait.
 * A writer thread of its own empties a bounded buffer; a line that does not fit is dropped and counted, and a line that says
 * how many were dropped follows when there is room again. Threads: any, but open and close. */
#ifndef WEIR_BASE_LINEFILE_H
#define WEIR_BASE_LINEFILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct weir_linefile;

/* Opens `path` for appending (made with mode 0640), or takes `fd` (not closed later) when `path` is NULL. */
int weir_linefile_open(const char *path, int fd, struct weir_linefile **ret, struct weir_err *reterr);
/* Writes what is buffered (waits for that at most `wait_ms`), then closes. Takes NULL. */
void weir_linefile_close(struct weir_linefile *f, unsigned wait_ms);
/* Appends `line` (its newline included). Never waits. */
void weir_linefile_write(struct weir_linefile *f, const char *line, size_t len);
/* Opens the path anew before the next line is written, for log rotation; the old file stays if that fails. */
void weir_linefile_reopen(struct weir_linefile *f);
/* Lines dropped so far. */
uint64_t weir_linefile_dropped(struct weir_linefile *f);

#endif
