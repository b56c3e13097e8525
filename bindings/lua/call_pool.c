#include "lua/call_pool.h"

#include <lauxlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/event.h"
#include "core/seat.h"
#include "lua/convert.h"

enum {
    IDLE_MAX = 64,    /* coroutines kept for the next calls; more are left to the collector */
    ERROR_MAX = 4096, /* bytes of an error's text and traceback that are kept */
};

/* --- the coroutine's side --- */

void weir_call_keep_error(struct weir_call *call, const char *text)
{
    weir_free(call->error);
    call->error = weir_asprintf("%.*s", ERROR_MAX, text); /* NULL: no memory, and the reason has to do */
}

/* Ends the body: the handler has returned, or failed with the text at the top of the stack. */
WEIR_L_RAISES static int l_body_end(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx; /* the call is the running one */
    struct weir_vm *vm = weir_vm_of(L);
    struct weir_call *call = vm->running;
    if (vm->doom != WEIR_REASON_NONE) {
        call->reason = vm->doom;
        weir_call_keep_error(call, vm->doom_text);
    } else if (status != LUA_OK && status != LUA_YIELD) {
        call->reason = status == LUA_ERRMEM ? WEIR_REASON_MEMORY : WEIR_REASON_ERROR;
        vm->broken |= status == LUA_ERRMEM;
        weir_call_keep_error(call, weir_vm_error_text(L, status));
    } else if (vm->used > vm->soft) {
        lua_gc(L, LUA_GCSTEP, 0);
    }
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

/* The body of every pooled coroutine. Upvalues: the handler, the call. A fiber's function and arguments are on the stack. */
WEIR_L_RAISES static int l_body(lua_State *L)
{
    struct weir_call *call = lua_touserdata(L, lua_upvalueindex(2));
    lua_pushcfunction(L, weir_l_traceback);
    lua_insert(L, 1);
    if (call->count > 0) {
        lua_pushvalue(L, lua_upvalueindex(1));
        push_argument(L, call);
    }
    return l_body_end(L, lua_pcallk(L, lua_gettop(L) - 2, 0, 1, 0, l_body_end), 0);
}

/* --- the pool --- */

/* The coroutine of a call that has none. */
WEIR_L_RAISES static void make_thread(lua_State *L, struct weir_call *call)
{
    lua_State *co = lua_newthread(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->vm->handle_ref);
    lua_pushlightuserdata(L, call);
    lua_pushcclosure(L, l_body, 2);
    lua_xmove(L, co, 1); /* stays at the bottom of its stack */
    call->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    call->co = co;
    weir_vm_thread_set(co, WEIR_VM_THREAD_OF_CALL, true);
}

WEIR_L_RAISES static int l_make_thread(lua_State *L)
{
    make_thread(L, lua_touserdata(L, 1));
    return 0;
}

/* The call to use next, still in its list; without a coroutine if it is a bare one. NULL: no memory. */
static struct weir_call *find_call(struct weir_vm *vm)
{
    if (!weir_list_empty(&vm->idle))
        return WEIR_LIST_ENTRY(vm->idle.next, struct weir_call, node);
    if (!weir_list_empty(&vm->bare))
        return WEIR_LIST_ENTRY(vm->bare.next, struct weir_call, node);
    struct weir_call *call = weir_calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->vm = vm;
    call->co_ref = call->deferred_ref = LUA_NOREF;
    weir_list_init(&call->aside.node);
    weir_list_append(&vm->bare, &call->node);
    return call;
}

/* The array that the events came in is the caller's. */
static bool keep_events(struct weir_call *call, struct weir_event **evs, size_t count)
{
    call->one = count > 0 ? evs[0] : NULL;
    call->evs = count > 0 ? &call->one : NULL;
    call->count = count;
    if (count <= 1)
        return true;
    call->evs = weir_malloc(count * sizeof(struct weir_event *));
    if (call->evs != NULL)
        memcpy(call->evs, evs, count * sizeof(struct weir_event *));
    return call->evs != NULL;
}

/* Takes it out of its list of unused ones. */
static void begin(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    if (call->state == WEIR_CALL_IDLE)
        vm->idle_count--;
    weir_list_remove(&call->node);
    vm->live++;
    call->state = WEIR_CALL_RUNNING;
    call->reason = WEIR_REASON_NONE;
    call->wait = NULL;
    call->orphan = call->fiber = call->background = false;
    call->args = 0;
    call->ran_ns = 0;
    call->began_ns = call->count > 0 ? call->one->started_ns : 0;
}

WEIR_L_RAISES struct weir_call *weir_call_take_in(lua_State *L)
{
    struct weir_call *call = find_call(weir_vm_of(L));
    if (call == NULL)
        return NULL;
    if (call->co == NULL)
        make_thread(L, call);
    keep_events(call, NULL, 0); /* nothing that could fail */
    begin(call);
    return call;
}

struct weir_call *weir_call_take(struct weir_vm *vm, struct weir_event **evs, size_t count)
{
    struct weir_call *call = find_call(vm);
    if (call == NULL)
        return NULL;
    if (call->co == NULL && weir_vm_call(vm, l_make_thread, call, NULL) != WEIR_OK) {
        vm->broken = true;
        return NULL;
    }
    if (!keep_events(call, evs, count))
        return NULL;
    begin(call);
    return call;
}

void weir_call_drop_thread(struct weir_call *call)
{
    weir_vm_thread_set(call->co, WEIR_VM_THREAD_OF_CALL,
                       true); /* stays untouchable for scripts that kept it */
    luaL_unref(call->vm->L, LUA_REGISTRYINDEX, call->co_ref);
    call->co = NULL;
    call->co_ref = LUA_NOREF;
}

void weir_call_give_back(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    weir_vm_buffer_shrink(&vm->buffer);
    vm->fibers -= call->fiber;
    if (call->fiber && !call->background)
        weir_ledger_add(&vm->seat->unfinished, -1);
    if (call->co != NULL && vm->idle_count >= IDLE_MAX)
        weir_call_drop_thread(call);
    call->state = call->co != NULL ? WEIR_CALL_IDLE : WEIR_CALL_BARE;
    weir_list_prepend(call->co != NULL ? &vm->idle : &vm->bare, &call->node);
    vm->idle_count += call->co != NULL;
    vm->live--;
}

static void free_list(struct weir_list *list)
{
    while (!weir_list_empty(list)) {
        struct weir_call *call = WEIR_LIST_ENTRY(weir_list_take_first(list), struct weir_call, node);
        if (call->count > 1)
            weir_free(call->evs);
        weir_free(call->error);
        weir_free(call->http_copy);
        weir_free(call);
    }
}

void weir_call_free_all(struct weir_vm *vm)
{
    free_list(&vm->idle);
    free_list(&vm->bare);
    free_list(&vm->ready);
    free_list(&vm->suspended);
    free_list(&vm->orphans);
}
