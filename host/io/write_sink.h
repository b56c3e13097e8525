/* io/write_sink.h - the sink in front of a writer (io/writer.h): what `file` and `stdout` have in common.
 * Each worker gathers the frames of its events in a batch, hands it over, and ends the events when the writer
 * says what came of them:
 *
 *   handle ─> filling ──submit──> writer ──wake──> ended
 *
 * Events are `running` all the way, so `concurrency` bounds them.
 * A batch leaves when it has `buffer` bytes, when it is `flush_after` old, when the stage may begin no more
 * events (else nothing would ever fill it), when the host stops, and, without flush_after or in an ordered
 * stage, where the next event of a key waits for the end of the one before, as soon as the batch before has
 * come back. */
#ifndef WEIR_IO_WRITE_SINK_H
#define WEIR_IO_WRITE_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/handler.h"

struct weir_conf;
struct weir_stage;
struct weir_writer;

struct weir_write_sink_settings {
    const char *name; /* in messages: the path, or "stdout". Copied */
    size_t buffer;
    uint64_t flush_after_ns; /* 0: at once */
};

/* Makes a sink of `writer`, which `release(writer)` gives back after the last handler has closed; on failure
 * the caller has it still. Reads encode and framing from `options`. Control thread. */
int weir_write_sink_open(struct weir_stage *stage, const struct weir_conf *options,
                         const struct weir_write_sink_settings *o, struct weir_writer *writer,
                         void (*release)(struct weir_writer *w), struct weir_handler_maker *ret,
                         struct weir_err *reterr);

#endif
