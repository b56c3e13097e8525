#include "io/feed.h"

#include <stdatomic.h>

#include "base/err.h"
#include "base/list.h"
#include "core/event.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

uint64_t weir_feed_next_source(void)
{
    static _Atomic uint64_t last; /* [atomic relaxed] */
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

/* `ev` is the source's again, or NULL: it was accepted. */
static void settle(struct weir_feed *f, enum weir_verdict verdict, struct weir_event *ev)
{
    weir_event_free(f->seat->worker, ev);
    f->waiting = false;
    f->verdict = verdict;
    f->resume(f);
}

static void on_again(struct weir_aside *a)
{
    struct weir_feed *f = WEIR_LIST_ENTRY(a, struct weir_feed, again);
    struct weir_event *ev = f->ev;
    f->ev = NULL;
    enum weir_verdict verdict = weir_port_emit(f->seat, f->port, ev, &f->emission);
    if (verdict != WEIR_VERDICT_PENDING)
        settle(f, verdict, verdict == WEIR_VERDICT_ACCEPTED ? NULL : ev);
}

/* Of several branches some may have taken it. */
static bool waits_anew(const struct weir_feed *f, enum weir_verdict verdict, const struct weir_event *ev)
{
    return verdict == WEIR_VERDICT_EXPIRED && ev->deadline_ns == 0 && f->port->edge_count == 1;
}

static void on_verdict(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    struct weir_feed *f = WEIR_LIST_ENTRY(em, struct weir_feed, emission);
    if (waits_anew(f, verdict, ev)) {
        f->ev = ev;
        weir_worker_set_aside(f->seat->worker,
                              &f->again); /* in a turn of its own: others that wait come first */
        return;
    }
    settle(f, verdict, ev);
}

void weir_feed_init(struct weir_feed *f, struct weir_seat *seat, struct weir_port *port,
                    void (*resume)(struct weir_feed *f))
{
    *f = (struct weir_feed){.seat = seat,
                            .port = port,
                            .resume = resume,
                            .source = weir_feed_next_source(),
                            .again.run = on_again};
    weir_list_init(&f->again.node);
}

void weir_feed_fini(struct weir_feed *f)
{
    weir_list_remove(&f->again.node);
    weir_event_free(f->seat->worker, f->ev);
    f->ev = NULL;
}

int weir_feed_send(struct weir_feed *f, struct weir_value value, enum weir_verdict *ret)
{
    struct weir_worker *w = f->seat->worker;
    struct weir_event *ev = weir_event_create(w);
    if (ev == NULL) {
        weir_value_unref(value);
        return WEIR_E_NOMEM;
    }
    uint64_t now = weir_worker_now(w), deadline = f->seat->stage->deadline_ns;
    ev->value = value;
    ev->source = f->source;
    ev->arrival_ns = now;
    ev->deadline_ns = deadline != 0 ? now + deadline : 0;
    f->emission.done = on_verdict;
    *ret = weir_port_emit(f->seat, f->port, ev, &f->emission);
    f->waiting = *ret == WEIR_VERDICT_PENDING;
    if (*ret != WEIR_VERDICT_ACCEPTED && !f->waiting)
        weir_event_free(w, ev);
    return WEIR_OK;
}
