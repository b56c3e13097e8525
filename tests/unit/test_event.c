#include "core/event.h"

#include "support.h"

static void a_child_inherits_what_belongs_to_the_line_of_work(void **state)
{
    (void)state;
    struct rig *r = rig_create(1, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, 0, "a", 0, rig_handled, NULL);
    r->g->class_count = 3;
    r->g->default_class = 1;
    rig_finish(r);
    struct weir_worker *w = rig_worker(r, 0);
    struct weir_event *ev = rig_event(w, 1);
    assert_int_equal(ev->class_index, 1);
    assert_int_equal(ev->arrival_ns, w->now_ns);
    ev->deadline_ns = 77;
    ev->source = 5;
    ev->class_index = 2;
    weir_event_set_key(ev, (struct weir_value){.kind = WEIR_VALUE_INT, .integer = 9});
    ev->trace.trace_id[3] = 4;
    ev->trace.flags = 1;
    rig_advance(w, 1000);
    struct weir_event *child = weir_event_create_from(w, ev);
    assert_int_equal(child->arrival_ns, ev->arrival_ns);
    assert_int_equal(child->deadline_ns, 77);
    assert_int_equal(child->source, 5);
    assert_int_equal(child->class_index, 2);
    assert_memory_equal(&child->trace, &ev->trace, sizeof ev->trace);
    assert_int_equal(child->key, ev->key);
    assert_int_equal(child->key_value.integer, 9);
    assert_true(child->key != 0);
    assert_true(child->id != ev->id);
    assert_int_equal(child->value.kind, WEIR_VALUE_NIL);
    struct weir_event *orphan = weir_event_create_from(w, NULL);
    assert_int_equal(orphan->arrival_ns, w->now_ns);
    weir_event_free(w, ev);
    weir_event_free(w, child);
    weir_event_free(w, orphan);
    weir_event_free(w, NULL);
    rig_worker_end(w);
    rig_destroy(r);
}

static void ids_are_unique_even_when_a_slot_is_used_again(void **state)
{
    (void)state;
    struct rig *r = rig_create(1, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, 0, "a", 0, rig_handled, NULL);
    rig_finish(r);
    uint64_t last = 0;
    for (int i = 0; i < 3; i++) {
        struct weir_worker *w = NULL;
        assert_int_equal(weir_worker_create(&r->g->pools[0], 0, &w, NULL), WEIR_OK);
        struct weir_event *ev = rig_event(w, 1);
        assert_true(ev->id > last);
        last = ev->id;
        weir_event_free(w, ev);
        weir_worker_destroy(w);
    }
    rig_destroy(r);
}

static void without_memory_there_is_no_event(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct rig *r = rig_create(1, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, 0, "a", 0, rig_handled, NULL);
    rig_finish(r);
    struct weir_worker *w = rig_worker(r, 0);
    weir_mem_fail_after(0);
    assert_null(weir_event_create(w));
    assert_null(weir_event_create_from(w, NULL));
    weir_mem_fail_after(-1);
    rig_worker_end(w);
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_child_inherits_what_belongs_to_the_line_of_work),
        TEST(ids_are_unique_even_when_a_slot_is_used_again),
        TEST(without_memory_there_is_no_event),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
