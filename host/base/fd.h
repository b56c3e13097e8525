/* base/fd.h - what file descriptors are used for in several places. Threads: any; each call may wait for the
 * disk or a reader. */
#ifndef WEIR_BASE_FD_H
#define WEIR_BASE_FD_H

#include <stddef.h>

/* Writes all of `bytes` to a descriptor that waits. 0, or a negative errno: part of it may be written. */
int weir_fd_write_all(int fd, const char *bytes, size_t len);

#endif
