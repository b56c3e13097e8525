/* io/cutter.h - frames cut out of a buffer in place, for sources that have to know where in their stream each
 * frame stands. The rules of each framing are those of io/framing.h. Pure: no memory, no I/O, no clock.
 * Owner: who embeds it, one thread. */
#ifndef WEIR_IO_CUTTER_H
#define WEIR_IO_CUTTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/framing.h"

enum weir_cut {
    WEIR_CUT_MORE, /* no whole frame is there: more bytes are needed */
    WEIR_CUT_FRAME,
    WEIR_CUT_OVERLONG, /* a frame longer than framing.max begins here: it is passed over */
};

struct weir_cutter {
    struct weir_framing framing; /* [const] */
    size_t scanned;              /* bytes of the next frame that were searched for its end already */
    bool skipping;               /* line: in a line that is too long */
    uint64_t skip;               /* length: bytes of a frame that is too long, not passed over yet */
};

struct weir_cut_frame {
    const char *data; /* within what was given */
    size_t len;
};

void weir_cutter_init(struct weir_cutter *c, const struct weir_framing *framing);
/* Forgets what it knows of the bytes before: they come from elsewhere now. */
void weir_cutter_reset(struct weir_cutter *c);
/* Looks at the `len` bytes at `data`, the first of which is the first that was not used yet. *used: how many
 * it is done with, to be taken away before the next call (bytes after those stay in place and are given
 * again, with more behind them). `last`: nothing follows, so what is there is a frame even without its end;
 * for length framing it is cut short and dropped. */
enum weir_cut weir_cutter_next(struct weir_cutter *c, const char *data, size_t len, bool last, size_t *used,
                               struct weir_cut_frame *ret);

#endif
