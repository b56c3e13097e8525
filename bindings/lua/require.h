/* bindings/lua/require.h - our own `require`: `?.lua` and `?/init.lua` beneath the application's folder, and
 * "weir". It can be yielded through. */
#ifndef WEIR_LUA_REQUIRE_H
#define WEIR_LUA_REQUIRE_H

#include "lua/vm.h"

/* Sets the global; the `weir` table is at `weir_index`, the table of loaded modules is made anew, or
 * package.loaded taken when `package` is open (its searchers are asked for what the folder does not have). */
WEIR_L_RAISES void weir_require_open(lua_State *L, int weir_index);

#endif
