#include "lua/preempt.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/watch.h"
#include "lua/script.h"

#ifdef __SANITIZE_THREAD__
enum { STANDING_COUNT = 1000 };
#else
enum { STANDING_COUNT = 0 };
#endif

static void hook(lua_State *L, lua_Debug *ar);

/* --- what the limits are --- */

static void format_ns(uint64_t ns, char *text, size_t size)
{
    if (ns % WEIR_NS_PER_S == 0)
        snprintf(text, size, "%llus", (unsigned long long)(ns / WEIR_NS_PER_S));
    else
        snprintf(text, size, "%gms", (double)ns / 1e6);
}

void weir_preempt_describe(const struct weir_vm *vm, enum weir_reason reason, char *text, size_t size)
{
    const struct weir_watch_limits *limits = &vm->logic.limits;
    char limit[32];
    if (vm->script->of_source && reason == WEIR_REASON_STALL) {
        format_ns(limits->stall_ns, limit, sizeof limit);
        snprintf(text, size, "ended: over %s, which is all that a function for a source may take", limit);
        return;
    }
    switch (reason) {
    case WEIR_REASON_CPU:
        format_ns(limits->cpu_ns, limit, sizeof limit);
        snprintf(text, size, "ended: over limits.cpu (%s)", limit);
        return;
    case WEIR_REASON_WALL:
        format_ns(limits->wall_ns, limit, sizeof limit);
        snprintf(text, size, "ended: over limits.wall (%s)", limit);
        return;
    case WEIR_REASON_STALL:
        format_ns(limits->stall_ns, limit, sizeof limit);
        snprintf(text, size, "ended: over limits.stall (%s) where it can't be interrupted (a C function; a sort "
                 "comparator, a gsub callback, a metamethod or __close called from C)", limit);
        return;
    case WEIR_REASON_DEADLINE:
        snprintf(text, size, "ended: its deadline passed");
        return;
    default:
        snprintf(text, size, "ended: %s", weir_reason_text(reason));
    }
}

/* --- the hook --- */

static void arm(struct weir_vm *vm, lua_State *co)
{
    vm->armed = true;
    lua_sethook(co, hook, LUA_MASKCOUNT, 1);
}

static void disarm(lua_State *co)
{
    lua_sethook(co, STANDING_COUNT > 0 ? hook : NULL, STANDING_COUNT > 0 ? LUA_MASKCOUNT : 0, STANDING_COUNT);
}

static bool can_yield(lua_State *L, const struct weir_vm *vm)
{
    return vm->running != NULL && !vm->blocked && lua_isyieldable(L);
}

/* What an order means for the code that runs on `L`: NONE: it may go on. */
static enum weir_reason doom_of(enum weir_watch_order order, lua_State *L, const struct weir_vm *vm)
{
    switch (order) {
    case WEIR_WATCH_CPU:
        return WEIR_REASON_CPU;
    case WEIR_WATCH_WALL:
        return WEIR_REASON_WALL;
    case WEIR_WATCH_STALL: /* a script that loads holds up nobody: its CPU limit has to do */
        return can_yield(L, vm) || vm->phase != WEIR_VM_SERVING ? WEIR_REASON_NONE : WEIR_REASON_STALL;
    default:
        return WEIR_REASON_NONE;
    }
}

static void doom(struct weir_vm *vm, enum weir_reason reason)
{
    vm->doom = reason;
    vm->traced = false;
    weir_preempt_describe(vm, reason, vm->doom_text, sizeof vm->doom_text);
}

WEIR_L_RAISES void weir_preempt_raise(lua_State *L)
{
    struct weir_vm *vm = weir_vm_of(L);
    if (!vm->traced) {
        vm->traced = true; /* also if there is no memory for it */
        luaL_where(L, 0);
        lua_pushstring(L, vm->doom_text);
        lua_concat(L, 2);
        luaL_traceback(L, L, lua_tostring(L, -1), 0);
        snprintf(vm->doom_text, sizeof vm->doom_text, "%s", lua_tostring(L, -1));
    }
    lua_pushlightuserdata(L, vm->doom_text); /* nothing that a script could use, and no allocation */
    lua_error(L);
}

WEIR_L_RAISES static void hook(lua_State *L, lua_Debug *ar)
{
    (void)ar; /* always a count */
    struct weir_vm *vm = weir_vm_of(L);
    if (vm->doom == WEIR_REASON_NONE) {
        enum weir_watch_order order = vm->watch != NULL ? weir_watch_take_order(vm->watch) : WEIR_WATCH_NONE;
        enum weir_reason reason = doom_of(order, L, vm);
        if (reason == WEIR_REASON_NONE) {
            disarm(L);
            if (order == WEIR_WATCH_NONE || !can_yield(L, vm))
                return; /* it came late; or the watchdog comes again when it stalls */
            vm->preempting = vm->suspending = true;
            lua_yield(L, 0);
            return;
        }
        doom(vm, reason);
    }
    arm(vm, L);
    weir_preempt_raise(L);
}

bool weir_preempt_doomed(lua_State *L)
{
    struct weir_vm *vm = weir_vm_of(L);
    if (vm->doom == WEIR_REASON_NONE && vm->watch != NULL) {
        enum weir_watch_order order = weir_watch_order(vm->watch);
        enum weir_reason reason = order == WEIR_WATCH_STALL && vm->phase == WEIR_VM_SERVING
                                      ? WEIR_REASON_STALL /* it may yield in Lua code, not here */
                                      : doom_of(order, L, vm);
        if (reason == WEIR_REASON_NONE)
            return false;
        (void)weir_watch_take_order(vm->watch); /* this one was taken already */
        doom(vm, reason);
        arm(vm, L);
    }
    return vm->doom != WEIR_REASON_NONE;
}

/* --- the signal --- */

/* Where the coroutine is, innermost first: "string.find (C) < app.lua:12 < app.lua:40". Reads only what a thread that sits in a C
 * function does not change. */
static void describe_place(lua_State *L, char *text, size_t size)
{
    lua_Debug ar;
    size_t len = 0;
    for (int level = 0; level < 12 && lua_getstack(L, level, &ar) != 0 && len + 1 < size; level++) {
        lua_getinfo(L, "Sln", &ar);
        int n;
        if (ar.currentline > 0)
            n = snprintf(text + len, size - len, "%s%s:%d", level > 0 ? " < " : "", ar.short_src, ar.currentline);
        else
            n = snprintf(text + len, size - len, "%s%s (%s)", level > 0 ? " < " : "", ar.name != NULL ? ar.name : "?", ar.what);
        len += n > 0 ? (size_t)n : 0;
    }
}

/* In the signal handler, on the thread that runs the VM. */
static void interrupt(void *arg)
{
    struct weir_vm *vm = arg;
    lua_State *L = vm->current;
    if (L == NULL)
        return;
    arm(vm, L);
    if (weir_watch_wants_place(vm->watch))
        describe_place(L, vm->watch->where, sizeof vm->watch->where);
}

/* --- who runs --- */

void weir_preempt_limit(struct weir_vm *vm, const struct weir_watch_limits *limits)
{
    weir_watch_logic_init(&vm->logic, limits, vm->seat != NULL ? vm->seat->stage : NULL, interrupt, vm);
}

void weir_preempt_prepare(struct weir_vm *vm)
{
    weir_preempt_limit(vm, &vm->script->limits);
    if (STANDING_COUNT > 0)
        disarm(vm->L);
}

void weir_preempt_disarm(struct weir_vm *vm)
{
    vm->armed = false;
    if (vm->current != NULL)
        disarm(vm->current);
}

void weir_preempt_switch(struct weir_vm *vm, lua_State *co)
{
    vm->current = co;
    if (vm->doom != WEIR_REASON_NONE)
        arm(vm, co);
}

/* --- xpcall --- */

/* Upvalue: the script's message handler, which the stock xpcall would call in the place of the error: with hooks off when a hook raised
 * it. */
WEIR_L_RAISES static int l_handle_message(lua_State *L)
{
    if (weir_vm_of(L)->doom != WEIR_REASON_NONE)
        return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

WEIR_L_RAISES static int xpcall_end(lua_State *L, int status, lua_KContext extra)
{
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_pushboolean(L, 0);
        lua_pushvalue(L, -2);
        return 2;
    }
    return lua_gettop(L) - (int)extra;
}

/* xpcall(f, msgh, ...), as the stock one. */
WEIR_L_RAISES static int l_xpcall(lua_State *L)
{
    int n = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, l_handle_message, 1);
    lua_replace(L, 2);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* function, handler, true, function, arguments */
    return xpcall_end(L, lua_pcallk(L, n - 2, LUA_MULTRET, 2, 2, xpcall_end), 2);
}

WEIR_L_RAISES void weir_preempt_open(lua_State *L)
{
    lua_pushcfunction(L, l_xpcall);
    lua_setglobal(L, "xpcall");
}
