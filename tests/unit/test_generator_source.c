#include "sources_fixture.h"

#include "base/clock.h"
#include "io/generator_source.h"

#define MS WEIR_NS_PER_MS

static void open_generator(struct sole *s, const char *options, enum weir_overflow overflow, size_t capacity)
{
    sole_open(s, &weir_generator_source_type, weir_generator_source_open, options, overflow, capacity);
}

static void expect_stats(struct sole *s, const char *wanted)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    struct weir_source_maker *m = &s->rig->g->stages[0].source;
    m->stats(m->self, &text);
    assert_string_equal(text.data, wanted);
    weir_strbuf_fini(&text);
}

static void templates_are_filled_with_the_number(void **state)
{
    (void)state;
    struct sole s;
    open_generator(&s, "count: 3, template: {id: '{n}', text: 'a{n}b{n}', list: [1, 2.5, true, ~]}",
                   WEIR_OVERFLOW_REJECT, 10);
    sole_expect(&s, "{\"id\":1,\"text\":\"a1b1\",\"list\":[1,2.5,true,null]} "
                    "{\"id\":2,\"text\":\"a2b2\",\"list\":[1,2.5,true,null]} "
                    "{\"id\":3,\"text\":\"a3b3\",\"list\":[1,2.5,true,null]} ");
    assert_int_equal(s.ends, 0);
    sole_close(&s);
    open_generator(&s, "count: 2, template: '{n}'", WEIR_OVERFLOW_REJECT, 10);
    sole_expect(&s, "1 2 ");
    sole_close(&s);
    open_generator(&s, "count: 2, value: 'the {n}'", WEIR_OVERFLOW_REJECT, 10);
    sole_expect(&s, "\"the {n}\" \"the {n}\" ");
    sole_close(&s);
    open_generator(&s, "count: 1, bytes: 5", WEIR_OVERFLOW_REJECT, 10);
    sole_expect(&s, "\"abcde\" ");
    sole_close(&s);
    open_generator(&s, "count: 2", WEIR_OVERFLOW_REJECT, 10);
    sole_expect(&s, "{\"n\":1} {\"n\":2} ");
    sole_close(&s);
}

static void the_end_is_told_once_all_has_been_taken(void **state)
{
    (void)state;
    struct sole s;
    open_generator(&s, "count: 1000, value: 1, stop_when_done: true", WEIR_OVERFLOW_WAIT, 3);
    rig_run(s.w);
    assert_int_equal(s.count, 1000);
    assert_int_equal(s.ends, 1);
    expect_stats(&s, "\"made\":1000,\"refused\":0,\"left_out\":0");
    sole_close(&s);
}

static void without_a_rate_a_full_queue_only_delays(void **state)
{
    (void)state;
    struct sole s;
    open_generator(&s, "count: 300, template: '{n}', stop_when_done: true", WEIR_OVERFLOW_REJECT, 7);
    for (int i = 0; i < 1000 && s.count < 300; i++) {
        rig_run(s.w);
        rig_advance(s.w, 1 * MS);
    }
    assert_int_equal(s.count, 300);
    assert_int_equal(s.ends, 1);
    assert_non_null(strstr(s.got.data, " 299 300 "));
    sole_close(&s);
}

static void a_rate_is_kept_whatever_the_turns(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, 3, 7, 999, 1000, 1001, 30000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct sole s;
        char options[64];
        snprintf(options, sizeof options, "rate: %d, value: 1", (int)rates[i]);
        open_generator(&s, options, WEIR_OVERFLOW_REJECT, 100000);
        uint64_t ms = 0;
        for (uint64_t step = 1; ms < 4000; ms += step, step = step % 13 + 1) {
            sole_advance(&s, step * MS);
            rig_run(s.w);
            uint64_t due = (ms + step) * rates[i] / 1000;
            assert_true(s.count <= due &&
                        s.count + rates[i] / 500 + 1 >= due); /* never early; within two ticks */
        }
        sole_close(&s);
    }
}

static void a_backlog_is_bounded(void **state)
{
    (void)state;
    struct sole s;
    open_generator(&s, "rate: 1000, value: 1", WEIR_OVERFLOW_REJECT, 100000);
    rig_run(s.w);
    sole_advance(&s, 5000 * MS); /* the process was stopped */
    rig_run(s.w);
    assert_int_equal(s.count, 101);
    expect_stats(&s, "\"made\":101,\"refused\":0,\"left_out\":4899");
    sole_advance(&s, 10 * MS);
    rig_run(s.w);
    assert_int_equal(s.count, 111);
    sole_close(&s);
}

static void with_a_rate_what_is_refused_is_lost(void **state)
{
    (void)state;
    struct sole s;
    open_generator(&s, "rate: 1000, count: 50, value: 1, stop_when_done: true", WEIR_OVERFLOW_REJECT, 10);
    rig_run(s.w);
    sole_advance(&s, 60 * MS);
    rig_run(s.w);
    assert_int_equal(s.count, 10);
    assert_int_equal(s.ends, 1);
    expect_stats(&s, "\"made\":50,\"refused\":40,\"left_out\":0");
    sole_close(&s);
}

static void a_stop_ends_it_at_once(void **state)
{
    (void)state;
    struct sole s;
    open_generator(&s, "value: 1", WEIR_OVERFLOW_WAIT, 3);
    struct weir_source *source = s.w->seats[0]->source;
    struct weir_list *node = weir_list_take_first(&s.w->aside);
    struct weir_aside *a = WEIR_LIST_ENTRY(node, struct weir_aside, node);
    a->run(a); /* three are queued, one waits */
    source->ops->stop(source);
    assert_false(source->ops->idle(source));
    rig_run(s.w);
    assert_int_equal(s.count, 4);
    assert_int_equal(s.ends, 0);
    sole_close(&s);
}

static void wrong_options_are_told(void **state)
{
    (void)state;
    const struct weir_app_type *t = &weir_generator_source_type;
    sole_expect_problem(t, "value: 1, template: '{n}'", "'template' can't be had together with 'value'");
    sole_expect_problem(t, "bytes: 1, template: '{n}'", "'bytes' can't be had together with 'template'");
    sole_expect_problem(t, "stop_when_done: true", "'stop_when_done' needs a 'count'");
    sole_expect_problem(t, "template: [a, {b: c}]", "there is no {n} in 'template'");
    sole_expect_problem(t, "rate: -1", "'rate'");
    sole_expect_problem(t, "value: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
                        "nested deeper than 30");
}

static void a_lack_of_memory_is_survived(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    struct sole s;
    open_generator(&s, "count: 3, template: ['{n}']", WEIR_OVERFLOW_REJECT, 10);
    struct weir_source_maker again;
    struct weir_err err;
    char bound[4];
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        weir_mem_fail_after(n);
        rc = weir_generator_source_open(&s.rig->g->stages[0], s.app->stages[0].options, &again, bound,
                                        sizeof bound, &err);
        weir_mem_fail_after(-1);
    }
    again.destroy(again.self);
    for (long n = 0; s.count < 3 && n < 100;
         n++) { /* each event is tried again until there is memory for it */
        struct weir_list *node = weir_list_take_first(&s.w->aside);
        weir_mem_fail_after(n % 4);
        if (node != NULL)
            WEIR_LIST_ENTRY(node, struct weir_aside, node)
                ->run(WEIR_LIST_ENTRY(node, struct weir_aside, node));
        weir_mem_fail_after(-1);
        rig_run(s.w);
        rig_advance(s.w, 1 * MS);
    }
    sole_expect(&s, "[1] [2] [3] ");
    sole_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(templates_are_filled_with_the_number),
        TEST(the_end_is_told_once_all_has_been_taken),
        TEST(without_a_rate_a_full_queue_only_delays),
        TEST(a_rate_is_kept_whatever_the_turns),
        TEST(a_backlog_is_bounded),
        TEST(with_a_rate_what_is_refused_is_lost),
        TEST(a_stop_ends_it_at_once),
        TEST(wrong_options_are_told),
        TEST(a_lack_of_memory_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
