#include "lua/coro.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "lua/call.h"
#include "lua/preempt.h"

WEIR_L_RAISES static lua_State *check_thread(lua_State *L, int idx)
{
    lua_State *co = lua_tothread(L, idx);
    luaL_argexpected(L, co != NULL, idx, "coroutine");
    return co;
}

/* The thread that an enclosing resume of the running C function is about: its first argument, or the upvalue
 * of a wrap. */
static lua_State *resumed_thread(lua_State *L, bool wrap)
{
    return lua_tothread(L, wrap ? lua_upvalueindex(1) : 1);
}

/* Closes what is pending in `co`: code that runs on it, from a place that can't be yielded through. */
static int reset(lua_State *L, lua_State *co)
{
    struct weir_vm *vm = weir_vm_of(L);
    bool blocked = vm->blocked;
    vm->blocked = true;
    weir_preempt_switch(vm, co);
#if LUA_VERSION_RELEASE_NUM >= 50406 /* lua_resetthread begins to count C calls anew there */
    int status = lua_closethread(co, L);
#else
    int status = lua_resetthread(co);
#endif
    weir_preempt_switch(vm, L); /* arms it, if the call was doomed meanwhile */
    vm->blocked = blocked;
    return status;
}

/* An error left by `co` for the caller of a wrap: closes `co`, adds where it was called to a text, and
 * raises. */
WEIR_L_RAISES static int raise_from(lua_State *L, lua_State *co)
{
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) {
        status = reset(L, co); /* closes its pending variables; may change the error */
        lua_xmove(co, L, 1);
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

WEIR_L_RAISES static int resume_failed(lua_State *L, lua_State *co, bool wrap)
{
    if (wrap)
        return raise_from(L, co);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

WEIR_L_RAISES static int step(lua_State *L, lua_State *co, int args, bool wrap);

WEIR_L_RAISES static int step_again(lua_State *L, int status, lua_KContext wrap)
{
    (void)status; /* always LUA_YIELD */
    lua_State *co = resumed_thread(L, wrap != 0);
    weir_vm_thread_set(co, WEIR_VM_THREAD_WAITS, false);
    return step(L, co, 0, wrap != 0);
}

/* Resumes `co` with `args` values on its stack until it yields, ends or fails; passes a yield of the host on.
 */
WEIR_L_RAISES static int step(lua_State *L, lua_State *co, int args, bool wrap)
{
    struct weir_vm *vm = weir_vm_of(L);
    bool blocked = vm->blocked;
    int results;
    vm->blocked = blocked || !lua_isyieldable(L);
    weir_preempt_switch(vm, co);
    int status = lua_resume(co, L, args, &results);
    weir_preempt_switch(vm, L);
    vm->blocked = blocked;
    if (status == LUA_YIELD && vm->suspending) {
        weir_vm_thread_set(co, WEIR_VM_THREAD_WAITS, true);
        return lua_yieldk(L, 0, wrap, step_again);
    }
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return resume_failed(L, co, wrap);
    }
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(co, results);
        lua_pushliteral(L, "too many results to resume");
        return resume_failed(L, co, wrap);
    }
    if (!wrap)
        lua_pushboolean(L, 1);
    lua_xmove(co, L, results);
    return wrap ? results : results + 1;
}

/* Begins a resume with the `args` values at the top of `L`. */
WEIR_L_RAISES static int begin(lua_State *L, lua_State *co, int args, bool wrap)
{
    const char *why = NULL;
    if (weir_vm_thread_bits(co) != 0)
        why = "cannot resume non-suspended coroutine";
    else if (lua_status(co) == LUA_OK && lua_gettop(co) == 0)
        why = "cannot resume dead coroutine";
    else if (!lua_checkstack(co, args))
        why = "too many arguments to resume";
    if (why != NULL) {
        lua_pushstring(L, why);
        return resume_failed(L, co, wrap);
    }
    lua_xmove(L, co, args);
    return step(L, co, args, wrap);
}

WEIR_L_RAISES static int l_resume(lua_State *L)
{
    lua_State *co = check_thread(L, 1);
    return begin(L, co, lua_gettop(L) - 1, false);
}

WEIR_L_RAISES static int l_wrapped(lua_State *L)
{
    return begin(L, resumed_thread(L, true), lua_gettop(L), true);
}

WEIR_L_RAISES static int l_create(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

WEIR_L_RAISES static int l_wrap(lua_State *L)
{
    l_create(L);
    lua_pushcclosure(L, l_wrapped, 1);
    return 1;
}

/* Whether `L` is the coroutine of the handler itself: to the script that is the main thread. */
static bool is_outermost(lua_State *L)
{
    return (weir_vm_thread_bits(L) & WEIR_VM_THREAD_OF_CALL) != 0;
}

WEIR_L_RAISES static int l_yield(lua_State *L)
{
    if (is_outermost(L))
        return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

WEIR_L_RAISES static int l_isyieldable(lua_State *L)
{
    lua_State *co = lua_isnone(L, 1) ? L : check_thread(L, 1);
    lua_pushboolean(L, !is_outermost(co) && lua_isyieldable(co));
    return 1;
}

WEIR_L_RAISES static int l_running(lua_State *L)
{
    bool main = lua_pushthread(L) != 0;
    lua_pushboolean(L, main || is_outermost(L));
    return 2;
}

static const char *status_text(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    if (L == co)
        return "running";
    if (weir_vm_thread_bits(co) != 0)
        return "normal"; /* it waits for the host, or is the host's */
    switch (lua_status(co)) {
    case LUA_YIELD:
        return "suspended";
    case LUA_OK:
        if (lua_getstack(co, 0, &ar))
            return "normal";
        return lua_gettop(co) == 0 ? "dead" : "suspended";
    default:
        return "dead";
    }
}

WEIR_L_RAISES static int l_status(lua_State *L)
{
    lua_pushstring(L, status_text(L, check_thread(L, 1)));
    return 1;
}

WEIR_L_RAISES static int l_close(lua_State *L)
{
    lua_State *co = check_thread(L, 1);
    const char *status = status_text(L, co);
    if (*status != 's' && *status != 'd')
        return luaL_error(L, "cannot close a %s coroutine", status);
    if (reset(L, co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

WEIR_L_RAISES void weir_coro_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"create", l_create},   {"wrap", l_wrap},     {"resume", l_resume},
        {"yield", l_yield},     {"status", l_status}, {"isyieldable", l_isyieldable},
        {"running", l_running}, {"close", l_close},   {NULL, NULL}};
    luaL_newlib(L, functions);
}
