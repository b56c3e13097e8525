/* weir.emit: a value is encoded, becomes an event that inherits from the one being handled, and is offered to
 * the port. When the target is full and the edge says `wait`, the call is suspended until the verdict falls.
 */
#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "core/event.h"
#include "core/port.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "io/http_request.h"
#include "lua/api.h"
#include "lua/call.h"
#include "lua/config.h"
#include "lua/convert.h"
#include "lua/request_ud.h"

enum { BUFFER_KEEP = 64 * 1024 }; /* a VM's buffer larger than this is given back after the emit */

/* What the third argument says. */
struct options {
    int class_index; /* -1: inherited */
    bool has_deadline;
    uint64_t deadline_ns;
    bool has_key; /* it is read again when the event is encoded */
};

WEIR_L_RAISES static int unknown_port(lua_State *L, const struct weir_vm *vm)
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
    return luaL_error(L, "weir.emit: stage '%s' has no port '%s'; %s", stage->name, lua_tostring(L, 1),
                      lua_tostring(L, -1));
}

WEIR_L_RAISES static struct weir_port *find_port(lua_State *L, const struct weir_vm *vm)
{
    const char *name = weir_api_check_string(L, 1, "weir.emit: the port");
    for (size_t i = 0; i < vm->port_count; i++)
        if (vm->ports[i].interned == name) /* short strings are the same when they are equal */
            return vm->ports[i].port;
    for (size_t i = 0; i < vm->port_count; i++)
        if (strcmp(vm->ports[i].interned, name) == 0)
            return vm->ports[i].port;
    unknown_port(L, vm);
    return NULL;
}

WEIR_L_RAISES static void check_key(lua_State *L)
{
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
        luaL_error(L, "weir.emit: the key must be a string, a number or a boolean, it is a %s",
                   luaL_typename(L, -1));
}

WEIR_L_RAISES static void read_option(lua_State *L, struct options *o)
{
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    if (strcmp(name, "class") == 0) {
        o->class_index = weir_config_check_class(L, -1, "weir.emit");
    } else if (strcmp(name, "deadline") == 0) {
        double seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;
        if (!(seconds >= 0.0 && seconds < 1e9))
            luaL_error(L, "weir.emit: the deadline must be a number of seconds from now, at least 0");
        o->has_deadline = true;
        o->deadline_ns = weir_clock_ns() + (uint64_t)(seconds * 1e9);
    } else if (strcmp(name, "key") == 0) {
        check_key(L);
        o->has_key = true;
    } else {
        luaL_error(L, "weir.emit: there is no option '%s'; it takes class, deadline, key", name);
    }
}

WEIR_L_RAISES static void read_options(lua_State *L, struct options *o)
{
    *o = (struct options){.class_index = -1};
    if (lua_isnoneornil(L, 3))
        return;
    if (!lua_istable(L, 3))
        luaL_error(L, "weir.emit: the options must be a table, they are a %s", luaL_typename(L, 3));
    lua_pushnil(L);
    while (lua_next(L, 3)) {
        read_option(L, o);
        lua_pop(L, 1);
    }
}

/* Everything of an emit that may raise is done when this is filled in. */
struct parcel {
    struct weir_port *port;
    struct options options;
    struct weir_encoded value, vars, key;
    bool has_vars;
};

WEIR_L_RAISES static void encode_vars(lua_State *L, const struct weir_request_ud *u, struct parcel *p)
{
    p->has_vars = u->http != NULL && weir_request_ud_push_vars(L, u);
    if (!p->has_vars)
        return;
    weir_convert_encode(L, -1, "req.vars", &p->vars);
    if (p->vars.request != NULL)
        luaL_error(L, "req.vars: a request can't be sent in vars");
}

/* From the event that is handled; a fiber has none. */
static struct weir_event *make_empty(struct weir_vm *vm, const struct weir_event *parent)
{
    struct weir_worker *w = vm->seat->worker;
    struct weir_event *ev = parent != NULL ? weir_event_create_from(w, parent) : weir_event_create(w);
    if (ev != NULL && parent == NULL)
        ev->arrival_ns = weir_worker_now(w);
    return ev;
}

/* The event, with the request in it; NULL: no memory, and nothing has changed. */
static struct weir_event *make_event(struct weir_call *call, const struct parcel *p,
                                     struct weir_event *holder)
{
    struct weir_vm *vm = call->vm;
    struct weir_value value = WEIR_VALUE_NOTHING, vars = WEIR_VALUE_NOTHING, key = WEIR_VALUE_NOTHING;
    struct weir_event *ev = NULL;
    if (weir_convert_take(vm, &p->value, &value) && (!p->has_vars || weir_convert_take(vm, &p->vars, &vars)) &&
        (!p->options.has_key || weir_convert_take(vm, &p->key, &key)))
        ev = make_empty(vm, holder != NULL ? holder : call->one);
    if (ev == NULL) {
        weir_value_unref(value);
        weir_value_unref(vars);
        weir_value_unref(key);
        return NULL;
    }
    ev->value = value;
    weir_event_set_key(ev, key);
    if (p->options.class_index >= 0)
        ev->class_index = (uint8_t)p->options.class_index;
    if (p->options.has_deadline)
        ev->deadline_ns = p->options.deadline_ns;
    if (holder != NULL) {
        ev->request = holder->request;
        holder->request = NULL;
    }
    if (p->has_vars) {
        struct weir_http_request *http = p->value.request->http;
        weir_value_unref(http->vars);
        http->vars = vars;
    }
    return ev;
}

/* The event was refused: its request goes back to where it came from. */
static void take_back(struct weir_call *call, struct weir_event *holder, struct weir_event *ev)
{
    if (holder != NULL)
        holder->request = ev->request;
    ev->request = NULL;
    weir_event_free(call->vm->seat->worker, ev);
}

/* The verdict on an emission that waited. */
static void emission_done(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    struct weir_call *call = WEIR_LIST_ENTRY(em, struct weir_call, emission);
    struct weir_worker *w = call->vm->seat->worker;
    call->verdict = verdict;
    if (call->orphan) {
        struct weir_request *r = ev != NULL ? ev->request : NULL;
        if (ev != NULL)
            ev->request = NULL;
        if (r != NULL)
            r->ops->end(r, w, WEIR_REQUEST_DROPPED);
        weir_event_free(w, ev);
        weir_call_forget(call);
        return;
    }
    if (ev != NULL)
        take_back(call, call->moved_from, ev);
    weir_call_continue(call);
}

/* Its verdict will come; until then the emission must stay in place. */
static bool stop_emitting(struct weir_wait *wait)
{
    (void)wait;
    return false;
}

WEIR_L_RAISES static int push_verdict(lua_State *L, enum weir_verdict verdict)
{
    if (verdict == WEIR_VERDICT_ACCEPTED) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, weir_verdict_text(verdict));
    return 2;
}

WEIR_L_RAISES static int l_emit_end(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    return push_verdict(L, weir_vm_of(L)->running->verdict);
}

static bool would_wait(const struct weir_port *port)
{
    for (size_t i = 0; i < port->edge_count; i++)
        if (port->edges[i].overflow.policy == WEIR_OVERFLOW_WAIT)
            return true;
    return false;
}

static void shrink_buffer(struct weir_vm *vm)
{
    vm->buffer.len = 0;
    if (vm->buffer.cap <= BUFFER_KEEP)
        return;
    weir_vm_buffer_free(&vm->buffer);
}

WEIR_L_RAISES static int l_emit(lua_State *L)
{
    struct weir_call *call = weir_call_running(L, "weir.emit");
    struct weir_vm *vm = call->vm;
    struct parcel p;
    p.port = find_port(L, vm);
    p.has_vars = false;
    read_options(L, &p.options);
    vm->buffer.len = 0;
    weir_convert_encode(L, 2, "event", &p.value);
    if (p.options.has_key) {
        lua_getfield(L, 3, "key");
        weir_convert_encode(L, -1, "key", &p.key);
    }
    struct weir_event *holder = NULL;
    if (p.value.request != NULL) {
        if (p.port->edge_count > 1)
            return luaL_error(L, "weir.emit: a request can't be sent to '%s', which goes to several stages",
                              p.port->name);
        holder = weir_request_ud_event(p.value.request);
        encode_vars(L, p.value.request, &p);
    }
    struct weir_emission *em = weir_call_can_wait(L) ? &call->emission : NULL;
    /* nothing raises from here to the verdict */
    struct weir_event *ev = make_event(call, &p, holder);
    shrink_buffer(vm);
    if (ev == NULL)
        return push_verdict(L, WEIR_VERDICT_NOMEM);
    call->emission.done = emission_done;
    enum weir_verdict verdict = weir_port_emit(vm->seat, p.port, ev, em);
    if (verdict == WEIR_VERDICT_ACCEPTED) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (verdict == WEIR_VERDICT_PENDING) {
        call->moved_from = holder;
        call->own_wait.cancel = stop_emitting;
        return weir_call_suspend(L, &call->own_wait, l_emit_end);
    }
    take_back(call, holder, ev);
    if (verdict == WEIR_VERDICT_FULL && em == NULL && would_wait(p.port))
        weir_call_check_can_wait(L, "weir.emit");
    return push_verdict(L, verdict);
}

WEIR_L_RAISES void weir_api_emit_open(lua_State *L)
{
    lua_pushcfunction(L, l_emit);
    lua_setfield(L, -2, "emit");
}
