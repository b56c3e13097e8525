#include "base/list.h"

#include "test.h"

struct item {
    int number;
    struct weir_list node;
};

static struct item items[5] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}, {.number = 5}};

static void assert_numbers(const struct weir_list *head, const int *expected, size_t n)
{
    size_t i = 0;
    WEIR_LIST_EACH(node, next, head)
    {
        assert_true(i < n);
        assert_int_equal(WEIR_LIST_ENTRY(node, struct item, node)->number, expected[i]);
        i++;
    }
    assert_int_equal(i, n);
}

static void ends_and_middle_keep_their_order(void **state)
{
    (void)state;
    struct weir_list head;
    weir_list_init(&head);
    assert_true(weir_list_empty(&head));
    assert_null(weir_list_take_first(&head));
    weir_list_append(&head, &items[1].node);
    weir_list_append(&head, &items[3].node);
    weir_list_prepend(&head, &items[0].node);
    weir_list_insert_after(&items[1].node, &items[2].node);
    assert_numbers(&head, (const int[]){1, 2, 3, 4}, 4);
    weir_list_remove(&items[2].node);
    weir_list_remove(&items[2].node); /* a second time does no harm */
    assert_numbers(&head, (const int[]){1, 2, 4}, 3);
    assert_ptr_equal(weir_list_take_first(&head), &items[0].node);
    assert_numbers(&head, (const int[]){2, 4}, 2);
}

static void splice_moves_all(void **state)
{
    (void)state;
    struct weir_list a, b;
    weir_list_init(&a);
    weir_list_init(&b);
    weir_list_splice(&a, &b);
    assert_true(weir_list_empty(&a));
    weir_list_append(&a, &items[0].node);
    weir_list_append(&b, &items[1].node);
    weir_list_append(&b, &items[2].node);
    weir_list_splice(&a, &b);
    assert_true(weir_list_empty(&b));
    assert_numbers(&a, (const int[]){1, 2, 3}, 3);
    weir_list_splice(&b, &a);
    assert_numbers(&b, (const int[]){1, 2, 3}, 3);
}

static void a_walk_may_remove_where_it_stands(void **state)
{
    (void)state;
    struct weir_list head;
    weir_list_init(&head);
    for (size_t i = 0; i < 5; i++)
        weir_list_append(&head, &items[i].node);
    WEIR_LIST_EACH(node, next, &head)
    {
        if (WEIR_LIST_ENTRY(node, struct item, node)->number % 2 == 1)
            weir_list_remove(node);
    }
    assert_numbers(&head, (const int[]){2, 4}, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ends_and_middle_keep_their_order),
        TEST(splice_moves_all),
        TEST(a_walk_may_remove_where_it_stands),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
