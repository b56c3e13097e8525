#include "io/udp_source.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "config/app.h"
#include "config/types.h"
#include "core/stage.h"
#include "core/value_json.h"
#include "support.h"

enum { SOURCE, END };

struct site {
    struct rig *rig;
    struct weir_app *app; /* holds the options */
    char bound[64];
    int port;
    struct weir_strbuf got; /* the values as JSON, a line each. One worker only */
    _Atomic int handled;
    _Atomic bool holding; /* the stage keeps what it gets */
};

static struct site *here; /* of the test that runs */

static enum weir_reason take(struct rig_handler *h, struct weir_event *ev)
{
    struct site *s = here;
    if (h->h.seat->worker->pool->max == 1) {
        weir_value_json(ev->value, &s->got);
        weir_strbuf_addc(&s->got, '\n');
    }
    atomic_fetch_add(&s->handled, 1);
    return atomic_load(&s->holding) ? rig_keep(h, ev, 5 * WEIR_NS_PER_MS) : WEIR_REASON_NONE;
}

static void site_open(struct site *s, const char *more, unsigned workers)
{
    static const struct weir_app_type end = {.name = "null", .kind = WEIR_APP_SINK, .text = "a test"};
    const struct weir_app_type *list[] = {&weir_udp_source_type, &end};
    const struct weir_app_types types = {.types = list, .count = 2};
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_err err;
    char yaml[300];
    *s = (struct site){.rig = NULL};
    here = s;
    int n = snprintf(
        yaml, sizeof yaml,
        "weir: 1\nstages:\n  in: {source: udp, listen: '127.0.0.1:0'%s, to: end}\n  end: {sink: 'null'}\n",
        more);
    if (weir_app_parse(yaml, (size_t)n, "weir.yaml", "/", NULL, 0, &types, &report, &s->app, &err) < 0)
        fail_msg("%s", report.data);
    weir_strbuf_fini(&report);
    s->rig = rig_create(2, 1);
    rig_pool(s->rig, 0, "main", workers, false);
    struct weir_stage *in = rig_stage_defaults(s->rig, SOURCE, "in", 0);
    in->kind = WEIR_STAGE_SOURCE;
    rig_stage(s->rig, END, "end", 0, take, NULL);
    if (weir_udp_source_open(in, s->app->stages[0].options, &in->source, s->bound, sizeof s->bound, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(sscanf(s->bound, "udp://127.0.0.1:%d", &s->port), 1);
}

static void site_run(struct site *s)
{
    rig_wire_one(s->rig, SOURCE, "out", END);
    rig_finish(s->rig);
    rig_start(s->rig);
}

static void site_stop(struct site *s)
{
    rig_drain(s->rig);
    rig_stop(s->rig);
    rig_destroy(s->rig);
    weir_app_free(s->app);
    weir_strbuf_fini(&s->got);
}

static int sender(const struct site *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)s->port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static long count_of(const struct site *s, const char *name)
{
    struct weir_source_maker *m = &s->rig->g->stages[SOURCE].source;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    char key[40];
    long n = -1;
    m->stats(m->self, &out);
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(out.data, key);
    assert_non_null(at);
    assert_int_equal(sscanf(at + strlen(key), "%ld", &n), 1);
    weir_strbuf_fini(&out);
    return n;
}

struct goal {
    struct site *s;
    int handled;
};

static bool reached(void *arg)
{
    struct goal *g = arg;
    return atomic_load(&g->s->handled) >= g->handled;
}

static void wait_for(struct site *s, int handled)
{
    rig_wait(s->rig, reached, &(struct goal){s, handled});
}

static void each_datagram_is_an_event(void **state)
{
    (void)state;
    struct site s;
    site_open(&s, "", 1);
    site_run(&s);
    int fd = sender(&s);
    say(fd, "one");
    say(fd, "");
    say(fd, "two\n");
    char large[40000];
    memset(large, 'x', sizeof large);
    assert_int_equal(send(fd, large, sizeof large, 0), sizeof large);
    wait_for(&s, 4);
    rig_drain(s.rig);
    assert_memory_equal(s.got.data, "\"one\"\n\"\"\n\"two\\n\"\n\"xxx", 20);
    assert_int_equal(s.got.len, 6 + 3 + 8 + sizeof large + 3);
    assert_int_equal(count_of(&s, "datagrams"), 4);
    assert_int_equal(count_of(&s, "truncated"), 0);
    assert_int_equal(count_of(&s, "bytes"), 3 + 4 + sizeof large);
    close(fd);
    site_stop(&s);
}

static void the_sender_comes_along_when_asked_for(void **state)
{
    (void)state;
    struct site s;
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    char expected[100];
    site_open(&s, ", with_remote: true", 1);
    site_run(&s);
    int fd = sender(&s);
    say(fd, "hi");
    wait_for(&s, 1);
    rig_drain(s.rig);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    snprintf(expected, sizeof expected, "{\"data\":\"hi\",\"remote\":\"127.0.0.1:%d\"}\n",
             ntohs(own.sin_port));
    assert_string_equal(s.got.data, expected);
    close(fd);
    site_stop(&s);
}

static void what_is_cut_is_counted_and_no_event(void **state)
{
    (void)state;
    struct site s;
    site_open(&s, ", max_datagram: 4", 1);
    site_run(&s);
    int fd = sender(&s);
    say(fd, "1234");
    say(fd, "12345");
    say(fd, "abcd");
    wait_for(&s, 2);
    rig_drain(s.rig);
    assert_string_equal(s.got.data, "\"1234\"\n\"abcd\"\n");
    assert_int_equal(count_of(&s, "truncated"), 1);
    close(fd);
    site_stop(&s);
}

static bool counted_drops(void *arg)
{
    struct site *s = arg;
    int fd = sender(s);
    for (int i = 0; i < 64; i++)
        (void)send(fd, "more", 4, 0);
    close(fd);
    return count_of(s, "kernel_drops") > 0;
}

static void a_stage_that_is_full_stops_the_reading_and_the_kernel_drops(void **state)
{
    (void)state;
    struct site s;
    site_open(&s, ", buffer: 4KiB", 1);
    struct weir_stage *end = &s.rig->g->stages[END];
    end->queue.overflow.policy = WEIR_OVERFLOW_WAIT;
    end->queue.capacity = 4;
    end->concurrency = 1;
    atomic_store(&s.holding, true);
    site_run(&s);
    rig_wait(s.rig, counted_drops, &s); /* the kernel tells with the next datagram that is read */
    rig_drain(s.rig);
    struct weir_ledger_sum l = rig_ledger(s.rig, END);
    assert_int_equal(l.rejected, 0); /* nothing that was read is lost */
    assert_int_equal(l.handled, count_of(&s, "datagrams"));
    site_stop(&s);
}

static void a_stage_that_refuses_does_not_stop_it(void **state)
{
    (void)state;
    struct site s;
    site_open(&s, "", 1);
    struct weir_stage *end = &s.rig->g->stages[END];
    end->queue.capacity = 2;
    end->concurrency = 1;
    atomic_store(&s.holding, true);
    site_run(&s);
    int fd = sender(&s);
    for (int i = 0; i < 40; i++)
        say(fd, "x");
    wait_for(&s, 1);
    rig_drain(s.rig);
    struct weir_ledger_sum l = rig_ledger(s.rig, END);
    assert_true(l.rejected > 0);
    assert_int_equal(count_of(&s, "refused"), l.rejected);
    assert_int_equal(l.handled + l.rejected, 40);
    close(fd);
    site_stop(&s);
}

static void workers_share_the_address(void **state)
{
    (void)state;
    enum { SENDERS = 64 };
    struct site s;
    site_open(&s, "", 4);
    site_run(&s);
    for (int i = 0; i < SENDERS; i++) {
        int fd = sender(&s);
        say(fd, "hello");
        close(fd);
    }
    wait_for(&s, SENDERS);
    site_stop(&s);
}

static void an_address_that_is_taken_or_wrong_is_an_error(void **state)
{
    (void)state;
    struct site s;
    struct weir_source_maker m = {0};
    struct weir_err err;
    char bound[64], listen[64], yaml[200];
    site_open(&s, "", 1);
    site_run(&s);
    static const char *const bad[] = {"no.such.name.invalid:5", "unix:/tmp/x"};
    for (int i = 0; i < 3; i++) {
        const struct weir_app_type *list[] = {&weir_udp_source_type};
        const struct weir_app_types types = {.types = list, .count = 1};
        struct weir_strbuf report = WEIR_STRBUF_INIT;
        struct weir_app *app = NULL;
        snprintf(listen, sizeof listen, "127.0.0.1:%d", s.port);
        int n = snprintf(yaml, sizeof yaml, "weir: 1\nstages:\n  in: {source: udp, listen: '%s', to: in}\n",
                         i == 0 ? listen : bad[i - 1]);
        (void)weir_app_parse(yaml, (size_t)n, "weir.yaml", "/", NULL, 0, &types, &report, &app, &err);
        struct weir_stage stage = {.name = "in"}; /* the graph is wrong, the options are not */
        assert_non_null(app);
        int rc = weir_udp_source_open(&stage, app->stages[0].options, &m, bound, sizeof bound, &err);
        assert_int_equal(rc, i == 0 ? WEIR_E_EXISTS : i == 1 ? WEIR_E_IO : WEIR_E_CONFIG);
        assert_non_null(strstr(err.text, "stage 'in'"));
        assert_non_null(strstr(err.text, i == 0 ? listen : bad[i - 1]));
        weir_strbuf_fini(&report);
        weir_app_free(app);
    }
    site_stop(&s);
}

static void opening_and_making_survive_any_failed_allocation(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct site s;
    struct weir_err err;
    site_open(&s, "", 1);
    rig_wire_one(s.rig, SOURCE, "out", END);
    rig_finish(s.rig);
    struct weir_worker *w = rig_worker(s.rig, 0);
    long before = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_source_maker m = {0};
        struct weir_source *source = NULL;
        char bound[64];
        weir_mem_fail_after(n);
        rc = weir_udp_source_open(&s.rig->g->stages[SOURCE], s.app->stages[0].options, &m, bound,
                                  sizeof bound, &err);
        bool opened = rc == WEIR_OK;
        if (opened)
            rc = m.make(m.self, w->seats[SOURCE], &source, &err);
        if (rc == WEIR_OK)
            rc = source->ops->start(source, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
        if (source != NULL) {
            source->ops->close(source);
            uv_run(&w->loop, UV_RUN_NOWAIT);
            source->ops->destroy(source);
        }
        if (opened)
            m.destroy(m.self);
        assert_int_equal(weir_mem_live(), before);
    }
    rig_worker_end(w);
    rig_destroy(s.rig);
    weir_app_free(s.app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_datagram_is_an_event),
        TEST(the_sender_comes_along_when_asked_for),
        TEST(what_is_cut_is_counted_and_no_event),
        TEST(a_stage_that_is_full_stops_the_reading_and_the_kernel_drops),
        TEST(a_stage_that_refuses_does_not_stop_it),
        TEST(workers_share_the_address),
        TEST(an_address_that_is_taken_or_wrong_is_an_error),
        TEST(opening_and_making_survive_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
