/* bindings/lua/preempt.h - what keeps a script from holding its worker: slices, and the end of calls over their limits.
 *
 *   the watchdog sees a call over its slice, cpu, wall or stall limit (core/watch.h), leaves an order and signals the thread
 *     └─ the signal handler sets a count hook on the coroutine that runs (vm->current)
 *          └─ the hook takes the order:  slice, or stall where it can yield  ->  it removes itself and yields: preempted (call.c)
 *                                        cpu, wall, stall where it can't     ->  the call is doomed
 *
 * No hook is set while things go well, since any count hook halves Lua's speed. A doomed call's hook stays, at count 1, and raises at
 * each instruction, so that no pcall, `__close` or error handler goes on; coroutines around the one that runs are armed as it
 * ends (coro.c). Its VM may be half changed and is retired. C functions see no hook: those that may take long ask
 * weir_preempt_doomed as they go. ThreadSanitizer puts signals off, so its build polls with a standing hook.
 * Threads: the VM's, and the signal handler on it. */
#ifndef WEIR_LUA_PREEMPT_H
#define WEIR_LUA_PREEMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/reason.h"
#include "core/watch.h"
#include "lua/vm.h"

/* The host runs `co` from here on, under the limits of the VM's stage. `ran_ns`: CPU time it has had; `began_ns`: since when its wall
 * limit counts, 0: it has none. Each call enters and leaves, so what is seldom needed is elsewhere. */
static inline void weir_preempt_enter(struct weir_vm *vm, lua_State *co, uint64_t ran_ns, uint64_t began_ns)
{
    vm->current = co;
    if (vm->watch != NULL)
        weir_watch_enter(vm->watch, &vm->logic, ran_ns, began_ns);
}

/* A hook was set: what ends takes its own away. */
void weir_preempt_disarm(struct weir_vm *vm);

static inline void weir_preempt_leave(struct weir_vm *vm)
{
    if (vm->watch != NULL)
        weir_watch_leave(vm->watch);
    if (vm->armed)
        weir_preempt_disarm(vm);
    vm->current = NULL;
}

/* `co` is the coroutine that runs from now on, resumed by or returned to from another one. Arms it if the call is doomed. */
void weir_preempt_switch(struct weir_vm *vm, lua_State *co);
/* A new VM, before anything runs in it: says what its limits are. All coroutines take over the hook of its main thread. */
void weir_preempt_prepare(struct weir_vm *vm);
/* Other limits than the script's for what runs in the VM from here on. Not while anything does. */
void weir_preempt_limit(struct weir_vm *vm, const struct weir_watch_limits *limits);
/* Whether the call that runs is over a limit and can't give way here: a C function that may take long asks every millisecond or so, and
 * raises when it hears true. */
bool weir_preempt_doomed(lua_State *L);
/* Then: raises what ended the call; the first time with where that was. */
WEIR_L_RAISES void weir_preempt_raise(lua_State *L);
/* "over limits.cpu (1s)": what became of a call of `vm`. */
void weir_preempt_describe(const struct weir_vm *vm, enum weir_reason reason, char *text, size_t size);
/* Replaces the global xpcall: its message handler would run where no hook can end it. */
WEIR_L_RAISES void weir_preempt_open(lua_State *L);

#endif
