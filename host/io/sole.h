/* io/sole.h - sources of which an application has one stream however many workers there are (timer, stdin,
 * files): one worker of the stage's pool runs it. Pools shrink from their newest worker, so the one in the
 * pool's first slot stays until the host stops. */
#ifndef WEIR_IO_SOLE_H
#define WEIR_IO_SOLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct weir_seat;
struct weir_source;
struct weir_source_ops;

/* For weir_source_maker.make: an instance of `size` bytes, all zero but for the source, its first member. On
 * the seat that runs the stream; the others get none: WEIR_OK, and `*ret` untouched. The caller owns it.
 * Control thread. */
int weir_sole_make(struct weir_seat *seat, size_t size, const struct weir_source_ops *ops,
                   struct weir_source **ret, struct weir_err *reterr);

/* For assert in a source's stop: it is the end, not a worker that leaves others behind. Worker thread. */
bool weir_sole_ends(const struct weir_seat *seat);

#endif
