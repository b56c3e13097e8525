/* core/pause.h - a stage that takes nothing from its queue for a while: no worker begins an event of it; what comes in waits, within
 * the queue's bounds. Kept as a bit beside the pool's `ready`, so that a round pays one relaxed load for 64 stages. */
#ifndef WEIR_CORE_PAUSE_H
#define WEIR_CORE_PAUSE_H

#include <stdbool.h>

struct weir_graph;
struct weir_stage;

/* Pauses the stage, or lets it go on. A worker sees it in its next round: WEIR_LOOK_TOUCH waits for that, and after `weir_stage_resume`
 * it is what wakes the workers. Control thread. */
void weir_stage_pause(struct weir_stage *s);
void weir_stage_resume(struct weir_stage *s);
/* Lets all stages go on; the caller wakes the workers. Control thread. */
void weir_stage_resume_all(struct weir_graph *g);
/* Any thread. */
bool weir_stage_is_paused(const struct weir_stage *s);

#endif
