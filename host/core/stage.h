/* core/stage.h - a named step: a queue, a handler or source on each worker of its pool, and named outputs.
 * Owner: the graph; [const] once the host runs, but for the queue. */
#ifndef WEIR_CORE_STAGE_H
#define WEIR_CORE_STAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/handler.h"
#include "core/ledger.h"
#include "core/port.h"
#include "core/queue.h"
#include "core/source.h"

struct weir_gate;
struct weir_graph;
struct weir_pool;
struct weir_taps;

enum { WEIR_STAGE_QUANTILES = 3 }; /* of times: the 50th, 90th and 99th percentile */

enum { WEIR_STAGE_BATCH_ROOM = 1024 }; /* how far any batch can be raised while the host runs */

enum weir_stage_kind { WEIR_STAGE_SOURCE, WEIR_STAGE_HANDLER, WEIR_STAGE_SINK };

struct weir_stage {
    const char *name;           /* [const] */
    size_t index;               /* [const] in the graph */
    size_t rank;                /* [const] order of a worker's round: 0 is the farthest downstream */
    enum weir_stage_kind kind;  /* [const] */
    struct weir_graph *graph;   /* [const] */
    struct weir_pool *pool;     /* [const] */
    struct weir_queue queue;
    struct weir_gate *gate;     /* [const] what admits to the queue; NULL: no controller does. Owned */
    struct weir_port *ports;    /* [const] */
    size_t port_count;          /* [const] */
    unsigned batch_max;         /* [const] events per turn, at first */
    _Atomic unsigned batch;     /* [atomic relaxed] events per turn: moved by the control thread, within weir_stage_batch_limit */
    unsigned concurrency;       /* [const] calls begun and not ended, per worker */
    uint64_t slice_ns, stall_ns, cpu_ns, wall_ns; /* [const] limits of a handler call */
    uint64_t deadline_ns;       /* [const] sources: of the events they make; 0: none */
    bool has_class;             /* [const] sources: of the events they make, unless they know better … */
    uint8_t class_index;        /* [const] … this one; else the application's default */
    size_t memory;              /* [const] per VM */
    struct weir_edge on_error;  /* [const] where failed events are offered; its target NULL: nowhere. Never waits */
    _Atomic int64_t stalls;     /* [atomic relaxed, one writer: watchdog] calls that got a worker stuck */
    bool takes_batches;         /* [const] the handler wants whole batches: partitions may give several events at once */
    struct weir_handler_maker handler; /* kind HANDLER and SINK */
    struct weir_source_maker source;   /* kind SOURCE */
    uint64_t generation;        /* [const] 1 in this version */
    _Atomic(struct weir_taps *) taps; /* [atomic acq/rel] who looks at what passes (core/tap.h); NULL: nobody ever did */
    _Atomic double rate;        /* [atomic relaxed] events handled per second, computed by the control thread's tick */
    _Atomic double wait_s[WEIR_STAGE_QUANTILES], service_s[WEIR_STAGE_QUANTILES]; /* [atomic relaxed] likewise: of the events begun and ended since
                                                                                      the tick before; 0: there were none */
};

/* The most that `batch` may be set to. */
static inline unsigned weir_stage_batch_limit(const struct weir_stage *s)
{
    return s->batch_max > WEIR_STAGE_BATCH_ROOM ? s->batch_max : WEIR_STAGE_BATCH_ROOM;
}

/* The port named `name`; NULL: none. */
struct weir_port *weir_stage_port(struct weir_stage *s, const char *name);

struct weir_stage_sample {
    struct weir_ledger_sum ledger;
    size_t capacity, capacity_bytes;
    size_t vm_bytes;            /* of all its handlers */
    int64_t worked_ns, collected_ns; /* time of workers that its handlers had; of that, taken by collecting garbage */
    int64_t stalls;             /* calls that got a worker stuck */
    double rate;                /* handled per second over the last second or so */
    double wait_s[WEIR_STAGE_QUANTILES], service_s[WEIR_STAGE_QUANTILES]; /* over that time; 0: no events */
};

/* Adds up what all workers counted. Any thread. */
void weir_stage_read(struct weir_stage *s, struct weir_stage_sample *ret);
/* Accepted emits of port `p`, over all workers. Any thread. */
int64_t weir_stage_emitted(struct weir_stage *s, size_t p);

#endif
