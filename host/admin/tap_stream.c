/* GET /v1/tap: lines of JSON for as long as the asker stays. Events first, {"tap": …} with the counts once a second and at the end.
 * An asker who is slow makes the ring fill up, and what finds no room there is counted as lost; nothing waits for him. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "admin/answer_stream.h"
#include "admin/event_print.h"
#include "admin/json_out.h"
#include "admin/looks.h"
#include "admin/routes.h"
#include "admin/routes_queue.h"
#include "admin/view.h"
#include "base/clock.h"
#include "base/mem.h"
#include "core/graph.h"
#include "core/stage.h"
#include "core/tap.h"

enum { LINE_MAX_BYTES = 1 << 20, TICK_BYTES = 256 << 10 /* in one visit of the control thread */ };

static const uint64_t counts_every_ns = WEIR_NS_PER_S;

struct tapping {
    struct weir_looks_chore chore;
    struct weir_answer_stream answer;
    const struct weir_stage *stage;
    struct weir_tap *tap;
    uint64_t shown, left; /* left: to be shown still */
    uint64_t counted_ns;
};

static void print_event(struct weir_strbuf *out, const struct weir_stage *s, const struct weir_tapped *ev)
{
    struct weir_json_out j = {.out = out};
    weir_json_open(&j, NULL, '{');
    weir_json_string(&j, "stage", s->name);
    weir_json_uint(&j, "id", ev->id);
    weir_json_uint(&j, "worker", ev->worker);
    weir_json_string(&j, "class", weir_graph_class_name(s->graph, ev->class_index));
    weir_json_uint(&j, "age_us", ev->age_ns / WEIR_NS_PER_US);
    weir_json_uint(&j, "waited_us", ev->waited_ns / WEIR_NS_PER_US);
    if (ev->left_ns != 0)
        weir_json_uint(&j, "left_us", ev->left_ns / WEIR_NS_PER_US);
    if (ev->key.kind != WEIR_VALUE_NIL)
        weir_event_print_value(&j, "key", ev->key, LINE_MAX_BYTES);
    if (ev->request != NULL)
        weir_json_raw(&j, "request", ev->request, strlen(ev->request));
    weir_event_print_value(&j, "value", ev->value, LINE_MAX_BYTES);
    weir_json_close(&j, '}');
    weir_strbuf_addc(out, '\n');
}

static void print_counts(struct weir_strbuf *out, const struct tapping *t)
{
    struct weir_json_out j = {.out = out};
    struct weir_tap_counts counts;
    weir_tap_read(t->tap, &counts);
    weir_json_open(&j, NULL, '{');
    weir_json_open(&j, "tap", '{');
    weir_json_uint(&j, "passed", counts.passed);
    weir_json_uint(&j, "shown", t->shown);
    weir_json_uint(&j, "limited", counts.limited);
    weir_json_uint(&j, "lost", counts.lost);
    weir_json_close(&j, '}');
    weir_json_close(&j, '}');
    weir_strbuf_addc(out, '\n');
}

static void end_tapping(struct tapping *t)
{
    weir_tap_close(t->tap);
    weir_answer_stream_close(&t->answer);
    weir_free(t);
}

static bool tick(struct weir_looks_chore *c, uint64_t now_ns)
{
    struct tapping *t = WEIR_LIST_ENTRY(c, struct tapping, chore);
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    struct weir_tapped ev;
    while (!t->answer.blocked && !t->answer.cut && t->left > 0 && out.len < TICK_BYTES && weir_tap_take(t->tap, &ev)) {
        print_event(&out, t->stage, &ev);
        weir_tapped_fini(&ev);
        t->shown++;
        t->left--;
    }
    bool ends = t->left == 0;
    if (!t->answer.blocked && !t->answer.cut && (ends || now_ns - t->counted_ns >= counts_every_ns)) {
        print_counts(&out, t); /* it is the sign of life, too */
        t->counted_ns = now_ns;
    }
    if (out.len > 0 || out.failed)
        weir_answer_stream_write(&t->answer, &out);
    weir_strbuf_fini(&out);
    if (!t->answer.cut && (!ends || t->answer.blocked))
        return true;
    end_tapping(t);
    return false;
}

static void close_tapping(struct weir_looks_chore *c)
{
    struct tapping *t = WEIR_LIST_ENTRY(c, struct tapping, chore);
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    print_counts(&out, t);
    if (!t->answer.blocked && !t->answer.cut)
        weir_answer_stream_write(&t->answer, &out);
    weir_strbuf_fini(&out);
    end_tapping(t);
}

/* ---- the request ---- */

static bool read_number(const char *text, double *ret)
{
    char *end;
    double n = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(n))
        return false;
    *ret = n;
    return true;
}

/* false: `ret` says what is wrong. */
static bool read_options(struct weir_route_ask *ask, struct weir_tap_options *o, uint64_t *n, struct weir_route_answer *ret)
{
    bool failed = false;
    double count = 0;
    char *sample = weir_route_query(ask, "sample", &failed), *rate = weir_route_query(ask, "rate", &failed),
         *limit = weir_route_query(ask, "n", &failed);
    if (failed)
        ret->body.failed = true;
    else if (sample != NULL && (!read_number(sample, &o->sample) || o->sample <= 0 || o->sample > 1))
        weir_route_error(ret, 400, "sample: expected a share above 0, at most 1, found '%.64s'", sample);
    else if (rate != NULL && (!read_number(rate, &o->rate) || o->rate < 1 || o->rate > 100000))
        weir_route_error(ret, 400, "rate: expected 1 to 100000 per second, found '%.64s'", rate);
    else if (limit != NULL && (!read_number(limit, &count) || count < 1 || count > 1e15 || floor(count) < count))
        weir_route_error(ret, 400, "n: expected a whole number from 1, found '%.64s'", limit);
    if (limit != NULL)
        *n = (uint64_t)(count >= 1 ? count : 1);
    weir_free(sample);
    weir_free(rate);
    weir_free(limit);
    return ret->status == 200 && !ret->body.failed;
}

static struct weir_stage *tapped_stage(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    bool failed = false;
    char *name = weir_route_query(ask, "stage", &failed);
    struct weir_stage *s = failed ? NULL : weir_route_stage(ask, name, ret);
    if (failed)
        ret->body.failed = true;
    weir_free(name);
    if (s == NULL || s->kind != WEIR_STAGE_SOURCE)
        return s;
    weir_route_error(ret, 400, "stage '%s' is a source: nothing passes it; tap the stage that it sends to", s->name);
    return NULL;
}

void weir_route_tap(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    struct weir_tap_options o = {.sample = 1, .rate = 100};
    struct weir_err why;
    uint64_t n = UINT64_MAX;
    struct weir_stage *s = tapped_stage(ask, ret);
    if (s == NULL || !read_options(ask, &o, &n, ret))
        return;
    struct tapping *t = weir_calloc(1, sizeof *t);
    if (t == NULL) {
        ret->body.failed = true;
        return;
    }
    *t = (struct tapping){.chore = {.tick = tick, .close = close_tapping}, .stage = s, .left = n, .counted_ns = weir_clock_ns()};
    int rc = weir_tap_open(s, &o, &t->tap, &why);
    if (rc < 0)
        weir_route_error(ret, rc == WEIR_E_LIMIT ? 409 : 503, "%s", why.text);
    else if (weir_answer_stream_start(&t->answer, ask, "application/x-ndjson", ret)) {
        weir_looks_add(ask->view->looks, &t->chore);
        return;
    } else
        weir_tap_close(t->tap);
    weir_free(t);
}
