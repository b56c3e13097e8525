/* bindings/lua/sandbox.h - what a script may reach: the globals of `libs: safe`, of a list of libraries, or
 * all.
 *
 * safe:  base (no dofile, loadfile, bytecode), string (no dump), table, math, utf8, coroutine (wrapped,
 * coro.h), os.time clock date difftime, debug.traceback, require (our own). What is missing says so when it
 * is used, and what to use instead. In every setting functions that may take long are the bounded ones of
 * lib.h, and only text is loaded. The `weir` table is read-only; the rest of a VM's globals is its script's
 * own. A script is trusted but fallible: this contains mistakes, it is no boundary against hostile code.
 */
#ifndef WEIR_LUA_SANDBOX_H
#define WEIR_LUA_SANDBOX_H

#include "base/err.h"
#include "lua/vm.h"

struct weir_lua_options;
struct weir_lua_script;

/* Opens the libraries that the script may have; the `weir` table is at the top and gives way to a read-only
 * one. */
WEIR_L_RAISES void weir_sandbox_open(lua_State *L, const struct weir_lua_script *script);
/* Whether every name in `libs:` is one; else `reterr` names it and those there are. */
int weir_sandbox_check(const struct weir_lua_options *options, struct weir_err *reterr);
/* Logs that the script may block a worker that others need. */
void weir_sandbox_warn(const struct weir_lua_options *options);

#endif
