/* base/err.h - error codes and the text that goes with one.
 * A function that may fail returns WEIR_OK or a negative WEIR_E_… and, on failure only, fills the caller's weir_err.
 * Threads: a weir_err belongs to the caller who made it. */
#ifndef WEIR_BASE_ERR_H
#define WEIR_BASE_ERR_H

#include <stdarg.h>

#define WEIR_ERR_MAP(X)                                                                                      \
    X(NOMEM, "out of memory")                                                                                \
    X(INVAL, "invalid argument")                                                                             \
    X(CONFIG, "bad configuration")                                                                           \
    X(SCRIPT, "bad script")                                                                                  \
    X(IO, "input/output error")                                                                              \
    X(NOTFOUND, "not found")                                                                                 \
    X(EXISTS, "exists already")                                                                              \
    X(FULL, "full")                                                                                          \
    X(CLOSED, "closed")                                                                                      \
    X(LIMIT, "over a limit")                                                                                 \
    X(TIMEOUT, "timed out")                                                                                  \
    X(NOHOST, "no running host")

enum weir_err_position {
#define X(name, text) WEIR_ERR_POS_##name,
    WEIR_ERR_MAP(X)
#undef X
};

enum {
    WEIR_OK = 0,
#define X(name, text) WEIR_E_##name = -1 - WEIR_ERR_POS_##name,
    WEIR_ERR_MAP(X)
#undef X
};

/* Room for a path, a position and a sentence; a Lua traceback is cut to fit. */
#define WEIR_ERR_TEXT 1024

struct weir_err {
    int code;
    char text[WEIR_ERR_TEXT];
};

/* Writes `code` and the formatted text (cut at WEIR_ERR_TEXT) and returns `code`. `err` may be NULL. */
int weir_err_set(struct weir_err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int weir_err_vset(struct weir_err *err, int code, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/* The constant's name without its prefix ("NOMEM") and its text ("out of memory"). Never NULL. */
const char *weir_err_name(int code);
const char *weir_err_text(int code);

#endif
