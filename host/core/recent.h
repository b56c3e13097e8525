/* core/recent.h - what stages did a moment ago, and how long their queues were: figures of the last second, and lengths over the last
 * hour. Fed by a tick of about a second. Owner: the runtime. Control thread. */
#ifndef WEIR_CORE_RECENT_H
#define WEIR_CORE_RECENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hist.h"

enum {
    WEIR_RECENT_FINE = 120,   /* the last so many ticks */
    WEIR_RECENT_PER_COARSE = 10,
    WEIR_RECENT_COARSE = 360, /* the last so many tens of ticks */
};

struct weir_graph;
struct weir_pool;
struct weir_recent;
struct weir_stage;

/* Of one stage, between the last two ticks. */
struct weir_recent_figures {
    double span_s; /* 0: there were no two ticks yet */
    double offered, rejected, accepted, handled, failed, expired, dropped; /* per second */
    double gated; /* …: of those rejected and dropped, by the stage's gate */
    uint64_t wait_p50_ns, wait_p90_ns, wait_p99_ns, service_p50_ns, service_p90_ns, service_p99_ns; /* of the events begun and ended between them */
    double workers;   /* that its handlers kept at work, on average: 0.5 is half of one worker's time */
    double collected; /* share of that time that collecting garbage took */
};

/* Of one pool, between the last two ticks. */
struct weir_recent_pool {
    double busy;    /* share of their time that its workers were not parked */
    double cpu;     /* workers' worth of CPU time that they used */
    double delayed; /* … that they were ready to run and waited for a CPU */
    unsigned stuck; /* workers that the watchdog holds for stuck, now */
};

/* A queue's length during one step: its mean and its largest of what the ticks saw. */
struct weir_recent_length {
    float mean;
    uint32_t max;
};

int weir_recent_create(struct weir_graph *graph, struct weir_recent **ret, struct weir_err *reterr);
/* Takes NULL. */
void weir_recent_destroy(struct weir_recent *r);
/* Reads all stages, and publishes their rates and times (weir_stage.rate, wait_s, service_s). */
void weir_recent_tick(struct weir_recent *r, uint64_t now_ns);
/* Valid until the next tick. */
const struct weir_recent_figures *weir_recent_read(const struct weir_recent *r, const struct weir_stage *s);
const struct weir_recent_pool *weir_recent_read_pool(const struct weir_recent *r, const struct weir_pool *p);
/* Lengths, oldest first, into `out`, which has room for WEIR_RECENT_FINE or WEIR_RECENT_COARSE; returns how many there are. */
size_t weir_recent_fine(const struct weir_recent *r, const struct weir_stage *s, struct weir_recent_length *out);
size_t weir_recent_coarse(const struct weir_recent *r, const struct weir_stage *s, struct weir_recent_length *out);
/* The stage, behind a full queue, for whose room emits of `s` may be waiting; NULL: there is none. */
const struct weir_stage *weir_recent_waits_for(const struct weir_stage *s);
/* Why events wait at `s`: "paused"; the name of a stage that it waits for; "concurrency"; "pool": all workers of its pool are busy. NULL:
 * nothing holds it up. Static or the graph's. `busy`: of its pool, 0..1. */
const char *weir_recent_blocked_by(struct weir_stage *s, double busy, int64_t running);

#endif
