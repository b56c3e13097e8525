/* bindings/lua/api.h - the `weir` table: one file per part, each with a function that adds its entries to the
 * table at the top. */
#ifndef WEIR_LUA_API_H
#define WEIR_LUA_API_H

#include <jansson.h>

#include "lua/vm.h"

/* Pushes the `weir` table. */
WEIR_L_RAISES void weir_api_open(lua_State *L);
WEIR_L_RAISES void weir_api_emit_open(lua_State *L);
WEIR_L_RAISES void weir_api_stage_open(lua_State *L);
WEIR_L_RAISES void weir_api_log_open(lua_State *L);
WEIR_L_RAISES void weir_api_json_open(lua_State *L);
WEIR_L_RAISES void weir_api_shared_open(lua_State *L);
WEIR_L_RAISES void weir_api_metric_open(lua_State *L);
WEIR_L_RAISES void weir_api_time_open(lua_State *L);
WEIR_L_RAISES void weir_api_http_open(lua_State *L);
WEIR_L_RAISES void weir_api_fs_open(lua_State *L);
WEIR_L_RAISES void weir_api_tcp_open(lua_State *L);
WEIR_L_RAISES void weir_api_conn_open(lua_State *L);
/* The VM's worker runs it from now on, or no longer: timers. */
void weir_api_time_attach(struct weir_vm *vm);
void weir_api_time_detach(struct weir_vm *vm);

/* Raises unless the argument at `idx` is a string: "`what` must be a string, it is a number". */
WEIR_L_RAISES const char *weir_api_check_string(lua_State *L, int idx, const char *what);

/* The seconds at `idx` in ns; raises, beginning with `what`, unless they are a number ≥ 0. */
WEIR_L_RAISES uint64_t weir_api_check_seconds(lua_State *L, int idx, const char *what);

/* The address that the light userdata weir.json.null is. */
void *weir_json_null(void);

/* Why a value has no JSON, with the path to it. */
struct weir_json_why {
    char path[128];
    char text[96];
};

/* The value at `idx` as a tree that the caller owns; NULL and `why` when it can't be one. Never raises, so
 * the tree needs no userdata until the caller does something that may. `precision` is the least number of
 * digits that gives every float back. */
json_t *weir_json_from_lua(lua_State *L, int idx, int *precision, struct weir_json_why *why);
/* Its text, to be freed by free(); NULL: no memory. */
char *weir_json_text(const json_t *tree, int precision);

#endif
