#include "core/queue.h"

#include <string.h>

#include "core/pool.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, WORK };

static struct rig *rig;
static struct weir_worker *w;
static struct weir_queue *q;

static void open_rig(size_t capacity, size_t bytes, enum weir_order order, enum weir_queue_by order_by,
                     bool blocking)
{
    rig = rig_create(2, 2);
    rig_pool(rig, 0, "main", 2, false);
    rig_pool(rig, 1, "disk", 1, true);
    rig_stage(rig, FEED, "feed", 0, rig_handled, NULL);
    struct weir_stage *s = rig_stage(rig, WORK, "work", blocking, rig_handled, NULL);
    q = &s->queue;
    q->capacity = capacity;
    q->bytes = bytes;
    q->order = order;
    q->keys.by = order_by;
    rig_wire_one(rig, FEED, "out", WORK);
    rig_finish(rig);
    w = rig_worker(rig, 0);
}

static void close_rig(void)
{
    rig_worker_end(w);
    rig_destroy(rig);
}

/* Takes and finishes one event; its value. */
static int64_t take_one(void)
{
    struct weir_event *ev;
    assert_int_equal(rig_take(w, WORK, &ev, 1), 1);
    int64_t value = ev->value.integer;
    rig_finish_event(w, WORK, ev);
    return value;
}

static void events_are_bounded_exactly(void **state)
{
    (void)state;
    open_rig(3, 1 << 20, WEIR_ORDER_FIFO, WEIR_BY_NONE, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_emit_value(w, FEED, 3), WEIR_VERDICT_FULL);
    assert_int_equal(weir_queue_depth(q), 3);
    assert_int_equal(rig_ledger(rig, WORK).reasons[WEIR_REASON_FULL], 1);
    assert_int_equal(take_one(), 0);
    assert_int_equal(rig_emit_value(w, FEED, 4), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_emit_value(w, FEED, 5), WEIR_VERDICT_FULL);
    struct weir_ledger_sum sum = rig_ledger(rig, WORK);
    assert_int_equal(sum.offered, 6);
    assert_int_equal(sum.accepted, 4);
    assert_int_equal(sum.rejected, 2);
    assert_int_equal(sum.queued, 3);
    rig_check_ledger(rig, WORK);
    close_rig();
}

static void bytes_are_bounded_exactly(void **state)
{
    (void)state;
    size_t each = sizeof(struct weir_event) + 1000;
    open_rig(1000, 3 * each, WEIR_ORDER_FIFO, WEIR_BY_NONE, false);
    for (int i = 0; i < 2; i++)
        assert_int_equal(rig_emit(w, FEED, rig_event_sized(w, 1000)), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_emit(w, FEED, rig_event_sized(w, 1001)), WEIR_VERDICT_FULL); /* one byte too many */
    assert_int_equal(rig_emit(w, FEED, rig_event_sized(w, 1000)), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(weir_queue_bytes(q), 3 * each);
    assert_int_equal(rig_ledger(rig, WORK).queued_bytes, 3 * each);
    assert_int_equal(rig_emit_value(w, FEED, 1), WEIR_VERDICT_FULL);
    assert_int_equal(rig_ledger(rig, WORK).reasons[WEIR_REASON_BYTES], 2);
    rig_check_ledger(rig, WORK);
    rig_run(w);
    assert_int_equal(weir_queue_bytes(q), 0);
    close_rig();
}

static void a_request_counts_with_its_size(void **state)
{
    (void)state;
    open_rig(10, sizeof(struct weir_event) + 99, WEIR_ORDER_FIFO, WEIR_BY_NONE, false);
    struct rig_request request;
    rig_request_init(&request); /* 100 bytes */
    struct weir_event *ev = rig_event(w, 1);
    ev->request = &request.r;
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_FULL);
    rig_request_check(&request, WEIR_REQUEST_REFUSED);
    assert_int_equal(rig_emit_value(w, FEED, 2), WEIR_VERDICT_ACCEPTED);
    close_rig();
}

static void the_order_holds_in_own_and_shared_lane(void **state)
{
    (void)state;
    static const struct {
        enum weir_order order;
        int64_t expected[4];
    } rows[] = {
        {WEIR_ORDER_FIFO, {0, 1, 2, 3}},
        {WEIR_ORDER_LIFO, {3, 2, 1, 0}},
        {WEIR_ORDER_ADAPTIVE, {0, 1, 2, 3}}, /* less than half full */
        {WEIR_ORDER_CLASS, {3, 1, 0, 2}},
    };
    for (size_t row = 0; row < 4; row++) {
        for (int through_shared = 0; through_shared < 2; through_shared++) {
            open_rig(100, 1 << 20, rows[row].order, WEIR_BY_NONE, false);
            if (through_shared) { /* others live, and no more than nothing fits into this one's slice */
                atomic_store(&rig->g->pools[0].live, 2);
                w->seats[WORK]->share = 0;
            }
            static const uint8_t classes[4] = {2, 1, 2, 0};
            for (int i = 0; i < 4; i++) {
                struct weir_event *ev = rig_event(w, i);
                ev->class_index = classes[i];
                assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
            }
            weir_worker_flush(w);
            assert_int_equal(w->seats[WORK]->lane.count, through_shared ? 0 : 4);
            w->seats[WORK]->share = 100;
            for (int i = 0; i < 4; i++)
                assert_int_equal(take_one(), rows[row].expected[i]);
            close_rig();
        }
    }
}

static void adaptive_turns_to_the_newest_when_half_full(void **state)
{
    (void)state;
    open_rig(8, 1 << 20, WEIR_ORDER_ADAPTIVE, WEIR_BY_NONE, false);
    for (int i = 0; i < 6; i++)
        rig_emit_value(w, FEED, i);
    static const int64_t expected[6] = {5, 4, 3, 0, 1, 2}; /* 6, 5, 4 wait of 8; then 3, 2, 1 */
    for (int i = 0; i < 6; i++)
        assert_int_equal(take_one(), expected[i]);
    close_rig();
}

static void what_does_not_fit_a_slice_spills_to_the_shared_lane(void **state)
{
    (void)state;
    open_rig(100, 1 << 20, WEIR_ORDER_FIFO, WEIR_BY_NONE, false);
    atomic_store(&rig->g->pools[0].live, 2);
    w->seats[WORK]->share = 3;
    for (int i = 0; i < 5; i++)
        rig_emit_value(w, FEED, i);
    assert_int_equal(w->seats[WORK]->lane.count, 3);
    assert_int_equal(w->outbound_count, 2);
    weir_worker_flush(w);
    assert_int_equal(w->outbound_count, 0);
    assert_int_equal(q->shared.lane.count, 2);
    struct weir_worker *other = rig_worker(rig, 0);
    struct weir_event *out[8];
    assert_int_equal(rig_take(other, WORK, out, 8), 2);
    assert_int_equal(out[0]->value.integer, 3);
    rig_finish_event(other, WORK, out[0]);
    rig_finish_event(other, WORK, out[1]);
    rig_worker_end(other);
    rig_run(w);
    assert_int_equal(rig_ledger(rig, WORK).handled, 5);
    close_rig();
}

static void both_lanes_get_their_turns(void **state)
{
    (void)state;
    open_rig(100, 1 << 20, WEIR_ORDER_FIFO, WEIR_BY_NONE, false);
    atomic_store(&rig->g->pools[0].live, 2);
    w->seats[WORK]->share = 4;
    for (int i = 0; i < 8; i++)
        rig_emit_value(w, FEED, i); /* 0 to 3 stay, 4 to 7 spill */
    weir_worker_flush(w);
    int own = 0, shared = 0;
    for (int i = 0; i < 4; i++)
        *(take_one() < 4 ? &own : &shared) += 1;
    assert_int_equal(own, 2);
    assert_int_equal(shared, 2);
    close_rig();
}

static void blocking_pools_have_the_shared_lane_only_and_take_one_at_a_time(void **state)
{
    (void)state;
    open_rig(100, 1 << 20, WEIR_ORDER_FIFO, WEIR_BY_NONE, true);
    struct weir_worker *disk = rig_worker(rig, 1);
    atomic_store(&rig->g->pools[1].live, 1);
    for (int i = 0; i < 3; i++)
        rig_emit_value(w, FEED, i);
    assert_int_equal(w->seats[WORK]->lane.count, 0);
    weir_worker_flush(w);
    struct weir_event *out[8];
    assert_int_equal(rig_take(disk, WORK, out, 8), 1);
    rig_finish_event(disk, WORK, out[0]);
    rig_run(disk);
    assert_int_equal(rig_ledger(rig, WORK).handled, 3);
    rig_worker_end(disk);
    close_rig();
}

static uint32_t place(const struct weir_queue *of, struct weir_event *ev)
{
    weir_queue_place(of, ev);
    return ev->place;
}

static void partitions_follow_what_order_by_says(void **state)
{
    (void)state;
    struct weir_queue by = {.keys.by = WEIR_BY_KEY};
    struct weir_event a = {.key = 70, .source = 1}, b = {.key = 6, .source = 2};
    assert_int_equal(place(&by, &a), 70 % WEIR_PARTITIONS);
    assert_int_equal(place(&by, &b), 6);
    by.keys.fair = true;
    assert_int_equal(place(&by, &a), 70);
    by.keys.fair = false;
    by.keys.by = WEIR_BY_SOURCE;
    assert_int_not_equal(place(&by, &a), place(&by, &b));
    by.keys.by = WEIR_BY_FIELD;
    by.keys.field = "u";
    a.value = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = weir_blob_create(4)};
    memcpy(a.value.blob->data, "\x81\xa1u\x07", 4);
    b.value = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = 7};
    assert_int_equal(place(&by, &a), weir_value_hash(b.value, NULL) % WEIR_PARTITIONS);
    weir_value_unref(a.value);
}

static void an_ordered_queue_gives_one_call_of_a_key(void **state)
{
    (void)state;
    open_rig(100, 1 << 20, WEIR_ORDER_FIFO, WEIR_BY_KEY, false);
    for (int i = 0; i < 3; i++) {
        struct weir_event *ev = rig_event(w, i);
        ev->key = 5;
        rig_emit(w, FEED, ev);
    }
    struct weir_event *out[8], *more[8];
    assert_int_equal(rig_take(w, WORK, out, 8), 1);
    assert_true(weir_seat_begin(w->seats[WORK], out[0]));
    assert_int_equal(rig_take(w, WORK, more, 8), 0); /* its call has not ended */
    weir_seat_end(w->seats[WORK], out[0], WEIR_REASON_ERROR, NULL);
    assert_int_equal(take_one(), 1);
    assert_int_equal(take_one(), 2);
    rig_check_ledger(rig, WORK);
    close_rig();
}

static void one_that_expires_lets_its_key_go_on(void **state)
{
    (void)state;
    open_rig(100, 1 << 20, WEIR_ORDER_FIFO, WEIR_BY_KEY, false);
    for (int i = 0; i < 2; i++) {
        struct weir_event *ev = rig_event(w, i);
        ev->key = 5;
        ev->deadline_ns = i == 0 ? w->now_ns + 10 : 0;
        rig_emit(w, FEED, ev);
    }
    rig_advance(w, 100);
    assert_int_equal(take_one(), 0);
    assert_int_equal(take_one(), 1);
    assert_int_equal(rig_ledger(rig, WORK).expired, 1);
    assert_int_equal(rig_ledger(rig, WORK).handled, 1);
    close_rig();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_are_bounded_exactly),
        TEST(bytes_are_bounded_exactly),
        TEST(a_request_counts_with_its_size),
        TEST(the_order_holds_in_own_and_shared_lane),
        TEST(adaptive_turns_to_the_newest_when_half_full),
        TEST(what_does_not_fit_a_slice_spills_to_the_shared_lane),
        TEST(both_lanes_get_their_turns),
        TEST(blocking_pools_have_the_shared_lane_only_and_take_one_at_a_time),
        TEST(partitions_follow_what_order_by_says),
        TEST(an_ordered_queue_gives_one_call_of_a_key),
        TEST(one_that_expires_lets_its_key_go_on),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
