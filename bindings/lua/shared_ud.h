/* bindings/lua/shared_ud.h - what the parts of weir.shared have in common: handles of tables, keys, and
 * values that are on their way into Lua. Owner and threads: the VM's. */
#ifndef WEIR_LUA_SHARED_UD_H
#define WEIR_LUA_SHARED_UD_H

#include "core/shared_table.h"
#include "core/value.h"
#include "lua/vm.h"

/* A handle; one per VM and name. */
struct weir_shared_ud {
    struct weir_shared_table *table; /* NULL: the script is only being loaded */
};

/* Holds a value's reference while pushing it may raise. One lives in each VM, at an upvalue of the methods;
 * when that is in use, another is made. */
struct weir_value_box {
    struct weir_value value;
};

/* A key and where an integer one is. */
struct weir_shared_key_arg {
    struct weir_shared_key key;
    int64_t integer;
};

/* The table of the handle at 1; raises when it is none, and while the script is being loaded. `method` is for
 * messages. */
WEIR_L_RAISES struct weir_shared_table *weir_shared_ud_check(lua_State *L, const char *method);
/* The key at 2, valid while it stays there. */
WEIR_L_RAISES void weir_shared_ud_key(lua_State *L, const char *method, struct weir_shared_key_arg *ret);
/* The value at `idx` as a reference in `box`. false: no memory. */
WEIR_L_RAISES bool weir_shared_ud_encode(lua_State *L, int idx, const char *what, struct weir_value_box *box);
/* A box that is empty; it stays on the stack when it is a new one. */
WEIR_L_RAISES struct weir_value_box *weir_shared_ud_box(lua_State *L);
/* Pushes what is in the box and empties it. */
WEIR_L_RAISES void weir_shared_ud_push(lua_State *L, struct weir_value_box *box);
/* Pushes nil and `why`; returns 2. */
WEIR_L_RAISES int weir_shared_ud_refuse(lua_State *L, const char *why);

/* t:pairs, t:keys (api_shared_walk.c), t:watch (api_shared_watch.c). */
WEIR_L_RAISES int weir_shared_l_pairs(lua_State *L);
WEIR_L_RAISES int weir_shared_l_keys(lua_State *L);
WEIR_L_RAISES int weir_shared_l_watch(lua_State *L);
/* Makes their metatables. */
WEIR_L_RAISES void weir_shared_walk_open(lua_State *L);

#endif
