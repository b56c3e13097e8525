/* The word that says what sources and workers do under pressure. */
#include "test.h"

#include "core/relief.h"
#include "core/stage.h"
#include "io/feed.h"
#include "support.h"

enum { SOURCE, FIRST, SECOND, STAGES };

static struct rig *make_rig(enum weir_overflow overflow)
{
    struct rig *r = rig_create(STAGES, 1);
    rig_pool(r, 0, "main", 1, false);
    rig_stage(r, SOURCE, "source", 0, rig_handled, NULL);
    rig_stage(r, FIRST, "first", 0, rig_forwarded, NULL)->queue.overflow.policy = overflow;
    rig_stage(r, SECOND, "second", 0, rig_handled, NULL);
    rig_wire_one(r, SOURCE, "out", FIRST);
    rig_wire_one(r, FIRST, "out", SECOND);
    r->g->class_count = 4;
    rig_finish(r);
    return r;
}

/* The stage is a source once it has what a rig gives to handlers, and until that is taken back. */
static struct weir_worker *make_worker(struct rig *r)
{
    struct weir_worker *w = rig_worker(r, 0);
    r->g->stages[SOURCE].kind = WEIR_STAGE_SOURCE;
    return w;
}

static void end(struct rig *r, struct weir_worker *w)
{
    r->g->stages[SOURCE].kind = WEIR_STAGE_HANDLER;
    rig_worker_end(w);
    rig_destroy(r);
}

static enum weir_verdict emit(struct weir_worker *w, uint8_t class_index, struct rig_request *q)
{
    struct weir_event *ev = rig_event(w, 1);
    ev->class_index = class_index;
    ev->request = q != NULL ? &q->r : NULL;
    return rig_emit(w, SOURCE, ev);
}

static void shed(struct rig *r, unsigned classes)
{
    weir_relief_set(r->g, &(struct weir_relief_levels){.shed = classes});
}

static void the_lowest_classes_are_refused_at_sources_and_counted(void **state)
{
    (void)state;
    struct rig *r = make_rig(WEIR_OVERFLOW_REJECT);
    struct weir_worker *w = make_worker(r);
    for (unsigned n = 0; n <= 5; n++) {
        shed(r, n);
        for (uint8_t class_index = 0; class_index < 4; class_index++) {
            bool refused = class_index > 0 && class_index + n >= 4; /* the highest never is */
            assert_int_equal(emit(w, class_index, NULL), refused ? WEIR_VERDICT_REJECTED : WEIR_VERDICT_ACCEPTED);
        }
    }
    rig_run(w);
    struct weir_ledger_sum l = rig_ledger(r, FIRST);
    assert_int_equal(l.offered, 24);
    assert_int_equal(l.rejected, 0 + 1 + 2 + 3 + 3 + 3);
    assert_int_equal(l.reasons[WEIR_REASON_OVERLOAD], l.rejected);
    assert_int_equal(l.handled, 24 - l.rejected);
    assert_int_equal(rig_ledger(r, SECOND).rejected, 0); /* what is in goes on */
    shed(r, 0);
    end(r, w);
}

static void what_was_let_in_goes_on_from_stage_to_stage(void **state)
{
    (void)state;
    struct rig *r = make_rig(WEIR_OVERFLOW_REJECT);
    struct weir_worker *w = make_worker(r);
    assert_int_equal(emit(w, 3, NULL), WEIR_VERDICT_ACCEPTED);
    shed(r, 3);
    rig_run(w);
    assert_int_equal(rig_ledger(r, SECOND).handled, 1);
    end(r, w);
}

static void a_refused_request_is_given_up_as_refused(void **state)
{
    (void)state;
    struct rig *r = make_rig(WEIR_OVERFLOW_REJECT);
    struct weir_worker *w = make_worker(r);
    struct rig_request q;
    rig_request_init(&q);
    shed(r, 1);
    assert_int_equal(emit(w, 3, &q), WEIR_VERDICT_REJECTED);
    assert_true(q.r.refused);
    assert_int_equal(q.r.refusal.reason, WEIR_REASON_OVERLOAD);
    assert_ptr_equal(q.r.refusal.stage, &r->g->stages[FIRST]);
    rig_request_check(&q, WEIR_REQUEST_REFUSED);
    end(r, w);
}

static void batches_shrink_to_one_at_least(void **state)
{
    (void)state;
    struct rig *r = make_rig(WEIR_OVERFLOW_REJECT);
    assert_int_equal(weir_relief_batch(r->g, 64), 64);
    for (unsigned n = 0; n < 10; n++) {
        weir_relief_set(r->g, &(struct weir_relief_levels){.shrink = n, .stop = true});
        assert_int_equal(weir_relief_batch(r->g, 64), n < 6 ? 64U >> n : 1);
        assert_int_equal(weir_relief_batch(r->g, 1), 1);
        assert_true(weir_relief_stops(r->g));
        assert_false(weir_relief_closes(r->g));
        assert_false(weir_relief_sheds_class(r->g, 3));
    }
    rig_destroy(r);
}

static int resumed;

static void on_resume(struct weir_feed *f)
{
    assert_int_equal(f->verdict, WEIR_VERDICT_ACCEPTED);
    resumed++;
}

/* A source that can wait, since its stage says `wait`, loses nothing. */
static void a_feed_that_may_wait_is_held(void **state)
{
    (void)state;
    struct rig *r = make_rig(WEIR_OVERFLOW_WAIT);
    struct weir_worker *w = make_worker(r);
    struct weir_feed f;
    enum weir_verdict verdict;
    resumed = 0;
    r->g->default_class = 3;
    weir_feed_init(&f, w->seats[SOURCE], &r->g->stages[SOURCE].ports[0], on_resume);
    shed(r, 1);
    assert_int_equal(weir_feed_send(&f, (struct weir_value){.kind = WEIR_VALUE_INT, .integer = 1}, &verdict), WEIR_OK);
    assert_int_equal(verdict, WEIR_VERDICT_PENDING);
    for (int i = 0; i < 20; i++) {
        rig_advance(w, 30 * WEIR_NS_PER_MS);
        rig_run(w);
        assert_true(weir_feed_waiting(&f));
        if (i == 10)
            weir_relief_set(r->g, &(struct weir_relief_levels){.stop = true}); /* for another reason */
    }
    assert_int_equal(rig_ledger(r, FIRST).offered, 0);
    shed(r, 0);
    rig_advance(w, 60 * WEIR_NS_PER_MS);
    rig_run(w);
    assert_int_equal(resumed, 1);
    assert_int_equal(rig_ledger(r, FIRST).handled, 1);
    assert_int_equal(rig_ledger(r, FIRST).rejected, 0);

    shed(r, 1); /* held at the end: freed, with its timer */
    assert_int_equal(weir_feed_send(&f, (struct weir_value){.kind = WEIR_VALUE_INT, .integer = 2}, &verdict), WEIR_OK);
    assert_int_equal(verdict, WEIR_VERDICT_PENDING);
    weir_feed_fini(&f);
    end(r, w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_lowest_classes_are_refused_at_sources_and_counted),
        TEST(what_was_let_in_goes_on_from_stage_to_stage),
        TEST(a_refused_request_is_given_up_as_refused),
        TEST(batches_shrink_to_one_at_least),
        TEST(a_feed_that_may_wait_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
