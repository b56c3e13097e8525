/* tests/unit/preempt_fixture.h - slices and limits of calls in virtual time, beside lua_fixture.h. Scripts
 * call weir.tick(ms), which lets time pass as the watchdog sees it: it gives its orders, and its signal comes
 * before weir.tick returns (ThreadSanitizer: the standing hook looks). */
#ifndef WEIR_TESTS_UNIT_PREEMPT_FIXTURE_H
#define WEIR_TESTS_UNIT_PREEMPT_FIXTURE_H

#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>

#include "core/watchdog.h"
#include "lua/preempt.h"
#include "lua/script.h"
#include "lua/vm.h"
#include "lua_fixture.h"

static struct weir_watchdog *dog;
static struct weir_watch watch;
static uint64_t cpu_limit_ns; /* of the VMs that serve */

#ifdef __SANITIZE_THREAD__
enum { SIGNALS = 0 };
#else
enum { SIGNALS = 1 };
#endif

/* --- weir.tick and its like --- */

static void pass(uint64_t ms)
{
    weir_watchdog_step(dog, weir_clock_ns());
    weir_clock_set_virtual(weir_clock_ns() + ms * WEIR_NS_PER_MS);
    weir_watchdog_step(dog, weir_clock_ns());
}

static int l_tick(lua_State *L)
{
    pass((uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

/* Time passes in steps of 10 ms, and it does not ask whether it should give up. */
static int l_deaf(lua_State *L)
{
    for (lua_Integer ms = luaL_checkinteger(L, 1); ms > 0; ms -= 10)
        pass(10);
    return 0;
}

static void block_signal(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 4); /* the watchdog's */
    assert_int_equal(pthread_sigmask(how, &set, NULL), 0);
}

/* Time passes, and no signal comes: no hook sees the order, only a function that asks. */
static int l_silent(lua_State *L)
{
    block_signal(SIG_BLOCK);
    return l_tick(L);
}

static inline void hear_again(void)
{
    block_signal(SIG_UNBLOCK);
}

static int l_doomed(lua_State *L)
{
    lua_pushboolean(L, weir_preempt_doomed(L));
    return 1;
}

static void prepare(lua_State *L, void *arg)
{
    static const luaL_Reg functions[] = {
        {"tick", l_tick}, {"deaf", l_deaf}, {"silent", l_silent}, {"doomed", l_doomed}, {NULL, NULL}};
    struct weir_lua_script *script = (struct weir_lua_script *)(uintptr_t)weir_vm_of(L)->script;
    (void)arg;
    script->limits.cpu_ns = cpu_limit_ns; /* at the latest when it is compiled: for all VMs after that */
    luaL_setfuncs(L, functions, 0);
}

static int open_dog(void **state)
{
    (void)state;
    memset(&watch, 0, sizeof watch);
    cpu_limit_ns = 1000 * WEIR_NS_PER_S;
    weir_clock_set_virtual(1000 * WEIR_NS_PER_S);
    assert_int_equal(weir_watchdog_create(lua_limits.slice_ns, &dog, NULL), WEIR_OK);
    weir_watchdog_add(dog, &watch, "worker", NULL);
    weir_vm_set_prepare(prepare, NULL);
    return 0;
}

static int close_dog(void **state)
{
    weir_vm_set_prepare(NULL, NULL);
    weir_watchdog_remove(&watch);
    weir_watchdog_stop(dog);
    return test_teardown(state);
}

/* step(ms): time passes, and enough instructions for a standing hook to see it. forever(): time passes until
 * that is ended. */
#define HEAD                                                                                                 \
    "local weir = require 'weir'\n"                                                                          \
    "local function out(...) assert(weir.emit('out', ...)) end\n"                                            \
    "local function step(ms) weir.tick(ms) for _ = 1, 2500 do end end\n"                                     \
    "local function forever() while true do step(11) end end\n"

/* The turn of those that were preempted: until `max` have run, or none is left. Returns how many have. */
static inline int run_aside(struct lua_app *app, int max)
{
    struct weir_list *node;
    int n = 0;
    while (n < max && (node = weir_list_take_first(&app->w->aside)) != NULL) {
        struct weir_aside *a = WEIR_LIST_ENTRY(node, struct weir_aside, node);
        a->run(a);
        lua_pump(app);
        n++;
    }
    return n;
}

/* As many VMs may be taken: with three of them the next event would find none, and lua_pump offer it again
 * and again. */
static inline int count_aside(struct lua_app *app)
{
    int n = 0;
    for (const struct weir_list *node = app->w->aside.next; node != &app->w->aside; node = node->next)
        n++;
    return n;
}

static inline void wait_ms(struct lua_app *app, uint64_t ms)
{
    weir_clock_set_virtual(weir_clock_ns() + ms * WEIR_NS_PER_MS);
    weir_worker_now(app->w);
    weir_timers_run(app->w);
    lua_pump(app);
}

static inline int64_t ended_as(struct lua_app *app, enum weir_reason reason)
{
    return lua_count(&lua_seat(app, "a")->ledger.reasons[reason]);
}

/* Sends `v` and lets all of it happen, with the log in `logged`. Returns how often it was preempted. */
static inline int send_whole(struct lua_app *app, int v)
{
    int saved = log_begin();
    lua_send_int(app, "a", v);
    int n = run_aside(app, 1000);
    log_end(saved);
    return n;
}

#define DOG_TEST(f) cmocka_unit_test_setup_teardown(f, open_dog, close_dog)

#endif
