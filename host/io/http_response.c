/* The head of an answer as bytes. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "core/relief.h"
#include "core/worker.h"
#include "io/http_conn.h"
#include "io/http_syntax.h"

#define BUSY_BODY "503 Service Unavailable\n"
const char weir_http_busy[] =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 24\r\nConnection: close\r\n\r\n" BUSY_BODY;
const size_t weir_http_busy_len = sizeof weir_http_busy - 1;
_Static_assert(sizeof BUSY_BODY - 1 == 24, "the length that weir_http_busy says");

const char *weir_http_status_text(int status)
{
    switch (status) {
#define X(code, text)                                                                                        \
    case code:                                                                                               \
        return text;
        X(200, "OK")
        X(201, "Created")
        X(202, "Accepted")
        X(203, "Non-Authoritative Information")
        X(204, "No Content")
        X(205, "Reset Content")
        X(206, "Partial Content")
        X(207, "Multi-Status")
        X(300, "Multiple Choices")
        X(301, "Moved Permanently")
        X(302, "Found")
        X(303, "See Other")
        X(304, "Not Modified")
        X(307, "Temporary Redirect")
        X(308, "Permanent Redirect")
        X(400, "Bad Request")
        X(401, "Unauthorized")
        X(402, "Payment Required")
        X(403, "Forbidden")
        X(404, "Not Found")
        X(405, "Method Not Allowed")
        X(406, "Not Acceptable")
        X(407, "Proxy Authentication Required")
        X(408, "Request Timeout")
        X(409, "Conflict")
        X(410, "Gone")
        X(411, "Length Required")
        X(412, "Precondition Failed")
        X(413, "Content Too Large")
        X(414, "URI Too Long")
        X(415, "Unsupported Media Type")
        X(416, "Range Not Satisfiable")
        X(417, "Expectation Failed")
        X(421, "Misdirected Request")
        X(422, "Unprocessable Content")
        X(423, "Locked")
        X(426, "Upgrade Required")
        X(428, "Precondition Required")
        X(429, "Too Many Requests")
        X(431, "Request Header Fields Too Large")
        X(451, "Unavailable For Legal Reasons")
        X(500, "Internal Server Error")
        X(501, "Not Implemented")
        X(502, "Bad Gateway")
        X(503, "Service Unavailable")
        X(504, "Gateway Timeout")
        X(505, "HTTP Version Not Supported")
        X(507, "Insufficient Storage")
#undef X
    default:
        return "";
    }
}

enum { DATE_LEN = sizeof "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" - 1 };

/* The Date line, made once a second by each thread that answers. */
static const char *date_line(uint64_t now_ns)
{
    static _Thread_local uint64_t from_ns, until_ns;
    static _Thread_local char line[DATE_LEN + 1];
    if (now_ns >= from_ns && now_ns < until_ns)
        return line;
    uint64_t wall_ns = weir_clock_wall_ns();
    time_t seconds = (time_t)(wall_ns / WEIR_NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(line, sizeof line, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    from_ns = now_ns;
    until_ns = now_ns + (WEIR_NS_PER_S - wall_ns % WEIR_NS_PER_S);
    return line;
}

bool weir_http_has_body(const struct weir_http_exchange *ex, int status)
{
    bool head = ex->r.method.len == 4 && memcmp(ex->r.method.data, "HEAD", 4) == 0;
    return !head && status != 204 && status != 304;
}

/* Whether this answer has to be the connection's last. The holder can't ask the loop how much of a streamed
 * body has come, so it goes by what it has read of it itself. */
static bool must_close(const struct weir_http_exchange *ex)
{
    return !ex->keep_alive || atomic_load_explicit(&ex->server->stopping, memory_order_relaxed) ||
           (ex->r.body_streamed && !ex->in.ended) ||
           (ex->server->worker != NULL && weir_relief_closes(ex->server->worker->graph));
}

static char *put(char *at, const char *s, size_t len)
{
    if (len > 0)
        memcpy(at, s, len);
    return at + len;
}

#define PUT(at, literal) put(at, literal, sizeof(literal) - 1)

static char *put_number(char *at, uint64_t n)
{
    char digits[20];
    size_t i = sizeof digits;
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return put(at, digits + i, sizeof digits - i);
}

static char *put_framing(char *at, const struct weir_http_exchange *ex, enum weir_http_framing framing,
                         uint64_t length)
{
    if (framing == WEIR_HTTP_FRAMING_LENGTH) {
        at = PUT(at, "Content-Length: ");
        at = put_number(at, length);
        at = PUT(at, "\r\n");
    } else if (framing == WEIR_HTTP_FRAMING_CHUNKED) {
        at = PUT(at, "Transfer-Encoding: chunked\r\n");
    }
    if (ex->closes)
        at = PUT(at, "Connection: close\r\n");
    else if (ex->r.version_minor == 0)
        at = PUT(at, "Connection: keep-alive\r\n");
    return PUT(at, "\r\n");
}

void weir_http_response_head(struct weir_http_exchange *ex, struct weir_worker *w, int status,
                             const struct weir_http_header *headers, size_t count,
                             enum weir_http_framing framing, uint64_t length)
{
    const char *text = weir_http_status_text(status), *server = ex->server->settings.server_name;
    size_t text_len = strlen(text), server_len = server != NULL ? strlen(server) : 0;
    size_t need = 256 + text_len + server_len; /* status line, Date, framing: 180 at most */
    for (size_t i = 0; i < count; i++)
        need += headers[i].name.len + headers[i].value.len + 4;
    ex->status = status;
    ex->closes = must_close(ex) || framing == WEIR_HTTP_FRAMING_CLOSE;
    if (!weir_strbuf_reserve(&ex->out, need))
        return; /* who writes it asks out.failed */
    char *start = ex->out.data + ex->out.len, *at = start;
    at = PUT(at, "HTTP/1.1 ");
    at = put_number(at, (uint64_t)status);
    *at++ = ' ';
    at = put(at, text, text_len);
    at = PUT(at, "\r\n");
    at = put(at, date_line(w != NULL ? w->now_ns : weir_clock_ns()), DATE_LEN);
    if (server_len > 0) {
        at = PUT(at, "Server: ");
        at = put(at, server, server_len);
        at = PUT(at, "\r\n");
    }
    for (size_t i = 0; i < count; i++) {
        at = put(at, headers[i].name.data, headers[i].name.len);
        at = PUT(at, ": ");
        at = put(at, headers[i].value.data, headers[i].value.len);
        at = PUT(at, "\r\n");
    }
    at = put_framing(at, ex, framing, length);
    *at = '\0';
    ex->out.len += (size_t)(at - start);
    ex->head_len = ex->out.len;
}

struct weir_http_header weir_http_retry_after(const struct weir_http_exchange *ex, char text[WEIR_HTTP_RETRY_MAX])
{
    uint32_t ms = ex->r.base.refusal.retry_after_ms;
    unsigned seconds = ms <= 1000 ? 1 : (ms - 1) / 1000 + 1;
    int len = snprintf(text, WEIR_HTTP_RETRY_MAX, "%u", seconds);
    return (struct weir_http_header){{"Retry-After", 11}, {text, (size_t)len}};
}

void weir_http_response_plain(struct weir_http_exchange *ex, struct weir_worker *w, int status)
{
    struct weir_http_header headers[2] = {
        {{"Content-Type", 12}, {"text/plain; charset=utf-8", 25}},
    };
    /* 405 is for CONNECT alone; what else a target takes is its handler's word */
    static const struct weir_http_header allow = {
        {"Allow", 5}, {"GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH", 51}};
    char body[64], seconds[WEIR_HTTP_RETRY_MAX];
    int len = snprintf(body, sizeof body, "%d %s\n", status, weir_http_status_text(status));
    weir_strbuf_clear(&ex->out);
    size_t count = 1;
    if (status == 503 || status == 405)
        headers[count++] = status == 503 ? weir_http_retry_after(ex, seconds) : allow;
    weir_http_response_head(ex, w, status, headers, count, WEIR_HTTP_FRAMING_LENGTH,
                            (uint64_t)len);
    if (weir_http_has_body(ex, status))
        weir_strbuf_add(&ex->out, body, (size_t)len);
}
