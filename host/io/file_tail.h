/* io/file_tail.h - one file that is read: where, how far, and what became of what was read.
 *
 *            ┌────────── more, or it has grown ──────────┐
 *   HELD ─> READY ─> READING ─> SENDING ─> READY …        │
 *    │ until the file      in libuv's   its intake   └─> IDLE, at the end ─> ENDED
 *      before it under     threads      sends
 *      this name is read
 *
 * A file is known by device and number, not by name: rotation gives it another name or none, and it is read
 * to its end all the same. Position: up to where every event has been ended by the stage behind the source.
 * It is told by the events' values, to which a tail holds references: one that nobody else holds any more
 * belongs to an event that has ended. Owner: the source's instance. Threads: the worker's, but for `job`
 * while the tail is READING. */
#ifndef WEIR_IO_FILE_TAIL_H
#define WEIR_IO_FILE_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "io/file_look.h"
#include "io/file_state.h"
#include "io/handover.h"
#include "io/intake.h"

enum weir_tail_state {
    WEIR_TAIL_HELD,
    WEIR_TAIL_READY,
    WEIR_TAIL_READING,
    WEIR_TAIL_SENDING,
    WEIR_TAIL_IDLE,
    WEIR_TAIL_ENDED, /* all of it is sent; kept until its events have ended */
};

/* Events of a tail that have not ended, oldest first. */
struct weir_tail_sent {
    struct weir_blob *blob; /* a reference */
    uint64_t end;           /* where in the file the frame ends */
};

struct weir_tail {
    struct weir_list node;  /* of all */
    struct weir_list hash;  /* by number */
    struct weir_list ready; /* READY: whose turn it is */
    void *owner;
    char *path; /* the last name it had */
    uint64_t dev, ino;
    int fd; /* -1: closed */
    enum weir_tail_state state;
    struct weir_intake intake;
    struct weir_file_head head;
    uint64_t size, grown_ns; /* as it was seen last; when it changed */
    int64_t changed_ns;
    uint64_t seen; /* number of the look that saw it */
    bool again;    /* it may have grown since the read that is under way began */
    bool gone;     /* its name leads to another file, or to none */
    uint64_t gone_ns;
    bool checked;   /* gone, or another is to be read after it: the read that is under way, or was the last,
                       began after that */
    bool truncated; /* what is left of its old contents is being sent; then it begins anew */
    struct weir_tail *next;  /* HELD, and to be read after this one */
    uint64_t read_ns;        /* when it was read last */
    uint64_t saved;          /* the position that was written last */
    struct weir_timer flush; /* a last line without its end is not waited for any longer */
    int error;               /* errno that was told; 0: none */

    struct weir_tail_sent *sent; /* a ring */
    size_t sent_first, sent_count, sent_room;
    uint64_t ended_to; /* where the last event that has ended ends */
    bool tracks;       /* [const] there is a state file */
    bool lost_track;   /* no memory for the ring: the position stays */

    uv_work_t work;
    struct weir_handover handover; /* of job_path, chunk and what they point to */
    struct weir_file_chunk chunk;
    char *job_path; /* a copy, for the thread */
    void (*done)(struct weir_tail *t);
};

/* A tail of the file `seen`, which it begins to read at `offset`; `held` or else IDLE. NULL: no memory. */
struct weir_tail *weir_tail_create(const struct weir_file_seen *seen, uint64_t offset,
                                   const struct weir_intake_ops *ops, struct weir_intake_counts *counts,
                                   struct weir_seat *seat, const struct weir_framing *framing, bool tracks);
/* It is not READING. Closes its file. */
void weir_tail_destroy(struct weir_tail *t);
/* Reads a chunk, opening the file if need be; `done` is called in a later turn, with t->chunk filled in.
 * NOMEM: it was not begun. */
int weir_tail_read(struct weir_tail *t, void (*done)(struct weir_tail *t));
/* For weir_intake_ops.sent: the value of an event that ends at `end`. */
void weir_tail_note_sent(struct weir_tail *t, struct weir_value value, uint64_t end);
/* Forgets the events that have ended, unless `frozen()` says that they may have been dropped with the host's
 * stop. Cheap when none has. */
void weir_tail_sweep(struct weir_tail *t, bool (*frozen)(void *arg), void *arg);
/* Up to where it need not be read again. */
uint64_t weir_tail_position(const struct weir_tail *t);
/* Its contents were replaced: begins anew at 0. Its intake is not busy. */
void weir_tail_restart(struct weir_tail *t);

static inline struct weir_tail *weir_tail_of(struct weir_intake *in)
{
    return WEIR_LIST_ENTRY(in, struct weir_tail, intake);
}

#endif
