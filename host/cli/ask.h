/* cli/ask.h - a command's question to the running host. One thread. */
#ifndef WEIR_CLI_ASK_H
#define WEIR_CLI_ASK_H

#include "base/strbuf.h"

struct weir_client_question;

/* GET `target` from the host meant by `admin` (NULL: $WEIR_ADMIN, or the only one). DONE: `body`, which the
 * caller has initialised, has the answer. FAILED with `*ret_status` != 0: the host refused, `body` says why;
 * nothing has been said. Other exit codes: it has been said. */
int weir_ask(const char *admin, const char *target, struct weir_strbuf *body, int *ret_status);
/* The same with `json` posted to it. */
int weir_ask_post(const char *admin, const char *target, const char *json, struct weir_strbuf *body, int *ret_status);
/* The same as a question whose path is filled in here, with pieces and a stop (admin/client.h). */
int weir_ask_question(const char *admin, struct weir_client_question *q, struct weir_strbuf *body, int *ret_status);
/* Appends "key=value&" to a target that ends in '?' or '&', escaped. */
void weir_ask_add_query(struct weir_strbuf *target, const char *key, const char *value);
/* The host knows no stage of that name: names the nearest, and all that there are. Returns the exit code. */
int weir_ask_unknown_stage(const char *admin, const char *stage);
/* Says what a refusal's body says: {"error": …}. Returns WEIR_EXIT_FAILED. */
int weir_ask_refused(const struct weir_strbuf *body, int status);

#endif
