/* config/problems.h - what is wrong with an application: collected while it is read, printed together, in
 * file order. Everything lives in the arena given at init; a problem lost for want of memory leaves the arena
 * failed. One thread. */
#ifndef WEIR_CONFIG_PROBLEMS_H
#define WEIR_CONFIG_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"
#include "config/arena.h"
#include "config/mark.h"

/* A text that marks point into, and what messages call it: "weir.yaml", "--set stages.page.batch". */
struct weir_text {
    const char *name, *text;
    size_t len;
};

/* The file, and the values of the `--set`s: a mark with line -n points into sets[n - 1]. */
struct weir_sources {
    struct weir_text file;
    struct weir_text *sets;
    size_t set_count;
};

enum weir_severity { WEIR_SEVERITY_ERROR, WEIR_SEVERITY_WARNING };

struct weir_problem;

struct weir_problems {
    struct weir_arena *arena;
    const struct weir_sources *sources;
    struct weir_problem *last; /* a list, newest first */
    size_t errors, warnings;   /* all of them */
    size_t kept;               /* those in the list: beyond a bound they are only counted */
};

void weir_problems_init(struct weir_problems *p, struct weir_arena *arena,
                        const struct weir_sources *sources);
/* The text is cleaned of control characters and cut at some 600 bytes. */
void weir_problems_error(struct weir_problems *p, struct weir_app_mark at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void weir_problems_warn(struct weir_problems *p, struct weir_app_mark at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Whether there are so many already that another one's hints are not worth working out. */
bool weir_problems_many(const struct weir_problems *p);
/* Appends them, sorted, each with its line and caret; at most 50 errors and 20 warnings, then how many more.
 */
void weir_problems_print(struct weir_problems *p, struct weir_strbuf *out);

/* The `number`-th line (from 1) of a source without its break, `*ret_len` bytes; empty when there is none. */
const char *weir_source_line(const struct weir_text *s, int number, size_t *ret_len);

/* Appends one: "name:line:col: error: text", the line it points at and a caret. */
void weir_sources_print(const struct weir_sources *s, struct weir_app_mark at, enum weir_severity severity,
                        const char *text, struct weir_strbuf *out);

#endif
