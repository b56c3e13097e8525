/* tests/unit/port_fixture.h - what the tests of port.c share: a stage that feeds one with room for two, and two more beside it. */
#ifndef WEIR_UNIT_PORT_FIXTURE_H
#define WEIR_UNIT_PORT_FIXTURE_H

#include "core/pool.h"
#include "core/port.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, WORK, SPARE, LAST, STAGES };

static struct rig *rig;
static struct weir_worker *w;

/* feed → work (capacity 2), spare and last beside it. */
static inline int open_rig(void **state)
{
    (void)state;
    rig = rig_create(STAGES, 1);
    rig_pool(rig, 0, "main", 2, false);
    rig_stage(rig, FEED, "feed", 0, rig_handled, NULL);
    rig_stage(rig, WORK, "work", 0, rig_handled, NULL)->queue.capacity = 2;
    rig_stage(rig, SPARE, "spare", 0, rig_handled, NULL)->queue.capacity = 2;
    rig_stage(rig, LAST, "last", 0, rig_handled, NULL);
    return 0;
}

/* Ports "out" to work and "spare" to spare; `policy` is work's. */
static inline void finish(struct weir_overflow_policy policy)
{
    rig->g->stages[WORK].queue.overflow = policy;
    rig_wire_one(rig, FEED, "out", WORK);
    rig_wire_one(rig, FEED, "spare", SPARE);
    rig_finish(rig);
    w = rig_worker(rig, 0);
}

static inline int close_rig(void **state)
{
    rig_worker_end(w);
    rig_destroy(rig);
    return test_teardown(state);
}

static inline int64_t reason(size_t stage, enum weir_reason why)
{
    return rig_ledger(rig, stage).reasons[why];
}

static inline int64_t emitted(void)
{
    return weir_stage_emitted(&rig->g->stages[FEED], 0);
}

static inline void assert_ledger(size_t stage, int64_t offered, int64_t accepted, int64_t dropped, int64_t queued)
{
    struct weir_ledger_sum sum = rig_ledger(rig, stage);
    assert_int_equal(sum.offered, offered);
    assert_int_equal(sum.accepted, accepted);
    assert_int_equal(sum.rejected, offered - accepted);
    assert_int_equal(sum.dropped, dropped);
    assert_int_equal(sum.queued, queued);
    rig_check_ledger(rig, stage);
}

static inline int64_t take_one(size_t stage)
{
    struct weir_event *ev;
    assert_int_equal(rig_take(w, stage, &ev, 1), 1);
    int64_t value = ev->value.integer;
    rig_finish_event(w, stage, ev);
    return value;
}

#endif
