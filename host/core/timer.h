/* core/timer.h - the timers of a worker: a binary heap by due time over one uv_timer, so that 100 000 of them cost a pointer and what
 * embeds each, and a virtual clock (base/clock.h) moves them. Resolution 1 ms, never early.
 * Owner: whoever embeds one; the heap is the worker's. What is still set when the worker leaves is dropped without a call: owners unset
 * theirs before. Threads: the worker's. */
#ifndef WEIR_CORE_TIMER_H
#define WEIR_CORE_TIMER_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct weir_worker;

struct weir_timer { /* all zero: not set */
    uint64_t due_ns;
    size_t slot; /* in the heap, from 1; 0: not set */
    void (*fire)(struct weir_timer *t); /* not set any more when it is called; may set it again, or free what embeds it */
};

/* A worker's heap. */
struct weir_timers {
    struct weir_timer **heap; /* from 1 */
    size_t count, room;
    uint64_t armed_ns;        /* due time that the loop's timer was set for; 0: it was not */
    uint64_t running_ns;      /* the time up to which weir_timers_run fires now; 0: it does not run */
    uv_timer_t timer;
};

/* Makes it fire at `due_ns` (weir_clock_ns), or moves it there; in a timer's `fire` just after the present at the earliest, so that a timer
 * that sets itself leaves room for others. WEIR_OK, or WEIR_E_NOMEM: unchanged. One that is set already can't fail. Worker thread. */
int weir_timer_set(struct weir_worker *w, struct weir_timer *t, uint64_t due_ns);
/* One that is not set: nothing. */
void weir_timer_unset(struct weir_worker *w, struct weir_timer *t);
/* Fires what is due by w->now_ns, earliest first. The worker's loop calls it, and tests with a virtual clock. */
void weir_timers_run(struct weir_worker *w);
/* When the first is due; UINT64_MAX: none is set. */
uint64_t weir_timers_next(const struct weir_worker *w);

/* For worker.c: with the loop; before the loop runs dry. */
void weir_timers_init(struct weir_worker *w);
void weir_timers_close(struct weir_worker *w);

#endif
