/* admin/explain.h - names what holds an application up, and the evidence for it. From facts of the last second or so, which are gathered first
 * (weir_explain_gather), follow findings, without a look at anything else: the same facts give the same findings.
 *
 * A stage has a symptom when events stand in its queue, are refused, or when whoever sends to it has to wait. Its cause is looked for where
 * it sends to first (a stage that waits for room is not at fault), then in what holds its workers. Control thread. */
#ifndef WEIR_ADMIN_EXPLAIN_H
#define WEIR_ADMIN_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strbuf.h"
#include "core/stage.h"

struct weir_view;

enum weir_cause {
    WEIR_CAUSE_PAUSED,       /* weir queue pause */
    WEIR_CAUSE_STUCK,        /* a worker is stuck in a call that can't be interrupted */
    WEIR_CAUSE_GARBAGE,      /* its VMs collect garbage most of the time */
    WEIR_CAUSE_SLOW,         /* its handler needs the CPU of all its workers */
    WEIR_CAUSE_BLOCKS,       /* its handler keeps an event-driven worker without using CPU */
    WEIR_CAUSE_STARVED,      /* another stage has the workers of its pool */
    WEIR_CAUSE_POOL,         /* all workers of its blocking pool wait in calls */
    WEIR_CAUSE_KEY,          /* one key has all the events: they go one by one */
    WEIR_CAUSE_FILES,        /* libuv's threads for files and names are all busy */
    WEIR_CAUSE_SINK,         /* what the sink writes to takes nothing, or slowly */
    WEIR_CAUSE_OUTSIDE,      /* as many calls as it may have wait for something outside */
    WEIR_CAUSE_ADMISSION,    /* its admission controllers refuse */
    WEIR_CAUSE_BURSTS,       /* there is room and time: events come in bursts, or its queue is too small for them */
    WEIR_CAUSE_COUNT,
};

struct weir_explain_stage {
    const char *name;
    size_t pool;
    enum weir_stage_kind kind;
    bool paused;
    double depth, capacity;              /* events that wait; the most of them */
    double offered, refused, handled;    /* events per second; refused: by bounds */
    double gated;                        /* … by its admission controllers */
    double wait_p50_s, service_p50_s;
    double running, concurrency;         /* calls begun and not ended, now; how many there may be on one worker */
    double workers;                      /* that its handlers kept at work */
    double collected;                    /* share of that, taken by collecting garbage */
    double vm_bytes, vm_limit;           /* of all its VMs on living workers */
    double waiting;                      /* emits that wait for room here */
    size_t waits_for;                    /* the stage that its own emits wait for; SIZE_MAX: none */
    double keys_waiting;                 /* ordered: partitions that have events; 0: it is not ordered */
    const char *controller;              /* of its admission, NULL: none */
};

struct weir_explain_pool {
    const char *name;
    bool blocking;
    double threads, max; /* workers; the most that there may be */
    double busy;         /* share of their time that they were not parked */
    double cpu;          /* workers' worth of CPU time */
    double delayed;      /* … that they waited for a CPU, ready to run */
    double stuck;        /* workers that are stuck in a call */
};

struct weir_explain_facts {
    struct weir_explain_stage *stages;
    size_t stage_count;
    struct weir_explain_pool *pools;
    size_t pool_count;
    double file_jobs, file_threads; /* what libuv's threads have to do; how many they are */
    double span_s;                  /* what rates and times are of; 0: it has not run for a second yet */
};

enum { WEIR_FINDINGS_MAX = 8, WEIR_FINDING_TEXT = 320 };

struct weir_finding {
    enum weir_cause cause;
    size_t stage; /* at fault; SIZE_MAX: none in particular */
    size_t pool;
    double weight; /* heavier ones are first: the share of the events offered that it costs, plus how full the queue is */
    char what[WEIR_FINDING_TEXT], evidence[WEIR_FINDING_TEXT], advice[WEIR_FINDING_TEXT];
};

/* Allocates; weir_explain_clear frees. */
int weir_explain_gather(const struct weir_view *v, struct weir_explain_facts *ret, struct weir_err *reterr);
void weir_explain_clear(struct weir_explain_facts *f);
/* The findings, heaviest first; returns how many: 0: nothing holds it up. */
size_t weir_explain(const struct weir_explain_facts *f, struct weir_finding out[WEIR_FINDINGS_MAX]);
/* As JSON: {"span_s": …, "findings": [{"cause", "stage", "pool", "what", "evidence", "advice"}, …], "busiest_pool": …}. */
void weir_explain_print(const struct weir_explain_facts *f, const struct weir_finding *found, size_t n, struct weir_strbuf *out);
/* "slow_stage", "blocked_sink" … */
const char *weir_cause_text(enum weir_cause cause);

#endif
