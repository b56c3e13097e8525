#include "core/shared_lane.h"

#include "support.h"

static struct weir_shared_lane lane;
static struct weir_event events[8];

static int open_ordered(void **state)
{
    (void)state;
    return weir_shared_lane_init(&lane, WEIR_ORDER_FIFO, true, 0, NULL);
}

static int close_lane(void **state)
{
    weir_shared_lane_fini(&lane);
    return test_teardown(state);
}

/* Pushes event `i` into `partition`; it was accepted at time `i`. Returns whether there is something to take.
 */
static bool push(size_t i, uint8_t partition)
{
    events[i] = (struct weir_event){.id = i, .place = partition, .enqueued_ns = i};
    weir_mutex_lock(&lane.mu);
    bool takeable = weir_shared_lane_push_locked(&lane, &events[i]);
    weir_mutex_unlock(&lane.mu);
    return takeable;
}

static bool left;

/* Takes up to `max`; the ids are the digits of the number returned, after a leading 9. */
static int take(size_t max, bool whole)
{
    struct weir_event *out[8];
    weir_mutex_lock(&lane.mu);
    size_t n = weir_shared_lane_take_locked(&lane, out, max, false, whole, &left);
    weir_mutex_unlock(&lane.mu);
    int digits = 9;
    for (size_t i = 0; i < n; i++)
        digits = digits * 10 + (int)out[i]->id;
    return digits;
}

static bool release(unsigned partition)
{
    weir_mutex_lock(&lane.mu);
    bool ready = weir_shared_lane_release_locked(&lane, partition);
    weir_mutex_unlock(&lane.mu);
    return ready;
}

static void without_order_it_is_a_lane(void **state)
{
    (void)state;
    weir_shared_lane_fini(&lane);
    assert_int_equal(weir_shared_lane_init(&lane, WEIR_ORDER_LIFO, false, 0, NULL), WEIR_OK);
    assert_true(push(1, 0));
    assert_true(push(2, 0));
    assert_true(push(3, 0));
    assert_int_equal(take(2, false), 932);
    assert_true(left);
    assert_int_equal(take(2, false), 91);
    assert_false(left);
    assert_null(weir_shared_lane_take_oldest_locked(&lane, NULL));
}

static void a_partition_gives_one_event_until_its_call_ends(void **state)
{
    (void)state;
    assert_true(push(1, 5));
    assert_true(push(2, 5));
    assert_true(push(3, 6));
    assert_int_equal(take(8, false), 913);
    assert_false(left);
    assert_int_equal(take(8, false), 9);
    assert_false(push(4, 5)); /* its partition is busy */
    assert_true(release(5));
    assert_int_equal(take(8, false), 92);
    assert_false(release(6));
    assert_true(release(5));
    assert_int_equal(take(8, false), 94);
    assert_false(release(5));
    assert_true(push(5, 5)); /* an idle one is ready at once */
    assert_int_equal(take(8, false), 95);
    assert_false(release(5));
}

static void a_batch_takes_a_partition_whole_and_frees_it_with_its_last_event(void **state)
{
    (void)state;
    for (size_t i = 1; i <= 4; i++)
        push(i, 7);
    assert_int_equal(take(3, true), 9123);
    assert_false(left);
    assert_false(release(7));
    assert_false(release(7));
    assert_int_equal(take(3, true), 9);
    assert_true(release(7));
    assert_int_equal(take(3, true), 94);
    assert_false(release(7));
}

static bool put_back(size_t i)
{
    weir_mutex_lock(&lane.mu);
    bool takeable = weir_shared_lane_put_back_locked(&lane, &events[i]);
    weir_mutex_unlock(&lane.mu);
    return takeable;
}

static void events_given_back_are_first_of_their_partition_again(void **state)
{
    (void)state;
    push(1, 5);
    push(2, 5);
    push(3, 5);
    push(4, 6);
    assert_int_equal(take(2, true), 912);
    assert_true(put_back(2)); /* from the last to the first; the other partition can be taken from */
    assert_int_equal(take(8, true), 94); /* this one runs still */
    assert_true(put_back(1));
    assert_int_equal(take(8, true), 9123);
    for (int i = 0; i < 3; i++)
        assert_false(release(5));
    assert_false(release(6));
}

static void partitions_take_turns(void **state)
{
    (void)state;
    push(1, 1);
    push(2, 1);
    push(3, 2);
    assert_int_equal(take(1, false), 91);
    assert_true(release(1)); /* to the end of the line */
    assert_int_equal(take(1, false), 93);
    assert_true(left);
    assert_int_equal(take(1, false), 92);
    assert_false(release(1));
    assert_false(release(2));
}

static void the_oldest_of_all_partitions_can_be_dropped(void **state)
{
    (void)state;
    push(1, 9);
    push(2, 3);
    push(3, 9);
    assert_int_equal(take(1, false), 91); /* 9 is busy now */
    weir_mutex_lock(&lane.mu);
    assert_int_equal(weir_shared_lane_take_oldest_locked(&lane, NULL)->id, 2);
    weir_mutex_unlock(&lane.mu);
    assert_int_equal(take(8, false), 9); /* 3 is empty, 9 is busy */
    weir_mutex_lock(&lane.mu);
    assert_int_equal(weir_shared_lane_take_oldest_locked(&lane, NULL)->id, 3);
    assert_null(weir_shared_lane_take_oldest_locked(&lane, NULL));
    weir_mutex_unlock(&lane.mu);
    assert_false(release(9));
    assert_true(push(4, 3));
    assert_int_equal(take(8, false), 94);
    assert_false(release(3));
}

static void making_one_survives_any_failed_allocation(void **state)
{
    (void)state;
    weir_shared_lane_fini(&lane);
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_shared_lane_init(&lane, WEIR_ORDER_FIFO, true, 0, NULL);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && weir_mem_live() == 0));
    }
}

#define LANE_TEST(f) cmocka_unit_test_setup_teardown(f, open_ordered, close_lane)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANE_TEST(without_order_it_is_a_lane),
        LANE_TEST(a_partition_gives_one_event_until_its_call_ends),
        LANE_TEST(a_batch_takes_a_partition_whole_and_frees_it_with_its_last_event),
        LANE_TEST(events_given_back_are_first_of_their_partition_again),
        LANE_TEST(partitions_take_turns),
        LANE_TEST(the_oldest_of_all_partitions_can_be_dropped),
        LANE_TEST(making_one_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests_name("shared_lane", tests, NULL, NULL);
}
