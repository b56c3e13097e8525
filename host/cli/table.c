#include "cli/table.h"

#include <stdarg.h>
#include <string.h>

/* Characters of a UTF-8 text: the bytes that begin one. */
static size_t width_of(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

static bool is_right(const char *title)
{
    return title[0] == '>';
}

void weir_table_init(struct weir_table *t, const char *const *titles)
{
    *t = (struct weir_table){.titles = titles};
    while (t->columns < WEIR_TABLE_COLUMNS && titles[t->columns] != NULL) {
        const char *title = titles[t->columns];
        t->widths[t->columns++] = width_of(title) - is_right(title);
    }
}

void weir_table_fini(struct weir_table *t)
{
    weir_strbuf_fini(&t->cells);
}

void weir_table_add(struct weir_table *t, const char *fmt, ...)
{
    size_t before = t->cells.len;
    va_list ap;
    va_start(ap, fmt);
    weir_strbuf_vaddf(&t->cells, fmt, ap);
    va_end(ap);
    weir_strbuf_addc(&t->cells, '\0');
    if (t->cells.failed)
        return;
    size_t width = width_of(t->cells.data + before), column = t->count++ % t->columns;
    if (width > t->widths[column])
        t->widths[column] = width;
}

static void print_cell(const struct weir_table *t, size_t column, const char *text, struct weir_strbuf *out)
{
    size_t pad = t->widths[column] - width_of(text);
    bool last = column + 1 == t->columns;
    if (is_right(t->titles[column]))
        weir_strbuf_addf(out, "%*s", (int)pad, "");
    weir_strbuf_adds(out, text);
    if (last)
        weir_strbuf_addc(out, '\n');
    else
        weir_strbuf_addf(out, "%*s", is_right(t->titles[column]) ? 2 : (int)pad + 2, "");
}

void weir_table_print(const struct weir_table *t, struct weir_strbuf *out)
{
    if (t->cells.failed) {
        out->failed = true;
        return;
    }
    if (t->count == 0)
        return;
    for (size_t i = 0; i < t->columns; i++)
        print_cell(t, i, t->titles[i] + is_right(t->titles[i]), out);
    const char *cell = t->cells.data;
    for (size_t i = 0; i < t->count; i++, cell += strlen(cell) + 1)
        print_cell(t, i % t->columns, cell, out);
}
