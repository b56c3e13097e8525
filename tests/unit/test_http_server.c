#include "test.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/http_request.h"
#include "io/http_server.h"
#include "io/listener.h"

/* A server without a worker: the way the admin interface has one. */
struct site {
    uv_loop_t loop;
    struct weir_http_server *server;
    struct weir_listener *listener;
    struct weir_http_stream *stream;
    struct weir_http_request *held;
};

static void on_request(struct weir_http_server *server, struct weir_http_request *r, void *arg)
{
    struct site *s = arg;
    static const struct weir_http_header events[] = {{{"Content-Type", 12}, {"text/event-stream", 17}}};
    assert_ptr_equal(server, s->server);
    if (r->path.len == 7 && memcmp(r->path.data, "/events", 7) == 0) {
        s->stream = weir_http_start(r, NULL, 200, events, 1);
        assert_non_null(s->stream);
    } else if (r->path.len == 5 && memcmp(r->path.data, "/hold", 5) == 0) {
        s->held = r;
    } else {
        weir_http_reply(r, NULL, 200, NULL, 0, r->body.data, r->body.len);
    }
}

static int try_open(struct site *s, struct weir_err *err)
{
    struct weir_http_settings settings;
    weir_http_settings_default(&settings);
    settings.same_user_only = true;
    settings.server_name = NULL;
    struct weir_http_options o = {
        .loop = &s->loop, .settings = &settings, .on_request = on_request, .arg = s};
    int rc = weir_http_server_create(&o, &s->server, err);
    return rc == WEIR_OK ? weir_http_server_listen(s->server, weir_listener_fd(s->listener, 0), err) : rc;
}

static void begin(struct site *s, const char *address)
{
    struct weir_err err;
    struct weir_listener_options o = {.address = address};
    memset(s, 0, sizeof *s);
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(weir_listener_open(&o, &s->listener, &err), WEIR_OK);
}

static void end(struct site *s)
{
    if (s->server != NULL)
        weir_http_server_close(s->server);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    weir_http_server_destroy(s->server);
    weir_listener_close(s->listener);
    assert_int_equal(uv_loop_close(&s->loop), 0);
}

static int dial(struct site *s)
{
    struct sockaddr_storage to;
    socklen_t len = sizeof to;
    assert_int_equal(getsockname(weir_listener_fd(s->listener, 0), (struct sockaddr *)&to, &len), 0);
    int fd = socket(to.ss_family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, len), 0);
    return fd;
}

/* Runs the loop until `part` has come. */
static void hear(struct site *s, int fd, const char *part)
{
    char text[4096];
    size_t len = 0;
    for (;;) {
        uv_run(&s->loop, UV_RUN_NOWAIT);
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, MSG_DONTWAIT);
        if (n == 0)
            fail_msg("the connection ended before '%s'", part);
        len += n > 0 ? (size_t)n : 0;
        text[len] = '\0';
        if (strstr(text, part) != NULL)
            return;
    }
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static const char *unix_address(void)
{
    static char text[60];
    snprintf(text, sizeof text, "unix:@weir-server-%d", (int)getpid());
    return text;
}

static void it_answers_at_once_without_a_worker(void **state)
{
    (void)state;
    struct site s;
    struct weir_err err;
    begin(&s, unix_address());
    assert_int_equal(try_open(&s, &err), WEIR_OK);
    int fd = dial(&s);
    for (int i = 0; i < 3; i++) {
        say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\nHost: "
                "a\r\nContent-Length: 3\r\n\r\nxyz");
        hear(&s, fd, "\r\n\r\nxyz");
    }
    close(fd);
    struct weir_http_totals t = {0};
    weir_http_server_read(s.server, &t);
    assert_int_equal(t.requests, 6);
    assert_int_equal(t.answers_2xx, 6);
    end(&s);
}

static void it_streams_and_learns_that_its_client_left(void **state)
{
    (void)state;
    struct site s;
    struct weir_err err;
    begin(&s, unix_address());
    assert_int_equal(try_open(&s, &err), WEIR_OK);
    int fd = dial(&s);
    say(fd, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    hear(&s, fd, "text/event-stream\r\n");
    assert_int_equal(weir_http_stream_write(s.stream, "data: 1\n\n", 9, NULL), WEIR_OK);
    hear(&s, fd, "data: 1\n\n");
    close(fd);
    while (weir_http_stream_write(s.stream, "data: 2\n\n", 9, NULL) != WEIR_E_CLOSED)
        uv_run(&s.loop, UV_RUN_NOWAIT);
    weir_http_stream_close(s.stream, false);
    end(&s);
}

static void a_request_may_be_answered_after_all_is_closed(void **state)
{
    (void)state;
    struct site s;
    struct weir_err err;
    begin(&s, unix_address());
    assert_int_equal(try_open(&s, &err), WEIR_OK);
    int fd = dial(&s);
    say(fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    while (s.held == NULL)
        uv_run(&s.loop, UV_RUN_NOWAIT);
    weir_http_server_close(s.server);
    assert_true(weir_http_server_idle(s.server));
    assert_true(s.held->base.ops->gone(&s.held->base));
    weir_http_reply(s.held, NULL, 200, NULL, 0, "late", 4);
    close(fd);
    end(&s);
}

static void stopping_leaves_what_is_under_way(void **state)
{
    (void)state;
    struct site s;
    struct weir_err err;
    begin(&s, unix_address());
    assert_int_equal(try_open(&s, &err), WEIR_OK);
    int idle = dial(&s), busy = dial(&s);
    say(busy, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    while (s.held == NULL)
        uv_run(&s.loop, UV_RUN_NOWAIT);
    weir_http_server_stop(s.server);
    char byte;
    assert_int_equal(recv(idle, &byte, 1, 0), 0);
    assert_false(weir_http_server_idle(s.server));
    weir_http_reply(s.held, NULL, 200, NULL, 0, "late", 4);
    hear(&s, busy, "Connection: close\r\n\r\nlate");
    assert_true(weir_http_server_idle(s.server));
    close(idle);
    close(busy);
    end(&s);
}

static void no_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct site s;
        struct weir_err err = {0};
        begin(&s, unix_address());
        weir_mem_fail_after(n);
        rc = try_open(&s, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
        end(&s);
        assert_int_equal(weir_mem_live(), 0);
    }
}

static void requests_survive_any_allocation_that_fails(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    bool answered = false;
    for (long n = 0; !answered; n++) {
        struct site s;
        struct weir_err err;
        char text[512] = "";
        ssize_t got = 0;
        begin(&s, unix_address());
        assert_int_equal(try_open(&s, &err), WEIR_OK);
        int fd = dial(&s);
        say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
        weir_mem_fail_after(n);
        for (int i = 0; i < 100 && got <= 0; i++) {
            uv_run(&s.loop, UV_RUN_NOWAIT);
            got = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
            if (got == 0)
                break;
        }
        weir_mem_fail_after(-1);
        answered = strncmp(text, "HTTP/1.1 200", 12) == 0;
        assert_true(answered || text[0] == '\0' || strncmp(text, "HTTP/1.1 50", 11) == 0);
        close(fd);
        end(&s);
        assert_int_equal(weir_mem_live(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_answers_at_once_without_a_worker),
        TEST(it_streams_and_learns_that_its_client_left),
        TEST(a_request_may_be_answered_after_all_is_closed),
        TEST(stopping_leaves_what_is_under_way),
        TEST(no_memory_leaves_nothing_behind),
        TEST(requests_survive_any_allocation_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
