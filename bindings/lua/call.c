#include "lua/call.h"

#include <lauxlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/event.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "lua/api.h"
#include "lua/call_pool.h"
#include "lua/handler.h"
#include "lua/log.h"
#include "lua/preempt.h"
#include "lua/request_ud.h"
#include "lua/stream_ud.h"

/* --- the host's side --- */

static struct weir_worker *worker_of(const struct weir_call *call)
{
    return call->vm->seat->worker;
}

/* --- fibers --- */

static void make_ready(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    call->state = WEIR_CALL_READY;
    weir_list_append(&vm->ready, &call->node);
    if (vm->held == NULL)
        weir_vm_schedule(vm);
}

WEIR_L_RAISES bool weir_call_begin_fiber(lua_State *L, int args, bool background)
{
    struct weir_vm *vm = weir_vm_of(L);
    bool room = vm->fibers < vm->seat->stage->concurrency && !(background && vm->retired); /* nothing would end it there */
    struct weir_call *call = room ? weir_call_take_in(L) : NULL;
    if (call == NULL || !lua_checkstack(call->co, args + 2)) {
        if (call != NULL)
            weir_call_give_back(call);
        lua_pop(L, args + 1);
        return false;
    }
    call->fiber = true;
    call->background = background;
    vm->fibers++;
    if (!background)
        weir_ledger_add(&vm->seat->unfinished, 1);
    lua_pushvalue(call->co, 1);
    lua_xmove(L, call->co, args + 1);
    call->args = args + 1;
    make_ready(call);
    return true;
}

/* Argument: a call that has ended, with functions that it put off until now. */
WEIR_L_RAISES static int l_begin_deferred(lua_State *L)
{
    struct weir_call *call = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->deferred_ref);
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        if (!weir_call_begin_fiber(L, 0, false))
            return luaL_error(L, "as many fibers run as the stage's concurrency allows");
    }
    return 0;
}

static void begin_deferred(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    struct weir_err err;
    if (weir_vm_call(vm, l_begin_deferred, call, &err) != WEIR_OK) {
        char where[128];
        weir_lua_log_where(vm, where, sizeof where);
        weir_log(WEIR_LOG_ERROR, where, NULL, "a function given to weir.defer could not be run: %s", err.text);
    }
    luaL_unref(vm->L, LUA_REGISTRYINDEX, call->deferred_ref);
    call->deferred_ref = LUA_NOREF;
}

/* --- the end --- */

static void end_events(struct weir_call *call)
{
    struct weir_event **evs = call->evs;
    call->serial++; /* handles that the script kept are dead from here on */
    if (call->reason != WEIR_REASON_NONE && call->error != NULL)
        weir_lua_report_failure(call->vm, call, call->error);
    if (call->has_vars)
        weir_request_ud_forget_vars(call);
    if (call->open_streams > 0)
        weir_stream_ud_end_call(call);
    for (size_t i = 0; i < call->count; i++)
        weir_seat_end(call->vm->seat, evs[i], call->reason, call->error);
    if (call->count > 1)
        weir_free(evs);
    call->evs = NULL;
    call->count = 0;
    weir_free(call->error);
    call->error = NULL;
    weir_free(call->http_copy);
    call->http_copy = NULL;
    weir_api_call_forget(call);
}

/* The call is over, whatever became of it. */
static void end(struct weir_call *call)
{
    if (call->deferred_ref != LUA_NOREF)
        begin_deferred(call); /* they run in a later turn, and are counted before the call is not any more */
    end_events(call);
    weir_call_give_back(call);
}

/* Its body raised, outside the handler: no memory for the event, or bytes that are no value. The coroutine is
 * of no more use. */
static void fail_body(struct weir_call *call, int status)
{
    call->reason = status == LUA_ERRMEM ? WEIR_REASON_MEMORY : WEIR_REASON_ERROR;
    if (status == LUA_ERRMEM)
        call->vm->broken = true;
    weir_call_keep_error(call, weir_vm_error_text(call->co, status));
    lua_resetthread(call->co);
    weir_call_drop_thread(call);
}

/* The end of a stretch on the VM. A doomed call may have left anything half changed. */
static void let_go(struct weir_vm *vm)
{
    if (vm->doom != WEIR_REASON_NONE) {
        vm->was_doomed = vm->broken = true;
        vm->doom = WEIR_REASON_NONE;
    }
    if (vm->refused) /* a library asked the allocator itself and took the refusal */
        vm->broken = true;
}

static void on_limit(struct weir_timer *timer);

/* It waits for the host from now on, for as long as its limits allow. */
static void suspend(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    const struct weir_stage *stage = vm->seat->stage;
    uint64_t now = weir_worker_now(worker_of(call)), until = call->began_ns + stage->wall_ns;
    call->state = WEIR_CALL_SUSPENDED;
    weir_list_append(&vm->suspended, &call->node);
    call->ran_ns = call->fiber ? 0 : call->ran_ns + (now - vm->slice_began_ns); /* a fiber may live as long as its VM: its limit is of a stretch */
    if (call->ran_ns > stage->cpu_ns) {
        weir_call_cancel(call, WEIR_REASON_CPU);
        return;
    }
    if (call->count == 1 && call->one->deadline_ns != 0 && call->one->deadline_ns < until)
        until = call->one->deadline_ns;
    call->limit.fire = on_limit;
    if (call->count > 0 && weir_timer_set(worker_of(call), &call->limit, until) != WEIR_OK)
        weir_call_cancel(call, WEIR_REASON_MEMORY);
}

static void run_preempted(struct weir_aside *aside);

/* Its slice is over: the VM is its own until its worker has served the others. */
static void set_aside(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    weir_worker_now(worker_of(call)); /* its slice counts as its stage's time */
    vm->preempting = false;
    call->state = WEIR_CALL_PREEMPTED;
    call->ran_ns += weir_watch_cpu_ns(vm->watch);
    vm->held = call;
    call->aside.run = run_preempted;
    weir_worker_set_aside(worker_of(call), &call->aside);
}

static void run(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    int results;
    call->state = WEIR_CALL_RUNNING;
    vm->running = call;
    vm->blocked = false;
    weir_preempt_enter(vm, call->co, call->ran_ns, call->count > 0 ? call->began_ns : 0);
    int status = lua_resume(call->co, vm->L, call->args, &results);
    weir_preempt_leave(vm);
    vm->running = NULL;
    call->args = 0;
    if (status == LUA_YIELD) { /* only the host's: the script's own yields end at their resume (coro.c) */
        vm->suspending = false;
        weir_vm_thread_set(call->co, WEIR_VM_THREAD_WAITS, true);
        if (vm->preempting)
            set_aside(call);
        else
            suspend(call);
        return;
    }
    if (status != LUA_OK)
        fail_body(call, status);
    else
        lua_settop(call->co, 1);
    let_go(vm);
    end(call);
}

/* Goes on with a call that had given the VM up, or begins a fiber. */
static void resume(struct weir_call *call)
{
    weir_vm_thread_set(call->co, WEIR_VM_THREAD_WAITS, false);
    call->vm->slice_began_ns = weir_worker_now(worker_of(call));
    if (call->fiber && call->began_ns == 0)
        call->began_ns = call->vm->slice_began_ns;
    struct weir_seat *seat = call->vm->seat;
    uint64_t began = seat->worker->now_ns, before = seat->worker->worked_ns;
    run(call);
    weir_seat_worked(seat, began, before);
}

/* Argument: a call that is being cancelled. Keeps where it waits. */
WEIR_L_RAISES static int l_trace_waiting(lua_State *L)
{
    struct weir_call *call = lua_touserdata(L, 1);
    char text[160];
    weir_preempt_describe(call->vm, call->reason, text, sizeof text);
    luaL_traceback(L, call->co, text, 0);
    weir_call_keep_error(call, lua_tostring(L, -1));
    return 0;
}

/* Its coroutine is in the middle of something that won't go on. */
static void close_coroutine(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    if (call->args > 0) { /* a fiber that has not begun */
        lua_settop(call->co, 1);
        call->args = 0;
        return;
    }
    if (!weir_reason_is_expired(call->reason) && call->reason != WEIR_REASON_CANCELLED)
        weir_vm_call(vm, l_trace_waiting, call, NULL); /* no memory for it: the reason has to do */
    vm->blocked = true;
    weir_preempt_enter(vm, call->co, 0, 0);
    lua_resetthread(call->co); /* runs its `__close`, which can't use the host any more */
    weir_preempt_leave(vm);
    let_go(vm);
    weir_call_drop_thread(call);
}

static void end_cancelled(struct weir_call *call)
{
    close_coroutine(call);
    if (!call->orphan) {
        end(call);
        return;
    }
    if (call->deferred_ref != LUA_NOREF)
        begin_deferred(call);
    end_events(call);
    call->state = WEIR_CALL_ORPHAN;
    weir_list_append(&call->vm->orphans, &call->node);
}

/* Lets the ready calls run that there are now: those they make ready come in the worker's next turn. */
static void run_ready(struct weir_vm *vm)
{
    struct weir_list batch;
    struct weir_list *node;
    weir_list_init(&batch);
    while ((node = weir_list_take_first(&vm->ready)) != NULL)
        weir_list_append(&batch, node);
    while (vm->held == NULL && (node = weir_list_take_first(&batch)) != NULL) {
        struct weir_call *call = WEIR_LIST_ENTRY(node, struct weir_call, node);
        if (call->reason != WEIR_REASON_NONE)
            end_cancelled(call);
        else
            resume(call);
    }
    while (!weir_list_empty(&batch)) { /* the VM is held: back to the front, in their order */
        node = batch.prev;
        weir_list_remove(node);
        weir_list_prepend(&vm->ready, node);
    }
}

/* What every entry from outside ends with: the VM may be gone when it returns. */
static void finish(struct weir_vm *vm)
{
    if (vm->held == NULL && !weir_list_empty(&vm->ready))
        weir_vm_schedule(vm);
    if (vm->broken || vm->was_held || vm->held != NULL)
        weir_lua_settle(vm);
}

void weir_call_run_ready(struct weir_vm *vm)
{
    run_ready(vm);
    finish(vm);
}

static void run_preempted(struct weir_aside *aside)
{
    struct weir_call *call = WEIR_LIST_ENTRY(aside, struct weir_call, aside);
    struct weir_vm *vm = call->vm;
    vm->held = NULL;
    vm->was_held = true;
    resume(call);
    if (vm->held == NULL)
        run_ready(vm);
    finish(vm);
}

void weir_call_start(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    lua_pushvalue(call->co, 1);
    vm->slice_began_ns = call->began_ns;
    run(call);
    finish(vm);
}

void weir_call_continue(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    weir_list_remove(&call->node);
    weir_timer_unset(worker_of(call), &call->limit);
    call->wait = NULL;
    if (vm->held != NULL) {
        make_ready(call);
        return;
    }
    resume(call);
    finish(vm);
}

void weir_call_cancel(struct weir_call *call, enum weir_reason reason)
{
    struct weir_vm *vm = call->vm;
    struct weir_wait *wait = call->wait;
    weir_list_remove(&call->node);
    weir_list_remove(&call->aside.node);
    weir_timer_unset(worker_of(call), &call->limit);
    if (vm->held == call)
        vm->held = NULL;
    if (call->reason == WEIR_REASON_NONE) /* else it was cancelled before, and waits for its VM */
        call->reason = reason;
    call->wait = NULL;
    call->state = WEIR_CALL_READY;
    if (wait != NULL)
        call->orphan = !wait->cancel(wait);
    if (vm->held != NULL)
        weir_list_append(&vm->ready, &call->node);
    else
        end_cancelled(call);
}

static void on_limit(struct weir_timer *timer)
{
    struct weir_call *call = WEIR_LIST_ENTRY(timer, struct weir_call, limit);
    struct weir_vm *vm = call->vm;
    bool late = call->count == 1 && call->one->deadline_ns != 0 && call->one->deadline_ns <= timer->due_ns;
    weir_call_cancel(call, late ? WEIR_REASON_DEADLINE : WEIR_REASON_WALL);
    finish(vm);
}

void weir_call_forget(struct weir_call *call)
{
    struct weir_vm *vm = call->vm;
    call->orphan = false;
    if (call->state != WEIR_CALL_ORPHAN)
        return; /* its VM is held: it has not ended yet */
    weir_list_remove(&call->node);
    weir_call_give_back(call);
    finish(vm);
}

static void cancel_list(struct weir_list *list, enum weir_reason reason)
{
    while (!weir_list_empty(list))
        weir_call_cancel(WEIR_LIST_ENTRY(list->next, struct weir_call, node), reason);
}

void weir_call_cancel_all(struct weir_vm *vm, enum weir_reason reason)
{
    if (vm->held != NULL)
        weir_call_cancel(vm->held, reason);
    cancel_list(&vm->ready, reason);
    cancel_list(&vm->suspended, reason);
    cancel_list(&vm->ready, reason); /* functions that were deferred by those */
}

static void cancel_fibers(struct weir_list *list)
{
    WEIR_LIST_EACH(node, following, list)
    {
        struct weir_call *call = WEIR_LIST_ENTRY(node, struct weir_call, node);
        if (call->background)
            weir_call_cancel(call, WEIR_REASON_CANCELLED);
    }
}

void weir_call_cancel_fibers(struct weir_vm *vm)
{
    cancel_fibers(&vm->suspended);
    cancel_fibers(&vm->ready);
}

/* --- suspension --- */

uint64_t weir_call_time_left(const struct weir_call *call)
{
    uint64_t deadline = call->count == 1 ? call->one->deadline_ns : 0;
    if (deadline == 0)
        return UINT64_MAX;
    uint64_t now = weir_worker_now(worker_of(call));
    return deadline > now ? deadline - now : 0;
}

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
                   : vm->phase == WEIR_VM_INIT  ? "init runs; begin a fiber with weir.fiber"
                                                : "its call has ended");
    if (vm->running->visits != WEIR_CALL_OF_STAGE)
        luaL_error(L, "%s can't be used here: %s runs in place, and can neither wait nor send", what,
                   vm->running->visits == WEIR_CALL_LOOKS ? "a classifier" : "on_reject");
    return vm->running;
}

WEIR_L_RAISES struct weir_call *weir_call_with_event(lua_State *L, const char *what)
{
    struct weir_call *call = weir_call_running(L, what);
    if (call->fiber)
        luaL_error(L, "%s can't be used here: a fiber has no event", what);
    return call;
}

WEIR_L_RAISES int weir_call_suspend(lua_State *L, struct weir_wait *wait, lua_KFunction k)
{
    struct weir_vm *vm = weir_vm_of(L);
    wait->call = vm->running;
    vm->running->wait = wait;
    vm->suspending = true;
    return lua_yieldk(L, 0, 0, k);
}
