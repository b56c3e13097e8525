#include "io/intake.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "core/seat.h"
#include "core/stage.h"

enum { FRAMES_PER_TURN = 256 };
static const uint64_t retry_ns = 10 * WEIR_NS_PER_MS;

void weir_intake_counts_print(struct weir_intake_counts *c, struct weir_strbuf *out)
{
    weir_strbuf_addf(
        out, "\"events\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"overlong\":%" PRIu64 ",\"refused\":%" PRIu64,
        atomic_load_explicit(&c->events, memory_order_relaxed),
        atomic_load_explicit(&c->bytes, memory_order_relaxed),
        atomic_load_explicit(&c->overlong, memory_order_relaxed),
        atomic_load_explicit(&c->refused, memory_order_relaxed));
}

static struct weir_worker *worker_of(const struct weir_intake *in)
{
    return in->feed.seat->worker;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void take(struct weir_intake *in, size_t used)
{
    in->start += used;
    in->len -= used;
    in->offset += used;
    if (in->len == 0)
        in->start = 0;
}

static void settle(struct weir_intake *in, enum weir_verdict verdict)
{
    if (verdict != WEIR_VERDICT_ACCEPTED && verdict != WEIR_VERDICT_PENDING)
        count(&in->counts->refused, 1);
}

/* Sends a frame of which `used` bytes of the stream are taken. false: no memory. */
static bool send_frame(struct weir_intake *in, const struct weir_cut_frame *frame, size_t used)
{
    struct weir_value value;
    enum weir_verdict verdict;
    if (!in->ops->make(in, frame, in->offset, &value))
        return false;
    weir_value_ref(value); /* for `sent`: the event may have ended by then */
    if (weir_feed_send(&in->feed, value, &verdict) < 0) {
        weir_value_unref(value);
        return false;
    }
    take(in, used);
    count(&in->counts->events, 1);
    if (in->ops->sent != NULL)
        in->ops->sent(in, value, in->offset);
    weir_value_unref(value);
    settle(in, verdict);
    return true;
}

/* One step. false: nothing whole is left. */
static bool step(struct weir_intake *in, bool *starved)
{
    struct weir_cut_frame frame;
    struct weir_cutter before = in->cutter;
    size_t used;
    enum weir_cut cut =
        weir_cutter_next(&in->cutter, in->data + in->start, in->len, in->last || in->flush, &used, &frame);
    switch (cut) {
    case WEIR_CUT_FRAME:
        *starved = !send_frame(in, &frame, used);
        if (*starved)
            in->cutter = before;
        return true;
    case WEIR_CUT_OVERLONG:
        count(&in->counts->overlong, 1);
        take(in, used);
        if (in->ops->overlong != NULL)
            in->ops->overlong(in);
        return true;
    case WEIR_CUT_MORE:
        take(in, used);
        return used > 0 && in->len > 0;
    }
    return false;
}

static void pump(struct weir_intake *in)
{
    struct weir_worker *w = worker_of(in);
    bool starved = false;
    in->busy = true;
    for (size_t i = 0; i < FRAMES_PER_TURN; i++) {
        if (in->stopped || weir_feed_waiting(&in->feed))
            return;
        if (in->data == NULL || !step(in, &starved)) {
            in->flush = false;
            in->busy = false;
            in->ops->hungry(in);
            return;
        }
        if (starved && weir_timer_set(w, &in->retry, w->now_ns + retry_ns) == WEIR_OK)
            return;
        if (starved)
            break;
    }
    weir_worker_set_aside(w, &in->aside);
}

static void on_aside(struct weir_aside *a)
{
    pump(WEIR_LIST_ENTRY(a, struct weir_intake, aside));
}

static void on_retry(struct weir_timer *t)
{
    pump(WEIR_LIST_ENTRY(t, struct weir_intake, retry));
}

/* In a turn of its own: whoever made room has others to let in. */
static void on_resume(struct weir_feed *f)
{
    struct weir_intake *in = WEIR_LIST_ENTRY(f, struct weir_intake, feed);
    settle(in, f->verdict);
    if (!in->stopped)
        weir_worker_set_aside(worker_of(in), &in->aside);
}

void weir_intake_init(struct weir_intake *in, const struct weir_intake_ops *ops,
                      struct weir_intake_counts *counts, struct weir_seat *seat,
                      const struct weir_framing *framing)
{
    *in = (struct weir_intake){.ops = ops,
                               .counts = counts,
                               .aside.run = on_aside,
                               .retry.fire = on_retry};
    weir_list_init(&in->aside.node);
    weir_cutter_init(&in->cutter, framing);
    weir_feed_init(&in->feed, seat, &seat->stage->ports[0], on_resume);
}

void weir_intake_fini(struct weir_intake *in)
{
    weir_feed_fini(&in->feed);
    weir_free(in->data);
    in->data = NULL;
}

char *weir_intake_room(struct weir_intake *in, size_t want)
{
    assert(!in->busy);
    if (in->start > 0 &&
        in->start + in->len + want > in->cap) { /* a frame's beginning is moved, never much more */
        memmove(in->data, in->data + in->start, in->len);
        in->start = 0;
    }
    if (in->len + want > in->cap) {
        char *grown = weir_realloc(in->data, in->len + want);
        if (grown == NULL)
            return NULL;
        in->data = grown;
        in->cap = in->len + want;
    }
    return in->data + in->start + in->len;
}

void weir_intake_filled(struct weir_intake *in, size_t n)
{
    in->len += n;
    count(&in->counts->bytes, n);
    pump(in);
}

void weir_intake_send(struct weir_intake *in, struct weir_value value)
{
    enum weir_verdict verdict;
    if (weir_feed_send(&in->feed, value, &verdict) < 0)
        verdict = WEIR_VERDICT_NOMEM;
    else
        count(&in->counts->events, 1);
    in->busy = verdict == WEIR_VERDICT_PENDING;
    settle(in, verdict);
}

void weir_intake_end(struct weir_intake *in)
{
    in->last = true;
    pump(in);
}

void weir_intake_flush(struct weir_intake *in)
{
    in->flush = true;
    pump(in);
}

void weir_intake_reset(struct weir_intake *in, uint64_t offset)
{
    assert(!in->busy);
    in->start = in->len = 0;
    in->offset = offset;
    in->last = in->flush = false;
    weir_cutter_reset(&in->cutter);
}

void weir_intake_rest(struct weir_intake *in)
{
    assert(!in->busy);
    if (in->len > 0)
        return;
    weir_free(in->data);
    in->data = NULL;
    in->start = in->cap = 0;
}

void weir_intake_stop(struct weir_intake *in)
{
    in->stopped = true;
    weir_list_remove(&in->aside.node);
    weir_timer_unset(worker_of(in), &in->retry);
}
