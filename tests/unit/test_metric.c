/* Metrics that scripts make: names, bounds, and that nothing is lost. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/metric.h"

static struct weir_metrics *make(void)
{
    struct weir_metrics *m;
    struct weir_err err;
    if (weir_metrics_create(&m, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    return m;
}

static struct weir_metric_series *get(struct weir_metrics *m, const struct weir_metric_spec *spec)
{
    struct weir_metric_series *s = NULL;
    struct weir_err err;
    bool other;
    if (weir_metrics_get(m, spec, &s, &other, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    return s;
}

static void names_are_those_of_prometheus(void **state)
{
    (void)state;
    static const double falling[] = {1, 0.5};
    static const struct weir_metric_label bad[] = {{"a-b", "x"}}, le[] = {{"le", "x"}},
                                          hidden[] = {{"__x", "x"}};
    static const struct {
        struct weir_metric_spec spec;
        const char *text;
    } rows[] = {
        {{.name = "2fast"},
         "counter '2fast': a name has letters, digits (not first) and _, at most 128 of them"},
        {{.name = ""}, "counter '': a name has letters, digits (not first) and _, at most 128 of them"},
        {{.name = "a:b"}, "counter 'a:b': a name has letters, digits (not first) and _, at most 128 of them"},
        {{.name = "weir_x"}, "counter 'weir_x': names that begin with weir_ or process_ are the host's"},
        {{.name = "x_count"}, "counter 'x_count': names that end in _count are those of a histogram's parts"},
        {{.type = WEIR_METRIC_GAUGE, .name = "x_total"},
         "gauge 'x_total': only counters' names end in _total"},
        {{.name = "x", .labels = bad, .label_count = 1},
         "counter 'x': label 'a-b': a name has letters, digits (not first) and _, but no __ at its start"},
        {{.name = "x", .labels = hidden, .label_count = 1},
         "counter 'x': label '__x': a name has letters, digits (not first) and _, but no __ at its start"},
        {{.name = "x", .labels = le, .label_count = 1}, "counter 'x': the label 'le' belongs to Prometheus"},
        {{.type = WEIR_METRIC_HISTOGRAM, .name = "x", .bounds = falling, .bound_count = 2},
         "histogram 'x': the bounds of its buckets must be ascending numbers; number 2 is not"},
    };
    struct weir_metrics *m = make();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_metric_series *s;
        struct weir_err err;
        bool other;
        assert_int_equal(weir_metrics_get(m, &rows[i].spec, &s, &other, &err), WEIR_E_INVAL);
        assert_string_equal(err.text, rows[i].text);
    }
    assert_null(weir_metrics_first(m));
    weir_metrics_destroy(m);
}

static void one_name_has_one_type_and_one_set_of_labels(void **state)
{
    (void)state;
    static const struct weir_metric_label ab[] = {{"b", "2"}, {"a", "1"}}, ba[] = {{"a", "1"}, {"b", "2"}},
                                          c[] = {{"c", "1"}};
    static const double two[] = {1, 2}, three[] = {1, 3};
    struct weir_metrics *m = make();
    struct weir_metric_series *s, *t = NULL;
    struct weir_err err;
    bool other;
    s = get(m, &(struct weir_metric_spec){.name = "hits", .labels = ab, .label_count = 2});
    assert_ptr_equal(get(m, &(struct weir_metric_spec){.name = "hits_total", .labels = ba, .label_count = 2}),
                     s);
    assert_string_equal(weir_metric_name(weir_metrics_first(m)), "hits_total");
    assert_string_equal(weir_metric_label_name(weir_metrics_first(m), 1), "b");
    assert_string_equal(weir_metric_label_value(s, 1), "2");
    assert_int_equal(
        weir_metrics_get(m, &(struct weir_metric_spec){.name = "hits", .labels = c, .label_count = 1}, &t,
                         &other, &err),
        WEIR_E_EXISTS);
    assert_string_equal(err.text, "counter 'hits' has the labels a, b, not the label c");
    assert_int_equal(weir_metrics_get(m, &(struct weir_metric_spec){.name = "hits"}, &t, &other, &err),
                     WEIR_E_EXISTS);
    assert_string_equal(err.text, "counter 'hits' has the labels a, b, not no labels");
    get(m, &(struct weir_metric_spec){
               .type = WEIR_METRIC_HISTOGRAM, .name = "h", .bounds = two, .bound_count = 2});
    assert_int_equal(weir_metrics_get(m, &(struct weir_metric_spec){.type = WEIR_METRIC_GAUGE, .name = "h"},
                                      &t, &other, &err),
                     WEIR_E_EXISTS);
    assert_string_equal(err.text, "gauge 'h': there is a histogram of that name");
    struct weir_metric_spec more = {
        .type = WEIR_METRIC_HISTOGRAM, .name = "h", .bounds = three, .bound_count = 2};
    assert_int_equal(weir_metrics_get(m, &more, &t, &other, &err), WEIR_E_EXISTS);
    assert_string_equal(err.text, "histogram 'h' has other buckets");
    assert_null(t);
    weir_metrics_destroy(m);
}

static void what_is_beyond_the_bound_is_counted_together(void **state)
{
    (void)state;
    struct weir_metrics *m = make();
    struct weir_metric_series *first_other = NULL;
    struct weir_err err;
    for (int i = 0; i < WEIR_METRIC_SERIES_MAX + 50; i++) {
        char value[16];
        snprintf(value, sizeof value, "v%d", i);
        const struct weir_metric_label user[] = {{"user", value}};
        struct weir_metric_series *s;
        bool other;
        assert_int_equal(
            weir_metrics_get(m, &(struct weir_metric_spec){.name = "c", .labels = user, .label_count = 1}, &s,
                             &other, &err),
            WEIR_OK);
        assert_true(other == (i >= WEIR_METRIC_SERIES_MAX));
        weir_metric_add_int(s, 0, 1);
        if (other)
            assert_true(first_other == NULL || first_other == s);
        if (other)
            first_other = s;
    }
    struct weir_metric_value v;
    weir_metric_read(first_other, &v);
    assert_int_equal(v.whole, 50);
    assert_string_equal(weir_metric_label_value(first_other, 0), "other");
    size_t n = 0;
    for (const struct weir_metric_series *s = weir_metric_first_series(weir_metrics_first(m)); s != NULL;
         s = weir_metric_next_series(s))
        n++;
    assert_int_equal(n, WEIR_METRIC_SERIES_MAX + 1);
    weir_metrics_destroy(m);
}

static void a_series_named_other_is_the_one_of_the_rest(void **state)
{
    (void)state;
    struct weir_metrics *m = make();
    struct weir_metric_series *named = NULL;
    for (int i = 0; i <= WEIR_METRIC_SERIES_MAX; i++) {
        char value[16];
        snprintf(value, sizeof value, "v%d", i);
        if (i == 3)
            memcpy(value, "other", sizeof "other");
        const struct weir_metric_label user[] = {{"user", value}};
        struct weir_metric_series *s =
            get(m, &(struct weir_metric_spec){.name = "c", .labels = user, .label_count = 1});
        if (i == 3)
            named = s;
        if (i == WEIR_METRIC_SERIES_MAX)
            assert_ptr_equal(s, named);
    }
    weir_metrics_destroy(m);
}

static void values_add_up_over_lanes(void **state)
{
    (void)state;
    static const double bounds[] = {0.1, 1};
    struct weir_metrics *m = make();
    struct weir_metric_value v;
    struct weir_metric_series *c = get(m, &(struct weir_metric_spec){.name = "c"});
    weir_metric_add_int(c, 0, (1LL << 53) + 1);
    weir_metric_add_int(c, 5, 2);
    weir_metric_add(c, 37, 0.5);
    weir_metric_read(c, &v);
    assert_true(v.whole == (1LL << 53) + 3 && v.part == 0.5);
    struct weir_metric_series *g = get(m, &(struct weir_metric_spec){.type = WEIR_METRIC_GAUGE, .name = "g"});
    weir_metric_set(g, 7);
    weir_metric_add_int(g, 3, -2);
    weir_metric_add(g, 9, 0.25);
    weir_metric_read(g, &v);
    assert_true(v.whole == 0 && v.part == 5.25);
    struct weir_metric_series *h =
        get(m, &(struct weir_metric_spec){
                   .type = WEIR_METRIC_HISTOGRAM, .name = "h", .bounds = bounds, .bound_count = 2});
    weir_metric_observe(h, 0, 0.1); /* a bound is in its bucket */
    weir_metric_observe(h, 1, 0.5);
    weir_metric_observe(h, 1, 3);
    weir_metric_read(h, &v);
    assert_true(v.count == 3 && v.buckets[0] == 1 && v.buckets[1] == 1 && v.buckets[2] == 1);
    assert_true(v.part > 3.59 && v.part < 3.61);
    weir_metrics_destroy(m);
}

static void lack_of_memory_loses_no_count(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    static const struct weir_metric_label ab[] = {{"b", "2"}, {"a", "1"}};
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_metrics *m = NULL;
        struct weir_metric_series *s = NULL;
        struct weir_err err;
        bool other;
        weir_mem_fail_after(n);
        rc = weir_metrics_create(&m, &err);
        if (rc == WEIR_OK)
            rc = weir_metrics_get(m,
                                  &(struct weir_metric_spec){.type = WEIR_METRIC_HISTOGRAM,
                                                             .name = "h",
                                                             .labels = ab,
                                                             .label_count = 2,
                                                             .help = "Help."},
                                  &s, &other, &err);
        assert_true((rc == WEIR_OK) == (s != NULL));
        if (s != NULL) {
            struct weir_metric_value v;
            weir_mem_fail_after(0);
            weir_metric_observe(s, 4, 1); /* no cell for the lane: counted all the same */
            weir_mem_fail_after(-1);
            weir_metric_read(s, &v);
            assert_int_equal(v.count, 1);
        }
        weir_mem_fail_after(-1);
        weir_metrics_destroy(m);
        assert_int_equal(weir_mem_live(), 0);
    }
}

enum { THREADS = 8, ROUNDS = 20000 };

struct crew {
    struct weir_metrics *m;
    _Atomic unsigned lane;
};

static void *work(void *arg)
{
    static const struct weir_metric_label odd[] = {{"parity", "odd"}}, even[] = {{"parity", "even"}};
    struct crew *crew = arg;
    unsigned lane = atomic_fetch_add(&crew->lane, 1) / 2; /* two threads to a lane */
    for (int i = 0; i < ROUNDS; i++) {
        struct weir_metric_spec spec = {.name = "c", .labels = i % 2 ? odd : even, .label_count = 1};
        struct weir_metric_series *s;
        struct weir_err err;
        bool other;
        if (weir_metrics_get(crew->m, &spec, &s, &other, &err) != WEIR_OK)
            abort();
        weir_metric_add_int(s, lane, 1);
        weir_metric_add(s, lane, 0.5);
        spec = (struct weir_metric_spec){.type = WEIR_METRIC_GAUGE, .name = "g"};
        if (weir_metrics_get(crew->m, &spec, &s, &other, &err) != WEIR_OK)
            abort();
        weir_metric_add_int(s, lane, 1);
        struct weir_metric_value v;
        weir_metric_read(s, &v);
    }
    return NULL;
}

static void no_count_of_many_threads_is_lost(void **state)
{
    (void)state;
    struct crew crew = {.m = make()};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &crew), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    int64_t whole = 0;
    double part = 0, gauge = 0;
    for (const struct weir_metric *f = weir_metrics_first(crew.m); f != NULL; f = weir_metric_next(f)) {
        for (const struct weir_metric_series *s = weir_metric_first_series(f); s != NULL;
             s = weir_metric_next_series(s)) {
            struct weir_metric_value v;
            weir_metric_read(s, &v);
            whole += v.whole;
            *(weir_metric_type(f) == WEIR_METRIC_GAUGE ? &gauge : &part) += v.part;
        }
    }
    assert_int_equal(whole, THREADS * ROUNDS);
    assert_true(part == THREADS * ROUNDS * 0.5);
    assert_true(gauge == THREADS * ROUNDS);
    weir_metrics_destroy(crew.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_are_those_of_prometheus),
        TEST(one_name_has_one_type_and_one_set_of_labels),
        TEST(what_is_beyond_the_bound_is_counted_together),
        TEST(a_series_named_other_is_the_one_of_the_rest),
        TEST(values_add_up_over_lanes),
        TEST(lack_of_memory_loses_no_count),
        TEST(no_count_of_many_threads_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
