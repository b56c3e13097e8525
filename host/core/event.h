/* core/event.h - one unit of work. It has exactly one owner: the source or handler that makes it, a lane, a batch; an emit
 * that is accepted gives it away. Memory comes from the worker's free list. */
#ifndef WEIR_CORE_EVENT_H
#define WEIR_CORE_EVENT_H

#include <stdint.h>

#include "base/list.h"
#include "core/request.h"
#include "core/value.h"

struct weir_worker;

/* W3C trace context (https://www.w3.org/TR/trace-context/); all zero: none. */
struct weir_trace {
    unsigned char trace_id[16], parent_id[8];
    unsigned char flags;
};

struct weir_event {
    struct weir_list node;        /* of whatever list holds it */
    struct weir_value value;      /* the payload */
    struct weir_request *request; /* NULL: none; held by the event */
    uint64_t id;                  /* unique in this process */
    uint64_t arrival_ns;          /* when the source made the first event of this line of work; inherited */
    uint64_t deadline_ns;         /* 0: none; inherited */
    uint64_t enqueued_ns;         /* when its queue accepted it */
    uint64_t started_ns;          /* when its handler started */
    uint64_t source;              /* which stream of which source (a connection); inherited */
    struct weir_value key_value;  /* the key given by source or emit; nil: none; inherited; holds a reference */
    uint64_t key;                 /* its hash; 0: none */
    struct weir_trace trace;      /* inherited */
    uint32_t bytes;               /* what it counts for in its queue */
    uint32_t place;               /* in the queue that it waits in: its partition when that one is ordered, its key's hash when it is fair */
    uint8_t class_index;          /* 0 is the highest; inherited */
    uint8_t call;                 /* enum weir_event_call (core/reply.h): whether a stage waits for its answer */
};

/* An empty event of its own id and the default class; NULL when there is no memory. The worker's thread. */
struct weir_event *weir_event_create(struct weir_worker *w);
/* The same with class, deadline, arrival, source, key and trace of `parent`. */
struct weir_event *weir_event_create_from(struct weir_worker *w, const struct weir_event *parent);
/* Takes the reference `key` as the event's key. */
void weir_event_set_key(struct weir_event *ev, struct weir_value key);
/* Frees it and its references to value and key. It must hold no request any more. The thread of worker `w`, which need not have made it. Takes NULL. */
void weir_event_free(struct weir_worker *w, struct weir_event *ev);

#endif
