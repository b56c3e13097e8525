/* bindings/lua/source_script.h - what implements core/source_script.h: a function of a script that runs in
 * place for a source. The file returns a function, or a table with `handle` (and `init`); the function gets
 * the request, as a handler does. It runs on the VM's main thread by weir_vm_call, so that it can't yield:
 * whatever waits raises, as does whatever sends, and over its slice it is ended rather than set aside. A VM
 * in which a call was ended or an allocation failed is replaced in place (25 µs, and what its main chunk does
 * within limits.cpu), once a second at most. */
#ifndef WEIR_LUA_SOURCE_SCRIPT_H
#define WEIR_LUA_SOURCE_SCRIPT_H

#include "base/err.h"

struct weir_lua_script;
struct weir_seat;
struct weir_source_script;

/* Makes a VM, runs init. Control thread. */
int weir_lua_source_script_create(const struct weir_lua_script *script, struct weir_seat *seat,
                                  struct weir_source_script **ret, struct weir_err *reterr);

#endif
