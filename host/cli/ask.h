/* cli/ask.h - a command's question to the running host. One thread. */
#ifndef WEIR_CLI_ASK_H
#define WEIR_CLI_ASK_H

#include "base/strbuf.h"

/* GET `target` from the host meant by `admin` (NULL: $WEIR_ADMIN, or the only one). DONE: `body`, which the
 * caller has initialised, has the answer. FAILED with `*ret_status` != 0: the host refused, `body` says why;
 * nothing has been said. Other exit codes: it has been said. */
int weir_ask(const char *admin, const char *target, struct weir_strbuf *body, int *ret_status);
/* Appends "key=value&" to a target that ends in '?' or '&', escaped. */
void weir_ask_add_query(struct weir_strbuf *target, const char *key, const char *value);
/* The host knows no stage of that name: names the nearest, and all that there are. Returns the exit code. */
int weir_ask_unknown_stage(const char *admin, const char *stage);
/* Says what a refusal's body says: {"error": …}. Returns WEIR_EXIT_FAILED. */
int weir_ask_refused(const struct weir_strbuf *body, int status);

#endif
