/* weir.counter, weir.gauge and weir.histogram as scripts see them. */
#include "lua_fixture.h"

#include "core/metric.h"

/* The value of the one series of a metric with that label value (NULL: without labels). */
static double value_of(struct lua_app *app, const char *name, const char *label)
{
    for (const struct weir_metric *m = weir_metrics_first(app->g->metrics); m != NULL;
         m = weir_metric_next(m)) {
        if (strcmp(weir_metric_name(m), name) != 0)
            continue;
        for (const struct weir_metric_series *s = weir_metric_first_series(m); s != NULL;
             s = weir_metric_next_series(s)) {
            struct weir_metric_value v;
            weir_metric_read(s, &v);
            if (label == NULL || strcmp(weir_metric_label_value(s, 0), label) == 0)
                return weir_metric_type(m) == WEIR_METRIC_HISTOGRAM ? (double)v.count
                                                                    : (double)v.whole + v.part;
        }
    }
    fail_msg("no series %s %s", name, label != NULL ? label : "");
    return 0;
}

static void test_metrics_count(void **state)
{
    (void)state;
    LUA_APP(app,
            {.name = "a",
             .to = "out=sink",
             .script =
                 "local weir = require 'weir'\n"
                 "local c, g = weir.counter 'jobs', weir.gauge('depth', nil, {help = 'How deep.'})\n"
                 "local h = weir.histogram('job_seconds', nil, {buckets = {0.1, 1}})\n"
                 "return function(n)\n"
                 "  c:inc(); c:inc(n); g:set(n); g:add(-0.5); h:observe(n / 10)\n"
                 "  weir.counter('by_kind', {kind = n % 2 == 0 and 'even' or 'odd', big = n > 2}):inc()\n"
                 "  assert(weir.counter('by_kind', {big = false, kind = 'x'}) == weir.counter('by_kind', "
                 "{big = false, kind = 'x'}))\n"
                 "end\n"});
    for (int i = 1; i <= 4; i++)
        lua_send_int(&app, "a", i);
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.handled), 4);
    assert_true(value_of(&app, "jobs_total", NULL) == 14);
    assert_true(value_of(&app, "depth", NULL) == 3.5);
    assert_true(value_of(&app, "job_seconds", NULL) == 4);
    assert_true(value_of(&app, "by_kind_total", "false") == 1);
    assert_true(value_of(&app, "by_kind_total", "true") == 1);
    lua_close_app(&app);
}

static void test_wrong_uses_are_named(void **state)
{
    (void)state;
    LUA_APP(
        app,
        {.name = "a",
         .to = "out=sink",
         .script =
             "local weir = require 'weir'\n"
             "local c, g = weir.counter 'c', weir.gauge 'g'\n"
             "weir.histogram 'h'\n"
             "local function why(...)\n"
             "  local _, m = pcall(...); weir.emit('out', (m:gsub('^.-:%d+: ', '')))\nend\n"
             "return function()\n"
             "  why(c.inc, c, -1); why(c.inc, g); why(g.set, g); why(g.set, g, '1'); why(g.add, g, 0 / 0)\n"
             "  why(weir.gauge, 'c_total'); why(weir.counter, 'c', {x = 1}); why(weir.counter, 'd', {x = "
             "{}})\n"
             "  why(weir.counter, 'd', {'x'}); why(weir.counter, 'd', nil, {hlep = 'x'}); why(weir.gauge, "
             "'h', {y = 1})\n"
             "  why(weir.counter, 'd', nil, {buckets = {1}}); why(weir.histogram, 'h', nil, {buckets = {2, "
             "1}})\n"
             "  why(weir.histogram, 'c_total'); why(weir.counter); why(weir.counter, 'weir_x')\n"
             "end\n"});
    lua_send_int(&app, "a", 1);
    assert_string_equal(
        lua_arrived(),
        "\"counter:inc: a counter only goes up, by a number from 0; use a gauge for what falls\"\n"
        "\"call it as m:inc(...), with a colon, m being what weir.counter(name) gave\"\n"
        "\"gauge:set: expected a number, got nothing\"\n"
        "\"gauge:set: expected a number, got string\"\n"
        "\"gauge:add: expected a number, got NaN\"\n"
        "\"gauge 'c_total': only counters' names end in _total\"\n"
        "\"counter 'c' has no labels, not the label x\"\n"
        "\"label 'x' must be a string, a number or a boolean, it is a table\"\n"
        "\"the names of the labels of 'd' must be strings, one is a number\"\n"
        "\"'d': unknown option 'hlep' (known: buckets, help)\"\n"
        "\"gauge 'h': there is a histogram of that name\"\n"
        "\"'d': only histograms have buckets\"\n"
        "\"histogram 'h': the bounds of its buckets must be ascending numbers; number 2 is not\"\n"
        "\"histogram 'c_total': only counters' names end in _total\"\n"
        "\"weir.counter: the name must be a string, nothing was given\"\n"
        "\"counter 'weir_x': names that begin with weir_ or process_ are the host's\"\n");
    lua_close_app(&app);
}

static void test_labels_may_hold_any_bytes(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\n"
                            "return function(n)\n"
                            "  weir.counter('paths', {path = '/a\\0b\\xff'}):inc()\n"
                            "  weir.counter('paths', {path = ('\\u{e9}'):rep(100)}):inc()\n"
                            "  weir.counter('paths', {path = 12}):inc(2)\n"
                            "end\n"});
    char cut[129] = "";
    for (size_t i = 0; i < 64; i++)
        memcpy(cut + 2 * i, "\xc3\xa9", 2);
    lua_send_int(&app, "a", 1);
    assert_true(value_of(&app, "paths_total", "/a?b?") == 1);
    assert_true(value_of(&app, "paths_total", cut) == 1);
    assert_true(value_of(&app, "paths_total", "12") == 2);
    lua_close_app(&app);
}

static void test_a_flood_of_labels_is_counted_as_other(void **state)
{
    (void)state;
    LUA_APP(app, {.name = "a",
                  .to = "out=sink",
                  .script = "local weir = require 'weir'\n"
                            "return function(n)\n"
                            "  for i = 1, 3000 do weir.counter('users', {id = i}):inc() end\nend\n"});
    lua_send_int(&app, "a", 1);
    assert_int_equal(lua_count(&lua_seat(&app, "a")->ledger.handled), 1);
    assert_true(value_of(&app, "users_total", "1000") == 1);
    assert_true(value_of(&app, "users_total", "other") == 2000);
    lua_close_app(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metrics_count),
        TEST(test_wrong_uses_are_named),
        TEST(test_labels_may_hold_any_bytes),
        TEST(test_a_flood_of_labels_is_counted_as_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
