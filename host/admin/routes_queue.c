#include "admin/routes_queue.h"

#include <string.h>

#include "admin/event_print.h"
#include "admin/json_out.h"
#include "admin/looks.h"
#include "admin/routes.h"
#include "admin/view.h"
#include "base/clock.h"
#include "base/mem.h"
#include "config/units.h"
#include "core/graph.h"
#include "core/pause.h"
#include "core/recent.h"
#include "core/stage.h"
#include "runtime/runtime.h"

enum { PEEK_DEFAULT = 10, VALUE_MAX = 64 << 10 };

/* Who has not answered: his queue's part is missing in what was said. */
static void print_missing(struct weir_json_out *j, const struct weir_look *look)
{
    const char *pool;
    unsigned worker;
    weir_json_open(j, "missing", '[');
    for (size_t i = 0; weir_look_missing(look, i, &pool, &worker); i++) {
        weir_json_open(j, NULL, '{');
        weir_json_string(j, "pool", pool);
        weir_json_uint(j, "worker", worker);
        weir_json_close(j, '}');
    }
    weir_json_close(j, ']');
}

static void finish(struct weir_json_out *j, const struct weir_look *look)
{
    print_missing(j, look);
    weir_json_close(j, '}');
    weir_strbuf_addc(j->out, '\n');
}

static double since_s(uint64_t now, uint64_t then)
{
    return now > then ? (double)(now - then) / (double)WEIR_NS_PER_S : 0;
}

/* ---- ls ---- */

static void print_queue(struct weir_json_out *j, struct weir_look *look, struct weir_stage *s, uint64_t now)
{
    uint64_t oldest = weir_look_oldest(look, s);
    struct weir_stage_sample sample;
    weir_stage_read(s, &sample);
    weir_json_open(j, s->name, '{');
    weir_json_uint(j, "depth", weir_queue_depth(&s->queue));
    weir_json_uint(j, "capacity", s->queue.capacity);
    weir_json_uint(j, "bytes", weir_queue_bytes(&s->queue));
    weir_json_uint(j, "capacity_bytes", s->queue.bytes);
    if (oldest != 0)
        weir_json_real(j, "oldest_s", since_s(now, oldest));
    weir_json_int(j, "waiting", sample.ledger.waiting);
    weir_json_bool(j, "paused", weir_stage_is_paused(s));
    weir_json_close(j, '}');
}

static void answer_list(struct weir_look *look, struct weir_stage *any, struct weir_route_answer *ret)
{
    struct weir_json_out j = {.out = &ret->body};
    struct weir_graph *g = any->graph;
    uint64_t now = weir_clock_ns();
    weir_json_open(&j, NULL, '{');
    weir_json_open(&j, "queues", '{');
    for (size_t i = 0; i < g->stage_count; i++)
        if (g->stages[i].kind != WEIR_STAGE_SOURCE)
            print_queue(&j, look, &g->stages[i], now);
    weir_json_close(&j, '}');
    finish(&j, look);
}

void weir_route_queue_list(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    struct weir_graph *g = ask->view->graph;
    const struct weir_look_options o = {.graph = g, .stage = &g->stages[0], .verb = WEIR_LOOK_AGES};
    struct weir_http_request *r = weir_route_take(ask, ret);
    if (r != NULL)
        weir_looks_ask(ask->view->looks, &o, r, answer_list);
}

/* ---- peek ---- */

/* Digits only, from 1 to `max`. */
static bool read_count(const char *text, size_t max, size_t *ret)
{
    size_t n = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || n > max)
            return false;
        n = n * 10 + (size_t)(*at - '0');
    }
    *ret = n;
    return n >= 1 && n <= max;
}

/* A stage that has a queue; else `ret` says what is wrong. */
static struct weir_stage *queue_named(struct weir_route_ask *ask, const char *name, struct weir_route_answer *ret)
{
    struct weir_stage *s = weir_route_stage(ask, name, ret);
    if (s == NULL || s->kind != WEIR_STAGE_SOURCE)
        return s;
    weir_route_error(ret, 400, "stage '%s' is a source: it has no queue", s->name);
    return NULL;
}

static void print_event(struct weir_json_out *j, const struct weir_graph *g, const struct weir_looked *ev, uint64_t now)
{
    weir_json_open(j, NULL, '{');
    weir_json_uint(j, "id", ev->id);
    weir_json_string(j, "class", weir_graph_class_name(g, ev->class_index));
    weir_json_real(j, "age_s", since_s(now, ev->arrival_ns));
    weir_json_real(j, "queued_s", since_s(now, ev->enqueued_ns));
    if (ev->deadline_ns != 0)
        weir_json_real(j, "left_s", ev->deadline_ns > now ? since_s(ev->deadline_ns, now) : -since_s(now, ev->deadline_ns));
    weir_json_uint(j, "bytes", ev->bytes);
    weir_json_bool(j, "request", ev->has_request);
    if (ev->key.kind != WEIR_VALUE_NIL)
        weir_event_print_value(j, "key", ev->key, VALUE_MAX);
    weir_event_print_value(j, "value", ev->value, VALUE_MAX);
    weir_json_close(j, '}');
}

static void answer_peek(struct weir_look *look, struct weir_stage *s, struct weir_route_answer *ret)
{
    struct weir_json_out j = {.out = &ret->body};
    const struct weir_looked *events;
    uint64_t now = weir_clock_ns();
    size_t n = weir_look_events(look, &events);
    weir_json_open(&j, NULL, '{');
    weir_json_string(&j, "stage", s->name);
    weir_json_uint(&j, "depth", weir_queue_depth(&s->queue));
    weir_json_open(&j, "events", '[');
    for (size_t i = 0; i < n; i++)
        print_event(&j, s->graph, &events[i], now);
    weir_json_close(&j, ']');
    finish(&j, look);
}

void weir_route_queue_peek(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    bool failed = false;
    char *name = weir_route_query(ask, "stage", &failed), *limit = weir_route_query(ask, "n", &failed);
    size_t max = PEEK_DEFAULT;
    struct weir_stage *s = failed ? NULL : queue_named(ask, name, ret);
    struct weir_http_request *r = NULL;
    if (failed)
        ret->body.failed = true;
    else if (s != NULL && limit != NULL && !read_count(limit, WEIR_LOOK_EVENTS_MAX, &max))
        weir_route_error(ret, 400, "n: expected a whole number from 1 to %d, found '%.64s'", (int)WEIR_LOOK_EVENTS_MAX, limit);
    else if (s != NULL)
        r = weir_route_take(ask, ret);
    weir_free(name);
    weir_free(limit);
    if (r == NULL)
        return;
    const struct weir_look_options o = {.graph = ask->view->graph, .stage = s, .verb = WEIR_LOOK_PEEK, .max = max};
    weir_looks_ask(ask->view->looks, &o, r, answer_peek);
}

/* ---- drop ---- */

static void answer_drop(struct weir_look *look, struct weir_stage *s, struct weir_route_answer *ret)
{
    struct weir_json_out j = {.out = &ret->body};
    weir_json_open(&j, NULL, '{');
    weir_json_string(&j, "stage", s->name);
    weir_json_int(&j, "dropped", weir_look_ended(look));
    weir_json_uint(&j, "depth", weir_queue_depth(&s->queue));
    finish(&j, look);
}

/* What to drop, of the body's "older" and "n". */
static bool read_drop(const json_t *body, struct weir_look_options *o, struct weir_route_answer *ret)
{
    const json_t *older = json_object_get(body, "older"), *n = json_object_get(body, "n");
    uint64_t now = weir_clock_ns(), age = 0;
    struct weir_err why;
    if (older != NULL && (!json_is_string(older) || weir_duration_parse(json_string_value(older), &age, &why) != WEIR_OK)) {
        weir_route_error(ret, 400, "older: %s", json_is_string(older) ? why.text : "expected a duration such as \"5s\"");
        return false;
    }
    if (n != NULL && (!json_is_integer(n) || json_integer_value(n) < 1)) {
        weir_route_error(ret, 400, "n: expected a whole number from 1");
        return false;
    }
    o->before_ns = age < now ? now - age : 0;
    o->max = n != NULL ? (size_t)json_integer_value(n) : SIZE_MAX;
    return true;
}

void weir_route_queue_drop(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    static const char *const keys[] = {"stage", "older", "n", NULL};
    json_t *body = weir_route_body(ask, keys, ret);
    if (body == NULL)
        return;
    struct weir_look_options o = {.graph = ask->view->graph, .verb = WEIR_LOOK_DROP};
    o.stage = queue_named(ask, json_string_value(json_object_get(body, "stage")), ret);
    struct weir_http_request *r = NULL;
    if (o.stage != NULL && read_drop(body, &o, ret))
        r = weir_route_take(ask, ret);
    json_decref(body);
    if (r != NULL)
        weir_looks_ask(ask->view->looks, &o, r, answer_drop);
}

/* ---- history ---- */

static void print_lengths(struct weir_json_out *j, const char *key, double step_s, const struct weir_recent_length *lengths, size_t n)
{
    weir_json_open(j, key, '{');
    weir_json_real(j, "step_s", step_s);
    weir_json_open(j, "mean", '[');
    for (size_t i = 0; i < n; i++)
        weir_json_real(j, NULL, (double)lengths[i].mean);
    weir_json_close(j, ']');
    weir_json_open(j, "max", '[');
    for (size_t i = 0; i < n; i++)
        weir_json_uint(j, NULL, lengths[i].max);
    weir_json_close(j, ']');
    weir_json_close(j, '}');
}

static void print_history(struct weir_json_out *j, const struct weir_recent *recent, const struct weir_stage *s)
{
    struct weir_recent_length lengths[WEIR_RECENT_COARSE > WEIR_RECENT_FINE ? WEIR_RECENT_COARSE : WEIR_RECENT_FINE];
    weir_json_open(j, s->name, '{');
    weir_json_uint(j, "capacity", s->queue.capacity);
    print_lengths(j, "minutes", 1, lengths, weir_recent_fine(recent, s, lengths));
    print_lengths(j, "hour", WEIR_RECENT_PER_COARSE, lengths, weir_recent_coarse(recent, s, lengths));
    weir_json_close(j, '}');
}

void weir_route_queue_history(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    bool failed = false;
    const struct weir_view *v = ask->view;
    char *name = weir_route_query(ask, "stage", &failed);
    const struct weir_stage *only = name == NULL || failed ? NULL : queue_named(ask, name, ret);
    bool wrong = failed || (name != NULL && only == NULL);
    ret->body.failed = ret->body.failed || failed;
    weir_free(name);
    if (wrong)
        return;
    if (v->rt == NULL) {
        weir_route_error(ret, 503, "nothing runs that has a history");
        return;
    }
    struct weir_json_out j = {.out = &ret->body};
    weir_json_open(&j, NULL, '{');
    weir_json_open(&j, "queues", '{');
    for (size_t i = 0; i < v->graph->stage_count; i++)
        if (v->graph->stages[i].kind != WEIR_STAGE_SOURCE && (only == NULL || only == &v->graph->stages[i]))
            print_history(&j, weir_runtime_recent(v->rt), &v->graph->stages[i]);
    weir_json_close(&j, '}');
    weir_json_close(&j, '}');
    weir_strbuf_addc(&ret->body, '\n');
}

/* ---- pause, resume ---- */

static void answer_paused(struct weir_look *look, struct weir_stage *s, struct weir_route_answer *ret)
{
    struct weir_json_out j = {.out = &ret->body};
    weir_json_open(&j, NULL, '{');
    weir_json_string(&j, "stage", s->name);
    weir_json_bool(&j, "paused", weir_stage_is_paused(s));
    weir_json_uint(&j, "depth", weir_queue_depth(&s->queue));
    finish(&j, look);
}

static void set_paused(struct weir_route_ask *ask, struct weir_route_answer *ret, bool paused)
{
    static const char *const keys[] = {"stage", NULL};
    json_t *body = weir_route_body(ask, keys, ret);
    if (body == NULL)
        return;
    struct weir_stage *s = queue_named(ask, json_string_value(json_object_get(body, "stage")), ret);
    json_decref(body);
    if (s != NULL && paused && strcmp(weir_view_state(ask->view), "running") != 0) {
        weir_route_error(ret, 409, "the host is %s: nothing is paused now", weir_view_state(ask->view));
        return;
    }
    struct weir_http_request *r = s == NULL ? NULL : weir_route_take(ask, ret);
    if (r == NULL)
        return;
    const struct weir_look_options o = {.graph = ask->view->graph, .stage = s, .verb = WEIR_LOOK_TOUCH};
    if (paused)
        weir_stage_pause(s);
    else
        weir_stage_resume(s);
    weir_looks_note_pause(ask->view->looks);
    weir_looks_ask(ask->view->looks, &o, r, answer_paused);
}

void weir_route_queue_pause(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    set_paused(ask, ret, true);
}

void weir_route_queue_resume(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    set_paused(ask, ret, false);
}
