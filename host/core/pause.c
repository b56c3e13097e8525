#include "core/pause.h"

#include "core/graph.h"
#include "core/pool.h"
#include "core/stage.h"

static uint64_t bit_of(const struct weir_stage *s)
{
    return 1ULL << (s->rank % 64);
}

void weir_stage_pause(struct weir_stage *s)
{
    atomic_fetch_or_explicit(&s->pool->paused[s->rank / 64], bit_of(s), memory_order_relaxed);
}

void weir_stage_resume(struct weir_stage *s)
{
    atomic_fetch_and_explicit(&s->pool->paused[s->rank / 64], ~bit_of(s), memory_order_relaxed);
}

void weir_stage_resume_all(struct weir_graph *g)
{
    for (size_t i = 0; i < g->stage_count; i++)
        weir_stage_resume(&g->stages[i]);
}

bool weir_stage_is_paused(const struct weir_stage *s)
{
    return (atomic_load_explicit(&s->pool->paused[s->rank / 64], memory_order_relaxed) & bit_of(s)) != 0;
}
