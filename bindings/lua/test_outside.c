/* What stands for the outside of an application under test: sinks that record, sources that make nothing of their own. */
#include "base/mem.h"
#include "core/reply.h"
#include "core/seat.h"
#include "lua/test_inner.h"

struct capture_handler {
    struct weir_handler base;
    struct weir_test_app *app;
};

/* Events are numbered as they are made: so a spec sees them in the order of the emits, whatever sink was run first. */
static void insert_by_id(struct weir_list *list, struct weir_test_capture *c)
{
    struct weir_list *at = list->prev;
    while (at != list && WEIR_LIST_ENTRY(at, struct weir_test_capture, node)->id > c->id)
        at = at->prev;
    weir_list_insert_after(at, &c->node);
}

/* A stage waits for the answer (weir.call): gives that of the spec, if it has one. */
static void answer_call(struct weir_test_app *app, struct weir_test_capture *c, struct weir_event *ev)
{
    struct weir_reply *r = weir_reply_of(c->request);
    struct weir_value answer;
    if (r == NULL || !weir_test_fake_answer(app, c->stage->name, c->value, &answer))
        return;
    c->request = NULL;
    ev->call = WEIR_EVENT_CALL_ANSWERED;
    (void)weir_reply_answer(r, answer); /* a caller that has gone needs none */
}

static void capture(struct capture_handler *h, struct weir_event *ev)
{
    struct weir_test_capture *c = weir_calloc(1, sizeof *c);
    if (c == NULL)
        return;
    c->stage = h->base.seat->stage;
    c->worker = h->base.seat->worker;
    c->value = weir_value_ref(ev->value);
    c->key = weir_value_ref(ev->key_value);
    c->class_index = ev->class_index;
    c->deadline_ns = ev->deadline_ns;
    c->request = ev->request;
    ev->request = NULL;
    answer_call(h->app, c, ev);
    c->id = ev->id;
    insert_by_id(&h->app->captured, c);
}

static void capture_handle(struct weir_handler *base, struct weir_event **evs, size_t n)
{
    struct capture_handler *h = (struct capture_handler *)(void *)base;
    for (size_t i = 0; i < n; i++) {
        if (!weir_seat_begin(base->seat, evs[i]))
            continue;
        capture(h, evs[i]);
        weir_seat_end(base->seat, evs[i], WEIR_REASON_NONE, NULL);
    }
}

static void capture_cancel(struct weir_handler *h)
{
    (void)h; /* nothing outlives handle() */
}

static void capture_close(struct weir_handler *h)
{
    weir_free(h);
}

static size_t capture_memory(const struct weir_handler *h)
{
    (void)h;
    return sizeof(struct capture_handler);
}

static int capture_make(void *self, struct weir_seat *seat, struct weir_handler **ret, struct weir_err *reterr)
{
    static const struct weir_handler_ops ops = {
        .handle = capture_handle, .cancel = capture_cancel, .close = capture_close, .memory = capture_memory};
    struct capture_handler *h = weir_calloc(1, sizeof *h);
    if (h == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    h->base.ops = &ops;
    h->base.seat = seat;
    h->app = self;
    *ret = &h->base;
    return WEIR_OK;
}

void weir_test_capture_free(struct weir_test_capture *c)
{
    weir_value_unref(c->value);
    weir_value_unref(c->key);
    if (c->request != NULL)
        c->request->ops->end(c->request, c->worker, WEIR_REQUEST_UNANSWERED);
    weir_free(c);
}

static int source_start(struct weir_source *s, struct weir_err *reterr)
{
    (void)s;
    (void)reterr; /* makes what a spec sends, nothing else */
    return WEIR_OK;
}

static void source_nothing(struct weir_source *s)
{
    (void)s;
}

static bool source_idle(const struct weir_source *s)
{
    (void)s;
    return true;
}

static void source_destroy(struct weir_source *s)
{
    weir_free(s);
}

static int source_make(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr)
{
    static const struct weir_source_ops ops = {
        .start = source_start, .stop = source_nothing, .idle = source_idle, .close = source_nothing, .destroy = source_destroy};
    (void)self;
    struct weir_source *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    *s = (struct weir_source){.ops = &ops, .seat = seat};
    *ret = s;
    return WEIR_OK;
}

void weir_test_outside_take(struct weir_test_app *app)
{
    for (size_t i = 0; i < app->g->stage_count; i++) {
        struct weir_stage *s = &app->g->stages[i];
        if (s->kind == WEIR_STAGE_SINK)
            s->handler = (struct weir_handler_maker){.make = capture_make, .self = app};
        else if (s->kind == WEIR_STAGE_SOURCE)
            s->source = (struct weir_source_maker){.make = source_make};
    }
}
