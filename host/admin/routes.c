#include "admin/routes.h"

#include <string.h>

#include "admin/failures_print.h"
#include "admin/json_out.h"
#include "admin/metrics.h"
#include "admin/view.h"
#include "base/mem.h"
#include "core/failures.h"
#include "core/graph.h"
#include "runtime/runtime.h"

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain; charset=utf-8"

static bool text_is(struct weir_http_text t, const char *s)
{
    return t.len == strlen(s) && memcmp(t.data, s, t.len) == 0;
}

void weir_route_error(struct weir_route_answer *ret, int status, const char *fmt, ...)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    va_list ap;
    va_start(ap, fmt);
    weir_strbuf_vaddf(&text, fmt, ap);
    va_end(ap);
    ret->status = status;
    ret->type = TYPE_JSON;
    weir_strbuf_clear(&ret->body);
    struct weir_json_out j = {.out = &ret->body};
    weir_json_open(&j, NULL, '{');
    weir_json_string(&j, "error", text.data != NULL ? text.data : "out of memory");
    weir_json_close(&j, '}');
    weir_strbuf_addc(&ret->body, '\n');
    weir_strbuf_fini(&text);
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The decoded value of `key` in a query, to be freed; NULL: not there (or no memory, then *ret_failed). */
static char *query_value(struct weir_http_text query, const char *key, bool *ret_failed)
{
    size_t key_len = strlen(key);
    const char *at = query.data, *end = query.len > 0 ? query.data + query.len : query.data;
    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        if ((size_t)(stop - at) > key_len && memcmp(at, key, key_len) == 0 && at[key_len] == '=')
            break;
        at = stop < end ? stop + 1 : end;
    }
    if (at >= end)
        return NULL;
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    weir_strbuf_adds(&out, "");
    for (at += key_len + 1; at < end && *at != '&'; at++) {
        if (*at == '%' && end - at > 2 && hex(at[1]) >= 0 && hex(at[2]) >= 0) {
            weir_strbuf_addc(&out, (char)(hex(at[1]) * 16 + hex(at[2])));
            at += 2;
        } else {
            weir_strbuf_addc(&out, *at == '+' ? ' ' : *at);
        }
    }
    *ret_failed = out.failed;
    return weir_strbuf_take(&out);
}

static void get_stats(const struct weir_view *v, struct weir_http_text query, struct weir_route_answer *ret)
{
    bool failed = false;
    char *only = query_value(query, "stage", &failed);
    if (failed)
        ret->body.failed = true;
    else if (only != NULL && weir_graph_stage(v->graph, only) == NULL)
        weir_route_error(ret, 404, "there is no stage '%s'", only);
    else
        weir_stats_print(v, only, &ret->body);
    weir_free(only);
}

/* false: it is no number from 1 to what is kept. */
static bool read_limit(const char *text, size_t *ret)
{
    size_t n = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || n > WEIR_FAILURES_KEPT)
            return false;
        n = n * 10 + (size_t)(*at - '0');
    }
    *ret = n;
    return n >= 1 && n <= WEIR_FAILURES_KEPT;
}

static void get_failures(const struct weir_view *v, struct weir_http_text query, struct weir_route_answer *ret)
{
    bool failed = false;
    size_t max = WEIR_FAILURES_KEPT;
    char *only = query_value(query, "stage", &failed), *limit = query_value(query, "limit", &failed);
    const struct weir_stage *stage = only == NULL ? NULL : weir_graph_stage(v->graph, only);
    if (failed)
        ret->body.failed = true;
    else if (only != NULL && stage == NULL)
        weir_route_error(ret, 404, "there is no stage '%s'", only);
    else if (limit != NULL && !read_limit(limit, &max))
        weir_route_error(ret, 400, "limit: expected a whole number from 1 to %d, found '%s'", (int)WEIR_FAILURES_KEPT, limit);
    else
        weir_failures_print(v->graph->failures, stage, max, &ret->body);
    weir_free(only);
    weir_free(limit);
}

static void get_graph(const struct weir_view *v, struct weir_http_text query, struct weir_route_answer *ret)
{
    (void)query; /* it takes none */
    weir_graph_print(v, &ret->body);
}

static void get_metrics(const struct weir_view *v, struct weir_http_text query, struct weir_route_answer *ret)
{
    (void)query; /* it takes none */
    ret->type = WEIR_METRICS_TYPE;
    weir_metrics_print(v, &ret->body);
}

static void get_live(const struct weir_view *v, struct weir_http_text query, struct weir_route_answer *ret)
{
    (void)v, (void)query; /* that this answers is the answer */
    ret->type = TYPE_TEXT;
    weir_strbuf_adds(&ret->body, "ok\n");
}

static void get_ready(const struct weir_view *v, struct weir_http_text query, struct weir_route_answer *ret)
{
    (void)query; /* it takes none */
    ret->type = TYPE_TEXT;
    ret->status = v->rt != NULL && weir_runtime_state(v->rt) == WEIR_RUNTIME_RUNNING ? 200 : 503;
    weir_strbuf_addf(&ret->body, "%s\n", weir_view_state(v));
}

static const struct route {
    const char *path;
    bool is_public;
    void (*get)(const struct weir_view *v, struct weir_http_text query, struct weir_route_answer *ret);
} routes[] = {
    {"/v1/stats", false, get_stats},     {"/v1/graph", false, get_graph},  {"/v1/failures", false, get_failures},
    {"/metrics", false, get_metrics},    {"/health/live", true, get_live},  {"/health/ready", true, get_ready},
};

static const struct route *find(struct weir_http_text path)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++)
        if (text_is(path, routes[i].path))
            return &routes[i];
    return NULL;
}

bool weir_route_is_public(struct weir_http_text path)
{
    const struct route *r = find(path);
    return r != NULL && r->is_public;
}

void weir_route(const struct weir_view *v, struct weir_http_text method, struct weir_http_text path,
                struct weir_http_text query, struct weir_route_answer *ret)
{
    const struct route *r = find(path);
    if (r == NULL) {
        weir_route_error(ret, 404, "there is nothing at '%.*s'", (int)(path.len < 200 ? path.len : 200),
                         path.data);
        return;
    }
    if (!text_is(method, "GET") && !text_is(method, "HEAD")) {
        weir_route_error(ret, 405, "%s takes GET and HEAD", r->path);
        ret->allow = "GET, HEAD";
        return;
    }
    ret->status = 200;
    ret->type = TYPE_JSON;
    r->get(v, query, ret);
    if (ret->body.failed) {
        weir_strbuf_clear(&ret->body);
        weir_route_error(ret, 503, "out of memory");
    }
}
