/* bindings/lua/config.h - what a script sees of its configuration: init's ctx, `config:` as Lua values, the
 * names of classes. */
#ifndef WEIR_LUA_CONFIG_H
#define WEIR_LUA_CONFIG_H

#include <stdint.h>

#include "lua/vm.h"

struct weir_conf;

/* Pushes a value of `config:`; NULL: nil. */
WEIR_L_RAISES void weir_config_push(lua_State *L, const struct weir_conf *c);
/* Pushes {config=, stage=, worker=, generation=}. */
WEIR_L_RAISES void weir_config_push_ctx(lua_State *L, const struct weir_vm *vm);
/* Pushes the name of a class; returns 1. */
WEIR_L_RAISES int weir_config_push_class(lua_State *L, uint8_t class_index);
/* The index of the class named at `idx`; raises, with the names there are, when there is none. */
WEIR_L_RAISES int weir_config_check_class(lua_State *L, int idx, const char *what);

#endif
