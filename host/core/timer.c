#include "core/timer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/worker.h"

enum { ROOM_FIRST = 16 };

static void place(struct weir_timers *ts, struct weir_timer *t, size_t slot)
{
    ts->heap[slot] = t;
    t->slot = slot;
}

/* Moves `t` towards the root from the free place `slot`. */
static void rise(struct weir_timers *ts, struct weir_timer *t, size_t slot)
{
    while (slot > 1 && ts->heap[slot / 2]->due_ns > t->due_ns) {
        place(ts, ts->heap[slot / 2], slot);
        slot /= 2;
    }
    place(ts, t, slot);
}

static void sink(struct weir_timers *ts, struct weir_timer *t, size_t slot)
{
    for (size_t child; (child = slot * 2) <= ts->count; slot = child) {
        if (child < ts->count && ts->heap[child + 1]->due_ns < ts->heap[child]->due_ns)
            child++;
        if (ts->heap[child]->due_ns >= t->due_ns)
            break;
        place(ts, ts->heap[child], slot);
    }
    place(ts, t, slot);
}

static void settle(struct weir_timers *ts, struct weir_timer *t, size_t slot)
{
    if (slot > 1 && ts->heap[slot / 2]->due_ns > t->due_ns)
        rise(ts, t, slot);
    else
        sink(ts, t, slot);
}

static void take_out(struct weir_timers *ts, struct weir_timer *t)
{
    size_t slot = t->slot;
    struct weir_timer *last = ts->heap[ts->count--];
    t->slot = 0;
    if (last != t)
        settle(ts, last, slot);
}

static void on_timer(uv_timer_t *timer)
{
    struct weir_worker *w = timer->data;
    w->timers.armed_ns = 0;
    weir_worker_now(w);
    weir_timers_run(w);
}

/* Sets the loop's timer for the first of the heap. The loop counts in whole milliseconds of the clock that due times are of, so the
 * first one that is not before `due_ns` is the one to wait for, however old the loop's reading is. */
static void arm(struct weir_worker *w)
{
    struct weir_timers *ts = &w->timers;
    if (ts->running_ns != 0)
        return; /* once, at its end */
    if (ts->count == 0) {
        if (ts->armed_ns != 0)
            uv_timer_stop(&ts->timer);
        ts->armed_ns = 0;
        return;
    }
    uint64_t due_ns = ts->heap[1]->due_ns;
    if (due_ns == ts->armed_ns)
        return;
    uint64_t due_ms = due_ns / WEIR_NS_PER_MS + (due_ns % WEIR_NS_PER_MS != 0), now_ms = uv_now(&w->loop);
    /* past by the loop's clock and not by the worker's: the clock is virtual, and waits for its test */
    uint64_t least = due_ns > w->now_ns;
    uv_timer_start(&ts->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : least, 0);
    ts->armed_ns = due_ns;
}

static bool make_room(struct weir_timers *ts)
{
    if (ts->count + 1 < ts->room)
        return true;
    size_t room = ts->room == 0 ? ROOM_FIRST : ts->room * 2;
    struct weir_timer **heap = weir_realloc(ts->heap, room * sizeof *heap);
    if (heap == NULL)
        return false;
    ts->heap = heap;
    ts->room = room;
    return true;
}

int weir_timer_set(struct weir_worker *w, struct weir_timer *t, uint64_t due_ns)
{
    struct weir_timers *ts = &w->timers;
    if (due_ns <= ts->running_ns)
        due_ns = ts->running_ns + 1;
    if (t->slot == 0) {
        if (!make_room(ts))
            return WEIR_E_NOMEM;
        t->due_ns = due_ns;
        rise(ts, t, ++ts->count);
    } else {
        t->due_ns = due_ns;
        settle(ts, t, t->slot);
    }
    arm(w);
    return WEIR_OK;
}

void weir_timer_unset(struct weir_worker *w, struct weir_timer *t)
{
    if (t->slot == 0)
        return;
    take_out(&w->timers, t);
    if (w->timers.count == 0) /* else an early wake-up costs less than setting the loop's timer at each end of a call */
        arm(w);
}

void weir_timers_run(struct weir_worker *w)
{
    struct weir_timers *ts = &w->timers;
    if (ts->running_ns != 0)
        return;
    ts->running_ns = w->now_ns; /* the time moves while they run */
    while (ts->count > 0 && ts->heap[1]->due_ns <= ts->running_ns) {
        struct weir_timer *t = ts->heap[1];
        take_out(ts, t);
        t->fire(t);
    }
    ts->running_ns = 0;
    arm(w);
}

uint64_t weir_timers_next(const struct weir_worker *w)
{
    return w->timers.count == 0 ? UINT64_MAX : w->timers.heap[1]->due_ns;
}

void weir_timers_init(struct weir_worker *w)
{
    uv_timer_init(&w->loop, &w->timers.timer);
    w->timers.timer.data = w;
}

void weir_timers_close(struct weir_worker *w)
{
    struct weir_timers *ts = &w->timers;
    for (size_t i = 1; i <= ts->count; i++)
        ts->heap[i]->slot = 0;
    ts->count = 0;
    ts->armed_ns = 0;
    weir_free(ts->heap);
    ts->heap = NULL;
    ts->room = 0;
    uv_timer_stop(&ts->timer);
    uv_close((uv_handle_t *)&ts->timer, NULL);
}
