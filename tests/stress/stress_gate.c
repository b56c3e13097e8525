/* A gate under many emitters: three workers offer as fast as they can, three others handle, the limit never
 * moves and is never exceeded, and the rate, which does move, lets no more through than it adds up to.
 *
 * usage: stress_gate [SECONDS] */
#include <math.h>
#include <stdlib.h>

#include "core/gate.h"
#include "core/pool.h"
#include "core/stage.h"
#include "burst_fixture.h"
#include "support.h"

enum { BURST, WORK, STAGES };
enum { LIMIT = 10, CLASSES = 3 };

static unsigned seconds = 2;
static _Atomic int64_t inside[CLASSES]; /* accepted, and not about to end: counted late and taken off early,
                                           so never more than there are */
static _Atomic int64_t
    most[CLASSES]; /* … of this class and those below it, seen when one of it was accepted */

static void note_accepted(size_t class)
{
    int64_t all = 0;
    atomic_fetch_add(&inside[class], 1);
    for (size_t i = 0; i < CLASSES; i++)
        all += atomic_load(&inside[i]);
    int64_t before = atomic_load(&most[class]);
    while (all > before && !atomic_compare_exchange_weak(&most[class], &before, all))
        ;
}

static enum weir_reason work(struct rig_handler *h, struct weir_event *ev)
{
    (void)h;
    uint64_t until = weir_clock_ns() + 10 * WEIR_NS_PER_US;
    while (weir_clock_ns() < until)
        ;
    atomic_fetch_sub(&inside[ev->class_index], 1);
    return WEIR_REASON_NONE;
}

static void on_burst(uv_timer_t *timer)
{
    struct burst *b = timer->data;
    struct weir_worker *w = b->s.seat->worker;
    weir_worker_now(w);
    for (size_t i = 0; i < 300; i++) {
        struct weir_event *ev = weir_event_create(w);
        if (ev == NULL)
            abort();
        uint8_t class = (uint8_t)(i % CLASSES);
        ev->class_index = class;
        if (weir_port_emit(b->s.seat, &b->s.seat->stage->ports[0], ev, NULL) == WEIR_VERDICT_ACCEPTED)
            note_accepted(class);
        else
            weir_event_free(w, ev);
        if (i % 30 == 0) /* or they wait here for the end of the turn */
            weir_worker_flush(w);
    }
    uv_timer_start(timer, on_burst, 1, 0); /* not 0: it would run again in the same pass over the timers */
}

static bool is_past(void *arg)
{
    return weir_clock_ns() >= *(uint64_t *)arg;
}

static void set(struct rig *r, double rate, uint64_t now_ns)
{
    struct weir_gate_bounds b = {
        .rate = {rate, rate, rate}, .burst = 1, .limit = LIMIT, .shed_after_s = INFINITY};
    weir_gate_set(r->g->stages[WORK].gate, &b, now_ns);
}

/* Returns how many each class may have had by its rate. */
static double run_for_a_while(struct rig *r)
{
    double sum = 1;
    uint64_t began = weir_clock_ns(), now = began;
    for (unsigned i = 0; now - began < seconds * WEIR_NS_PER_S; i++) {
        double rate = i % 3 == 0 ? 2000 : i % 3 == 1 ? 500 : 8000;
        uint64_t next = now + 20 * WEIR_NS_PER_MS;
        set(r, rate, now);
        sum += 1; /* each emitter may let one through by the rate before */
        rig_wait(r, is_past, &next);
        uint64_t then = weir_clock_ns();
        sum += rate * (double)(then - now) / 1e9;
        now = then;
    }
    set(r, 0, now);
    return sum;
}

static void limit_and_rate_hold_under_many_emitters(void **state)
{
    (void)state;
    static struct rig_feed unused;
    static struct weir_gate_sum sum;
    struct weir_err err;
    struct rig *r = rig_create(STAGES, 2);
    rig_pool(r, 0, "source", 3, false);
    rig_pool(r, 1, "main", 3, false);
    r->g->class_count = CLASSES;
    struct weir_stage *s = rig_source(r, BURST, "burst", 0, &unused);
    s->source = (struct weir_source_maker){.make = make_burst};
    s = rig_stage(r, WORK, "work", 1, work, NULL);
    assert_int_equal(weir_gate_create(CLASSES, &s->gate, &err), WEIR_OK);
    rig_wire_one(r, BURST, "out", WORK);
    rig_finish(r);
    set(r, 0, weir_clock_ns());
    rig_start(r);
    double allowed = run_for_a_while(r);
    rig_drain(r);
    rig_stop(r);

    weir_gate_read(s, &sum);
    for (size_t i = 0; i < CLASSES; i++) {
        int64_t accepted = sum.classes[i].offered - sum.classes[i].refused;
        printf("class %zu: offered %lld, accepted %lld of %.0f, at most %lld at once\n", i,
               (long long)sum.classes[i].offered, (long long)accepted, allowed,
               (long long)atomic_load(&most[i]));
        assert_true((double)accepted <= allowed + 3);
        assert_true(accepted > 0);
        assert_true(atomic_load(&most[i]) <= LIMIT);
        assert_int_equal(atomic_load(&inside[i]), 0);
        assert_int_equal(sum.classes[i].ended, accepted);
    }
    assert_int_equal(weir_gate_running(s->gate), 0);
    rig_destroy(r);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        seconds = (unsigned)strtoul(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {TEST(limit_and_rate_hold_under_many_emitters)};
    return cmocka_run_group_tests_name("stress_gate", tests, NULL, NULL);
}
