#include "admin/routes.h"

#include <string.h>

#include "admin/explain.h"
#include "admin/failures_print.h"
#include "admin/json_out.h"
#include "admin/metrics.h"
#include "admin/routes_control.h"
#include "admin/routes_queue.h"
#include "admin/view.h"
#include "base/mem.h"
#include "config/nearest.h"
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

char *weir_route_query(const struct weir_route_ask *ask, const char *key, bool *ret_failed)
{
    struct weir_http_text query = ask->query;
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

json_t *weir_route_body(const struct weir_route_ask *ask, const char *const *keys, struct weir_route_answer *ret)
{
    json_error_t why;
    const char *key;
    json_t *value;
    if (ask->body.len == 0)
        return json_object();
    json_t *body = json_loadb(ask->body.data, ask->body.len, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(body)) {
        weir_route_error(ret, 400, "the body: expected a JSON object%s%s", body == NULL ? ": " : "", body == NULL ? why.text : "");
        json_decref(body);
        return NULL;
    }
    json_object_foreach(body, key, value)
    {
        size_t i = 0;
        while (keys[i] != NULL && strcmp(keys[i], key) != 0)
            i++;
        if (keys[i] != NULL)
            continue;
        const char *near = weir_nearest_of(key, keys);
        weir_route_error(ret, 400, "the body: there is no '%.64s'%s%s%s", key, near != NULL ? " (did you mean '" : "",
                         near != NULL ? near : "", near != NULL ? "'?)" : "");
        json_decref(body);
        return NULL;
    }
    return body;
}

struct weir_stage *weir_route_stage(const struct weir_route_ask *ask, const char *name, struct weir_route_answer *ret)
{
    struct weir_graph *g = ask->view->graph;
    struct weir_nearest near;
    if (name == NULL) {
        weir_route_error(ret, 400, "'stage' is missing: the name of a stage");
        return NULL;
    }
    struct weir_stage *s = weir_graph_stage(g, name);
    if (s != NULL)
        return s;
    weir_nearest_init(&near, name);
    for (size_t i = 0; i < g->stage_count; i++)
        weir_nearest_offer(&near, g->stages[i].name);
    const char *best = weir_nearest_best(&near);
    weir_route_error(ret, 404, "there is no stage '%.64s'%s%s%s", name, best != NULL ? " (did you mean '" : "",
                     best != NULL ? best : "", best != NULL ? "'?)" : "");
    return NULL;
}

struct weir_http_request *weir_route_take(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    struct weir_http_request *r = ask->request;
    ask->request = NULL;
    if (r == NULL)
        weir_route_error(ret, 501, "nobody is there to be answered later");
    return r;
}

void weir_route_reply(struct weir_http_request *r, const struct weir_route_answer *a)
{
    struct weir_http_header headers[4];
    size_t n = 0;
    headers[n++] = (struct weir_http_header){{"Content-Type", 12}, {a->type, strlen(a->type)}};
    headers[n++] = (struct weir_http_header){{"Cache-Control", 13}, {"no-store", 8}};
    if (a->allow != NULL)
        headers[n++] = (struct weir_http_header){{"Allow", 5}, {a->allow, strlen(a->allow)}};
    if (a->status == 401)
        headers[n++] = (struct weir_http_header){{"WWW-Authenticate", 16}, {"Bearer", 6}};
    weir_http_reply(r, NULL, a->status, headers, n, a->body.data, a->body.len);
}

static void get_stats(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    bool failed = false;
    char *only = weir_route_query(ask, "stage", &failed);
    if (failed)
        ret->body.failed = true;
    else if (only == NULL || weir_route_stage(ask, only, ret) != NULL)
        weir_stats_print(ask->view, only, &ret->body);
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

static void get_failures(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    bool failed = false;
    size_t max = WEIR_FAILURES_KEPT;
    char *only = weir_route_query(ask, "stage", &failed), *limit = weir_route_query(ask, "limit", &failed);
    const struct weir_stage *stage = only == NULL ? NULL : weir_route_stage(ask, only, ret);
    if (failed)
        ret->body.failed = true;
    else if (only != NULL && stage == NULL)
        ; /* it has been said */
    else if (limit != NULL && !read_limit(limit, &max))
        weir_route_error(ret, 400, "limit: expected a whole number from 1 to %d, found '%s'", (int)WEIR_FAILURES_KEPT, limit);
    else
        weir_failures_print(ask->view->graph->failures, stage, max, &ret->body);
    weir_free(only);
    weir_free(limit);
}

static void get_explain(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    struct weir_explain_facts facts;
    struct weir_finding found[WEIR_FINDINGS_MAX];
    struct weir_err err;
    if (weir_explain_gather(ask->view, &facts, &err) < 0) {
        weir_route_error(ret, 503, "%s", err.text);
        return;
    }
    weir_explain_print(&facts, found, weir_explain(&facts, found), &ret->body);
    weir_explain_clear(&facts);
}

static void get_graph(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    weir_graph_print(ask->view, &ret->body);
}

static void get_metrics(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    ret->type = WEIR_METRICS_TYPE;
    weir_metrics_print(ask->view, &ret->body);
}

static void get_live(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    (void)ask; /* that this answers is the answer */
    ret->type = TYPE_TEXT;
    weir_strbuf_adds(&ret->body, "ok\n");
}

static void get_ready(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    const struct weir_view *v = ask->view;
    ret->type = TYPE_TEXT;
    ret->status = v->rt != NULL && weir_runtime_state(v->rt) == WEIR_RUNTIME_RUNNING ? 200 : 503;
    weir_strbuf_addf(&ret->body, "%s\n", weir_view_state(v));
}

/* What is done with a path, by method: NULL, not that one. */
static const struct route {
    const char *path;
    bool is_public;
    void (*get)(struct weir_route_ask *ask, struct weir_route_answer *ret);
    void (*post)(struct weir_route_ask *ask, struct weir_route_answer *ret);
} routes[] = {
    {"/v1/stats", false, get_stats, NULL},
    {"/v1/graph", false, get_graph, NULL},
    {"/v1/failures", false, get_failures, NULL},
    {"/v1/explain", false, get_explain, NULL},
    {"/v1/queue", false, weir_route_queue_list, NULL},
    {"/v1/queue/peek", false, weir_route_queue_peek, NULL},
    {"/v1/queue/history", false, weir_route_queue_history, NULL},
    {"/v1/queue/drop", false, NULL, weir_route_queue_drop},
    {"/v1/queue/pause", false, NULL, weir_route_queue_pause},
    {"/v1/queue/resume", false, NULL, weir_route_queue_resume},
    {"/v1/tap", false, weir_route_tap, NULL},
    {"/v1/events", false, weir_route_events, NULL},
    {"/v1/set", false, NULL, weir_route_set},
    {"/v1/freeze", false, NULL, weir_route_freeze},
    {"/v1/unfreeze", false, NULL, weir_route_unfreeze},
    {"/metrics", false, get_metrics, NULL},
    {"/health/live", true, get_live, NULL},
    {"/health/ready", true, get_ready, NULL},
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

static void refuse_method(const struct route *r, struct weir_route_answer *ret)
{
    const char *takes = r->get == NULL ? "POST" : r->post == NULL ? "GET and HEAD" : "GET, HEAD and POST";
    weir_route_error(ret, 405, "%s takes %s", r->path, takes);
    ret->allow = r->get == NULL ? "POST" : r->post == NULL ? "GET, HEAD" : "GET, HEAD, POST";
}

void weir_route(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    const struct route *r = find(ask->path);
    bool gets = text_is(ask->method, "GET") || text_is(ask->method, "HEAD"), posts = text_is(ask->method, "POST");
    if (r == NULL) {
        weir_route_error(ret, 404, "there is nothing at '%.*s'", (int)(ask->path.len < 200 ? ask->path.len : 200), ask->path.data);
        return;
    }
    void (*answer)(struct weir_route_ask *, struct weir_route_answer *) = gets ? r->get : posts ? r->post : NULL;
    if (answer == NULL) {
        refuse_method(r, ret);
        return;
    }
    ret->status = 200;
    ret->type = TYPE_JSON;
    answer(ask, ret);
    if (ret->body.failed) {
        weir_strbuf_clear(&ret->body);
        weir_route_error(ret, 503, "out of memory");
    }
}
