#include "io/process.h"

#include "holder_fixture.h"
#include "loop_fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/fault.h"

static struct bench b;

static int set_up(void **state)
{
    (void)state;
    bench_open(&b);
    return 0;
}

static int tear_down(void **state)
{
    bench_close(&b);
    return test_teardown(state);
}

static void on_done(struct weir_process *p)
{
    *(bool *)p->arg = true;
}

static bool is_set(void *arg)
{
    return *(bool *)arg;
}

static struct weir_process *start(const char *script, struct weir_process_options o, bool *done)
{
    char *argv[] = {(char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c", (char *)(uintptr_t)script, NULL}; /* nobody writes to them */
    struct weir_process *p = NULL;
    struct weir_err err;
    const char *code;
    o.argv = argv;
    o.max_output = o.max_output != 0 ? o.max_output : 1 << 20;
    *done = false;
    if (weir_process_start(b.w, &o, on_done, done, &p, &code, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    return p;
}

static void run(const char *script, struct weir_process_options o, struct weir_process **ret)
{
    bool done;
    *ret = start(script, o, &done);
    bench_until(&b, is_set, &done);
}

static bool equals(const struct weir_strbuf *got, const char *expected)
{
    return got->len == strlen(expected) && (got->len == 0 || memcmp(got->data, expected, got->len) == 0);
}

static void its_input_output_and_end_are_told(void **state)
{
    (void)state;
    struct weir_process *p;
    run("cat; echo error >&2; exit 3", (struct weir_process_options){.input = "in\n", .input_len = 3}, &p);
    assert_int_equal(p->status, 3);
    assert_int_equal(p->signal, 0);
    assert_null(p->code);
    assert_true(equals(&p->output, "in\n"));
    assert_true(equals(&p->errors, "error\n"));
    weir_process_close(p);
    run("kill -SEGV $$", (struct weir_process_options){.cwd = NULL}, &p);
    assert_int_equal(p->signal, SIGSEGV);
    weir_process_close(p);
}

static void it_inherits_only_what_it_is_given(void **state)
{
    (void)state;
    char *env[] = {(char *)(uintptr_t)"ONE=1", NULL};
    struct weir_process *p;
    int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
    assert_true(leak > 2);
    run("echo $ONE$HOME; pwd; ls /proc/self/fd | tr '\\n' ' '", (struct weir_process_options){.env = env, .cwd = "/proc"}, &p);
    assert_true(equals(&p->output, "1\n/proc\n0 1 2 3 ")); /* 3: the folder that ls reads */
    weir_process_close(p);
    close(leak);
}

static void the_clock_ends_it(void **state)
{
    (void)state;
    bool done;
    struct weir_process *p = start("sleep 1000", (struct weir_process_options){.timeout_ns = WEIR_NS_PER_S}, &done);
    rig_advance(b.w, WEIR_NS_PER_S);
    bench_until(&b, is_set, &done);
    assert_string_equal(p->code, "TIMEOUT");
    assert_int_equal(p->signal, SIGTERM);
    weir_process_close(p);
}

static bool has_output(void *arg)
{
    return ((const struct weir_process *)arg)->output.len > 0;
}

static void one_that_ignores_it_is_killed(void **state)
{
    (void)state;
    bool done;
    struct weir_process *p =
        start("trap '' TERM; echo x; while :; do sleep 1000; done", (struct weir_process_options){.timeout_ns = WEIR_NS_PER_S}, &done);
    bench_until(&b, has_output, p); /* it ignores TERM now */
    rig_advance(b.w, WEIR_NS_PER_S);
    rig_run(b.w);
    rig_advance(b.w, 2 * WEIR_NS_PER_S);
    bench_until(&b, is_set, &done);
    assert_int_equal(p->signal, SIGKILL);
    assert_string_equal(p->code, "TIMEOUT");
    weir_process_close(p);
}

static bool is_gone(void *pid)
{
    return kill(*(pid_t *)pid, 0) != 0;
}

static void closing_one_that_was_told_to_end_does_not_spare_it(void **state)
{
    (void)state;
    bool done;
    struct weir_process *p =
        start("trap '' TERM; echo $$; while :; do sleep 1000; done", (struct weir_process_options){.timeout_ns = WEIR_NS_PER_S}, &done);
    bench_until(&b, has_output, p);
    pid_t pid = (pid_t)strtol(p->output.data, NULL, 10);
    rig_advance(b.w, WEIR_NS_PER_S);
    rig_run(b.w); /* TERM, which it ignores */
    weir_process_close(p);
    rig_advance(b.w, 2 * WEIR_NS_PER_S);
    bench_until(&b, is_gone, &pid);
}

static void too_much_output_ends_it(void **state)
{
    (void)state;
    struct weir_process *p;
    run("yes", (struct weir_process_options){.max_output = 100000}, &p);
    assert_string_equal(p->code, "TOO_LARGE");
    assert_true(p->output.cap < 1 << 20);
    weir_process_close(p);
}

static void its_input_and_output_are_held(void **state)
{
    (void)state;
    struct counting c = COUNTING(200000);
    struct weir_process *p;
    run("cat", (struct weir_process_options){.holder = &c.holder, .input = "in\n", .input_len = 3}, &p);
    assert_int_equal(p->output.len, 3);
    assert_true(c.held >= p->output.cap);
    weir_process_close(p);
    assert_int_equal(c.held, 0);
    run("head -c 500000 /dev/zero", (struct weir_process_options){.holder = &c.holder}, &p);
    assert_string_equal(p->code, "ENOMEM");
    assert_true(c.most <= 200000);
    weir_process_close(p);
    assert_int_equal(c.held, 0);
    char *argv[] = {(char *)(uintptr_t)"true", NULL}, *much = calloc(1, 300000);
    assert_non_null(much);
    struct weir_process_options o = {.argv = argv, .holder = &c.holder, .input = much, .input_len = 300000};
    struct weir_err err;
    const char *code;
    assert_int_equal(weir_process_start(b.w, &o, on_done, NULL, &p, &code, &err), WEIR_E_LIMIT);
    free(much);
}

static void what_it_leaves_behind_is_not_waited_for(void **state)
{
    (void)state;
    struct weir_process *p;
    run("sleep 30 & echo early", (struct weir_process_options){.cwd = NULL}, &p);
    assert_true(equals(&p->output, "early\n"));
    weir_process_close(p);
}

static void a_closed_one_is_ended_and_so_is_one_of_a_worker_that_leaves(void **state)
{
    (void)state;
    static bool done; /* never set: nobody waits */
    weir_process_close(start("sleep 1000", (struct weir_process_options){.cwd = NULL}, &done));
    weir_process_close(start("trap '' TERM; sleep 1000 & wait", (struct weir_process_options){.cwd = NULL}, &done));
    bench_turn(&b);
    assert_false(done); /* the teardown's worker waits for both, and looks at the memory */
}

static void a_program_that_is_not_there_has_a_name(void **state)
{
    (void)state;
    char *argv[] = {(char *)(uintptr_t)"no-such-program", NULL};
    struct weir_process_options o = {.argv = argv, .input = "x", .input_len = 1};
    struct weir_process *p = NULL;
    struct weir_err err;
    const char *code;
    assert_int_equal(weir_process_start(b.w, &o, on_done, NULL, &p, &code, &err), WEIR_E_IO);
    assert_null(p);
    assert_string_equal(code, "ENOENT");
    assert_string_equal(err.text, "no-such-program: No such file or directory");
}

/* It runs by then, and nothing could be heard of it. */
static void a_program_that_can_not_be_watched_is_ended(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    char *argv[] = {(char *)(uintptr_t)"sleep", (char *)(uintptr_t)"1000", NULL};
    struct weir_process_options o = {.argv = argv, .input = "x", .input_len = 1, .timeout_ns = WEIR_NS_PER_S};
    struct weir_process *p = NULL;
    struct weir_err err;
    const char *code;
    weir_fault_arm(WEIR_FAULT_POLL_INIT, 1);
    assert_int_equal(weir_process_start(b.w, &o, on_done, NULL, &p, &code, &err), WEIR_E_IO);
    assert_null(p);
    assert_string_equal(code, "ENOMEM");
    assert_string_equal(err.text, "sleep: can't be watched: Cannot allocate memory");
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    char *argv[] = {(char *)(uintptr_t)"true", NULL};
    struct weir_process_options o = {.argv = argv, .input = "x", .input_len = 1, .timeout_ns = 1};
    struct weir_err err;
    const char *code;
    int rc = WEIR_E_NOMEM;
    bool done = false;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_process *p = NULL;
        weir_mem_fail_after(n);
        rc = weir_process_start(b.w, &o, on_done, &done, &p, &code, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && p == NULL && strcmp(code, "ENOMEM") == 0));
        if (rc == WEIR_OK)
            bench_until(&b, is_set, &done);
        weir_process_close(p);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(its_input_output_and_end_are_told),
        CASE(it_inherits_only_what_it_is_given),
        CASE(the_clock_ends_it),
        CASE(one_that_ignores_it_is_killed),
        CASE(closing_one_that_was_told_to_end_does_not_spare_it),
        CASE(too_much_output_ends_it),
        CASE(its_input_and_output_are_held),
        CASE(what_it_leaves_behind_is_not_waited_for),
        CASE(a_closed_one_is_ended_and_so_is_one_of_a_worker_that_leaves),
        CASE(a_program_that_is_not_there_has_a_name),
        CASE(a_program_that_can_not_be_watched_is_ended),
        CASE(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
