/* bindings/lua/vms.h - the VMs of one handler: a stage on a worker.
 *
 *   building ──> live: the first that no preempted call holds takes the calls ──> retired: ends what it has ──> closed
 *                (one; after a first preempted call a spare more, up to SPARES while calls hold them)
 *                                                                    broken: an allocation failed, a call was doomed
 *
 * A VM is made on the builder's thread and closed on the reaper's, so that neither stalls a worker; without them (unit tests) in place.
 * Owner: the handler. Threads: its worker's, but for weir_vms_init. */
#ifndef WEIR_LUA_VMS_H
#define WEIR_LUA_VMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct weir_lua_script;
struct weir_seat;
struct weir_vm;
struct weir_vms_build;

struct weir_vms {
    const struct weir_lua_script *script; /* [const] */
    struct weir_seat *seat;               /* [const] */
    struct weir_list live, retired;
    struct weir_vms_build *building; /* NULL: none */
    uint64_t retry_ns;               /* no new VM could be made; not before then again */
    bool held;                       /* the seat: it takes no events while no VM is free */
    bool spares;                     /* a call was preempted once: a spare VM is kept ready for the next time */
};

/* Makes the first VM and runs its init. Control or builder thread. */
int weir_vms_init(struct weir_vms *vms, const struct weir_lua_script *script, struct weir_seat *seat, struct weir_err *reterr);
/* The worker's thread runs: what init began may run too. */
void weir_vms_start(struct weir_vms *vms);
/* The VM for the next call; NULL: none is free, and the seat is held until one is. */
struct weir_vm *weir_vms_pick(struct weir_vms *vms);
/* A call of `vm` has ended, let go of it, or was preempted and holds it: closes a retired one that has nothing left, and has a spare made. */
void weir_vms_settle(struct weir_vms *vms, struct weir_vm *vm);
/* Memory is short: a fiber in each VM collects its garbage. */
void weir_vms_collect(struct weir_vms *vms);
/* Ends all calls. */
void weir_vms_cancel(struct weir_vms *vms);
/* Closes all of them; waits for one that is being built. No call is under way. */
void weir_vms_fini(struct weir_vms *vms);
/* Bytes that they hold. */
size_t weir_vms_memory(const struct weir_vms *vms);

#endif
