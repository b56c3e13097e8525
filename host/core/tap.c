/* The ring: each slot has a number that says whose turn it is. A writer that finds slot n at number n may take position n (by moving `tail`),
 * fills it and sets n + 1; the reader that finds n + 1 empties it and sets n + SLOTS, for the next time round. */
#include "core/tap.h"

#include <math.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "core/event.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

enum { SLOTS = 512 };

struct slot {
    _Atomic size_t turn; /* [atomic acq/rel] */
    struct weir_tapped event;
};

struct weir_tap {
    struct weir_taps *taps; /* [const] */
    unsigned bit;           /* [const] */
    _Atomic uint64_t threshold;   /* [atomic relaxed] of 2^32: the share of the sample */
    _Atomic uint64_t interval_ns; /* [atomic relaxed] between two at the rate */
    _Atomic uint64_t due_ns;      /* [atomic relaxed] when the next one would be due at the rate: not more than a second ahead */
    _Atomic uint64_t passed, limited, lost; /* [atomic relaxed] */
    struct slot *slots;     /* [const] once opened */
    _Atomic size_t tail;    /* [atomic relaxed] the next position to fill */
    size_t head;            /* [owner: control] */
};

struct weir_taps {
    _Atomic unsigned open; /* [atomic acq/rel] by bit */
    struct weir_tap taps[WEIR_TAPS_MAX];
};

/* ---- the worker's side ---- */

static bool in_sample(struct weir_tap *t, uint64_t id)
{
    return (id * 0x9e3779b97f4a7c15ULL) >> 32 < atomic_load_explicit(&t->threshold, memory_order_relaxed);
}

static bool within_rate(struct weir_tap *t, uint64_t now)
{
    uint64_t interval = atomic_load_explicit(&t->interval_ns, memory_order_relaxed);
    uint64_t due = atomic_load_explicit(&t->due_ns, memory_order_relaxed), next;
    do {
        if (due > now && due - now > WEIR_NS_PER_S - interval)
            return false;
        next = (due > now ? due : now) + interval;
    } while (!atomic_compare_exchange_weak_explicit(&t->due_ns, &due, next, memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* A slot to fill, its position in *ret_at; NULL: the ring is full. */
static struct slot *claim(struct weir_tap *t, size_t *ret_at)
{
    size_t at = atomic_load_explicit(&t->tail, memory_order_relaxed);
    for (;;) {
        struct slot *s = &t->slots[at % SLOTS];
        size_t turn = atomic_load_explicit(&s->turn, memory_order_acquire);
        if (turn < at)
            return NULL;
        if (turn > at) { /* another was faster */
            at = atomic_load_explicit(&t->tail, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(&t->tail, &at, at + 1, memory_order_relaxed, memory_order_relaxed)) {
            *ret_at = at;
            return s;
        }
    }
}

static char *describe(const struct weir_request *r)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    if (r == NULL || r->ops->describe == NULL)
        return NULL;
    r->ops->describe(r, &text);
    char *taken = weir_strbuf_take(&text);
    weir_strbuf_fini(&text);
    return taken;
}

static uint64_t after(uint64_t later, uint64_t sooner)
{
    return later > sooner ? later - sooner : 0;
}

static void show(struct weir_tap *t, const struct weir_seat *seat, const struct weir_event *ev)
{
    uint64_t now = seat->worker->now_ns;
    size_t at;
    atomic_fetch_add_explicit(&t->passed, 1, memory_order_relaxed);
    if (!in_sample(t, ev->id))
        return;
    if (!within_rate(t, now)) {
        atomic_fetch_add_explicit(&t->limited, 1, memory_order_relaxed);
        return;
    }
    struct slot *s = claim(t, &at);
    if (s == NULL) {
        atomic_fetch_add_explicit(&t->lost, 1, memory_order_relaxed);
        return;
    }
    s->event = (struct weir_tapped){.id = ev->id,
                                    .age_ns = after(now, ev->arrival_ns),
                                    .waited_ns = after(now, ev->enqueued_ns),
                                    .left_ns = after(ev->deadline_ns, now),
                                    .key = weir_value_ref(ev->key_value),
                                    .value = weir_value_ref(ev->value),
                                    .request = describe(ev->request),
                                    .class_index = ev->class_index,
                                    .worker = seat->worker->index};
    atomic_store_explicit(&s->turn, at + 1, memory_order_release);
}

void weir_taps_pass(struct weir_taps *taps, const struct weir_seat *seat, const struct weir_event *ev)
{
    unsigned open = atomic_load_explicit(&taps->open, memory_order_acquire);
    for (; open != 0; open &= open - 1)
        show(&taps->taps[__builtin_ctz(open)], seat, ev);
}

/* ---- the other side ---- */

bool weir_tap_take(struct weir_tap *t, struct weir_tapped *ret)
{
    struct slot *s = &t->slots[t->head % SLOTS];
    if (atomic_load_explicit(&s->turn, memory_order_acquire) != t->head + 1)
        return false;
    *ret = s->event;
    atomic_store_explicit(&s->turn, t->head + SLOTS, memory_order_release);
    t->head++;
    return true;
}

void weir_tapped_fini(struct weir_tapped *t)
{
    weir_value_unref(t->key);
    weir_value_unref(t->value);
    weir_free(t->request);
}

static void empty(struct weir_tap *t)
{
    struct weir_tapped ev;
    while (t->slots != NULL && weir_tap_take(t, &ev))
        weir_tapped_fini(&ev);
}

static struct weir_taps *taps_of(struct weir_stage *s)
{
    struct weir_taps *taps = atomic_load_explicit(&s->taps, memory_order_relaxed);
    if (taps != NULL)
        return taps;
    taps = weir_calloc(1, sizeof *taps);
    for (unsigned i = 0; taps != NULL && i < WEIR_TAPS_MAX; i++) {
        taps->taps[i].taps = taps;
        taps->taps[i].bit = i;
    }
    atomic_store_explicit(&s->taps, taps, memory_order_release);
    return taps;
}

static bool make_slots(struct weir_tap *t)
{
    if (t->slots != NULL)
        return true;
    struct slot *slots = weir_calloc(SLOTS, sizeof *slots);
    for (size_t i = 0; slots != NULL && i < SLOTS; i++)
        atomic_init(&slots[i].turn, i);
    t->slots = slots;
    return slots != NULL;
}

int weir_tap_open(struct weir_stage *s, const struct weir_tap_options *o, struct weir_tap **ret, struct weir_err *reterr)
{
    struct weir_taps *taps = taps_of(s);
    if (taps == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "tap: out of memory");
    unsigned open = atomic_load_explicit(&taps->open, memory_order_relaxed), i = 0;
    while (i < WEIR_TAPS_MAX && (open >> i & 1) != 0)
        i++;
    if (i == WEIR_TAPS_MAX)
        return weir_err_set(reterr, WEIR_E_LIMIT, "stage '%s': %d taps are open, and there can't be more", s->name, (int)WEIR_TAPS_MAX);
    struct weir_tap *t = &taps->taps[i];
    if (!make_slots(t))
        return weir_err_set(reterr, WEIR_E_NOMEM, "tap: out of memory");
    empty(t); /* what a worker had in hand when the last one closed */
    double interval = (double)WEIR_NS_PER_S / o->rate;
    atomic_store_explicit(&t->threshold, (uint64_t)ceil(o->sample * 4294967296.0), memory_order_relaxed);
    atomic_store_explicit(&t->interval_ns, interval < (double)WEIR_NS_PER_S ? (uint64_t)interval : WEIR_NS_PER_S, memory_order_relaxed);
    atomic_store_explicit(&t->due_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&t->passed, 0, memory_order_relaxed);
    atomic_store_explicit(&t->limited, 0, memory_order_relaxed);
    atomic_store_explicit(&t->lost, 0, memory_order_relaxed);
    atomic_fetch_or_explicit(&taps->open, 1U << i, memory_order_release);
    *ret = t;
    return WEIR_OK;
}

void weir_tap_read(const struct weir_tap *t, struct weir_tap_counts *ret)
{
    ret->passed = atomic_load_explicit(&t->passed, memory_order_relaxed);
    ret->limited = atomic_load_explicit(&t->limited, memory_order_relaxed);
    ret->lost = atomic_load_explicit(&t->lost, memory_order_relaxed);
}

void weir_tap_close(struct weir_tap *t)
{
    atomic_fetch_and_explicit(&t->taps->open, ~(1U << t->bit), memory_order_release);
    empty(t);
}

void weir_taps_destroy(struct weir_taps *taps)
{
    for (size_t i = 0; taps != NULL && i < WEIR_TAPS_MAX; i++) {
        empty(&taps->taps[i]);
        weir_free(taps->taps[i].slots);
    }
    weir_free(taps);
}
