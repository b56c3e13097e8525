#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file_look.h"
#include "io/file_state.h"

static char folder[] = "/tmp/weir-look-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[8][256]; /* some at a time, for the calls below */
    static size_t next;
    char *out = path[next++ % 8];
    snprintf(out, sizeof path[0], "%s/%s", folder, name);
    return out;
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0, 1);
    assert_int_equal(fclose(f), 0);
}

static void patterns_find_regular_files_in_order(void **state)
{
    (void)state;
    write_text("b.log", "b");
    write_text("a.log", "aa");
    assert_int_equal(mkdir(in_folder("c.log"), 0700), 0);
    const char *patterns[] = {in_folder("*.log"), in_folder("nowhere"), in_folder("b.log")};
    struct weir_file_list list;
    assert_int_equal(weir_file_list_fill(&list, patterns, 3), WEIR_OK);
    assert_int_equal(list.count, 3);
    assert_string_equal(list.files[0].path, in_folder("a.log"));
    assert_int_equal(list.files[0].size, 2);
    assert_string_equal(list.files[1].path, in_folder("b.log"));
    assert_int_equal(list.files[1].ino, list.files[2].ino);
    assert_int_equal(list.skipped, 2);
    weir_file_list_fini(&list);
    for (long n = 0, rc = WEIR_E_NOMEM; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_file_list_fill(&list, patterns, 3);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
        weir_file_list_fini(&list);
    }
}

static void a_file_is_found_under_its_new_name(void **state)
{
    (void)state;
    struct stat st;
    write_text("app.log", "old");
    assert_int_equal(stat(in_folder("app.log"), &st), 0);
    assert_int_equal(rename(in_folder("app.log"), in_folder("app.log.1")), 0);
    write_text("app.log", "new");
    int fd = weir_file_open(in_folder("app.log"), st.st_dev, st.st_ino);
    assert_true(fd >= 0);
    char text[8];
    assert_int_equal(read(fd, text, sizeof text), 3);
    assert_memory_equal(text, "old", 3);
    close(fd);
    assert_int_equal(unlink(in_folder("app.log.1")), 0);
    assert_int_equal(weir_file_open(in_folder("app.log"), st.st_dev, st.st_ino), -ENOENT);
}

/* One read of the file behind `fd`; what was read is appended to `text`. */
static void read_more(int fd, struct weir_file_head *head, uint64_t *offset, struct weir_file_chunk *c)
{
    static char data[1024];
    *c = (struct weir_file_chunk){
        .fd = fd, .offset = *offset, .data = data, .room = sizeof data, .head = *head};
    weir_file_read(c);
    assert_int_equal(c->error, 0);
    if (!c->truncated) {
        *head = c->head;
        *offset += c->len;
    }
}

static void a_file_that_was_written_anew_is_noticed_whatever_its_length(void **state)
{
    (void)state;
    static const char *const later[] = {"", "x", "1 one\n2 TWO\n", "9 nine\n8 eight\n7 seven\n",
                                        "1 one, and again\n 2 two and much more\n"};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        struct weir_file_head head = {.len = 0};
        struct weir_file_chunk c;
        uint64_t offset = 0;
        write_text("t.log", "1 one\n2 two\n");
        int fd = open(in_folder("t.log"), O_RDONLY | O_CLOEXEC);
        read_more(fd, &head, &offset, &c);
        assert_int_equal(c.len, 12);
        assert_int_equal(head.len, 12);
        read_more(fd, &head, &offset, &c);
        assert_true(c.at_end && !c.truncated);
        write_text("t.log", later[i]);
        read_more(fd, &head, &offset, &c);
        assert_true(c.truncated);
        assert_int_equal(c.len, 0);
        close(fd);
    }
}

static void a_file_that_grows_is_the_same(void **state)
{
    (void)state;
    struct weir_file_head head = {.len = 0};
    struct weir_file_chunk c;
    uint64_t offset = 0;
    write_text("g.log", "");
    int fd = open(in_folder("g.log"), O_RDONLY | O_CLOEXEC),
        out = open(in_folder("g.log"), O_WRONLY | O_APPEND | O_CLOEXEC);
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(write(out, "line\n", 5), 5);
        read_more(fd, &head, &offset, &c);
        assert_int_equal(c.len, 5);
        assert_false(c.truncated);
    }
    assert_int_equal(head.len, WEIR_FILE_HEAD_MAX);
    close(fd);
    close(out);
}

/* ---- the state file ---- */

static void positions_come_back_as_they_were_written(void **state)
{
    (void)state;
    struct weir_file_position one = {.path = (char *)(uintptr_t) "/var/log/a b\\c\nd",
                                     .dev = 1,
                                     .ino = UINT64_MAX - 16,
                                     .offset = 12345678901};
    struct weir_file_position two = {.path = (char *)(uintptr_t) "x", .dev = 0, .ino = 2, .offset = 0};
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    struct weir_file_state back;
    struct weir_err err;
    for (size_t i = 0; i < WEIR_FILE_HEAD_MAX; i++)
        one.head.bytes[one.head.len++] = (unsigned char)(i * 7);
    weir_file_state_begin(&text);
    weir_file_state_add(&text, &one);
    weir_file_state_add(&text, &two);
    assert_int_equal(weir_file_state_write(in_folder("state"), text.data, text.len), 0);
    for (long n = 0, rc = WEIR_E_NOMEM; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_file_state_read(in_folder("state"), &back, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
        if (rc != WEIR_OK)
            weir_file_state_fini(&back);
    }
    assert_int_equal(back.count, 2);
    assert_string_equal(back.positions[0].path, one.path);
    assert_true(back.positions[0].ino == one.ino && back.positions[0].offset == one.offset);
    assert_int_equal(back.positions[0].head.len, WEIR_FILE_HEAD_MAX);
    assert_memory_equal(back.positions[0].head.bytes, one.head.bytes, WEIR_FILE_HEAD_MAX);
    assert_string_equal(back.positions[1].path, "x");
    assert_int_equal(back.positions[1].head.len, 0);
    weir_file_state_fini(&back);
    weir_strbuf_fini(&text);
    assert_int_equal(access(in_folder("state.new"), F_OK), -1);
}

static void what_is_no_state_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *line;
    } cases[] = {{"something else\n", ":1:"},
                 {"weir file positions 1\n1 2 3 - a\n1 2 x - b\n", ":3:"},
                 {"weir file positions 1\n1 2 3 abc a\n", ":2:"},
                 {"weir file positions 1\n1 2 99999999999999999999 - a\n", ":2:"},
                 {"weir file positions 1\n1 2 3 - \n", ":2:"},
                 {"weir file positions 1\n1 2 3 - cut", ":2:"}};
    struct weir_file_state back;
    struct weir_err err;
    assert_int_equal(weir_file_state_read(in_folder("none"), &back, &err), WEIR_E_NOTFOUND);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("bad", cases[i].text);
        assert_int_equal(weir_file_state_read(in_folder("bad"), &back, &err), WEIR_E_CONFIG);
        assert_non_null(strstr(err.text, cases[i].line));
        weir_file_state_fini(&back);
    }
    assert_int_equal(weir_file_state_write(in_folder("no/folder"), "", 0), -ENOENT);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(patterns_find_regular_files_in_order),
        TEST(a_file_is_found_under_its_new_name),
        TEST(a_file_that_was_written_anew_is_noticed_whatever_its_length),
        TEST(a_file_that_grows_is_the_same),
        TEST(positions_come_back_as_they_were_written),
        TEST(what_is_no_state_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
