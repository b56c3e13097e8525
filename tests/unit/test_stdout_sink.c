#include "io/stdout_sink.h"

#include "sink_fixture.h"

/* The test's own standard output stands aside while a pipe takes its place. */
static int aside = -1;

static int to_pipe(void)
{
    int ends[2];
    fflush(stdout);
    assert_int_equal(pipe(ends), 0);
    aside = dup(STDOUT_FILENO);
    assert_true(dup2(ends[1], STDOUT_FILENO) >= 0);
    close(ends[1]);
    return ends[0];
}

static void to_self(void)
{
    fflush(stdout);
    assert_true(dup2(aside, STDOUT_FILENO) >= 0);
    close(aside);
}

static void events_are_lines_of_the_standard_output(void **state)
{
    (void)state;
    struct bed b;
    char got[64];
    int reader = to_pipe();
    bed_make(&b, &weir_stdout_sink_type, weir_stdout_sink_open, "", 100);
    bed_emits(&b, "one");
    rig_emit_value(b.w, FEED, 2);
    bed_until(&b, bed_handled, &(int){2});
    ssize_t n = read(reader, got, sizeof got);
    bed_end(&b);
    to_self();
    close(reader);
    assert_int_equal(n, 6);
    assert_memory_equal(got, "one\n2\n", 6);
}

static void a_reader_that_does_not_read_leaves_events_running(void **state)
{
    (void)state;
    struct bed b;
    static char large[20000];
    memset(large, 'x', sizeof large);
    int reader = to_pipe();
    bed_make(&b, &weir_stdout_sink_type, weir_stdout_sink_open, "", 8);
    for (int i = 0; i < 20; i++)
        bed_emit(&b, large, sizeof large);
    for (int i = 0; i < 50; i++) {
        bed_turn(&b);
        poll(NULL, 0, 1);
    }
    struct weir_ledger_sum l = rig_ledger(b.rig, END);
    bool stuck = l.running == 8 && l.queued > 0;
    char buffer[4096];
    size_t got = 0;
    fcntl(reader, F_SETFL, O_NONBLOCK);
    while (got < 20 * (sizeof large + 1)) {
        ssize_t n = read(reader, buffer, sizeof buffer);
        got += n > 0 ? (size_t)n : 0;
        bed_turn(&b);
    }
    bed_until(&b, bed_handled, &(int){20});
    bed_end(&b);
    to_self();
    close(reader);
    assert_true(stuck); /* as many as `concurrency`, the rest in the queue */
}

static void a_closed_pipe_fails_events(void **state)
{
    (void)state;
    struct bed b;
    int reader = to_pipe();
    bed_make(&b, &weir_stdout_sink_type, weir_stdout_sink_open, "", 100);
    close(reader);
    for (int i = 0; i < 5; i++) {
        bed_emits(&b, "lost");
        bed_until(&b, bed_failed, &(int){i + 1});
    }
    struct weir_ledger_sum l = rig_ledger(b.rig, END);
    bed_end(&b);
    to_self();
    assert_int_equal(l.reasons[WEIR_REASON_IO], 5);
}

static void several_stages_share_it(void **state)
{
    (void)state;
    struct weir_app *app = bed_options(&weir_stdout_sink_type, "");
    struct weir_stage stage = {.name = "end"};
    struct weir_handler_maker first = {0}, second = {0};
    struct weir_err err;
    int reader = to_pipe();
    int one = weir_stdout_sink_open(&stage, app->stages[1].options, &first, &err);
    int two = weir_stdout_sink_open(&stage, app->stages[1].options, &second, &err);
    first.destroy(first.self);
    second.destroy(second.self);
    to_self();
    close(reader);
    assert_int_equal(one, WEIR_OK);
    assert_int_equal(two, WEIR_OK);
    weir_app_free(app);
}

static void opening_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct weir_app *app = bed_options(&weir_stdout_sink_type, "");
    struct weir_stage stage = {.name = "end"};
    long before = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_handler_maker m = {0};
        struct weir_err err;
        weir_mem_fail_after(n);
        rc = weir_stdout_sink_open(&stage, app->stages[1].options, &m, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && m.self == NULL));
        if (rc == WEIR_OK)
            m.destroy(m.self);
        assert_int_equal(weir_mem_live(), before);
    }
    weir_app_free(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_are_lines_of_the_standard_output),
        TEST(a_reader_that_does_not_read_leaves_events_running),
        TEST(a_closed_pipe_fails_events),
        TEST(several_stages_share_it),
        TEST(opening_survives_any_failed_allocation),
    };
    ignore_sigpipe();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
