/* core/relief.h - what sources and workers do while the process is short of something: one word of the graph, which the control thread writes
 * (controller/pressure.h) and everybody else only reads, once per event, batch, answer or connection. 0: nothing.
 *
 *   bits 0..2  SHRINK: batches are divided by 2^n       bits 8..12  SHED: so many of the lowest classes are refused at the sources
 *   bit 4      CLOSE: no keep-alive                      bit 5       STOP: no connections are accepted; what can wait is not read
 *
 * It orders nothing: who reads it late acts late. */
#ifndef WEIR_CORE_RELIEF_H
#define WEIR_CORE_RELIEF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/graph.h"
#include "core/worker.h"

struct weir_event;
struct weir_port;
struct weir_seat;

enum { WEIR_RELIEF_SHRINK_MAX = 6 };

struct weir_relief_levels {
    unsigned shrink; /* 0..WEIR_RELIEF_SHRINK_MAX */
    unsigned shed;   /* 0..class_count - 1 */
    bool close, stop;
};

/* Control thread. */
void weir_relief_set(struct weir_graph *g, const struct weir_relief_levels *levels);

static inline uint32_t weir_relief_word(const struct weir_graph *g)
{
    return atomic_load_explicit(&g->relief, memory_order_relaxed);
}

static inline bool weir_relief_closes(const struct weir_graph *g)
{
    return (weir_relief_word(g) & 1U << 4) != 0;
}

static inline bool weir_relief_stops(const struct weir_graph *g)
{
    return (weir_relief_word(g) & 1U << 5) != 0;
}

/* Of a batch of that size: at least 1. */
static inline size_t weir_relief_batch(const struct weir_graph *g, size_t batch)
{
    size_t less = batch >> (weir_relief_word(g) & 7);
    return less > 0 ? less : 1;
}

/* Whether sources refuse events of that class. */
static inline bool weir_relief_sheds_class(const struct weir_graph *g, uint8_t class_index)
{
    return class_index + (weir_relief_word(g) >> 8 & 31) >= g->class_count && weir_relief_word(g) >> 8 != 0;
}

/* For weir_port_emit: whether `ev`, which comes from a source, is of a class that is refused now; it is counted as refused by all stages that
 * `port` leads to then. Worker thread. */
bool weir_relief_refuse(struct weir_seat *from, const struct weir_port *port, struct weir_event *ev);

static inline bool weir_relief_refuses(const struct weir_graph *g, struct weir_seat *from, const struct weir_port *port, struct weir_event *ev)
{
    return weir_relief_word(g) >> 8 != 0 && weir_relief_refuse(from, port, ev);
}

/* ---- how late workers are, and what they can give back ---- */

/* For worker.c: a turn has ended by the last reading of the clock. Worker thread. */
static inline void weir_relief_note_turn(struct weir_worker *w)
{
    uint64_t began = atomic_load_explicit(&w->polled_ns, memory_order_relaxed);
    uint64_t took = began != 0 && w->now_ns > began ? w->now_ns - began : 0;
    if (took > atomic_load_explicit(&w->lag_ns, memory_order_relaxed))
        atomic_store_explicit(&w->lag_ns, took, memory_order_relaxed);
    atomic_store_explicit(&w->polled_ns, w->now_ns, memory_order_relaxed);
}

/* The longest time that the worker took from one poll to the next since the last call, one that lasts included. Control thread. */
uint64_t weir_relief_take_lag(struct weir_worker *w, uint64_t now_ns);
/* Has the worker's handlers collect their garbage, soon and beside their work. While that is on its way: nothing. Control thread. */
void weir_relief_collect(struct weir_worker *w);

#endif
