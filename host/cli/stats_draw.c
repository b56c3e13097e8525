#include "cli/stats_draw.h"

#include <string.h>

#include "cli/figures.h"
#include "cli/overload_draw.h"
#include "cli/table.h"

static const json_t *at(const json_t *object, const char *first, const char *second)
{
    const json_t *inner = json_object_get(object, first);
    return second == NULL ? inner : json_object_get(inner, second);
}

static long long int_at(const json_t *object, const char *first, const char *second)
{
    return (long long)json_integer_value(at(object, first, second));
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "-";
}

static void draw_head(const json_t *stats, struct weir_strbuf *out)
{
    char up[WEIR_FIGURE_MAX];
    weir_strbuf_addf(out, "%s  pid %lld  %s  up %s\n", text_at(stats, "app"), int_at(stats, "pid", NULL),
                     text_at(stats, "state"),
                     weir_figure_seconds(up, json_number_value(json_object_get(stats, "uptime_s"))));
}

static void draw_pools(const json_t *stats, struct weir_strbuf *out)
{
    static const char *const titles[] = {"POOL", ">THREADS", ">BUSY", NULL};
    struct weir_table table;
    const char *name;
    json_t *pool;
    weir_table_init(&table, titles);
    json_object_foreach(json_object_get(stats, "pools"), name, pool)
    {
        weir_table_add(&table, "%s", name);
        weir_table_add(&table, "%lld", int_at(pool, "threads", NULL));
        weir_table_add(&table, "%.0f%%", 100 * json_number_value(json_object_get(pool, "busy")));
    }
    weir_table_print(&table, out);
    weir_table_fini(&table);
}

/* "12us/1.3ms": median and 99th percentile. */
static void add_times(struct weir_table *table, const json_t *times)
{
    char median[WEIR_FIGURE_MAX], late[WEIR_FIGURE_MAX];
    weir_table_add(table, "%s/%s", weir_figure_us(median, json_integer_value(json_object_get(times, "p50"))),
                   weir_figure_us(late, json_integer_value(json_object_get(times, "p99"))));
}

static void add_stage(struct weir_table *table, const char *name, const json_t *stage)
{
    static const char *const outcomes[] = {"accepted", "rejected", "handled", "failed",
                                           "expired",  "dropped",  "running"};
    bool source = strcmp(text_at(stage, "kind"), "source") == 0;
    weir_table_add(table, "%s", name);
    weir_table_add(table, "%s", text_at(stage, "kind"));
    weir_table_add(table, "%s", text_at(stage, "pool"));
    if (source) { /* nothing is sent to it: it has no queue and no calls */
        for (size_t i = 0; i < 11; i++)
            weir_table_add(table, "-");
        return;
    }
    weir_table_add(table, "%lld/%lld", int_at(stage, "queue", "depth"), int_at(stage, "queue", "capacity"));
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
        weir_table_add(table, "%lld", int_at(stage, "ledger", outcomes[i]));
    add_times(table, at(stage, "queue", "wait_us"));
    add_times(table, at(stage, "service_us", NULL));
    weir_table_add(table, "%.0f", json_number_value(json_object_get(stage, "rate")));
}

void weir_stats_draw(const json_t *stats, struct weir_strbuf *out)
{
    static const char *const titles[] = {"STAGE",     "KIND",     "POOL",     ">QUEUE",      ">ACCEPTED",
                                         ">REJECTED", ">HANDLED", ">FAILED",  ">EXPIRED",    ">DROPPED",
                                         ">RUNNING",  ">WAIT",    ">SERVICE", ">PER SECOND", NULL};
    struct weir_table table;
    const char *name;
    json_t *stage;
    draw_head(stats, out);
    draw_pools(stats, out);
    if (weir_overload_draw(stats, out))
        weir_strbuf_addc(out, '\n');
    weir_strbuf_addc(out, '\n');
    weir_table_init(&table, titles);
    json_object_foreach(json_object_get(stats, "stages"), name, stage)
    {
        add_stage(&table, name, stage);
    }
    weir_table_print(&table, out);
    weir_table_fini(&table);
}

/* "title   key 1, key 2" of an object's numbers; nothing when it has none. */
static void draw_numbers(const char *title, const json_t *object, struct weir_strbuf *out)
{
    const char *key;
    json_t *value;
    bool any = false;
    json_object_foreach((json_t *)object, key, value) /* jansson's iterator asks for it; nothing is changed */
    {
        if (!json_is_number(value))
            continue;
        if (!any)
            weir_strbuf_addf(out, "%-9s ", title);
        weir_strbuf_addf(out, "%s%s %lld", any ? ", " : "", key, (long long)json_integer_value(value));
        any = true;
    }
    if (any)
        weir_strbuf_addc(out, '\n');
}

static void draw_times(const char *title, const json_t *times, struct weir_strbuf *out)
{
    static const char *const keys[] = {"p50", "p90", "p99", "max"};
    char text[WEIR_FIGURE_MAX];
    weir_strbuf_addf(out, "%-9s ", title);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        weir_strbuf_addf(out, "%s%s %s", i > 0 ? ", " : "", keys[i],
                         weir_figure_us(text, json_integer_value(json_object_get(times, keys[i]))));
    weir_strbuf_addc(out, '\n');
}

static void draw_queue(const json_t *stage, struct weir_strbuf *out)
{
    char bytes[WEIR_FIGURE_MAX], most[WEIR_FIGURE_MAX];
    weir_strbuf_addf(out, "%-9s %lld of %lld events, %s of %s\n", "queue", int_at(stage, "queue", "depth"),
                     int_at(stage, "queue", "capacity"),
                     weir_figure_bytes(bytes, (uint64_t)int_at(stage, "queue", "bytes")),
                     weir_figure_bytes(most, (uint64_t)int_at(stage, "queue", "capacity_bytes")));
    draw_times("wait", at(stage, "queue", "wait_us"), out);
    draw_times("service", at(stage, "service_us", NULL), out);
    weir_strbuf_addf(out, "%-9s %.1f per second\n", "rate",
                     json_number_value(json_object_get(stage, "rate")));
}

void weir_stats_draw_stage(const json_t *stats, const char *name, struct weir_strbuf *out)
{
    const json_t *stage = at(stats, "stages", name);
    char bytes[WEIR_FIGURE_MAX];
    const char *outcome;
    json_t *reasons;
    draw_head(stats, out);
    weir_strbuf_addf(out, "\n%-9s %s, %s in pool %s, generation %lld\n", "stage", name,
                     text_at(stage, "kind"), text_at(stage, "pool"), int_at(stage, "generation", NULL));
    if (json_object_get(stage, "address") != NULL)
        weir_strbuf_addf(out, "%-9s %s\n", "address", text_at(stage, "address"));
    if (strcmp(text_at(stage, "kind"), "source") != 0) {
        draw_queue(stage, out);
        draw_numbers("ledger", json_object_get(stage, "ledger"), out);
    }
    json_object_foreach(json_object_get(stage, "reasons"), outcome, reasons)
    {
        draw_numbers(outcome, reasons, out);
    }
    draw_numbers("emitted", json_object_get(stage, "emitted"), out);
    if (int_at(stage, "vm_bytes", NULL) > 0)
        weir_strbuf_addf(out, "%-9s %s\n", "VMs",
                         weir_figure_bytes(bytes, (uint64_t)int_at(stage, "vm_bytes", NULL)));
    draw_numbers("http", json_object_get(stage, "http"), out);
}
