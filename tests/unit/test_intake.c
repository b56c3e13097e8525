#include "test.h"

#include <string.h>

#include "base/strbuf.h"
#include "core/stage.h"
#include "core/waiter.h"
#include "io/intake.h"
#include "io/source_value.h"
#include "support.h"

/* Bytes given by hand, to a stage behind that notes its events. */
struct line {
    struct weir_intake intake;
    struct weir_intake_counts counts;
    struct rig *rig;
    struct weir_worker *w;
    struct weir_strbuf got;
    uint64_t offset, end; /* of the last frame */
    int hungry;
};

static struct line *line_of(struct weir_intake *in)
{
    return WEIR_LIST_ENTRY(in, struct line, intake);
}

static enum weir_reason note(struct rig_handler *h, struct weir_event *ev)
{
    struct line *l = h->logic->arg;
    weir_value_print(ev->value, &l->got);
    return WEIR_REASON_NONE;
}

static bool make_value(struct weir_intake *in, const struct weir_cut_frame *frame, uint64_t offset,
                       struct weir_value *ret)
{
    line_of(in)->offset = offset;
    return weir_source_value_string(frame->data, frame->len, ret);
}

static void on_sent(struct weir_intake *in, struct weir_value value, uint64_t end)
{
    assert_int_equal(value.kind, WEIR_VALUE_BYTES);
    line_of(in)->end = end;
}

static void on_hungry(struct weir_intake *in)
{
    line_of(in)->hungry++;
}

static const struct weir_intake_ops ops = {.make = make_value, .sent = on_sent, .hungry = on_hungry};

static void begin(struct line *l, enum weir_overflow overflow, size_t capacity)
{
    static const struct weir_framing framing = {.kind = WEIR_FRAMING_LINE, .max = 10, .delimiter = '\n'};
    *l = (struct line){.rig = rig_create(2, 1)};
    rig_pool(l->rig, 0, "main", 1, false);
    rig_stage(l->rig, 0, "in", 0, rig_handled, NULL);
    struct weir_stage *behind = rig_stage(l->rig, 1, "out", 0, note, l);
    behind->queue.capacity = capacity;
    behind->queue.overflow.policy = overflow;
    rig_wire_one(l->rig, 0, "out", 1);
    rig_finish(l->rig);
    l->w = rig_worker(l->rig, 0);
    weir_intake_init(&l->intake, &ops, &l->counts, l->w->seats[0], &framing);
}

static void give(struct line *l, const char *text)
{
    size_t len = strlen(text);
    char *room = weir_intake_room(&l->intake, len);
    assert_non_null(room);
    memcpy(room, text, len);
    weir_intake_filled(&l->intake, len);
}

static void expect(struct line *l, const char *got)
{
    rig_run(l->w);
    assert_string_equal(l->got.len > 0 ? l->got.data : "", got);
    weir_strbuf_clear(&l->got);
}

static void finish(struct line *l)
{
    weir_intake_stop(&l->intake);
    rig_run(l->w);
    weir_intake_fini(&l->intake);
    rig_worker_end(l->w);
    rig_destroy(l->rig);
    weir_strbuf_fini(&l->got);
}

static void frames_know_where_they_stand(void **state)
{
    (void)state;
    struct line l;
    begin(&l, WEIR_OVERFLOW_REJECT, 100);
    weir_intake_reset(&l.intake, 1000);
    give(&l, "one\ntw");
    assert_int_equal(l.hungry, 1);
    assert_int_equal(l.offset, 1000);
    assert_int_equal(l.end, 1004);
    assert_int_equal(weir_intake_pending(&l.intake), 2);
    give(&l, "o\r\n01234567890123\nx");
    assert_int_equal(l.offset, 1004);
    assert_int_equal(l.end, 1009);
    expect(&l, "\"one\"\"two\"");
    weir_intake_end(&l.intake);
    assert_int_equal(l.offset, 1024);
    expect(&l, "\"x\"");
    assert_int_equal(l.hungry, 3);
    assert_int_equal(l.counts.overlong, 1);
    assert_int_equal(l.counts.events, 3);
    finish(&l);
}

static void nothing_is_asked_for_while_an_event_waits(void **state)
{
    (void)state;
    struct line l;
    begin(&l, WEIR_OVERFLOW_WAIT, 1);
    give(&l, "1\n2\n3\n4\n");
    assert_true(l.intake.busy);
    assert_int_equal(l.hungry, 0);
    expect(&l, "\"1\"\"2\"\"3\"\"4\"");
    assert_int_equal(l.hungry, 1);
    assert_int_equal(l.counts.refused, 0);
    finish(&l);
}

static void a_wait_that_was_too_long_for_the_stage_is_begun_anew(void **state)
{
    (void)state;
    struct line l;
    begin(&l, WEIR_OVERFLOW_WAIT, 1);
    give(&l, "1\n2\n3\n");
    for (int i = 0; i < 3; i++) {
        rig_advance(l.w, l.rig->g->stages[1].wall_ns + 1);
        weir_waiter_sweep(l.w, false);
        struct weir_list *node = weir_list_take_first(&l.w->aside);
        assert_non_null(node);
        WEIR_LIST_ENTRY(node, struct weir_aside, node)->run(WEIR_LIST_ENTRY(node, struct weir_aside, node));
        assert_true(weir_feed_waiting(&l.intake.feed));
    }
    expect(&l, "\"1\"\"2\"\"3\"");
    assert_int_equal(l.counts.refused, 0);
    finish(&l);
}

static void many_frames_leave_room_for_others(void **state)
{
    (void)state;
    struct line l;
    begin(&l, WEIR_OVERFLOW_REJECT, 1000);
    char text[1025];
    for (size_t i = 0; i < 1024; i++)
        text[i] = '\n';
    text[1024] = '\0';
    give(&l, text);
    assert_true(l.counts.events < 512);
    rig_run(l.w);
    assert_int_equal(l.counts.events, 1024);
    assert_int_equal(l.counts.refused, 0);
    finish(&l);
}

static void a_lack_of_memory_delays_and_loses_nothing(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    for (long n = 0; n < 20; n++) {
        struct line l;
        begin(&l, WEIR_OVERFLOW_WAIT, 1);
        char *room = weir_intake_room(&l.intake, 6);
        memcpy(room, "1\n2\n3\n", 6);
        weir_mem_fail_after(n);
        weir_intake_filled(&l.intake, 6);
        weir_mem_fail_after(-1);
        for (int i = 0; i < 5; i++) {
            rig_run(l.w);
            rig_advance(l.w, 20 * WEIR_NS_PER_MS);
        }
        int64_t lost = (int64_t)l.counts.refused; /* no memory to wait with: the policy is to refuse then */
        assert_true(l.got.len == (size_t)(3 - lost) * 3);
        assert_int_equal(l.hungry, 1);
        finish(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(frames_know_where_they_stand),
        TEST(nothing_is_asked_for_while_an_event_waits),
        TEST(a_wait_that_was_too_long_for_the_stage_is_begun_anew),
        TEST(many_frames_leave_room_for_others),
        TEST(a_lack_of_memory_delays_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
