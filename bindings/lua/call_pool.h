/* bindings/lua/call_pool.h - inside call.c: the calls of a VM that wait for work, and their coroutines. A call is taken, run once and given
 * back; its coroutine, with the body at the bottom of its stack, is used again unless it was left in the middle of something.
 * Owner and threads: the VM's. */
#ifndef WEIR_LUA_CALL_POOL_H
#define WEIR_LUA_CALL_POOL_H

#include "lua/call.h"

/* weir_call_take for a fiber, where raising is allowed. NULL: no memory. */
WEIR_L_RAISES struct weir_call *weir_call_take_in(lua_State *L);
/* A call that has ended. */
void weir_call_give_back(struct weir_call *call);
/* Gives its coroutine up: it is in the middle of something, or there are enough. luaL_unref allocates nothing. */
void weir_call_drop_thread(struct weir_call *call);
/* Keeps `text`, how it failed, for its events; the beginning of it, when it is long. */
void weir_call_keep_error(struct weir_call *call, const char *text);

#endif
