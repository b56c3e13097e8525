/* bindings/lua/json.h - Lua values from and to JSON text (RFC 8259), in one pass each way and without a tree in between.
 *
 * Integers stay integers: every one of 64 bits is exact, larger ones are refused; what has a point or an exponent is a float, and floats
 * read back as the same double. null is weir.json.null. A decoded array has the mark of weir.json.array, which tells an empty one from an
 * empty object. Refused: bytes that are no UTF-8, a key that comes twice, more than 128 levels. Threads: the VM's. */
#ifndef WEIR_LUA_JSON_H
#define WEIR_LUA_JSON_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "lua/vm.h"

enum { WEIR_JSON_DEPTH_MAX = 128 };

/* The address that the light userdata weir.json.null is. */
void *weir_json_null(void);

/* Why a value has no JSON, with the path to it: ".a[2]". */
struct weir_json_why {
    char path[128];
    char text[96];
};

/* Appends the text of the value at `idx` to the VM's buffer. false, the buffer as before and `why` when it has none. No script runs in
 * it, finalizers neither. Raises on memory. */
WEIR_L_RAISES bool weir_json_write(lua_State *L, int idx, struct weir_json_why *why);

/* Pushes the value of the `len` bytes at `text`, which are followed by a NUL, as those of every Lua string are, and stay valid. false:
 * they are no JSON, and the message is pushed, "line 1 column 8: …". Columns count characters. Raises on memory. */
WEIR_L_RAISES bool weir_json_read(lua_State *L, const char *text, size_t len);

#endif
