/* io/outbox.h - the events that a sink holds for a peer, and their bytes, until those are sent:
 *
 *   frames:  [ev ev ev ev ev]        first frame: begun perhaps; its event ends when its last byte is sent
 *   bytes:   ······■■■■■■■■■■■       · sent, ■ to be sent
 *
 * When a connection breaks in the middle of a frame the whole frame is sent again on the next one. Owner: a
 * sink's handler; worker thread. Its events are counted as running, so `concurrency` bounds it. */
#ifndef WEIR_IO_OUTBOX_H
#define WEIR_IO_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "core/reason.h"

struct weir_event;
struct weir_seat;
struct weir_sink;

struct weir_outbox_frame {
    struct weir_event *ev;
    uint64_t end;   /* where it ends in all bytes that ever were */
    unsigned tries; /* connections that broke while it was being sent */
};

struct weir_outbox {
    struct weir_seat *seat;
    struct weir_strbuf bytes, scratch;
    uint64_t base;  /* how many bytes went before those that are kept */
    uint64_t start; /* where the first frame begins, of all bytes that ever were: everything before it is through */
    uint64_t sent; /* of all bytes that ever were */
    struct weir_outbox_frame *frames;
    size_t first, count, cap; /* frames[first .. first + count) */
};

void weir_outbox_init(struct weir_outbox *o, struct weir_seat *seat);
/* It is empty. */
void weir_outbox_fini(struct weir_outbox *o);
/* Takes `ev`, which has begun. false: it could not be written as bytes and has ended. */
bool weir_outbox_add(struct weir_outbox *o, struct weir_sink *sink, struct weir_event *ev);
/* What is to be sent next, borrowed until the next call; 0: nothing. */
size_t weir_outbox_pending(const struct weir_outbox *o, const char **ret);
/* Whether some bytes of a frame are sent and others not. */
bool weir_outbox_begun(const struct weir_outbox *o);
/* `n` bytes (maybe 0: there are empty frames) were sent: ends the events whose frames are through as handled.
 */
void weir_outbox_sent(struct weir_outbox *o, size_t n);
/* The first `n` frames were sent, as datagrams: ends their events as handled. */
void weir_outbox_sent_frames(struct weir_outbox *o, size_t n);
/* The connection broke: the frame that was begun is to be sent again from its start, or, when that has
 * happened `retries` times, its event has failed with `text`. */
void weir_outbox_rewind(struct weir_outbox *o, unsigned retries, const char *text);
/* The bytes of the i-th frame that waits, whole. i < count. */
size_t weir_outbox_frame(const struct weir_outbox *o, size_t i, const char **ret);
/* Ends the first frame's event as failed; it is not to be sent (any more). */
void weir_outbox_drop_first(struct weir_outbox *o, enum weir_reason reason, const char *text);
/* Ends all as cancelled. */
void weir_outbox_cancel(struct weir_outbox *o);
/* Bytes of memory. */
size_t weir_outbox_memory(const struct weir_outbox *o);

#endif
