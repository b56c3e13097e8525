/* io/file_job.h - one operation on files, done by libuv's threads while the worker goes on.
 *
 *   create ──> start ──> on a thread of libuv's ──> done
 *                              ^ └── its data need more room: its holder is asked, on the worker's thread
 *                              └────────┘
 *
 * Owner: the opener, but between start and `done`, which always follows. Threads: the worker's. */
#ifndef WEIR_IO_FILE_JOB_H
#define WEIR_IO_FILE_JOB_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <uv.h>

#include "base/strbuf.h"
#include "io/handover.h"
#include "io/holder.h"

enum weir_file_op {
    WEIR_FILE_READ,    /* up to `max` bytes from `offset` on; more than that: EFBIG */
    WEIR_FILE_WRITE,   /* makes or empties the file, then writes `data` */
    WEIR_FILE_APPEND,  /* makes it if need be, writes at its end */
    WEIR_FILE_REPLACE, /* writes a new file beside it, syncs that and puts it in its place: others see the old or the new one */
    WEIR_FILE_STAT,
    WEIR_FILE_LIST,   /* names in a folder, each with a NUL behind it, into `data`, up to `max` bytes */
    WEIR_FILE_REMOVE, /* a file or an empty folder */
    WEIR_FILE_RENAME, /* to `to` */
    WEIR_FILE_MAKE_FOLDER,
};

struct weir_worker;

struct weir_file_job {
    uv_work_t work;
    enum weir_file_op op;
    bool beneath; /* nothing outside of `root` can be reached, not by links either */
    bool sync;    /* written data are on the disk when it is done */
    bool whole;   /* READ: of all of the file, else a part may be asked for */
    char *root;   /* what relative paths are relative to */
    char *path, *to;
    mode_t mode; /* of what is made; 0: 0644, folders 0755 */
    uint64_t offset;
    size_t max;
    struct weir_strbuf data;    /* what is written, or was read */
    struct weir_holder *holder; /* answers for `data`; NULL: nobody. What is written is held by the opener already */
    struct stat stat;
    int error; /* 0, or an errno; ENOMEM also when the holder refused */
    void (*done)(struct weir_file_job *job);
    void *arg; /* the opener's */
    /* private */
    struct weir_handover handover; /* of all of it, to libuv's thread and back */
    size_t granted, wanted;        /* bytes that `data` may take; that it needs to go on */
    int rc;                        /* of the last run */
    bool cancelled;
    int fd;   /* READ: while it wants room; -1: not open */
    DIR *dir; /* LIST: the same; … */
    struct dirent *entry; /* … and the name that there was no room for */
};

/* Copies the texts; NULL: no memory. `to` may be NULL. The rest is the opener's to fill. */
struct weir_file_job *weir_file_job_create(enum weir_file_op op, const char *root, const char *path, const char *to);
/* Has it done; `done` follows in a later turn. false: its holder refuses what it begins with, and nothing follows. */
bool weir_file_job_start(struct weir_worker *w, struct weir_file_job *job);
/* What it has not done yet is left undone, if that can be; `done` follows all the same. */
void weir_file_job_cancel(struct weir_file_job *job);
void weir_file_job_destroy(struct weir_file_job *job);

#endif
