/* bindings/lua/log.h - how the binding speaks in the program's log. */
#ifndef WEIR_LUA_LOG_H
#define WEIR_LUA_LOG_H

#include <stddef.h>

#include "lua/vm.h"

/* "stage page", or the file while there is no stage. */
void weir_lua_log_where(const struct weir_vm *vm, char *buffer, size_t size);
/* The global print. */
WEIR_L_RAISES int weir_l_print(lua_State *L);

#endif
