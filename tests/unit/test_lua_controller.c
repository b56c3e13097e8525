/* Controllers in Lua: what a step sees, what it may set, and how it fails. */
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/app.h"
#include "config/arena.h"
#include "config/conf_node.h"
#include "controller/controller.h"
#include "core/watchdog.h"
#include "lua/lua_binding.h"

static const double settings[] = {0.1, 90};

struct subject {
    char file[64];
    const struct weir_controller_type *type;
    double state[16]; /* aligned for anything */
    struct weir_err err;
    int rc;
};

static void load_with(struct subject *s, enum weir_knob knob, const char *script, const struct weir_conf *config)
{
    *s = (struct subject){.file = "/tmp/weir-controller-XXXXXX"};
    int fd = mkstemp(s->file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, script, strlen(script)), (ssize_t)strlen(script));
    assert_int_equal(close(fd), 0);
    s->rc = weir_lua_controller_load(&(struct weir_lua_options){.file = s->file, .folder = "/tmp", .config = config}, knob, "mine", &s->type, &s->err);
    if (s->rc != WEIR_OK)
        return;
    assert_true(s->type->state_size <= sizeof s->state);
    s->rc = s->type->open(s->type, s->state, &s->err);
}

static void load(struct subject *s, enum weir_knob knob, const char *script)
{
    load_with(s, knob, script, NULL);
    if (s->rc != WEIR_OK)
        fail_msg("%s", s->err.text);
}

static void unload(struct subject *s)
{
    assert_int_equal(unlink(s->file), 0);
    if (s->type == NULL)
        return;
    s->type->close(s->state);
    s->type->release(s->type);
}

static void step_gives(struct subject *s, const struct weir_sample *sample, struct weir_setpoint *at, const char *rule)
{
    struct weir_err err = {.code = WEIR_OK};
    weir_controller_take_failure(&err); /* of nobody */
    const char *got = s->type->step(settings, s->state, sample, at);
    if (weir_controller_take_failure(&err))
        fail_msg("%s", err.text);
    if (rule == NULL)
        assert_null(got);
    else
        assert_string_equal(got, rule);
}

static void step_fails(struct subject *s, const char *part)
{
    struct weir_sample sample = {.elapsed_s = 1, .class_count = 1};
    struct weir_setpoint at, before;
    struct weir_err err;
    weir_setpoint_init(&at);
    before = at;
    assert_null(s->type->step(settings, s->state, &sample, &at));
    assert_true(weir_controller_take_failure(&err));
    if (strstr(err.text, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, err.text);
    assert_memory_equal(&at, &before, sizeof at);
    assert_null(s->type->step(settings, s->state, &sample, &at)); /* it stays so */
}

static void a_step_sees_the_sample_and_moves_the_setpoint(void **state)
{
    (void)state;
    struct subject s;
    struct weir_setpoint at;
    struct weir_sample sample = {.elapsed_s = 0.5, .depth = 12, .idle_s = {3, 1}, .idle_count = 2, .can_grow = true};
    load(&s, WEIR_KNOB_THREADS,
         "return function(sample, at, state)\n"
         "  assert(sample.depth == 12 and sample.idle_s[2] == 1 and #sample.idle_s == 2 and sample.can_grow == true)\n"
         "  assert(sample.takes_batches == false and #sample.classes == 0 and sample.elapsed_s == 0.5)\n"
         "  state.n = (state.n or 0) + 1\n"
         "  if state.n == 2 then return nil end\n"
         "  at.threads = at.threads + sample.depth\n"
         "  return 'rule ' .. state.n\n"
         "end\n");
    assert_true(s.type->ready(settings, &sample));
    sample.elapsed_s = 0.05;
    assert_false(s.type->ready(settings, &sample));
    sample.elapsed_s = 0.5;
    weir_setpoint_init(&at);
    step_gives(&s, &sample, &at, "rule 1");
    assert_true(at.threads == 13);
    step_gives(&s, &sample, &at, NULL);
    assert_true(at.threads == 13);
    step_gives(&s, &sample, &at, "rule 3");
    assert_true(at.threads == 25);
    unload(&s);
}

static void admission_has_rates_for_each_class(void **state)
{
    (void)state;
    struct subject s;
    struct weir_setpoint at;
    struct weir_sample sample = {.class_count = 3, .classes = {[2] = {.offered = 7, .response_s = 0.25}}};
    load(&s, WEIR_KNOB_ADMISSION,
         "return {step = function(sample, at)\n"
         "  assert(at.limit == math.huge and at.rate[3] == math.huge and not at.overloaded and at.threads == nil)\n"
         "  assert(sample.classes[3].offered == 7 and sample.classes[3].response_s == 0.25)\n"
         "  at.rate[2] = 100; at.rate[3] = 0; at.share[3] = 0.25; at.burst = 4; at.limit = 20; at.shed_after_s = 0.5; at.overloaded = true\n"
         "  return 'tight'\n"
         "end}\n");
    weir_setpoint_init(&at);
    step_gives(&s, &sample, &at, "tight");
    assert_true(isinf(at.rate[0]) && at.rate[1] == 100 && at.rate[2] == 0 && isinf(at.rate[3]));
    assert_true(at.share[0] == 1 && at.share[2] == 0.25);
    assert_true(at.burst == 4 && at.limit == 20 && at.shed_after_s == 0.5 && at.overloaded);
    unload(&s);
    load(&s, WEIR_KNOB_ADMISSION, "return function(_, at) at.rate = 5 return 'all' end");
    weir_setpoint_init(&at);
    step_gives(&s, &sample, &at, "all");
    assert_true(at.rate[0] == 5 && at.rate[2] == 5);
    unload(&s);
}

static void what_is_no_setpoint_fails_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        enum weir_knob knob;
        const char *script, *error;
    } bad[] = {
        {WEIR_KNOB_THREADS, "return function(s, at) at.thread = 1 return 'x' end", "'at' has no field 'thread' here"},
        {WEIR_KNOB_THREADS, "return function(s, at) at.threads = 'many' return 'x' end", "at.threads must be a number, it is a string"},
        {WEIR_KNOB_THREADS, "return function(s, at) at.threads = nil return 'x' end", "at.threads must be a number, it is a nil"},
        {WEIR_KNOB_THREADS, "return function(s, at) at.threads = 0/0 return 'x' end", "at.threads must be a number from 0"},
        {WEIR_KNOB_BATCH, "return function(s, at) at.batch = -1 return 'x' end", "at.batch must be a number from 0"},
        {WEIR_KNOB_BATCH, "return function(s, at) return true end", "a step returns the rule that decided, a string, or nil"},
        {WEIR_KNOB_BATCH, "return function(s, at) return '' end", "a step returns the rule that decided"},
        {WEIR_KNOB_BATCH, "return function(s, at) error 'oh no' end", "oh no"},
        {WEIR_KNOB_BATCH, "return function(s, at) error() end", ""},
        {WEIR_KNOB_BATCH, "local weir = require 'weir' return function() weir.sleep(1) end", "weir.sleep"},
        {WEIR_KNOB_BATCH, "local weir = require 'weir' return function() weir.emit('a', 1) end", "weir.emit"},
        {WEIR_KNOB_BATCH, "local weir = require 'weir' return function() weir.stage() end", "weir.stage"},
        {WEIR_KNOB_BATCH, "return function() coroutine.yield() end", "yield"},
        {WEIR_KNOB_BATCH, "return function() return os.exit(3) end", "os.exit"},
        {WEIR_KNOB_BATCH, "local t = {} return function() for i = 1, 1e9 do t[i] = ('x'):rep(1 << 20) .. i end end", "memory"},
        {WEIR_KNOB_ADMISSION, "return function(s, at) at.rate[1] = nil return 'x' end", "at.rate must be a number, it is a nil"},
        {WEIR_KNOB_ADMISSION, "return function(s, at) at.share[1] = 2 return 'x' end", "at.share must be a number from 0.0 to 1.0, it is 2.0"},
        {WEIR_KNOB_ADMISSION, "return function(s, at) at.burst = 0 return 'x' end", "at.burst must be a number from 1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct subject s;
        load(&s, bad[i].knob, bad[i].script);
        step_fails(&s, bad[i].error);
        unload(&s);
    }
}

static void a_file_that_is_no_controller_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *script, *error;
    } bad[] = {
        {"return 3", ":1: a controller's file must return a function, or a table with one, `step`; this one returned number"},
        {"\nreturn {handle = print}", ":2: a controller's file must return a function, or a table with one, `step`; this one returned a table without it"},
        {"local x", "this one returned nothing"},
        {"return function(", "expected"},
        {"error 'not today'", "not today"},
        {"while true do end", "over limits.cpu (100ms)"},
        {"return {step = print, settings = 3}", "`settings` must be a table, it is a number"},
    };
    struct weir_watchdog *dog = NULL;
    struct weir_watch watch = {.serial = 0};
    struct weir_err err;
    assert_int_equal(weir_watchdog_start(5 * WEIR_NS_PER_MS, &dog, &err), WEIR_OK);
    weir_watchdog_add(dog, &watch, "control", NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct subject s;
        load_with(&s, WEIR_KNOB_BATCH, bad[i].script, NULL);
        assert_int_not_equal(s.rc, WEIR_OK);
        if (strstr(s.err.text, bad[i].error) == NULL)
            fail_msg("'%s' is not in '%s'", bad[i].error, s.err.text);
        unload(&s);
    }
    weir_watchdog_remove(&watch);
    weir_watchdog_stop(dog);
}

static void a_step_without_end_is_ended(void **state)
{
    (void)state;
    static const char *const loops[] = {
        "return function() while true do end end",
        "return function() while true do pcall(function() while true do end end) end end",
        "return function() return ('a'):rep(1000000):find(('a*'):rep(30) .. 'b') end",
    };
    struct weir_watchdog *dog = NULL;
    struct weir_watch watch = {.serial = 0};
    struct weir_err err;
    assert_int_equal(weir_watchdog_start(5 * WEIR_NS_PER_MS, &dog, &err), WEIR_OK);
    weir_watchdog_add(dog, &watch, "control", NULL);
    weir_watch_rest(&watch);
    for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++) {
        struct subject s;
        load(&s, WEIR_KNOB_BATCH, loops[i]);
        step_fails(&s, "ended: over limits.cpu (5ms)");
        unload(&s);
    }
    weir_watchdog_remove(&watch);
    weir_watchdog_stop(dog);
}

/* ---- settings ---- */

static struct weir_conf *config_of(struct weir_arena *a, const char *key, struct weir_conf *value)
{
    struct weir_app_mark nowhere = {0, 0};
    struct weir_conf *map = weir_conf_new(a, WEIR_CONF_MAP, nowhere);
    weir_conf_add(a, map, key, nowhere, value);
    return map;
}

static void settings_come_from_the_file_and_from_config(void **state)
{
    (void)state;
    static const char script[] = "return {settings = {target = 0.1, mode = 'soft'}, step = function(_, at, _, settings)\n"
                                 "  at.batch = settings.target * 100 return settings.mode end}\n";
    struct weir_app_mark nowhere = {0, 0};
    struct weir_arena arena, *a = &arena;
    weir_arena_init(a);
    struct weir_sample sample = {.elapsed_s = 1};
    struct weir_setpoint at;
    struct subject s;
    weir_setpoint_init(&at);
    load(&s, WEIR_KNOB_BATCH, script);
    step_gives(&s, &sample, &at, "soft");
    assert_true(at.batch == 10);
    unload(&s);

    load_with(&s, WEIR_KNOB_BATCH, script, config_of(a, "target", weir_conf_new_string(a, "250ms", 5, nowhere)));
    assert_int_equal(s.rc, WEIR_OK);
    step_gives(&s, &sample, &at, "soft");
    assert_true(at.batch == 25);
    unload(&s);

    load_with(&s, WEIR_KNOB_BATCH, script, config_of(a, "tarket", weir_conf_new_string(a, "250ms", 5, nowhere)));
    assert_int_not_equal(s.rc, WEIR_OK);
    assert_non_null(strstr(s.err.text, "config: the script has no setting 'tarket'"));
    unload(&s);

    load_with(&s, WEIR_KNOB_BATCH, script, config_of(a, "target", weir_conf_new_string(a, "soon", 4, nowhere)));
    assert_int_not_equal(s.rc, WEIR_OK);
    assert_non_null(strstr(s.err.text, "config: 'target' must be a number, it is a string"));
    unload(&s);

    load_with(&s, WEIR_KNOB_BATCH, "return function(_, _, _, settings) return settings.any end",
              config_of(a, "any", weir_conf_new_string(a, "thing", 5, nowhere)));
    assert_int_equal(s.rc, WEIR_OK);
    step_gives(&s, &sample, &at, "thing");
    unload(&s);
    weir_arena_fini(a);
}

static void rules_are_kept_and_bounded(void **state)
{
    (void)state;
    struct subject s;
    struct weir_sample sample = {.elapsed_s = 1};
    struct weir_setpoint at;
    char expected[32];
    load(&s, WEIR_KNOB_BATCH, "local n = 0 return function() n = n + 1 return n <= 100 and 'rule ' .. n or ('y'):rep(100) end");
    weir_setpoint_init(&at);
    const char *first = s.type->step(settings, s.state, &sample, &at);
    for (int i = 2; i <= 100; i++) {
        (void)snprintf(expected, sizeof expected, "rule %d", i);
        step_gives(&s, &sample, &at, i <= 64 ? expected : "another rule");
    }
    assert_string_equal(first, "rule 1");
    unload(&s);
}

static void a_lack_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    NEEDS_INJECTION();
    static const char script[] = "return {settings = {a = 1}, step = function() return 'x' end}";
    char file[] = "/tmp/weir-controller-XXXXXX";
    int fd = mkstemp(file), rc = WEIR_E_NOMEM;
    assert_int_equal(write(fd, script, sizeof script - 1), sizeof script - 1);
    assert_int_equal(close(fd), 0);
    for (long n = 0; rc != WEIR_OK; n++) {
        const struct weir_controller_type *type = NULL;
        struct weir_err err;
        double bytes[16] = {0};
        weir_mem_fail_after(n);
        rc = weir_lua_controller_load(&(struct weir_lua_options){.file = file, .folder = "/tmp"}, WEIR_KNOB_BATCH, "mine", &type, &err);
        int opened = rc == WEIR_OK ? type->open(type, bytes, &err) : WEIR_E_INVAL;
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || type == NULL);
        if (opened == WEIR_OK)
            type->close(bytes);
        if (rc == WEIR_OK)
            type->release(type);
        rc = rc == WEIR_OK ? opened : rc;
        assert_int_equal(weir_mem_live(), 0);
    }
    assert_int_equal(unlink(file), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_step_sees_the_sample_and_moves_the_setpoint),
        TEST(admission_has_rates_for_each_class),
        TEST(what_is_no_setpoint_fails_and_changes_nothing),
        TEST(a_file_that_is_no_controller_is_refused),
        TEST(a_step_without_end_is_ended),
        TEST(settings_come_from_the_file_and_from_config),
        TEST(rules_are_kept_and_bounded),
        TEST(a_lack_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
