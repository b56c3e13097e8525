/* io/writer.h - one thread that writes what many workers hand it to one descriptor, so that no event-driven
 * worker waits for a disk or for the reader of a pipe.
 *
 *   worker                            writer thread
 *   fills a struct weir_write ──────> queue: takes all that is there, writes one after the other, syncs once
 *   ends its events <── async wake ── its box: what came of each
 *
 * The frames of a write stand in the file together and whole: when one was cut by an error (a full disk),
 * what is there of it is taken back where the descriptor allows that. Owner: the control thread opens and
 * closes it; a write belongs to whoever has it: worker, queue, thread, box. */
#ifndef WEIR_IO_WRITER_H
#define WEIR_IO_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/strbuf.h"

struct weir_writer;

enum weir_writer_sync { WEIR_WRITER_NEVER, WEIR_WRITER_INTERVAL, WEIR_WRITER_ALWAYS };

struct weir_writer_settings {
    const char *path; /* may hold date patterns (io/datepath.h); NULL: `fd`, which stays the caller's */
    int fd;
    bool truncate; /* empties the file when it is opened first */
    bool mkdir;    /* makes folders that are missing in the path */
    enum weir_writer_sync sync;
    uint64_t sync_every_ns; /* with INTERVAL */
};

/* Where a worker gets its writes back. `wake` is in its loop, made by it before the first submit. */
struct weir_write_box {
    uv_async_t wake;
    struct weir_list done; /* [writer mu] of struct weir_write */
    bool open;             /* [writer mu] */
};

/* A batch: filled by a worker, written as one. */
struct weir_write {
    struct weir_list node;
    struct weir_write_box *box;
    struct weir_list events;  /* its owner's; the writer does not look at them */
    struct weir_strbuf bytes; /* whole frames */
    size_t *ends;             /* where each of them ends in `bytes` */
    size_t count, cap;
    /* what came of it */
    size_t written;    /* frames that are in the file, from the first */
    int error;         /* errno of what ended it; 0: all are */
    const char *doing; /* "write to", "open", "sync": what failed */
    bool abandoned;    /* [writer mu] nobody waits for it any more: the writer frees it */
};

/* NULL when there is no memory. */
struct weir_write *weir_write_create(struct weir_write_box *box);
/* Says that a frame ends at the end of `bytes`. false: no memory, nothing changed. */
bool weir_write_mark(struct weir_write *wr);
/* Empties it for the next batch; its events have ended. Gives large memory back. */
void weir_write_reset(struct weir_write *wr);
/* Takes NULL. */
void weir_write_destroy(struct weir_write *wr);

/* Opens the path (mode 0644, for appending) and starts the thread. */
int weir_writer_open(const struct weir_writer_settings *o, struct weir_writer **ret, struct weir_err *reterr);
/* Writes what is queued (gives up after `wait_ms`), syncs, closes. All boxes are closed. Takes NULL. */
void weir_writer_close(struct weir_writer *w, unsigned wait_ms);
/* The file was renamed: opens the path anew before it writes what is submitted after this. When that fails it
 * goes on with the old one and logs it. Any thread. */
void weir_writer_reopen(struct weir_writer *w);

/* Makes the box of a worker; `on_done` is called on its thread when the box has something. A negative uv code
 * on failure. */
int weir_write_box_open(struct weir_write_box *box, uv_loop_t *loop, uv_async_cb on_done);
/* Nothing of it is in the writer any more but abandoned writes. Then `closed` is called from the loop. */
void weir_write_box_close(struct weir_writer *w, struct weir_write_box *box, uv_close_cb closed);
/* Gives `wr` to the writer. Never waits. The box's thread. */
void weir_writer_submit(struct weir_writer *w, struct weir_write *wr);
/* Moves what is done to the empty list `ret`, oldest first. The box's thread. */
void weir_writer_collect(struct weir_writer *w, struct weir_write_box *box, struct weir_list *ret);
/* Takes all of the box's writes out of the writer: done ones to `ret_done`, the events of all others (which
 * may have been written, wholly or in part, when they were under way) to `ret_events`. Waits for nothing. The
 * box's thread. */
void weir_writer_revoke(struct weir_writer *w, struct weir_write_box *box, struct weir_list *ret_done,
                        struct weir_list *ret_events);

#endif
