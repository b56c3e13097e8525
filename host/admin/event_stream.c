/* GET /v1/events: the journal as server-sent events (HTML Living Standard, 9.2), what is kept and then what comes. `after`: only those with
 * a higher number; `once`: what is kept, then the end. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "admin/answer_stream.h"
#include "admin/json_out.h"
#include "admin/looks.h"
#include "admin/routes.h"
#include "admin/routes_control.h"
#include "admin/step_print.h"
#include "admin/view.h"
#include "base/clock.h"
#include "base/mem.h"
#include "controller/journal.h"
#include "runtime/runtime.h"

enum { TICK_BYTES = 64 << 10 /* in one visit of the control thread */ };

static const uint64_t alive_every_ns = 15 * WEIR_NS_PER_S;

struct streaming {
    struct weir_looks_chore chore;
    struct weir_answer_stream answer;
    const struct weir_journal *journal;
    uint64_t after, wrote_ns;
    bool once;
};

static void print_number(struct weir_json_out *j, const char *key, double v)
{
    if (isfinite(v))
        weir_json_real(j, key, v);
}

static void print_entry(struct weir_strbuf *out, const struct weir_journal_entry *e)
{
    struct weir_json_out j = {.out = out};
    weir_strbuf_addf(out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)e->number, weir_journal_kind_text(e->kind));
    weir_json_open(&j, NULL, '{');
    weir_json_uint(&j, "number", e->number);
    weir_json_real(&j, "time", (double)e->wall_ns / 1e9);
    weir_json_string(&j, "kind", weir_journal_kind_text(e->kind));
    weir_json_string(&j, "path", e->subject);
    if (e->controller != NULL)
        weir_json_string(&j, "controller", e->controller);
    if (e->rule != NULL)
        weir_json_string(&j, "rule", e->rule);
    print_number(&j, "from", e->from);
    print_number(&j, "to", e->to);
    if (e->text[0] != '\0')
        weir_json_string(&j, "text", e->text);
    if (e->has_inputs)
        weir_step_print_inputs(&j, &e->inputs);
    if (e->kind == WEIR_JOURNAL_STEP)
        weir_step_print_setpoints(&j, &e->step);
    weir_json_close(&j, '}');
    weir_strbuf_adds(out, "\n\n");
}

static void close_streaming(struct weir_looks_chore *c)
{
    struct streaming *s = WEIR_LIST_ENTRY(c, struct streaming, chore);
    weir_answer_stream_close(&s->answer);
    weir_free(s);
}

static bool tick(struct weir_looks_chore *c, uint64_t now_ns)
{
    struct streaming *s = WEIR_LIST_ENTRY(c, struct streaming, chore);
    struct weir_strbuf out = WEIR_STRBUF_INIT;
    const struct weir_journal_entry *e;
    while (!s->answer.blocked && !s->answer.cut && out.len < TICK_BYTES && (e = weir_journal_next(s->journal, s->after)) != NULL) {
        print_entry(&out, e);
        s->after = e->number;
    }
    if (out.len == 0 && !s->answer.blocked && !s->once && now_ns - s->wrote_ns >= alive_every_ns)
        weir_strbuf_adds(&out, ": alive\n\n"); /* a comment: it finds out who has gone */
    if (out.len > 0 || out.failed) {
        weir_answer_stream_write(&s->answer, &out);
        s->wrote_ns = now_ns;
    }
    weir_strbuf_fini(&out);
    bool ends = s->once && !s->answer.blocked && weir_journal_next(s->journal, s->after) == NULL;
    if (!s->answer.cut && !ends)
        return true;
    close_streaming(c);
    return false;
}

/* ---- the request ---- */

static bool read_after(const struct weir_route_ask *ask, uint64_t *after, struct weir_route_answer *ret)
{
    bool failed = false;
    char *text = weir_route_query(ask, "after", &failed);
    ret->body.failed = failed;
    if (text != NULL && (text[0] == '\0' || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text)))
        weir_route_error(ret, 400, "after: expected the number of an event, found '%.64s'", text);
    else if (text != NULL)
        *after = strtoull(text, NULL, 10);
    weir_free(text);
    return ret->status == 200 && !failed;
}

static bool wants_once(const struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    bool failed = false;
    char *text = weir_route_query(ask, "once", &failed);
    bool once = text != NULL && strcmp(text, "1") == 0;
    weir_free(text);
    ret->body.failed = ret->body.failed || failed;
    return once;
}

void weir_route_events(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    uint64_t after = 0;
    bool once = wants_once(ask, ret);
    if (!read_after(ask, &after, ret) || ret->body.failed)
        return;
    if (ask->view->rt == NULL) {
        weir_route_error(ret, 503, "nothing runs that decides anything");
        return;
    }
    struct streaming *s = weir_calloc(1, sizeof *s);
    if (s == NULL) {
        ret->body.failed = true;
        return;
    }
    *s = (struct streaming){.chore = {.tick = tick, .close = close_streaming}, .journal = weir_runtime_journal(ask->view->rt), .after = after,
                            .wrote_ns = weir_clock_ns(), .once = once};
    if (weir_answer_stream_start(&s->answer, ask, "text/event-stream", ret))
        weir_looks_add(ask->view->looks, &s->chore);
    else
        weir_free(s);
}
