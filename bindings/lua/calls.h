/* bindings/lua/calls.h - which ports a script calls, as far as its text says so. Any thread. */
#ifndef WEIR_LUA_CALLS_H
#define WEIR_LUA_CALLS_H

#include <stddef.h>

/* Tells each `weir.call("port", …)` of `text`: the port's name, which is valid during the call, and its line.
 * One under another name than weir.call, or with a port that is not a plain string, is not seen. */
void weir_lua_find_calls(const char *text, size_t len,
                         void (*found)(void *arg, const char *port, size_t port_len, int line), void *arg);

#endif
