#include "io/file_job.h"

#include <sys/stat.h>

#include "holder_fixture.h"
#include "loop_fixture.h"

static struct bench b;
static char folder[64];

static int set_up(void **state)
{
    (void)state;
    bench_open(&b);
    snprintf(folder, sizeof folder, "/tmp/weir-file-job-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int tear_down(void **state)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    bench_close(&b);
    return test_teardown(state);
}

static void on_done(struct weir_file_job *job)
{
    *(bool *)job->arg = true;
}

static bool is_set(void *arg)
{
    return *(bool *)arg;
}

static struct weir_file_job *job(enum weir_file_op op, const char *path, const char *to)
{
    struct weir_file_job *j = weir_file_job_create(op, folder, path, to);
    assert_non_null(j);
    j->beneath = true;
    j->whole = true;
    j->max = 1000;
    return j;
}

/* Has it done and returns its errno; frees it unless `keep`. */
static int finish(struct weir_file_job *j, bool keep)
{
    bool done = false;
    j->done = on_done;
    j->arg = &done;
    assert_true(weir_file_job_start(b.w, j));
    bench_until(&b, is_set, &done);
    int error = j->error;
    if (!keep)
        weir_file_job_destroy(j);
    return error;
}

static int write_file(enum weir_file_op op, const char *path, const char *text)
{
    struct weir_file_job *j = job(op, path, NULL);
    weir_strbuf_adds(&j->data, text);
    return finish(j, false);
}

static void assert_holds(const char *path, const char *text)
{
    struct weir_file_job *j = job(WEIR_FILE_READ, path, NULL);
    assert_int_equal(finish(j, true), 0);
    assert_int_equal(j->data.len, strlen(text));
    assert_memory_equal(j->data.data, text, j->data.len);
    weir_file_job_destroy(j);
}

static void files_are_written_and_read(void **state)
{
    (void)state;
    assert_int_equal(write_file(WEIR_FILE_WRITE, "a", "first, which is longer"), 0);
    assert_int_equal(write_file(WEIR_FILE_WRITE, "a", "one"), 0);
    assert_int_equal(write_file(WEIR_FILE_APPEND, "a", "two"), 0);
    assert_holds("a", "onetwo");
    struct weir_file_job *j = job(WEIR_FILE_READ, "a", NULL);
    j->whole = false;
    j->offset = 2;
    j->max = 2;
    assert_int_equal(finish(j, true), 0);
    assert_int_equal(j->data.len, 2);
    assert_memory_equal(j->data.data, "et", 2);
    weir_file_job_destroy(j);
    j = job(WEIR_FILE_READ, "a", NULL);
    j->max = 5;
    assert_int_equal(finish(j, false), EFBIG);
    j = job(WEIR_FILE_READ, "a", NULL);
    j->max = 6;
    assert_int_equal(finish(j, false), 0); /* exactly */
}

static void a_replacement_keeps_the_old_one_until_it_is_whole(void **state)
{
    (void)state;
    char path[96];
    assert_int_equal(write_file(WEIR_FILE_WRITE, "a", "old"), 0);
    snprintf(path, sizeof path, "%s/a", folder);
    int old = open(path, O_RDONLY);
    assert_int_equal(write_file(WEIR_FILE_REPLACE, "a", "new"), 0);
    char text[4] = "";
    assert_int_equal(read(old, text, 3), 3);
    assert_string_equal(text, "old"); /* another file now */
    close(old);
    assert_holds("a", "new");
    assert_int_equal(write_file(WEIR_FILE_REPLACE, "missing/a", "new"), ENOENT);
    struct weir_file_job *j = job(WEIR_FILE_LIST, ".", NULL);
    assert_int_equal(finish(j, true), 0);
    assert_int_equal(j->data.len, 2); /* "a": nothing is left beside it */
    weir_file_job_destroy(j);
}

/* Processes that died, of which one had our number, may have left their files. */
static void a_file_that_a_dead_process_left_is_not_in_the_way(void **state)
{
    (void)state;
    char path[128];
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "%s/.weir-%ld-%d", folder, (long)getpid(), i);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    assert_int_equal(write_file(WEIR_FILE_REPLACE, "b", "new"), 0);
    assert_holds("b", "new");
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "%s/.weir-%ld-%d", folder, (long)getpid(), i);
        assert_int_equal(unlink(path), 0);
    }
}

static void folders_are_made_listed_renamed_and_removed(void **state)
{
    (void)state;
    assert_int_equal(finish(job(WEIR_FILE_MAKE_FOLDER, "d", NULL), false), 0);
    assert_int_equal(finish(job(WEIR_FILE_MAKE_FOLDER, "d", NULL), false), EEXIST);
    assert_int_equal(write_file(WEIR_FILE_WRITE, "d/a", "x"), 0);
    struct weir_file_job *j = job(WEIR_FILE_STAT, "d", NULL);
    assert_int_equal(finish(j, true), 0);
    assert_true(S_ISDIR(j->stat.st_mode));
    weir_file_job_destroy(j);
    assert_int_equal(finish(job(WEIR_FILE_REMOVE, "d", NULL), false), ENOTEMPTY);
    assert_int_equal(finish(job(WEIR_FILE_RENAME, "d/a", "b"), false), 0);
    assert_holds("b", "x");
    assert_int_equal(finish(job(WEIR_FILE_REMOVE, "d", NULL), false), 0);
    assert_int_equal(finish(job(WEIR_FILE_REMOVE, "d", NULL), false), ENOENT);
    assert_int_equal(finish(job(WEIR_FILE_READ, ".", NULL), false), EISDIR);
}

static void nothing_outside_is_reached(void **state)
{
    (void)state;
    static const char *const paths[] = {"/etc/passwd", "../passwd", "out/passwd", "leak", "d/../../x"};
    char path[96];
    assert_int_equal(finish(job(WEIR_FILE_MAKE_FOLDER, "d", NULL), false), 0);
    snprintf(path, sizeof path, "%s/out", folder);
    assert_int_equal(symlink("/etc", path), 0);
    snprintf(path, sizeof path, "%s/leak", folder);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(finish(job(WEIR_FILE_READ, paths[i], NULL), false), EACCES);
        assert_int_equal(finish(job(WEIR_FILE_STAT, paths[i], NULL), false), EACCES);
        if (strcmp(paths[i], "leak") == 0)
            continue; /* the link itself is inside: it may be replaced, and removed */
        assert_int_equal(write_file(WEIR_FILE_REPLACE, paths[i], "x"), EACCES);
        assert_int_equal(finish(job(WEIR_FILE_REMOVE, paths[i], NULL), false), EACCES);
        assert_int_equal(finish(job(WEIR_FILE_RENAME, "d", paths[i]), false), EACCES);
    }
    struct weir_file_job *j = job(WEIR_FILE_STAT, "/etc/passwd", NULL);
    j->beneath = false;
    assert_int_equal(finish(j, false), 0);
}

static void a_pipe_does_not_hold_the_thread(void **state)
{
    (void)state;
    char path[96];
    snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(finish(job(WEIR_FILE_READ, "pipe", NULL), false), EINVAL);
    assert_int_equal(write_file(WEIR_FILE_WRITE, "pipe", "x"), ENXIO);
}

/* --- those that are called off --- */

static int ended;

static void end_cancelled(struct weir_file_job *j)
{
    ended++;
    weir_file_job_destroy(j);
}

static bool all_have_ended(void *arg)
{
    return ended == *(int *)arg;
}

static void a_cancelled_job_ends_all_the_same(void **state)
{
    (void)state;
    int count = 40;
    ended = 0;
    assert_int_equal(write_file(WEIR_FILE_WRITE, "big", "0123456789"), 0);
    for (int i = 0; i < count; i++) { /* more than there are threads: some can be called off, some run already */
        struct weir_file_job *j = job(i % 2 == 0 ? WEIR_FILE_APPEND : WEIR_FILE_READ, i % 2 == 0 ? "a" : "big", NULL);
        if (i % 2 == 0)
            weir_strbuf_adds(&j->data, "x");
        j->done = end_cancelled;
        assert_true(weir_file_job_start(b.w, j));
        weir_file_job_cancel(j);
    }
    bench_until(&b, all_have_ended, &count);
}

/* --- who answers for the data --- */

static void write_large(const char *path, size_t len)
{
    struct weir_file_job *j = job(WEIR_FILE_WRITE, path, NULL);
    assert_true(weir_strbuf_reserve(&j->data, len));
    memset(j->data.data, 'x', len);
    j->data.len = len;
    assert_int_equal(finish(j, false), 0);
}

static void what_is_read_is_held_before_there_is_memory_for_it(void **state)
{
    (void)state;
    struct counting c = COUNTING(1 << 20);
    write_large("small", 3000);
    write_large("large", 500000);
    struct weir_file_job *j = job(WEIR_FILE_READ, "small", NULL);
    j->max = 1 << 20;
    j->holder = &c.holder;
    assert_int_equal(finish(j, true), 0);
    assert_int_equal(j->data.len, 3000);
    assert_int_equal(c.asked, 1); /* a small file is read at once */
    assert_true(j->data.cap <= c.held);
    weir_file_job_destroy(j);
    j = job(WEIR_FILE_READ, "large", NULL);
    j->max = 1 << 20;
    j->holder = &c.holder;
    assert_int_equal(finish(j, true), 0);
    assert_int_equal(j->data.len, 500000);
    assert_true(j->data.cap <= c.held);
    assert_true(c.most < 510000); /* it is known how much that is */
    weir_file_job_destroy(j);
}

static void what_is_refused_is_not_read(void **state)
{
    (void)state;
    struct counting c = COUNTING(100000);
    write_large("large", 500000);
    struct weir_file_job *j = job(WEIR_FILE_READ, "large", NULL);
    j->max = 1 << 20;
    j->holder = &c.holder;
    assert_int_equal(finish(j, true), ENOMEM);
    assert_true(j->data.cap <= 100000);
    weir_file_job_destroy(j);
    c = (struct counting)COUNTING(100);
    j = job(WEIR_FILE_READ, "large", NULL);
    j->holder = &c.holder;
    assert_false(weir_file_job_start(b.w, j));
    weir_file_job_destroy(j);
}

static void a_file_without_a_size_is_read_to_its_end(void **state)
{
    (void)state;
    struct counting c = COUNTING(1 << 20);
    struct weir_file_job *j = weir_file_job_create(WEIR_FILE_READ, "/proc", "self/maps", NULL);
    assert_non_null(j);
    j->whole = true;
    j->max = 1 << 20;
    j->holder = &c.holder;
    assert_int_equal(finish(j, true), 0);
    assert_true(j->data.len > 4096); /* more than one step */
    assert_int_equal(j->data.data[j->data.len - 1], '\n');
    assert_true(j->data.cap <= c.held);
    weir_file_job_destroy(j);
}

static void a_long_list_asks_for_room_on_its_way(void **state)
{
    (void)state;
    struct counting c = COUNTING(1 << 20);
    size_t expected = 0;
    for (int i = 0; i < 300; i++) {
        char name[64];
        snprintf(name, sizeof name, "file-with-a-long-name-%03d", i);
        assert_int_equal(write_file(WEIR_FILE_WRITE, name, ""), 0);
        expected += strlen(name) + 1;
    }
    struct weir_file_job *j = job(WEIR_FILE_LIST, ".", NULL);
    j->max = 1 << 20;
    j->holder = &c.holder;
    assert_int_equal(finish(j, true), 0);
    assert_int_equal(j->data.len, expected); /* none twice, none left out */
    assert_true(c.asked > 1);
    assert_true(j->data.cap <= c.held);
    weir_file_job_destroy(j);
    j = job(WEIR_FILE_LIST, ".", NULL);
    j->max = 5000;
    assert_int_equal(finish(j, false), EFBIG);
    c = (struct counting)COUNTING(5000);
    j = job(WEIR_FILE_LIST, ".", NULL);
    j->max = 1 << 20;
    j->holder = &c.holder;
    assert_int_equal(finish(j, false), ENOMEM);
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    long live = weir_mem_live();
    struct weir_file_job *j = NULL;
    for (long n = 0; j == NULL; n++) {
        weir_mem_fail_after(n);
        j = weir_file_job_create(WEIR_FILE_RENAME, "/", "a", "b");
        weir_mem_fail_after(-1);
        assert_true(j != NULL || weir_mem_live() == live);
    }
    weir_file_job_destroy(j);
    assert_int_equal(weir_mem_live(), live);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(files_are_written_and_read),
        CASE(a_replacement_keeps_the_old_one_until_it_is_whole),
        CASE(a_file_that_a_dead_process_left_is_not_in_the_way),
        CASE(folders_are_made_listed_renamed_and_removed),
        CASE(nothing_outside_is_reached),
        CASE(a_pipe_does_not_hold_the_thread),
        CASE(a_cancelled_job_ends_all_the_same),
        CASE(what_is_read_is_held_before_there_is_memory_for_it),
        CASE(what_is_refused_is_not_read),
        CASE(a_file_without_a_size_is_read_to_its_end),
        CASE(a_long_list_asks_for_room_on_its_way),
        CASE(without_memory_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
