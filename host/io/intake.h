/* io/intake.h - bytes that were read, to events: a buffer, a framing, and a feed that may have to wait.
 *
 *   owner: room, reads into it, filled ──> [ buffer | cutter ] ──> make a value ──> feed ──> stage
 *   owner reads again <── hungry ─────────── all that is whole is sent
 *
 * At most a slice of frames is sent in one turn of the worker. Nobody touches the buffer between room and
 * filled, so it may be filled on another thread. Owner: the source that embeds it; worker thread. */
#ifndef WEIR_IO_INTAKE_H
#define WEIR_IO_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/worker.h"
#include "io/cutter.h"
#include "io/feed.h"

struct weir_intake;
struct weir_strbuf;

struct weir_intake_counts { /* [atomic relaxed] of a source, all its streams */
    _Atomic uint64_t events, bytes, overlong, refused;
};

/* As members of a JSON object. Any thread. */
void weir_intake_counts_print(struct weir_intake_counts *c, struct weir_strbuf *out);

struct weir_intake_ops {
    /* The value of a frame that begins at `offset` of the stream. false: no memory; it is tried again. */
    bool (*make)(struct weir_intake *in, const struct weir_cut_frame *frame, uint64_t offset,
                 struct weir_value *ret);
    /* A frame that ends before `end` was sent, and taken, refused or made to wait. NULL: nothing to do. */
    void (*sent)(struct weir_intake *in, struct weir_value value, uint64_t end);
    /* A frame over framing.max was passed over, or its beginning was. Must not call the intake. NULL: nothing
     * to do. */
    void (*overlong)(struct weir_intake *in);
    /* All that is whole has been taken: more is to be read. After weir_intake_end: it was the last. Never
     * inside another call of the intake but weir_intake_filled, …end and …flush, always the last thing they
     * do. */
    void (*hungry)(struct weir_intake *in);
};

struct weir_intake {
    const struct weir_intake_ops *ops; /* [const] */
    struct weir_intake_counts *counts; /* [const] */
    struct weir_feed feed;
    struct weir_cutter cutter;
    struct weir_aside aside;
    struct weir_timer retry; /* no memory */
    char *data;
    size_t start, len, cap; /* the bytes not sent yet: len of them, from start */
    uint64_t offset;        /* of the first of them in the stream */
    bool last;              /* nothing follows */
    bool flush;             /* what is there is a frame, whole or not */
    bool busy;              /* it has more to send; hungry follows */
    bool stopped;
};

void weir_intake_init(struct weir_intake *in, const struct weir_intake_ops *ops,
                      struct weir_intake_counts *counts, struct weir_seat *seat,
                      const struct weir_framing *framing);
/* Frees the buffer; stops first. */
void weir_intake_fini(struct weir_intake *in);
/* Room for `want` bytes; NULL: no memory. */
char *weir_intake_room(struct weir_intake *in, size_t want);
/* `n` bytes were read into it. */
void weir_intake_filled(struct weir_intake *in, size_t n);
/* Sends a value of the owner's between two frames; takes its reference. In `hungry` only. When it has to
 * wait, hungry comes again. Without memory it is left out. */
void weir_intake_send(struct weir_intake *in, struct weir_value value);
/* Nothing follows: a last frame without its end is one. Not while busy. */
void weir_intake_end(struct weir_intake *in);
/* A frame that was begun is not waited for any longer: what is there of it is one. Not while busy. */
void weir_intake_flush(struct weir_intake *in);
/* What is there is dropped; the next byte stands at `offset`. Not while busy. */
void weir_intake_reset(struct weir_intake *in, uint64_t offset);
/* Gives its buffer back if nothing is in it. Not while busy. */
void weir_intake_rest(struct weir_intake *in);
/* Sends nothing more, but for an event that waits. */
void weir_intake_stop(struct weir_intake *in);
/* What is there is dropped: nothing more of it becomes an event. In `overlong`, too. */
static inline void weir_intake_drop(struct weir_intake *in)
{
    in->offset += in->len;
    in->start = in->len = 0;
}
/* Bytes of a frame that was begun. */
static inline size_t weir_intake_pending(const struct weir_intake *in)
{
    return in->len;
}

#endif
