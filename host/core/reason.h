/* core/reason.h - why an event did not end as handled. Each has a counter per stage; the names are what stats and metrics show. */
#ifndef WEIR_CORE_REASON_H
#define WEIR_CORE_REASON_H

#include <stdbool.h>

/* X(NAME, outcome, text) */
#define WEIR_REASON_MAP(X)                                                                                   \
    X(FULL, rejected, "full")           /* the queue holds `capacity` events */                              \
    X(BYTES, rejected, "bytes")         /* the queue holds `bytes` bytes */                                  \
    X(SHARE, rejected, "share")         /* fair_by: its key holds as much of the queue as there is left */    \
    X(ROUTED, rejected, "routed")       /* overflow: {route: …} offered it elsewhere */                      \
    X(TOO_LATE, rejected, "expired")    /* its deadline passed before, or while it waited for room */        \
    X(CLOSED, rejected, "closed")       /* the stage takes no more: the host stops */                        \
    X(LEFT, rejected, "gone")           /* its client left while it waited for room */                       \
    X(GATE, rejected, "gate")           /* admission: over its class's rate, or over the limit */           \
    X(NOMEM, rejected, "memory")        /* no memory for the copy of a fan-out */                            \
    X(OVERLOAD, rejected, "overload")   /* the process is short of something, and its class is refused now */ \
    X(DEADLINE, expired, "deadline")    /* passed in the queue, or while it ran */                           \
    X(MAX_AGE, expired, "max_age")      /* longer in the queue than it allows */                             \
    X(GONE, expired, "gone")            /* its client left */                                                \
    X(NEWEST, dropped, "newest")        /* overflow: drop_newest */                                          \
    X(OLDEST, dropped, "oldest")        /* overflow: drop_oldest */                                          \
    X(DISPLACED, dropped, "displaced")  /* order: class: the queue was full, and one of a higher class came */  \
    X(SHED, dropped, "shed")            /* admission: it had waited for too long when its turn came */       \
    X(SHUTDOWN, dropped, "shutdown")    /* the drain time was over */                                        \
    X(PURGED, dropped, "purged")        /* taken out of the queue from outside: weir queue drop */          \
    X(ERROR, failed, "error")           /* the handler raised */                                             \
    X(IO, failed, "io")                 /* a sink could not write it */                                      \
    X(ENCODE, failed, "encode")         /* a sink can't write such an event: a request, or too large */      \
    X(MEMORY, failed, "memory")         /* the VM's memory limit, or the host's */                           \
    X(CPU, failed, "cpu")               /* over limits.cpu */                                                \
    X(WALL, failed, "wall")             /* over limits.wall */                                               \
    X(STALL, failed, "stall")           /* over limits.stall where it could not be interrupted */            \
    X(CANCELLED, failed, "shutdown")    /* the drain time was over while it ran */

enum weir_reason {
#define X(name, outcome, text) WEIR_REASON_##name,
    WEIR_REASON_MAP(X)
#undef X
    WEIR_REASON_COUNT,
    WEIR_REASON_NONE = WEIR_REASON_COUNT
};

/* "full"; "rejected". Static strings. */
const char *weir_reason_text(enum weir_reason reason);
const char *weir_reason_outcome(enum weir_reason reason);
/* Whether a call that ends for it has expired rather than failed: its deadline passed, or its client left. */
bool weir_reason_is_expired(enum weir_reason reason);

#endif
