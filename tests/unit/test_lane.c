#include "core/lane.h"

#include "support.h"

static struct weir_event events[6];
static struct weir_lane lane;

/* Events 0..5 with classes 1 0 2 1 0 2. */
static void fill(enum weir_order order)
{
    static const uint8_t classes[6] = {1, 0, 2, 1, 0, 2};
    weir_lane_init(&lane, order);
    for (size_t i = 0; i < 6; i++) {
        events[i] = (struct weir_event){.id = i, .class_index = classes[i]};
        weir_lane_push(&lane, &events[i]);
        assert_int_equal(lane.count, i + 1);
    }
}

static void assert_takes(size_t max, bool newest_first, const uint64_t *ids, size_t n)
{
    struct weir_event *out[8];
    assert_int_equal(weir_lane_take(&lane, out, max, newest_first), n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(out[i]->id, ids[i]);
}

#define TAKES(max, newest, ...)                                                                              \
    assert_takes(max, newest, (const uint64_t[]){__VA_ARGS__},                                               \
                 sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void fifo_takes_the_oldest_first(void **state)
{
    (void)state;
    fill(WEIR_ORDER_FIFO);
    TAKES(2, true, 0, 1);
    TAKES(8, false, 2, 3, 4, 5);
    assert_takes(8, false, NULL, 0);
}

static void lifo_takes_the_newest_first(void **state)
{
    (void)state;
    fill(WEIR_ORDER_LIFO);
    TAKES(2, false, 5, 4);
    TAKES(8, false, 3, 2, 1, 0);
}

static void adaptive_does_what_it_is_told(void **state)
{
    (void)state;
    fill(WEIR_ORDER_ADAPTIVE);
    TAKES(2, false, 0, 1);
    TAKES(2, true, 5, 4);
    TAKES(8, false, 2, 3);
}

static void class_takes_the_highest_first_and_oldest_inside_it(void **state)
{
    (void)state;
    fill(WEIR_ORDER_CLASS);
    TAKES(3, true, 1, 4, 0);
    TAKES(8, false, 3, 2, 5);
}

static void the_oldest_is_what_waits_longest(void **state)
{
    (void)state;
    static const enum weir_order orders[] = {WEIR_ORDER_FIFO, WEIR_ORDER_LIFO, WEIR_ORDER_ADAPTIVE};
    for (size_t o = 0; o < 3; o++) {
        fill(orders[o]);
        for (uint64_t i = 0; i < 6; i++)
            assert_int_equal(weir_lane_take_oldest(&lane, 0)->id, i);
        assert_null(weir_lane_take_oldest(&lane, 0));
        assert_int_equal(lane.count, 0);
    }
}

static void with_classes_the_lowest_gives_its_oldest(void **state)
{
    (void)state;
    static const uint64_t ids[6] = {2, 5, 0, 3, 1, 4};
    fill(WEIR_ORDER_CLASS);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(weir_lane_take_oldest(&lane, 0)->id, ids[i]);
    assert_null(weir_lane_take_oldest(&lane, 0));
}

static void a_higher_class_gives_nothing(void **state)
{
    (void)state;
    fill(WEIR_ORDER_CLASS);
    assert_int_equal(weir_lane_take_oldest(&lane, 2)->id, 2);
    assert_int_equal(weir_lane_take_oldest(&lane, 2)->id, 5);
    assert_null(weir_lane_take_oldest(&lane, 2));
    assert_int_equal(weir_lane_take_oldest(&lane, 1)->id, 0);
}

static void the_newest_of_the_lowest_class_gives_way_to_higher_ones(void **state)
{
    (void)state;
    fill(WEIR_ORDER_CLASS);
    assert_int_equal(weir_lane_take_below(&lane, 0)->id, 5);
    assert_int_equal(weir_lane_take_below(&lane, 1)->id, 2);
    assert_null(weir_lane_take_below(&lane, 1));
    assert_int_equal(weir_lane_take_below(&lane, 0)->id, 3);
    assert_int_equal(weir_lane_take_below(&lane, 0)->id, 0);
    assert_null(weir_lane_take_below(&lane, 0));
    assert_int_equal(lane.count, 2);
    fill(WEIR_ORDER_FIFO);
    assert_null(weir_lane_take_below(&lane, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_newest_of_the_lowest_class_gives_way_to_higher_ones),
        TEST(a_higher_class_gives_nothing),
        TEST(fifo_takes_the_oldest_first),      TEST(lifo_takes_the_newest_first),
        TEST(adaptive_does_what_it_is_told),    TEST(class_takes_the_highest_first_and_oldest_inside_it),
        TEST(the_oldest_is_what_waits_longest), TEST(with_classes_the_lowest_gives_its_oldest),
    };
    return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
