/* admin/process.h - what the system knows of this process. Any thread; reads /proc. */
#ifndef WEIR_ADMIN_PROCESS_H
#define WEIR_ADMIN_PROCESS_H

#include <stdint.h>

/* Zero where /proc does not say. */
struct weir_process {
    double cpu_s, start_s; /* CPU time used; start, in seconds since 1970 */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t open_fds, max_fds;
    uint64_t threads;
};

void weir_process_read(struct weir_process *ret);

#endif
