/* base/sync.h - the one kind of lock. Every lock has a name and a rank and is taken upward only; test builds abort on a
 * breach, since it is a deadlock waiting for its day. No handler, callback or Lua code runs under one. */
#ifndef WEIR_BASE_SYNC_H
#define WEIR_BASE_SYNC_H

#include <pthread.h>

enum weir_rank {
    WEIR_RANK_RELOAD = 10,
    WEIR_RANK_WATCHDOG = 15,
    WEIR_RANK_GRAPH = 20,
    WEIR_RANK_POOL = 30,
    WEIR_RANK_SHARED_LANE = 40,
    WEIR_RANK_SHARED_TABLE = 45,
    WEIR_RANK_INBOX = 50,
    WEIR_RANK_LOG = 60,
};

struct weir_mutex {
    pthread_mutex_t mu;
    const char *name;    /* [const] */
    enum weir_rank rank; /* [const] */
};

/* `name` must outlive the lock. */
void weir_mutex_init(struct weir_mutex *m, enum weir_rank rank, const char *name);
void weir_mutex_fini(struct weir_mutex *m);
void weir_mutex_lock(struct weir_mutex *m);
void weir_mutex_unlock(struct weir_mutex *m);

#endif
