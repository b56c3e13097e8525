/* core/source.h - the table that a source type implements: what makes events, one instance per worker of the stage's pool. */
#ifndef WEIR_CORE_SOURCE_H
#define WEIR_CORE_SOURCE_H

#include <stdbool.h>

#include "base/err.h"

struct weir_seat;
struct weir_source;
struct weir_strbuf;

struct weir_source_ops {
    /* Begins to make events. Worker thread. */
    int (*start)(struct weir_source *s, struct weir_err *reterr);
    /* Makes no new events from now on, ends what is idle, lets what is under way end. Worker thread. */
    void (*stop)(struct weir_source *s);
    /* After stop: whether nothing is under way any more. Worker thread. */
    bool (*idle)(const struct weir_source *s);
    /* Closes every handle it has in the worker's loop, at once; connections are cut. Requests still held elsewhere come back later
     * (their `end` or answer is posted to this worker), so memory that they need stays until `destroy`. Worker thread. */
    void (*close)(struct weir_source *s);
    /* Frees it; the loop has run dry. Any one thread. */
    void (*destroy)(struct weir_source *s);
};

struct weir_source {
    const struct weir_source_ops *ops; /* [const] */
    struct weir_seat *seat;            /* [const] */
};

/* What a source shares between its workers (the listening sockets), made by the control thread when the application starts. */
struct weir_source_maker {
    /* One instance for a worker. Control thread. */
    int (*make)(void *self, struct weir_seat *seat, struct weir_source **ret, struct weir_err *reterr);
    /* Appends the members of a JSON object (`"connections":3,"requests":9`) for stats. Any thread. NULL: none. */
    void (*stats)(void *self, struct weir_strbuf *out);
    /* The log was rotated: open files anew. Control thread. NULL: nothing to do. */
    void (*reopen)(void *self);
    /* Read anew what it reads from files besides the log, such as certificates; what can't be read stays as it was. Logs what came of it.
     * Control thread. NULL: nothing to do. */
    void (*reload)(void *self);
    /* A worker of the stage's pool got stuck, or came back (weir_worker_stuck): has the others accept in the place of those that are stuck.
     * Control thread; it only posts. NULL: nothing to do. */
    void (*stuck)(void *self);
    void (*destroy)(void *self);
    void *self;
};

#endif
