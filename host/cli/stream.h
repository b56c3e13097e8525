/* cli/stream.h - an answer of the running host that goes on until somebody ends it: -n, Ctrl-C, or the host. One thread. */
#ifndef WEIR_CLI_STREAM_H
#define WEIR_CLI_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"

struct weir_stream {
    const char *admin;  /* as of weir_ask */
    const char *target;
    bool (*line)(void *arg, const char *line, size_t len); /* without its end; false: enough */
    bool (*flush)(void *arg); /* some lines have come, and no more for now; false: enough. NULL: nothing is to be done then */
    void *arg;
};

/* Asks, and gives `line` each line that comes. SIGINT and SIGTERM end it, which is DONE. FAILED with `*ret_status` != 0: the host refused,
 * `body`, which the caller has initialised, says why; nothing has been said. Other exit codes: it has been said. */
int weir_stream_run(const struct weir_stream *s, struct weir_strbuf *body, int *ret_status);

#endif
