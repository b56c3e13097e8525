#include "io/access_log.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/linefile.h"
#include "base/mem.h"

enum { CLOSE_WAIT_MS = 1000 };

struct weir_access_log {
    enum weir_access_format format; /* [const] */
    struct weir_linefile *file;     /* [const] */
};

int weir_access_log_open(const char *path, enum weir_access_format format, struct weir_access_log **ret,
                         struct weir_err *reterr)
{
    struct weir_access_log *log = weir_calloc(1, sizeof *log);
    if (log == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "access log: out of memory");
    log->format = format;
    int rc;
    if (strcmp(path, "stdout") == 0)
        rc = weir_linefile_open(NULL, STDOUT_FILENO, &log->file, reterr);
    else if (strcmp(path, "stderr") == 0)
        rc = weir_linefile_open(NULL, STDERR_FILENO, &log->file, reterr);
    else
        rc = weir_linefile_open(path, -1, &log->file, reterr);
    if (rc < 0) {
        weir_free(log);
        return rc;
    }
    *ret = log;
    return WEIR_OK;
}

void weir_access_log_reopen(struct weir_access_log *log)
{
    weir_linefile_reopen(log->file);
}

void weir_access_log_close(struct weir_access_log *log)
{
    if (log == NULL)
        return;
    weir_linefile_close(log->file, CLOSE_WAIT_MS);
    weir_free(log);
}

/* Bytes that could end the quotes or the line, or speak to a terminal, become \xHH. */
static void add_escaped(struct weir_strbuf *out, struct weir_http_text t)
{
    for (size_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.data[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            weir_strbuf_addf(out, "\\x%02X", c);
        else
            weir_strbuf_addc(out, (char)c);
    }
}

static void add_quoted_header(struct weir_strbuf *out, const struct weir_http_request *r, const char *name)
{
    const struct weir_http_text *value = weir_http_request_header(r, name, strlen(name));
    weir_strbuf_adds(out, " \"");
    if (value != NULL && value->len > 0)
        add_escaped(out, *value);
    else
        weir_strbuf_addc(out, '-');
    weir_strbuf_addc(out, '"');
}

static void print_combined(const struct weir_http_request *r, int status, uint64_t bytes, uint64_t took_ns,
                           const struct tm *tm, struct weir_strbuf *out)
{
    char when[40];
    strftime(when, sizeof when, "%d/%b/%Y:%H:%M:%S +0000", tm);
    weir_strbuf_addf(out, "%.*s - - [%s] \"", (int)r->remote.len, r->remote.data, when);
    if (r->method.len > 0) {
        add_escaped(out, r->method);
        weir_strbuf_addc(out, ' ');
        add_escaped(out, r->target);
        weir_strbuf_addf(out, " HTTP/1.%d", r->version_minor);
    } else {
        weir_strbuf_addc(out, '-');
    }
    weir_strbuf_addf(out, "\" %d %llu", status, (unsigned long long)bytes);
    add_quoted_header(out, r, "referer");
    add_quoted_header(out, r, "user-agent");
    weir_strbuf_addf(out, " %.6f\n", (double)took_ns / 1e9);
}

static void add_member(struct weir_strbuf *out, const char *name, const struct weir_http_text *value)
{
    if (value == NULL || value->len == 0)
        return;
    weir_strbuf_addf(out, ",\"%s\":", name);
    weir_strbuf_add_json(out, value->data, value->len);
}

static void print_json(const struct weir_http_request *r, int status, uint64_t bytes, uint64_t took_ns,
                       const struct tm *tm, uint64_t wall_ns, struct weir_strbuf *out)
{
    char when[40];
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", tm);
    weir_strbuf_addf(out, "{\"time\":\"%s.%06lluZ\"", when, (unsigned long long)(wall_ns / 1000 % 1000000));
    add_member(out, "remote", &r->remote);
    add_member(out, "method", &r->method);
    add_member(out, "target", &r->target);
    if (r->method.len > 0)
        weir_strbuf_addf(out, ",\"version\":\"1.%d\"", r->version_minor);
    weir_strbuf_addf(out, ",\"status\":%d,\"bytes\":%llu,\"duration_us\":%llu,\"queued_us\":%llu,\"id\":%llu", status,
                     (unsigned long long)bytes, (unsigned long long)(took_ns / 1000),
                     (unsigned long long)(r->base.waited_ns / 1000),
                     (unsigned long long)r->id);
    add_member(out, "referer", weir_http_request_header(r, "referer", 7));
    add_member(out, "user_agent", weir_http_request_header(r, "user-agent", 10));
    add_member(out, "traceparent", weir_http_request_header(r, "traceparent", 11));
    weir_strbuf_adds(out, "}\n");
}

void weir_access_log_print(enum weir_access_format format, const struct weir_http_request *r, int status,
                           uint64_t bytes, uint64_t took_ns, uint64_t wall_ns, struct weir_strbuf *out)
{
    time_t seconds = (time_t)(wall_ns / WEIR_NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    if (format == WEIR_ACCESS_JSON)
        print_json(r, status, bytes, took_ns, &tm, wall_ns, out);
    else
        print_combined(r, status, bytes, took_ns, &tm, out);
}

void weir_access_log_write(struct weir_access_log *log, const struct weir_http_request *r, int status,
                           uint64_t bytes, uint64_t took_ns)
{
    struct weir_strbuf line = WEIR_STRBUF_INIT;
    weir_access_log_print(log->format, r, status, bytes, took_ns, weir_clock_wall_ns(), &line);
    if (!line.failed)
        weir_linefile_write(log->file, line.data, line.len);
    weir_strbuf_fini(&line);
}
