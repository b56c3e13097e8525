/* bindings/lua/test_run.h - `weir test`: busted in a Lua state of its own, with `weir.test`, whose stages are
 * real ones: the host's graph, workers without threads that are driven by hand, the binding's VMs, the HTTP
 * server on a socket pair. What is outside (sources, sinks) is recorded, and the clock stands until a test moves it.
 * Threads: the caller's alone, but for one that lets the clock go on while a handler computes too long. */
#ifndef WEIR_LUA_TEST_RUN_H
#define WEIR_LUA_TEST_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"

struct weir_graph;

/* An application that a test wants: `path`, or `text`, which calls itself `name` and has its files in `folder`. */
struct weir_lua_test_source {
    const char *path; /* NULL: `text` */
    const char *text;
    size_t len;
    const char *name, *folder;
    const char *const *sets; /* path, value, path, value, …: as --set */
    size_t set_count;        /* pairs */
};

/* What the program lends: the configuration's half of an application, which the binding knows nothing about. */
struct weir_lua_test_host {
    void *self;
    /* Builds the graph with all scripts loaded; sources and sinks open nothing, and their makers are the caller's to
     * set. Problems are appended to `report`. */
    int (*open)(void *self, const struct weir_lua_test_source *source, struct weir_strbuf *report, void **ret,
                struct weir_graph **ret_graph, struct weir_err *reterr);
    /* Its workers have been destroyed: frees graph and configuration. */
    void (*close)(void *self, void *opened);
};

struct weir_lua_test_options {
    const char *const *arguments; /* busted's */
    size_t argument_count;
    bool coverage;                /* by luacov */
    struct weir_lua_test_host host;
};

/* Runs the specs, which print what busted prints. WEIR_OK: `*ret_failed` says whether any failed. WEIR_E_NOTFOUND: busted (or
 * luacov, if it was asked for) is not installed. */
int weir_lua_test_run(const struct weir_lua_test_options *options, bool *ret_failed, struct weir_err *reterr);

#endif
