#include "io/file_sink.h"

#include "base/fault.h"
#include "sink_fixture.h"

static char folder[] = "/tmp/weir-file-sink-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    ignore_sigpipe();
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/out", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char command[80];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* `more`: options beside the path, beginning with a comma. */
static void file_bed(struct bed *b, const char *more, unsigned concurrency)
{
    char options[400];
    unlink(path);
    snprintf(options, sizeof options, "path: '%s'%s", path, more);
    bed_make(b, &weir_file_sink_type, weir_file_sink_open, options, concurrency);
}

static void events_are_handled_once_they_are_in_the_file(void **state)
{
    (void)state;
    struct bed b;
    file_bed(&b, ", flush_after: 0s", 100);
    bed_emits(&b, "hello");
    bed_emits(&b, "");
    rig_emit_value(b.w, FEED, 42);
    bed_until(&b, bed_handled, &(int){3});
    bed_expect_file(path, "hello\n\n42\n");
    assert_int_equal(rig_ledger(b.rig, END).failed, 0);
    bed_end(&b);
}

static void a_batch_waits_for_more_until_its_time_is_over(void **state)
{
    (void)state;
    struct bed b;
    file_bed(&b, ", flush_after: 100ms", 100);
    bed_emits(&b, "a");
    bed_turn(&b);
    rig_advance(b.w, 99 * WEIR_NS_PER_MS);
    bed_emits(&b, "b");
    bed_turn(&b);
    assert_int_equal(rig_ledger(b.rig, END).running, 2);
    bed_expect_file(path, "");
    rig_advance(b.w, WEIR_NS_PER_MS);
    bed_until(&b, bed_handled, &(int){2});
    bed_expect_file(path, "a\nb\n");
    bed_end(&b);
}

static void a_batch_leaves_early_when_it_is_large_or_can_not_grow(void **state)
{
    (void)state;
    struct bed b;
    file_bed(&b, ", flush_after: 1h, buffer: 8", 1000);
    bed_emits(&b, "12345678");
    bed_until(&b, bed_handled, &(int){1});
    bed_end(&b);
    file_bed(&b, ", flush_after: 1h", 3);
    for (int i = 0; i < 3; i++)
        bed_emits(&b, "x");
    bed_until(&b, bed_handled, &(int){3}); /* concurrency is 3: no fourth would come */
    bed_expect_file(path, "x\nx\nx\n");
    bed_end(&b);
}

/* Of one source: none begins before the one before it has ended. */
static void in_an_ordered_queue_nobody_waits_for_a_batch_that_can_not_grow(void **state)
{
    (void)state;
    struct bed b;
    char options[100];
    unlink(path);
    snprintf(options, sizeof options, "path: '%s', flush_after: 1h", path);
    bed_make_by(&b, &weir_file_sink_type, weir_file_sink_open, options, 100, WEIR_BY_SOURCE);
    for (int i = 0; i < 20; i++)
        rig_emit_value(b.w, FEED, i);
    bed_until(&b, bed_handled, &(int){20}); /* by a clock that stands still */
    bed_expect_file(path, "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n");
    bed_end(&b);
}

static void values_take_the_form_that_is_asked_for(void **state)
{
    (void)state;
    struct bed b;
    file_bed(&b, ", flush_after: 0s, encode: json", 100);
    bed_emits(&b, "say \"hi\"");
    rig_emit_value(b.w, FEED, -1);
    bed_until(&b, bed_handled, &(int){2});
    bed_expect_file(path, "\"say \\\"hi\\\"\"\n-1\n");
    bed_end(&b);
    file_bed(&b, ", flush_after: 0s, encode: msgpack, framing: length", 100);
    rig_emit_value(b.w, FEED, 1);
    bed_until(&b, bed_handled, &(int){1});
    char got[32];
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, got, sizeof got), 13);
    assert_memory_equal(got, "\0\0\0\x09\xd3\0\0\0\0\0\0\0\x01", 13);
    close(fd);
    bed_end(&b);
}

static void a_request_has_no_form_and_fails_alone(void **state)
{
    (void)state;
    struct bed b;
    struct rig_request q;
    file_bed(&b, ", flush_after: 0s", 100);
    struct weir_event *ev = weir_event_create(b.w);
    rig_request_init(&q);
    ev->value.kind = WEIR_VALUE_REQUEST;
    ev->request = &q.r;
    assert_int_equal(rig_emit(b.w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    bed_emits(&b, "fine");
    bed_until(&b, bed_handled, &(int){1});
    assert_int_equal(rig_ledger(b.rig, END).reasons[WEIR_REASON_ENCODE], 1);
    rig_request_check(&q, WEIR_REQUEST_FAILED);
    bed_expect_file(path, "fine\n");
    bed_end(&b);
}

static void a_full_device_fails_events_and_the_next_ones_are_tried_again(void **state)
{
    (void)state;
    struct bed b;
    bed_make(&b, &weir_file_sink_type, weir_file_sink_open, "path: /dev/full, flush_after: 0s", 100);
    for (int i = 0; i < 3; i++) {
        bed_emits(&b, "a");
        bed_until(&b, bed_failed, &(int){i + 1});
    }
    assert_int_equal(rig_ledger(b.rig, END).reasons[WEIR_REASON_IO], 3);
    assert_int_equal(rig_ledger(b.rig, END).handled, 0);
    bed_end(&b);
}

static void a_disk_that_fills_up_splits_a_batch(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bed b;
    file_bed(&b, ", flush_after: 1h", 4);
    weir_fault_arm(WEIR_FAULT_WRITE_NOSPC, 2);
    for (int i = 0; i < 4; i++)
        bed_emits(&b, "1234567"); /* 32 bytes; 16 of them find room */
    bed_until(&b, bed_at_rest, NULL);
    assert_int_equal(rig_ledger(b.rig, END).handled, 2);
    assert_int_equal(rig_ledger(b.rig, END).reasons[WEIR_REASON_IO], 2);
    bed_expect_file(path, "1234567\n1234567\n");
    bed_end(&b);
}

static void a_rotation_loses_nothing(void **state)
{
    (void)state;
    struct bed b;
    file_bed(&b, ", flush_after: 0s", 10000);
    struct weir_handler_maker *m = &b.rig->g->stages[END].handler;
    char command[300];
    for (int i = 0; i < 500; i++) {
        rig_emit_value(b.w, FEED, i);
        if (i % 100 == 50) { /* some are under way, some are not */
            bed_turn(&b);
            snprintf(command, sizeof command, "%s.%d", path, i);
            assert_int_equal(rename(path, command), 0);
            m->reopen(m->self);
        }
        while (i % 100 == 99 && access(path, F_OK) < 0)
            bed_turn(&b); /* there must be something to rename */
    }
    bed_until(&b, bed_handled, &(int){500});
    snprintf(command, sizeof command, "test $(cat %s %s.* | sort -nu | wc -l) = 500", path, path);
    assert_int_equal(system(command), 0);
    bed_end(&b);
}

static void a_cancel_ends_what_is_kept_wherever_it_is(void **state)
{
    (void)state;
    struct bed b;
    file_bed(&b, ", flush_after: 1h", 100);
    for (int i = 0; i < 10; i++)
        bed_emits(&b, "kept");
    bed_turn(&b);
    assert_int_equal(rig_ledger(b.rig, END).running, 10);
    struct weir_handler *h = b.w->seats[END]->handler;
    h->ops->cancel(h);
    h->ops->cancel(h);
    assert_int_equal(rig_ledger(b.rig, END).reasons[WEIR_REASON_CANCELLED], 10);
    bed_emits(&b, "after"); /* it still works */
    bed_turn(&b);
    rig_advance(b.w, 3601 * WEIR_NS_PER_S);
    bed_until(&b, bed_handled, &(int){1});
    bed_expect_file(path, "after\n");
    bed_end(&b);
}

/* A named pipe that nobody reads takes so much, then the writer waits. */
static void a_cancel_does_not_wait_for_a_reader(void **state)
{
    (void)state;
    struct bed b;
    char fifo[80], options[200], command[100];
    snprintf(fifo, sizeof fifo, "%s/pipe", folder);
    snprintf(command, sizeof command, "mkfifo %s", fifo);
    assert_int_equal(system(command), 0);
    int reader = open(fifo, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    snprintf(options, sizeof options, "path: '%s', flush_after: 0s", fifo);
    bed_make(&b, &weir_file_sink_type, weir_file_sink_open, options, 100);
    static char large[50000];
    memset(large, 'x', sizeof large);
    for (int i = 0; i < 10; i++) {
        bed_emit(&b, large, sizeof large);
        bed_turn(&b);
    }
    assert_true(rig_ledger(b.rig, END).running >= 8);
    struct weir_handler *h = b.w->seats[END]->handler;
    assert_true(h->ops->memory(h) > sizeof large);
    h->ops->cancel(h);
    assert_int_equal(rig_ledger(b.rig, END).running, 0);
    bed_end(&b);
    close(reader);
}

static void what_can_not_be_opened_is_an_error_with_stage_and_path(void **state)
{
    (void)state;
    struct weir_app *app = bed_options(&weir_file_sink_type, "path: /nowhere/at/all");
    struct weir_handler_maker m = {0};
    struct weir_stage stage = {.name = "end"};
    struct weir_err err;
    assert_int_equal(weir_file_sink_open(&stage, app->stages[1].options, &m, &err), WEIR_E_IO);
    assert_non_null(strstr(err.text, "stage 'end'"));
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    assert_non_null(strstr(err.text, "No such file"));
    weir_app_free(app);
    app = bed_options(&weir_file_sink_type, "path: /tmp/x, encode: msgpack");
    assert_int_equal(weir_file_sink_open(&stage, app->stages[1].options, &m, &err), WEIR_E_CONFIG);
    assert_non_null(strstr(err.text, "framing: length"));
    weir_app_free(app);
}

static void a_date_that_is_none_is_told_with_its_line(void **state)
{
    (void)state;
    static const char yaml[] = "weir: 1\nstages:\n  end: {sink: file, path: 'a-%q'}\n";
    const struct weir_app_type *list[] = {&weir_file_sink_type};
    const struct weir_app_types types = {.types = list, .count = 1};
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_app *app = NULL;
    struct weir_err err;
    assert_int_equal(
        weir_app_parse(yaml, sizeof yaml - 1, "weir.yaml", "/", NULL, 0, &types, &report, &app, &err),
        WEIR_E_CONFIG);
    assert_non_null(strstr(report.data, "weir.yaml:3:"));
    assert_non_null(strstr(report.data, "'%q'"));
    weir_strbuf_fini(&report);
    weir_app_free(app);
}

static void opening_and_making_survive_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bed b;
    file_bed(&b, "", 100);
    bed_expect_no_leaks(&b, weir_file_sink_open);
    bed_end(&b);
}

static void an_event_that_finds_no_memory_fails_alone(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bed b;
    file_bed(&b, ", flush_after: 0s", 100);
    int handled = 0;
    for (long n = 0; handled == 0; n++) {
        rig_emit_value(b.w, FEED, 7);
        weir_worker_flush(b.w);
        weir_mem_fail_after(n);
        rig_run(b.w);
        weir_mem_fail_after(-1);
        bed_until(&b, bed_at_rest, NULL);
        handled = (int)rig_ledger(b.rig, END).handled;
        assert_int_equal(rig_ledger(b.rig, END).failed, rig_ledger(b.rig, END).reasons[WEIR_REASON_MEMORY]);
        assert_int_equal(rig_ledger(b.rig, END).failed, n + 1 - handled);
    }
    bed_expect_file(path, "7\n");
    bed_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_are_handled_once_they_are_in_the_file),
        TEST(a_batch_waits_for_more_until_its_time_is_over),
        TEST(a_batch_leaves_early_when_it_is_large_or_can_not_grow),
        TEST(in_an_ordered_queue_nobody_waits_for_a_batch_that_can_not_grow),
        TEST(values_take_the_form_that_is_asked_for),
        TEST(a_request_has_no_form_and_fails_alone),
        TEST(a_full_device_fails_events_and_the_next_ones_are_tried_again),
        TEST(a_disk_that_fills_up_splits_a_batch),
        TEST(a_rotation_loses_nothing),
        TEST(a_cancel_ends_what_is_kept_wherever_it_is),
        TEST(a_cancel_does_not_wait_for_a_reader),
        TEST(what_can_not_be_opened_is_an_error_with_stage_and_path),
        TEST(a_date_that_is_none_is_told_with_its_line),
        TEST(opening_and_making_survive_any_failed_allocation),
        TEST(an_event_that_finds_no_memory_fails_alone),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
