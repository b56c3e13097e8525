/* cli/table.h - text in aligned columns, for people. Owner: the caller; one thread. */
#ifndef WEIR_CLI_TABLE_H
#define WEIR_CLI_TABLE_H

#include <stddef.h>

#include "base/strbuf.h"

enum { WEIR_TABLE_COLUMNS = 24 };

struct weir_table {
    const char *const *titles; /* NULL at the end; a title that begins with '>' is of a column of numbers, set
                                  to the right */
    size_t columns;
    struct weir_strbuf cells; /* all of them, in order, each with a NUL at its end */
    size_t count;
    size_t widths[WEIR_TABLE_COLUMNS];
};

void weir_table_init(struct weir_table *t, const char *const *titles);
void weir_table_fini(struct weir_table *t);
/* The next cell; rows fill from left to right. */
void weir_table_add(struct weir_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends titles and rows, two blanks between columns; nothing when there are no rows. */
void weir_table_print(const struct weir_table *t, struct weir_strbuf *out);

#endif
