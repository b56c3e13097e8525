#include "admin/looks.h"

#include "admin/routes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "core/graph.h"
#include "core/pause.h"
#include "core/stage.h"

enum { TICK_MS = 50, EXPIRE_EVERY = 2 /* ticks */ };

static const uint64_t answer_within_ns = WEIR_NS_PER_S;

struct weir_looks {
    struct weir_graph *graph;
    uv_async_t *wake;        /* on the heap: they close later than this is freed. Sent by workers */
    uv_timer_t *timer;       /* runs while there are chores, or stages are paused */
    struct weir_list chores; /* of struct weir_looks_chore */
    struct weir_look **expiring; /* by stage; NULL: none is under way */
    unsigned ticks;
};

/* A question to workers, and who asked it. */
struct asked {
    struct weir_looks_chore chore;
    struct weir_looks *looks;
    struct weir_look *look;
    struct weir_stage *stage;
    struct weir_http_request *request;
    uint64_t until_ns;
    void (*answer)(struct weir_look *look, struct weir_stage *stage, struct weir_route_answer *ret);
};

static void free_handle(uv_handle_t *handle)
{
    weir_free(handle);
}

static void end_asked(struct asked *a, struct weir_route_answer *answer)
{
    if (answer->body.failed) {
        weir_strbuf_clear(&answer->body);
        weir_route_error(answer, 503, "out of memory");
    }
    weir_route_reply(a->request, answer);
    weir_strbuf_fini(&answer->body);
    weir_look_end(a->look);
    weir_free(a);
}

static bool tick_asked(struct weir_looks_chore *c, uint64_t now_ns)
{
    struct asked *a = WEIR_LIST_ENTRY(c, struct asked, chore);
    if (!weir_look_done(a->look) && now_ns < a->until_ns)
        return true;
    struct weir_route_answer answer = {.status = 200, .type = "application/json", .body = WEIR_STRBUF_INIT};
    a->answer(a->look, a->stage, &answer);
    end_asked(a, &answer);
    return false;
}

static void close_asked(struct weir_looks_chore *c)
{
    struct asked *a = WEIR_LIST_ENTRY(c, struct asked, chore);
    struct weir_route_answer answer = {.body = WEIR_STRBUF_INIT};
    weir_route_error(&answer, 503, "the host stops");
    end_asked(a, &answer);
}

static void run_chores(struct weir_looks *l)
{
    uint64_t now = weir_clock_ns();
    WEIR_LIST_EACH(node, next, &l->chores)
    {
        struct weir_looks_chore *c = WEIR_LIST_ENTRY(node, struct weir_looks_chore, node);
        weir_list_remove(node);
        if (c->tick(c, now))
            weir_list_insert_after(next->prev, node);
    }
}

/* Nobody takes what waits at a paused stage, so what expires there is ended by visits. Returns whether a stage is paused. */
static bool expire_paused(struct weir_looks *l)
{
    bool any = false;
    for (size_t i = 0; i < l->graph->stage_count; i++) {
        struct weir_stage *s = &l->graph->stages[i];
        bool paused = weir_stage_is_paused(s);
        any = any || paused || l->expiring[i] != NULL;
        if (l->expiring[i] != NULL && weir_look_done(l->expiring[i])) {
            weir_look_end(l->expiring[i]);
            l->expiring[i] = NULL;
        }
        const struct weir_look_options o = {.graph = l->graph, .stage = s, .verb = WEIR_LOOK_EXPIRE};
        struct weir_look *look;
        if (paused && l->expiring[i] == NULL && l->ticks % EXPIRE_EVERY == 0 && weir_look_begin(&o, &look, NULL) == WEIR_OK)
            l->expiring[i] = look; /* without memory: the next time */
    }
    return any;
}

static void on_tick(uv_timer_t *timer)
{
    struct weir_looks *l = timer->data;
    l->ticks++;
    run_chores(l);
    if (!expire_paused(l) && weir_list_empty(&l->chores))
        uv_timer_stop(timer);
}

static void on_wake(uv_async_t *wake)
{
    run_chores(wake->data);
}

static void tell(void *arg)
{
    struct weir_looks *l = arg;
    uv_async_send(l->wake);
}

static void start_timer(struct weir_looks *l)
{
    if (!uv_is_active((uv_handle_t *)l->timer))
        uv_timer_start(l->timer, on_tick, TICK_MS, TICK_MS);
}

int weir_looks_create(struct weir_graph *graph, uv_loop_t *loop, struct weir_looks **ret, struct weir_err *reterr)
{
    struct weir_looks *l = weir_calloc(1, sizeof *l);
    struct weir_look **expiring = weir_calloc(graph->stage_count + 1, sizeof(struct weir_look *));
    uv_async_t *wake = weir_calloc(1, sizeof *wake);
    uv_timer_t *timer = weir_calloc(1, sizeof *timer);
    if (l == NULL || expiring == NULL || wake == NULL || timer == NULL || uv_async_init(loop, wake, on_wake) < 0) {
        weir_free(l);
        weir_free(expiring);
        weir_free(wake);
        weir_free(timer);
        return weir_err_set(reterr, WEIR_E_NOMEM, "admin: out of memory");
    }
    uv_timer_init(loop, timer);
    uv_unref((uv_handle_t *)wake);
    uv_unref((uv_handle_t *)timer);
    wake->data = timer->data = l;
    *l = (struct weir_looks){.graph = graph, .wake = wake, .timer = timer, .expiring = expiring};
    weir_list_init(&l->chores);
    *ret = l;
    return WEIR_OK;
}

void weir_looks_ask(struct weir_looks *l, const struct weir_look_options *o, struct weir_http_request *r,
                    void (*answer)(struct weir_look *look, struct weir_stage *stage, struct weir_route_answer *ret))
{
    struct weir_look_options own = *o;
    struct weir_route_answer failed = {.body = WEIR_STRBUF_INIT};
    struct asked *a = weir_malloc(sizeof *a);
    own.tell = tell;
    own.arg = l;
    if (a == NULL || weir_look_begin(&own, &a->look, NULL) != WEIR_OK) {
        weir_free(a);
        weir_route_error(&failed, 503, "out of memory");
        weir_route_reply(r, &failed);
        weir_strbuf_fini(&failed.body);
        return;
    }
    a->chore.tick = tick_asked;
    a->chore.close = close_asked;
    a->looks = l;
    a->stage = o->stage;
    a->request = r;
    a->answer = answer;
    a->until_ns = weir_clock_ns() + answer_within_ns;
    weir_looks_add(l, &a->chore);
    uv_async_send(l->wake); /* it may be answered already */
}

void weir_looks_add(struct weir_looks *l, struct weir_looks_chore *c)
{
    weir_list_append(&l->chores, &c->node);
    start_timer(l);
}

void weir_looks_note_pause(struct weir_looks *l)
{
    start_timer(l);
}

void weir_looks_close(struct weir_looks *l)
{
    struct weir_list *node;
    if (l == NULL || l->timer == NULL)
        return;
    while ((node = weir_list_take_first(&l->chores)) != NULL) {
        struct weir_looks_chore *c = WEIR_LIST_ENTRY(node, struct weir_looks_chore, node);
        c->close(c);
    }
    for (size_t i = 0; i < l->graph->stage_count; i++)
        weir_look_end(l->expiring[i]);
    weir_free(l->expiring);
    l->expiring = NULL;
    uv_close((uv_handle_t *)l->timer, free_handle);
    uv_close((uv_handle_t *)l->wake, free_handle);
    l->timer = NULL;
}

void weir_looks_destroy(struct weir_looks *l)
{
    weir_free(l);
}
