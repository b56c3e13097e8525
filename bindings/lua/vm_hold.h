/* bindings/lua/vm_hold.h - memory that the host holds for calls of a VM: what was read from files and peers
 * and not been taken by the script yet, what is to be sent. It counts among the VM's memory, with one
 * difference: it may fill three quarters of limits.memory, with what Lua has, never more, since what Lua is
 * refused costs the VM, and a call that is refused a buffer costs nobody else anything.
 *
 * Owner:   of a hold, whoever has the buffers, from begin to end; it may outlive the VM.
 * Threads: the VM's worker. Once the VM was detached its holds hold nothing and may be ended by any thread.
 */
#ifndef WEIR_LUA_VM_HOLD_H
#define WEIR_LUA_VM_HOLD_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "io/holder.h"
#include "lua/vm.h"

struct weir_vm_hold {
    struct weir_holder holder; /* for whoever fills the buffers */
    struct weir_list node;     /* of the VM's holds */
    struct weir_vm *vm;        /* NULL: it was detached, or the hold has ended */
    size_t bytes;
    bool refused; /* the last time that it was to be more */
};

/* Of nothing, at first. Never fails. */
void weir_vm_hold_begin(struct weir_vm_hold *h, struct weir_vm *vm);
/* It holds `bytes` from now on; false: the VM has no room for them, even after a collection of garbage (which
 * calls no finalizer), and everything stays as it was. Less is never refused. Also from inside a call; never
 * raises. */
bool weir_vm_hold(struct weir_vm_hold *h, size_t bytes);
/* It holds nothing, for good. May be called more than once, but not before begin. */
void weir_vm_unhold(struct weir_vm_hold *h);
/* The VM is being detached: all of its holds end. */
void weir_vm_unhold_all(struct weir_vm *vm);

/* Whether Lua may have `bytes` more, such as for a string that a buffer becomes; collects garbage if need be.
 * Lua itself must not be asked for what it will be refused. */
bool weir_vm_has_room(struct weir_vm *vm, size_t bytes);

/* Pushes nil, "<what>: …", "ENOMEM": the VM's limit leaves no room for what the call needs. */
WEIR_L_RAISES int weir_vm_hold_push_refusal(lua_State *L, const char *what);
/* Pushes the text as a string and returns 1; if there is no room for that: the refusal. */
WEIR_L_RAISES int weir_vm_hold_push_text(lua_State *L, const char *what, const struct weir_strbuf *text);

#endif
