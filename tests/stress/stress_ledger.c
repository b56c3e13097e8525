/* Everything at once: four pools that grow and shrink, sources in bursts, every overflow policy, fan-out,
 * routes, waits, ordered stages, deadlines, suspended and failing calls, requests, gates whose bounds move. Then
 * it drains, or is cut short, and everything is counted:
 *   - both equations of the ledger, per stage and worker and on the sum (rig_destroy)
 *   - the classes of a gate add up to its stage's ledger, and at the end nothing runs and nothing is queued for it
 *   - what was offered to a stage = what was sent to it, whatever the verdict
 *   - each request was given up or answered exactly once
 *   - no key of an ordered stage has two calls at once
 *   - no memory is left
 *
 *   burst ─┬─> split ─┬─> slow (drop_oldest; drop_newest on the fan-out's edge)
 *          │          ├─> ordered (wait, by key) ───────────────────────┐
 *          │          └─> copy (drop_newest, max_age), tail (lifo), slow v
 *          └─(full: route)─> spare (by class) ────────────────────────> sink (blocking, by source)
 *
 * usage: stress_ledger [SECONDS [SEED]] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/gate.h"
#include "core/pool.h"
#include "core/stage.h"
#include "burst_fixture.h"
#include "support.h"

enum { BURST, SPLIT, SLOW, ORDERED, COPY, TAIL, SPARE, SINK, STAGES };
enum { POOL_SOURCE, POOL_MAIN, POOL_SIDE, POOL_DISK, POOLS };
enum { PORT_SLOW, PORT_ORDERED, PORT_ALL };
enum { KEYS = 100 };

static unsigned seconds = 2, seed = 1;

/* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators"), one per thread. */
static uint64_t random_below(uint64_t bound)
{
    static _Thread_local uint64_t x;
    static _Atomic uint64_t threads;
    if (x == 0)
        x = (seed + 1) * 0x9e3779b97f4a7c15ULL + atomic_fetch_add(&threads, 1) * 0xd1342543de82ef95ULL;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    return (x * 0x2545f4914f6cdd1dULL >> 32) % bound;
}

/* ---- what is counted beside the ledger ---- */

static _Atomic int64_t made; /* events by sources and handlers, copies not among them */
static _Atomic int64_t
    sent[STAGES]; /* offers to a stage, seen from the sender; a route is counted by the ledger alone */
static _Atomic int64_t requests_made, requests_ended, requests_answered;
static _Atomic int running_of_key[KEYS];
static _Atomic int64_t overlaps;

struct request {
    struct weir_request r;
    _Atomic bool done;
};

static bool request_gone(const struct weir_request *r)
{
    (void)r;
    return random_below(200) == 0; /* its client left just now */
}

static void finish_request(struct weir_request *r, _Atomic int64_t *counter)
{
    struct request *q = (struct request *)(void *)r;
    if (atomic_exchange(&q->done, true))
        abort(); /* ended twice */
    atomic_fetch_add(counter, 1);
    weir_free(q);
}

static void request_end(struct weir_request *r, struct weir_worker *w, enum weir_request_end why)
{
    if (w != weir_worker_current() || why > WEIR_REQUEST_EXPIRED)
        abort(); /* on another thread than its holder's */
    finish_request(r, &requests_ended);
}

static const struct weir_request_ops request_ops = {.gone = request_gone, .end = request_end};

static struct weir_request *make_request(void)
{
    struct request *q = weir_calloc(1, sizeof *q);
    if (q == NULL)
        return NULL;
    q->r = (struct weir_request){.ops = &request_ops, .size = random_below(500)};
    atomic_fetch_add(&requests_made, 1);
    return &q->r;
}

static void count_sent(const struct weir_port *p)
{
    for (size_t i = 0; i < p->edge_count; i++)
        atomic_fetch_add(&sent[p->edges[i].target->index], 1);
}

/* ---- the source: bursts of up to 200 events ---- */

static void emit_one(struct weir_seat *seat)
{
    struct weir_worker *w = seat->worker;
    struct weir_event *ev = weir_event_create(w);
    if (ev == NULL)
        abort();
    ev->key = random_below(KEYS) + 1;
    ev->source = random_below(10);
    ev->class_index = (uint8_t)random_below(3);
    ev->value = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = (int64_t)random_below(1000)};
    if (random_below(3) == 0)
        ev->deadline_ns = w->now_ns + random_below(20) * WEIR_NS_PER_MS;
    if (random_below(2) == 0)
        ev->request = make_request();
    atomic_fetch_add(&made, 1);
    count_sent(&seat->stage->ports[0]);
    if (weir_port_emit(seat, &seat->stage->ports[0], ev, NULL) == WEIR_VERDICT_ACCEPTED)
        return;
    if (ev->request != NULL)
        finish_request(ev->request, &requests_answered);
    ev->request = NULL;
    weir_event_free(w, ev);
}

static void on_burst(uv_timer_t *timer)
{
    struct burst *b = timer->data;
    weir_worker_now(b->s.seat->worker);
    for (uint64_t n = random_below(200); n > 0; n--)
        emit_one(b->s.seat);
    uv_timer_start(timer, on_burst, random_below(3), 0);
}

/* ---- handlers ---- */

static enum weir_reason some_end(struct rig_handler *h, struct weir_event *ev)
{
    switch (random_below(10)) {
    case 0:
        return WEIR_REASON_ERROR;
    case 1:
        return rig_keep(h, ev, random_below(5) * WEIR_NS_PER_MS);
    case 2:
        if (ev->request != NULL)
            finish_request(ev->request, &requests_answered);
        ev->request = NULL;
        return WEIR_REASON_NONE;
    default:
        return WEIR_REASON_NONE;
    }
}

static struct weir_event *child(struct rig_handler *h, struct weir_event *ev, bool move)
{
    struct weir_event *out = weir_event_create_from(h->h.seat->worker, ev);
    if (out == NULL)
        abort();
    atomic_fetch_add(&made, 1);
    out->value = weir_value_ref(ev->value);
    out->key = ev->key;
    if (move) {
        out->request = ev->request;
        ev->request = NULL;
    }
    return out;
}

static void send_on(struct rig_handler *h, struct weir_event *ev, size_t p, bool move)
{
    struct weir_seat *seat = h->h.seat;
    struct weir_event *out = child(h, ev, move);
    count_sent(&seat->stage->ports[p]);
    if (weir_port_emit(seat, &seat->stage->ports[p], out, NULL) == WEIR_VERDICT_ACCEPTED)
        return;
    if (move)
        ev->request = out->request;
    out->request = NULL;
    weir_event_free(seat->worker, out);
}

/* To one of three ports, or to several; the last may wait. */
static enum weir_reason split(struct rig_handler *h, struct weir_event *ev)
{
    uint64_t ports = random_below(8);
    if (ports & 1)
        send_on(h, ev, PORT_SLOW, ports == 1);
    if (ports & 2)
        send_on(h, ev, PORT_ALL, false);
    if (ports & 4) {
        struct weir_port *p = &h->h.seat->stage->ports[PORT_ORDERED];
        count_sent(p);
        return rig_emit_waiting(h, p, ev, child(h, ev, true));
    }
    return some_end(h, ev);
}

static enum weir_reason one_of_its_key(struct rig_handler *h, struct weir_event *ev)
{
    size_t key = ev->key % KEYS;
    if (atomic_fetch_add(&running_of_key[key], 1) != 0)
        atomic_fetch_add(&overlaps, 1);
    send_on(h, ev, 0, random_below(2) == 0);
    atomic_fetch_sub(&running_of_key[key], 1);
    return some_end(h, ev);
}

static enum weir_reason blocks(struct rig_handler *h, struct weir_event *ev)
{
    if (random_below(50) == 0) { /* a short disk access */
        uint64_t until = weir_clock_ns() + 300 * WEIR_NS_PER_US;
        while (weir_clock_ns() < until)
            ;
    }
    return some_end(h, ev);
}

static enum weir_reason passes_on(struct rig_handler *h, struct weir_event *ev)
{
    send_on(h, ev, 0, true);
    return some_end(h, ev);
}

static const size_t gated[] = {SPLIT, ORDERED, TAIL, SINK};
enum { GATED = sizeof gated / sizeof gated[0], CLASSES = 3 };

static void make_gates(struct rig *r)
{
    struct weir_err err;
    for (size_t i = 0; i < GATED; i++)
        if (weir_gate_create(CLASSES, &r->g->stages[gated[i]].gate, &err) < 0)
            fail_msg("%s", err.text);
}

static double one_of(double a, double b, double c)
{
    uint64_t n = random_below(4);
    return n == 0 ? a : n == 1 ? b : n == 2 ? c : (double)INFINITY;
}

static void move_one_gate(struct rig *r)
{
    struct weir_gate_bounds b = {.burst = (double)random_below(20),
                                 .limit = one_of(1, 10, 50),
                                 .shed_after_s = one_of(0, 0.0005, 0.01),
                                 .overloaded = random_below(2) == 0};
    for (size_t i = 0; i < CLASSES; i++)
        b.rate[i] = one_of(300, 10000, 100000);
    struct weir_gate *g = r->g->stages[gated[random_below(GATED)]].gate;
    weir_gate_set(g, &b, weir_clock_ns());
    weir_gate_take_wait_min(g);
}

static struct rig *build(void)
{
    static const size_t all[] = {COPY, TAIL, SLOW};
    struct rig *r = rig_create(STAGES, POOLS);
    rig_pool(r, POOL_SOURCE, "source", 2, false);
    rig_pool(r, POOL_MAIN, "main", 3, false);
    rig_pool(r, POOL_SIDE, "side", 2, false);
    rig_pool(r, POOL_DISK, "disk", 3, true);
    r->g->class_count = 3;

    static struct rig_feed unused;
    struct weir_stage *s = rig_source(r, BURST, "burst", POOL_SOURCE, &unused);
    s->source = (struct weir_source_maker){.make = make_burst};

    s = rig_stage(r, SPLIT, "split", POOL_MAIN, split, NULL);
    s->queue.capacity = 300;
    s->queue.overflow = (struct weir_overflow_policy){WEIR_OVERFLOW_ROUTE, &r->g->stages[SPARE]};
    s->queue.order = WEIR_ORDER_ADAPTIVE;
    s->concurrency = 40;

    s = rig_stage(r, SLOW, "slow", POOL_MAIN, some_end, NULL);
    s->queue.capacity = 50;
    s->queue.overflow.policy = WEIR_OVERFLOW_DROP_OLDEST;
    s->concurrency = 2;

    s = rig_stage(r, ORDERED, "ordered", POOL_SIDE, one_of_its_key, NULL);
    s->queue.capacity = 20;
    s->queue.overflow.policy = WEIR_OVERFLOW_WAIT;
    s->queue.keys.by = WEIR_BY_KEY;
    s->wall_ns = 30 * WEIR_NS_PER_MS;
    s->concurrency = 5;

    s = rig_stage(r, COPY, "copy", POOL_SIDE, rig_handled, NULL);
    s->queue.bytes = 10000;
    s->queue.overflow.policy = WEIR_OVERFLOW_DROP_NEWEST;
    s->queue.max_age_ns = 100 * WEIR_NS_PER_US;

    s = rig_stage(r, TAIL, "tail", POOL_MAIN, some_end, NULL);
    s->queue.capacity = 30;
    s->queue.order = WEIR_ORDER_LIFO;
    s->concurrency = 1;

    s = rig_stage(r, SPARE, "spare", POOL_SIDE, passes_on, NULL);
    s->queue.capacity = 100;
    s->queue.order = WEIR_ORDER_CLASS;

    s = rig_stage(r, SINK, "sink", POOL_DISK, blocks, NULL);
    s->queue.capacity = 60;
    s->queue.overflow.policy = WEIR_OVERFLOW_DROP_OLDEST;
    s->queue.keys.by = WEIR_BY_SOURCE;

    make_gates(r);
    rig_wire_one(r, BURST, "out", SPLIT);
    rig_wire_one(r, SPLIT, "slow", SLOW);
    rig_wire_one(r, SPLIT, "ordered", ORDERED);
    rig_wire(r, SPLIT, "all", all, 3)->edges[2].overflow.policy =
        WEIR_OVERFLOW_DROP_NEWEST; /* its own policy */
    rig_wire_one(r, ORDERED, "out", SINK);
    rig_wire_one(r, SPARE, "out", SINK);
    rig_finish(r);
    return r;
}

/* ---- running it ---- */

struct deadline {
    uint64_t at_ns;
};

static bool is_past(void *arg)
{
    return weir_clock_ns() >= ((struct deadline *)arg)->at_ns;
}

static void resize_one(struct rig *r)
{
    struct weir_pool *p = &r->g->pools[random_below(POOLS)];
    struct weir_err err;
    int rc = weir_pool_resize(p, 1 + (unsigned)random_below(5), &err);
    if (rc < 0 && rc != WEIR_E_EXISTS)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < POOLS; i++)
        weir_pool_reap(&r->g->pools[i]);
}

static void check_gate(struct rig *r, size_t s)
{
    static struct weir_gate_sum sum;
    struct weir_stage *stage = &r->g->stages[s];
    struct weir_ledger_sum l = rig_ledger(r, s);
    int64_t offered = 0, refused = 0, ended = 0;
    weir_gate_read(stage, &sum);
    for (size_t i = 0; i < sum.class_count; i++) {
        offered += sum.classes[i].offered;
        refused += sum.classes[i].refused;
        ended += sum.classes[i].ended;
        assert_int_equal(sum.classes[i].response_ns.count, sum.classes[i].ended);
    }
    printf("%-8s refused by its gate %lld, shed %lld\n", stage->name, (long long)refused,
           (long long)l.reasons[WEIR_REASON_SHED]);
    assert_int_equal(offered, l.offered);
    assert_true(refused >= l.reasons[WEIR_REASON_GATE] &&
                refused <= l.reasons[WEIR_REASON_GATE] + l.reasons[WEIR_REASON_ROUTED]);
    assert_int_equal(ended, (int64_t)l.service_ns.count);
    assert_int_equal(weir_gate_running(stage->gate), 0);
    assert_int_equal(weir_queue_depth(&stage->queue), 0);
    assert_true(refused > 0);
}

/* Everything has its end in exactly one ledger. */
static void check_sums(struct rig *r)
{
    int64_t copies = 0;
    for (size_t s = SPLIT; s < STAGES; s++) {
        struct weir_ledger_sum sum = rig_ledger(r, s);
        int64_t routed_here = s == SPARE ? rig_ledger(r, SPLIT).reasons[WEIR_REASON_ROUTED] : 0;
        assert_int_equal(sum.offered, atomic_load(&sent[s]) + routed_here);
        printf(
            "%-8s offered %8lld  accepted %8lld  handled %8lld  failed %7lld  expired %7lld  dropped %7lld\n",
            r->g->stages[s].name, (long long)sum.offered, (long long)sum.accepted, (long long)sum.handled,
            (long long)sum.failed, (long long)sum.expired, (long long)sum.dropped);
        assert_true(sum.accepted > 0);
    }
    for (size_t i = 0; i < GATED; i++)
        check_gate(r, gated[i]);
    copies = 2 * (atomic_load(&sent[COPY])); /* of three branches one stands for the original */
    int64_t offers = 0;
    for (size_t s = 0; s < STAGES; s++)
        offers += atomic_load(&sent[s]);
    assert_int_equal(offers, atomic_load(&made) + copies);
    assert_int_equal(weir_stage_emitted(&r->g->stages[ORDERED], 0) +
                         weir_stage_emitted(&r->g->stages[SPARE], 0),
                     rig_ledger(r, SINK).accepted);
    assert_int_equal(weir_stage_emitted(&r->g->stages[SPLIT], PORT_ORDERED), rig_ledger(r, ORDERED).accepted);
    assert_int_equal(atomic_load(&requests_made),
                     atomic_load(&requests_ended) + atomic_load(&requests_answered));
    assert_int_equal(atomic_load(&overlaps), 0);
}

static void run(bool drained)
{
    struct rig *r = build();
    rig_start(r);
    struct deadline end = {weir_clock_ns() + seconds * WEIR_NS_PER_S / 2};
    while (!is_past(&end)) {
        struct deadline next = {weir_clock_ns() + random_below(20) * WEIR_NS_PER_MS};
        rig_wait(r, is_past, &next);
        resize_one(r);
        move_one_gate(r);
    }
    if (drained)
        rig_drain(r);
    rig_stop(r);
    check_sums(r);
    rig_destroy(r);
}

static void reset(void)
{
    atomic_store(&made, 0);
    atomic_store(&requests_made, 0);
    atomic_store(&requests_ended, 0);
    atomic_store(&requests_answered, 0);
    for (size_t s = 0; s < STAGES; s++)
        atomic_store(&sent[s], 0);
}

static void everything_adds_up_after_a_drain(void **state)
{
    (void)state;
    reset();
    run(true);
}

static void everything_adds_up_when_it_is_cut_short(void **state)
{
    (void)state;
    reset();
    run(false);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seconds = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        seed = (unsigned)strtoul(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        TEST(everything_adds_up_after_a_drain),
        TEST(everything_adds_up_when_it_is_cut_short),
    };
    return cmocka_run_group_tests_name("stress_ledger", tests, NULL, NULL);
}
