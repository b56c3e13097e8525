/* weir.call: an event whose request is a reply (core/reply.h) goes to another stage; the call is suspended until the reply comes to its
 * worker's inbox, or its time is over. weir.answer: the other side. */
#include <lauxlib.h>

#include "core/event.h"
#include "core/port.h"
#include "core/reply.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/timer.h"
#include "core/worker.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/call.h"
#include "lua/convert.h"
#include "lua/parcel.h"

/* --- the caller --- */

static struct weir_worker *worker_of(const struct weir_call *call)
{
    return call->vm->seat->worker;
}

/* Whether its own time is over: the event's deadline is the same, so either may be seen first. */
static bool timed_out(const struct weir_call *call)
{
    return call->reply->until_ns != 0 && worker_of(call)->now_ns >= call->reply->until_ns;
}

/* It waits for the answer no longer: what comes still is dropped, and the receiver can see that nobody waits. */
static void leave(struct weir_call *call)
{
    weir_timer_unset(worker_of(call), &call->timer);
    if (call->reply != NULL && !call->reply_came)
        weir_reply_leave(call->reply);
    else
        weir_reply_free(call->reply);
    call->reply = NULL;
}

void weir_api_call_forget(struct weir_call *call)
{
    weir_reply_free(call->reply); /* it came; a call that waits still was cancelled before it ends */
    call->reply = NULL;
}

/* An emission that waits for room can't be called off: its event is taken back soon, since its request is gone. */
static bool stop_calling(struct weir_wait *wait)
{
    struct weir_call *call = wait->call;
    leave(call);
    return !call->reply_emitting;
}

static void on_timeout(struct weir_timer *timer)
{
    struct weir_call *call = WEIR_LIST_ENTRY(timer, struct weir_call, timer);
    leave(call);
    call->reply_failure = "timeout";
    if (!call->reply_emitting) /* else call_emitted tells */
        weir_call_continue(call);
}

static void on_reply(struct weir_reply *r)
{
    struct weir_call *call = r->caller;
    call->reply_came = true;
    weir_timer_unset(worker_of(call), &call->timer);
    if (!call->reply_emitting)
        weir_call_continue(call);
}

/* The queue refused it: caller and holder are one. */
static void end_refused(struct weir_call *call, struct weir_event *ev)
{
    leave(call); /* so that it is freed when the event is */
    weir_parcel_abandon(call, ev);
}

/* The verdict on a call that waited for room. */
static void call_emitted(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *ev)
{
    struct weir_call *call = WEIR_LIST_ENTRY(em, struct weir_call, emission);
    call->reply_emitting = false;
    if (call->orphan) {
        if (ev != NULL)
            weir_parcel_abandon(call, ev);
        weir_call_forget(call);
        return;
    }
    if (verdict != WEIR_VERDICT_ACCEPTED && call->reply_failure == NULL)
        call->reply_failure = verdict == WEIR_VERDICT_EXPIRED && timed_out(call) ? "timeout" : weir_verdict_text(verdict);
    if (ev != NULL)
        end_refused(call, ev);
    if (call->reply_failure != NULL || call->reply_came)
        weir_call_continue(call);
}

static const char *why_unanswered(const struct weir_call *call)
{
    static const char *const texts[] = {
        [WEIR_REQUEST_UNANSWERED] = "unanswered", [WEIR_REQUEST_FAILED] = "failed", [WEIR_REQUEST_REFUSED] = "full",
        [WEIR_REQUEST_DROPPED] = "dropped",       [WEIR_REQUEST_EXPIRED] = "expired",
    };
    enum weir_request_end end = call->reply->end;
    return end == WEIR_REQUEST_EXPIRED && timed_out(call) ? "timeout" : texts[end];
}

WEIR_L_RAISES static int l_called(lua_State *L, int status, lua_KContext ctx)
{
    struct weir_call *call = weir_vm_of(L)->running;
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    if (call->reply_failure != NULL)
        return weir_api_push_reason(L, call->reply_failure);
    if (!call->reply->answered) {
        const char *why = why_unanswered(call);
        weir_api_call_forget(call);
        return weir_api_push_reason(L, why);
    }
    weir_convert_push(L, call->reply->value, 0); /* may raise: the reply goes with the call then */
    weir_api_call_forget(call);
    return 1;
}

/* The reply with its chain: this stage, and all that wait for what this call does. NULL: no memory. */
static struct weir_reply *make_reply(struct weir_call *call)
{
    struct weir_reply *r = weir_reply_create(worker_of(call), on_reply, call);
    if (r == NULL)
        return NULL;
    weir_reply_add(r, call->vm->seat->stage);
    for (size_t i = 0; i < call->count; i++) {
        const struct weir_reply *of = weir_reply_of(call->evs[i]->request);
        if (of != NULL)
            weir_reply_add_chain(r, of);
    }
    return r;
}

/* When the receiver need not bother any more: the end of the caller's time. */
static uint64_t end_of_call(const struct weir_call *call, uint64_t now)
{
    uint64_t until = (call->fiber ? now : call->began_ns) + call->vm->seat->stage->wall_ns;
    if (call->count == 1 && call->one->deadline_ns != 0 && call->one->deadline_ns < until)
        until = call->one->deadline_ns;
    return until;
}

/* Sets reply, deadline and timer. `timeout_ns` UINT64_MAX: none was given. false: no memory; `ev` is as it was. */
static bool prepare(struct weir_call *call, struct weir_event *ev, uint64_t timeout_ns)
{
    struct weir_worker *w = worker_of(call);
    uint64_t now = weir_worker_now(w), until = end_of_call(call, now);
    bool given = timeout_ns != UINT64_MAX, own = given && (call->fiber || now + timeout_ns < until);
    if (own)
        until = now + timeout_ns;
    struct weir_reply *r = make_reply(call);
    if (r == NULL)
        return false;
    call->reply = r;
    call->timer.fire = on_timeout;
    if ((own || call->fiber) && weir_timer_set(w, &call->timer, until) != WEIR_OK) { /* else the call's own limit ends it */
        ev->request = &r->base;
        leave(call);
        return false;
    }
    r->until_ns = own || call->fiber ? until : 0;
    if (ev->deadline_ns == 0 || ev->deadline_ns > until)
        ev->deadline_ns = until;
    ev->request = &r->base;
    ev->call = WEIR_EVENT_CALL_DUE;
    return true;
}

WEIR_L_RAISES static void read_call(lua_State *L, struct weir_parcel *p)
{
    lua_settop(L, 2);
    weir_vm_of(L)->buffer.len = 0;
    weir_parcel_read(L, "weir.call", "value", 1, p);
    if (p->value.request != NULL)
        luaL_error(L, "weir.call: an HTTP request can't be sent along with a call: the stage could answer both");
    if (p->port->edge_count > 1)
        luaL_error(L, "weir.call: '%s' goes to several stages, which can't all answer", p->port->name);
}

/* weir.call(port, value [, timeout]) -> value | nil, reason */
WEIR_L_RAISES static int l_call(lua_State *L)
{
    struct weir_call *call = weir_call_running(L, "weir.call");
    struct weir_vm *vm = call->vm;
    struct weir_parcel p;
    uint64_t timeout_ns = lua_isnoneornil(L, 3) ? UINT64_MAX : weir_api_check_seconds(L, 3, "weir.call: the timeout");
    weir_call_check_can_wait(L, "weir.call");
    read_call(L, &p);
    weir_api_call_forget(call); /* one whose value could not be pushed */
    call->reply_failure = NULL;
    call->reply_came = call->reply_emitting = false;
    /* nothing raises from here to the verdict */
    struct weir_event *ev = weir_parcel_make(call, &p);
    weir_vm_buffer_shrink(&vm->buffer);
    bool ready = ev != NULL && prepare(call, ev, timeout_ns);
    if (!ready) {
        if (ev != NULL)
            weir_parcel_abandon(call, ev);
        return weir_parcel_push_verdict(L, WEIR_VERDICT_NOMEM);
    }
    if (weir_reply_closes_cycle(call->reply, &p.port->edges[0])) {
        end_refused(call, ev);
        weir_parcel_report_cycle(vm, "weir.call", p.port);
        return weir_api_push_reason(L, "cycle");
    }
    call->emission.done = call_emitted;
    enum weir_verdict verdict = weir_port_emit(vm->seat, p.port, ev, &call->emission);
    if (verdict != WEIR_VERDICT_ACCEPTED && verdict != WEIR_VERDICT_PENDING) {
        end_refused(call, ev);
        return weir_parcel_push_verdict(L, verdict);
    }
    call->reply_emitting = verdict == WEIR_VERDICT_PENDING;
    call->own_wait.cancel = stop_calling;
    return weir_call_suspend(L, &call->own_wait, l_called);
}

/* --- the receiver --- */

/* The event whose answer is given; NULL: it was answered already. */
WEIR_L_RAISES static struct weir_event *check_due(lua_State *L, const struct weir_call *call)
{
    lua_Integer i = luaL_optinteger(L, 2, 1);
    if (i < 1 || (lua_Unsigned)i > call->count)
        luaL_argerror(L, 2, "there is no such event in the batch");
    struct weir_event *ev = call->evs[i - 1];
    if (ev->call == WEIR_EVENT_CALL_NONE)
        luaL_error(L, "weir.answer: no stage waits for the answer to this event (it did not come by weir.call)");
    if (ev->call == WEIR_EVENT_CALL_PASSED_ON)
        luaL_error(L, "weir.answer: the call was passed on by weir.emit");
    return ev->call == WEIR_EVENT_CALL_DUE ? ev : NULL;
}

/* weir.answer(value [, i]) -> true | nil, "gone"|"answered"|"memory" */
WEIR_L_RAISES static int l_answer(lua_State *L)
{
    struct weir_call *call = weir_call_with_event(L, "weir.answer");
    struct weir_vm *vm = call->vm;
    struct weir_event *ev = check_due(L, call);
    struct weir_encoded enc;
    struct weir_value value;
    if (ev == NULL)
        return weir_api_push_reason(L, "answered");
    if (lua_gettop(L) == 0)
        lua_pushnil(L);
    vm->buffer.len = 0;
    weir_convert_encode(L, 1, "answer", &enc);
    if (enc.request != NULL)
        return luaL_error(L, "weir.answer: a request can't be sent in an answer");
    bool made = weir_convert_take(vm, &enc, &value);
    weir_vm_buffer_shrink(&vm->buffer);
    if (!made)
        return weir_api_push_reason(L, "memory");
    struct weir_reply *r = weir_reply_of(ev->request);
    ev->request = NULL;
    ev->call = WEIR_EVENT_CALL_ANSWERED;
    if (!weir_reply_answer(r, value))
        return weir_api_push_reason(L, "gone");
    lua_pushboolean(L, 1);
    return 1;
}

WEIR_L_RAISES void weir_api_call_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"call", l_call}, {"answer", l_answer}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
