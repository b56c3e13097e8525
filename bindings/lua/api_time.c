/* weir.sleep, weir.timer, weir.fiber, weir.defer, weir.now, weir.time: waiting, and work that no event asked for. */
#include <lauxlib.h>
#include <math.h>

#include "base/clock.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "lua/api.h"
#include "lua/call.h"
#include "lua/script.h"

static const double LONGEST_S = 1e9; /* 31 years: what a nanosecond count holds with ease */

WEIR_L_RAISES static int l_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)weir_clock_ns() / 1e9);
    return 1;
}

WEIR_L_RAISES static int l_time(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)weir_clock_wall_ns() / 1e9);
    return 1;
}

WEIR_L_RAISES uint64_t weir_api_check_seconds(lua_State *L, int idx, const char *what)
{
    double s = lua_type(L, idx) == LUA_TNUMBER ? lua_tonumber(L, idx) : NAN;
    if (!(s >= 0.0 && s <= LONGEST_S))
        luaL_error(L, "%s must be a number of seconds, at least 0", what);
    return (uint64_t)(s * 1e9);
}

/* --- sleep --- */

static bool stop_sleeping(struct weir_wait *wait)
{
    weir_timer_unset(wait->call->vm->seat->worker, &wait->call->timer);
    return true;
}

static void wake(struct weir_timer *timer)
{
    weir_call_continue(WEIR_LIST_ENTRY(timer, struct weir_call, timer));
}

WEIR_L_RAISES static int l_slept(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    return 0;
}

WEIR_L_RAISES static int l_sleep(lua_State *L)
{
    uint64_t ns = weir_api_check_seconds(L, 1, "weir.sleep: the time");
    struct weir_call *call = weir_call_running(L, "weir.sleep");
    struct weir_worker *w = call->vm->seat->worker;
    weir_call_check_can_wait(L, "weir.sleep");
    call->timer.fire = wake;
    if (weir_timer_set(w, &call->timer, weir_worker_now(w) + ns) != WEIR_OK)
        return luaL_error(L, "weir.sleep: out of memory");
    call->own_wait.cancel = stop_sleeping;
    return weir_call_suspend(L, &call->own_wait, l_slept);
}

/* --- fibers --- */

WEIR_L_RAISES static struct weir_vm *check_serves(lua_State *L, const char *what)
{
    struct weir_vm *vm = weir_vm_of(L);
    if (vm->seat == NULL || vm->phase == WEIR_VM_LOADING)
        luaL_error(L, "%s can't be used while the script is being loaded; use it in init", what);
    if (vm->script->of_source)
        luaL_error(L, "%s can't be used here: this script runs in place for a source, nothing of it goes on in the background", what);
    return vm;
}

/* weir.fiber(fn, ...) -> true | nil, "full" */
WEIR_L_RAISES static int l_fiber(lua_State *L)
{
    check_serves(L, "weir.fiber");
    if (!lua_isfunction(L, 1))
        return luaL_error(L, "weir.fiber: expected a function, got %s", luaL_typename(L, 1));
    if (weir_call_begin_fiber(L, lua_gettop(L) - 1, true)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushliteral(L, "full");
    return 2;
}

/* weir.defer(fn): once the call that is running has ended, however it ends. */
WEIR_L_RAISES static int l_defer(lua_State *L)
{
    struct weir_call *call = weir_call_running(L, "weir.defer");
    if (!lua_isfunction(L, 1))
        return luaL_error(L, "weir.defer: expected a function, got %s", luaL_typename(L, 1));
    lua_settop(L, 1);
    if (call->deferred_ref == LUA_NOREF) {
        lua_createtable(L, 1, 0);
        call->deferred_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->deferred_ref);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    return 0;
}

/* --- timers --- */

/* The function is its user value. While it is set the registry keeps it, under its own address. */
struct timer_ud {
    struct weir_list node; /* of the VM's timers, while it is set */
    struct weir_timer timer;
    struct weir_vm *vm;
    uint64_t every_ns; /* 0: once */
};

WEIR_L_RAISES static int l_fire(lua_State *L)
{
    struct timer_ud *u = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, u);
    lua_getiuservalue(L, -1, 1);
    if (!weir_call_begin_fiber(L, 0, u->every_ns != 0))
        return luaL_error(L, "as many fibers run as the stage's concurrency allows");
    return 0;
}

static void unset(struct timer_ud *u)
{
    weir_list_remove(&u->node);
    if (u->vm->attached)
        weir_timer_unset(u->vm->seat->worker, &u->timer);
    lua_pushnil(u->vm->L); /* an existing key is cleared without allocating */
    lua_rawsetp(u->vm->L, LUA_REGISTRYINDEX, u);
}

static void fire(struct weir_timer *timer)
{
    struct timer_ud *u = WEIR_LIST_ENTRY(timer, struct timer_ud, timer);
    struct weir_vm *vm = u->vm;
    struct weir_worker *w = vm->seat->worker;
    struct weir_err err;
    if (weir_vm_call(vm, l_fire, u, &err) != WEIR_OK)
        weir_lua_report_timer(vm, err.text);
    if (weir_list_empty(&u->node))
        return; /* a finalizer has cancelled it */
    uint64_t next = timer->due_ns + u->every_ns;
    if (next <= w->now_ns) /* it was held up: what it missed is left out */
        next = w->now_ns + u->every_ns;
    if (u->every_ns == 0 || weir_timer_set(w, timer, next) != WEIR_OK)
        unset(u);
}

/* weir.timer(s, fn [, {every = true}]) -> timer */
WEIR_L_RAISES static int l_timer(lua_State *L)
{
    struct weir_vm *vm = check_serves(L, "weir.timer");
    uint64_t ns = weir_api_check_seconds(L, 1, "weir.timer: the time");
    if (!lua_isfunction(L, 2))
        return luaL_error(L, "weir.timer: expected a function after the time, got %s", luaL_typename(L, 2));
    bool every = lua_istable(L, 3) && lua_getfield(L, 3, "every") != LUA_TNIL && lua_toboolean(L, -1);
    if (every && ns < WEIR_NS_PER_MS)
        return luaL_error(L, "weir.timer: the time between two calls must be at least 0.001 s");
    if (every && vm->retired)
        return luaL_error(L, "weir.timer: this VM is being replaced, and its successor has timers of its own");
    struct timer_ud *u = lua_newuserdatauv(L, sizeof *u, 1);
    *u = (struct timer_ud){.vm = vm, .timer = {.fire = fire}, .every_ns = every ? ns : 0};
    weir_list_init(&u->node);
    luaL_setmetatable(L, "weir.timer");
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, u);
    u->timer.due_ns = weir_clock_ns() + ns;
    weir_list_append(&vm->timers, &u->node);
    if (vm->attached && weir_timer_set(vm->seat->worker, &u->timer, u->timer.due_ns) != WEIR_OK) {
        unset(u);
        return luaL_error(L, "weir.timer: out of memory");
    }
    return 1;
}

/* timer:cancel() -> whether it was still to fire */
WEIR_L_RAISES static int l_cancel(lua_State *L)
{
    struct timer_ud *u = luaL_checkudata(L, 1, "weir.timer");
    bool set = !weir_list_empty(&u->node);
    if (set)
        unset(u);
    lua_pushboolean(L, set);
    return 1;
}

void weir_api_time_attach(struct weir_vm *vm)
{
    WEIR_LIST_EACH(node, following, &vm->timers)
    {
        struct timer_ud *u = WEIR_LIST_ENTRY(node, struct timer_ud, node);
        if (weir_timer_set(vm->seat->worker, &u->timer, u->timer.due_ns) != WEIR_OK) {
            weir_lua_report_timer(vm, "out of memory");
            unset(u);
        }
    }
}

void weir_api_time_detach(struct weir_vm *vm)
{
    while (!weir_list_empty(&vm->timers)) {
        struct timer_ud *u = WEIR_LIST_ENTRY(vm->timers.next, struct timer_ud, node);
        weir_timer_unset(vm->seat->worker, &u->timer);
        unset(u);
    }
}

WEIR_L_RAISES void weir_api_time_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"now", l_now},     {"time", l_time},   {"sleep", l_sleep}, {"fiber", l_fiber},
                                         {"defer", l_defer}, {"timer", l_timer}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"cancel", l_cancel}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    luaL_newmetatable(L, "weir.timer");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
