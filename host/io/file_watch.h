/* io/file_watch.h - is told by the system (inotify) what changes in folders. Only to be quick: folders that
 * can't be watched (too many, not there, on a network) are found out about by looking. Owner and threads: the
 * worker that made it. */
#ifndef WEIR_IO_FILE_WATCH_H
#define WEIR_IO_FILE_WATCH_H

struct weir_file_watch;
struct weir_worker;

/* `changed(arg, path)`: the file was written to or truncated; NULL: names came, went or changed in some
 * folder. From the loop. NULL: no memory. */
struct weir_file_watch *weir_file_watch_create(struct weir_worker *w,
                                               void (*changed)(void *arg, const char *path), void *arg);
/* Watches the folder that `path` is in, unless it does so already, or it is a pattern itself. */
void weir_file_watch_folder_of(struct weir_file_watch *fw, const char *path);
/* Closes its handles in the worker's loop. Takes NULL, as destroy. */
void weir_file_watch_close(struct weir_file_watch *fw);
/* The loop has run dry. */
void weir_file_watch_destroy(struct weir_file_watch *fw);

#endif
