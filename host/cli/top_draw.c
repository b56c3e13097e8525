#include "cli/top_draw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/figures.h"
#include "cli/overload_draw.h"
#include "cli/spark.h"

enum { ROW_MAX = 512, CELL = 16 };

struct row {
    const char *name;
    const json_t *stage;
    double key;
    size_t place; /* in the graph */
};

static const json_t *at(const json_t *object, const char *first, const char *second)
{
    const json_t *inner = json_object_get(object, first);
    return second == NULL ? inner : json_object_get(inner, second);
}

static double real_at(const json_t *object, const char *first, const char *second)
{
    return json_number_value(at(object, first, second));
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "";
}

/* 0 7.5 340 12.3k 1.2M: five characters at most. */
static const char *figure_count(char out[CELL], double n)
{
    static const char units[] = " kMGTP";
    size_t unit = 0;
    while (n >= 999.5 && unit + 2 < sizeof units) {
        n /= 1000;
        unit++;
    }
    bool whole = n >= 99.95 || (unit == 0 && (n >= 9.995 || n < 0.005 || n == (double)(long long)n));
    (void)snprintf(out, CELL, unit == 0 ? "%.*f" : "%.*f%c", whole ? 0 : 1, n, units[unit]); /* it fits */
    return out;
}

/* 512B 81K 1.5M: five characters at most. */
static const char *figure_memory(char out[CELL], double n)
{
    static const char units[] = "BKMGTP";
    size_t unit = 0;
    while (n >= 999.5 && unit + 2 < sizeof units) {
        n /= 1024;
        unit++;
    }
    (void)snprintf(out, CELL, "%.*f%c", unit == 0 || n >= 9.95 ? 0 : 1, n, units[unit]);
    return out;
}

/* 850us 1.2ms 34ms 4.5s 99m: five characters at most. */
static const char *figure_time(char out[CELL], double us)
{
    char text[WEIR_FIGURE_MAX];
    if (us >= 999.5e6)
        (void)snprintf(out, CELL, "%.0fm", us / 60e6);
    else
        (void)snprintf(out, CELL, "%.10s", weir_figure_us(text, (int64_t)us));
    return out;
}

static bool is_source(const json_t *stage)
{
    return strcmp(text_at(stage, "kind"), "source") == 0;
}

static double fill_of(const json_t *stage)
{
    double capacity = real_at(stage, "queue", "capacity");
    return is_source(stage) || capacity <= 0 ? 0 : real_at(stage, "queue", "depth") / capacity;
}

static double errors_of(const json_t *stage)
{
    const json_t *recent = json_object_get(stage, "recent");
    return real_at(recent, "failed", NULL) + real_at(recent, "expired", NULL) + real_at(recent, "dropped", NULL);
}

static double wait_of(const json_t *stage, const char *quantile)
{
    return real_at(at(stage, "recent", "wait_us"), quantile, NULL);
}

static double key_of(const json_t *stage, char sort)
{
    switch (sort) {
    case 'r':
        return real_at(stage, "recent", "handled");
    case 'f':
        return fill_of(stage);
    case 'w':
        return wait_of(stage, "p99");
    case 'e':
        return errors_of(stage);
    default:
        return 0;
    }
}

static int by_key(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static int by_name(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Characters, not bytes. */
static size_t text_width(const char *s, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

/* Ends a line that begins at `from`: cut to the width, without blanks at its end. */
static void end_line(struct weir_strbuf *out, size_t from, size_t width)
{
    if (out->failed || out->data == NULL)
        return;
    while (text_width(out->data + from, out->len - from) > width) {
        do
            out->len--;
        while (out->len > from && ((unsigned char)out->data[out->len] & 0xc0) == 0x80);
    }
    while (out->len > from && out->data[out->len - 1] == ' ')
        out->len--;
    weir_strbuf_addc(out, '\n');
}

static void draw_head(const json_t *stats, const struct weir_top_view *v, struct weir_strbuf *out)
{
    char up[WEIR_FIGURE_MAX];
    size_t from = out->len;
    const char *name;
    json_t *pool;
    weir_strbuf_addf(out, "%s  pid %.0f  %s  up %s  sort %c%s%s%s", text_at(stats, "app"), real_at(stats, "pid", NULL),
                     text_at(stats, "state"), weir_figure_seconds(up, real_at(stats, "uptime_s", NULL)), v->sort,
                     v->reverse ? " reversed" : "", v->filter[0] != '\0' ? "  filter " : "", v->filter);
    end_line(out, from, v->width);
    from = out->len;
    json_object_foreach((json_t *)json_object_get(stats, "pools"), name, pool) /* jansson's iterator asks for it; nothing is changed */
    {
        double max = real_at(pool, "max", NULL);
        weir_strbuf_addf(out, "%s %.0f/%.0f %.0f%%   ", name, real_at(pool, "threads", NULL), max, 100 * real_at(pool, "busy", NULL));
    }
    end_line(out, from, v->width);
}

/* What the columns are. */
static const char row_format[] = "%-12.12s %6s %4s %5s %5s %3s %3s %4s %5s %3s %5s %-12.12s";

static void draw_titles(const struct weir_top_view *v, struct weir_strbuf *out)
{
    size_t from = out->len;
    weir_strbuf_addf(out, row_format, "STAGE", "RATE/s", "FILL", "P50", "P99", "THR", "BAT", "ADM", "ERR/s", "GEN", "VM", "BLOCKED BY");
    if (v->width > WEIR_TOP_NARROW + 8)
        weir_strbuf_adds(out, " QUEUE, 2 MINUTES");
    end_line(out, from, v->width);
}

static void draw_bars(const struct row *r, const struct weir_top_view *v, struct weir_strbuf *out)
{
    const json_t *lengths = at(at(v->history, "queues", r->name), "minutes", "max");
    if (lengths == NULL || v->width <= WEIR_TOP_NARROW + 8)
        return;
    weir_strbuf_addc(out, ' ');
    weir_spark_draw(lengths, weir_spark_most(lengths), v->width - WEIR_TOP_NARROW, out);
}

/* The share of what was offered that was let in over the last second. */
static const char *figure_admitted(char out[CELL], const json_t *recent)
{
    double offered = real_at(recent, "offered", NULL), accepted = real_at(recent, "accepted", NULL);
    (void)snprintf(out, CELL, "-");
    if (offered > 0)
        (void)snprintf(out, CELL, "%.0f%%", 100 * (accepted < offered ? accepted / offered : 1));
    return out;
}

static void draw_row(const json_t *stats, const struct row *r, const struct weir_top_view *v, struct weir_strbuf *out)
{
    const json_t *s = r->stage, *recent = json_object_get(s, "recent");
    char rate[CELL] = "-", fill[CELL] = "-", p50[CELL] = "-", p99[CELL] = "-", threads[CELL], batch[CELL] = "-", admitted[CELL] = "-",
         errors[CELL] = "-", generation[CELL], memory[CELL] = "-";
    size_t from = out->len;
    (void)snprintf(threads, sizeof threads, "%.0f", real_at(at(stats, "pools", text_at(s, "pool")), "threads", NULL));
    (void)snprintf(generation, sizeof generation, "%.0f", real_at(s, "generation", NULL));
    if (!is_source(s)) {
        figure_count(rate, real_at(recent, "handled", NULL));
        (void)snprintf(fill, sizeof fill, "%.0f%%", 100 * fill_of(s));
        figure_time(p50, wait_of(s, "p50"));
        figure_time(p99, wait_of(s, "p99"));
        figure_count(batch, real_at(s, "batch", NULL));
        figure_admitted(admitted, recent);
        figure_count(errors, errors_of(s));
    }
    if (real_at(s, "vm_bytes", NULL) > 0)
        figure_memory(memory, real_at(s, "vm_bytes", NULL));
    weir_strbuf_addf(out, row_format, r->name, rate, fill, p50, p99, threads, batch, admitted, errors, generation, memory,
                     text_at(s, "blocked_by"));
    draw_bars(r, v, out);
    end_line(out, from, v->width);
}

static size_t choose_rows(const json_t *stats, const struct weir_top_view *v, struct row *rows, size_t room)
{
    size_t n = 0, place = 0;
    const char *name;
    json_t *stage;
    json_object_foreach((json_t *)json_object_get(stats, "stages"), name, stage) /* as above */
    {
        place++;
        if (n < room && strstr(name, v->filter) != NULL)
            rows[n++] = (struct row){name, stage, key_of(stage, v->sort), place};
    }
    qsort(rows, n, sizeof *rows, v->sort == 'n' ? by_name : by_key);
    return n;
}

void weir_top_draw(const json_t *stats, const struct weir_top_view *v, struct weir_strbuf *out)
{
    size_t count = json_object_size(json_object_get(stats, "stages"));
    struct row *rows = weir_calloc(count + 1, sizeof *rows);
    if (rows == NULL) {
        out->failed = true;
        return;
    }
    size_t n = choose_rows(stats, v, rows, count), room = v->height == 0 ? n : v->height > 4 ? v->height - 4 : 0;
    draw_head(stats, v, out);
    size_t from = out->len;
    (void)weir_overload_draw(stats, out); /* as a rule there is nothing to tell, and the line parts head and table */
    end_line(out, from, v->width);
    draw_titles(v, out);
    for (size_t i = 0; i < n && i < room; i++)
        draw_row(stats, &rows[v->reverse ? n - 1 - i : i], v, out);
    weir_free(rows);
}
