#include "lua/parcel.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/event.h"
#include "core/reply.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/http_request.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/call.h"
#include "lua/config.h"
#include "lua/log.h"
#include "lua/request_ud.h"

/* --- reading --- */

WEIR_L_RAISES static int unknown_port(lua_State *L, const struct weir_vm *vm, const char *what, int idx)
{
    const struct weir_stage *stage = vm->seat->stage;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < vm->port_count; i++) {
        luaL_addstring(&b, i == 0 ? "its ports are '" : ", '");
        luaL_addstring(&b, vm->ports[i].port->name);
        luaL_addstring(&b, "'");
    }
    if (vm->port_count == 0)
        luaL_addstring(&b, "it has none (`to:` in weir.yaml wires them)");
    luaL_pushresult(&b);
    return luaL_error(L, "%s: stage '%s' has no port '%s'; %s", what, stage->name, lua_tostring(L, idx), lua_tostring(L, -1));
}

WEIR_L_RAISES static void check_port_name(lua_State *L, const char *what, int idx)
{
    if (lua_isnone(L, idx))
        luaL_error(L, "%s: the port must be a string, nothing was given", what);
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "%s: the port must be a string, it is a %s", what, luaL_typename(L, idx));
}

WEIR_L_RAISES static struct weir_port *find_port(lua_State *L, const struct weir_vm *vm, const char *what, int idx)
{
    check_port_name(L, what, idx);
    const char *name = lua_tostring(L, idx);
    for (size_t i = 0; i < vm->port_count; i++)
        if (vm->ports[i].interned == name) /* short strings are the same when they are equal */
            return vm->ports[i].port;
    for (size_t i = 0; i < vm->port_count; i++)
        if (strcmp(vm->ports[i].interned, name) == 0)
            return vm->ports[i].port;
    unknown_port(L, vm, what, idx);
    return NULL;
}

WEIR_L_RAISES static void read_deadline(lua_State *L, const char *what, struct weir_parcel *p)
{
    double seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;
    if (!(seconds >= 0.0 && seconds < 1e9))
        luaL_error(L, "%s: the deadline must be a number of seconds from now, at least 0", what);
    p->has_deadline = true;
    p->deadline_ns = weir_clock_ns() + (uint64_t)(seconds * 1e9);
}

WEIR_L_RAISES static void check_key(lua_State *L, const char *what)
{
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
        luaL_error(L, "%s: the key must be a string, a number or a boolean, it is a %s", what, luaL_typename(L, -1));
}

/* The event at the top of the stack, by its place in the batch or `true`, whose call is to be passed on. */
WEIR_L_RAISES static struct weir_event *check_call(lua_State *L, const char *what)
{
    struct weir_call *call = weir_call_with_event(L, what);
    lua_Integer i = 1;
    if (lua_type(L, -1) == LUA_TNUMBER)
        i = lua_tointeger(L, -1);
    else if (lua_type(L, -1) != LUA_TBOOLEAN)
        luaL_error(L, "%s: call must be true, or which event of the batch, it is a %s", what, luaL_typename(L, -1));
    else if (call->count > 1)
        luaL_error(L, "%s: call must say which event of the batch: call = 1", what);
    if (i < 1 || (lua_Unsigned)i > call->count)
        luaL_error(L, "%s: call: there is no such event in the batch", what);
    struct weir_event *ev = call->evs[i - 1];
    if (ev->call == WEIR_EVENT_CALL_NONE)
        luaL_error(L, "%s: call: no stage waits for the answer to this event (it did not come by weir.call)", what);
    if (ev->call != WEIR_EVENT_CALL_DUE)
        luaL_error(L, "%s: call: the call was %s already", what, ev->call == WEIR_EVENT_CALL_ANSWERED ? "answered" : "passed on");
    return ev;
}

WEIR_L_RAISES static void read_option(lua_State *L, const char *what, struct weir_parcel *p)
{
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    if (strcmp(name, "class") == 0) {
        p->class_index = weir_config_check_class(L, -1, what);
    } else if (strcmp(name, "deadline") == 0) {
        read_deadline(L, what, p);
    } else if (strcmp(name, "key") == 0) {
        check_key(L, what);
        p->has_key = true;
    } else if (strcmp(name, "call") == 0) {
        p->passes_call = lua_type(L, -1) != LUA_TBOOLEAN || lua_toboolean(L, -1);
        if (p->passes_call)
            p->holder = check_call(L, what);
    } else {
        luaL_error(L, "%s: there is no option '%s'; it takes class, deadline, key, call", what, name);
    }
}

WEIR_L_RAISES static void read_options(lua_State *L, const char *what, int idx, struct weir_parcel *p)
{
    if (lua_isnoneornil(L, idx))
        return;
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: the options must be a table, they are a %s", what, luaL_typename(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        read_option(L, what, p);
        lua_pop(L, 1);
    }
}

WEIR_L_RAISES static void encode_vars(lua_State *L, const struct weir_request_ud *u, struct weir_parcel *p)
{
    p->has_vars = u->http != NULL && weir_request_ud_push_vars(L, u);
    if (!p->has_vars)
        return;
    weir_convert_encode(L, -1, "req.vars", &p->vars);
    if (p->vars.request != NULL)
        luaL_error(L, "req.vars: a request can't be sent in vars");
}

/* What moves along has one holder, so it can't go to a list. */
WEIR_L_RAISES static void check_moves(lua_State *L, const char *what, struct weir_parcel *p)
{
    if (p->passes_call && p->value.request != NULL)
        luaL_error(L, "%s: a call that is passed on can't carry an HTTP request, too", what);
    if (p->port->edge_count > 1)
        luaL_error(L, "%s: a %s can't be sent to '%s', which goes to several stages", what, p->passes_call ? "call" : "request",
                   p->port->name);
    if (p->passes_call)
        return;
    p->holder = weir_request_ud_event(p->value.request);
    encode_vars(L, p->value.request, p);
}

WEIR_L_RAISES void weir_parcel_read(lua_State *L, const char *what, const char *path, int idx, struct weir_parcel *ret)
{
    ret->port = find_port(L, weir_vm_of(L), what, idx);
    ret->class_index = -1;
    ret->has_deadline = ret->has_key = ret->has_vars = ret->passes_call = false;
    ret->holder = NULL;
    read_options(L, what, idx + 2, ret);
    weir_convert_encode(L, idx + 1, path, &ret->value);
    if (ret->has_key) {
        lua_pushliteral(L, "key");
        lua_rawget(L, idx + 2);
        weir_convert_encode(L, -1, "key", &ret->key);
    }
    if (ret->value.request != NULL || ret->passes_call)
        check_moves(L, what, ret);
}

/* --- the event --- */

/* From the event that is handled; a fiber has none. */
static struct weir_event *make_empty(struct weir_vm *vm, const struct weir_event *parent)
{
    struct weir_worker *w = vm->seat->worker;
    struct weir_event *ev = parent != NULL ? weir_event_create_from(w, parent) : weir_event_create(w);
    if (ev != NULL && parent == NULL)
        ev->arrival_ns = weir_worker_now(w);
    return ev;
}

/* The request goes from its holder to `ev`. */
static void move_request(const struct weir_parcel *p, struct weir_event *ev, struct weir_value vars)
{
    struct weir_event *holder = p->holder;
    ev->request = holder->request;
    holder->request = NULL;
    if (p->passes_call) {
        ev->call = WEIR_EVENT_CALL_DUE;
        holder->call = WEIR_EVENT_CALL_PASSED_ON;
    }
    if (p->has_vars) {
        struct weir_http_request *http = p->value.request->http;
        weir_value_unref(http->vars);
        http->vars = vars;
    }
}

struct weir_event *weir_parcel_make(struct weir_call *call, const struct weir_parcel *p)
{
    struct weir_vm *vm = call->vm;
    struct weir_value value = WEIR_VALUE_NOTHING, vars = WEIR_VALUE_NOTHING, key = WEIR_VALUE_NOTHING;
    struct weir_event *ev = NULL;
    if (weir_convert_take(vm, &p->value, &value) && (!p->has_vars || weir_convert_take(vm, &p->vars, &vars)) &&
        (!p->has_key || weir_convert_take(vm, &p->key, &key)))
        ev = make_empty(vm, p->holder != NULL ? p->holder : call->one);
    if (ev == NULL) {
        weir_value_unref(value);
        weir_value_unref(vars);
        weir_value_unref(key);
        return NULL;
    }
    ev->value = value;
    if (p->has_key)
        weir_event_set_key(ev, key);
    if (p->class_index >= 0)
        ev->class_index = (uint8_t)p->class_index;
    if (p->has_deadline)
        ev->deadline_ns = p->deadline_ns;
    if (p->holder != NULL)
        move_request(p, ev, vars);
    return ev;
}

void weir_parcel_take_back(struct weir_call *call, struct weir_event *holder, struct weir_event *ev)
{
    if (holder != NULL)
        holder->request = ev->request;
    if (holder != NULL && ev->call == WEIR_EVENT_CALL_DUE)
        holder->call = WEIR_EVENT_CALL_DUE;
    ev->request = NULL;
    weir_event_free(call->vm->seat->worker, ev);
}

void weir_parcel_abandon(struct weir_call *call, struct weir_event *ev)
{
    struct weir_worker *w = call->vm->seat->worker;
    struct weir_request *r = ev->request;
    ev->request = NULL;
    if (r != NULL)
        r->ops->end(r, w, WEIR_REQUEST_DROPPED);
    weir_event_free(w, ev);
}

/* --- cycles --- */

bool weir_parcel_closes_cycle(const struct weir_parcel *p)
{
    const struct weir_reply *reply = p->passes_call ? weir_reply_of(p->holder->request) : NULL;
    return reply != NULL && weir_reply_closes_cycle(reply, &p->port->edges[0]);
}

void weir_parcel_report_cycle(const struct weir_vm *vm, const char *what, struct weir_port *port)
{
    char where[128];
    if (atomic_exchange_explicit(&port->edges[0].cycle_noted, true, memory_order_relaxed))
        return; /* once for each edge: it is the graph that is wrong, and callers are told each time */
    weir_lua_log_where(vm, where, sizeof where);
    weir_log(WEIR_LOG_WARN, where, NULL,
             "%s to '%s' was refused ('cycle'): stage '%s' waits for the answer already, so that it would wait for itself", what, port->name,
             port->edges[0].target->name);
}

/* --- results --- */

WEIR_L_RAISES int weir_parcel_push_verdict(lua_State *L, enum weir_verdict verdict)
{
    if (verdict != WEIR_VERDICT_ACCEPTED)
        return weir_api_push_reason(L, weir_verdict_text(verdict));
    lua_pushboolean(L, 1);
    return 1;
}
