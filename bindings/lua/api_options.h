/* bindings/lua/api_options.h - the table of options that a function of the `weir` table takes. Fields are
 * read raw: no script runs, so a text is kept by its table as long as that is on the stack and nobody else
 * runs. Everything raises, beginning with the function's name, when an option is not what it must be. */
#ifndef WEIR_LUA_API_OPTIONS_H
#define WEIR_LUA_API_OPTIONS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lua/vm.h"

struct weir_api_options {
    lua_State *L;
    int idx;          /* the table's; 0: none was given, every option is absent */
    const char *what; /* "weir.fs.read" */
};

/* The options at `idx`: nil, or a table with no other names than `known` (NULL-terminated). */
WEIR_L_RAISES struct weir_api_options weir_api_options(lua_State *L, int idx, const char *what,
                                                       const char *const *known);
/* Pushes the value, nil when it is absent, and returns its type. */
WEIR_L_RAISES int weir_api_option_push(const struct weir_api_options *o, const char *name);

/* The others leave nothing on the stack, but for paths; absent texts are NULL. */

/* Without a NUL byte in it. */
WEIR_L_RAISES const char *weir_api_option_text(const struct weir_api_options *o, const char *name);
/* A path, as seen from the application's folder; may push a string, which keeps it. */
WEIR_L_RAISES const char *weir_api_option_path(const struct weir_api_options *o, const char *name);
WEIR_L_RAISES bool weir_api_option_bool(const struct weir_api_options *o, const char *name, bool fallback);
WEIR_L_RAISES lua_Integer weir_api_option_integer(const struct weir_api_options *o, const char *name,
                                                  lua_Integer fallback, lua_Integer min, lua_Integer max);
/* A bound in bytes, at least 0; at most the VM's own, which no buffer of a call can be larger than. */
WEIR_L_RAISES size_t weir_api_option_bytes(const struct weir_api_options *o, const char *name,
                                           size_t fallback);
/* Seconds, as ns. */
WEIR_L_RAISES uint64_t weir_api_option_duration(const struct weir_api_options *o, const char *name,
                                                uint64_t fallback_ns);

/* --- what such functions answer --- */

/* nil, reason; nil, text, code. Return how many that is. */
WEIR_L_RAISES int weir_api_push_reason(lua_State *L, const char *reason);
WEIR_L_RAISES int weir_api_push_failure(lua_State *L, const char *text, const char *code);

/* The same for what is not begun since nothing is left of the event's time (weir_call_time_left): code "TIMEOUT". */
WEIR_L_RAISES int weir_api_push_too_late(lua_State *L);

/* `path` as seen from the application's folder; may push a string, which keeps it. */
WEIR_L_RAISES const char *weir_api_push_path(lua_State *L, const char *path);

#endif
