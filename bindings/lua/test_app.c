/* Applications under test: the host's graph on workers without threads, driven until nothing moves. */
#include <lauxlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/failures.h"
#include "core/seat.h"
#include "core/waiter.h"
#include "io/http_request.h"
#include "io/http_server.h"
#include "lua/convert.h"
#include "lua/test_inner.h"

static const uint64_t REST_NS = 60 * WEIR_NS_PER_S; /* really: what does not come to rest in that time never will */
enum { ADVANCE_STEPS = 1000000, FAILURES = 32 };

static const char app_type[] = "weir.test.app";

uint64_t weir_test_real_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * WEIR_NS_PER_S + (uint64_t)ts.tv_nsec;
}

struct weir_test_app *weir_test_app_of(struct weir_test_run *run, const struct weir_graph *g)
{
    WEIR_LIST_EACH(node, following, &run->apps)
    {
        struct weir_test_app *app = WEIR_LIST_ENTRY(node, struct weir_test_app, node);
        if (app->g == g)
            return app;
    }
    return NULL;
}

WEIR_L_RAISES struct weir_test_app *weir_test_app_check(lua_State *L, int idx)
{
    struct weir_test_app *app = luaL_checkudata(L, idx, app_type);
    if (app->opened == NULL)
        luaL_error(L, "the application under test was closed");
    return app;
}

WEIR_L_RAISES struct weir_stage *weir_test_stage_check(lua_State *L, struct weir_test_app *app, int idx)
{
    const char *name = luaL_checkstring(L, idx);
    struct weir_stage *s = weir_graph_stage(app->g, name);
    if (s == NULL)
        luaL_error(L, "the application under test has no stage '%s'", name);
    return s;
}

/* ---- what stands for the outside ---- */

struct capture_handler {
    struct weir_handler base;
    struct weir_test_app *app;
};

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
    weir_list_append(&h->app->captured, &c->node);
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

static void free_capture(struct weir_test_capture *c)
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

static void take_outside(struct weir_test_app *app)
{
    for (size_t i = 0; i < app->g->stage_count; i++) {
        struct weir_stage *s = &app->g->stages[i];
        if (s->kind == WEIR_STAGE_SINK)
            s->handler = (struct weir_handler_maker){.make = capture_make, .self = app};
        else if (s->kind == WEIR_STAGE_SOURCE)
            s->source = (struct weir_source_maker){.make = source_make};
    }
}

/* ---- opening, closing ---- */

static int make_workers(struct weir_test_app *app, struct weir_err *reterr)
{
    struct weir_graph *g = app->g;
    app->workers = weir_calloc(g->pool_count, sizeof(struct weir_worker *));
    app->servers = weir_calloc(g->pool_count * 2, sizeof(struct weir_http_server *));
    app->held = weir_calloc(g->stage_count, sizeof *app->held);
    app->capacities = weir_calloc(g->stage_count, sizeof *app->capacities);
    if (app->workers == NULL || app->servers == NULL || app->held == NULL || app->capacities == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    for (size_t i = 0; i < g->stage_count; i++)
        app->capacities[i] = g->stages[i].queue.capacity;
    for (size_t i = 0; i < g->pool_count; i++) {
        int rc = weir_worker_create(&g->pools[i], g->pools[i].first_slot, &app->workers[i], reterr);
        if (rc != WEIR_OK)
            return rc;
    }
    for (size_t i = 0; i < g->stage_count; i++) {
        struct weir_worker *w = app->workers[g->stages[i].pool->index];
        struct weir_handler *h = w->seats[i]->handler;
        weir_worker_now(w);
        if (h != NULL && h->ops->start != NULL)
            h->ops->start(h);
    }
    return WEIR_OK;
}

/* Ends everything that is queued or runs, in all workers, before one goes: they post to each other. */
static void cancel_work(struct weir_test_app *app, struct weir_worker *w)
{
    struct weir_event *ev;
    weir_worker_flush(w);
    weir_waiter_sweep(w, true);
    weir_inbox_drain(&w->inbox);
    for (size_t i = 0; i < app->g->stage_count; i++) {
        struct weir_seat *seat = w->seats[i];
        if (seat->handler != NULL)
            seat->handler->ops->cancel(seat->handler);
        while (weir_queue_take(seat, &ev, 1) == 1)
            if (weir_seat_begin(seat, ev))
                weir_seat_end(seat, ev, WEIR_REASON_CANCELLED, NULL);
    }
}

static void close_workers(struct weir_test_app *app)
{
    size_t n = app->g->pool_count;
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < n; i++)
            if (app->workers[i] != NULL)
                cancel_work(app, app->workers[i]);
    weir_list_splice(&app->captured, &app->kept);
    struct weir_list *node;
    while ((node = weir_list_take_first(&app->captured)) != NULL)
        free_capture(WEIR_LIST_ENTRY(node, struct weir_test_capture, node));
    while (!weir_list_empty(&app->conns))
        weir_test_conn_close(WEIR_LIST_ENTRY(app->conns.next, struct weir_test_conn, node));
    weir_test_conn_close_servers(app);
    for (size_t i = 0; i < n; i++)
        weir_worker_destroy(app->workers[i]);
    weir_test_conn_free_servers(app);
}

void weir_test_app_close(struct weir_test_app *app)
{
    if (app->opened == NULL)
        return;
    weir_test_fault_restore(app);
    if (app->workers != NULL && app->servers != NULL && app->held != NULL && app->capacities != NULL)
        close_workers(app);
    weir_test_fault_free_all(app);
    weir_value_unref(app->scratch);
    app->scratch = WEIR_VALUE_NOTHING;
    weir_free(app->workers);
    weir_free(app->servers);
    weir_free(app->held);
    weir_free(app->capacities);
    app->run->options->host.close(app->run->options->host.self, app->opened);
    app->opened = NULL;
    app->g = NULL;
    weir_list_remove(&app->node);
}

WEIR_L_RAISES static int l_close(lua_State *L)
{
    weir_test_app_close(luaL_checkudata(L, 1, app_type));
    return 0;
}

/* Appends the strings of the table at the top to `sets`, which the caller frees. */
WEIR_L_RAISES static const char **read_sets(lua_State *L, size_t *ret_count)
{
    size_t n = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    const char **sets = lua_newuserdatauv(L, (n + 1) * sizeof *sets, 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -2, (lua_Integer)i + 1);
        sets[i] = luaL_checkstring(L, -1); /* the list keeps it */
        lua_pop(L, 1);
    }
    *ret_count = n / 2;
    return sets;
}

static int open_app(struct weir_test_app *app, const struct weir_lua_test_source *source, struct weir_strbuf *report,
                    struct weir_err *reterr)
{
    const struct weir_lua_test_host *host = &app->run->options->host;
    int rc = host->open(host->self, source, report, &app->opened, &app->g, reterr);
    if (rc != WEIR_OK)
        return rc;
    weir_list_append(&app->run->apps, &app->node);
    take_outside(app);
    return make_workers(app, reterr);
}

/* host.open{path=, text=, name=, folder=, sets=} -> app | nil, message */
WEIR_L_RAISES static int l_open(lua_State *L)
{
    struct weir_lua_test_source source = {.path = NULL};
    struct weir_err err;
    lua_settop(L, 1);
    lua_getfield(L, 1, "path");
    source.path = lua_tostring(L, -1);
    lua_getfield(L, 1, "text");
    source.text = lua_tolstring(L, -1, &source.len);
    lua_getfield(L, 1, "name");
    source.name = lua_tostring(L, -1);
    lua_getfield(L, 1, "folder");
    source.folder = lua_tostring(L, -1);
    lua_getfield(L, 1, "sets");
    source.sets = read_sets(L, &source.set_count);
    struct weir_test_app *app = lua_newuserdatauv(L, sizeof *app, 0);
    *app = (struct weir_test_app){.run = weir_test_run_of(L), .error_ref = LUA_NOREF, .scratch = WEIR_VALUE_NOTHING};
    weir_list_init(&app->node);
    weir_list_init(&app->captured);
    weir_list_init(&app->kept);
    weir_list_init(&app->conns);
    weir_list_init(&app->faults);
    luaL_setmetatable(L, app_type);
    app->run->L = L;
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    if (open_app(app, &source, &report, &err) == WEIR_OK) {
        weir_strbuf_fini(&report);
        return 1;
    }
    weir_test_app_close(app);
    weir_strbuf_adds(&report, err.text);
    char text[4096]; /* so that nothing is lost if the next one raises */
    size_t len = report.len < sizeof text ? report.len : sizeof text;
    memcpy(text, report.data != NULL ? report.data : "", report.data != NULL ? len : 0);
    weir_strbuf_fini(&report);
    lua_pushnil(L);
    lua_pushlstring(L, text, len);
    return 2;
}

/* ---- running ---- */

static bool run_seat(struct weir_test_app *app, struct weir_worker *w, struct weir_seat *seat)
{
    const struct weir_stage *s = seat->stage;
    if (seat->handler == NULL || seat->held || app->held[s->index] || seat->running >= s->concurrency)
        return false;
    size_t room = s->concurrency - seat->running, max = s->batch_max < room ? s->batch_max : room;
    size_t n = weir_queue_take(seat, w->batch, max);
    if (n > 0)
        seat->handler->ops->handle(seat->handler, w->batch, n);
    return n > 0;
}

static bool run_aside(struct weir_worker *w)
{
    struct weir_list *node = weir_list_take_first(&w->aside);
    if (node == NULL)
        return false;
    struct weir_aside *a = WEIR_LIST_ENTRY(node, struct weir_aside, node);
    a->run(a);
    return true;
}

/* One turn. */
static bool run_worker(struct weir_test_app *app, struct weir_worker *w)
{
    bool ran = false;
    weir_worker_now(w);
    if (weir_timers_next(w) <= w->now_ns) {
        weir_timers_run(w);
        ran = true;
    }
    weir_waiter_sweep(w, false);
    for (size_t i = 0; i < app->g->stage_count; i++)
        ran |= run_seat(app, w, w->by_rank[i]);
    ran |= run_aside(w);
    weir_worker_flush(w);
    ran |= weir_inbox_drain(&w->inbox);
    weir_worker_flush(w);
    /* files and names are really looked up: that ends by itself, and no clock has to move */
    uv_run(&w->loop, !ran && w->loop.active_reqs.count > 0 ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    return ran || w->loop.active_reqs.count > 0;
}

static bool run_once(struct weir_test_app *app)
{
    bool ran = false;
    for (size_t i = 0; i < app->g->pool_count; i++)
        ran |= run_worker(app, app->workers[i]);
    WEIR_LIST_EACH(node, following, &app->conns)
    ran |= weir_test_conn_move(WEIR_LIST_ENTRY(node, struct weir_test_conn, node));
    return ran;
}

WEIR_L_RAISES void weir_test_app_pump(lua_State *L, struct weir_test_app *app)
{
    uint64_t began = weir_test_real_ns();
    int quiet = 0;
    app->run->L = L;
    while (quiet < 3) { /* a socket has something to say only in the turn after the one in which it was written to */
        atomic_store_explicit(&app->run->busy_ns, weir_test_real_ns(), memory_order_relaxed);
        bool ran = run_once(app);
        atomic_store_explicit(&app->run->busy_ns, 0, memory_order_relaxed);
        quiet = ran ? 0 : quiet + 1;
        if (weir_test_real_ns() - began > REST_NS)
            luaL_error(L, "the application under test did not come to rest within 60 s: its stages send to each other without end");
    }
    weir_test_fault_restore(app);
}

WEIR_L_RAISES static int l_pump(lua_State *L)
{
    weir_test_app_pump(L, weir_test_app_check(L, 1));
    return 0;
}

/* app:wait(seconds): lets real time go by for what is really outside, until nothing runs. -> whether nothing does */
WEIR_L_RAISES static int l_wait(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    uint64_t until = weir_test_real_ns() + (uint64_t)(luaL_checknumber(L, 2) * 1e9);
    for (;;) {
        weir_test_app_pump(L, app);
        bool rests = weir_graph_in_flight(app->g) == 0;
        if (rests || weir_test_real_ns() >= until) {
            lua_pushboolean(L, rests);
            return 1;
        }
        struct timespec pause = {.tv_nsec = 500000};
        nanosleep(&pause, NULL);
    }
}

/* ---- the clock ---- */

/* When something is due next in any application; UINT64_MAX: never. */
static uint64_t next_due(const struct weir_test_run *run)
{
    uint64_t next = UINT64_MAX;
    WEIR_LIST_EACH(node, following, &run->apps)
    {
        const struct weir_test_app *app = WEIR_LIST_ENTRY(node, struct weir_test_app, node);
        for (size_t i = 0; i < app->g->pool_count; i++) {
            const struct weir_worker *w = app->workers[i];
            uint64_t due = weir_timers_next(w);
            next = due < next ? due : next;
            WEIR_LIST_EACH(wait, after, &w->waits)
            {
                due = WEIR_LIST_ENTRY(wait, struct weir_waiter, worker_node)->until_ns + 1;
                next = due < next ? due : next;
            }
        }
    }
    return next;
}

WEIR_L_RAISES static void pump_all(lua_State *L, struct weir_test_run *run)
{
    WEIR_LIST_EACH(node, following, &run->apps)
    weir_test_app_pump(L, WEIR_LIST_ENTRY(node, struct weir_test_app, node));
}

/* host.advance(seconds): what is due meanwhile happens at its own time. */
WEIR_L_RAISES static int l_advance(lua_State *L)
{
    struct weir_test_run *run = weir_test_run_of(L);
    double s = luaL_checknumber(L, 1);
    if (!(s >= 0.0 && s <= 1e9))
        return luaL_error(L, "clock:advance: the time must be a number of seconds, at least 0");
    uint64_t to = weir_clock_ns() + (uint64_t)(s * 1e9 + 0.5);
    for (int step = 0;; step++) {
        uint64_t due = next_due(run), now = weir_clock_ns();
        if (due > to)
            break;
        if (step == ADVANCE_STEPS)
            return luaL_error(L, "clock:advance: more than %d timers fired on the way", ADVANCE_STEPS);
        weir_clock_set_virtual(due > now ? due : now + 1);
        pump_all(L, run);
    }
    if (to > weir_clock_ns())
        weir_clock_set_virtual(to);
    pump_all(L, run);
    return 0;
}

WEIR_L_RAISES static int l_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)weir_clock_ns() / 1e9);
    return 1;
}

/* ---- sending ---- */

WEIR_L_RAISES static void read_options(lua_State *L, int idx, struct weir_test_app *app, struct weir_event *ret, bool *has_deadline)
{
    *has_deadline = false;
    ret->class_index = app->g->default_class;
    if (!lua_istable(L, idx))
        return;
    if (lua_getfield(L, idx, "class") != LUA_TNIL) {
        const char *name = luaL_checkstring(L, -1);
        size_t i = 0;
        while (i < app->g->class_count && (app->g->class_names == NULL || strcmp(app->g->class_names[i], name) != 0))
            i++;
        if (i == app->g->class_count)
            luaL_error(L, "the application under test has no class '%s'", name);
        ret->class_index = (uint8_t)i;
    }
    if (lua_getfield(L, idx, "deadline") != LUA_TNIL) {
        *has_deadline = true;
        ret->deadline_ns = weir_clock_ns() + (uint64_t)(luaL_checknumber(L, -1) * 1e9);
    }
    lua_pop(L, 2);
}

static void end_refused(struct weir_worker *w, struct weir_event *ev, enum weir_verdict v)
{
    if (ev->request != NULL)
        ev->request->ops->end(ev->request, w, v == WEIR_VERDICT_EXPIRED ? WEIR_REQUEST_EXPIRED : WEIR_REQUEST_REFUSED);
    ev->request = NULL;
    weir_event_free(w, ev);
}

static void on_verdict(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    struct weir_test_conn *c = WEIR_LIST_ENTRY(em, struct weir_test_conn, emission);
    if (ev != NULL)
        end_refused(c->worker, ev, verdict);
}

static enum weir_verdict offer(struct weir_seat *seat, struct weir_event *ev, struct weir_test_conn *conn)
{
    struct weir_stage *s = seat->stage;
    if (s->kind == WEIR_STAGE_SOURCE) {
        if (conn != NULL)
            conn->emission.done = on_verdict;
        return weir_port_emit(seat, &s->ports[0], ev, conn != NULL ? &conn->emission : NULL);
    }
    struct weir_edge edge = {.target = s, .overflow = s->queue.overflow};
    return weir_edge_offer(seat->worker, &edge, ev);
}

/* The values that an event takes over; they are the application's until then, so that a raise leaks nothing. */
WEIR_L_RAISES static struct weir_event *make_event(lua_State *L, struct weir_test_app *app, struct weir_seat *seat, bool *ret_request)
{
    struct weir_encoded enc, key = {.scalar = WEIR_VALUE_NOTHING};
    struct weir_event options = {.deadline_ns = 0};
    bool has_deadline;
    read_options(L, 4, app, &options, &has_deadline);
    struct weir_vm *vm = weir_vm_of(L);
    vm->running = &app->run->call; /* whose requests these are */
    vm->buffer.len = 0;
    weir_convert_encode(L, 3, "event", &enc);
    if (lua_istable(L, 4)) {
        lua_getfield(L, 4, "key");
        weir_convert_encode(L, -1, "key", &key);
        lua_pop(L, 1);
    }
    struct weir_event *ev = weir_event_create(seat->worker);
    struct weir_value key_value = WEIR_VALUE_NOTHING;
    if (ev == NULL || !weir_convert_take(vm, &enc, &ev->value) || !weir_convert_take(vm, &key, &key_value)) {
        if (ev != NULL)
            weir_event_free(seat->worker, ev);
        luaL_error(L, "out of memory");
    }
    if (key_value.kind != WEIR_VALUE_NIL)
        weir_event_set_key(ev, key_value);
    ev->class_index = options.class_index;
    ev->arrival_ns = weir_clock_ns();
    ev->deadline_ns = has_deadline                                ? options.deadline_ns
                      : seat->stage->kind == WEIR_STAGE_SOURCE && seat->stage->deadline_ns != 0
                          ? ev->arrival_ns + seat->stage->deadline_ns
                          : 0;
    *ret_request = enc.request != NULL;
    return ev;
}

/* app:send(stage, event [, {class=, deadline=, key=}] [, request]) -> verdict, connection. `request`: what t.request made, when
 * the event has one. */
WEIR_L_RAISES static int l_send(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    struct weir_stage *s = weir_test_stage_check(L, app, 2);
    struct weir_worker *w = app->workers[s->pool->index];
    bool with_request;
    lua_settop(L, 5);
    weir_worker_now(w);
    struct weir_test_conn *conn = NULL;
    if (lua_isuserdata(L, 5)) {
        conn = weir_test_conn_open(L, app, s->pool, 5);
        if (conn->request == NULL) { /* refused by the HTTP server: the answer says why */
            lua_pushliteral(L, "refused");
            lua_pushinteger(L, conn->id);
            return 2;
        }
    }
    struct weir_event *ev = make_event(L, app, w->seats[s->index], &with_request);
    if (conn != NULL) {
        struct weir_http_request *r = conn->request;
        conn->request = NULL;
        ev->request = &r->base;
        r->id = ev->id;
        r->class_index = ev->class_index;
    }
    enum weir_verdict v = offer(w->seats[s->index], ev, conn);
    if (v != WEIR_VERDICT_ACCEPTED && v != WEIR_VERDICT_PENDING)
        end_refused(w, ev, v);
    weir_worker_flush(w);
    lua_pushstring(L, v == WEIR_VERDICT_ACCEPTED ? "accepted" : v == WEIR_VERDICT_PENDING ? "waiting" : weir_verdict_text(v));
    if (conn == NULL)
        return 1;
    lua_pushinteger(L, conn->id);
    return 2;
}

/* ---- looking ---- */

/* Pushes a value; `r` is the request in it, which the specs' handle then stands for. */
WEIR_L_RAISES static void push_value(lua_State *L, struct weir_test_run *run, struct weir_value v, struct weir_request *r)
{
    run->vm.running = &run->call;
    run->holder.request = r;
    weir_convert_push(L, v, 0);
    run->holder.request = &run->made;
}

WEIR_L_RAISES static void push_class(lua_State *L, const struct weir_graph *g, uint8_t class_index)
{
    lua_pushstring(L, g->class_names != NULL && class_index < g->class_count ? g->class_names[class_index] : "normal");
}

/* app:captured() -> what arrived at sinks since the last time: {{stage=, event=, class=, key=, deadline=}, …} */
WEIR_L_RAISES static int l_captured(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    lua_Integer n = 0;
    lua_newtable(L);
    while (!weir_list_empty(&app->captured)) {
        struct weir_test_capture *c = WEIR_LIST_ENTRY(app->captured.next, struct weir_test_capture, node);
        lua_createtable(L, 0, 5);
        lua_pushstring(L, c->stage->name);
        lua_setfield(L, -2, "stage");
        push_value(L, app->run, c->value, c->request);
        lua_setfield(L, -2, "event");
        push_value(L, app->run, c->key, NULL);
        lua_setfield(L, -2, "key");
        push_class(L, app->g, c->class_index);
        lua_setfield(L, -2, "class");
        if (c->deadline_ns != 0) {
            lua_pushnumber(L, ((lua_Number)c->deadline_ns - (lua_Number)weir_clock_ns()) / 1e9);
            lua_setfield(L, -2, "deadline");
        }
        lua_rawseti(L, -2, ++n);
        weir_list_remove(&c->node);
        if (c->request != NULL)
            weir_list_append(&app->kept, &c->node);
        else
            free_capture(c);
    }
    return 1;
}

/* app:queued(stage) -> the events that wait there, oldest first. They stay. */
WEIR_L_RAISES static int l_queued(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    struct weir_stage *s = weir_test_stage_check(L, app, 2);
    struct weir_worker *w = app->workers[s->pool->index];
    struct weir_seat *seat = w->seats[s->index];
    size_t max = s->queue.capacity + 1, n = 0, got;
    for (size_t i = 0; i < app->g->pool_count; i++)
        weir_worker_flush(app->workers[i]);
    struct weir_event **evs = lua_newuserdatauv(L, (max < 65536 ? max : 65536) * sizeof *evs, 0);
    max = max < 65536 ? max : 65536;
    while (n < max && (got = weir_queue_take(seat, evs + n, max - n)) > 0)
        n += got;
    weir_seat_give_back(seat, evs, n); /* before anything may raise; they stay where they are while nothing runs */
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push_value(L, app->run, evs[i]->value, evs[i]->request);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* app:hold(stage, on) */
WEIR_L_RAISES static int l_hold(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    app->held[weir_test_stage_check(L, app, 2)->index] = lua_toboolean(L, 3);
    return 0;
}

/* app:ledger(stage) -> {offered=, …, reasons={full=…}, emitted={out=…}} */
WEIR_L_RAISES static int l_ledger(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    struct weir_stage *s = weir_test_stage_check(L, app, 2);
    struct weir_stage_sample sample;
    weir_stage_read(s, &sample);
    const struct weir_ledger_sum *l = &sample.ledger;
    const struct {
        const char *name;
        int64_t n;
    } counts[] = {{"offered", l->offered}, {"accepted", l->accepted}, {"rejected", l->rejected}, {"handled", l->handled},
                  {"failed", l->failed},   {"expired", l->expired},   {"dropped", l->dropped},   {"queued", l->queued},
                  {"running", l->running}, {"waiting", l->waiting}};
    lua_createtable(L, 0, 12);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        lua_pushinteger(L, counts[i].n);
        lua_setfield(L, -2, counts[i].name);
    }
    lua_newtable(L);
    for (int i = 0; i < WEIR_REASON_COUNT; i++) {
        if (l->reasons[i] == 0)
            continue;
        lua_pushinteger(L, l->reasons[i]);
        lua_setfield(L, -2, weir_reason_text((enum weir_reason)i));
    }
    lua_setfield(L, -2, "reasons");
    lua_newtable(L);
    for (size_t i = 0; i < s->port_count; i++) {
        lua_pushinteger(L, weir_stage_emitted(s, i));
        lua_setfield(L, -2, s->ports[i].name);
    }
    lua_setfield(L, -2, "emitted");
    return 1;
}

/* app:stages() -> {{name=, kind=}, …} */
WEIR_L_RAISES static int l_stages(lua_State *L)
{
    static const char *const kinds[] = {
        [WEIR_STAGE_SOURCE] = "source", [WEIR_STAGE_HANDLER] = "handler", [WEIR_STAGE_SINK] = "sink"};
    struct weir_test_app *app = weir_test_app_check(L, 1);
    lua_createtable(L, (int)app->g->stage_count, 0);
    for (size_t i = 0; i < app->g->stage_count; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, app->g->stages[i].name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, kinds[app->g->stages[i].kind]);
        lua_setfield(L, -2, "kind");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static void free_failures(struct weir_failure *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        weir_failure_fini(&f[i]);
}

struct failures {
    size_t count;
    struct weir_failure list[FAILURES];
};

WEIR_L_RAISES static int l_failures_gc(lua_State *L)
{
    struct failures *f = lua_touserdata(L, 1);
    free_failures(f->list, f->count);
    f->count = 0;
    return 0;
}

/* app:failures() -> the last ones, newest first: {{number=, stage=, reason=, error=}, …} */
WEIR_L_RAISES static int l_failures(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    struct failures *f = lua_newuserdatauv(L, sizeof *f, 0);
    f->count = 0;
    if (luaL_newmetatable(L, "weir.test.failures")) {
        lua_pushcfunction(L, l_failures_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    f->count = weir_failures_read(app->g->failures, NULL, f->list, FAILURES);
    lua_createtable(L, (int)f->count, 0);
    for (size_t i = 0; i < f->count; i++) {
        lua_createtable(L, 0, 4);
        lua_pushinteger(L, (lua_Integer)f->list[i].number);
        lua_setfield(L, -2, "number");
        lua_pushstring(L, f->list[i].stage->name);
        lua_setfield(L, -2, "stage");
        lua_pushstring(L, weir_reason_text(f->list[i].reason));
        lua_setfield(L, -2, "reason");
        lua_pushstring(L, f->list[i].text);
        lua_setfield(L, -2, "error");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* app:memory(stage) -> bytes that its VMs hold */
WEIR_L_RAISES static int l_memory(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    struct weir_stage *s = weir_test_stage_check(L, app, 2);
    struct weir_handler *h = app->workers[s->pool->index]->seats[s->index]->handler;
    lua_pushinteger(L, h != NULL ? (lua_Integer)h->ops->memory(h) : 0);
    return 1;
}

/* app:take_error() -> whether a fake raised, and what */
WEIR_L_RAISES static int l_take_error(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    int ref = app->error_ref;
    lua_pushboolean(L, ref != LUA_NOREF);
    if (ref == LUA_NOREF)
        return 1;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    app->error_ref = LUA_NOREF;
    return 2;
}

WEIR_L_RAISES void weir_test_app_open_lib(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"pump", l_pump},     {"wait", l_wait},         {"send", l_send},     {"captured", l_captured}, {"queued", l_queued},
        {"hold", l_hold},     {"ledger", l_ledger},     {"stages", l_stages}, {"failures", l_failures}, {"memory", l_memory},
        {"close", l_close},   {"take_error", l_take_error}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", l_open}, {"advance", l_advance}, {"now", l_now}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    luaL_newmetatable(L, app_type);
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
