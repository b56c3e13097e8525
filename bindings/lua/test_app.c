/* Applications under test: the host's graph on workers without threads, driven until nothing moves. */
#include <lauxlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/seat.h"
#include "core/waiter.h"
#include "lua/test_inner.h"

static const uint64_t REST_NS = 60 * WEIR_NS_PER_S; /* really: what does not come to rest in that time never will */
enum { ADVANCE_STEPS = 1000000 };

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
        weir_test_capture_free(WEIR_LIST_ENTRY(node, struct weir_test_capture, node));
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
    weir_test_outside_take(app);
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
    atomic_store_explicit(&app->run->busy_ns, weir_test_real_ns(), memory_order_relaxed); /* scripts run as they are loaded */
    int rc = open_app(app, &source, &report, &err);
    atomic_store_explicit(&app->run->busy_ns, 0, memory_order_relaxed);
    if (rc == WEIR_OK) {
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
    size_t room = s->concurrency - seat->running, max = s->batch < room ? s->batch : room;
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

WEIR_L_RAISES void weir_test_app_open_lib(lua_State *L)
{
    static const luaL_Reg methods[] = {{"pump", l_pump}, {"wait", l_wait}, {"close", l_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"open", l_open}, {"advance", l_advance}, {"now", l_now}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    luaL_newmetatable(L, app_type);
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    weir_test_send_open_lib(L);
    weir_test_look_open_lib(L);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
