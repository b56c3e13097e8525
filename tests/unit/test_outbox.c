/* What a sink has to send: frames in order, sent in pieces, sent again, given up; at the end a long random
 * run beside a model. */
#include "io/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "core/stage.h"
#include "io/sink.h"
#include "support.h"

enum { FEED, END };

struct bench {
    struct rig *rig;
    struct weir_worker *w;
    struct weir_seat *seat;
    struct weir_sink sink;
    struct weir_outbox box;
};

static void bench_open(struct bench *b, enum weir_framing_kind framing)
{
    b->rig = rig_create(2, 1);
    rig_pool(b->rig, 0, "main", 1, false);
    rig_stage(b->rig, FEED, "feed", 0, rig_handled, NULL);
    struct weir_stage *end = rig_stage(b->rig, END, "end", 0, rig_handled, NULL);
    end->queue.bytes = 64 << 20;
    rig_wire_one(b->rig, FEED, "out", END);
    rig_finish(b->rig);
    b->w = rig_worker(b->rig, 0);
    b->seat = b->w->seats[END];
    b->sink = (struct weir_sink){.stage = end,
                                 .encode = WEIR_SINK_AUTO,
                                 .framing = {.kind = framing, .max = 1 << 20, .delimiter = '\n'}};
    weir_outbox_init(&b->box, b->seat);
}

static void bench_close(struct bench *b)
{
    assert_int_equal(b->box.count, 0);
    weir_outbox_fini(&b->box);
    rig_worker_end(b->w);
    rig_destroy(b->rig);
}

/* An event that END has begun: a string of `len` bytes. */
static struct weir_event *begun(struct bench *b, const void *data, size_t len)
{
    struct weir_event *ev = weir_event_create(b->w);
    struct weir_blob *blob = weir_blob_create(len + 5);
    assert_non_null(ev);
    assert_non_null(blob);
    blob->data[0] = 0xdb;
    for (int i = 0; i < 4; i++)
        blob->data[1 + i] = (unsigned char)(len >> (24 - 8 * i));
    memcpy(blob->data + 5, data, len);
    ev->value = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
    assert_int_equal(rig_emit(b->w, FEED, ev), WEIR_VERDICT_ACCEPTED);
    struct weir_event *taken[1];
    assert_int_equal(rig_take(b->w, END, taken, 1), 1);
    assert_true(weir_seat_begin(b->seat, taken[0]));
    return taken[0];
}

static bool add(struct bench *b, const char *text)
{
    return weir_outbox_add(&b->box, &b->sink, begun(b, text, strlen(text)));
}

static void check_pending(const struct bench *b, const char *expected)
{
    const char *data;
    size_t n = weir_outbox_pending(&b->box, &data);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(data, expected, n);
}

static void check_frame(const struct bench *b, size_t i, const char *expected)
{
    const char *data;
    size_t n = weir_outbox_frame(&b->box, i, &data);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(data, expected, n);
}

static void check_ends(struct bench *b, int64_t handled, int64_t failed)
{
    struct weir_ledger_sum l = rig_ledger(b->rig, END);
    assert_int_equal(l.handled, handled);
    assert_int_equal(l.failed, failed);
    assert_int_equal(l.running, b->box.count);
}

static int64_t failed_as(struct bench *b, enum weir_reason reason)
{
    return rig_ledger(b->rig, END).reasons[reason];
}

/* ---- */

static void an_event_ends_when_the_last_byte_of_its_frame_is_sent(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, WEIR_FRAMING_LINE);
    check_pending(&b, "");
    assert_false(weir_outbox_begun(&b.box));
    assert_true(add(&b, "one"));
    assert_true(add(&b, "two"));
    check_pending(&b, "one\ntwo\n");
    weir_outbox_sent(&b.box, 3);
    assert_true(weir_outbox_begun(&b.box));
    check_ends(&b, 0, 0);
    weir_outbox_sent(&b.box, 1);
    assert_false(weir_outbox_begun(&b.box));
    check_ends(&b, 1, 0);
    check_pending(&b, "two\n");
    assert_true(add(&b, "three"));
    weir_outbox_sent(&b.box, 6);
    check_ends(&b, 2, 0);
    check_pending(&b, "ree\n");
    weir_outbox_sent(&b.box, 4);
    check_ends(&b, 3, 0);
    check_pending(&b, "");
    bench_close(&b);
}

static void one_write_may_end_many(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, WEIR_FRAMING_LINE);
    for (int i = 0; i < 500; i++) /* more than there is room for at first */
        assert_true(add(&b, "x"));
    weir_outbox_sent(&b.box, 2 * 499 + 1);
    check_ends(&b, 499, 0);
    check_pending(&b, "\n");
    weir_outbox_sent(&b.box, 1);
    check_ends(&b, 500, 0);
    bench_close(&b);
}

static void empty_frames_need_no_bytes(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, WEIR_FRAMING_RAW);
    assert_true(add(&b, ""));
    check_pending(&b, "");
    weir_outbox_sent(&b.box, 0);
    check_ends(&b, 1, 0);
    assert_true(add(&b, "a"));
    assert_true(add(&b, ""));
    assert_true(add(&b, ""));
    weir_outbox_sent(&b.box, 0);
    check_ends(&b, 1, 0); /* they wait behind the first */
    weir_outbox_sent(&b.box, 1);
    check_ends(&b, 4, 0);
    bench_close(&b);
}

static void a_frame_that_was_begun_is_sent_again_whole(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, WEIR_FRAMING_LINE);
    add(&b, "one");
    add(&b, "two");
    weir_outbox_sent(&b.box, 6);
    check_pending(&b, "o\n");
    weir_outbox_rewind(&b.box, 3, "lost");
    check_ends(&b, 1, 0);
    check_pending(&b, "two\n");
    assert_false(weir_outbox_begun(&b.box));
    weir_outbox_sent(&b.box, 4);
    check_ends(&b, 2, 0);
    bench_close(&b);
}

static void only_breaks_within_a_frame_count_as_tries(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, WEIR_FRAMING_LINE);
    add(&b, "one");
    add(&b, "two");
    for (int i = 0; i < 10; i++)
        weir_outbox_rewind(&b.box, 1, "lost");
    check_ends(&b, 0, 0);
    weir_outbox_sent(&b.box, 1);
    weir_outbox_rewind(&b.box, 1, "lost");
    check_pending(&b, "one\ntwo\n");
    weir_outbox_sent(&b.box, 2);
    weir_outbox_rewind(&b.box, 1, "lost"); /* the second time */
    check_ends(&b, 0, 1);
    assert_int_equal(failed_as(&b, WEIR_REASON_IO), 1);
    check_pending(&b, "two\n"); /* from its start */
    assert_false(weir_outbox_begun(&b.box));
    weir_outbox_sent(&b.box, 4);
    check_ends(&b, 1, 1);
    bench_close(&b);
}

static void datagrams_are_sent_frame_by_frame(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, WEIR_FRAMING_RAW);
    add(&b, "first");
    add(&b, "");
    add(&b, "third");
    check_frame(&b, 0, "first");
    check_frame(&b, 1, "");
    check_frame(&b, 2, "third");
    weir_outbox_sent_frames(&b.box, 2);
    check_ends(&b, 2, 0);
    check_frame(&b, 0, "third");
    weir_outbox_drop_first(&b.box, WEIR_REASON_IO, "too large for a datagram");
    check_ends(&b, 2, 1);
    add(&b, "last");
    check_frame(&b, 0, "last");
    weir_outbox_sent_frames(&b.box, 1);
    check_ends(&b, 3, 1);
    bench_close(&b);
}

static void what_was_given_up_is_not_sent(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, WEIR_FRAMING_LINE);
    add(&b, "one");
    add(&b, "two");
    weir_outbox_sent(&b.box, 2);
    weir_outbox_drop_first(&b.box, WEIR_REASON_IO, "the peer takes nothing");
    check_ends(&b, 0, 1);
    check_pending(&b, "two\n");
    add(&b, "three");
    weir_outbox_sent(&b.box, 7);
    check_pending(&b, "ee\n");
    weir_outbox_cancel(&b.box);
    check_ends(&b, 1, 2);
    assert_int_equal(failed_as(&b, WEIR_REASON_CANCELLED), 1);
    check_pending(&b, "");
    bench_close(&b);
}

static void an_event_without_a_form_ends_at_once_and_leaves_no_trace(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b, WEIR_FRAMING_LINE);
    add(&b, "one");
    assert_false(add(&b, "two\nlines"));
    check_ends(&b, 0, 1);
    assert_int_equal(failed_as(&b, WEIR_REASON_ENCODE), 1);
    add(&b, "three");
    check_pending(&b, "one\nthree\n");
    weir_outbox_sent(&b.box, 10);
    check_ends(&b, 2, 1);
    bench_close(&b);
}

static void without_memory_the_event_fails_and_the_others_stay(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct bench b;
    bool added = false;
    bench_open(&b, WEIR_FRAMING_LINE);
    int failures = 0;
    for (long n = 0; !added; n++) {
        struct weir_event *ev = begun(&b, "text", 4);
        weir_mem_fail_after(n);
        added = weir_outbox_add(&b.box, &b.sink, ev);
        weir_mem_fail_after(-1);
        failures += !added;
    }
    assert_true(failures > 0);
    assert_int_equal(failed_as(&b, WEIR_REASON_MEMORY), failures);
    check_pending(&b, "text\n");
    weir_outbox_sent(&b.box, 5);
    check_ends(&b, 1, failures);
    bench_close(&b);
}

static void an_empty_one_keeps_little_memory(void **state)
{
    (void)state;
    enum { SIZE = 900000 };
    struct bench b;
    char *text = calloc(1, SIZE);
    bench_open(&b, WEIR_FRAMING_RAW);
    assert_true(weir_outbox_add(&b.box, &b.sink, begun(&b, text, SIZE)));
    assert_true(weir_outbox_memory(&b.box) >= SIZE);
    weir_outbox_sent(&b.box, SIZE);
    assert_true(weir_outbox_memory(&b.box) < 300 << 10);
    free(text);
    bench_close(&b);
}

/* ---- beside a model ---- */

enum { MODEL_FRAMES = 512, MODEL_TEXT = 8000, RETRIES = 2 };

/* The frames that wait, and how much of the first is sent. A frame's bytes follow from its number. */
struct model {
    uint64_t number[MODEL_FRAMES];
    size_t len[MODEL_FRAMES];
    unsigned tries[MODEL_FRAMES];
    size_t count, sent; /* of the first frame's bytes */
    uint64_t next;
    int64_t handled, failed;
};

static uint64_t random_state;

static size_t random_below(size_t bound)
{
    random_state ^= random_state << 13; /* xorshift64 (Marsaglia, "Xorshift RNGs") */
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state >> 11) % bound;
}

static char byte_of(uint64_t number, size_t at)
{
    return (char)(number * 31 + at * 7 + (at >> 8));
}

static void model_pop(struct model *m)
{
    m->count--;
    m->sent = 0;
    memmove(m->number, m->number + 1, m->count * sizeof m->number[0]);
    memmove(m->len, m->len + 1, m->count * sizeof m->len[0]);
    memmove(m->tries, m->tries + 1, m->count * sizeof m->tries[0]);
}

static void model_add(struct model *m, struct bench *b)
{
    static char text[MODEL_TEXT];
    if (m->count == MODEL_FRAMES)
        return;
    size_t len = random_below(10) == 0 ? 0 : random_below(random_below(4) == 0 ? MODEL_TEXT : 40);
    for (size_t i = 0; i < len; i++)
        text[i] = byte_of(m->next, i);
    assert_true(weir_outbox_add(&b->box, &b->sink, begun(b, text, len)));
    m->number[m->count] = m->next++;
    m->tries[m->count] = 0;
    m->len[m->count++] = len;
}

static void model_send(struct model *m, struct bench *b)
{
    const char *data;
    size_t all = weir_outbox_pending(&b->box, &data), n = random_below(all + 1);
    if (random_below(3) == 0)
        n = all;
    weir_outbox_sent(&b->box, n);
    m->sent += n;
    while (m->count > 0 && m->sent >= m->len[0]) {
        size_t rest = m->sent - m->len[0];
        model_pop(m);
        m->sent = rest;
        m->handled++;
    }
}

static void model_break(struct model *m, struct bench *b)
{
    weir_outbox_rewind(&b->box, RETRIES, "lost");
    if (m->count > 0 && m->sent > 0 && ++m->tries[0] > RETRIES) {
        model_pop(m);
        m->failed++;
    }
    m->sent = 0;
}

static void model_check(const struct model *m, const struct bench *b)
{
    const char *data;
    size_t n = weir_outbox_pending(&b->box, &data), at = 0;
    for (size_t f = 0; f < m->count; f++)
        for (size_t i = f == 0 ? m->sent : 0; i < m->len[f]; i++, at++)
            if (at >= n || data[at] != byte_of(m->number[f], i))
                fail_msg("frame %llu differs at byte %zu", (unsigned long long)m->number[f], i);
    assert_int_equal(at, n);
    assert_int_equal(weir_outbox_begun(&b->box), m->sent > 0);
}

static void any_order_of_sends_and_breaks_keeps_the_bytes_in_order(void **state)
{
    (void)state;
    struct bench b;
    static struct model m;
    memset(&m, 0, sizeof m);
    random_state = 0x9e3779b97f4a7c15ULL;
    bench_open(&b, WEIR_FRAMING_RAW);
    for (int i = 0; i < 20000; i++) {
        switch (random_below(8)) {
        case 0:
            model_break(&m, &b);
            break;
        case 1:
        case 2:
            model_send(&m, &b);
            break;
        default:
            model_add(&m, &b);
        }
        if (i % 16 == 0)
            model_check(&m, &b);
    }
    check_ends(&b, m.handled, m.failed);
    assert_true(m.handled > 1000 && m.failed > 10);
    assert_true(weir_outbox_memory(&b.box) <
                16 << 20); /* what is through is given back, however long it never is empty */
    m.failed += (int64_t)m.count;
    weir_outbox_cancel(&b.box);
    check_ends(&b, m.handled, m.failed);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_event_ends_when_the_last_byte_of_its_frame_is_sent),
        TEST(one_write_may_end_many),
        TEST(empty_frames_need_no_bytes),
        TEST(a_frame_that_was_begun_is_sent_again_whole),
        TEST(only_breaks_within_a_frame_count_as_tries),
        TEST(datagrams_are_sent_frame_by_frame),
        TEST(what_was_given_up_is_not_sent),
        TEST(an_event_without_a_form_ends_at_once_and_leaves_no_trace),
        TEST(without_memory_the_event_fails_and_the_others_stay),
        TEST(an_empty_one_keeps_little_memory),
        TEST(any_order_of_sends_and_breaks_keeps_the_bytes_in_order),
    };
    return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
