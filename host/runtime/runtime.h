/* runtime/runtime.h - a running application: built from its configuration, started, drained, stopped. All of it belongs to the
 * control thread, which runs the loop that is handed in. */
#ifndef WEIR_RUNTIME_RUNTIME_H
#define WEIR_RUNTIME_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "core/graph.h"

struct weir_app;
struct weir_pressure;
struct weir_recent;
struct weir_registry;
struct weir_runtime;

enum weir_runtime_state {
    WEIR_RUNTIME_BUILT,
    WEIR_RUNTIME_RUNNING,  /* all sources listen */
    WEIR_RUNTIME_DRAINING, /* no new events; what is in is being finished */
    WEIR_RUNTIME_STOPPED,
};

/* Builds stages, opens listening sockets, loads every script. All problems with scripts are appended to `report`. `app`, `registry` and `loop` must outlive it. */
int weir_runtime_create(const struct weir_app *app, const struct weir_registry *registry, uv_loop_t *loop, struct weir_strbuf *report,
                        struct weir_runtime **ret, struct weir_err *reterr);
/* Starts all pools; sources listen when it returns. */
int weir_runtime_start(struct weir_runtime *rt, struct weir_err *reterr);
/* Stops: sources first, then, when nothing is in flight or `drain` is over, the rest; `done(arg)` is called from the loop when all workers have ended.
 * A second call stops at once. */
void weir_runtime_stop(struct weir_runtime *rt, void (*done)(void *arg), void *arg);
/* The same without a limit of time: for a host whose sources have come to their ends. weir_runtime_stop after it sets the limit. */
void weir_runtime_finish(struct weir_runtime *rt, void (*done)(void *arg), void *arg);
/* Before start: `ended(arg)` is called from the loop, once, when all sources that were to end the host have come to their ends
 * (weir_graph_expect_end). */
void weir_runtime_on_end(struct weir_runtime *rt, void (*ended)(void *arg), void *arg);
/* Log files were rotated: opens them anew. */
void weir_runtime_reopen(struct weir_runtime *rt);
/* Reads anew what sources have from files: certificates. What can't be read stays as it was, which is logged. */
void weir_runtime_reload_files(struct weir_runtime *rt);
/* After `done`, or when it was never started. Takes NULL. */
void weir_runtime_destroy(struct weir_runtime *rt);

enum weir_runtime_state weir_runtime_state(const struct weir_runtime *rt);
struct weir_graph *weir_runtime_graph(struct weir_runtime *rt);
/* What stages did over the last second, and queue lengths over the last hour. Never NULL. */
const struct weir_recent *weir_runtime_recent(const struct weir_runtime *rt);
/* The controllers, and what they decided. Never NULL. */
struct weir_loop *weir_runtime_loop(const struct weir_runtime *rt);
const struct weir_journal *weir_runtime_journal(const struct weir_runtime *rt);
/* What is done about overload; NULL: `overload: off`. */
const struct weir_pressure *weir_runtime_pressure(const struct weir_runtime *rt);
const struct weir_app *weir_runtime_app(const struct weir_runtime *rt);
/* Since start, in ns. */
uint64_t weir_runtime_uptime_ns(const struct weir_runtime *rt);
/* Share of time that the pool's workers were not parked over the last second, 0..1. */
double weir_runtime_pool_busy(const struct weir_runtime *rt, size_t pool_index);
/* The address of source stage `i` as a client types it ("http://127.0.0.1:8080"); NULL when stage i is no source that listens. */
const char *weir_runtime_address(const struct weir_runtime *rt, size_t stage_index);
/* Whether the last stop had to drop anything because the drain time was over, or the second stop cut it short. */
bool weir_runtime_was_cut(const struct weir_runtime *rt);
/* After `done`: whether a handler still blocks its worker. Its thread uses everything, so nothing may be destroyed: the process must end. */
bool weir_runtime_is_stuck(const struct weir_runtime *rt);

#endif
