/* tests/unit/support.h - the core at work in a test: a graph whose stages are C functions, fed by hand or by
 * a source. Two ways to run it:
 *
 *   by hand   rig_worker makes a worker that never gets a thread; the test is its thread: rig_emit, rig_take,
 *             rig_run, and a virtual clock
 *   for real  rig_start starts the pools; rig_drain stops the sources and waits until nothing is in flight;
 *             rig_stop ends it
 *
 * Either way rig_destroy checks the ledgers of all stages, and each test's teardown that no memory is left. */
#ifndef WEIR_UNIT_SUPPORT_H
#define WEIR_UNIT_SUPPORT_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "core/event.h"
#include "core/graph.h"
#include "core/ledger.h"
#include "core/port.h"
#include "core/queue.h"
#include "core/request.h"
#include "core/seat.h"
#include "core/worker.h"
#include "test.h"

/* ---- handlers ---- */

struct rig_handler;

/* What a stage's function returns: WEIR_REASON_NONE, or why it failed, or this: it kept the event. */
#define RIG_KEPT ((enum weir_reason)(WEIR_REASON_COUNT + 1))

struct rig_logic { /* of a stage; shared by its workers */
    enum weir_reason (*handle)(struct rig_handler *h, struct weir_event *ev); /* one event; worker thread */
    void *arg;
    int fail_make_at;             /* the make that fails, from 1; 0: none */
    _Atomic int made, closed;     /* handlers */
    _Atomic size_t largest_batch; /* roughly: workers write it at once */
};

/* A call that outlives the function: it ends after a time, or when an emit that waits has its verdict. */
struct rig_call {
    struct weir_list node; /* of the handler's calls */
    struct rig_handler *handler;
    struct weir_event *ev;
    uint64_t due_ns; /* UINT64_MAX: at the verdict */
    struct weir_emission emission;
};

struct rig_handler {
    struct weir_handler h;
    struct rig_logic *logic;
    struct weir_list calls;
    uv_timer_t timer; /* ends calls that are due */
    bool has_timer;
};

/* Keeps `ev` for `delay_ns`, then ends it as handled. By hand: until rig_end_due. */
enum weir_reason rig_keep(struct rig_handler *h, struct weir_event *ev, uint64_t delay_ns);
/* Emits `out` through `port`; when it has to wait, keeps `ev` until the verdict. A refused event is freed,
 * its request goes back to `ev`. */
enum weir_reason rig_emit_waiting(struct rig_handler *h, struct weir_port *port, struct weir_event *ev,
                                  struct weir_event *out);
/* Ends the kept calls that are due. Worker thread. */
void rig_end_due(struct rig_handler *h);
/* Emits a child of `ev` with its value (and its request, if `move`) through port `p` of the stage. Frees a
 * refused one. */
enum weir_verdict rig_forward(struct rig_handler *h, struct weir_event *ev, size_t p, bool move);

/* Functions for stages: does nothing; fails with ERROR; emits a child through port 0. */
enum weir_reason rig_handled(struct rig_handler *h, struct weir_event *ev);
enum weir_reason rig_failed(struct rig_handler *h, struct weir_event *ev);
enum weir_reason rig_forwarded(struct rig_handler *h, struct weir_event *ev);

/* ---- the rig ---- */

struct rig {
    struct weir_graph *g;
    struct rig_logic *logics; /* by stage */
    uv_loop_t loop;           /* of the control thread, which is the test's */
};

struct rig *rig_create(size_t stages, size_t pools);
void rig_pool(struct rig *r, size_t i, const char *name, unsigned max, bool blocking);
/* Makes stage `i` a handler on pool `pool` with a queue of 1000 events and 1 MiB, `reject`; change what is to
 * differ, then wire. */
struct weir_stage *rig_stage(struct rig *r, size_t i, const char *name, size_t pool,
                             enum weir_reason (*fn)(struct rig_handler *h, struct weir_event *ev), void *arg);
/* What rig_stage and rig_source begin with; for stages of other kinds. */
struct weir_stage *rig_stage_defaults(struct rig *r, size_t i, const char *name, size_t pool);
/* Adds a port with edges to the stages in `to` (n of them), with the policies that their queues have now. */
struct weir_port *rig_wire(struct rig *r, size_t from, const char *port, const size_t *to, size_t n);
/* The same with one edge. */
struct weir_port *rig_wire_one(struct rig *r, size_t from, const char *port, size_t to);
void rig_finish(struct rig *r);
/* Ends what is left of it, checks all ledgers (at rest: nothing queued, running, waiting, unsettled), frees
 * all. */
void rig_destroy(struct rig *r);

/* ---- by hand ---- */

/* A worker of pool `pool` without a thread. Sets the virtual clock to 1 s. */
struct weir_worker *rig_worker(struct rig *r, size_t pool);
/* Drops what it has, then destroys it. */
void rig_worker_end(struct weir_worker *w);
/* Moves the virtual clock and what the worker knows of it. */
void rig_advance(struct weir_worker *w, uint64_t ns);
/* An event with an integer, and one with `len` bytes of payload. */
struct weir_event *rig_event(struct weir_worker *w, int64_t value);
struct weir_event *rig_event_sized(struct weir_worker *w, size_t len);
/* Sends `ev` through port 0 of stage `from` of worker `w`. A refused event is freed, after its request was
 * given up. */
enum weir_verdict rig_emit(struct weir_worker *w, size_t from, struct weir_event *ev);
enum weir_verdict rig_emit_value(struct weir_worker *w, size_t from, int64_t value);
/* What waits at stage `s` for worker `w`, up to `max`. */
size_t rig_take(struct weir_worker *w, size_t s, struct weir_event **out, size_t max);
/* Begins and ends one event of a batch taken by rig_take. */
void rig_finish_event(struct weir_worker *w, size_t s, struct weir_event *ev);
/* One turn without a poll: fires timers, flushes, delivers, runs every stage and what was set aside until nothing is left that can run. */
void rig_run(struct weir_worker *w);

/* The ledger of a stage, over all workers. */
struct weir_ledger_sum rig_ledger(struct rig *r, size_t s);
/* Fails unless both equations hold for stage `s` on each of its seats and on their sum. */
void rig_check_ledger(struct rig *r, size_t s);

/* ---- for real ---- */

/* Brings every pool to its max. */
void rig_start(struct rig *r);
/* Something to do on a worker's thread. */
struct rig_task {
    struct weir_message message;
    void (*run)(struct rig_task *t, struct weir_worker *w);
    sem_t done;
};

/* Has the thread of `w` run `t`, and waits until it has. */
void rig_run_on(struct weir_worker *w, struct rig_task *t);
/* Waits until `done(arg)` says so: a tick of the control loop at a time. */
void rig_wait(struct rig *r, bool (*done)(void *arg), void *arg);
/* Stops the sources and waits until nothing is in flight. */
void rig_drain(struct rig *r);
/* Orders all workers to leave, cancelling what is still under way, and waits until they have. */
void rig_stop(struct rig *r);
/* Waits until pool `i` has no worker that is leaving. */
void rig_reap(struct rig *r, size_t i);

/* ---- a source that makes `total` events as fast as it is let ---- */

struct rig_feed {
    struct weir_source_maker maker; /* for the stage */
    size_t total, per_tick;         /* events of each instance; how many in one callback */
    void (*fill)(struct weir_event *ev, size_t number, void *arg); /* NULL: the value is the number */
    void *arg;
    _Atomic size_t made, refused, done; /* over all instances; instances that have made all */
    size_t wanted;                      /* of rig_feed_wait */
};

/* Makes stage `i` a source that feeds port 0. `feed` must outlive the rig. */
struct weir_stage *rig_source(struct rig *r, size_t i, const char *name, size_t pool, struct rig_feed *feed);
/* Waits until `instances` of them have made all their events. */
void rig_feed_wait(struct rig *r, struct rig_feed *feed, size_t instances);

/* ---- requests ---- */

struct rig_request {
    struct weir_request r;
    _Atomic int ends[5]; /* by enum weir_request_end */
    _Atomic int ended;   /* in all */
    _Atomic bool gone;
};

void rig_request_init(struct rig_request *q);
/* Fails unless it was ended exactly once, as `why`. */
void rig_request_check(struct rig_request *q, enum weir_request_end why);

#endif
