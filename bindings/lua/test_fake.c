/* What replaces functions in the VMs of applications under test: fakes of weir.http and the like, which ask the specs, and
 * emits that are refused by order. The replacing itself is weir/test_stage.lua, run in each VM before its script. */
#include <lauxlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/seat.h"
#include "core/stage.h"
#include "lua/convert.h"
#include "lua/test_inner.h"

/* The application that the VM belongs to. Upvalue 1 of every function here: the run. */
static struct weir_test_app *app_of(lua_State *L)
{
    struct weir_test_run *run = lua_touserdata(L, lua_upvalueindex(1));
    return weir_test_app_of(run, weir_vm_of(L)->seat->stage->graph);
}

/* ---- fakes ---- */

struct question {
    struct weir_test_app *app;
    const char *name, *stage;
    size_t name_len;
    bool answered;
};

static void keep(struct weir_test_app *app, struct weir_value v)
{
    weir_value_unref(app->scratch);
    app->scratch = v;
}

/* In the specs' state: dispatch(name, stage, arguments) -> {n=, …}, which becomes the scratch value. */
WEIR_L_RAISES static int l_ask_specs(lua_State *L)
{
    struct question *q = lua_touserdata(L, 1);
    struct weir_test_run *run = q->app->run;
    struct weir_encoded enc;
    struct weir_value v;
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->dispatch_ref);
    lua_pushlstring(L, q->name, q->name_len);
    lua_pushstring(L, q->stage);
    weir_convert_push(L, q->app->scratch, 0);
    lua_call(L, 3, 1);
    run->vm.running = &run->call;
    run->vm.buffer.len = 0;
    weir_convert_encode(L, -1, q->name, &enc);
    if (enc.request != NULL)
        return luaL_error(L, "%s: a fake can't answer with a request", q->name);
    if (!weir_convert_take(&run->vm, &enc, &v))
        return luaL_error(L, "out of memory");
    keep(q->app, v);
    return 0;
}

/* The same for what weir.call asks of a sink: dispatch("call.answer", sink, {n=1, value}) -> {n=1, answer}, or {n=0}: none. */
WEIR_L_RAISES static int l_ask_answer(lua_State *L)
{
    struct question *q = lua_touserdata(L, 1);
    struct weir_test_run *run = q->app->run;
    struct weir_encoded enc;
    struct weir_value v;
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->dispatch_ref);
    lua_pushlstring(L, q->name, q->name_len);
    lua_pushstring(L, q->stage);
    lua_createtable(L, 1, 1);
    weir_convert_push(L, q->app->scratch, 0);
    lua_rawseti(L, -2, 1);
    lua_pushinteger(L, 1);
    lua_setfield(L, -2, "n");
    lua_call(L, 3, 1);
    lua_getfield(L, -1, "n");
    q->answered = lua_tointeger(L, -1) == 1;
    lua_rawgeti(L, -2, 1);
    run->vm.running = &run->call;
    run->vm.buffer.len = 0;
    weir_convert_encode(L, -1, "t.fake.call: the answer", &enc);
    if (enc.request != NULL)
        return luaL_error(L, "t.fake.call: the answer can't hold a request");
    if (!weir_convert_take(&run->vm, &enc, &v))
        return luaL_error(L, "out of memory");
    keep(q->app, v);
    return 0;
}

/* Asks, and keeps what was raised for the spec that runs the stage. */
static bool ask_specs(struct question *q, lua_CFunction how)
{
    lua_State *T = q->app->run->L;
    if (!lua_checkstack(T, 4))
        return false;
    lua_pushcfunction(T, how);
    lua_pushlightuserdata(T, q);
    if (lua_pcall(T, 1, 0, 0) == LUA_OK)
        return true;
    if (q->app->error_ref == LUA_NOREF)
        q->app->error_ref = luaL_ref(T, LUA_REGISTRYINDEX); /* can only fail when there is no memory at all */
    else
        lua_pop(T, 1);
    return false;
}

/* call(name, arguments) -> {n=, …} */
WEIR_L_RAISES static int l_call(lua_State *L)
{
    struct weir_test_app *app = app_of(L);
    struct weir_vm *vm = weir_vm_of(L);
    struct weir_encoded enc;
    struct weir_value v;
    struct question q = {.app = app, .stage = vm->seat->stage->name};
    q.name = luaL_checklstring(L, 1, &q.name_len);
    vm->buffer.len = 0;
    weir_convert_encode(L, 2, q.name, &enc);
    if (!weir_convert_take(vm, &enc, &v))
        return luaL_error(L, "out of memory");
    keep(app, v);
    if (!ask_specs(&q, l_ask_specs))
        return luaL_error(L, "the fake of %s in the spec raised an error", q.name);
    weir_convert_push(L, app->scratch, 0);
    return 1;
}

static bool is_active(const struct weir_test_run *run, const char *name)
{
    for (size_t i = 0; i < run->active_count; i++)
        if (strcmp(run->active[i], name) == 0)
            return true;
    return false;
}

bool weir_test_fake_answer(struct weir_test_app *app, const char *sink, struct weir_value asked, struct weir_value *ret)
{
    static const char name[] = "call.answer";
    struct question q = {.app = app, .name = name, .stage = sink, .name_len = sizeof name - 1};
    if (!is_active(app->run, "call"))
        return false;
    keep(app, weir_value_ref(asked));
    if (!ask_specs(&q, l_ask_answer) || !q.answered)
        return false;
    *ret = weir_value_ref(app->scratch);
    return true;
}

/* ---- faults ---- */

static struct weir_test_fault *find_fault(struct weir_test_app *app, const struct weir_stage *s, const char *port)
{
    WEIR_LIST_EACH(node, following, &app->faults)
    {
        struct weir_test_fault *f = WEIR_LIST_ENTRY(node, struct weir_test_fault, node);
        if (f->left != 0 && (f->stage == NULL || f->stage == s) && strcmp(f->port, port) == 0)
            return f;
    }
    return NULL;
}

/* A queue that has no room, or is closed, refuses as it would in earnest: it counts, and the request is answered 503. */
/* arm(port, …) -> whether its queues refuse from now on, port, … */
WEIR_L_RAISES static int l_arm(lua_State *L)
{
    struct weir_test_app *app = app_of(L);
    struct weir_stage *s = weir_vm_of(L)->seat->stage;
    struct weir_test_fault *f = lua_type(L, 1) == LUA_TSTRING ? find_fault(app, s, lua_tostring(L, 1)) : NULL;
    struct weir_port *port = f != NULL ? weir_stage_port(s, f->port) : NULL;
    int n = lua_gettop(L);
    lua_pushboolean(L, port != NULL);
    lua_insert(L, 1);
    if (port == NULL)
        return n + 1;
    if (f->left > 0)
        f->left--;
    app->shut = true;
    for (size_t i = 0; i < port->edge_count; i++) {
        struct weir_queue *q = &port->edges[i].target->queue;
        if (f->closed)
            atomic_store_explicit(&q->closed, true, memory_order_relaxed);
        else
            q->capacity = 0;
    }
    return n + 1;
}

void weir_test_fault_restore(struct weir_test_app *app)
{
    for (size_t i = 0; i < app->g->stage_count; i++) {
        struct weir_queue *q = &app->g->stages[i].queue;
        if (app->capacities != NULL && app->shut) {
            q->capacity = app->capacities[i];
            atomic_store_explicit(&q->closed, false, memory_order_relaxed);
        }
    }
    app->shut = false;
}

/* restore(…) -> … */
WEIR_L_RAISES static int l_restore(lua_State *L)
{
    weir_test_fault_restore(app_of(L));
    return lua_gettop(L);
}

/* host.fault(app, stage or nil, port, n or nil, "full" | "closed") */
WEIR_L_RAISES static int l_fault(lua_State *L)
{
    struct weir_test_app *app = weir_test_app_check(L, 1);
    struct weir_stage *s = lua_isnil(L, 2) ? NULL : weir_test_stage_check(L, app, 2);
    const char *port = luaL_checkstring(L, 3), *kind = luaL_checkstring(L, 5);
    lua_Integer n = luaL_optinteger(L, 4, -1);
    if (s != NULL && weir_stage_port(s, port) == NULL)
        return luaL_error(L, "stage '%s' has no port '%s'", s->name, port);
    struct weir_test_fault *f = weir_calloc(1, sizeof *f);
    char *copy = weir_strdup(port);
    if (f == NULL || copy == NULL) {
        weir_free(f);
        weir_free(copy);
        return luaL_error(L, "out of memory");
    }
    *f = (struct weir_test_fault){.stage = s, .port = copy, .left = n, .closed = strcmp(kind, "closed") == 0};
    weir_list_append(&app->faults, &f->node);
    return 0;
}

void weir_test_fault_free_all(struct weir_test_app *app)
{
    struct weir_list *node;
    while ((node = weir_list_take_first(&app->faults)) != NULL) {
        struct weir_test_fault *f = WEIR_LIST_ENTRY(node, struct weir_test_fault, node);
        weir_free(f->port);
        weir_free(f);
    }
}

/* host.clear_faults(app) */
WEIR_L_RAISES static int l_clear_faults(lua_State *L)
{
    weir_test_fault_free_all(weir_test_app_check(L, 1));
    return 0;
}

/* host.dispatch(function) */
WEIR_L_RAISES static int l_dispatch(lua_State *L)
{
    struct weir_test_run *run = weir_test_run_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, run->dispatch_ref); /* that of the spec file before */
    run->dispatch_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* ---- the VM ---- */

/* active(name) -> whether the specs have a fake for it */
WEIR_L_RAISES static int l_active(lua_State *L)
{
    struct weir_test_run *run = lua_touserdata(L, lua_upvalueindex(1));
    lua_pushboolean(L, is_active(run, luaL_checkstring(L, 1)));
    return 1;
}

/* host.active{names} */
WEIR_L_RAISES static int l_set_active(lua_State *L)
{
    struct weir_test_run *run = weir_test_run_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    run->active_count = 0;
    for (lua_Integer i = 1; i <= WEIR_TEST_FAKES_MAX && lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
        char *place = run->active[run->active_count++];
        size_t len = strlen(lua_tostring(L, -1));
        memcpy(place, lua_tostring(L, -1), len < WEIR_TEST_FAKE_NAME ? len + 1 : WEIR_TEST_FAKE_NAME);
        place[WEIR_TEST_FAKE_NAME - 1] = '\0';
        lua_pop(L, 1);
    }
    return 0;
}

/* count(…) -> how many */
WEIR_L_RAISES static int l_count(lua_State *L)
{
    lua_pushinteger(L, lua_gettop(L));
    return 1;
}

/* unpack{n=, …} -> …, where weir.json.null is nil, as it stood for one on the way */
WEIR_L_RAISES static int l_unpack(lua_State *L)
{
    lua_getfield(L, 1, "n");
    int n = (int)lua_tointeger(L, -1);
    luaL_checkstack(L, n + 2, "a fake's results");
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, 1, i);
    return n;
}

WEIR_L_RAISES static int l_next(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_next(L, 1) != 0)
        return 2;
    lua_pushnil(L);
    return 1;
}

WEIR_L_RAISES static int l_type(lua_State *L)
{
    lua_pushstring(L, luaL_typename(L, 1));
    return 1;
}

WEIR_L_RAISES static int l_close_fake(lua_State *L)
{
    lua_getfield(L, 1, "close");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 0);
    return 0;
}

/* closable(table) -> the table, whose `close` is what `<close>` calls */
WEIR_L_RAISES static int l_closable(lua_State *L)
{
    lua_settop(L, 1);
    if (luaL_newmetatable(L, "weir.test.closable")) {
        lua_pushcfunction(L, l_close_fake);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, 1);
    return 1;
}

WEIR_L_RAISES void weir_test_fake_prepare(lua_State *L, void *run)
{
    static const luaL_Reg functions[] = {
        {"call", l_call}, {"active", l_active}, {"arm", l_arm}, {"restore", l_restore}, {"count", l_count}, {"unpack", l_unpack},
        {"next", l_next}, {"type", l_type}, {"closable", l_closable}, {NULL, NULL}};
    if (weir_vm_of(L)->seat == NULL)
        return; /* the script is only compiled */
    if (luaL_loadbufferx(L, (const char *)weir_test_stage_text, weir_test_stage_len, "=weir.test", "t") != LUA_OK)
        lua_error(L);
    lua_pushvalue(L, -2);
    lua_newtable(L);
    lua_pushlightuserdata(L, run);
    luaL_setfuncs(L, functions, 1);
    lua_pushcfunction(L, lua_error);
    lua_setfield(L, -2, "error");
    lua_call(L, 2, 0);
}

WEIR_L_RAISES void weir_test_fake_open_lib(lua_State *L)
{
    static const luaL_Reg functions[] = {{"fault", l_fault},       {"clear_faults", l_clear_faults},
                                         {"dispatch", l_dispatch}, {"active", l_set_active},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
