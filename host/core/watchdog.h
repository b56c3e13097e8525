/* core/watchdog.h - the thread that sees what others can't see of themselves: logic over its limits, workers that are stuck, a control
 * thread that is silent. One per runtime; it runs no logic and waits for nobody.
 *
 *   looks each tick (half the smallest slice, 1..10 ms), sooner when a slice ends before; once a second while all watched threads rest
 *
 * Errors in what it does (a signal that can't be sent) leave the call to go on; nothing depends on it but the limits.
 * Threads: as each declaration says. Lock: its list, rank WEIR_RANK_WATCHDOG. */
#ifndef WEIR_CORE_WATCHDOG_H
#define WEIR_CORE_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/watch.h"

struct weir_watchdog;

/* Makes it, and its thread; `slice_ns` is the smallest slice there is. Before all threads that it watches. */
int weir_watchdog_start(uint64_t slice_ns, struct weir_watchdog **ret, struct weir_err *reterr);
/* Ends and frees it; all watches have been removed. Takes NULL. */
void weir_watchdog_stop(struct weir_watchdog *dog);
/* `changed(arg)` is called when a worker gets stuck or comes back: on the watchdog's thread, under its lock, so it may only send a wake-up.
 * Before the first worker is added. */
void weir_watchdog_tell(struct weir_watchdog *dog, void (*changed)(void *arg), void *arg);

/* The calling thread is watched from here on, as `name` (kept) or, of `worker`, as that. `dog` NULL: nothing. */
void weir_watchdog_add(struct weir_watchdog *dog, struct weir_watch *w, const char *name, struct weir_worker *worker);
/* No more; logs nothing. Nothing if it was not added. The thread that added it. */
void weir_watchdog_remove(struct weir_watch *w);

/* When it returns, the watchdog looks at nothing any more of logic that had ended before: its stage may be freed. Takes NULL. Any thread. */
void weir_watchdog_sync(struct weir_watchdog *dog);
/* Ends its doze, if it dozes. Any thread; takes its lock only then. */
void weir_watchdog_wake(struct weir_watchdog *dog);
/* One look at all, at time `now_ns`; returns when to look again at the latest. The watchdog's thread; tests without one. */
uint64_t weir_watchdog_step(struct weir_watchdog *dog, uint64_t now_ns);
/* For tests: one without a thread. weir_watchdog_stop frees it, too. */
int weir_watchdog_create(uint64_t slice_ns, struct weir_watchdog **ret, struct weir_err *reterr);

#endif
