#include "io/http_page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/conf.h"
#include "config/problems.h"
#include "io/http_conn.h"
#include "io/mime.h"

enum { HEADERS_MAX = 32, BODY_MAX = 1 << 20, RETRY_MAX = 16 };

const struct weir_option weir_http_page_options[WEIR_HTTP_PAGE_OPTION_COUNT] = {
    {.name = "status",
     .type = WEIR_OPTION_INT,
     .fallback = "503",
     .min = 200,
     .max = 599,
     .text = "of the answer"},
    {.name = "body", .type = WEIR_OPTION_STRING, .max = BODY_MAX, .text = "of the answer, as it stands here"},
    {.name = "file",
     .type = WEIR_OPTION_PATH,
     .text = "its body is in this file, read at the start, up to 1 MiB"},
    {.name = "headers", .type = WEIR_OPTION_ANY, .text = "more headers: a map of names to values"},
    {.name = "retry_after",
     .type = WEIR_OPTION_DURATION,
     .text = "for Retry-After, in whole seconds; of a 503 about when there may be room, unless given"},
    {.name = "script",
     .type = WEIR_OPTION_PATH,
     .text = "a Lua file that returns a function of the request, which answers it"},
};

struct weir_http_page {
    int status;
    struct weir_http_header headers[HEADERS_MAX];
    size_t header_count;
    char *texts; /* of the headers */
    char *body;
    size_t len;
    bool has_retry; /* among the headers */
};

/* ---- checking ---- */

static struct weir_app_mark mark_of(const struct weir_conf *map, const char *name)
{
    return weir_conf_mark(weir_conf_get(map, name));
}

/* One of `headers:`, checked as those of any answer. */
static bool check_header(const struct weir_conf *headers, size_t i, struct weir_problems *problems)
{
    const struct weir_conf *c = weir_conf_at(headers, i);
    const char *name = weir_conf_key(headers, i), *value = weir_conf_text(c);
    struct weir_err err;
    if (value == NULL) {
        weir_problems_error(problems, weir_conf_mark(c), "'headers': expected the value of '%.60s', found %s",
                            name, weir_conf_kind_text(c));
        return false;
    }
    const struct weir_http_header h = {{name, strlen(name)}, {value, strlen(value)}};
    if (weir_http_check_headers(&h, 1, &err) == WEIR_OK)
        return true;
    weir_problems_error(problems, weir_conf_key_mark(headers, i), "'headers': %s", err.text);
    return false;
}

static void check_headers(const struct weir_conf *map, struct weir_problems *problems)
{
    const struct weir_conf *headers = weir_conf_option_any(map, "headers");
    if (headers == NULL)
        return;
    if (weir_conf_kind(headers) != WEIR_CONF_MAP)
        weir_problems_error(problems, weir_conf_mark(headers),
                            "'headers': expected a map of names to values, found %s",
                            weir_conf_kind_text(headers));
    else if (weir_conf_size(headers) > HEADERS_MAX - 2)
        weir_problems_error(problems, weir_conf_mark(headers), "'headers': more than %d", HEADERS_MAX - 2);
    for (size_t i = 0; weir_conf_kind(headers) == WEIR_CONF_MAP && i < weir_conf_size(headers); i++)
        if (!check_header(headers, i, problems))
            return;
}

void weir_http_page_check_options(const struct weir_conf *options, struct weir_problems *problems)
{
    static const char *const files[] = {"file", "script", NULL};
    const struct weir_conf *map = weir_conf_option_map(options, "on_reject");
    bool script = weir_conf_option_given(map, "script");
    if (map == NULL)
        return;
    for (size_t i = 0; i < weir_conf_size(map); i++) {
        const char *key = weir_conf_key(map, i);
        if (script && strcmp(key, "script") != 0 && weir_conf_option_given(map, key))
            weir_problems_error(problems, mark_of(map, key),
                                "'on_reject': the 'script' answers itself: it can't stand beside '%s'", key);
    }
    if (weir_conf_option_given(map, "file") && weir_conf_option_given(map, "body"))
        weir_problems_error(problems, mark_of(map, "file"),
                            "'on_reject': 'body' and 'file' can't be given together");
    for (size_t i = 0; files[i] != NULL; i++) {
        const char *path = weir_conf_option_string(map, files[i]);
        if (path != NULL && access(path, R_OK) != 0)
            weir_problems_error(problems, mark_of(map, files[i]), "'%s': %.300s: %s", files[i], path,
                                strerror(errno));
    }
    check_headers(map, problems);
}

/* ---- making it ---- */

static int read_fd(int fd, const char *path, struct weir_http_page *p, struct weir_err *reterr)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return weir_err_set(reterr, WEIR_E_IO, "on_reject: %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > BODY_MAX)
        return weir_err_set(reterr, WEIR_E_CONFIG, "on_reject: %s: %s", path,
                            S_ISREG(st.st_mode) ? "larger than 1 MiB" : "it is no file");
    p->body = weir_malloc((size_t)st.st_size + 1);
    if (p->body == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "on_reject: out of memory");
    while (p->len < (size_t)st.st_size) {
        ssize_t n = read(fd, p->body + p->len, (size_t)st.st_size - p->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return weir_err_set(reterr, WEIR_E_IO, "on_reject: %s: %s", path,
                                n == 0 ? "it shrank while it was read" : strerror(errno));
        p->len += (size_t)n;
    }
    return WEIR_OK;
}

static int read_file(const char *path, struct weir_http_page *p, struct weir_err *reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return weir_err_set(reterr, WEIR_E_IO, "on_reject: %s: %s", path, strerror(errno));
    int rc = read_fd(fd, path, p, reterr);
    close(fd);
    return rc;
}

static struct weir_http_text keep(char **at, const char *text)
{
    size_t len = strlen(text);
    memcpy(*at, text, len);
    struct weir_http_text t = {*at, len};
    *at += len;
    return t;
}

/* The file's headers, then what they leave unsaid. */
static int read_headers(const struct weir_conf *map, struct weir_http_page *p, struct weir_err *reterr)
{
    const struct weir_conf *headers = weir_conf_option_any(map, "headers");
    const char *file = weir_conf_option_string(map, "file"),
               *type = file != NULL ? weir_mime_type(file) : "text/plain; charset=utf-8";
    size_t room = sizeof "Content-TypeRetry-After" + RETRY_MAX + strlen(type);
    bool has_type = false;
    for (size_t i = 0; i < weir_conf_size(headers); i++)
        room += strlen(weir_conf_key(headers, i)) + strlen(weir_conf_text(weir_conf_at(headers, i)));
    char *at = p->texts = weir_malloc(room);
    if (at == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "on_reject: out of memory");
    for (size_t i = 0; i < weir_conf_size(headers); i++) {
        struct weir_http_header *h = &p->headers[p->header_count++];
        *h = (struct weir_http_header){keep(&at, weir_conf_key(headers, i)),
                                       keep(&at, weir_conf_text(weir_conf_at(headers, i)))};
        has_type |= h->name.len == 12 && strncasecmp(h->name.data, "content-type", 12) == 0;
        p->has_retry |= h->name.len == 11 && strncasecmp(h->name.data, "retry-after", 11) == 0;
    }
    if (!has_type)
        p->headers[p->header_count++] = (struct weir_http_header){keep(&at, "Content-Type"), keep(&at, type)};
    if (!p->has_retry && weir_conf_option_given(map, "retry_after")) {
        char seconds[RETRY_MAX];
        uint64_t ns = weir_conf_option_duration(map, "retry_after");
        snprintf(seconds, sizeof seconds, "%llu",
                 (unsigned long long)((ns + WEIR_NS_PER_S - 1) / WEIR_NS_PER_S % 1000000000));
        p->headers[p->header_count++] =
            (struct weir_http_header){keep(&at, "Retry-After"), keep(&at, seconds)};
        p->has_retry = true;
    }
    return WEIR_OK;
}

static int read_body(const struct weir_conf *map, struct weir_http_page *p, struct weir_err *reterr)
{
    const char *file = weir_conf_option_string(map, "file"), *body = weir_conf_option_string(map, "body");
    if (file != NULL)
        return read_file(file, p, reterr);
    p->body = body != NULL ? weir_strdup(body)
                           : weir_asprintf("%d %s\n", p->status, weir_http_status_text(p->status));
    if (p->body == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "on_reject: out of memory");
    p->len = strlen(p->body);
    return WEIR_OK;
}

int weir_http_page_open(const struct weir_conf *options, struct weir_http_page **ret, struct weir_err *reterr)
{
    const struct weir_conf *map = weir_conf_option_map(options, "on_reject");
    *ret = NULL;
    if (map == NULL || weir_conf_option_given(map, "script"))
        return WEIR_OK;
    struct weir_http_page *p = weir_calloc(1, sizeof *p);
    if (p == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "on_reject: out of memory");
    p->status = (int)weir_conf_option_int(map, "status");
    int rc = read_headers(map, p, reterr);
    if (rc == WEIR_OK)
        rc = read_body(map, p, reterr);
    if (rc < 0) {
        weir_http_page_close(p);
        return rc;
    }
    *ret = p;
    return WEIR_OK;
}

void weir_http_page_close(struct weir_http_page *p)
{
    if (p == NULL)
        return;
    weir_free(p->texts);
    weir_free(p->body);
    weir_free(p);
}

void weir_http_page_put(const struct weir_http_page *p, struct weir_http_exchange *ex, struct weir_worker *w)
{
    struct weir_http_header headers[HEADERS_MAX];
    char seconds[WEIR_HTTP_RETRY_MAX];
    size_t count = p->header_count;
    bool has_body = weir_http_has_body(ex, p->status);
    enum weir_http_framing framing =
        p->status == 204 || p->status == 304 ? WEIR_HTTP_FRAMING_NONE : WEIR_HTTP_FRAMING_LENGTH;
    memcpy(headers, p->headers, count * sizeof headers[0]);
    if (p->status == 503 && !p->has_retry)
        headers[count++] = weir_http_retry_after(ex, seconds);
    weir_strbuf_clear(&ex->out);
    weir_strbuf_reserve(&ex->out, 512 + (has_body ? p->len : 0)); /* once, for head and body */
    weir_http_response_head(ex, w, p->status, headers, count, framing, p->len);
    if (has_body)
        weir_strbuf_add(&ex->out, p->body, p->len);
}
