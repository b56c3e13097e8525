#include "io/feed.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "core/event.h"
#include "core/relief.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

static const uint64_t HOLD_NS = 50 * WEIR_NS_PER_MS;

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

static bool waits(const struct weir_feed *f)
{
    return f->port->edge_count == 1 && f->port->edges[0].overflow.policy == WEIR_OVERFLOW_WAIT;
}

static bool hold_for_a_while(struct weir_feed *f, struct weir_event *ev)
{
    struct weir_worker *w = f->seat->worker;
    if (weir_timer_set(w, &f->held, w->now_ns + HOLD_NS) < 0)
        return false;
    f->ev = ev;
    return true;
}

/* An emit never waits for a gate; a source that can do without reading for a while offers the event again. Each time counts as refused. */
static bool hold_refused(struct weir_feed *f, enum weir_verdict verdict, struct weir_event *ev)
{
    return verdict == WEIR_VERDICT_REJECTED && waits(f) && f->port->edges[0].target->gate != NULL && hold_for_a_while(f, ev);
}

/* Holds an event that would be refused, or whose source is not to be read now, where its stage says that there is nothing to lose by that.
 * false: nothing speaks against it, or it can't be held. */
static bool hold(struct weir_feed *f, struct weir_event *ev)
{
    const struct weir_graph *g = f->seat->worker->graph;
    if (weir_relief_word(g) == 0 || !waits(f))
        return false;
    if (!weir_relief_stops(g) && !weir_relief_sheds_class(g, ev->class_index))
        return false;
    return hold_for_a_while(f, ev);
}

static void send_again(struct weir_feed *f)
{
    struct weir_event *ev = f->ev;
    if (hold(f, ev))
        return;
    f->ev = NULL;
    enum weir_verdict verdict = weir_port_emit(f->seat, f->port, ev, &f->emission);
    if (verdict != WEIR_VERDICT_PENDING && !hold_refused(f, verdict, ev))
        settle(f, verdict, verdict == WEIR_VERDICT_ACCEPTED ? NULL : ev);
}

static void on_again(struct weir_aside *a)
{
    send_again(WEIR_LIST_ENTRY(a, struct weir_feed, again));
}

static void on_held(struct weir_timer *t)
{
    send_again(WEIR_LIST_ENTRY(t, struct weir_feed, held));
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
                            .has_class = seat->stage->has_class,
                            .class_index = seat->stage->class_index,
                            .again.run = on_again,
                            .held.fire = on_held};
    weir_list_init(&f->again.node);
}

void weir_feed_fini(struct weir_feed *f)
{
    weir_list_remove(&f->again.node);
    weir_timer_unset(f->seat->worker, &f->held);
    weir_event_free(f->seat->worker, f->ev);
    f->ev = NULL;
    weir_feed_set_key(f, WEIR_VALUE_NOTHING);
}

void weir_feed_set_key(struct weir_feed *f, struct weir_value key)
{
    weir_value_unref(f->key);
    f->key = key;
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
    if (f->key.kind != WEIR_VALUE_NIL)
        weir_event_set_key(ev, weir_value_ref(f->key));
    if (f->has_class)
        ev->class_index = f->class_index;
    ev->arrival_ns = now;
    ev->deadline_ns = deadline != 0 ? now + deadline : 0;
    f->emission.done = on_verdict;
    *ret = hold(f, ev) ? WEIR_VERDICT_PENDING : weir_port_emit(f->seat, f->port, ev, &f->emission);
    if (hold_refused(f, *ret, ev))
        *ret = WEIR_VERDICT_PENDING;
    f->waiting = *ret == WEIR_VERDICT_PENDING;
    if (*ret != WEIR_VERDICT_ACCEPTED && !f->waiting)
        weir_event_free(w, ev);
    return WEIR_OK;
}
