#include "core/failures.h"

#include <stdio.h>
#include <string.h>

#include "core/pool.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, WORK, AUDIT, STAGES };

static struct rig *rig;
static struct weir_worker *w;

static int open_rig(void **state)
{
    (void)state;
    rig = rig_create(STAGES, 1);
    rig_pool(rig, 0, "main", 2, false);
    rig_stage(rig, FEED, "feed", 0, rig_handled, NULL);
    rig_stage(rig, WORK, "work", 0, rig_handled, NULL)->generation = 7;
    rig_stage(rig, AUDIT, "audit", 0, rig_handled, NULL)->queue.capacity = 2;
    rig->g->stages[WORK].on_error.target = &rig->g->stages[AUDIT];
    rig_wire_one(rig, FEED, "out", WORK);
    rig_finish(rig);
    w = rig_worker(rig, 0);
    return 0;
}

static int close_rig(void **state)
{
    rig_worker_end(w);
    rig_destroy(rig);
    return test_teardown(state);
}

static void end_one(struct weir_event *ev, enum weir_reason reason, const char *error)
{
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_take(w, WORK, &ev, 1), 1);
    assert_true(weir_seat_begin(w->seats[WORK], ev));
    weir_seat_end(w->seats[WORK], ev, reason, error);
}

static struct weir_event *event_with(const void *bytes, size_t len)
{
    struct weir_event *ev = rig_event_sized(w, len);
    memcpy(ev->value.blob->data, bytes, len);
    return ev;
}

static size_t read_all(const struct weir_stage *stage, struct weir_failure *out, size_t max)
{
    return weir_failures_read(rig->g->failures, stage, out, max);
}

static void failed_events_are_kept_newest_first(void **state)
{
    (void)state;
    struct weir_failure f[4];
    end_one(rig_event(w, 1), WEIR_REASON_NONE, NULL);
    end_one(rig_event(w, 2), WEIR_REASON_DEADLINE, "ended: its deadline passed"); /* expired, not failed */
    end_one(rig_event(w, 3), WEIR_REASON_ERROR, "work.lua:3: oops");
    end_one(rig_event(w, 4), WEIR_REASON_CPU, NULL);
    assert_int_equal(read_all(NULL, f, 4), 2);
    assert_int_equal(f[0].reason, WEIR_REASON_CPU);
    assert_int_equal(f[0].number, 2);
    assert_null(f[0].text);
    assert_int_equal(f[1].reason, WEIR_REASON_ERROR);
    assert_string_equal(f[1].text, "work.lua:3: oops");
    assert_int_equal(f[1].value.integer, 3);
    assert_int_equal(f[1].generation, 7);
    assert_ptr_equal(f[1].stage, &rig->g->stages[WORK]);
    assert_true(f[1].wall_ns > 1600000000 * WEIR_NS_PER_S);
    weir_failure_fini(&f[0]);
    weir_failure_fini(&f[1]);
    assert_int_equal(read_all(&rig->g->stages[AUDIT], f, 4), 0);
    assert_int_equal(read_all(&rig->g->stages[WORK], f, 1), 1);
    assert_int_equal(f[0].number, 2);
    weir_failure_fini(&f[0]);
}

static void only_the_last_ones_are_kept_and_no_more_memory(void **state)
{
    (void)state;
    static struct weir_failure f[WEIR_FAILURES_KEPT + 1];
    long live = 0;
    rig->g->stages[WORK].on_error.target = NULL;
    for (int i = 0; i < 3 * WEIR_FAILURES_KEPT; i++) {
        end_one(event_with("\xa3" "abc", 4), WEIR_REASON_ERROR, "text");
        if (i == WEIR_FAILURES_KEPT)
            live = weir_mem_live();
    }
    assert_int_equal(weir_mem_live(), live);
    assert_int_equal(read_all(NULL, f, WEIR_FAILURES_KEPT + 1), WEIR_FAILURES_KEPT);
    for (unsigned i = 0; i < WEIR_FAILURES_KEPT; i++) {
        assert_int_equal(f[i].number, 3 * WEIR_FAILURES_KEPT - i);
        weir_failure_fini(&f[i]);
    }
}

static void long_texts_are_cut_and_large_values_left_out(void **state)
{
    (void)state;
    struct weir_failure f[2];
    static char text[2 * WEIR_FAILURE_TEXT_MAX];
    memset(text, 'x', sizeof text - 1);
    rig->g->stages[WORK].on_error.target = NULL;
    end_one(rig_event_sized(w, WEIR_FAILURE_VALUE_MAX), WEIR_REASON_ERROR, text);
    end_one(rig_event_sized(w, WEIR_FAILURE_VALUE_MAX + 1), WEIR_REASON_ERROR, NULL);
    assert_int_equal(read_all(NULL, f, 2), 2);
    assert_int_equal(f[0].value.kind, WEIR_VALUE_NIL);
    assert_int_equal(f[0].value_bytes, WEIR_FAILURE_VALUE_MAX + 1);
    assert_int_equal(f[1].value.kind, WEIR_VALUE_BYTES);
    assert_int_equal(strlen(f[1].text), WEIR_FAILURE_TEXT_MAX);
    weir_failure_fini(&f[0]);
    weir_failure_fini(&f[1]);
}

/* ---- on_error ---- */

/* The JSON of what waits at AUDIT; to be freed. */
static char *audited(void)
{
    struct weir_event *ev;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    assert_int_equal(rig_take(w, AUDIT, &ev, 1), 1);
    assert_null(ev->request);
    assert_true(ev->value.kind == WEIR_VALUE_BYTES && weir_value_check(ev->value.blob->data, ev->value.blob->len));
    weir_value_print(ev->value, &out);
    rig_finish_event(w, AUDIT, ev);
    return weir_strbuf_take(&out);
}

static void must_audit(struct weir_event *ev, enum weir_reason reason, const char *error, const char *rest)
{
    char expected[512];
    uint64_t id = ev->id;
    end_one(ev, reason, error);
    char *json = audited();
    snprintf(expected, sizeof expected, "{\"stage\":\"work\",\"reason\":\"%s\",\"generation\":7,\"id\":%llu,%s}",
             weir_reason_text(reason), (unsigned long long)id, rest);
    assert_string_equal(json, expected);
    weir_free(json);
}

static void a_failed_event_is_offered_to_the_on_error_stage(void **state)
{
    (void)state;
    must_audit(rig_event(w, -5), WEIR_REASON_ERROR, "work.lua:1: no", "\"error\":\"work.lua:1: no\",\"event\":-5");
    must_audit(rig_event(w, 5), WEIR_REASON_STALL, NULL, "\"event\":5");
    struct weir_event *ev = rig_event(w, 0);
    ev->value = WEIR_VALUE_NOTHING;
    must_audit(ev, WEIR_REASON_WALL, NULL, "\"event\":null");
    ev = rig_event(w, 0);
    ev->value = (struct weir_value){.kind = WEIR_VALUE_FLOAT, .number = 0.5};
    must_audit(ev, WEIR_REASON_CPU, NULL, "\"event\":0.5");
    ev = rig_event(w, 0);
    ev->value = (struct weir_value){.kind = WEIR_VALUE_BOOL, .boolean = true};
    must_audit(ev, WEIR_REASON_MEMORY, NULL, "\"event\":true");
    ev = rig_event(w, 0);
    ev->value = (struct weir_value){.kind = WEIR_VALUE_REQUEST};
    must_audit(ev, WEIR_REASON_ERROR, NULL, "\"event\":\"<request>\"");
    must_audit(event_with("\x82\xa1" "a\x93\x01\xc2\xc7\x00\x01\xa1" "b\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00", 20), WEIR_REASON_ERROR,
               NULL, "\"event\":{\"a\":[1,false,\"<request>\"],\"b\":0.5}");
    assert_int_equal(rig_ledger(rig, AUDIT).handled, 7);
    assert_int_equal(rig_ledger(rig, WORK).failed, 7);
    rig_check_ledger(rig, WORK);
    rig_check_ledger(rig, AUDIT);
}

static void only_failed_events_are_offered(void **state)
{
    (void)state;
    end_one(rig_event(w, 1), WEIR_REASON_NONE, NULL);
    end_one(rig_event(w, 1), WEIR_REASON_DEADLINE, NULL);
    end_one(rig_event(w, 1), WEIR_REASON_GONE, NULL);
    assert_int_equal(rig_ledger(rig, AUDIT).offered, 0);
    assert_int_equal(rig_ledger(rig, WORK).expired, 2);
}

static void it_is_offered_without_deadline_and_request(void **state)
{
    (void)state;
    struct rig_request request;
    struct weir_event *ev = rig_event(w, 1), *out;
    rig_request_init(&request);
    ev->request = &request.r;
    ev->deadline_ns = w->now_ns + 100;
    ev->source = 77;
    uint64_t arrival = ev->arrival_ns;
    assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    assert_int_equal(rig_take(w, WORK, &ev, 1), 1);
    assert_true(weir_seat_begin(w->seats[WORK], ev));
    rig_advance(w, 200);
    weir_seat_end(w->seats[WORK], ev, WEIR_REASON_WALL, NULL);
    rig_request_check(&request, WEIR_REQUEST_FAILED);
    assert_int_equal(rig_take(w, AUDIT, &out, 1), 1);
    assert_int_equal(out->deadline_ns, 0);
    assert_null(out->request);
    assert_int_equal(out->source, 77);
    assert_int_equal(out->arrival_ns, arrival);
    rig_finish_event(w, AUDIT, out);
}

static void a_full_on_error_stage_refuses_even_if_it_lets_others_wait(void **state)
{
    (void)state;
    rig->g->stages[WORK].on_error.overflow.policy = WEIR_OVERFLOW_WAIT;
    for (int i = 0; i < 3; i++)
        end_one(rig_event(w, i), WEIR_REASON_ERROR, NULL);
    struct weir_ledger_sum sum = rig_ledger(rig, AUDIT);
    assert_int_equal(sum.accepted, 2);
    assert_int_equal(sum.waiting, 0);
    assert_int_equal(sum.reasons[WEIR_REASON_FULL], 1);
    assert_int_equal(rig_ledger(rig, WORK).failed, 3);
    rig_check_ledger(rig, AUDIT);
}

static void too_deep_a_value_is_left_out(void **state)
{
    (void)state;
    unsigned char nested[WEIR_VALUE_MAX_DEPTH + 1];
    memset(nested, 0x91, sizeof nested); /* [[[…]]] */
    nested[WEIR_VALUE_MAX_DEPTH] = 1;
    must_audit(event_with(nested + 1, WEIR_VALUE_MAX_DEPTH), WEIR_REASON_ERROR, NULL,
               "\"event\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"); /* 29 of them, in a map */
    struct weir_event *ev = event_with(nested, WEIR_VALUE_MAX_DEPTH + 1);
    end_one(ev, WEIR_REASON_ERROR, NULL);
    char *json = audited();
    assert_null(strstr(json, "event"));
    weir_free(json);
}

static void without_memory_it_is_counted_as_rejected(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    int rejected = 0, accepted = 0;
    rig->g->stages[AUDIT].queue.capacity = 100;
    for (long n = 0; accepted == 0; n++) {
        struct weir_event *ev = event_with("\xa3" "abc", 4);
        assert_int_equal(rig_emit(w, FEED, ev), WEIR_VERDICT_ACCEPTED);
        assert_int_equal(rig_take(w, WORK, &ev, 1), 1);
        assert_true(weir_seat_begin(w->seats[WORK], ev));
        weir_mem_fail_after(n);
        weir_seat_end(w->seats[WORK], ev, WEIR_REASON_ERROR, "text");
        weir_mem_fail_after(-1);
        rig_check_ledger(rig, WORK);
        struct weir_ledger_sum sum = rig_ledger(rig, AUDIT);
        rejected = (int)sum.reasons[WEIR_REASON_NOMEM];
        accepted = (int)sum.accepted;
        assert_int_equal(rejected + accepted, n + 1);
    }
    assert_true(rejected > 0);
}

static void making_them_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    int rc = WEIR_E_NOMEM;
    long before = weir_mem_live();
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_failures *f = NULL;
        weir_mem_fail_after(n);
        rc = weir_failures_create(&f, NULL);
        weir_mem_fail_after(-1);
        assert_true((rc == WEIR_OK) == (f != NULL));
        weir_failures_destroy(f);
        assert_int_equal(weir_mem_live(), before);
    }
}

#define RIGGED(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIGGED(failed_events_are_kept_newest_first),
        RIGGED(only_the_last_ones_are_kept_and_no_more_memory),
        RIGGED(long_texts_are_cut_and_large_values_left_out),
        RIGGED(a_failed_event_is_offered_to_the_on_error_stage),
        RIGGED(only_failed_events_are_offered),
        RIGGED(it_is_offered_without_deadline_and_request),
        RIGGED(a_full_on_error_stage_refuses_even_if_it_lets_others_wait),
        RIGGED(too_deep_a_value_is_left_out),
        RIGGED(without_memory_it_is_counted_as_rejected),
        RIGGED(making_them_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests_name("failures", tests, NULL, NULL);
}
