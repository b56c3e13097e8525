#include "lua/call.h"

#include <lauxlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/event.h"
#include "core/seat.h"
#include "core/worker.h"
#include "lua/convert.h"
#include "lua/handler.h"
#include "lua/request_ud.h"
#include "lua/stream_ud.h"

enum {
    IDLE_MAX = 64, /* coroutines kept for the next calls; more are left to the collector */
};

/* --- the coroutine's side --- */

/* Ends the body: the handler has returned, or failed with the text at the top of the stack. */
WEIR_L_RAISES static int l_body_end(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx; /* the call is the running one */
    struct weir_vm *vm = weir_vm_of(L);
    struct weir_call *call = vm->running;
    if (status != LUA_OK && status != LUA_YIELD) {
        call->reason = status == LUA_ERRMEM ? WEIR_REASON_MEMORY : WEIR_REASON_ERROR;
        if (status == LUA_ERRMEM)
            vm->broken = true;
        weir_lua_report_failure(vm, call, weir_vm_error_text(L, status));
    }
    if (vm->used > vm->soft)
        lua_gc(L, LUA_GCSTEP, 0);
    return 0;
}

WEIR_L_RAISES static void push_argument(lua_State *L, struct weir_call *call)
{
    if (!call->vm->takes_batches) {
        weir_convert_push(L, call->one->value, 0);
        return;
    }
    lua_createtable(L, (int)call->count, 1);
    for (size_t i = 0; i < call->count; i++) {
        weir_convert_push(L, call->evs[i]->value, i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(L, (lua_Integer)call->count);
    lua_setfield(L, -2, "n");
}

/* The body of every pooled coroutine. Upvalues: the handler, the call. */
WEIR_L_RAISES static int l_body(lua_State *L)
{
    lua_pushcfunction(L, weir_l_traceback);
    lua_pushvalue(L, lua_upvalueindex(1));
    push_argument(L, lua_touserdata(L, lua_upvalueindex(2)));
    return l_body_end(L, lua_pcallk(L, 1, 0, 1, 0, l_body_end), 0);
}

/* --- the pool --- */

WEIR_L_RAISES static int l_make_thread(lua_State *L)
{
    struct weir_call *call = lua_touserdata(L, 1);
    lua_State *co = lua_newthread(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->vm->handle_ref);
    lua_pushlightuserdata(L, call);
    lua_pushcclosure(L, l_body, 2);
    lua_xmove(L, co, 1); /* stays at the bottom of its stack */
    call->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    call->co = co;
    weir_vm_thread_set(co, WEIR_VM_THREAD_OF_CALL, true);
    return 0;
}

static struct weir_call *make_call(struct weir_vm *vm)
{
    struct weir_call *call;
    if (!weir_list_empty(&vm->bare)) {
        call = WEIR_LIST_ENTRY(weir_list_take_first(&vm->bare), struct weir_call, node);
    } else {
        call = weir_calloc(1, sizeof *call);
        if (call == NULL)
            return NULL;
        call->vm = vm;
        weir_list_init(&call->node);
    }
    call->co = NULL;
    call->co_ref = LUA_NOREF;
    if (weir_vm_call(vm, l_make_thread, call, NULL) == WEIR_OK)
        return call;
    vm->broken = true;
    weir_list_append(&vm->bare, &call->node);
    return NULL;
}

/* The array that the events came in is the caller's. */
static bool keep_events(struct weir_call *call, struct weir_event **evs, size_t count)
{
    struct weir_event **copy = &call->one;
    if (count > 1) {
        copy = weir_malloc(count * sizeof *copy);
        if (copy == NULL)
            return false;
        memcpy(copy, evs, count * sizeof *copy);
    }
    call->one = evs[0];
    call->evs = copy;
    call->count = count;
    return true;
}

struct weir_call *weir_call_take(struct weir_vm *vm, struct weir_event **evs, size_t count)
{
    struct weir_call *call;
    if (!weir_list_empty(&vm->idle)) {
        call = WEIR_LIST_ENTRY(weir_list_take_first(&vm->idle), struct weir_call, node);
        vm->idle_count--;
    } else {
        call = make_call(vm);
        if (call == NULL)
            return NULL;
    }
    if (!keep_events(call, evs, count)) {
        weir_list_prepend(&vm->idle, &call->node);
        vm->idle_count++;
        return NULL;
    }
    call->reason = WEIR_REASON_NONE;
    call->wait = WEIR_CALL_WAITS_NOT;
    call->cancelled = false;
    vm->live++;
    return call;
}

/* Gives its coroutine up: it is in the middle of something, or there are enough. luaL_unref allocates
 * nothing. */
static void drop_thread(struct weir_call *call)
{
    weir_vm_thread_set(call->co, WEIR_VM_THREAD_OF_CALL,
                       true); /* stays untouchable for scripts that kept it */
    luaL_unref(call->vm->L, LUA_REGISTRYINDEX, call->co_ref);
    call->co = NULL;
    call->co_ref = LUA_NOREF;
}

static void give_back(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    if (call->co != NULL && vm->idle_count >= IDLE_MAX)
        drop_thread(call);
    if (call->co != NULL) {
        weir_list_prepend(&vm->idle, &call->node);
        vm->idle_count++;
    } else {
        weir_list_append(&vm->bare, &call->node);
    }
    vm->live--;
}

/* --- the host's side --- */

static void end_events(struct weir_call *call, enum weir_reason reason)
{
    struct weir_event **evs = call->evs;
    call->serial++; /* handles that the script kept are dead from here on */
    if (call->has_vars)
        weir_request_ud_forget_vars(call);
    if (call->open_streams > 0)
        weir_stream_ud_end_call(call);
    for (size_t i = 0; i < call->count; i++)
        weir_seat_end(call->vm->seat, evs[i], reason);
    if (evs != &call->one)
        weir_free(evs);
    call->evs = NULL;
    call->count = 0;
}

/* Its body raised, outside the handler: no memory for the event, or bytes that are no value. The coroutine is
 * of no more use. */
static void fail_body(struct weir_call *call, int status)
{
    call->reason = status == LUA_ERRMEM ? WEIR_REASON_MEMORY : WEIR_REASON_ERROR;
    if (status == LUA_ERRMEM)
        call->vm->broken = true;
    weir_lua_report_failure(call->vm, call, weir_vm_error_text(call->co, status));
    lua_resetthread(call->co);
    drop_thread(call);
}

static void run(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    int results;
    vm->running = call;
    vm->blocked = false;
    int status = lua_resume(call->co, vm->L, 0, &results);
    vm->running = NULL;
    if (status == LUA_YIELD) { /* only the host's: the script's own yields end at their resume (coro.c) */
        vm->suspending = false;
        weir_vm_thread_set(call->co, WEIR_VM_THREAD_WAITS, true);
        weir_list_append(&vm->suspended, &call->node);
        return;
    }
    if (status != LUA_OK)
        fail_body(call, status);
    else
        lua_settop(call->co, 1);
    end_events(call, call->reason);
    give_back(call);
    vm->broken |= vm->refused; /* a library asked the allocator itself and took the refusal */
    if (vm->broken)
        weir_lua_settle(vm);
}

void weir_call_start(struct weir_call *call)
{
    lua_pushvalue(call->co, 1);
    run(call);
}

void weir_call_continue(struct weir_call *call)
{
    weir_list_remove(&call->node);
    weir_vm_thread_set(call->co, WEIR_VM_THREAD_WAITS, false);
    run(call);
}

static void stop_waiting(struct weir_call *call)
{
    switch (call->wait) {
    case WEIR_CALL_WAITS_BODY:
        weir_http_read_cancel(call->reading, &call->http_wait);
        break;
    case WEIR_CALL_WAITS_STREAM:
        weir_stream_ud_cut(call->writing);
        break;
    case WEIR_CALL_WAITS_EMIT: /* its verdict will come; until then the emission must stay in place */
        call->cancelled = true;
        break;
    case WEIR_CALL_WAITS_NOT:
        break;
    }
}

static void cancel(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    weir_list_remove(&call->node);
    stop_waiting(call);
    vm->blocked = true;
    lua_resetthread(call->co); /* runs its `__close`, which can't use the host any more */
    drop_thread(call);
    call->reason = WEIR_REASON_CANCELLED;
    end_events(call, call->reason);
    if (call->cancelled)
        weir_list_append(&vm->orphans, &call->node);
    else
        give_back(call);
}

void weir_call_forget(struct weir_call *call)
{
    weir_list_remove(&call->node);
    give_back(call);
    if (call->vm->broken)
        weir_lua_settle(call->vm);
}

void weir_call_cancel_all(struct weir_vm *vm)
{
    while (!weir_list_empty(&vm->suspended))
        cancel(WEIR_LIST_ENTRY(vm->suspended.next, struct weir_call, node));
}

static void free_list(struct weir_list *list)
{
    while (!weir_list_empty(list)) {
        struct weir_call *call = WEIR_LIST_ENTRY(weir_list_take_first(list), struct weir_call, node);
        if (call->evs != &call->one)
            weir_free(call->evs);
        weir_free(call);
    }
}

void weir_call_free_all(struct weir_vm *vm)
{
    free_list(&vm->idle);
    free_list(&vm->bare);
    free_list(&vm->suspended);
    free_list(&vm->orphans);
}

/* --- suspension --- */

bool weir_call_can_wait(lua_State *L)
{
    struct weir_vm *vm = weir_vm_of(L);
    return vm->running != NULL && !vm->blocked && lua_isyieldable(L);
}

WEIR_L_RAISES void weir_call_check_can_wait(lua_State *L, const char *what)
{
    if (!weir_call_can_wait(L))
        luaL_error(L,
                   "%s can't wait here: it is called from inside a function that can't be suspended "
                   "(a sort comparator, a gsub callback, a metamethod called from C)",
                   what);
}

WEIR_L_RAISES struct weir_call *weir_call_running(lua_State *L, const char *what)
{
    struct weir_vm *vm = weir_vm_of(L);
    if (vm->running == NULL)
        luaL_error(L, "%s can't be used here: no event is being handled (%s)", what,
                   vm->phase == WEIR_VM_LOADING ? "the script is being loaded"
                   : vm->phase == WEIR_VM_INIT  ? "init runs"
                                                : "its call has ended");
    return vm->running;
}

WEIR_L_RAISES int weir_call_suspend(lua_State *L, enum weir_call_wait wait, lua_KFunction k)
{
    struct weir_vm *vm = weir_vm_of(L);
    vm->running->wait = wait;
    vm->suspending = true;
    return lua_yieldk(L, 0, 0, k);
}
