#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/linefile.h"
#include "base/strbuf.h"

static struct {
    _Atomic int lowest;         /* [atomic relaxed] */
    bool json;                  /* [const] after start */
    struct weir_linefile *file; /* [const] from start, which is before other threads, to stop, which is after them */
} log_state = {.lowest = WEIR_LOG_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

int weir_log_level_named(const char *name)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(level_names[i], name) == 0)
            return i;
    return -1;
}

int weir_log_start(enum weir_log_level lowest, bool json, struct weir_err *reterr)
{
    atomic_store_explicit(&log_state.lowest, (int)lowest, memory_order_relaxed);
    log_state.json = json;
    return weir_linefile_open(NULL, STDERR_FILENO, &log_state.file, reterr);
}

void weir_log_stop(void)
{
    struct weir_linefile *file = log_state.file;
    log_state.file = NULL;
    weir_linefile_close(file, 1000);
}

bool weir_log_enabled(enum weir_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_state.lowest, memory_order_relaxed);
}

static void add_time(struct weir_strbuf *b)
{
    uint64_t now = weir_clock_wall_ns();
    time_t seconds = (time_t)(now / WEIR_NS_PER_S);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[40];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    weir_strbuf_addf(b, "%s.%03dZ", text, (int)(now / WEIR_NS_PER_MS % 1000));
}

static void add_json_line(struct weir_strbuf *b, const char *level, const char *where, const char *fields,
                          const struct weir_strbuf *msg)
{
    weir_strbuf_adds(b, "{\"time\":\"");
    add_time(b);
    weir_strbuf_addf(b, "\",\"level\":\"%s\",\"where\":", level);
    weir_strbuf_add_json(b, where, strlen(where));
    weir_strbuf_adds(b, ",\"message\":");
    weir_strbuf_add_json(b, msg->len ? msg->data : "", msg->len);
    if (fields != NULL) {
        weir_strbuf_adds(b, ",\"fields\":");
        weir_strbuf_adds(b, fields);
    }
    weir_strbuf_adds(b, "}\n");
}

/* A message of several lines (a traceback) stays one entry: its further lines are indented, and other control characters written out, so
 * that no text from outside can look like an entry of its own. */
static void add_text(struct weir_strbuf *b, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n')
            weir_strbuf_adds(b, "\n    ");
        else if (c == '\t' || (c >= 0x20 && c != 0x7f))
            weir_strbuf_addc(b, (char)c);
        else
            weir_strbuf_addf(b, "\\x%02x", c);
    }
}

static void add_text_line(struct weir_strbuf *b, const char *level, const char *where, const char *fields,
                          const struct weir_strbuf *msg)
{
    add_time(b);
    weir_strbuf_addf(b, " %-5s %s: ", level, where);
    add_text(b, msg->data, msg->len);
    if (fields != NULL)
        weir_strbuf_addf(b, " %s", fields);
    weir_strbuf_addc(b, '\n');
}

void weir_log(enum weir_log_level level, const char *where, const char *fields, const char *fmt, ...)
{
    if (!weir_log_enabled(level))
        return;
    struct weir_strbuf msg = WEIR_STRBUF_INIT, line = WEIR_STRBUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    weir_strbuf_vaddf(&msg, fmt, ap);
    va_end(ap);
    if (log_state.json)
        add_json_line(&line, level_names[level], where, fields, &msg);
    else
        add_text_line(&line, level_names[level], where, fields, &msg);
    if (line.failed)
        ; /* no memory for the line: nothing to say it with */
    else if (log_state.file != NULL)
        weir_linefile_write(log_state.file, line.data, line.len);
    else
        fwrite(line.data, 1, line.len, stderr);
    weir_strbuf_fini(&line);
    weir_strbuf_fini(&msg);
}
