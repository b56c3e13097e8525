/* config/app_calls.h - calls between stages (weir.call), which the file knows nothing of, and the graph. */
#ifndef WEIR_CONFIG_APP_CALLS_H
#define WEIR_CONFIG_APP_CALLS_H

#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

struct weir_app;

/* The stage waits for an answer of the one that its port leads to. */
struct weir_app_call {
    size_t stage, port;
};

/* Appends a warning "weir.yaml:line:column: warning: …" for each call that may be waited for by who answers
 * it: there is a way back of calls and of edges with `overflow: wait`, one of these at least. (A way back of
 * calls alone is refused when it is gone.) `*ret_count`: how many. WEIR_OK or WEIR_E_NOMEM. Of an application
 * that was loaded without errors. Any thread. */
int weir_app_check_calls(const struct weir_app *app, const struct weir_app_call *calls, size_t count,
                         struct weir_strbuf *out, size_t *ret_count, struct weir_err *reterr);

#endif
