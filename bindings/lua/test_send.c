/* How specs send events to applications under test. */
#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/seat.h"
#include "io/http_request.h"
#include "lua/convert.h"
#include "lua/test_inner.h"

WEIR_L_RAISES static void read_options(lua_State *L, int idx, struct weir_test_app *app, struct weir_event *ret, bool *has_deadline)
{
    *has_deadline = false;
    ret->class_index = app->g->default_class;
    if (!lua_istable(L, idx))
        return;
    if (lua_getfield(L, idx, "class") != LUA_TNIL) {
        const char *name = luaL_checkstring(L, -1);
        int class_index = weir_graph_class(app->g, name, strlen(name));
        if (class_index < 0)
            luaL_error(L, "the application under test has no class '%s'", name);
        ret->class_index = (uint8_t)class_index;
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

WEIR_L_RAISES void weir_test_send_open_lib(lua_State *L)
{
    static const luaL_Reg methods[] = {{"send", l_send}, {NULL, NULL}};
    luaL_setfuncs(L, methods, 0);
}
