/* weir.emit: a value is encoded, becomes an event that inherits from the one being handled, and is offered to
 * the port. When the target is full and the edge says `wait`, the call is suspended until the verdict falls.
 */
#include "core/event.h"
#include "core/port.h"
#include "core/seat.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/call.h"
#include "lua/parcel.h"

/* The verdict on an emission that waited. */
static void emission_done(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    struct weir_call *call = WEIR_LIST_ENTRY(em, struct weir_call, emission);
    call->verdict = verdict;
    if (call->orphan) {
        if (ev != NULL)
            weir_parcel_abandon(call, ev);
        weir_call_forget(call);
        return;
    }
    if (ev != NULL)
        weir_parcel_take_back(call, call->moved_from, ev);
    weir_call_continue(call);
}

/* Its verdict will come; until then the emission must stay in place. */
static bool stop_emitting(struct weir_wait *wait)
{
    (void)wait;
    return false;
}

WEIR_L_RAISES static int l_emit_end(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    return weir_parcel_push_verdict(L, weir_vm_of(L)->running->verdict);
}

static bool would_wait(const struct weir_port *port)
{
    for (size_t i = 0; i < port->edge_count; i++)
        if (port->edges[i].overflow.policy == WEIR_OVERFLOW_WAIT)
            return true;
    return false;
}

WEIR_L_RAISES static int l_emit(lua_State *L)
{
    struct weir_call *call = weir_call_running(L, "weir.emit");
    struct weir_vm *vm = call->vm;
    struct weir_parcel p;
    vm->buffer.len = 0;
    weir_parcel_read(L, "weir.emit", "event", 1, &p);
    if (weir_parcel_closes_cycle(&p)) {
        weir_parcel_report_cycle(vm, "weir.emit {call = true}", p.port);
        return weir_api_push_reason(L, "cycle");
    }
    struct weir_emission *em = weir_call_can_wait(L) ? &call->emission : NULL;
    /* nothing raises from here to the verdict */
    struct weir_event *ev = weir_parcel_make(call, &p);
    weir_vm_buffer_shrink(&vm->buffer);
    if (ev == NULL)
        return weir_parcel_push_verdict(L, WEIR_VERDICT_NOMEM);
    call->emission.done = emission_done;
    enum weir_verdict verdict = weir_port_emit(vm->seat, p.port, ev, em);
    if (verdict == WEIR_VERDICT_ACCEPTED) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (verdict == WEIR_VERDICT_PENDING) {
        call->moved_from = p.holder;
        call->own_wait.cancel = stop_emitting;
        return weir_call_suspend(L, &call->own_wait, l_emit_end);
    }
    weir_parcel_take_back(call, p.holder, ev);
    if (verdict == WEIR_VERDICT_FULL && em == NULL && would_wait(p.port))
        weir_call_check_can_wait(L, "weir.emit");
    return weir_parcel_push_verdict(L, verdict);
}

WEIR_L_RAISES void weir_api_emit_open(lua_State *L)
{
    lua_pushcfunction(L, l_emit);
    lua_setfield(L, -2, "emit");
}
