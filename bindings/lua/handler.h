/* bindings/lua/handler.h - what implements core/handler.h: a script's VM on one worker, and its successors.
 * A VM in which an allocation failed takes no new calls: the next event gets a fresh one, made on the spot
 * (25 us, and what the script does), and the old one is closed when its calls have ended. */
#ifndef WEIR_LUA_HANDLER_H
#define WEIR_LUA_HANDLER_H

#include "base/err.h"

struct weir_handler;
struct weir_lua_script;
struct weir_seat;
struct weir_vm;

/* Makes a VM, runs init. Control thread. */
int weir_lua_handler_create(const struct weir_lua_script *script, struct weir_seat *seat,
                            struct weir_handler **ret, struct weir_err *reterr);
/* A call of `vm`, which is broken, has ended: closes it if it is retired and that was the last one. */
void weir_lua_settle(struct weir_vm *vm);

#endif
