#include "core/reply.h"

#include <string.h>

#include "base/mem.h"
#include "core/event.h"
#include "core/pool.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, CALL, ANSWER, STAGES };
#ifdef __SANITIZE_THREAD__
enum { PER_WORKER = 2000 };
#else
enum { PER_WORKER = 20000 };
#endif

/* What became of the calls, over all workers. */
static struct {
    _Atomic size_t answered, unanswered, left, gone, refused;
    _Atomic bool wrong;
} seen;

static void on_done(struct weir_reply *r)
{
    if (weir_worker_current() != NULL && weir_worker_current() != r->worker)
        atomic_store(&seen.wrong, true);
    if (r->answered && r->value.integer != (int64_t)r->until_ns)
        atomic_store(&seen.wrong, true);
    atomic_fetch_add(r->answered ? &seen.answered : &seen.unanswered, 1);
    weir_reply_free(r);
}

/* Calls the next stage with the event's value; one in three leaves at once. */
static enum weir_reason call_next(struct rig_handler *h, struct weir_event *ev)
{
    struct weir_seat *seat = h->h.seat;
    struct weir_worker *w = seat->worker;
    struct weir_reply *r = weir_reply_create(w, on_done, NULL);
    struct weir_event *out = weir_event_create_from(w, ev);
    assert_true(r != NULL && out != NULL);
    r->until_ns = (uint64_t)ev->value.integer;
    out->value = ev->value;
    out->request = &r->base;
    weir_reply_add(r, seat->stage);
    if (weir_port_emit(seat, &seat->stage->ports[0], out, NULL) != WEIR_VERDICT_ACCEPTED) {
        out->request = NULL;
        weir_event_free(w, out);
        weir_reply_leave(r);
        r->base.ops->end(&r->base, w, WEIR_REQUEST_REFUSED);
        atomic_fetch_add(&seen.refused, 1);
        return WEIR_REASON_NONE;
    }
    if (ev->value.integer % 3 == 0) {
        weir_reply_leave(r);
        atomic_fetch_add(&seen.left, 1);
    }
    return WEIR_REASON_NONE;
}

/* Answers two of three; the rest is left to the host. */
static enum weir_reason answer_some(struct rig_handler *h, struct weir_event *ev)
{
    struct weir_reply *r = weir_reply_of(ev->request);
    (void)h;
    if (r == NULL || ev->value.integer % 5 == 0)
        return WEIR_REASON_NONE;
    ev->request = NULL;
    if (!weir_reply_answer(r, ev->value))
        atomic_fetch_add(&seen.gone, 1);
    return WEIR_REASON_NONE;
}

static bool all_told(void *arg)
{
    return atomic_load(&seen.answered) + atomic_load(&seen.unanswered) + atomic_load(&seen.left) + atomic_load(&seen.refused) == *(size_t *)arg;
}

static void run_pools(bool cut_short)
{
    static struct rig_feed feed;
    size_t total = 2 * PER_WORKER;
    memset(&seen, 0, sizeof seen);
    memset(&feed, 0, sizeof feed);
    feed.total = PER_WORKER;
    feed.per_tick = 100;
    struct rig *rig = rig_create(STAGES, 2);
    rig_pool(rig, 0, "main", 2, false);
    rig_pool(rig, 1, "other", 2, false);
    rig_source(rig, FEED, "feed", 0, &feed);
    rig_stage(rig, CALL, "call", 0, call_next, NULL)->queue.capacity = 100;
    rig_stage(rig, ANSWER, "answer", 1, answer_some, NULL)->queue.capacity = 1000;
    rig_wire_one(rig, FEED, "out", CALL);
    rig_wire_one(rig, CALL, "out", ANSWER);
    rig_finish(rig);
    rig_start(rig);
    if (!cut_short) {
        rig_feed_wait(rig, &feed, 2); /* what a full queue refused it made again */
        rig_wait(rig, all_told, &total);
        assert_true(atomic_load(&seen.answered) > 0);
        rig_drain(rig);
    }
    rig_stop(rig);
    assert_false(atomic_load(&seen.wrong));
    rig_destroy(rig);
}

static void each_call_between_pools_is_told_once(void **state)
{
    (void)state;
    run_pools(false);
}

static void workers_that_leave_lose_no_reply(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        run_pools(true);
}

static struct rig *small_rig(void)
{
    struct rig *rig = rig_create(STAGES, 1);
    rig_pool(rig, 0, "main", 1, false);
    for (size_t i = 0; i < STAGES; i++)
        rig_stage(rig, i, i == FEED ? "feed" : i == CALL ? "call" : "answer", 0, rig_handled, NULL);
    rig_wire_one(rig, FEED, "out", CALL);
    rig_wire_one(rig, CALL, "out", ANSWER);
    return rig;
}

static void a_chain_is_known_along_routes(void **state)
{
    (void)state;
    struct rig *rig = small_rig();
    struct weir_stage *s = rig->g->stages;
    rig_finish(rig);
    struct weir_worker *w = rig_worker(rig, 0);
    struct weir_reply *a = weir_reply_create(w, on_done, NULL), *b = weir_reply_create(w, on_done, NULL);
    struct weir_edge to_call = {.target = &s[CALL], .overflow.policy = WEIR_OVERFLOW_REJECT};
    struct weir_edge routed = {.target = &s[FEED], .overflow = {.policy = WEIR_OVERFLOW_ROUTE, .route = &s[CALL]}};
    assert_false(weir_reply_closes_cycle(a, &to_call));
    weir_reply_add(a, &s[CALL]);
    assert_true(weir_reply_closes_cycle(a, &to_call));
    assert_true(weir_reply_closes_cycle(a, &routed));
    assert_false(weir_reply_closes_cycle(b, &routed));
    weir_reply_add_chain(b, a);
    assert_true(weir_reply_closes_cycle(b, &routed));
    assert_null(weir_reply_of(NULL));
    assert_ptr_equal(weir_reply_of(&a->base), a);
    assert_int_equal(w->replies, 2);
    struct weir_reply *both[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        assert_false(both[i]->base.ops->gone(&both[i]->base));
        weir_reply_leave(both[i]);
        assert_true(both[i]->base.ops->gone(&both[i]->base));
        assert_false(weir_reply_answer(both[i], WEIR_VALUE_NOTHING));
    }
    assert_int_equal(w->replies, 0);
    weir_mem_fail_after(0);
    assert_null(weir_reply_create(w, on_done, NULL));
    weir_mem_fail_after(-1);
    assert_int_equal(w->replies, 0);
    rig_worker_end(w);
    rig_destroy(rig);
}

static void an_answer_that_crosses_a_leaving_caller_is_dropped(void **state)
{
    (void)state;
    struct rig *rig = small_rig();
    rig_finish(rig);
    struct weir_worker *w = rig_worker(rig, 0);
    memset(&seen, 0, sizeof seen);
    struct weir_reply *r = weir_reply_create(w, on_done, NULL);
    struct weir_blob *blob = weir_blob_create(1);
    blob->data[0] = 0x90;
    assert_true(weir_reply_answer(r, (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob}));
    weir_reply_leave(r); /* the answer is in the inbox already */
    assert_int_equal(w->replies, 1);
    weir_inbox_drain(&w->inbox);
    assert_int_equal(w->replies, 0);
    assert_int_equal(seen.answered, 0);
    rig_worker_end(w);
    rig_destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_chain_is_known_along_routes, test_teardown),
        cmocka_unit_test_teardown(an_answer_that_crosses_a_leaving_caller_is_dropped, test_teardown),
        cmocka_unit_test(each_call_between_pools_is_told_once),
        cmocka_unit_test(workers_that_leave_lose_no_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
