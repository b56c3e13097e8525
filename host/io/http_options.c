#include "io/http_options.h"

#include <string.h>

#include "config/conf.h"
#include "config/problems.h"
#include "config/types.h"
#include "io/class_rule.h"
#include "io/http_front.h"
#include "io/http_page.h"
#include "io/http_server.h"
#include "io/http_source.h"
#include "io/http_syntax.h"
#include "io/key_rule.h"
#include "io/tls.h"

static const char *const body_words[] = {"whole", "stream", NULL};
static const char *const format_words[] = {"combined", "json", NULL};

static const struct weir_option options_of_http[] = {
    {.name = "listen", .type = WEIR_OPTION_ADDRESS, .required = true, .text = "where to accept connections"},
    {.name = "backlog",
     .type = WEIR_OPTION_INT,
     .fallback = "4096",
     .min = 1,
     .max = 65535,
     .text = "connections that the system keeps until they are accepted"},
    {.name = "max_connections",
     .type = WEIR_OPTION_INT,
     .fallback = "65536",
     .min = 1,
     .max = 10000000,
     .text = "open at once; more are answered 503 and closed"},
    {.name = "max_header_bytes",
     .type = WEIR_OPTION_SIZE,
     .fallback = "16KiB",
     .min = 256,
     .max = 16 << 20,
     .text = "of a request's header; larger ones are answered 431"},
    {.name = "max_headers",
     .type = WEIR_OPTION_INT,
     .fallback = "100",
     .min = 1,
     .max = 10000,
     .text = "more are answered 431"},
    {.name = "max_uri",
     .type = WEIR_OPTION_SIZE,
     .fallback = "8KiB",
     .min = 16,
     .max = 1 << 20,
     .text = "longer ones are answered 414"},
    {.name = "max_body",
     .type = WEIR_OPTION_SIZE,
     .fallback = "1MiB",
     .min = 0,
     .max = 1 << 30, /* an event's size is 32 bits */
     .text = "larger ones are answered 413"},
    {.name = "body",
     .type = WEIR_OPTION_ENUM,
     .fallback = "whole",
     .words = body_words,
     .text = "whole: a request is handed over with its body; stream: before it"},
    {.name = "header_timeout",
     .type = WEIR_OPTION_DURATION,
     .fallback = "10s",
     .min = 1000000,
     .text = "for a whole header; then 408"},
    {.name = "body_timeout",
     .type = WEIR_OPTION_DURATION,
     .fallback = "30s",
     .min = 1000000,
     .text = "for each 4 KiB of a body; then 408"},
    {.name = "idle_timeout",
     .type = WEIR_OPTION_DURATION,
     .fallback = "60s",
     .min = 1000000,
     .text = "between requests"},
    {.name = "write_timeout",
     .type = WEIR_OPTION_DURATION,
     .fallback = "30s",
     .min = 1000000,
     .text = "without a byte of an answer being taken; then the connection is cut"},
    {.name = "half_close",
     .type = WEIR_OPTION_BOOL,
     .fallback = "false",
     .text =
         "clients that end their side of a connection still wait for the answer; else they count as gone"},
    {.name = "server",
     .type = WEIR_OPTION_STRING,
     .fallback = "weir",
     .max = 100,
     .text = "Server header; empty: none"},
    WEIR_TLS_SERVER_OPTION,
    WEIR_CLASS_HTTP_OPTION,
    WEIR_KEY_HTTP_OPTION,
    WEIR_HTTP_ON_REJECT_OPTION,
    {.name = "deadline_header",
     .type = WEIR_OPTION_STRING,
     .min = 1,
     .max = 100,
     .text =
         "a header in which a client gives its request milliseconds; the least of it and `deadline` holds"},
    {.name = "access_log", .type = WEIR_OPTION_STRING, .text = "a file, stdout or stderr; none unless given"},
    {.name = "access_format",
     .type = WEIR_OPTION_ENUM,
     .fallback = "combined",
     .words = format_words,
     .text = "of the access log"},
};

static void check(const struct weir_conf *options, struct weir_problems *problems)
{
    const char *header = weir_conf_option_string(options, "deadline_header");
    if (header != NULL && !weir_http_is_token(header, strlen(header)))
        weir_problems_error(problems, weir_conf_mark(weir_conf_get(options, "deadline_header")),
                            "'deadline_header': '%.60s' is no header's name", header);
    weir_tls_check_options(options, problems);
    weir_http_front_check_options(options, problems);
}

const struct weir_app_type weir_http_source_type = {
    .name = "http",
    .kind = WEIR_APP_SOURCE,
    .makes_requests = true,
    .text = "makes an event of each HTTP/1.1 request; the event holds the request",
    .options = options_of_http,
    .option_count = sizeof options_of_http / sizeof *options_of_http,
    .check = check,
};

void weir_http_options_read(const struct weir_conf *c, struct weir_http_settings *s)
{
    weir_http_settings_default(s);
    s->max_connections = (size_t)weir_conf_option_int(c, "max_connections");
    s->max_header_bytes = weir_conf_option_size(c, "max_header_bytes");
    s->max_headers = (size_t)weir_conf_option_int(c, "max_headers");
    s->max_uri = weir_conf_option_size(c, "max_uri");
    s->max_body = weir_conf_option_size(c, "max_body");
    s->stream_body = weir_conf_option_enum(c, "body") == 1;
    s->half_close = weir_conf_option_bool(c, "half_close");
    s->header_ns = weir_conf_option_duration(c, "header_timeout");
    s->body_ns = weir_conf_option_duration(c, "body_timeout");
    s->idle_ns = weir_conf_option_duration(c, "idle_timeout");
    s->write_ns = weir_conf_option_duration(c, "write_timeout");
}
