/* io/sink.h - what all sinks share: how an event becomes bytes, how it ends, and who is told of trouble.
 * One struct weir_sink per stage, shared by its workers. */
#ifndef WEIR_IO_SINK_H
#define WEIR_IO_SINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "core/event.h"
#include "core/reason.h"
#include "core/seat.h"
#include "io/framing.h"

struct weir_conf;
struct weir_stage;

enum weir_sink_encode {
    WEIR_SINK_AUTO,    /* a string as it is, every other value as JSON */
    WEIR_SINK_JSON,    /* every value as JSON, strings with quotes */
    WEIR_SINK_MSGPACK, /* as weir keeps it: one MessagePack object */
};

struct weir_sink {
    struct weir_stage *stage;     /* [const] */
    enum weir_sink_encode encode; /* [const] */
    struct weir_framing framing;  /* [const] WEIR_FRAMING_RAW for what has frames of its own (datagrams) */
    _Atomic bool troubled;        /* [atomic relaxed] the log knows that nothing can be written */
    _Atomic uint64_t told_ns;     /* [atomic relaxed] when an event that has no form was last logged */
};

extern const char *const weir_sink_encode_words[];

/* A row of a sink's option table. */
#define WEIR_SINK_ENCODE_OPTION                                                                              \
    {                                                                                                        \
        .name = "encode", .type = WEIR_OPTION_ENUM, .fallback = "auto", .words = weir_sink_encode_words,     \
        .text = "auto: strings as they are, the rest as JSON; json: everything; msgpack: as MessagePack"     \
    }

/* Reads `encode`, and the framing rows when `framed` (max_frame bounds only when it is written). Errors name
 * the stage. */
int weir_sink_init(struct weir_sink *s, struct weir_stage *stage, const struct weir_conf *options,
                   bool framed, struct weir_err *reterr);

/* Appends the event's bytes to `out`, framed. Any failure leaves `out` as it was and says why in `reterr`:
 * WEIR_E_NOMEM; WEIR_E_LIMIT, WEIR_E_INVAL when such an event can't be written. `scratch` is the caller's,
 * kept from call to call. Worker thread. */
int weir_sink_encode(const struct weir_sink *s, const struct weir_event *ev, struct weir_strbuf *scratch,
                     struct weir_strbuf *out, struct weir_err *reterr);

/* ---- the end of an event; worker thread ---- */

/* It has been written. */
void weir_sink_handled(struct weir_seat *seat, struct weir_event *ev);
/* It could not be written: `text` says why. Does not log. */
void weir_sink_failed(struct weir_seat *seat, struct weir_event *ev, enum weir_reason reason,
                      const char *text);
/* Logs that an event has no form here, once in ten seconds. */
void weir_sink_tell(struct weir_sink *s, const struct weir_seat *seat, const struct weir_err *why);
/* weir_sink_encode refused it: fails it as MEMORY or ENCODE, and tells of the second. */
void weir_sink_refused(struct weir_sink *s, struct weir_seat *seat, struct weir_event *ev,
                       const struct weir_err *why);
/* All of a list of events (by weir_event.node): the drain time is over. */
void weir_sink_cancel(struct weir_seat *seat, struct weir_list *events);

/* ---- connections that are made again ---- */

struct weir_sink_backoff {
    uint64_t min_ns, max_ns; /* [const] */
    unsigned failures;       /* in a row */
    uint64_t random;         /* not 0 */
};

/* How long to wait before the next attempt: min, doubled with each failure up to max, and of that a random
 * part between half and all, so that many do not come back at once. Counts the failure. Pure. */
uint64_t weir_sink_backoff_next(struct weir_sink_backoff *b);

/* ---- trouble: logged when it begins and when it is over, not for each event; any thread ---- */

void weir_sink_trouble(struct weir_sink *s, const char *text);
void weir_sink_well(struct weir_sink *s);

#endif
