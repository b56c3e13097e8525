#include "io/writer.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/fault.h"
#include "sink_fixture.h"

static char folder[] = "/tmp/weir-writer-XXXXXX";
static char path[64], old_path[64];

static int make_folder(void **state)
{
    (void)state;
    ignore_sigpipe();
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/out", folder);
    snprintf(old_path, sizeof old_path, "%s/out.1", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char command[80];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* A writer, and a loop with a box as a worker has them. */
struct bench {
    uv_loop_t loop;
    struct weir_writer *writer;
    struct weir_write_box box;
    struct weir_list done;
};

static void on_done(uv_async_t *wake)
{
    struct bench *b = wake->data;
    weir_writer_collect(b->writer, &b->box, &b->done);
}

static void bench_open(struct bench *b, const struct weir_writer_settings *o)
{
    struct weir_err err;
    if (weir_writer_open(o, &b->writer, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(uv_loop_init(&b->loop), 0);
    weir_list_init(&b->done);
    assert_int_equal(weir_write_box_open(&b->box, &b->loop, on_done), 0);
    b->box.wake.data = b;
}

static void bench_path(struct bench *b)
{
    unlink(path);
    unlink(old_path);
    bench_open(b, &(struct weir_writer_settings){.path = path});
}

static void bench_close(struct bench *b)
{
    weir_write_box_close(b->writer, &b->box, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    weir_writer_close(b->writer, 100);
}

static struct weir_write *frames(struct bench *b, const char *const *texts)
{
    struct weir_write *wr = weir_write_create(&b->box);
    assert_non_null(wr);
    for (size_t i = 0; texts[i] != NULL; i++) {
        weir_strbuf_adds(&wr->bytes, texts[i]);
        assert_true(weir_write_mark(wr));
    }
    return wr;
}

#define FRAMES(b, ...) frames(b, (const char *const[]){__VA_ARGS__, NULL})

static struct weir_write *wait_for(struct bench *b)
{
    while (weir_list_empty(&b->done))
        uv_run(&b->loop, UV_RUN_ONCE);
    return WEIR_LIST_ENTRY(weir_list_take_first(&b->done), struct weir_write, node);
}

/* Submits, waits, and checks what came of it. */
static void submit(struct bench *b, struct weir_write *wr, size_t written, int error)
{
    weir_writer_submit(b->writer, wr);
    assert_ptr_equal(wait_for(b), wr);
    assert_int_equal(wr->written, written);
    assert_int_equal(wr->error, error);
    weir_write_destroy(wr);
}

static void what_is_reported_is_in_the_file(void **state)
{
    (void)state;
    struct bench b;
    bench_path(&b);
    submit(&b, FRAMES(&b, "one\n", "two\n"), 2, 0);
    bed_expect_file(path, "one\ntwo\n");
    submit(&b, FRAMES(&b, "", "three\n", ""), 3, 0);
    bed_expect_file(path, "one\ntwo\nthree\n");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0133, 0);
    bench_close(&b);
    bench_open(&b, &(struct weir_writer_settings){.path = path}); /* appends */
    submit(&b, FRAMES(&b, "four\n"), 1, 0);
    bed_expect_file(path, "one\ntwo\nthree\nfour\n");
    bench_close(&b);
    bench_open(&b, &(struct weir_writer_settings){.path = path, .truncate = true});
    submit(&b, FRAMES(&b, "five\n"), 1, 0);
    bed_expect_file(path, "five\n");
    bench_close(&b);
}

static void after_a_rotation_the_path_is_made_anew(void **state)
{
    (void)state;
    struct bench b;
    bench_path(&b);
    submit(&b, FRAMES(&b, "old\n"), 1, 0);
    assert_int_equal(rename(path, old_path), 0);
    submit(&b, FRAMES(&b, "still old\n"), 1, 0);
    weir_writer_reopen(b.writer);
    submit(&b, FRAMES(&b, "new\n"), 1, 0);
    bed_expect_file(old_path, "old\nstill old\n");
    bed_expect_file(path, "new\n");
    bench_close(&b);
}

static void a_rotation_that_fails_keeps_the_old_file(void **state)
{
    (void)state;
    struct bench b;
    bench_path(&b);
    submit(&b, FRAMES(&b, "one\n"), 1, 0);
    assert_int_equal(rename(path, old_path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    weir_writer_reopen(b.writer);
    submit(&b, FRAMES(&b, "two\n"), 1, 0);
    bed_expect_file(old_path, "one\ntwo\n");
    assert_int_equal(rmdir(path), 0);
    bench_close(&b);
}

static void a_full_disk_leaves_whole_frames_only(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bench b;
    bench_path(&b);
    submit(&b, FRAMES(&b, "before\n"), 1, 0);
    weir_fault_arm(WEIR_FAULT_WRITE_NOSPC, 2);
    /* half of 20 bytes, the first frame and 2 bytes of the second; then no more */
    submit(&b, FRAMES(&b, "1234567\n", "1234567\n", "123\n"), 1, ENOSPC);
    bed_expect_file(path, "before\n1234567\n");
    weir_fault_arm(WEIR_FAULT_WRITE_NOSPC, 0);
    submit(&b, FRAMES(&b, "after\n"), 1, 0);
    bed_expect_file(path, "before\n1234567\nafter\n");
    bench_close(&b);
}

static void a_device_that_is_full_fails_each_write(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, &(struct weir_writer_settings){.path = "/dev/full"});
    for (int i = 0; i < 3; i++)
        submit(&b, FRAMES(&b, "a\n", "b\n"), 0, ENOSPC);
    bench_close(&b);
}

static void a_sync_that_fails_fails_what_was_written(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bench b;
    unlink(path);
    bench_open(&b, &(struct weir_writer_settings){.path = path, .sync = WEIR_WRITER_ALWAYS});
    submit(&b, FRAMES(&b, "a\n"), 1, 0);
    weir_fault_arm(WEIR_FAULT_FSYNC_EIO, 1);
    struct weir_write *wr = FRAMES(&b, "b\n", "c\n");
    weir_writer_submit(b.writer, wr);
    assert_ptr_equal(wait_for(&b), wr);
    assert_int_equal(wr->written, 0);
    assert_int_equal(wr->error, EIO);
    assert_string_equal(wr->doing, "sync");
    weir_write_destroy(wr);
    bench_close(&b);
}

static void syncs_in_between_go_on_without_anyone_asking(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bench b;
    unlink(path);
    bench_open(&b, &(struct weir_writer_settings){
                       .path = path, .sync = WEIR_WRITER_INTERVAL, .sync_every_ns = WEIR_NS_PER_MS});
    weir_fault_arm(WEIR_FAULT_FSYNC_EIO, 1000);
    submit(&b, FRAMES(&b, "a\n"), 1, 0); /* handled, whatever the disk says later */
    int left = 1000;
    while (left == 1000) { /* until the thread has tried to sync: it uses up one of the armed times */
        weir_fault_arm(WEIR_FAULT_FSYNC_EIO, 1000);
        submit(&b, FRAMES(&b, "a\n"), 1, 0);
        poll(NULL, 0, 2);
        for (left = 0; weir_fault_fires(WEIR_FAULT_FSYNC_EIO); left++)
            ;
    }
    bench_close(&b);
}

static void missing_folders_are_made_when_asked_for(void **state)
{
    (void)state;
    struct weir_writer *w = NULL;
    struct weir_err err;
    struct bench b;
    char deep[100];
    snprintf(deep, sizeof deep, "%s/a/b/%%Y/c", folder);
    assert_int_equal(weir_writer_open(&(struct weir_writer_settings){.path = deep}, &w, &err), WEIR_E_IO);
    assert_null(w);
    assert_non_null(strstr(err.text, deep));
    bench_open(&b, &(struct weir_writer_settings){.path = deep, .mkdir = true});
    submit(&b, FRAMES(&b, "a\n"), 1, 0);
    bench_close(&b);
}

static void the_date_in_the_path_is_followed(void **state)
{
    (void)state;
    struct bench b;
    char pattern[100], command[160], counted[32] = "";
    snprintf(pattern, sizeof pattern, "%s/day-%%S", folder);
    bench_open(&b, &(struct weir_writer_settings){.path = pattern});
    snprintf(command, sizeof command, "ls %s/day-* | wc -l", folder);
    int lines = 0;
    while (strtol(counted, NULL, 10) < 2) { /* a second at most */
        submit(&b, FRAMES(&b, "a\n"), 1, 0);
        lines++;
        FILE *p = popen(command, "r");
        assert_non_null(fgets(counted, sizeof counted, p));
        pclose(p);
    }
    snprintf(command, sizeof command, "cat %s/day-* | wc -l", folder);
    FILE *p = popen(command, "r");
    assert_non_null(fgets(counted, sizeof counted, p));
    pclose(p);
    assert_int_equal(strtol(counted, NULL, 10), lines);
    bench_close(&b);
}

/* ---- pipes ---- */

static void a_pipe_without_a_reader_is_an_error_of_the_write(void **state)
{
    (void)state;
    struct bench b;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bench_open(&b, &(struct weir_writer_settings){.fd = ends[1]});
    submit(&b, FRAMES(&b, "a\n"), 1, 0);
    close(ends[0]);
    submit(&b, FRAMES(&b, "b\n"), 0, EPIPE);
    submit(&b, FRAMES(&b, "c\n"), 0, EPIPE);
    bench_close(&b);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0); /* others write to it, too */
    close(ends[1]);
}

static void a_slow_reader_gets_all_of_it_whole(void **state)
{
    (void)state;
    enum { N = 100, SIZE = 10000 };
    struct bench b;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bench_open(&b, &(struct weir_writer_settings){.fd = ends[1]});
    static char text[SIZE + 1];
    for (int i = 0; i < N; i++) {
        memset(text, 'a' + i % 26, SIZE);
        text[SIZE - 1] = '\n';
        weir_writer_submit(b.writer, FRAMES(&b, text));
    }
    static char got[SIZE];
    for (int i = 0; i < N; i++) {
        for (size_t have = 0; have < SIZE;) {
            ssize_t n = read(ends[0], got + have, SIZE - have);
            assert_true(n > 0);
            have += (size_t)n;
        }
        assert_int_equal(got[0], 'a' + i % 26);
        assert_int_equal(got[SIZE - 2], 'a' + i % 26);
        assert_int_equal(got[SIZE - 1], '\n');
    }
    for (int i = 0; i < N; i++) {
        struct weir_write *wr = wait_for(&b);
        assert_int_equal(wr->written, 1);
        weir_write_destroy(wr);
    }
    bench_close(&b);
    close(ends[0]);
    close(ends[1]);
}

static void what_nobody_reads_can_be_revoked(void **state)
{
    (void)state;
    enum { SIZE = 100000 };
    struct bench b;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    bench_open(&b, &(struct weir_writer_settings){.fd = ends[1]});
    char *text = weir_malloc(SIZE + 1);
    memset(text, 'x', SIZE);
    text[SIZE] = '\0';
    struct weir_list marks[3], done, events; /* stand for events */
    for (int i = 0; i < 3; i++) {
        struct weir_write *wr = FRAMES(&b, text);
        weir_list_init(&marks[i]);
        weir_list_append(&wr->events, &marks[i]);
        weir_writer_submit(b.writer, wr);
    }
    struct pollfd some = {.fd = ends[0], .events = POLLIN};
    assert_int_equal(poll(&some, 1, 10000), 1); /* the first is under way */
    weir_list_init(&done);
    weir_list_init(&events);
    weir_writer_revoke(b.writer, &b.box, &done, &events);
    size_t count = 0;
    while (weir_list_take_first(&events) != NULL)
        count++;
    assert_int_equal(count, 3);
    assert_true(weir_list_empty(&done));
    weir_free(text);
    bench_close(&b); /* does not wait for the reader for ever */
    close(ends[0]);
    close(ends[1]);
}

static void opening_one_survives_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_writer *w = NULL;
        struct weir_err err;
        weir_mem_fail_after(n);
        rc = weir_writer_open(&(struct weir_writer_settings){.path = path}, &w, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && w == NULL));
        weir_writer_close(w, 0);
        assert_int_equal(weir_mem_live(), 0);
    }
    struct weir_writer *w = NULL;
    struct weir_err err;
    weir_fault_arm(WEIR_FAULT_THREAD_CREATE, 1);
    assert_int_equal(weir_writer_open(&(struct weir_writer_settings){.path = path}, &w, &err), WEIR_E_IO);
    assert_null(w);
    assert_non_null(strstr(err.text, "thread"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_reported_is_in_the_file),
        TEST(after_a_rotation_the_path_is_made_anew),
        TEST(a_rotation_that_fails_keeps_the_old_file),
        TEST(a_full_disk_leaves_whole_frames_only),
        TEST(a_device_that_is_full_fails_each_write),
        TEST(a_sync_that_fails_fails_what_was_written),
        TEST(syncs_in_between_go_on_without_anyone_asking),
        TEST(missing_folders_are_made_when_asked_for),
        TEST(the_date_in_the_path_is_followed),
        TEST(a_pipe_without_a_reader_is_an_error_of_the_write),
        TEST(a_slow_reader_gets_all_of_it_whole),
        TEST(what_nobody_reads_can_be_revoked),
        TEST(opening_one_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
