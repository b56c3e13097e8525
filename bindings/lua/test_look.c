/* How specs look into applications under test. */
#include <lauxlib.h>

#include "base/clock.h"
#include "core/failures.h"
#include "core/seat.h"
#include "lua/convert.h"
#include "lua/test_inner.h"

enum { FAILURES = 32 };

/* Pushes a value; `r` is the request in it, which the specs' handle then stands for. */
WEIR_L_RAISES static void push_value(lua_State *L, struct weir_test_run *run, struct weir_value v, struct weir_request *r)
{
    run->vm.running = &run->call;
    run->holder.request = r;
    weir_convert_push(L, v, 0);
    run->holder.request = &run->made;
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
        lua_pushstring(L, weir_graph_class_name(app->g, c->class_index));
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
            weir_test_capture_free(c);
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

WEIR_L_RAISES void weir_test_look_open_lib(lua_State *L)
{
    static const luaL_Reg methods[] = {{"captured", l_captured}, {"queued", l_queued},     {"hold", l_hold},
                                       {"ledger", l_ledger},     {"stages", l_stages},     {"failures", l_failures},
                                       {"memory", l_memory},     {"take_error", l_take_error}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
