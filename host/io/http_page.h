/* io/http_page.h - an answer that is always the same, made ready once: what a source answers requests that no
 * queue would have. Owner: who opened it; [const] then. Threads: any. */
#ifndef WEIR_IO_HTTP_PAGE_H
#define WEIR_IO_HTTP_PAGE_H

#include "base/err.h"
#include "config/types.h"

struct weir_conf;
struct weir_http_exchange;
struct weir_http_page;
struct weir_problems;
struct weir_worker;

enum { WEIR_HTTP_PAGE_OPTION_COUNT = 6 };
extern const struct weir_option weir_http_page_options[WEIR_HTTP_PAGE_OPTION_COUNT];
#define WEIR_HTTP_ON_REJECT_OPTION                                                                           \
    {                                                                                                        \
        .name = "on_reject", .type = WEIR_OPTION_MAP, .options = weir_http_page_options,                     \
        .option_count = WEIR_HTTP_PAGE_OPTION_COUNT, .or_option = "script",                                  \
        .text = "what requests are answered that no queue or gate would have: {status, body or file, "       \
                "headers, retry_after}, or a "                                                               \
                "Lua file that returns a function"                                                           \
    }

/* For weir_app_type.check. */
void weir_http_page_check_options(const struct weir_conf *options, struct weir_problems *problems);
/* Of the option `on_reject`; *ret NULL: none is given, or it is a script's. Reads its file. */
int weir_http_page_open(const struct weir_conf *options, struct weir_http_page **ret,
                        struct weir_err *reterr);
/* Takes NULL. */
void weir_http_page_close(struct weir_http_page *p);
/* Puts it into the exchange's buffer. The exchange's holder; `w` its worker. */
void weir_http_page_put(const struct weir_http_page *p, struct weir_http_exchange *ex, struct weir_worker *w);

#endif
