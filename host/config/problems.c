#include "config/problems.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/utf8.h"

enum {
    TEXT_BYTES = 640,
    KEPT_MAX = 1000,
    MANY = 100,
    ERRORS_SHOWN = 50,
    WARNINGS_SHOWN = 20,
    INDENT = 8,      /* of the source line under a message */
    LINE_CHARS = 90, /* of the source line that are shown */
};

struct weir_problem {
    struct weir_problem *before;
    struct weir_app_mark at;
    enum weir_severity severity;
    size_t serial;
    const char *text;
};

void weir_problems_init(struct weir_problems *p, struct weir_arena *arena, const struct weir_sources *sources)
{
    *p = (struct weir_problems){.arena = arena, .sources = sources};
}

static void __attribute__((format(printf, 4, 0))) add(struct weir_problems *p, enum weir_severity severity,
                                                      struct weir_app_mark at, const char *fmt, va_list ap)
{
    size_t *count = severity == WEIR_SEVERITY_ERROR ? &p->errors : &p->warnings;
    (*count)++;
    if (p->kept == KEPT_MAX)
        return;
    char text[TEXT_BYTES];
    vsnprintf(text, sizeof text, fmt, ap);
    weir_utf8_clean(text);
    struct weir_problem *new = weir_arena_alloc(p->arena, 1, sizeof *new);
    char *copy = weir_arena_strdup(p->arena, text);
    if (new == NULL || copy == NULL)
        return;
    *new = (struct weir_problem){p->last, at, severity, p->kept++, copy};
    p->last = new;
}

void weir_problems_error(struct weir_problems *p, struct weir_app_mark at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(p, WEIR_SEVERITY_ERROR, at, fmt, ap);
    va_end(ap);
}

void weir_problems_warn(struct weir_problems *p, struct weir_app_mark at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add(p, WEIR_SEVERITY_WARNING, at, fmt, ap);
    va_end(ap);
}

bool weir_problems_many(const struct weir_problems *p)
{
    return p->errors + p->warnings >= MANY;
}

/* --- Printing --- */

struct line {
    const char *text;
    size_t len;
};

const char *weir_source_line(const struct weir_text *s, int number, size_t *ret_len)
{
    size_t at = 0, start = 0;
    int n = 1;
    while (at < s->len) {
        size_t brk = weir_utf8_break(s->text + at, s->len - at);
        if (brk == 0) {
            at++;
            continue;
        }
        if (n == number)
            break;
        at += brk;
        start = at;
        n++;
    }
    if (n < number)
        start = at; /* a mark at the very end */
    *ret_len = at - start;
    return s->text + start;
}

/* Moves `*l` past its first character, which may be a byte that is none. */
static void skip_char(struct line *l)
{
    size_t n = weir_utf8_length(l->text, l->len);
    n = n == 0 ? 1 : n;
    l->text += n;
    l->len -= n;
}

static size_t count_chars(struct line l)
{
    size_t n = 0;
    for (; l.len != 0; n++)
        skip_char(&l);
    return n;
}

static void add_char(struct weir_strbuf *out, const struct line *l)
{
    size_t n = weir_utf8_length(l->text, l->len);
    if (n == 0 || weir_utf8_is_control(l->text, n))
        weir_strbuf_addc(out, '?');
    else if (*l->text == '\t')
        weir_strbuf_addc(out, ' ');
    else
        weir_strbuf_add(out, l->text, n);
}

/* Prints `l` without its indent, and under it a caret at `column`; of a long line the part around the column.
 */
static void print_line(struct line l, int column, struct weir_strbuf *out)
{
    int caret = column - 1;
    while (l.len != 0 && (*l.text == ' ' || *l.text == '\t') && caret > 0) {
        skip_char(&l);
        caret--;
    }
    if (l.len == 0)
        return;
    size_t chars = count_chars(l);
    for (; chars > LINE_CHARS && caret > LINE_CHARS * 2 / 3; caret--, chars--)
        skip_char(&l);
    weir_strbuf_addf(out, "%*s", INDENT, "");
    for (int i = 0; i < LINE_CHARS && l.len != 0; i++, skip_char(&l))
        add_char(out, &l);
    weir_strbuf_addf(out, "\n%*s^\n", INDENT + caret, "");
}

void weir_sources_print(const struct weir_sources *s, struct weir_app_mark at, enum weir_severity severity,
                        const char *text, struct weir_strbuf *out)
{
    const char *word = severity == WEIR_SEVERITY_ERROR ? "error" : "warning";
    bool from_set = at.line < 0 && (size_t) - (long)at.line <= s->set_count;
    const struct weir_text *source = from_set ? &s->sets[-at.line - 1] : &s->file;
    if (at.line <= 0)
        weir_strbuf_addf(out, "%s: %s: %s\n", source->name, word, text);
    else
        weir_strbuf_addf(out, "%s:%d:%d: %s: %s\n", source->name, at.line, at.column, word, text);
    if (at.line == 0)
        return;
    struct line line;
    line.text = weir_source_line(source, from_set ? 1 : at.line, &line.len);
    print_line(line, at.column, out);
}

/* In the order of the file, then of the command line. */
static int compare(const void *left, const void *right)
{
    const struct weir_problem *a = *(const struct weir_problem *const *)left;
    const struct weir_problem *b = *(const struct weir_problem *const *)right;
    int aline = a->at.line < 0 ? INT_MAX / 2 - a->at.line : a->at.line;
    int bline = b->at.line < 0 ? INT_MAX / 2 - b->at.line : b->at.line;
    if (aline != bline)
        return aline < bline ? -1 : 1;
    if (a->at.column != b->at.column)
        return a->at.column < b->at.column ? -1 : 1;
    return a->serial < b->serial ? -1 : a->serial > b->serial;
}

static void print_rest(size_t shown, size_t all, const char *word, struct weir_strbuf *out)
{
    if (all > shown)
        weir_strbuf_addf(out, "and %zu more %s%s\n", all - shown, word, all - shown == 1 ? "" : "s");
}

void weir_problems_print(struct weir_problems *p, struct weir_strbuf *out)
{
    struct weir_problem **sorted = weir_arena_alloc(p->arena, p->kept + 1, sizeof *sorted);
    if (sorted == NULL)
        return;
    size_t count = 0, errors = 0, warnings = 0;
    for (struct weir_problem *at = p->last; at != NULL; at = at->before)
        sorted[count++] = at;
    qsort(sorted, count, sizeof(struct weir_problem *), compare);
    for (size_t i = 0; i < count; i++) {
        bool error = sorted[i]->severity == WEIR_SEVERITY_ERROR;
        size_t *shown = error ? &errors : &warnings;
        if (*shown == (error ? ERRORS_SHOWN : WARNINGS_SHOWN))
            continue;
        (*shown)++;
        weir_sources_print(p->sources, sorted[i]->at, sorted[i]->severity, sorted[i]->text, out);
    }
    print_rest(errors, p->errors, "error", out);
    print_rest(warnings, p->warnings, "warning", out);
}
