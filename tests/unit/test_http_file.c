#include "test.h"

#include "http_fixture.h"

#define TCP "listen: '127.0.0.1:0'"

static void make_files(struct site *s)
{
    char path[200];
    snprintf(s->folder, sizeof s->folder, "/tmp/weir-http-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    static const struct {
        const char *name;
        size_t size;
    } files[] = {{"small.html", 26}, {"large.bin", 1000000}, {"none.txt", 0}, {".hidden", 5}};
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", s->folder, files[i].name);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        for (size_t k = 0; k < files[i].size; k++)
            fputc('a' + (int)(k % 26), f);
        assert_int_equal(fclose(f), 0);
    }
    snprintf(path, sizeof path, "%s/out", s->folder);
    assert_int_equal(symlink("/etc/passwd", path), 0);
}

static void remove_files(struct site *s)
{
    static const char *const names[] = {"small.html", "large.bin", "none.txt", ".hidden", "out"};
    char path[200];
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", s->folder, names[i]);
        unlink(path);
    }
    rmdir(s->folder);
}

static void check_letters(const struct answer *a, size_t first, size_t len)
{
    assert_true(a->whole);
    assert_int_equal(a->body.len, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(a->body.data[i], 'a' + (int)((first + i) % 26));
}

static void files_come_whole_in_part_or_not_at_all(void **state)
{
    (void)state;
    struct site s;
    site_start(&s, TCP, 1);
    make_files(&s);
    site_run(&s);
    struct answer a = ask(&s, GET("/file/small.html"));
    assert_int_equal(a.status, 200);
    check_letters(&a, 0, 26);
    assert_non_null(strstr(a.head, "Content-Type: text/html; charset=utf-8\r\n"));
    assert_non_null(strstr(a.head, "Last-Modified: "));
    char etag[60] = "", again[200];
    assert_int_equal(sscanf(strstr(a.head, "ETag: "), "ETag: %59s", etag), 1);
    weir_strbuf_fini(&a.body);
    snprintf(again, sizeof again, "GET /file/small.html HTTP/1.1\r\nHost: a\r\nIf-None-Match: %s\r\n\r\n",
             etag);
    expect_status(&s, again, 304);
    expect_status(&s, "GET /file/small.html HTTP/1.1\r\nHost: a\r\nIf-Match: \"x\"\r\n\r\n", 412);
    a = ask(&s, GET("/far/file/large.bin"));
    check_letters(&a, 0, 1000000);
    weir_strbuf_fini(&a.body);
    a = ask(&s, "GET /file/large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=100000-299999\r\n\r\n");
    assert_int_equal(a.status, 206);
    assert_non_null(strstr(a.head, "Content-Range: bytes 100000-299999/1000000\r\n"));
    check_letters(&a, 100000, 200000);
    weir_strbuf_fini(&a.body);
    a = ask(&s, "GET /file/small.html HTTP/1.1\r\nHost: a\r\nRange: bytes=26-\r\n\r\n");
    assert_int_equal(a.status, 416);
    assert_non_null(strstr(a.head, "Content-Range: bytes */26\r\n"));
    weir_strbuf_fini(&a.body);
    a = ask(&s, "HEAD /file/large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_non_null(strstr(a.head, "Content-Length: 1000000\r\n"));
    a = ask(&s, GET("/file/none.txt"));
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body.len, 0);
    weir_strbuf_fini(&a.body);
    site_stop(&s);
    remove_files(&s);
}

static void no_path_leads_out_of_the_folder(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int status;
    } cases[] = {
        {"/file/../../etc/passwd", 404},
        {"/file/x/../small.html", 404},
        {"/file/..", 404},
        {"/file/.hidden", 404},
        {"/file/./small.html", 404},
        {"/file/", 404},
        {"/file/nothing", 404},
        {"/file/small.html/", 404},
        {"/file/small.html/x", 404},
        {"/file/out", 403},
        {"/file/..\\small.html", 404},
        {"/file//etc/passwd", 404},
        {"/file////small.html", 200},
    };
    struct site s;
    site_start(&s, TCP, 1);
    make_files(&s);
    site_run(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", cases[i].path);
        expect_status(&s, text, cases[i].status);
    }
    site_stop(&s);
    remove_files(&s);
}

static void a_client_that_leaves_a_file_halfway_does_no_harm(void **state)
{
    (void)state;
    struct site s;
    char piece[1000];
    site_start(&s, TCP, 1);
    make_files(&s);
    site_run(&s);
    for (int i = 0; i < 20; i++) {
        int fd = dial(&s);
        say(fd, GET("/file/large.bin"));
        if (i % 2 == 0)
            assert_true(hear(fd, piece, sizeof piece) > 0);
        close(fd);
    }
    expect_status(&s, GET("/file/small.html"), 200);
    site_stop(&s);
    remove_files(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_come_whole_in_part_or_not_at_all),
        TEST(no_path_leads_out_of_the_folder),
        TEST(a_client_that_leaves_a_file_halfway_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
