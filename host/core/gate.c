#include "core/gate.h"

#include <math.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/graph.h"
#include "core/queue.h"
#include "core/seat.h"
#include "core/stage.h"

/* Buckets count time in 32nds of a nanosecond: 17 years of uptime fit into a word, and the interval between
 * two events at 5 million a second is exact to 0.008 %. Their time begins before the clock's does, so that a
 * bucket can be full on a machine that has just started. */
enum { TICK_SHIFT = 5, LINE = 64, RETRY_AFTER_MAX_MS = 3600 * 1000 };
static const double ticks_per_s = 1e9 * (1 << TICK_SHIFT);
static const uint64_t none_ever = UINT64_MAX; /* the interval at a rate of 0 */
static const uint64_t longest =
    1ULL << 60; /* interval and saving, in ticks: a year; what is longer is never, or always */

static uint64_t ticks_at(uint64_t now_ns)
{
    return longest + (now_ns << TICK_SHIFT);
}

/* Each on a cache line's room of its own: they are written by whoever emits. */
struct bucket {
    _Atomic uint64_t next; /* [atomic acq/rel] when the next event may come; by up to `tolerance` in the past:
                              what is saved */
    _Atomic uint64_t interval;  /* [atomic relaxed] 1/rate; 0: any; none_ever. Who reads an old one lets one
                                   event through by it */
    _Atomic uint64_t tolerance; /* [atomic relaxed] */
    _Atomic uint64_t limit;     /* [atomic relaxed] events queued and running; UINT64_MAX: any */
    _Atomic bool used; /* [atomic relaxed] an event came while any rate was right: nothing is saved then */
    char room[LINE - 4 * sizeof(uint64_t) - sizeof(bool)];
};

struct weir_gate {
    size_t class_count;             /* [const] */
    _Atomic bool overloaded;        /* [atomic relaxed] */
    _Atomic uint64_t shed_after_ns; /* [atomic relaxed] UINT64_MAX: never */
    _Atomic double rate[WEIR_CLASSES_MAX], burst, limit,
        shed_after_s; /* [atomic relaxed] as set, for readers */
    char room_running[LINE];
    _Atomic int64_t running; /* [atomic acq/rel] weir_gate_fits says why */
    char room_wait[LINE];
    _Atomic uint64_t wait_min; /* [atomic relaxed] ns; UINT64_MAX: nothing was taken. Rarely written: the
                                  minimum is soon found */
    char room_buckets[LINE];
    struct bucket buckets[]; /* class_count of them */
};

/* ---- settings ---- */

static double or_at_least(double v, double least)
{
    return v >= least ? v : least; /* not a number: the least, too */
}

static uint64_t interval_of(double rate)
{
    if (rate == (double)INFINITY)
        return 0;
    double ticks = rate > 0 ? ticks_per_s / rate : (double)INFINITY;
    if (ticks >= (double)longest)
        return none_ever;
    return ticks < 1 ? 1 : (uint64_t)llround(ticks);
}

static uint64_t tolerance_of(uint64_t interval, double burst)
{
    double ticks = (or_at_least(burst, 1) - 1) * (double)interval;
    if (ticks >= (double)longest)
        return longest;
    uint64_t jitter = WEIR_GATE_JITTER_NS << TICK_SHIFT;
    return ticks > (double)jitter ? (uint64_t)ticks : jitter;
}

static bool has_shares(const struct weir_gate_bounds *b)
{
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        if (b->share[i] != 0)
            return true;
    return false;
}

static uint64_t limit_of(const struct weir_gate_bounds *b, size_t class_index)
{
    double share = has_shares(b) ? b->share[class_index] : weir_gate_usual_share(class_index);
    double own = b->limit == (double)INFINITY ? b->limit : or_at_least(b->limit * share, 1);
    return own >= (double)longest ? UINT64_MAX : (uint64_t)(own + 1e-9); /* 0.9 × 10 is 9 */
}

/* Where `next` has to be for another interval, so that what a bucket holds, in events, is what it was; a cut
 * leaves one at most. A part of an event that it had to wait for is carried over: a rate that moves often
 * lets no more through, and no less. */
static uint64_t moved(uint64_t next, uint64_t tolerance, uint64_t from, uint64_t to, uint64_t now)
{
    if (to == 0 || to == none_ever)
        return next;
    if (from == none_ever)
        return now + to; /* nothing was saved */
    if (from == 0)
        return now;
    double scale = (double)to / (double)from;
    if (next > now) {
        double wait = (double)(next - now) * scale;
        return now + (wait < (double)to ? (uint64_t)wait : to);
    }
    if (scale > 1)
        return now;
    uint64_t oldest = now - tolerance, since = next > oldest ? next : oldest;
    return now - (uint64_t)((double)(now - since) * scale);
}

static void set_rate(struct bucket *b, double rate, double burst, uint64_t now)
{
    uint64_t from = atomic_load_explicit(&b->interval, memory_order_relaxed), to = interval_of(rate);
    uint64_t tolerance = atomic_load_explicit(&b->tolerance, memory_order_relaxed);
    uint64_t next = atomic_load_explicit(&b->next, memory_order_acquire);
    /* what is saved goes before the interval changes: in between the old rate holds, never a burst of what
     * was saved at it */
    bool untouched = from == 0 && to != 0 && !atomic_exchange_explicit(&b->used, false, memory_order_relaxed);
    while (!untouched &&
           !atomic_compare_exchange_weak_explicit(&b->next, &next, moved(next, tolerance, from, to, now),
                                                  memory_order_acq_rel, memory_order_acquire))
        ;
    atomic_store_explicit(&b->interval, to, memory_order_relaxed);
    atomic_store_explicit(&b->tolerance, to == 0 || to == none_ever ? 0 : tolerance_of(to, burst),
                          memory_order_relaxed);
}

static uint64_t ns_of(double s)
{
    if (!(s < 1e10))
        return UINT64_MAX;
    return s > 0 ? (uint64_t)(s * 1e9) : 0;
}

void weir_gate_set(struct weir_gate *g, const struct weir_gate_bounds *b, uint64_t now_ns)
{
    for (size_t i = 0; i < g->class_count; i++) {
        set_rate(&g->buckets[i], b->rate[i], b->burst, ticks_at(now_ns));
        atomic_store_explicit(&g->buckets[i].limit, limit_of(b, i), memory_order_relaxed);
    }
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        atomic_store_explicit(&g->rate[i], b->rate[i], memory_order_relaxed);
    atomic_store_explicit(&g->burst, b->burst, memory_order_relaxed);
    atomic_store_explicit(&g->limit, b->limit, memory_order_relaxed);
    atomic_store_explicit(&g->shed_after_s, b->shed_after_s, memory_order_relaxed);
    atomic_store_explicit(&g->shed_after_ns, ns_of(b->shed_after_s), memory_order_relaxed);
    atomic_store_explicit(&g->overloaded, b->overloaded, memory_order_relaxed);
}

void weir_gate_get(const struct weir_gate *g, struct weir_gate_bounds *ret)
{
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        ret->rate[i] = atomic_load_explicit(&g->rate[i], memory_order_relaxed);
    ret->burst = atomic_load_explicit(&g->burst, memory_order_relaxed);
    ret->limit = atomic_load_explicit(&g->limit, memory_order_relaxed);
    ret->shed_after_s = atomic_load_explicit(&g->shed_after_s, memory_order_relaxed);
    ret->overloaded = weir_gate_overloaded(g);
}

bool weir_gate_overloaded(const struct weir_gate *g)
{
    return atomic_load_explicit(&g->overloaded, memory_order_relaxed);
}

int weir_gate_create(size_t class_count, struct weir_gate **ret, struct weir_err *reterr)
{
    if (class_count < 1 || class_count > WEIR_CLASSES_MAX)
        return weir_err_set(reterr, WEIR_E_INVAL, "gate: %zu classes, expected 1 to %d", class_count,
                            (int)WEIR_CLASSES_MAX);
    struct weir_gate *g = weir_calloc(1, sizeof *g + class_count * sizeof g->buckets[0]);
    if (g == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "gate: out of memory");
    g->class_count = class_count;
    struct weir_gate_bounds open = {.burst = 1, .limit = INFINITY, .shed_after_s = INFINITY};
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        open.rate[i] = INFINITY;
    weir_gate_set(g, &open, 0);
    atomic_store_explicit(&g->wait_min, UINT64_MAX, memory_order_relaxed);
    *ret = g;
    return WEIR_OK;
}

void weir_gate_destroy(struct weir_gate *g)
{
    weir_free(g);
}

/* ---- admission ---- */

static size_t class_at(const struct weir_gate *g, uint8_t class_index)
{
    return class_index < g->class_count ? class_index : g->class_count - 1;
}

bool weir_gate_take_token(struct weir_gate *g, uint8_t class_index, uint64_t now_ns)
{
    struct bucket *b = &g->buckets[class_at(g, class_index)];
    uint64_t now = ticks_at(now_ns);
    uint64_t next = atomic_load_explicit(&b->next, memory_order_acquire);
    for (;;) {
        uint64_t interval = atomic_load_explicit(&b->interval, memory_order_relaxed);
        if (interval == 0) {
            if (!atomic_load_explicit(&b->used, memory_order_relaxed))
                atomic_store_explicit(&b->used, true, memory_order_relaxed);
            return true;
        }
        if (interval == none_ever || next > now)
            return false;
        uint64_t oldest = now - atomic_load_explicit(&b->tolerance, memory_order_relaxed);
        uint64_t after = (next > oldest ? next : oldest) + interval;
        if (atomic_compare_exchange_weak_explicit(&b->next, &next, after, memory_order_acq_rel,
                                                  memory_order_acquire))
            return true;
    }
}

void weir_gate_return_token(struct weir_gate *g, uint8_t class_index)
{
    struct bucket *b = &g->buckets[class_at(g, class_index)];
    uint64_t interval = atomic_load_explicit(&b->interval, memory_order_relaxed);
    if (interval == 0 || interval == none_ever)
        return;
    uint64_t next = atomic_load_explicit(&b->next, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&b->next, &next, next > interval ? next - interval : 0,
                                                  memory_order_acq_rel, memory_order_relaxed))
        ;
}

uint32_t weir_gate_retry_after_ms(const struct weir_gate *g, uint8_t class_index, uint64_t now_ns)
{
    const struct bucket *b = &g->buckets[class_at(g, class_index)];
    uint64_t interval = atomic_load_explicit(&b->interval, memory_order_relaxed), now = ticks_at(now_ns);
    uint64_t next = atomic_load_explicit(&b->next, memory_order_relaxed);
    if (interval == 0 || interval == none_ever || next <= now)
        return 0;
    uint64_t ms = (((next - now) >> TICK_SHIFT) + WEIR_NS_PER_MS - 1) / WEIR_NS_PER_MS;
    return ms < RETRY_AFTER_MAX_MS ? (uint32_t)ms : RETRY_AFTER_MAX_MS;
}

/* The queue is read first. An event that goes from the queue to its handler counts as running before it
 * leaves the queue, so it is seen in one of them or in both, never in none. Each emitter asks once more when
 * it has its place: of those that took places at the same time the last one sees all others, so the limit
 * holds. */
bool weir_gate_fits(const struct weir_stage *s, uint8_t class_index, size_t more)
{
    const struct weir_gate *g = s->gate;
    uint64_t limit = atomic_load_explicit(&g->buckets[class_at(g, class_index)].limit, memory_order_relaxed);
    if (limit == UINT64_MAX)
        return true;
    size_t queued = weir_queue_depth(&s->queue);
    int64_t running = weir_gate_running(g);
    return queued + (size_t)running + more <= limit;
}

int64_t weir_gate_running(const struct weir_gate *g)
{
    return atomic_load_explicit(&g->running, memory_order_acquire);
}

/* ---- counts ---- */

struct times {
    struct weir_hist response_ns, wait_ns;
};

struct weir_gate_tally {
    struct times *times; /* [const] class_count of them; NULL: the worker only offers */
    struct {
        _Atomic int64_t offered, refused, ended; /* [atomic acq/rel, one writer] */
    } counts[];                                  /* class_count of them */
};

struct weir_gate_tally *weir_gate_tally_create(const struct weir_gate *g, bool timed)
{
    struct weir_gate_tally *t = weir_calloc(1, sizeof *t + g->class_count * sizeof t->counts[0]);
    if (t == NULL || !timed)
        return t;
    t->times = weir_calloc(g->class_count, sizeof *t->times);
    if (t->times != NULL)
        return t;
    weir_gate_tally_destroy(t);
    return NULL;
}

void weir_gate_tally_destroy(struct weir_gate_tally *t)
{
    if (t == NULL)
        return;
    weir_free(t->times);
    weir_free(t);
}

void weir_gate_count(struct weir_seat *seat, uint8_t class_index, bool refused)
{
    struct weir_gate_tally *t = seat->tally;
    size_t i = class_at(seat->stage->gate, class_index);
    weir_ledger_add(&t->counts[i].offered, 1);
    if (refused)
        weir_ledger_add(&t->counts[i].refused, 1);
}

static void note_wait(struct weir_gate *g, uint64_t ns)
{
    uint64_t min = atomic_load_explicit(&g->wait_min, memory_order_relaxed);
    while (ns < min && !atomic_compare_exchange_weak_explicit(&g->wait_min, &min, ns, memory_order_relaxed,
                                                              memory_order_relaxed))
        ;
}

uint64_t weir_gate_take_wait_min(struct weir_gate *g)
{
    return atomic_exchange_explicit(&g->wait_min, UINT64_MAX, memory_order_relaxed);
}

bool weir_gate_taken(struct weir_seat *seat, uint8_t class_index, uint64_t waited_ns)
{
    struct weir_gate *g = seat->stage->gate;
    weir_hist_record(&seat->tally->times[class_at(g, class_index)].wait_ns, waited_ns);
    note_wait(g, waited_ns);
    return waited_ns > atomic_load_explicit(&g->shed_after_ns, memory_order_relaxed);
}

void weir_gate_begin(struct weir_gate *g)
{
    atomic_fetch_add_explicit(&g->running, 1, memory_order_acq_rel);
}

void weir_gate_end(struct weir_seat *seat, uint8_t class_index, uint64_t response_ns)
{
    struct weir_gate *g = seat->stage->gate;
    size_t i = class_at(g, class_index);
    weir_hist_record(&seat->tally->times[i].response_ns, response_ns);
    weir_ledger_add(&seat->tally->counts[i].ended, 1);
    atomic_fetch_sub_explicit(&g->running, 1, memory_order_acq_rel);
}

static void add_tally(struct weir_gate_sum *sum, const struct weir_gate_tally *t)
{
    for (size_t i = 0; i < sum->class_count; i++) {
        struct weir_gate_class_sum *c = &sum->classes[i];
        c->ended += atomic_load_explicit(&t->counts[i].ended, memory_order_acquire);
        c->refused += atomic_load_explicit(&t->counts[i].refused, memory_order_acquire);
        c->offered += atomic_load_explicit(&t->counts[i].offered, memory_order_acquire);
        if (t->times == NULL)
            continue;
        weir_hist_merge(&c->response_ns, &t->times[i].response_ns);
        weir_hist_merge(&c->wait_ns, &t->times[i].wait_ns);
    }
}

void weir_gate_read(struct weir_stage *s, struct weir_gate_sum *ret)
{
    *ret = (struct weir_gate_sum){0};
    if (s->gate == NULL)
        return;
    ret->class_count = s->gate->class_count;
    for (size_t i = 0; i < s->graph->slot_count; i++) {
        struct weir_seat **seats = atomic_load_explicit(&s->graph->slots[i], memory_order_acquire);
        if (seats != NULL)
            add_tally(ret, seats[s->index]->tally);
    }
}

int64_t weir_gate_refused(struct weir_stage *s, size_t class_index)
{
    int64_t n = 0;
    if (s->gate == NULL || class_index >= s->gate->class_count)
        return 0;
    for (size_t i = 0; i < s->graph->slot_count; i++) {
        struct weir_seat **seats = atomic_load_explicit(&s->graph->slots[i], memory_order_acquire);
        if (seats != NULL)
            n += atomic_load_explicit(&seats[s->index]->tally->counts[class_index].refused,
                                      memory_order_acquire);
    }
    return n;
}
