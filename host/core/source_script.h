/* core/source_script.h - a script that a source asks on the way of a request into its first queue, or when no
 * queue would have it: what class is it of, what is it answered. A function that runs in place, on the
 * source's worker, in a small VM of its own, within limits of its own; it can't wait, nor send.
 * A binding implements it (bindings/lua/source_script.c); the loader comes with the graph. */
#ifndef WEIR_CORE_SOURCE_SCRIPT_H
#define WEIR_CORE_SOURCE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { WEIR_SOURCE_SCRIPT_MEMORY = 8 << 20 }; /* bytes of its VM, one per worker */

struct weir_request;
struct weir_seat;
struct weir_source_script;

struct weir_source_script_ops {
    /* Asks for the class of `r`, which stays the caller's. The class; -1 and `why` "": it says none; -1 and
     * `why`: it failed, or what it says is no class. Worker thread, not inside other logic (weir_watch_runs).
     */
    int (*classify)(struct weir_source_script *s, struct weir_request *r, char *why, size_t size);
    /* Has it answer `r`, which was refused or dropped (r->refusal). true: it has, and the request is gone.
     * false: the request is the caller's still. `why` "", or how it failed, in either case. As above. */
    bool (*answer)(struct weir_source_script *s, struct weir_request *r, char *why, size_t size);
    /* Ends and frees it. Worker thread, or the one that made it when the worker was never started. */
    void (*close)(struct weir_source_script *s);
};

struct weir_source_script {
    const struct weir_source_script_ops *ops; /* [const] */
    struct weir_seat *seat;                   /* [const] the source's */
};

/* A script that was read, for all workers. */
struct weir_source_script_maker {
    /* One for a worker. Control thread. */
    int (*make)(void *self, struct weir_seat *seat, struct weir_source_script **ret, struct weir_err *reterr);
    void (*destroy)(void *self); /* after the last one has closed */
    void *self;
};

struct weir_script_loader {
    /* Reads and compiles `file`, whose `require` looks beneath `folder`. A failure names file and line.
     * Control thread. */
    int (*load)(const char *file, const char *folder, struct weir_source_script_maker *ret,
                struct weir_err *reterr);
};

#endif
