/* bindings/lua/coro.h - the coroutine library, wrapped so that the host's yields pass through coroutines of
 * the script.
 *
 *   call's coroutine ── resume ──> the script's coroutine ── resume ──> … ── weir.emit that has to wait
 *          │                                                                       │
 *          └──< yields too <──────── resume sees vm->suspending, yields too <──────┘       outward: innermost
 * first
 *
 * When the call continues, each resume's continuation resumes the next coroutine inward until the emit's own
 * continuation runs. A script's own yield ends at its resume as ever. Coroutines that wait, and those that
 * are the host's, can't be resumed or closed by scripts. */
#ifndef WEIR_LUA_CORO_H
#define WEIR_LUA_CORO_H

#include "lua/vm.h"

/* Pushes the library's table. */
WEIR_L_RAISES void weir_coro_open(lua_State *L);

#endif
