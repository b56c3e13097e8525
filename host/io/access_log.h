/* io/access_log.h - one line for each answer, as other servers write it ("combined") or as JSON. Threads:
 * any. */
#ifndef WEIR_IO_ACCESS_LOG_H
#define WEIR_IO_ACCESS_LOG_H

#include <stdint.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "io/http_request.h"

struct weir_access_log;

enum weir_access_format { WEIR_ACCESS_COMBINED, WEIR_ACCESS_JSON };

/* Opens `path`; "stdout" and "stderr" are what they say. Never waits for its reader (base/linefile.h). */
int weir_access_log_open(const char *path, enum weir_access_format format, struct weir_access_log **ret,
                         struct weir_err *reterr);
/* The log was rotated. */
void weir_access_log_reopen(struct weir_access_log *log);
/* Writes out what is buffered. Takes NULL. */
void weir_access_log_close(struct weir_access_log *log);

/* Writes the line of an answer: `bytes` of its body, `took_ns` from the request's arrival to the answer's
 * last byte. A request that was refused while it was read has no method yet. */
void weir_access_log_write(struct weir_access_log *log, const struct weir_http_request *r, int status,
                           uint64_t bytes, uint64_t took_ns);
/* The line itself, for tests. `wall_ns` is the time of day. */
void weir_access_log_print(enum weir_access_format format, const struct weir_http_request *r, int status,
                           uint64_t bytes, uint64_t took_ns, uint64_t wall_ns, struct weir_strbuf *out);

#endif
