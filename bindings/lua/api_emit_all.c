/* weir.emit_all: several events that are all accepted or none. When a target is full and its edge says `wait`, the call is suspended and tries
 * again every few milliseconds: room is held at no queue while it waits for another, so that two of these can't block each other. */
#include <lauxlib.h>

#include "base/clock.h"
#include "core/event.h"
#include "core/port.h"
#include "core/seat.h"
#include "core/timer.h"
#include "core/worker.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/call.h"
#include "lua/parcel.h"

enum { PARTS_MAX = 1024 };
static const uint64_t retry_ns = 2 * WEIR_NS_PER_MS;

/* A userdata; while it waits it is on the coroutine's stack, which keeps it. */
struct together {
    struct weir_wait wait;
    struct weir_timer timer;
    struct weir_parts ps;
    struct weir_call *call;
    struct weir_event *holder; /* whose request one of the parts has; NULL: none */
    struct weir_part parts[];
};

static void take_back_all(struct together *t)
{
    for (size_t i = 0; i < t->ps.count; i++) {
        struct weir_event *ev = t->parts[i].ev;
        t->parts[i].ev = NULL;
        if (ev != NULL)
            weir_parcel_take_back(t->call, ev->request != NULL ? t->holder : NULL, ev);
    }
}

/* The call's request is its event's again, so that the host answers it as that ends. */
static bool stop_waiting(struct weir_wait *wait)
{
    struct together *t = WEIR_LIST_ENTRY(wait, struct together, wait);
    weir_timer_unset(t->call->vm->seat->worker, &t->timer);
    weir_parts_give_up(&t->ps, t->call->reason == WEIR_REASON_CANCELLED ? WEIR_REASON_CLOSED : WEIR_REASON_TOO_LATE);
    take_back_all(t);
    return true;
}

static void try_again(struct weir_timer *timer)
{
    struct together *t = WEIR_LIST_ENTRY(timer, struct together, timer);
    struct weir_call *call = t->call;
    struct weir_worker *w = call->vm->seat->worker;
    call->verdict = weir_parts_emit(&t->ps, true);
    if (call->verdict == WEIR_VERDICT_PENDING) {
        if (weir_timer_set(w, timer, weir_worker_now(w) + retry_ns) == WEIR_OK)
            return;
        weir_parts_give_up(&t->ps, WEIR_REASON_NOMEM);
        call->verdict = WEIR_VERDICT_NOMEM;
    }
    take_back_all(t);
    weir_call_continue(call);
}

WEIR_L_RAISES static int l_all_sent(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    return weir_parcel_push_verdict(L, weir_vm_of(L)->running->verdict);
}

/* Reads part `i` of the table at 1. */
WEIR_L_RAISES static void read_part(lua_State *L, int i, struct weir_parcel *p)
{
    const char *what = lua_pushfstring(L, "weir.emit_all: part %d", i), *path = lua_pushfstring(L, "[%d][2]", i);
    if (lua_rawgeti(L, 1, i) != LUA_TTABLE)
        luaL_error(L, "%s must be a table {port, event [, options]}, it is a %s", what, luaL_typename(L, -1));
    int part = lua_gettop(L);
    for (int field = 1; field <= 3; field++)
        lua_rawgeti(L, part, field);
    weir_parcel_read(L, what, path, part + 1, p);
}

WEIR_L_RAISES static size_t check_parts(lua_State *L)
{
    if (!lua_istable(L, 1))
        luaL_error(L, "weir.emit_all: expected a table of {port, event [, options]}, got %s", luaL_typename(L, 1));
    size_t n = lua_rawlen(L, 1);
    if (n > PARTS_MAX)
        luaL_error(L, "weir.emit_all: there are %d events, more than %d", (int)n, PARTS_MAX);
    return n;
}

/* Reads all parts; the holder of the one request among them, or NULL. */
WEIR_L_RAISES static struct weir_event *read_parts(lua_State *L, size_t n, struct weir_parcel *parcels)
{
    struct weir_event *holder = NULL;
    int top = lua_gettop(L);
    weir_vm_of(L)->buffer.len = 0;
    for (size_t i = 0; i < n; i++) {
        read_part(L, (int)i + 1, &parcels[i]);
        lua_settop(L, top);
        if (parcels[i].holder == NULL)
            continue;
        if (holder != NULL)
            luaL_error(L, "weir.emit_all: part %d: only one of the events can carry a request, or pass a call on", (int)i + 1);
        holder = parcels[i].holder;
    }
    return holder;
}

/* false: no memory, and nothing has changed. */
static bool make_events(struct together *t, const struct weir_parcel *parcels)
{
    for (size_t i = 0; i < t->ps.count; i++) {
        t->parts[i] = (struct weir_part){.port = parcels[i].port, .ev = weir_parcel_make(t->call, &parcels[i])};
        if (t->parts[i].ev != NULL)
            continue;
        t->ps.count = i;
        take_back_all(t);
        return false;
    }
    return true;
}

static bool closes_cycle(struct weir_vm *vm, const struct weir_parcel *parcels, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (weir_parcel_closes_cycle(&parcels[i])) {
            weir_parcel_report_cycle(vm, "weir.emit_all with {call = true}", parcels[i].port);
            return true;
        }
    return false;
}

/* weir.emit_all{{port, event [, options]}, ...} -> true | nil, reason */
WEIR_L_RAISES static int l_emit_all(lua_State *L)
{
    struct weir_call *call = weir_call_running(L, "weir.emit_all");
    struct weir_vm *vm = call->vm;
    struct weir_worker *w = vm->seat->worker;
    size_t n = check_parts(L);
    lua_settop(L, 1);
    struct together *t = lua_newuserdatauv(L, sizeof *t + n * sizeof t->parts[0], 0);
    struct weir_parcel *parcels = lua_newuserdatauv(L, (n + 1) * sizeof *parcels, 0);
    *t = (struct together){.wait.cancel = stop_waiting, .timer.fire = try_again, .call = call};
    t->ps = (struct weir_parts){.from = vm->seat, .parts = t->parts, .count = n};
    t->holder = read_parts(L, n, parcels);
    if (closes_cycle(vm, parcels, n))
        return weir_api_push_reason(L, "cycle");
    bool may_wait = weir_call_can_wait(L);
    /* nothing raises from here to the verdict */
    bool made = make_events(t, parcels);
    weir_vm_buffer_shrink(&vm->buffer);
    if (!made)
        return weir_parcel_push_verdict(L, WEIR_VERDICT_NOMEM);
    enum weir_verdict verdict = weir_parts_emit(&t->ps, may_wait);
    if (verdict == WEIR_VERDICT_PENDING) {
        if (weir_timer_set(w, &t->timer, weir_worker_now(w) + retry_ns) == WEIR_OK)
            return weir_call_suspend(L, &t->wait, l_all_sent);
        weir_parts_give_up(&t->ps, WEIR_REASON_NOMEM);
        verdict = WEIR_VERDICT_NOMEM;
    }
    take_back_all(t);
    return weir_parcel_push_verdict(L, verdict);
}

WEIR_L_RAISES void weir_api_emit_all_open(lua_State *L)
{
    lua_pushcfunction(L, l_emit_all);
    lua_setfield(L, -2, "emit_all");
}
