#include "io/null_sink.h"

#include "config/types.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, END };

static struct rig *with_sink(void)
{
    struct rig *r = rig_create(2, 1);
    struct weir_err err;
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, FEED, "feed", 0, rig_handled, NULL);
    struct weir_stage *end = rig_stage_defaults(r, END, "end", 0);
    end->kind = WEIR_STAGE_SINK;
    assert_int_equal(weir_null_sink_open(end, NULL, &end->handler, &err), WEIR_OK);
    rig_wire_one(r, FEED, "out", END);
    rig_finish(r);
    return r;
}

static void its_type_takes_no_options(void **state)
{
    (void)state;
    assert_string_equal(weir_null_sink_type.name, "null");
    assert_int_equal(weir_null_sink_type.kind, WEIR_APP_SINK);
    assert_int_equal(weir_null_sink_type.option_count, 0);
}

static void every_event_is_handled(void **state)
{
    (void)state;
    struct rig *r = with_sink();
    struct weir_worker *w = rig_worker(r, 0);
    for (int i = 0; i < 200; i++) /* more than a batch */
        assert_int_equal(rig_emit_value(w, FEED, i), WEIR_VERDICT_ACCEPTED);
    rig_run(w);
    struct weir_ledger_sum l = rig_ledger(r, END);
    assert_int_equal(l.handled, 200);
    assert_int_equal(l.failed + l.dropped + l.expired, 0);
    rig_worker_end(w);
    rig_destroy(r);
}

static void an_event_that_came_too_late_is_expired_and_the_others_are_not(void **state)
{
    (void)state;
    struct rig *r = with_sink();
    struct weir_worker *w = rig_worker(r, 0);
    struct weir_event *late = rig_event(w, 1);
    late->deadline_ns = w->now_ns + 1000;
    assert_int_equal(rig_emit(w, FEED, late), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_emit_value(w, FEED, 2), WEIR_VERDICT_ACCEPTED);
    rig_advance(w, 2000);
    rig_run(w);
    struct weir_ledger_sum l = rig_ledger(r, END);
    assert_int_equal(l.expired, 1);
    assert_int_equal(l.reasons[WEIR_REASON_DEADLINE], 1);
    assert_int_equal(l.handled, 1);
    rig_worker_end(w);
    rig_destroy(r);
}

static void a_request_that_reaches_it_stays_unanswered(void **state)
{
    (void)state;
    struct rig *r = with_sink();
    struct weir_worker *w = rig_worker(r, 0);
    struct rig_request q;
    struct weir_event *ev = rig_event(w, 1);
    rig_request_init(&q);
    ev->request = &q.r;
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    rig_run(w);
    rig_request_check(&q, WEIR_REQUEST_UNANSWERED);
    rig_worker_end(w);
    rig_destroy(r);
}

static void a_cancel_finds_nothing_to_end(void **state)
{
    (void)state;
    struct rig *r = with_sink();
    struct weir_worker *w = rig_worker(r, 0);
    struct weir_handler *h = w->seats[END]->handler;
    rig_emit_value(w, FEED, 1);
    rig_run(w);
    h->ops->cancel(h);
    h->ops->cancel(h);
    assert_int_equal(rig_ledger(r, END).handled, 1);
    assert_true(h->ops->memory(h) > 0);
    rig_worker_end(w);
    rig_destroy(r);
}

static void making_one_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct rig *r = with_sink();
    struct weir_worker *w = rig_worker(r, 0);
    struct weir_handler_maker *m = &r->g->stages[END].handler;
    struct weir_err err;
    long before = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_handler *h = NULL;
        weir_mem_fail_after(n);
        rc = m->make(m->self, w->seats[END], &h, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && h == NULL));
        if (rc == WEIR_OK) {
            assert_true(n > 0);
            h->ops->close(h);
        }
        assert_int_equal(weir_mem_live(), before);
    }
    rig_worker_end(w);
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(its_type_takes_no_options),
        TEST(every_event_is_handled),
        TEST(an_event_that_came_too_late_is_expired_and_the_others_are_not),
        TEST(a_request_that_reaches_it_stays_unanswered),
        TEST(a_cancel_finds_nothing_to_end),
        TEST(making_one_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
