/* bindings/lua/lib.h - those functions of Lua's own libraries that may take long in one call, written so that
 * they can be ended: no hook runs inside a C function, so each of them looks at the call's limits as it goes,
 * or refuses what is too much (docs/limits.md). All else is stock. They do what the manual says of their
 * namesakes; where they differ is in their files. Threads: the VM's. */
#ifndef WEIR_LUA_LIB_H
#define WEIR_LUA_LIB_H

#include <lua.h>
#include <stddef.h>

#include "lua/preempt.h"
#include "lua/vm.h"

enum { WEIR_LIB_VALUES_MAX = 250000 }; /* that one call may return: the stack grows with them, 0.1 us each */

/* Each replaces functions in the library's table at the top of the stack. */
WEIR_L_RAISES void weir_lib_string_open(lua_State *L);
WEIR_L_RAISES void weir_lib_match_open(lua_State *L);
WEIR_L_RAISES void weir_lib_table_open(lua_State *L);
WEIR_L_RAISES void weir_lib_utf8_open(lua_State *L);
WEIR_L_RAISES void weir_lib_os_open(lua_State *L);
/* … in the table of globals, and load, tonumber, collectgarbage; `all`: those of `libs: all`. */
WEIR_L_RAISES void weir_lib_base_open(lua_State *L, bool all);
/* `package` of `libs: all`: its searcher of Lua files takes text alone. */
WEIR_L_RAISES void weir_lib_package_open(lua_State *L);

/* lua_load of text, which is ended when the call is. */
int weir_lib_load_text(lua_State *L, const char *text, size_t len, const char *name);

/* Pushes a function without arguments that collects all garbage there is, within the limits of the call that runs it. */
WEIR_L_RAISES void weir_lib_push_collect(lua_State *L);

/* Raises when the call that runs is to end. Ask it every millisecond or so. */
WEIR_L_RAISES void weir_lib_look(lua_State *L);
/* Raises `text` when arguments 2 and 3, positions in a text of `len` bytes, take in too many. */
WEIR_L_RAISES void weir_lib_check_slice(lua_State *L, size_t len, const char *text);
/* For loops of `unit` units of work each: looks every `every` units. */
WEIR_L_RAISES static inline void weir_lib_work(lua_State *L, size_t *done, size_t unit, size_t every)
{
    *done += unit;
    if (__builtin_expect(*done >= every, 0)) {
        *done = 0;
        weir_lib_look(L);
    }
}

/* Replaces the function `name` of the table at the top by `wrapper`, whose upvalue 1 is the stock one. */
WEIR_L_RAISES void weir_lib_wrap(lua_State *L, const char *name, lua_CFunction wrapper);
/* Goes on as the stock function of a wrapper, with the arguments as they are. */
WEIR_L_RAISES static inline int weir_lib_stock(lua_State *L)
{
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

#endif
