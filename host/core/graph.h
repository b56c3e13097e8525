/* core/graph.h - the stages and pools of an application, and the slots of its workers.
 * Owner: the runtime. Everything but queues, ledgers and pool sizes is [const] once weir_graph_finish has returned. */
#ifndef WEIR_CORE_GRAPH_H
#define WEIR_CORE_GRAPH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/pool.h"
#include "core/stage.h"

enum {
    WEIR_POOL_SLOTS_SPARE = 16,  /* how far a pool can be grown past its configured maximum */
    WEIR_GRAPH_SLOTS_MAX = 1024, /* of all pools */
};

struct weir_crew;
struct weir_failures;
struct weir_metrics;
struct weir_script_loader;
struct weir_shared_tables;
struct weir_watchdog;

/* Sources that come to an end by themselves (a file read to its end, stdin), and who is told when all have. */
struct weir_graph_ends {
    void (*tell)(void *arg);   /* [const] while workers run; any thread, no lock held; NULL: nobody */
    void *arg;                 /* [const] */
    _Atomic size_t expected;   /* [atomic acq/rel] that are to come */
};

struct weir_graph {
    struct weir_stage *stages;
    size_t stage_count;
    struct weir_pool *pools;
    size_t pool_count;
    size_t slot_count;
    /* [atomic acq/rel] by slot: its seats by stage index, made with its first worker and kept for good, so that counts outlive workers */
    _Atomic(struct weir_seat **) *slots;
    struct weir_failures *failures; /* [const] */
    struct weir_shared_tables *shared; /* [const] any name may be asked for, unless the runtime forbids it */
    struct weir_metrics *metrics;      /* [const] that scripts make */
    /* [const] while workers run; the runtime's. NULL (unit tests): nobody watches; who would post does the work in place */
    struct weir_watchdog *watchdog;
    struct weir_crew *builder; /* makes VMs: jobs run logic under limits, and are watched */
    struct weir_crew *reaper;  /* closes VMs */
    struct weir_graph_ends ends;
    _Atomic uint32_t relief; /* [atomic relaxed] one writer: the control thread (core/relief.h) */
    const struct weir_script_loader *scripts; /* [const] loads what sources ask (core/source_script.h); NULL: there is nothing that could */
    const char *folder;                       /* [const] the application's */
    size_t class_count;
    uint8_t default_class;
    const char *const *class_names; /* [const] class_count of them; NULL: only "normal" */
};

/* An empty graph whose stages and pools the caller fills in (name, kind, pool, ports with weir_graph_add_port, limits, queue settings; name,
 * blocking, min, max) before it calls weir_graph_finish. */
int weir_graph_create(size_t stage_count, size_t pool_count, struct weir_graph **ret, struct weir_err *reterr);
/* Gives stage `s` a port with room for `edge_count` edges, to be filled in; `name` is kept. NULL: no memory. The stage's next port may
 * move it. */
struct weir_port *weir_graph_add_port(struct weir_stage *s, const char *name, size_t edge_count);
/* Numbers the stages from downstream up, makes queues and slots. LIMIT: a queue or the pools are larger than the host can count. */
int weir_graph_finish(struct weir_graph *g, struct weir_err *reterr);
/* The name of a class: "normal" where none are named. Static, or the application's. */
const char *weir_graph_class_name(const struct weir_graph *g, size_t class_index);
/* The class whose name is those bytes; -1: none. Any thread. */
int weir_graph_class(const struct weir_graph *g, const char *name, size_t len);
/* The stage named so; NULL: none. Any thread. */
struct weir_stage *weir_graph_stage(struct weir_graph *g, const char *name);
/* The seats of slot `i`, made if need be. NULL: no memory. Control thread. */
struct weir_seat **weir_graph_seats(struct weir_graph *g, size_t slot);
/* Events queued, running and waiting in all stages; never 0 while one is queued or runs. Any thread. */
int64_t weir_graph_in_flight(struct weir_graph *g);
/* A source that was asked for `stop_when_done` says so when it is opened (control thread), and once when the queue behind it has taken its
 * last event (any thread): when the last of all those sources has, the host finishes what is in flight and ends, as after SIGTERM but
 * without a limit of time. */
void weir_graph_expect_end(struct weir_graph *g);
void weir_graph_end(struct weir_graph *g);
/* Workers have all been destroyed. Takes NULL. */
void weir_graph_destroy(struct weir_graph *g);

#endif
