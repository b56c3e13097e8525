/* Steps that real hosts recorded (`weir set PATH.record true`, `weir events --json`) made again: each controller decides the same from what it saw then. A
 * file of recorded/ is one controller's steps, a line each, from an empty state on. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "controller/controller.h"
#include "test.h"

static double number(const json_t *of, const char *key, double otherwise)
{
    const json_t *v = json_object_get(of, key);
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

static size_t read_list(const json_t *of, const char *key, double *out, size_t max)
{
    const json_t *list = json_object_get(of, key);
    size_t n = json_array_size(list);
    assert_true(n <= max);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        out[i] = json_is_number(v) ? json_number_value(v) : INFINITY;
    }
    return n;
}

static void read_classes(const json_t *inputs, struct weir_sample *s)
{
    const json_t *list = json_object_get(inputs, "classes");
    s->class_count = json_array_size(list);
    assert_true(s->class_count <= WEIR_CLASSES_MAX);
    for (size_t i = 0; i < s->class_count; i++) {
        const json_t *v = json_array_get(list, i);
        s->classes[i] = (struct weir_sample_class){.offered = number(v, "offered", 0), .refused = number(v, "refused", 0),
            .ended = number(v, "ended", 0), .response_s = number(v, "response_s", 0), .wait_s = number(v, "wait_s", 0)};
    }
}

static struct weir_sample read_sample(const json_t *inputs)
{
    struct weir_sample s = {.now_s = number(inputs, "now_s", NAN)};
    const struct {
        const char *key;
        double *to;
    } figures[] = {
        {"elapsed_s", &s.elapsed_s}, {"depth", &s.depth}, {"capacity", &s.capacity}, {"running", &s.running}, {"offered", &s.offered},
        {"accepted", &s.accepted}, {"handled", &s.handled}, {"failed", &s.failed}, {"expired", &s.expired}, {"dropped", &s.dropped},
        {"taken", &s.taken}, {"wait_min_s", &s.wait_min_s}, {"wait_s", &s.wait_s}, {"service_s", &s.service_s}, {"threads", &s.threads},
        {"threads_min", &s.threads_min}, {"threads_max", &s.threads_max}, {"busy", &s.busy}, {"batch", &s.batch}, {"batch_min", &s.batch_min},
        {"batch_max", &s.batch_max},
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        *figures[i].to = number(inputs, figures[i].key, NAN);
        if (isnan(*figures[i].to))
            fail_msg("%s was not recorded", figures[i].key);
    }
    s.takes_batches = json_is_true(json_object_get(inputs, "takes_batches"));
    s.can_grow = json_is_true(json_object_get(inputs, "can_grow"));
    s.idle_count = read_list(inputs, "idle_s", s.idle_s, WEIR_SAMPLE_WORKERS);
    read_classes(inputs, &s);
    return s;
}

static struct weir_setpoint read_setpoint(const json_t *from)
{
    struct weir_setpoint p = {.threads = number(from, "threads", INFINITY), .batch = number(from, "batch", INFINITY),
                              .burst = number(from, "burst", INFINITY), .limit = number(from, "limit", INFINITY),
                              .shed_after_s = number(from, "shed_after_s", INFINITY),
                              .overloaded = json_is_true(json_object_get(from, "overloaded"))};
    assert_int_equal(read_list(from, "rate", p.rate, WEIR_CLASSES_MAX), WEIR_CLASSES_MAX);
    assert_int_equal(read_list(from, "share", p.share, WEIR_CLASSES_MAX), WEIR_CLASSES_MAX);
    return p;
}

static void assert_same(double a, double b)
{
    if (a != b && !(fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b))))
        fail_msg("%.17g was recorded, now it is %.17g", b, a);
}

static void assert_same_setpoint(const struct weir_setpoint *now, const struct weir_setpoint *then)
{
    assert_same(now->threads, then->threads);
    assert_same(now->batch, then->batch);
    assert_same(now->burst, then->burst);
    assert_same(now->limit, then->limit);
    assert_same(now->shed_after_s, then->shed_after_s);
    assert_int_equal(now->overloaded, then->overloaded);
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++) {
        assert_same(now->rate[i], then->rate[i]);
        assert_same(now->share[i], then->share[i]);
    }
}

static const struct weir_controller_type *type_of(const json_t *line)
{
    const char *path = json_string_value(json_object_get(line, "path"));
    enum weir_knob knob = strstr(path, ".threads") != NULL ? WEIR_KNOB_THREADS : strstr(path, ".batch") != NULL ? WEIR_KNOB_BATCH : WEIR_KNOB_ADMISSION;
    const struct weir_controller_type *type = weir_controller_find(knob, json_string_value(json_object_get(line, "controller")));
    assert_non_null(type);
    return type;
}

/* Returns whether it decided anything. */
static bool replay_line(const struct weir_controller_type *type, void *state, const json_t *line)
{
    double settings[WEIR_SETTINGS_MAX];
    for (size_t i = 0; i < type->option_count; i++)
        settings[i] = number(json_object_get(line, "settings"), type->options[i].name, NAN);
    struct weir_sample sample = read_sample(json_object_get(line, "inputs"));
    struct weir_setpoint at = read_setpoint(json_object_get(line, "was")), then = read_setpoint(json_object_get(line, "at"));
    const char *rule = type->step(settings, state, &sample, &at), *recorded = json_string_value(json_object_get(line, "rule"));
    assert_string_equal(rule != NULL ? rule : "(none)", recorded != NULL ? recorded : "(none)");
    assert_same_setpoint(&at, &then);
    return rule != NULL;
}

static void replay(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.jsonl", RECORDED, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    void *state = NULL;
    size_t steps = 0, decisions = 0;
    json_t *line;
    while ((line = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)) != NULL) {
        const struct weir_controller_type *type = type_of(line);
        if (state == NULL)
            state = weir_calloc(1, type->state_size + 1);
        decisions += replay_line(type, state, line);
        steps++;
        json_decref(line);
    }
    fclose(f);
    weir_free(state);
    assert_true(steps >= 20 && decisions >= 3); /* else it would tell nothing */
}

#define REPLAYS(name)                                                                                        \
    static void name(void **state)                                                                           \
    {                                                                                                        \
        (void)state;                                                                                         \
        replay(#name);                                                                                       \
    }

REPLAYS(codel)
REPLAYS(response_time)
REPLAYS(gradient)
REPLAYS(queue)
REPLAYS(hillclimb)
REPLAYS(throughput)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(codel, test_teardown),     cmocka_unit_test_teardown(response_time, test_teardown),
        cmocka_unit_test_teardown(gradient, test_teardown),  cmocka_unit_test_teardown(queue, test_teardown),
        cmocka_unit_test_teardown(hillclimb, test_teardown), cmocka_unit_test_teardown(throughput, test_teardown),
    };
    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
