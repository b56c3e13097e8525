/* core/policy.h - the words that configuration and queues share: what a full queue does, in which order it is emptied. */
#ifndef WEIR_CORE_POLICY_H
#define WEIR_CORE_POLICY_H

enum weir_overflow {
    WEIR_OVERFLOW_REJECT,      /* refuse; the sender is told */
    WEIR_OVERFLOW_WAIT,        /* the sender is suspended until there is room or its event's deadline passes */
    WEIR_OVERFLOW_DROP_NEWEST, /* accept and drop the new event */
    WEIR_OVERFLOW_DROP_OLDEST, /* drop the oldest waiting event, accept the new one */
    WEIR_OVERFLOW_ROUTE,       /* refuse here, offer to another stage */
};

enum weir_order {
    WEIR_ORDER_FIFO,
    WEIR_ORDER_LIFO,
    WEIR_ORDER_ADAPTIVE, /* newest first while the gate says overloaded; without one, while the queue is at least half full */
    WEIR_ORDER_CLASS,    /* highest class first, oldest first inside a class */
};

/* What a process may be short of, and what is done about that (controller/overload.h). */
enum weir_resource { WEIR_RESOURCE_MEMORY, WEIR_RESOURCE_DESCRIPTORS, WEIR_RESOURCE_LAG, WEIR_RESOURCE_COUNT };
enum weir_relief_action {
    WEIR_RELIEF_COLLECT,
    WEIR_RELIEF_SHRINK,
    WEIR_RELIEF_CLOSE,
    WEIR_RELIEF_SHED,
    WEIR_RELIEF_STOP,
    WEIR_RELIEF_COUNT,
};

/* What a controller moves: a pool has one of THREADS, a stage one of BATCH and any number of ADMISSION. */
enum weir_knob { WEIR_KNOB_THREADS, WEIR_KNOB_BATCH, WEIR_KNOB_ADMISSION };

#endif
