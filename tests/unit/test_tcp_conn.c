/* longer than 600 lines because a connection has many ends, and each is a test. */
#include "tcp_fixture.h"

#include "base/log.h"

/* ---- frames ---- */

static void lines_are_cut_wherever_their_pieces_end(void **state)
{
    static const char text[] = "one\r\ntw\0o\n\nlast\n";
    enum { LEN = sizeof text - 1 };
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "");
    for (size_t split = 1; split < LEN; split++) {
        int fd = peer_connect(&t);
        peer_say(fd, text, split);
        tcp_turn(&t);
        tcp_turn(&t);
        peer_say(fd, text + split, LEN - split);
        tcp_expect(&t, 4, "\"one\"\n\"tw\\u0000o\"\n\"\"\n\"last\"\n");
        close(fd);
    }
    int fd = peer_connect(&t);
    for (size_t i = 0; i < LEN; i++) {
        peer_say(fd, text + i, 1);
        tcp_turn(&t);
    }
    tcp_expect(&t, 4, "\"one\"\n\"tw\\u0000o\"\n\"\"\n\"last\"\n");
    close(fd);
    tcp_close(&t);
}

static void lengths_are_cut_wherever_their_pieces_end(void **state)
{
    static const char text[] = "\0\0\0\2ab\0\0\0\0\0\0\0\3c\nd";
    enum { LEN = sizeof text - 1 };
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "framing: length");
    for (size_t split = 1; split < LEN; split++) {
        int fd = peer_connect(&t);
        peer_say(fd, text, split);
        tcp_turn(&t);
        tcp_turn(&t);
        peer_say(fd, text + split, LEN - split);
        tcp_expect(&t, 3, "\"ab\"\n\"\"\n\"c\\nd\"\n");
        close(fd);
    }
    tcp_close(&t);
}

static void the_end_of_the_stream_ends_a_line_a_reset_does_not(void **state)
{
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "notify: true");
    int fd = peer_connect(&t);
    peer_says(fd, "whole\nrest");
    shutdown(fd, SHUT_WR);
    int count = 4;
    tcp_until(&t, tcp_has_count, &count);
    assert_non_null(strstr(t.got.data, "\"whole\"\n\"rest\"\n"));
    assert_non_null(strstr(t.got.data, "\"reason\":\"eof\""));
    close(fd);
    t.count = 0;
    weir_strbuf_clear(&t.got);
    fd = peer_connect(&t);
    peer_says(fd, "whole\nhalf a li");
    count = 2;
    tcp_until(&t, tcp_has_count, &count);
    peer_reset(fd);
    count = 3;
    tcp_until(&t, tcp_has_count, &count);
    assert_null(strstr(t.got.data, "half"));
    assert_non_null(strstr(t.got.data, "\"reason\":\"reset\""));
    tcp_close(&t);
}

static bool has_ended(struct tcp_host *t, void *arg)
{
    (void)arg;
    return tcp_stat(t, "connections") == 0;
}

static void nothing_behind_a_frame_that_is_too_long_is_believed(void **state)
{
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "max_frame: 8");
    int fd = peer_connect(&t);
    peer_says(fd, "good\nmuch too long\nrm -r\n");
    struct peer_reading r = {.fd = fd};
    tcp_until(&t, peer_has_read, &r);
    assert_int_equal(r.error, 0); /* an orderly end */
    close(fd);
    tcp_until(&t, has_ended, NULL);
    tcp_expect(&t, 1, "\"good\"\n");
    assert_int_equal(tcp_stat(&t, "overlong"), 1);
    tcp_close(&t);
}

static void a_very_long_line_takes_no_memory(void **state)
{
    static char piece[65536];
    struct tcp_host t;
    (void)state;
    memset(piece, 'x', sizeof piece);
    tcp_open_by_hand(&t, "overlong: skip");
    int fd = peer_connect(&t);
    tcp_turn(&t);
    for (size_t sent = 0; sent < 32 << 20;) {
        ssize_t n = send(fd, piece, sizeof piece, 0);
        sent += n > 0 ? (size_t)n : 0;
        tcp_turn(&t);
        assert_true(weir_mem_live() < 1000); /* blocks */
    }
    while (send(fd, "\nafter\n", 7, 0) != 7)
        tcp_turn(&t);
    tcp_expect(&t, 1, "\"after\"\n");
    assert_int_equal(tcp_stat(&t, "overlong"), 1);
    close(fd);
    tcp_close(&t);
}

static void a_greeting_comes_line_by_line_before_frames_of_another_kind(void **state)
{
    static const char text[] = "HELLO/1\r\nname: x\n\r\n\0\0\0\3a\nb\0\0\0\1c";
    enum { LEN = sizeof text - 1 };
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "framing: length, greeting: {until: ''}");
    for (size_t split = 1; split < LEN;
         split++) { /* the byte after the greeting's last is the first of a frame, exactly */
        int fd = peer_connect(&t);
        peer_say(fd, text, split);
        tcp_turn(&t);
        tcp_turn(&t);
        peer_say(fd, text + split, LEN - split);
        int count = 5;
        tcp_until(&t, tcp_has_count, &count);
        assert_non_null(strstr(t.got.data, "\"line\":\"HELLO/1\",\"last\":false"));
        assert_non_null(strstr(t.got.data, "\"line\":\"\",\"last\":true"));
        assert_non_null(strstr(t.got.data, "}\n\"a\\nb\"\n\"c\"\n"));
        t.count = 0;
        weir_strbuf_clear(&t.got);
        close(fd);
    }
    tcp_close(&t);
    tcp_open_by_hand(&t, "framing: length, greeting: {lines: 1}");
    int fd = peer_connect(&t);
    peer_say(fd, "HI\n\0\0\0\1c", 8);
    int count = 2;
    tcp_until(&t, tcp_has_count, &count);
    assert_non_null(strstr(t.got.data, "\"line\":\"HI\",\"last\":true"));
    assert_non_null(strstr(t.got.data, "}\n\"c\"\n"));
    close(fd);
    tcp_close(&t);
}

static void wrong_options_are_told(void **state)
{
    static const char *const cases[][2] = {
        {"greeting: {}", "'greeting' needs 'lines', 'until', or both"},
        {"framing: length, length_size: 3", "expected 1, 2, 4 or 8"},
        {"on_overflow: reject", "on_overflow"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_strbuf report = WEIR_STRBUF_INIT;
        struct weir_app *app = tcp_parse(cases[i][0], &report);
        if (report.len == 0 || strstr(report.data, cases[i][1]) == NULL)
            fail_msg("%s: %s", cases[i][0], report.len > 0 ? report.data : "nothing is told");
        weir_app_free(app);
        weir_strbuf_fini(&report);
    }
}

/* ---- backpressure ---- */

static void nothing_is_read_while_the_stage_behind_waits(void **state)
{
    enum { LINES = 200000 };
    struct tcp_host t;
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    (void)state;
    tcp_open_by_hand(&t, "idle_timeout: 1s");
    for (int i = 0; i < LINES; i++)
        weir_strbuf_addf(&text, "%07d\n", i);
    int fd = peer_connect(&t);
    size_t sent = 0;
    int stalls = 0;
    while (stalls < 50) { /* nobody takes events: the kernel's buffers are filled, and no more */
        ssize_t n = send(fd, text.data + sent, text.len - sent, 0);
        sent += n > 0 ? (size_t)n : 0;
        stalls = n > 0 ? 0 : stalls + 1;
        tcp_poll(&t);
        if (n <= 0)
            poll(NULL, 0, 1);
        if (sent == text.len)
            break;
    }
    long read_then = tcp_stat(&t, "bytes");
    assert_true(read_then <= 65536);
    assert_int_equal(t.count, 0);
    rig_advance(t.w, 10 * WEIR_NS_PER_S);
    weir_timers_run(t.w);
    assert_int_equal(tcp_stat(&t, "timeout_idle"), 0); /* it is we who are slow */
    while (t.count < LINES) {
        if (sent < text.len) {
            ssize_t n = send(fd, text.data + sent, text.len - sent, 0);
            sent += n > 0 ? (size_t)n : 0;
        }
        tcp_turn(&t);
    }
    assert_int_equal(t.got.len, (size_t)LINES * 10);
    for (int i = 0; i < LINES; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "\"%07d\"\n", i);
        assert_memory_equal(t.got.data + (size_t)i * 10, expected, 10);
    }
    close(fd);
    weir_strbuf_fini(&text);
    tcp_close(&t);
}

static void a_quiet_connection_ends_by_its_idle_timeout(void **state)
{
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "idle_timeout: 1s, notify: true");
    int fd = peer_connect(&t), count = 1;
    tcp_until(&t, tcp_has_count, &count);
    rig_advance(t.w, 900 * WEIR_NS_PER_MS);
    rig_run(t.w);
    peer_says(fd, "x\n");
    count = 2;
    tcp_until(&t, tcp_has_count, &count);
    rig_advance(t.w, 900 * WEIR_NS_PER_MS);
    rig_run(t.w);
    assert_int_equal(tcp_stat(&t, "connections"), 1);
    rig_advance(t.w, 200 * WEIR_NS_PER_MS);
    rig_run(t.w);
    assert_int_equal(tcp_stat(&t, "timeout_idle"), 1);
    count = 3;
    tcp_until(&t, tcp_has_count, &count);
    assert_non_null(strstr(t.got.data, "\"reason\":\"idle\""));
    close(fd);
    tcp_close(&t);
}

/* ---- sending ---- */

/* The connection of a peer that has said a line. */
static struct weir_tcp_conn *conn_of(struct tcp_host *t, int fd)
{
    peer_says(fd, "hello\n");
    tcp_expect(t, 1, "\"hello\"\n");
    struct weir_tcp_conn *c = weir_tcp_conn_find(t->source);
    assert_non_null(c);
    return c;
}

static int send_text(struct tcp_host *t, struct weir_tcp_conn *c, const char *text)
{
    return weir_tcp_conn_send(c, t->w, &(struct weir_tcp_send){.data = text, .len = strlen(text)}, NULL);
}

struct told {
    int count, rc;
};

static void on_told(struct weir_tcp_sending *s, int rc)
{
    struct told *told = s->arg;
    told->count++;
    told->rc = rc;
    weir_tcp_sending_unref(s);
}

static int send_waiting(struct tcp_host *t, struct weir_tcp_conn *c, const char *text, struct told *told,
                        struct weir_tcp_sending **ret)
{
    const struct weir_tcp_send send = {.data = text, .len = strlen(text), .done = on_told, .arg = told};
    return weir_tcp_conn_send(c, t->w, &send, ret);
}

static char kilobyte[1025];
enum { MANY = 12000 }; /* kilobytes: more than the kernel takes */

/* Sends until there is no room; returns how many lines were taken. */
static size_t fill(struct tcp_host *t, struct weir_tcp_conn *c, struct told *told,
                   struct weir_tcp_sending **ret)
{
    memset(kilobyte, 'k', 1024);
    size_t taken = 0;
    for (;; taken++) {
        int rc = send_waiting(t, c, kilobyte, told, ret);
        tcp_turn(t);
        if (rc == WEIR_E_FULL && told->count == 0)
            return taken;
        if (rc == WEIR_E_FULL)
            told->count = 0;
        assert_true(rc == WEIR_OK || rc == WEIR_E_FULL);
        assert_true(taken < 100000);
    }
}

static void who_sends_to_a_slow_peer_waits_in_turn(void **state)
{
    struct tcp_host t;
    struct told big = {0}, small = {0};
    struct weir_tcp_sending *first, *second;
    (void)state;
    tcp_open_by_hand(&t, "send_buffer: 16KiB");
    int fd = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd);
    size_t lines = fill(&t, c, &big, &first);
    assert_true(atomic_load(&c->queued) <= 16 << 10);
    assert_int_equal(send_waiting(&t, c, "small", &small, &second), WEIR_E_FULL); /* though it might fit */
    assert_int_equal(send_text(&t, c, "who can't wait"), WEIR_E_FULL);
    tcp_turn(&t);
    assert_int_equal(big.count + small.count, 0);
    struct peer_reading r = {.fd = fd, .atleast = (lines + 1) * 1025 + 6};
    tcp_until(&t, peer_has_read, &r);
    assert_int_equal(r.got.len, r.atleast);
    assert_string_equal(r.got.data + r.got.len - 8, "k\nsmall\n"); /* in the order in which they were sent */
    assert_true(big.count == 1 && big.rc == WEIR_OK && small.count == 1 && small.rc == WEIR_OK);
    assert_int_equal(atomic_load(&c->queued), 0);
    assert_int_equal(atomic_load(&c->waiting), 0);
    assert_int_equal(send_text(&t, c, "again"), WEIR_OK);
    weir_strbuf_fini(&r.got);
    weir_tcp_conn_unref(c);
    close(fd);
    tcp_close(&t);
}

static void what_is_recalled_is_not_sent_and_not_kept(void **state)
{
    struct tcp_host t;
    struct told told = {0}, late = {0};
    struct weir_tcp_sending *s, *other;
    (void)state;
    tcp_open_by_hand(&t, "send_buffer: 16KiB");
    int fd = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd);
    size_t lines = fill(&t, c, &told, &s);
    long live = weir_mem_live();
    for (int i = 0; i < 1000; i++) { /* as handlers do whose deadlines pass */
        assert_int_equal(send_waiting(&t, c, "never", &late, &other), WEIR_E_FULL);
        if (i % 2 == 0)
            tcp_turn(&t);
        weir_tcp_sending_recall(other);
        tcp_turn(&t);
    }
    assert_int_equal(weir_mem_live(), live);
    weir_tcp_sending_recall(s);
    tcp_turn(&t);
    assert_int_equal(atomic_load(&c->waiting), 0);
    struct peer_reading r = {.fd = fd, .atleast = lines * 1025};
    tcp_until(&t, peer_has_read, &r);
    assert_int_equal(send_text(&t, c, "end"), WEIR_OK);
    weir_strbuf_clear(&r.got);
    r.atleast = 4;
    tcp_until(&t, peer_has_read, &r);
    assert_string_equal(r.got.data, "end\n");
    assert_int_equal(told.count + late.count, 0);
    weir_strbuf_fini(&r.got);
    weir_tcp_conn_unref(c);
    close(fd);
    tcp_close(&t);
}

static void who_waits_is_told_when_the_connection_ends(void **state)
{
    struct tcp_host t;
    struct told told = {0};
    struct weir_tcp_sending *s;
    (void)state;
    tcp_open_by_hand(&t, "send_buffer: 16KiB");
    int fd = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd);
    fill(&t, c, &told, &s);
    peer_reset(fd);
    tcp_until(&t, has_ended, NULL);
    tcp_turn(&t);
    assert_true(told.count == 1 && told.rc == WEIR_E_CLOSED);
    assert_int_equal(send_text(&t, c, "x"), WEIR_E_CLOSED);
    assert_null(weir_tcp_conn_find(c->id));
    weir_tcp_conn_close(c, NULL); /* nothing */
    weir_tcp_conn_unref(c);
    tcp_close(&t);
}

static void a_slow_peer_is_cut_and_gets_nothing_after_what_is_missing(void **state)
{
    struct tcp_host t;
    struct weir_strbuf sent = WEIR_STRBUF_INIT;
    int rc = WEIR_OK, n = 0;
    (void)state;
    tcp_open_by_hand(&t, "send_buffer: 16KiB, on_overflow: close");
    int fd = peer_connect(&t), other = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd), *o = conn_of(&t, other);
    memset(kilobyte, 'k', 1024);
    for (; rc == WEIR_OK; n++) {
        rc = send_text(&t, c, kilobyte);
        if (rc == WEIR_OK && n % 8 == 0)
            tcp_turn(&t);
        assert_true(n < 100000);
    }
    assert_int_equal(rc, WEIR_E_CLOSED);
    assert_int_equal(send_text(&t, c, "x"),
                     WEIR_E_CLOSED); /* at once, though its worker has not cut it yet */
    tcp_until(&t, (bool (*)(struct tcp_host *, void *))peer_has_read,
              &(struct peer_reading){.fd = other, .atleast = 0, .ended = true});
    assert_int_equal(send_text(&t, o, "still here"), WEIR_OK);
    struct peer_reading r = {.fd = other, .atleast = 11};
    tcp_until(&t, peer_has_read, &r);
    assert_string_equal(r.got.data, "still here\n");
    assert_int_equal(tcp_stat(&t, "slow"), 1);
    assert_int_equal(tcp_stat(&t, "connections"), 1);
    struct peer_reading cut = {.fd = fd};
    tcp_until(&t, peer_has_read, &cut);
    assert_int_equal(cut.error, ECONNRESET); /* it sees that something is missing */
    assert_true(cut.got.len == 0 || strspn(cut.got.data, "k\n") == cut.got.len);
    weir_strbuf_fini(&cut.got);
    weir_strbuf_fini(&r.got);
    weir_strbuf_fini(&sent);
    weir_tcp_conn_unref(c);
    weir_tcp_conn_unref(o);
    close(fd);
    close(other);
    tcp_close(&t);
}

static void frames_that_are_none_are_refused(void **state)
{
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "max_frame: 100");
    int fd = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd);
    memset(kilobyte, 'k', 1024);
    assert_int_equal(send_text(&t, c, "two\nlines"), WEIR_E_INVAL);
    assert_int_equal(send_text(&t, c, kilobyte), WEIR_E_LIMIT);
    const struct weir_tcp_send whole = {.data = "as\nit\nis", .len = 8, .whole = true};
    assert_int_equal(weir_tcp_conn_send(c, t.w, &whole, NULL), WEIR_OK);
    struct peer_reading r = {.fd = fd, .atleast = 8};
    tcp_until(&t, peer_has_read, &r);
    assert_string_equal(r.got.data, "as\nit\nis");
    weir_strbuf_fini(&r.got);
    weir_tcp_conn_unref(c);
    close(fd);
    tcp_close(&t);
}

/* ---- closing ---- */

static void closing_lets_everything_out_before_though_the_peer_goes_on(void **state)
{
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "send_buffer: 16MiB");
    int fd = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd);
    memset(kilobyte, 'k', 1024);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(send_text(&t, c, kilobyte), WEIR_OK);
    weir_tcp_conn_close(c, NULL);
    assert_int_equal(send_text(&t, c, "late"), WEIR_E_CLOSED);
    for (int i = 0; i < 100; i++) /* bytes that nobody will read: a reset would eat what is on its way */
        (void)send(fd, kilobyte, 1024, 0);
    struct peer_reading r = {.fd = fd};
    tcp_until(&t, peer_has_read, &r);
    assert_int_equal(r.error, 0);
    assert_int_equal(r.got.len, MANY * 1025);
    assert_int_equal(tcp_stat(&t, "connections"), 1); /* it waits for the peer's end */
    (void)send(fd, "more\n", 5, 0);
    close(fd);
    tcp_until(&t, has_ended, NULL);
    assert_int_equal(t.count, 0);
    weir_strbuf_fini(&r.got);
    weir_tcp_conn_unref(c);
    tcp_close(&t);
}

static void a_peer_that_never_takes_its_last_bytes_is_not_waited_for(void **state)
{
    struct tcp_host t;
    struct told told = {0};
    struct weir_tcp_sending *s;
    (void)state;
    tcp_open_by_hand(&t, "send_buffer: 16KiB, linger: 2s");
    int fd = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd);
    fill(&t, c, &told, &s);
    weir_tcp_conn_close(c, NULL);
    tcp_turn(&t);
    assert_int_equal(tcp_stat(&t, "connections"), 1);
    rig_advance(t.w, 1900 * WEIR_NS_PER_MS);
    rig_run(t.w);
    assert_int_equal(tcp_stat(&t, "connections"), 1);
    rig_advance(t.w, 200 * WEIR_NS_PER_MS);
    rig_run(t.w);
    assert_int_equal(tcp_stat(&t, "connections"), 0);
    assert_int_equal(tcp_stat(&t, "slow"), 1);
    assert_true(told.count == 1 && told.rc == WEIR_E_CLOSED);
    weir_tcp_conn_unref(c);
    close(fd);
    tcp_close(&t);
}

static void a_peer_that_has_sent_its_end_is_answered_for_a_while(void **state)
{
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "linger: 2s");
    int fd = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd);
    shutdown(fd, SHUT_WR);
    tcp_turn(&t);
    rig_advance(t.w, 1 * WEIR_NS_PER_S);
    tcp_turn(&t);
    assert_int_equal(send_text(&t, c, "answer"), WEIR_OK);
    struct peer_reading r = {.fd = fd, .atleast = 7};
    tcp_until(&t, peer_has_read, &r);
    assert_string_equal(r.got.data, "answer\n");
    rig_advance(t.w, 1500 * WEIR_NS_PER_MS); /* since the answer */
    tcp_turn(&t);
    assert_int_equal(tcp_stat(&t, "connections"), 1);
    rig_advance(t.w, 1 * WEIR_NS_PER_S);
    tcp_turn(&t);
    assert_int_equal(tcp_stat(&t, "connections"), 0);
    assert_int_equal(send_text(&t, c, "x"), WEIR_E_CLOSED);
    r.atleast = 0;
    tcp_until(&t, peer_has_read, &r);
    assert_int_equal(r.error, 0);
    weir_strbuf_fini(&r.got);
    weir_tcp_conn_unref(c);
    close(fd);
    tcp_close(&t);
}

static void an_abort_is_a_reset_and_loses_what_waits(void **state)
{
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "");
    int fd = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd);
    weir_tcp_conn_close(c, NULL); /* the harder wish counts */
    weir_tcp_conn_close(c, "aborted");
    struct peer_reading r = {.fd = fd};
    tcp_until(&t, peer_has_read, &r);
    assert_int_equal(r.error, ECONNRESET);
    tcp_until(&t, has_ended, NULL);
    weir_tcp_conn_unref(c);
    close(fd);
    tcp_close(&t);
}

static void a_stop_reads_nothing_more_and_sends_what_is_left(void **state)
{
    struct tcp_host t;
    (void)state;
    tcp_open_by_hand(&t, "send_buffer: 16MiB");
    int fd = peer_connect(&t);
    struct weir_tcp_conn *c = conn_of(&t, fd);
    memset(kilobyte, 'k', 1024);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(send_text(&t, c, kilobyte), WEIR_OK);
    tcp_source(&t)->ops->stop(tcp_source(&t));
    peer_says(fd, "unheard\n");
    tcp_turn(&t);
    assert_false(tcp_source(&t)->ops->idle(tcp_source(&t)));
    struct peer_reading r = {.fd = fd, .atleast = MANY * 1025};
    tcp_until(&t, peer_has_read, &r);
    tcp_turn(&t);
    assert_true(tcp_source(&t)->ops->idle(tcp_source(&t)));
    assert_int_equal(t.count, 0);
    weir_tcp_conn_unref(c);
    weir_strbuf_fini(&r.got);
    tcp_source(&t)->ops->close(tcp_source(&t));
    r = (struct peer_reading){.fd = fd};
    peer_has_read(&t, &r);
    assert_true(r.ended && r.error == 0); /* no reset, though it had said something */
    close(fd);
    tcp_close(&t);
}

/* ---- without memory ---- */

static void a_source_survives_without_memory(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct tcp_host t;
    tcp_open_by_hand(&t, "notify: true");
    int said = 0;
    for (long n = 0; n < 60; n++) { /* accept, read, cut, send */
        int fd = peer_connect(&t);
        peer_says(fd, "line\n");
        poll(NULL, 0, 1);
        weir_mem_fail_after(n);
        tcp_poll(&t);
        weir_mem_fail_after(-1);
        for (int i = 0; i < 3; i++)
            tcp_turn(&t);
        struct weir_tcp_conn *c = weir_tcp_conn_find(t.source);
        weir_mem_fail_after(n % 8);
        int rc = c != NULL ? send_text(&t, c, "back") : WEIR_E_CLOSED;
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM || rc == WEIR_E_CLOSED);
        said += rc == WEIR_OK;
        weir_tcp_conn_unref(c);
        tcp_turn(&t);
        close(fd);
    }
    assert_true(said > 0);
    tcp_close(&t);
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_app *app = tcp_parse("", &report);
    long before = weir_mem_live();
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_stage stage = {.name = "in"};
        struct weir_source_maker maker;
        struct weir_err err;
        char bound[80];
        weir_mem_fail_after(n);
        rc = weir_tcp_source_open(&stage, app->stages[0].options, &maker, bound, sizeof bound, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || rc == WEIR_E_NOMEM);
        if (rc == WEIR_OK)
            maker.destroy(maker.self);
        assert_int_equal(weir_mem_live(), before);
    }
    weir_app_free(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_are_cut_wherever_their_pieces_end),
        TEST(lengths_are_cut_wherever_their_pieces_end),
        TEST(the_end_of_the_stream_ends_a_line_a_reset_does_not),
        TEST(nothing_behind_a_frame_that_is_too_long_is_believed),
        TEST(a_very_long_line_takes_no_memory),
        TEST(a_greeting_comes_line_by_line_before_frames_of_another_kind),
        TEST(wrong_options_are_told),
        TEST(nothing_is_read_while_the_stage_behind_waits),
        TEST(a_quiet_connection_ends_by_its_idle_timeout),
        TEST(who_sends_to_a_slow_peer_waits_in_turn),
        TEST(what_is_recalled_is_not_sent_and_not_kept),
        TEST(who_waits_is_told_when_the_connection_ends),
        TEST(a_slow_peer_is_cut_and_gets_nothing_after_what_is_missing),
        TEST(frames_that_are_none_are_refused),
        TEST(closing_lets_everything_out_before_though_the_peer_goes_on),
        TEST(a_peer_that_never_takes_its_last_bytes_is_not_waited_for),
        TEST(a_peer_that_has_sent_its_end_is_answered_for_a_while),
        TEST(an_abort_is_a_reset_and_loses_what_waits),
        TEST(a_stop_reads_nothing_more_and_sends_what_is_left),
        TEST(a_source_survives_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
