/* io/file_job.h - one operation on files, done by libuv's threads while the worker goes on.
 * Owner: the opener until `done` is called, or until it lets go of it (weir_file_job_abandon): it ends by itself then. Threads: the worker's. */
#ifndef WEIR_IO_FILE_JOB_H
#define WEIR_IO_FILE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <uv.h>

#include "base/strbuf.h"
#include "io/handover.h"

enum weir_file_op {
    WEIR_FILE_READ,   /* up to `max` bytes from `offset` on; more than that: EFBIG */
    WEIR_FILE_WRITE,  /* makes or empties the file, then writes `data` */
    WEIR_FILE_APPEND, /* makes it if need be, writes at its end */
    WEIR_FILE_REPLACE, /* writes a new file beside it, syncs that and puts it in its place: others see the old or the new one */
    WEIR_FILE_STAT,
    WEIR_FILE_LIST,   /* names in a folder, each with a NUL behind it, into `data` */
    WEIR_FILE_REMOVE, /* a file or an empty folder */
    WEIR_FILE_RENAME, /* to `to` */
    WEIR_FILE_MAKE_FOLDER,
};

struct weir_worker;

struct weir_file_job {
    uv_work_t work;
    enum weir_file_op op;
    bool beneath;        /* nothing outside of `root` can be reached, not by links either */
    bool sync;           /* written data are on the disk when it is done */
    bool whole;          /* READ: of all of the file, else a part may be asked for */
    char *root;          /* what relative paths are relative to */
    char *path, *to;
    mode_t mode;         /* of what is made; 0: 0644, folders 0755 */
    uint64_t offset;
    size_t max;
    struct weir_strbuf data; /* what is written, or was read */
    struct stat stat;
    int error;           /* 0, or an errno */
    struct weir_handover handover; /* of all of it, to libuv's thread and back */
    void (*done)(struct weir_file_job *job); /* NULL: abandoned. Frees it (weir_file_job_destroy) */
    void *arg;           /* the opener's */
};

/* Copies the texts; NULL: no memory. `to` may be NULL. The rest is the opener's to fill. */
struct weir_file_job *weir_file_job_create(enum weir_file_op op, const char *root, const char *path, const char *to);
/* Has it done; `done` follows in a later turn. */
void weir_file_job_start(struct weir_worker *w, struct weir_file_job *job);
/* Nobody waits for it any more: what is done is done, the job frees itself. */
void weir_file_job_abandon(struct weir_file_job *job);
void weir_file_job_destroy(struct weir_file_job *job);

#endif
