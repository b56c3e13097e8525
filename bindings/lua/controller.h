/* bindings/lua/controller.h - what implements controller/controller.h in Lua: `{script: my.lua}` in the place of a controller's name. The file
 * returns a function `step(sample, at, state, settings)`, or a table with one. It runs on the control thread, in a VM of its own per unit,
 * with `libs: safe`, 8 MiB and 5 ms of CPU time a step, by weir_vm_call, so that it can't wait.
 *
 *   sample    what controller.h says, by the names there; classes[i] have their names too
 *   at        the setpoint: the fields of the knob; no others can be written
 *   state     a table of its own, kept from step to step
 *   settings  the file's `settings`, with what `config:` says
 *   returns the rule that decided, a string; nil: nothing is changed
 *
 * A step that raises, is ended over a limit, or leaves something in `at` that is no setpoint fails, and its unit is switched off
 * (weir_controller_failed). Lua's infinity stands for INFINITY. Threads: the control thread. */
#ifndef WEIR_LUA_CONTROLLER_H
#define WEIR_LUA_CONTROLLER_H

#include "base/err.h"
#include "core/policy.h"

struct weir_controller_type;
struct weir_lua_script;

/* A type for that script, called `name` (copied). It owns the script from here on, which is closed on failure too. Its VMs are made by its
 * `open`, which is tried once; its `release` frees it. */
int weir_lua_controller_create(struct weir_lua_script *script, enum weir_knob knob, const char *name,
                               const struct weir_controller_type **ret, struct weir_err *reterr);

#endif
