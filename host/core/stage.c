#include "core/stage.h"

#include <string.h>

#include "core/graph.h"
#include "core/seat.h"

struct weir_port *weir_stage_port(struct weir_stage *s, const char *name)
{
    for (size_t i = 0; i < s->port_count; i++)
        if (strcmp(s->ports[i].name, name) == 0)
            return &s->ports[i];
    return NULL;
}

static struct weir_seat *seat_in_slot(const struct weir_stage *s, size_t slot)
{
    struct weir_seat **seats = atomic_load_explicit(&s->graph->slots[slot], memory_order_acquire);
    return seats == NULL ? NULL : seats[s->index];
}

void weir_stage_read(struct weir_stage *s, struct weir_stage_sample *ret)
{
    struct weir_ledger *ledgers[WEIR_GRAPH_SLOTS_MAX];
    size_t n = 0;
    ret->vm_bytes = 0;
    ret->worked_ns = ret->collected_ns = 0;
    for (size_t i = 0; i < s->graph->slot_count; i++) {
        struct weir_seat *seat = seat_in_slot(s, i);
        if (seat == NULL)
            continue;
        ledgers[n++] = &seat->ledger;
        ret->worked_ns += atomic_load_explicit(&seat->worked_ns, memory_order_relaxed);
        ret->collected_ns += atomic_load_explicit(&seat->collected_ns, memory_order_relaxed);
        ret->vm_bytes += (size_t)atomic_load_explicit(&seat->handler_bytes, memory_order_relaxed);
    }
    weir_ledger_read(ledgers, n, &ret->ledger);
    ret->capacity = s->queue.capacity;
    ret->capacity_bytes = s->queue.bytes;
    ret->stalls = atomic_load_explicit(&s->stalls, memory_order_relaxed);
    ret->rate = atomic_load_explicit(&s->rate, memory_order_relaxed);
    for (size_t i = 0; i < WEIR_STAGE_QUANTILES; i++) {
        ret->wait_s[i] = atomic_load_explicit(&s->wait_s[i], memory_order_relaxed);
        ret->service_s[i] = atomic_load_explicit(&s->service_s[i], memory_order_relaxed);
    }
}

int64_t weir_stage_emitted(struct weir_stage *s, size_t p)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->graph->slot_count; i++) {
        struct weir_seat *seat = seat_in_slot(s, i);
        if (seat != NULL)
            n += atomic_load_explicit(&seat->emitted[p], memory_order_relaxed);
    }
    return n;
}
