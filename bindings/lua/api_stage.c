/* weir.queue and weir.stage: what the counters of a stage say now, so that an application can see load and
 * act on it. */
#include <math.h>

#include <lauxlib.h>

#include "core/gate.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/stage.h"
#include "lua/api.h"

WEIR_L_RAISES static struct weir_stage *own_stage(lua_State *L, const char *what)
{
    struct weir_vm *vm = weir_vm_of(L);
    if (vm->seat == NULL || vm->phase == WEIR_VM_LOADING)
        luaL_error(L, "%s can't be used while the script is being loaded; use it in init or in a handler",
                   what);
    return vm->seat->stage;
}

WEIR_L_RAISES static void set_integer(lua_State *L, const char *name, int64_t value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

WEIR_L_RAISES static void set_number(lua_State *L, const char *name, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

/* Sets rate and refused of the table on top. An infinite rate is none. */
WEIR_L_RAISES static void set_admitted(lua_State *L, double rate, int64_t refused)
{
    if (isfinite(rate))
        set_number(L, "rate", rate);
    set_integer(L, "refused", refused);
}

WEIR_L_RAISES static void set_admitted_classes(lua_State *L, struct weir_stage *stage, const struct weir_gate_bounds *bounds)
{
    const struct weir_graph *g = stage->graph;
    lua_createtable(L, 0, (int)g->class_count);
    for (size_t i = 0; i < g->class_count; i++) {
        lua_createtable(L, 0, 2);
        set_admitted(L, bounds->rate[i], weir_gate_refused(stage, i));
        lua_setfield(L, -2, g->class_names[i]);
    }
    lua_setfield(L, -2, "classes");
}

/* What is let in. Without a gate that is everything, which it says likewise. */
WEIR_L_RAISES static void push_admission(lua_State *L, struct weir_stage *stage)
{
    struct weir_gate_bounds bounds = {.limit = INFINITY};
    size_t classes = stage->gate != NULL ? stage->graph->class_count : 0;
    double rate = classes == 0 ? INFINITY : 0;
    int64_t refused = 0;
    if (classes > 0)
        weir_gate_get(stage->gate, &bounds);
    for (size_t i = 0; i < classes; i++) {
        rate += bounds.rate[i];
        refused += weir_gate_refused(stage, i);
    }
    lua_createtable(L, 0, 5);
    set_admitted(L, rate, refused);
    if (isfinite(bounds.limit))
        set_number(L, "limit", bounds.limit);
    lua_pushboolean(L, bounds.overloaded);
    lua_setfield(L, -2, "overloaded");
    if (classes > 0 && stage->graph->class_names != NULL)
        set_admitted_classes(L, stage, &bounds);
}

WEIR_L_RAISES static int push_snapshot(lua_State *L, struct weir_stage *stage)
{
    struct weir_stage_sample s;
    weir_stage_read(stage, &s);
    const struct weir_ledger_sum *l = &s.ledger;
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {{"capacity", (int64_t)s.capacity},
                  {"bytes", l->queued_bytes},
                  {"capacity_bytes", (int64_t)s.capacity_bytes},
                  {"depth", l->queued},
                  {"queued", l->queued},
                  {"running", l->running},
                  {"waiting", l->waiting},
                  {"offered", l->offered},
                  {"accepted", l->accepted},
                  {"rejected", l->rejected},
                  {"handled", l->handled},
                  {"failed", l->failed},
                  {"expired", l->expired},
                  {"dropped", l->dropped},
                  {"unsettled", l->unsettled},
                  {"vm_bytes", (int64_t)s.vm_bytes}};
    const struct {
        const char *name;
        double value;
    } times[] = {{"wait_p50", s.wait_s[0]},       {"wait_p90", s.wait_s[1]},       {"wait_p99", s.wait_s[2]},
                 {"service_p50", s.service_s[0]}, {"service_p90", s.service_s[1]}, {"service_p99", s.service_s[2]}};
    lua_createtable(L, 0, 25);
    lua_pushstring(L, stage->name);
    lua_setfield(L, -2, "stage");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        set_integer(L, counts[i].name, counts[i].value);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        set_number(L, times[i].name, times[i].value);
    set_number(L, "rate", s.rate);
    push_admission(L, stage);
    lua_setfield(L, -2, "admission");
    return 1;
}

WEIR_L_RAISES static int unknown_stage(lua_State *L, const struct weir_graph *g, const char *name)
{
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < g->stage_count; i++) {
        luaL_addstring(&b, i == 0 ? "'" : ", '");
        luaL_addstring(&b, g->stages[i].name);
        luaL_addstring(&b, "'");
    }
    luaL_pushresult(&b);
    return luaL_error(L, "weir.queue: there is no stage '%s'; the stages are %s", name, lua_tostring(L, -1));
}

WEIR_L_RAISES static int l_queue(lua_State *L)
{
    struct weir_graph *g = own_stage(L, "weir.queue")->graph;
    const char *name = weir_api_check_string(L, 1, "weir.queue: the stage");
    struct weir_stage *stage = weir_graph_stage(g, name);
    return stage != NULL ? push_snapshot(L, stage) : unknown_stage(L, g, name);
}

WEIR_L_RAISES static int l_stage(lua_State *L)
{
    return push_snapshot(L, own_stage(L, "weir.stage"));
}

WEIR_L_RAISES void weir_api_stage_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"queue", l_queue}, {"stage", l_stage}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
