#include "lua/source_script.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/crew.h"
#include "core/event.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/source_script.h"
#include "core/stage.h"
#include "lua/call.h"
#include "lua/request_ud.h"
#include "lua/script.h"
#include "lua/vm.h"

static const uint64_t REPLACE_PAUSE_NS = WEIR_NS_PER_S;

struct source_script {
    struct weir_source_script base;
    const struct weir_lua_script *script; /* [const] */
    /* [owner: worker] from here on */
    struct weir_vm *vm;    /* NULL: it was broken, and there is no other yet */
    uint64_t replaced_ns;  /* when that was tried last */
    struct weir_call call; /* of none of the VM's lists: what the handle of the request refers to */
    struct weir_event ev;  /* likewise */
};

/* One visit of a request. */
struct visit {
    struct source_script *s;
    bool answers;
    int class;
    char *why;
    size_t size;
};

static struct source_script *script_of(struct weir_source_script *s)
{
    return WEIR_LIST_ENTRY(s, struct source_script, base);
}

/* ---- in Lua ---- */

/* The class named at the top of the stack; nil: none. */
WEIR_L_RAISES static void take_class(lua_State *L, struct visit *v)
{
    const struct weir_graph *g = v->s->base.seat->stage->graph;
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    if (name != NULL)
        v->class = weir_graph_class(g, name, strlen(name));
    if (v->class >= 0 || lua_isnil(L, -1))
        return;
    if (name != NULL)
        snprintf(v->why, v->size, "%s: there is no class '%.60s'", v->s->script->file, name);
    else
        snprintf(v->why, v->size, "%s: the function returned a %s, not the name of a class",
                 v->s->script->file, luaL_typename(L, -1));
}

/* {reason=, stage=, status=, retry_after=} */
WEIR_L_RAISES static void push_refusal(lua_State *L, const struct weir_request *r)
{
    const struct weir_refusal *f = &r->refusal;
    lua_createtable(L, 0, 4);
    lua_pushstring(L, weir_reason_text((enum weir_reason)f->reason));
    lua_setfield(L, -2, "reason");
    lua_pushstring(L, f->stage != NULL ? f->stage->name : NULL); /* nil for NULL */
    lua_setfield(L, -2, "stage");
    lua_pushinteger(L, 503);
    lua_setfield(L, -2, "status");
    lua_pushnumber(L, f->retry_after_ms > 0 ? f->retry_after_ms / 1000.0 : 1.0);
    lua_setfield(L, -2, "retry_after");
}

WEIR_L_RAISES static int l_visit(lua_State *L)
{
    struct visit *v = lua_touserdata(L, 1);
    struct weir_vm *vm = weir_vm_of(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->handle_ref);
    weir_request_ud_push(L, 0);
    if (v->answers)
        push_refusal(L, v->s->ev.request);
    lua_call(L, v->answers ? 2 : 1, 1);
    if (!v->answers)
        take_class(L, v);
    if (vm->used > vm->soft)
        lua_gc(L, LUA_GCSTEP, 0);
    return 0;
}

/* ---- the VM ---- */

static int make_vm(struct source_script *s, struct weir_err *reterr)
{
    struct weir_vm *vm;
    int rc = weir_vm_create(s->script, s->base.seat, &vm, reterr);
    if (rc == WEIR_OK && (rc = weir_vm_init(vm, reterr)) != WEIR_OK)
        weir_vm_destroy(vm);
    if (rc != WEIR_OK)
        return rc;
    s->vm = vm;
    memset(&s->call, 0, sizeof s->call);
    s->call.vm = vm;
    s->call.one = &s->ev;
    s->call.evs = &s->call.one;
    s->call.count = 1;
    s->call.deferred_ref = LUA_NOREF;
    return WEIR_OK;
}

static void on_reap(struct weir_message *m)
{
    weir_vm_destroy(WEIR_LIST_ENTRY(m, struct weir_vm, reap));
}

static void close_vm(struct source_script *s)
{
    struct weir_vm *vm = s->vm;
    struct weir_crew *reaper = s->base.seat->stage->graph->reaper;
    s->vm = NULL;
    if (vm == NULL)
        return;
    weir_vm_detach(vm);
    vm->reap.deliver = on_reap;
    if (reaper != NULL)
        weir_crew_post(reaper, &vm->reap);
    else
        weir_vm_destroy(vm);
}

/* Whether there is a VM that can take a call. */
static bool ready(struct source_script *s, char *why, size_t size)
{
    uint64_t now = weir_clock_ns();
    struct weir_err err;
    if (s->vm != NULL && !s->vm->attached)
        weir_vm_attach(s->vm);
    if (s->vm != NULL && !s->vm->broken)
        return true;
    close_vm(s);
    if (s->replaced_ns != 0 && now - s->replaced_ns < REPLACE_PAUSE_NS) {
        snprintf(why, size, "%s: its VM is replaced once a second at most", s->script->file);
        return false;
    }
    s->replaced_ns = now;
    if (make_vm(s, &err) != WEIR_OK) {
        snprintf(why, size, "no new VM could be made: %s", err.text);
        return false;
    }
    weir_vm_attach(s->vm);
    return true;
}

static void visit(struct visit *v, struct weir_request *r)
{
    struct source_script *s = v->s;
    struct weir_err err;
    if (!ready(s, v->why, v->size))
        return;
    struct weir_vm *vm = s->vm;
    s->ev.request = r;
    s->call.visits = v->answers ? WEIR_CALL_ANSWERS : WEIR_CALL_LOOKS;
    vm->running = &s->call;
    vm->blocked = true;
    if (weir_vm_call(vm, l_visit, v, &err) != WEIR_OK) {
        snprintf(v->why, v->size, "%s", err.text);
        vm->broken |= err.code == WEIR_E_NOMEM;
    }
    vm->running = NULL;
    vm->blocked = false;
    vm->broken |= vm->refused;
    s->call.serial++; /* handles that the script kept are dead from here on */
}

/* ---- core/source_script.h ---- */

static int classify(struct weir_source_script *base, struct weir_request *r, char *why, size_t size)
{
    struct visit v = {.s = script_of(base), .class = -1, .why = why, .size = size};
    visit(&v, r);
    return v.class;
}

static bool answer(struct weir_source_script *base, struct weir_request *r, char *why, size_t size)
{
    struct visit v = {.s = script_of(base), .answers = true, .class = -1, .why = why, .size = size};
    v.s->ev.request = r;
    visit(&v, r);
    return v.s->ev.request == NULL;
}

static void close_script(struct weir_source_script *base)
{
    struct source_script *s = script_of(base);
    close_vm(s);
    weir_free(s);
}

int weir_lua_source_script_create(const struct weir_lua_script *script, struct weir_seat *seat,
                                  struct weir_source_script **ret, struct weir_err *reterr)
{
    static const struct weir_source_script_ops ops = {
        .classify = classify, .answer = answer, .close = close_script};
    struct source_script *s = weir_calloc(1, sizeof *s);
    if (s == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", script->file);
    s->base = (struct weir_source_script){.ops = &ops, .seat = seat};
    s->script = script;
    int rc = make_vm(s, reterr);
    if (rc != WEIR_OK) {
        weir_free(s);
        return rc;
    }
    *ret = &s->base;
    return WEIR_OK;
}
