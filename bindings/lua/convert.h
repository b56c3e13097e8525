/* bindings/lua/convert.h - Lua values to and from what events carry (core/value.h), in one pass each way.
 *
 * Integers stay integers, floats floats, strings keep every byte. A table whose keys are 1..n goes as an
 * array, any other as a map whose keys are strings, numbers or booleans; metatables are not looked at (the
 * raw fields go). weir.json.null goes as nil inside a table and comes back as weir.json.null. What can't
 * travel raises an error that names it by its path: `event.items[3].cb: a function can't be sent`. */
#ifndef WEIR_LUA_CONVERT_H
#define WEIR_LUA_CONVERT_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/value.h"
#include "lua/vm.h"

struct weir_request_ud;

/* An encoded value whose bytes, if any, are in the VM's buffer. */
struct weir_encoded {
    struct weir_value scalar; /* any kind but BYTES; with BYTES `start` and `len` say where they are */
    size_t start, len;
    struct weir_request_ud *request; /* the request that it holds; NULL: none */
};

/* Encodes the value at `idx` behind what the VM's buffer holds (clear it by buffer.len = 0). `what` begins
 * the path in messages. */
WEIR_L_RAISES void weir_convert_encode(lua_State *L, int idx, const char *what, struct weir_encoded *ret);
/* Makes the value of it, with one reference; false: no memory. Never raises. */
bool weir_convert_take(struct weir_vm *vm, const struct weir_encoded *enc, struct weir_value *ret);

/* Pushes `v`. A request in it becomes the handle of the running call's event `index`. Raises on memory and on
 * bytes that are no value. */
WEIR_L_RAISES void weir_convert_push(lua_State *L, struct weir_value v, size_t index);

#endif
