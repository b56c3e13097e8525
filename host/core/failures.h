/* core/failures.h - the last events that failed, kept for whoever asks: what failed, why, and the event's value.
 * Owner: the graph. At most WEIR_FAILURES_KEPT of them; a text is cut at WEIR_FAILURE_TEXT_MAX, a value larger than WEIR_FAILURE_VALUE_MAX
 * is left out: 17 MiB at the very most, and little when texts and events are small. Threads: any. */
#ifndef WEIR_CORE_FAILURES_H
#define WEIR_CORE_FAILURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/reason.h"
#include "core/value.h"

enum { WEIR_FAILURES_KEPT = 256, WEIR_FAILURE_TEXT_MAX = 4096, WEIR_FAILURE_VALUE_MAX = 65536 };

struct weir_event;
struct weir_failures;
struct weir_seat;
struct weir_stage;

struct weir_failure {
    uint64_t number;          /* counts all failures, from 1 */
    uint64_t wall_ns;         /* when, since 1970 */
    const struct weir_stage *stage;
    uint64_t event_id, generation;
    unsigned worker;
    enum weir_reason reason;
    char *text;               /* with its traceback; NULL: there is none */
    struct weir_value value;  /* holds a reference; nil with `value_bytes` > 0: it was too large */
    size_t value_bytes;
    bool had_request;         /* somebody waited for an answer */
};

int weir_failures_create(struct weir_failures **ret, struct weir_err *reterr);
/* Takes NULL. */
void weir_failures_destroy(struct weir_failures *f);
/* Remembers that `ev` failed; `text` may be NULL and is copied. Without memory for that it is left out. The seat's worker. */
void weir_failures_note(struct weir_failures *f, const struct weir_seat *seat, const struct weir_event *ev, enum weir_reason reason,
                        const char *text);
/* Copies the newest ones, of `stage` (NULL: of all), newest first, into `out`, up to `max`; returns how many. Give each to
 * weir_failure_fini. One whose text can't be copied has none. Any thread. */
size_t weir_failures_read(struct weir_failures *f, const struct weir_stage *stage, struct weir_failure *out, size_t max);
void weir_failure_fini(struct weir_failure *f);

#endif
