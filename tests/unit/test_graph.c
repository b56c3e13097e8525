#include "core/graph.h"

#include <string.h>

#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "support.h"

static void ranks_go_from_downstream_up(void **state)
{
    (void)state;
    struct rig *r = rig_create(5, 1);
    rig_pool(r, 0, "main", 1, false);
    static const char *const names[] = {"web", "route", "page", "log", "alone"};
    for (size_t i = 0; i < 5; i++)
        rig_stage(r, i, names[i], 0, rig_handled, NULL);
    static const size_t both[] = {2, 3};
    rig_wire_one(r, 0, "out", 1);
    rig_wire(r, 1, "out", both, 2);
    rig_wire_one(r, 2, "log", 3);
    rig_wire_one(r, 2, "again", 1); /* a cycle */
    rig_finish(r);
    struct weir_stage *s = r->g->stages;
    assert_true(s[3].rank < s[2].rank);
    assert_true(s[2].rank < s[1].rank);
    assert_true(s[1].rank < s[0].rank);
    unsigned seen = 0;
    for (size_t i = 0; i < 5; i++)
        seen |= 1U << s[i].rank;
    assert_int_equal(seen, 31);
    assert_ptr_equal(weir_graph_stage(r->g, "page"), &s[2]);
    assert_null(weir_graph_stage(r->g, "pgae"));
    assert_ptr_equal(weir_stage_port(&s[2], "again"), &s[2].ports[1]);
    assert_null(weir_stage_port(&s[2], "out"));
    rig_destroy(r);
}

static void slots_have_room_to_grow(void **state)
{
    (void)state;
    struct rig *r = rig_create(1, 2);
    rig_pool(r, 0, "main", 2, false);
    rig_pool(r, 1, "disk", 3, true);
    rig_stage(r, 0, "a", 0, rig_handled, NULL);
    rig_finish(r);
    assert_int_equal(r->g->pools[0].slot_count, 2 + WEIR_POOL_SLOTS_SPARE);
    assert_int_equal(r->g->pools[1].first_slot, r->g->pools[0].slot_count);
    assert_int_equal(r->g->slot_count, 5 + 2 * WEIR_POOL_SLOTS_SPARE);
    rig_destroy(r);
}

static void more_than_can_be_counted_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t capacity, bytes;
        unsigned max;
        const char *text;
    } rows[] = {
        {WEIR_QUEUE_CAPACITY_MAX + 1, 1, 1, "stage 'a'"},
        {1, WEIR_QUEUE_BYTES_MAX + 1, 1, "stage 'a'"},
        {1, 1, 2000, "pool 'main'"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct rig *r = rig_create(1, 1);
        struct weir_err err;
        rig_pool(r, 0, "main", rows[i].max, false);
        struct weir_stage *s = rig_stage(r, 0, "a", 0, rig_handled, NULL);
        s->queue.capacity = rows[i].capacity;
        s->queue.bytes = rows[i].bytes;
        assert_int_equal(weir_graph_finish(r->g, &err), WEIR_E_LIMIT);
        assert_non_null(strstr(err.text, rows[i].text));
        rig_destroy(r);
    }
}

static int build(struct weir_graph **ret)
{
    struct weir_graph *g = NULL;
    int rc = weir_graph_create(2, 1, &g, NULL);
    if (rc < 0)
        return rc;
    g->pools[0].name = "main";
    g->pools[0].max = 1;
    for (size_t i = 0; i < 2; i++) {
        g->stages[i].name = i == 0 ? "a" : "b";
        g->stages[i].pool = &g->pools[0];
        g->stages[i].queue.keys.by = WEIR_BY_KEY;
    }
    for (size_t i = 0; i < 2 && rc == WEIR_OK; i++) {
        struct weir_port *p = weir_graph_add_port(&g->stages[0], i == 0 ? "x" : "y", 1);
        if (p == NULL)
            rc = WEIR_E_NOMEM;
        else
            p->edges[0].target = &g->stages[1];
    }
    if (rc == WEIR_OK)
        rc = weir_graph_finish(g, NULL);
    if (rc == WEIR_OK && weir_graph_seats(g, 0) == NULL)
        rc = WEIR_E_NOMEM;
    if (rc < 0)
        weir_graph_destroy(g);
    else
        *ret = g;
    return rc;
}

static void building_survives_any_failed_allocation(void **state)
{
    (void)state;
    int rc = WEIR_E_NOMEM;
    long n = 0;
    for (; rc != WEIR_OK; n++) {
        struct weir_graph *g = NULL;
        weir_mem_fail_after(n);
        rc = build(&g);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && g == NULL));
        weir_graph_destroy(g);
        assert_int_equal(weir_mem_live(), 0);
    }
#ifdef WEIR_TESTING
    assert_true(n > 10);
#endif
}

static void seats_are_made_once_and_for_good(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, 0, "a", 0, rig_handled, NULL);
    rig_stage(r, 1, "b", 0, rig_handled, NULL);
    rig_finish(r);
    struct weir_seat **seats = weir_graph_seats(r->g, 3);
    assert_ptr_equal(seats[1]->stage, &r->g->stages[1]);
    assert_ptr_equal(weir_graph_seats(r->g, 3), seats);
    rig_destroy(r);
}

/* The runtime ends the workers when this says 0: it must not by chance, while events move between workers. */
static void what_is_in_flight_counts_from_acceptance_to_end(void **state)
{
    (void)state;
    struct rig *r = rig_create(2, 1);
    rig_pool(r, 0, "main", 2, false);
    rig_stage(r, 0, "feed", 0, rig_handled, NULL);
    rig_stage(r, 1, "work", 0, rig_handled, NULL)->queue.keys.by = WEIR_BY_KEY;
    rig_wire_one(r, 0, "out", 1);
    rig_finish(r);
    struct weir_worker *w = rig_worker(r, 0), *other = rig_worker(r, 0);
    struct weir_event *ev;
    assert_int_equal(weir_graph_in_flight(r->g), 0);
    rig_emit_value(w, 0, 1);
    assert_int_equal(weir_graph_in_flight(r->g), 1);
    weir_worker_flush(w);
    assert_int_equal(rig_take(other, 1, &ev, 1), 1);
    assert_int_equal(weir_graph_in_flight(r->g), 1);
    assert_true(weir_seat_begin(other->seats[1], ev));
    assert_int_equal(weir_graph_in_flight(r->g), 1);
    weir_seat_end(other->seats[1], ev, WEIR_REASON_NONE, NULL);
    assert_int_equal(weir_graph_in_flight(r->g), 0);
    rig_worker_end(other);
    rig_worker_end(w);
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ranks_go_from_downstream_up),         TEST(slots_have_room_to_grow),
        TEST(more_than_can_be_counted_is_refused), TEST(building_survives_any_failed_allocation),
        TEST(seats_are_made_once_and_for_good),    TEST(what_is_in_flight_counts_from_acceptance_to_end),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
