/* io/source_value.h - the values of events that sources make: strings of what was read, and values written in weir.yaml, in which "{n}"
 * may stand for the event's number. Threads: any; a value is its maker's until given away. */
#ifndef WEIR_IO_SOURCE_VALUE_H
#define WEIR_IO_SOURCE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "core/value.h"

struct weir_conf;
struct weir_problems;

/* A string. false: no memory. */
bool weir_source_value_string(const void *data, size_t len, struct weir_value *ret);
/* {path=, line=, offset=}. false: no memory. */
bool weir_source_value_line(const char *path, const void *line, size_t len, uint64_t offset, struct weir_value *ret);
/* {event=, conn=, remote=, reason=, line=, last=}: of a connection; `reason` NULL: left out; `line` NULL: both left
 * out. false: no memory. */
struct weir_conn_news {
    const char *event; /* "open", "close", "greeting" */
    uint64_t conn;
    const char *remote, *reason;
    const char *line;
    size_t line_len;
    bool last;
};
bool weir_source_value_news(const struct weir_conn_news *news, struct weir_value *ret);
/* The value as configured (NULL: nil). With `number`, each "{n}" in a string is replaced by it; a string that is "{n}" and nothing more
 * becomes the number itself. `scratch` is overwritten. false: no memory. */
bool weir_source_value_conf(const struct weir_conf *c, const int64_t *number, struct weir_strbuf *scratch, struct weir_value *ret);
/* Whether "{n}" stands anywhere in its strings; keys don't count. */
bool weir_source_value_numbered(const struct weir_conf *c);
/* For weir_app_type.check: reports a value that can't travel (`option` names it in the message). Takes NULL. */
void weir_source_value_check(const struct weir_conf *c, const char *option, struct weir_problems *problems);

#endif
