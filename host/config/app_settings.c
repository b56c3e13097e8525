/* The settings that `defaults` and each stage have in common: a stage starts as a copy of the defaults, and
 * each key it gives replaces that one setting. */
#include <stdio.h>
#include <string.h>

#include "config/app_build.h"
#include "config/nearest.h"
#include "config/units.h"

static const uint64_t ms = 1000000, day = UINT64_C(86400) * 1000000000;
static const size_t kib = 1024, tib = (size_t)1 << 40;

static const char *const overflow_words[] = {"reject", "wait", "drop_newest", "drop_oldest", NULL};
static const char *const order_words[] = {"fifo", "lifo", "adaptive", "class", NULL};

bool weir_app_read_overflow(struct weir_app_build *b, const struct weir_conf *c,
                            struct weir_app_overflow *ret)
{
    static const char *const keys[] = {"route", NULL};
    size_t word;
    struct weir_app_overflow o = {.policy = WEIR_OVERFLOW_ROUTE, .at = weir_conf_mark(c)};
    if (weir_conf_kind(c) == WEIR_CONF_MAP) {
        weir_schema_map(&b->schema, c, "overflow", keys);
        const struct weir_conf *route = weir_conf_get(c, "route");
        if (route == NULL) {
            weir_problems_error(b->schema.problems, c->at, "'overflow': expected {route: STAGE}");
            return false;
        }
        o.at = route->at;
        if (!weir_schema_reference(&b->schema, route, "route", &o.stage))
            return false;
    } else if (weir_conf_text(c) != NULL && strcmp(weir_conf_text(c), "route") == 0) {
        weir_problems_error(b->schema.problems, c->at, "'overflow': route needs a stage: {route: STAGE}");
        return false;
    } else if (weir_schema_word(&b->schema, c, "overflow", overflow_words, &word)) {
        o.policy = (enum weir_overflow)word; /* the words stand in the order of the enum */
    } else {
        return false;
    }
    *ret = o;
    return true;
}

static bool is_by(const char *by)
{
    return by != NULL && strcmp(by, "none") != 0;
}

/* Within a key's events the order of arrival is promised: no other order can hold beside it. */
static void check_order_by(struct weir_app_build *b, const struct weir_conf *c, const struct weir_app_stage *st)
{
    if (!is_by(st->order_by))
        return;
    if (st->order != WEIR_ORDER_FIFO)
        weir_problems_error(
            b->schema.problems, c->at,
            "'order: %s' can't be had together with 'order_by: %s', which keeps the order of arrival",
            order_words[st->order], st->order_by);
    if (st->fair_by != NULL)
        weir_problems_error(b->schema.problems, c->at,
                            "'fair_by: %s' can't be had together with 'order_by: %s': keys take turns, or "
                            "keep their order over all workers, not both",
                            st->fair_by, st->order_by);
}

/* What tells a stage's events apart: "key", "source" or a field. */
static void read_by(struct weir_app_build *b, const struct weir_conf *c, const char *name, const char **ret,
                    bool defaults)
{
    struct weir_schema *s = &b->schema;
    const struct weir_conf *by = weir_conf_get(c, name);
    if (by == NULL)
        return;
    if (defaults)
        weir_problems_error(s->problems, by->at, "'%s' belongs to a stage, not to 'defaults'", name);
    else if (weir_schema_reference(s, by, name, ret) && strlen(*ret) > WEIR_SCHEMA_NAME_MAX)
        weir_problems_error(s->problems, by->at, "'%s': the field's name is longer than %d bytes", name,
                            WEIR_SCHEMA_NAME_MAX);
}

void weir_app_read_queue(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st,
                         bool defaults)
{
    static const char *const keys[] = {"capacity", "bytes", "overflow", "order", "max_age",
                                       "order_by", "fair_by",  NULL};
    struct weir_schema *s = &b->schema;
    if (c == NULL || !weir_schema_map(s, c, "queue", keys))
        return;
    const struct weir_conf *v;
    size_t word;
    if ((v = weir_conf_get(c, "capacity")) != NULL)
        weir_schema_count(s, v, "capacity", 1, 16000000, &st->capacity);
    if ((v = weir_conf_get(c, "bytes")) != NULL)
        weir_schema_size(s, v, "bytes", 1, tib, &st->bytes);
    if ((v = weir_conf_get(c, "max_age")) != NULL)
        weir_schema_duration(s, v, "max_age", 0, 365 * day, &st->max_age_ns);
    if ((v = weir_conf_get(c, "overflow")) != NULL && !weir_app_read_overflow(b, v, &st->overflow)) {
        st->overflow = (struct weir_app_overflow){.policy = WEIR_OVERFLOW_REJECT}; /* no cycle by default */
        b->incomplete = true;
    }
    if ((v = weir_conf_get(c, "order")) != NULL && weir_schema_word(s, v, "order", order_words, &word))
        st->order = (enum weir_order)word;
    read_by(b, c, "order_by", &st->order_by, defaults);
    read_by(b, c, "fair_by", &st->fair_by, defaults);
    if (!is_by(st->fair_by))
        st->fair_by = NULL;
    const struct weir_conf *by = weir_conf_get(c, st->fair_by != NULL ? "fair_by" : "order_by");
    check_order_by(b, v != NULL ? v : by != NULL ? by : c, st);
}

void weir_app_read_batch(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st)
{
    static const char *const keys[] = {"min", "max", "controller", NULL};
    const unsigned most = 65536;
    struct weir_schema *s = &b->schema;
    if (c == NULL)
        return;
    if (weir_conf_kind(c) != WEIR_CONF_MAP) {
        if (weir_conf_kind(c) != WEIR_CONF_INT)
            weir_schema_expected(s, c, "batch", "a whole number or {min: , max: }");
        else if (weir_schema_unsigned(s, c, "batch", 1, most, &st->batch_max))
            st->batch_min = st->batch_max;
        st->batch.name = NULL;
        return;
    }
    weir_schema_map(s, c, "batch", keys);
    const struct weir_conf *min = weir_conf_get(c, "min"), *max = weir_conf_get(c, "max");
    unsigned low = st->batch_min, high = st->batch_max;
    if (min != NULL && !weir_schema_unsigned(s, min, "min", 1, most, &low))
        return;
    if (max != NULL && !weir_schema_unsigned(s, max, "max", 1, most, &high))
        return;
    if (low > high) {
        weir_problems_error(s->problems,
                            (max != NULL   ? max
                             : min != NULL ? min
                                           : c)
                                ->at,
                            "'batch': 'max' (%u) is below 'min' (%u)", high, low);
        return;
    }
    st->batch_min = low;
    st->batch_max = high;
    st->batch.at = c->at;
    if (low < high)
        weir_app_read_controller(b, weir_conf_get(c, "controller"), WEIR_KNOB_BATCH, "throughput", &st->batch);
}

void weir_app_read_concurrency(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st)
{
    if (c != NULL)
        weir_schema_unsigned(&b->schema, c, "concurrency", 1, 1000000, &st->concurrency);
}

struct limit {
    const char *key;
    uint64_t min_ns;
    unsigned bit;
};

static const struct limit limits[] = {
    {"slice", 100 * 1000, WEIR_APP_WROTE_SLICE},
    {"stall", 1000 * 1000, WEIR_APP_WROTE_STALL},
    {"cpu", 1000 * 1000, WEIR_APP_WROTE_CPU},
    {"wall", 1000 * 1000, WEIR_APP_WROTE_WALL},
};

static uint64_t *limit_field(struct weir_app_stage *st, unsigned bit)
{
    switch (bit) {
    case WEIR_APP_WROTE_SLICE:
        return &st->slice_ns;
    case WEIR_APP_WROTE_STALL:
        return &st->stall_ns;
    case WEIR_APP_WROTE_CPU:
        return &st->cpu_ns;
    default:
        return &st->wall_ns;
    }
}

/* `small` may not be over `large`. A small one that nobody wrote follows a large one that was lowered. */
static void check_pair(struct weir_app_build *b, const struct weir_conf *map, struct weir_app_stage *st,
                       const struct limit *small, const struct limit *large)
{
    uint64_t *low = limit_field(st, small->bit), *high = limit_field(st, large->bit);
    if (*low <= *high)
        return;
    if (!(st->written & small->bit)) {
        *low = *high;
        return;
    }
    char low_text[WEIR_UNITS_TEXT], high_text[WEIR_UNITS_TEXT];
    const struct weir_conf *v = weir_conf_get(map, small->key);
    v = v != NULL ? v : weir_conf_get(map, large->key);
    weir_problems_error(
        b->schema.problems, weir_conf_mark(v != NULL ? v : map), "'%s' (%s) can't be over '%s' (%s%s)",
        small->key, weir_duration_format(*low, low_text), large->key, weir_duration_format(*high, high_text),
        st->written & large->bit ? "" : " by default");
}

void weir_app_read_limits(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st)
{
    static const char *const keys[] = {"slice", "stall", "cpu", "wall", "memory", NULL};
    const struct limit *slice = &limits[0], *stall = &limits[1], *cpu = &limits[2], *wall = &limits[3];
    if (c == NULL || !weir_schema_map(&b->schema, c, "limits", keys))
        return;
    bool ok = true;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const struct weir_conf *v = weir_conf_get(c, limits[i].key);
        if (v == NULL)
            continue;
        st->written |= limits[i].bit;
        if (!weir_schema_duration(&b->schema, v, limits[i].key, limits[i].min_ns, day,
                                  limit_field(st, limits[i].bit)))
            ok = false;
    }
    const struct weir_conf *memory = weir_conf_get(c, "memory");
    if (memory != NULL)
        weir_schema_size(&b->schema, memory, "memory", 64 * kib, tib, &st->memory);
    if (!ok)
        return;
    check_pair(b, c, st, cpu, wall); /* from the largest down: what is lowered may lower the next */
    check_pair(b, c, st, stall, wall);
    check_pair(b, c, st, slice, stall);
    check_pair(b, c, st, slice, cpu);
}

/* `safe`, `all`, or a list of these and of the libraries that the sandbox knows. */
void weir_app_read_libs(struct weir_app_build *b, const struct weir_conf *c, struct weir_app_stage *st)
{
    static const char *const names[] = {"safe", "all",  "base", "coroutine", "string", "table", "math",
                                        "utf8", "os",   "debug", "io",       "package", NULL};
    static const char *const sets[] = {"safe", "all", NULL};
    if (c == NULL)
        return;
    st->script_unknown = true; /* until all of it is read */
    bool list = weir_conf_kind(c) == WEIR_CONF_LIST;
    size_t count = list ? weir_conf_size(c) : 1, word;
    const char **libs = weir_arena_alloc(b->schema.arena, count + 1, sizeof *libs);
    if (libs == NULL)
        return;
    if (!list) {
        const char *text = weir_conf_text(c);
        if (text == NULL || c->bad || (strcmp(text, "safe") != 0 && strcmp(text, "all") != 0)) {
            weir_schema_expected(&b->schema, c, "libs",
                                 "safe, all or a list of libraries such as [string, table]");
            return;
        }
        libs[0] = sets[strcmp(text, "all") == 0];
    }
    for (size_t i = 0; list && i < count; i++) {
        if (!weir_schema_word(&b->schema, weir_conf_at(c, i), "libs", names, &word))
            return;
        libs[i] = names[word];
    }
    st->libs = libs;
    st->lib_count = count;
    st->script_unknown = false;
}

void weir_app_read_defaults(struct weir_app_build *b, const struct weir_conf *c)
{
    static const char *const keys[] = {"queue", "batch", "concurrency", "limits", "libs", NULL};
    static const char *safe[] = {"safe", NULL};
    struct weir_app_stage *st = &b->defaults;
    *st = (struct weir_app_stage){
        .pool = "main",
        .capacity = 1024,
        .bytes = 64 * kib * kib,
        .overflow = {.policy = WEIR_OVERFLOW_REJECT},
        .order = WEIR_ORDER_FIFO,
        .batch_min = 1,
        .batch_max = 64,
        .concurrency = 10000,
        .slice_ns = 10 * ms,
        .stall_ns = 50 * ms,
        .cpu_ns = 1000 * ms,
        .wall_ns = 30000 * ms,
        .memory = 64 * kib * kib,
        .libs = safe,
        .lib_count = 1,
        .keep_state = true,
    };
    if (c == NULL || !weir_schema_map(&b->schema, c, "defaults", keys))
        return;
    weir_app_read_queue(b, weir_conf_get(c, "queue"), st, true);
    weir_app_read_batch(b, weir_conf_get(c, "batch"), st);
    weir_app_read_concurrency(b, weir_conf_get(c, "concurrency"), st);
    weir_app_read_limits(b, weir_conf_get(c, "limits"), st);
    weir_app_read_libs(b, weir_conf_get(c, "libs"), st);
}
