#include "support.h"

static bool is_gone(const struct weir_request *r)
{
    return atomic_load(&((const struct rig_request *)(const void *)r)->gone);
}

static void end(struct weir_request *r, struct weir_worker *w, enum weir_request_end why)
{
    struct rig_request *q = (struct rig_request *)(void *)r;
    assert_non_null(w);
    atomic_fetch_add(&q->ends[why], 1);
    atomic_fetch_add(&q->ended, 1);
}

static const struct weir_request_ops ops = {.gone = is_gone, .end = end};

void rig_request_init(struct rig_request *q)
{
    *q = (struct rig_request){.r = {.ops = &ops, .size = 100}};
}

void rig_request_check(struct rig_request *q, enum weir_request_end why)
{
    assert_int_equal(atomic_load(&q->ended), 1);
    assert_int_equal(atomic_load(&q->ends[why]), 1);
}
