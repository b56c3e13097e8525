/* io/http_server: a connection that somebody else has made. */
#include "test.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "io/http_request.h"
#include "io/http_server.h"

struct site {
    uv_loop_t loop;
    struct weir_http_server *server;
    int fds[2];
    long live_before;
};

static void on_request(struct weir_http_server *s, struct weir_http_request *r, void *arg)
{
    (void)s;
    (void)arg;
    weir_http_reply(r, NULL, 200, NULL, 0, r->remote.data, r->remote.len);
}

static void begin(struct site *s, size_t max_connections)
{
    struct weir_http_settings settings;
    s->live_before = weir_mem_live();
    weir_http_settings_default(&settings);
    settings.max_connections = max_connections;
    assert_int_equal(uv_loop_init(&s->loop), 0);
    struct weir_http_options o = {.loop = &s->loop, .settings = &settings, .on_request = on_request, .arg = s};
    assert_int_equal(weir_http_server_create(&o, &s->server, NULL), WEIR_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s->fds), 0);
}

static void end(struct site *s)
{
    close(s->fds[0]);
    weir_http_server_close(s->server);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    weir_http_server_destroy(s->server);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    assert_int_equal(weir_mem_live(), s->live_before);
}

static void ask(struct site *s, char *answer, size_t size)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    ssize_t n = -1;
    (void)send(s->fds[0], request, sizeof request - 1, MSG_NOSIGNAL); /* it may be closed: then reading says so */
    for (int turn = 0; turn < 100 && n < 0; turn++) {
        uv_run(&s->loop, UV_RUN_NOWAIT);
        n = recv(s->fds[0], answer, size - 1, MSG_DONTWAIT);
    }
    answer[n > 0 ? n : 0] = '\0';
}

static void test_it_is_served_and_called_as_given(void **state)
{
    struct site s;
    char answer[1024];
    (void)state;
    begin(&s, 10);
    assert_int_equal(weir_http_server_adopt(s.server, s.fds[1], "somebody"), WEIR_OK);
    ask(&s, answer, sizeof answer);
    assert_non_null(strstr(answer, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(answer, "\r\n\r\nsomebody"));
    end(&s);
}

static void test_the_limit_of_connections_holds_for_it(void **state)
{
    struct site s;
    char answer[1024];
    (void)state;
    begin(&s, 0);
    assert_int_equal(weir_http_server_adopt(s.server, s.fds[1], "somebody"), WEIR_OK);
    ask(&s, answer, sizeof answer);
    assert_non_null(strstr(answer, "HTTP/1.1 503"));
    end(&s);
}

static void test_without_memory_the_socket_is_closed(void **state)
{
    struct site s;
    char byte;
    (void)state;
    for (long n = 0;; n++) {
        begin(&s, 10);
        weir_mem_fail_after(n);
        int rc = weir_http_server_adopt(s.server, s.fds[1], "somebody");
        weir_mem_fail_after(-1);
        if (rc != WEIR_OK)
            assert_int_equal(recv(s.fds[0], &byte, 1, MSG_DONTWAIT), 0);
        end(&s);
        if (rc == WEIR_OK)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_served_and_called_as_given),
        cmocka_unit_test(test_the_limit_of_connections_holds_for_it),
        cmocka_unit_test(test_without_memory_the_socket_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
