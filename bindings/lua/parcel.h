/* bindings/lua/parcel.h - what weir.emit, weir.emit_all and weir.call have in common: arguments are read and encoded (that may raise), then
 * an event is made of them (that may not), which inherits from the one being handled and has its request if the value holds it.
 * A parcel's bytes are in the VM's buffer; several may be there one behind the other. Threads: the VM's. */
#ifndef WEIR_LUA_PARCEL_H
#define WEIR_LUA_PARCEL_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/port.h"
#include "lua/convert.h"
#include "lua/vm.h"

struct weir_call;
struct weir_event;

struct weir_parcel {
    struct weir_port *port;
    int class_index; /* -1: inherited */
    bool has_deadline, has_key, has_vars;
    bool passes_call; /* the duty to answer moves with it */
    uint64_t deadline_ns;
    struct weir_encoded value, vars, key;
    struct weir_event *holder; /* of the running call: whose request moves along; NULL: none */
};

/* Reads the port at `idx`, the event behind it and the options behind that (none or nil: there are none), and encodes them behind what the
 * VM's buffer holds. `what` begins each message, `path` those on the value. May push. */
WEIR_L_RAISES void weir_parcel_read(lua_State *L, const char *what, const char *path, int idx, struct weir_parcel *ret);
/* The event of it, the request in it; NULL: no memory, and nothing has changed. Never raises. */
struct weir_event *weir_parcel_make(struct weir_call *call, const struct weir_parcel *p);
/* It was refused: its request goes back to `holder`, and it is freed. Never raises. */
void weir_parcel_take_back(struct weir_call *call, struct weir_event *holder, struct weir_event *ev);
/* Frees it in a call that has ended: its request is given up. Never raises. */
void weir_parcel_abandon(struct weir_call *call, struct weir_event *ev);
/* Whether it passes on a call that would come to a stage which waits for its answer. */
bool weir_parcel_closes_cycle(const struct weir_parcel *p);
/* Logs that, the first time for an edge. Never raises. */
void weir_parcel_report_cycle(const struct weir_vm *vm, const char *what, struct weir_port *port);
/* true; or nil and the verdict. The count of values. */
WEIR_L_RAISES int weir_parcel_push_verdict(lua_State *L, enum weir_verdict verdict);

#endif
