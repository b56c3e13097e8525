/* A run of specs: the Lua state that busted and the specs live in. */
#include "lua/test_run.h"

#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "lua/api.h"
#include "lua/stream_ud.h"
#include "lua/test_inner.h"

static const uint64_t CLOCK_START_NS = 1000 * WEIR_NS_PER_S;
static const uint64_t WALL_START_NS = 1700000000 * WEIR_NS_PER_S; /* 2023-11-14T22:13:20Z */
static const uint64_t LONG_NS = 100 * WEIR_NS_PER_MS; /* a handler that computes longer than that sees time go by */
static const uint64_t TICK_NS = 10 * WEIR_NS_PER_MS;

/* ---- time, for handlers that compute without end ---- */

/* The clock stands, so the watchdog would never find a call over its limits. Once one has really computed for long, the clock
 * goes on until it is over. */
struct ticker {
    pthread_t thread;
    sem_t stop;
    struct weir_test_run *run;
};

static void *tick(void *arg)
{
    struct ticker *t = arg;
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += (long)TICK_NS;
        until.tv_sec += until.tv_nsec / (long)WEIR_NS_PER_S;
        until.tv_nsec %= (long)WEIR_NS_PER_S;
        if (sem_timedwait(&t->stop, &until) == 0)
            return NULL;
        uint64_t busy = atomic_load_explicit(&t->run->busy_ns, memory_order_relaxed);
        if (busy != 0 && weir_test_real_ns() > busy + LONG_NS)
            weir_clock_set_virtual(weir_clock_ns() + TICK_NS);
    }
}

static int start_ticker(struct ticker *t, struct weir_test_run *run, struct weir_err *reterr)
{
    t->run = run;
    sem_init(&t->stop, 0, 0);
    int rc = pthread_create(&t->thread, NULL, tick, t);
    if (rc == 0)
        return WEIR_OK;
    sem_destroy(&t->stop);
    return weir_err_set(reterr, WEIR_E_IO, "can't start a thread: %s", strerror(rc));
}

static void stop_ticker(struct ticker *t)
{
    sem_post(&t->stop);
    pthread_join(t->thread, NULL);
    sem_destroy(&t->stop);
}

/* ---- the specs' state ---- */

/* As much of a VM as converters and libraries ask for. Its functions that need a running call say that there is none. */
static void init_vm(struct weir_test_run *run)
{
    struct weir_vm *vm = &run->vm;
    run->script = (struct weir_lua_script){.file = (char *)"spec", .folder = (char *)"."};
    vm->script = &run->script;
    vm->limit = vm->soft = SIZE_MAX / 4;
    vm->doom = WEIR_REASON_NONE;
    weir_list_init(&vm->idle);
    weir_list_init(&vm->bare);
    weir_list_init(&vm->suspended);
    weir_list_init(&vm->orphans);
    weir_list_init(&vm->ready);
    weir_list_init(&vm->turn.node);
    weir_list_init(&vm->timers);
    weir_list_init(&vm->streams);
    weir_list_init(&vm->node);
    vm->handle_ref = vm->init_ref = vm->request_ref = vm->stream_ref = LUA_NOREF;
    vm->array_ref = vm->loaded_ref = vm->ports_ref = vm->vars_ref = LUA_NOREF;
    run->holders[0] = &run->holder;
    run->holder.request = &run->made;
    run->call.vm = vm;
    run->call.evs = run->holders;
    run->call.count = 1;
}

WEIR_L_RAISES static int l_weir(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    return 1;
}

/* require "weir.test": weir/test.lua with the functions that are C. Upvalue: these. */
WEIR_L_RAISES static int l_weir_test(lua_State *L)
{
    if (luaL_loadbufferx(L, (const char *)weir_test_lib_text, weir_test_lib_len, "=weir.test", "t") != LUA_OK)
        return lua_error(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_getfield(L, LUA_REGISTRYINDEX, "weir.api");
    if (luaL_loadbufferx(L, (const char *)weir_test_fakes_text, weir_test_fakes_len, "=weir.test", "t") != LUA_OK)
        return lua_error(L);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_call(L, 2, 1);
    lua_call(L, 3, 1);
    return 1;
}

WEIR_L_RAISES static void preload(lua_State *L, const char *name, lua_CFunction open)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "preload");
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, open, 1);
    lua_setfield(L, -2, name);
    lua_pop(L, 3);
}

WEIR_L_RAISES static void push_arguments(lua_State *L, const struct weir_lua_test_options *o)
{
    lua_createtable(L, (int)o->argument_count, 1);
    for (size_t i = 0; i < o->argument_count; i++) {
        lua_pushstring(L, o->arguments[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_pushliteral(L, "weir test");
    lua_rawseti(L, -2, 0);
    lua_setglobal(L, "arg");
}

struct outcome {
    struct weir_test_run *run;
    lua_Integer failed;
    bool missing;
    char text[512];
};

/* main(coverage) -> whether all passed | nil, what is not there */
WEIR_L_RAISES static int l_run(lua_State *L)
{
    struct outcome *out = lua_touserdata(L, 1);
    luaL_openlibs(L);
    weir_stream_ud_open(L);
    lua_settop(L, 0);
    weir_api_open(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "weir.api");
    preload(L, "weir", l_weir);
    lua_newtable(L);
    weir_test_app_open_lib(L);
    weir_test_conn_open_lib(L);
    weir_test_fake_open_lib(L);
    preload(L, "weir.test", l_weir_test);
    push_arguments(L, out->run->options);
    if (luaL_loadbufferx(L, (const char *)weir_test_main_text, weir_test_main_len, "@weir test", "t") != LUA_OK)
        return lua_error(L);
    lua_pushboolean(L, out->run->options->coverage);
    lua_call(L, 1, 2);
    if (lua_isnil(L, -2)) {
        out->missing = true;
        snprintf(out->text, sizeof out->text, "%s", luaL_optstring(L, -1, "?"));
    } else {
        out->failed = !lua_toboolean(L, -2);
    }
    return 0;
}

static int run_specs(struct weir_test_run *run, bool *ret_failed, struct weir_err *reterr)
{
    struct outcome out = {.run = run};
    lua_State *L = luaL_newstate();
    if (L == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    run->vm.L = run->L = L;
    *(struct weir_vm **)lua_getextraspace(L) = &run->vm;
    lua_pushcfunction(L, weir_l_traceback);
    lua_pushcfunction(L, l_run);
    lua_pushlightuserdata(L, &out);
    int status = lua_pcall(L, 1, 0, 1), rc = WEIR_OK;
    if (status != LUA_OK)
        rc = weir_err_set(reterr, WEIR_E_SCRIPT, "%s", weir_vm_error_text(L, status));
    else if (out.missing)
        rc = weir_err_set(reterr, WEIR_E_NOTFOUND, "%s", out.text);
    else
        *ret_failed = out.failed != 0;
    run->L = L;
    while (!weir_list_empty(&run->apps))
        weir_test_app_close(WEIR_LIST_ENTRY(run->apps.next, struct weir_test_app, node));
    lua_close(L);
    weir_vm_buffer_free(&run->vm.buffer);
    return rc;
}

int weir_lua_test_run(const struct weir_lua_test_options *options, bool *ret_failed, struct weir_err *reterr)
{
    struct ticker ticker;
    struct weir_test_run *run = weir_calloc(1, sizeof *run);
    if (run == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "out of memory");
    run->options = options;
    run->dispatch_ref = LUA_NOREF;
    weir_list_init(&run->apps);
    init_vm(run);
    int rc = start_ticker(&ticker, run, reterr);
    if (rc == WEIR_OK) {
        weir_clock_set_virtual(CLOCK_START_NS);
        weir_clock_set_virtual_wall(WALL_START_NS - CLOCK_START_NS);
        weir_vm_set_prepare(weir_test_fake_prepare, run);
        rc = run_specs(run, ret_failed, reterr);
        weir_vm_set_prepare(NULL, NULL);
        weir_clock_set_virtual(0);
        stop_ticker(&ticker);
    }
    weir_free(run);
    return rc;
}
