/* t:watch(key [, timeout [, known]]): the call is suspended until the key is written, deleted or expires.
 *
 *   begin ──> suspended ──(told: written)──> continues with the value that is there then
 *                 │  ├──(told: another time to live)──> the timer is set anew
 *                 │  └──(timer: the entry is due)──> looking at it takes it out, which tells
 *                 └──(timer: timeout)──> ends the watch, continues
 *
 * A call that is cancelled while the message is on its way is an orphan until it comes. */
#include <lauxlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/seat.h"
#include "core/shared_watch.h"
#include "core/value_equal.h"
#include "core/worker.h"
#include "lua/api.h"
#include "lua/call.h"
#include "lua/shared_ud.h"

/* On the heap: it may outlive the call's stack. */
struct waiting {
    struct weir_wait wait;
    struct weir_timer timer;
    struct weir_shared_watch *watch;
    uint64_t until_ns;   /* UINT64_MAX: no timeout */
    bool cancelled;      /* the message still comes */
    bool *ret_timed_out; /* on the call's stack, which is there as long as it is not cancelled */
};

enum { TIMEOUT = 3, KNOWN, RESULT }; /* on the stack of a call of watch, after the table and the key */

static void free_waiting(struct waiting *w)
{
    weir_shared_watch_destroy(w->watch);
    weir_free(w);
}

static struct weir_worker *worker_of(const struct waiting *w)
{
    return w->watch->worker;
}

/* The timeout, or the entry's end, whichever comes first. false: no memory. */
static bool set_timer(struct waiting *w, uint64_t expires_ns)
{
    uint64_t due = expires_ns != 0 && expires_ns < w->until_ns ? expires_ns : w->until_ns;
    return due == UINT64_MAX || weir_timer_set(worker_of(w), &w->timer, due) == WEIR_OK;
}

static void finish(struct waiting *w)
{
    struct weir_call *call = w->wait.call;
    weir_timer_unset(worker_of(w), &w->timer);
    free_waiting(w);
    weir_call_continue(call);
}

/* A timer that can't be set for lack of memory ends the wait early, as if something had changed. */
static void go_on(struct waiting *w, uint64_t expires_ns)
{
    if (!set_timer(w, expires_ns) && weir_shared_watch_end(w->watch))
        finish(w);
}

static void on_change(struct weir_message *m)
{
    struct weir_shared_watch *watch = WEIR_LIST_ENTRY(m, struct weir_shared_watch, changed);
    struct waiting *w = watch->arg;
    uint64_t expires_ns;
    bool written = weir_shared_watch_heard(watch, &expires_ns);
    if (!w->cancelled) {
        if (written)
            finish(w);
        else
            go_on(w, expires_ns);
    } else if (weir_shared_watch_end(watch)) { /* else another one is on its way already */
        free_waiting(w);
    }
}

static void on_timer(struct weir_timer *timer)
{
    struct waiting *w = WEIR_LIST_ENTRY(timer, struct waiting, timer);
    struct weir_shared_watch *watch = w->watch;
    const struct weir_shared_key key = {watch->key, watch->key_len, watch->key_is_int};
    uint64_t left, now = weir_worker_now(worker_of(w));
    if (now >= w->until_ns) {
        if (!weir_shared_watch_end(watch))
            return; /* it changed just now, and the message is on its way */
        *w->ret_timed_out = true;
        finish(w);
    } else if (weir_shared_table_ttl(watch->table, &key, &left) ==
               WEIR_OK) { /* else it has expired, and we are told */
        go_on(w, left == 0 ? 0 : now + left);
    }
}

static bool on_cancel(struct weir_wait *wait)
{
    struct waiting *w = WEIR_LIST_ENTRY(wait, struct waiting, wait);
    weir_timer_unset(worker_of(w), &w->timer);
    w->cancelled = !weir_shared_watch_end(w->watch); /* the message is on its way, and finds it */
    if (!w->cancelled)
        free_waiting(w);
    return true;
}

/* Pushes what the key has now. */
WEIR_L_RAISES static int push_now(lua_State *L, struct weir_shared_table *t)
{
    struct weir_shared_key_arg k;
    struct weir_value_box *box = weir_shared_ud_box(L);
    weir_shared_ud_key(L, "watch", &k);
    if (weir_shared_table_get(t, &k.key, &box->value) == WEIR_OK)
        weir_shared_ud_push(L, box);
    else
        lua_pushnil(L);
    return 1;
}

WEIR_L_RAISES static int l_watched(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    const bool *timed_out = lua_touserdata(L, RESULT);
    if (*timed_out)
        return weir_shared_ud_refuse(L, "timeout");
    return push_now(L, weir_shared_ud_check(L, "watch"));
}

/* NULL: no memory. */
static struct waiting *make_waiting(struct weir_shared_table *t, const struct weir_shared_key *key,
                                    struct weir_worker *worker)
{
    struct waiting *w = weir_calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->watch = weir_shared_watch_create(t, key, worker);
    if (w->watch == NULL) {
        weir_free(w);
        return NULL;
    }
    w->watch->arg = w;
    w->watch->changed.deliver = on_change;
    w->wait.cancel = on_cancel;
    w->timer.fire = on_timer;
    return w;
}

/* Begins to wait, unless the value is another than `known` already. Whether it waits; if not, it is gone.
 * Never raises. */
static bool begin(struct waiting *w, const struct weir_value *known, bool *ret_memory)
{
    struct weir_value now;
    uint64_t expires_ns;
    weir_shared_watch_begin(w->watch, &now, &expires_ns);
    bool other = known != NULL && weir_value_equal(now, *known) != 1;
    weir_value_unref(now);
    *ret_memory = other || set_timer(w, expires_ns);
    if ((!other && *ret_memory) ||
        !weir_shared_watch_end(w->watch)) /* told already: the message ends the wait */
        return true;
    free_waiting(w);
    return false;
}

WEIR_L_RAISES int weir_shared_l_watch(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "watch");
    struct weir_call *call = weir_call_running(L, "t:watch");
    struct weir_worker *worker = call->vm->seat->worker;
    struct weir_shared_key_arg k;
    bool has_known = lua_gettop(L) >= KNOWN, timed = !lua_isnoneornil(L, TIMEOUT), memory;
    weir_shared_ud_key(L, "watch", &k);
    uint64_t timeout = timed ? weir_api_check_seconds(L, TIMEOUT, "t:watch: the timeout") : 0;
    weir_call_check_can_wait(L, "t:watch");
    lua_settop(L, KNOWN);
    bool *timed_out = lua_newuserdatauv(L, sizeof *timed_out, 0);
    *timed_out = false;
    struct weir_value_box *known = weir_shared_ud_box(L);
    if (has_known && !weir_shared_ud_encode(L, KNOWN, "known value", known))
        return weir_shared_ud_refuse(L, "memory");
    /* nothing raises from here to the suspension */
    struct weir_value expected = known->value;
    known->value = WEIR_VALUE_NOTHING;
    struct waiting *w = make_waiting(t, &k.key, worker);
    bool waits = false;
    memory = w != NULL;
    if (w != NULL) {
        w->ret_timed_out = timed_out;
        w->until_ns = timed ? weir_worker_now(worker) + timeout : UINT64_MAX;
        waits = begin(w, has_known ? &expected : NULL, &memory);
    }
    weir_value_unref(expected);
    if (waits)
        return weir_call_suspend(L, &w->wait, l_watched);
    return memory ? push_now(L, t) : weir_shared_ud_refuse(L, "memory");
}
