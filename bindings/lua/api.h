/* bindings/lua/api.h - the `weir` table: one file per part, each with a function that adds its entries to the
 * table at the top. */
#ifndef WEIR_LUA_API_H
#define WEIR_LUA_API_H

#include "lua/vm.h"

struct weir_call;

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
WEIR_L_RAISES void weir_api_dns_open(lua_State *L);
WEIR_L_RAISES void weir_api_spawn_open(lua_State *L);
WEIR_L_RAISES void weir_api_conn_open(lua_State *L);
WEIR_L_RAISES void weir_api_call_open(lua_State *L);
WEIR_L_RAISES void weir_api_emit_all_open(lua_State *L);
/* The call has ended: an answer to it that was not taken goes. */
void weir_api_call_forget(struct weir_call *call);
/* The VM's worker runs it from now on, or no longer: timers. */
void weir_api_time_attach(struct weir_vm *vm);
void weir_api_time_detach(struct weir_vm *vm);

/* Raises unless the argument at `idx` is a string: "`what` must be a string, it is a number". */
WEIR_L_RAISES const char *weir_api_check_string(lua_State *L, int idx, const char *what);

/* The seconds at `idx` in ns; raises, beginning with `what`, unless they are a number ≥ 0. */
WEIR_L_RAISES uint64_t weir_api_check_seconds(lua_State *L, int idx, const char *what);

#endif
