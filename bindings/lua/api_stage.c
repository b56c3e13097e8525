/* weir.queue and weir.stage: what the counters of a stage say now, so that an application can see load and
 * act on it. */
#include <lauxlib.h>

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
        const struct weir_hist_sum *of;
        double quantile;
    } times[] = {{"wait_p50", &l->wait_ns, 0.5},       {"wait_p90", &l->wait_ns, 0.9},
                 {"wait_p99", &l->wait_ns, 0.99},      {"service_p50", &l->service_ns, 0.5},
                 {"service_p90", &l->service_ns, 0.9}, {"service_p99", &l->service_ns, 0.99}};
    lua_createtable(L, 0, 24);
    lua_pushstring(L, stage->name);
    lua_setfield(L, -2, "stage");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        set_integer(L, counts[i].name, counts[i].value);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        set_number(L, times[i].name, (double)weir_hist_quantile(times[i].of, times[i].quantile) / 1e9);
    set_number(L, "rate", s.rate);
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
