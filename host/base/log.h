/* base/log.h - the program's own log on stderr, as text or JSON lines. Never waits for its reader (base/linefile.h).
 * Threads: any, but start and stop. */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum weir_log_level { WEIR_LOG_DEBUG, WEIR_LOG_INFO, WEIR_LOG_WARN, WEIR_LOG_ERROR };

/* The level named by `name` (debug, info, warn, error); -1 for another. */
int weir_log_level_named(const char *name);
/* Opens the log. Until then, and after stop, lines go to stderr at once. */
int weir_log_start(enum weir_log_level lowest, bool json, struct weir_err *reterr);
/* Writes out what is buffered and closes. */
void weir_log_stop(void);
/* Whether a line of this level would be written: asked before costly text is made. */
bool weir_log_enabled(enum weir_log_level level);
/* One line. `where` names what speaks: "stage page", "pool main". `fields` is NULL or a JSON object's text. */
void weir_log(enum weir_log_level level, const char *where, const char *fields, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
