/* tests/stress/burst_fixture.h - a source that emits on a timer: what it emits is on_burst's, which the test defines and which starts the timer
 * again. */
#ifndef WEIR_STRESS_BURST_FIXTURE_H
#define WEIR_STRESS_BURST_FIXTURE_H

#include <stdbool.h>
#include <uv.h>

#include "base/mem.h"
#include "core/seat.h"
#include "core/source.h"
#include "core/worker.h"

struct burst {
    struct weir_source s;
    uv_timer_t timer;
    bool open, stopped;
};

/* timer->data is the burst. */
static void on_burst(uv_timer_t *timer);

static int start_burst(struct weir_source *s, struct weir_err *reterr)
{
    struct burst *b = (struct burst *)(void *)s;
    (void)reterr;
    b->open = true;
    uv_timer_init(&s->seat->worker->loop, &b->timer);
    b->timer.data = b;
    return uv_timer_start(&b->timer, on_burst, 0, 0);
}

static void stop_burst(struct weir_source *s)
{
    struct burst *b = (struct burst *)(void *)s;
    b->stopped = true;
    uv_timer_stop(&b->timer);
}

static bool burst_idle(const struct weir_source *s)
{
    return ((const struct burst *)(const void *)s)->stopped;
}

static void close_burst(struct weir_source *s)
{
    struct burst *b = (struct burst *)(void *)s;
    if (b->open)
        uv_close((uv_handle_t *)&b->timer, NULL);
}

static void destroy_burst(struct weir_source *s)
{
    weir_free(s);
}

static const struct weir_source_ops burst_ops = {.start = start_burst,
                                                 .stop = stop_burst,
                                                 .idle = burst_idle,
                                                 .close = close_burst,
                                                 .destroy = destroy_burst};

static int make_burst(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    struct burst *b = weir_calloc(1, sizeof *b);
    (void)self;
    if (b == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "burst: out of memory");
    b->s.ops = &burst_ops;
    b->s.seat = seat;
    *ret = &b->s;
    return WEIR_OK;
}

#endif
