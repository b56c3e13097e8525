/* io/file_threads.h - how much libuv's threads, which do what workers must not wait for (files, look-ups of names), have to do: all workers
 * share them, and there are few. Any thread. */
#ifndef WEIR_IO_FILE_THREADS_H
#define WEIR_IO_FILE_THREADS_H

#include <stddef.h>

/* Something is given to them; it has come back. */
void weir_file_threads_begin(void);
void weir_file_threads_end(void);
/* How much has been given to them and has not come back. */
size_t weir_file_threads_pending(void);
/* How many they are: UV_THREADPOOL_SIZE, as libuv reads it. */
size_t weir_file_threads_count(void);

#endif
