#include "base/sync.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef WEIR_TESTING
enum { MAX_HELD = 8 };
static _Thread_local const struct weir_mutex *held[MAX_HELD];
static _Thread_local int held_count;

static void breach(const struct weir_mutex *m, const char *what)
{
    fprintf(stderr, "lock '%s' (rank %d): %s\n", m->name, (int)m->rank, what);
    abort(); /* test builds only: the order of locks is a bug of ours, and a test must stop at it */
}

static void note_locked(const struct weir_mutex *m)
{
    if (held_count > 0 && held[held_count - 1]->rank >= m->rank)
        breach(m, "taken while a lock of the same or a higher rank is held");
    if (held_count == MAX_HELD)
        breach(m, "too many locks held");
    held[held_count++] = m;
}

static void note_unlocked(const struct weir_mutex *m)
{
    if (held_count == 0 || held[held_count - 1] != m)
        breach(m, "given back by a thread that did not take it last");
    held_count--;
}
#else
#define note_locked(m)   ((void)0)
#define note_unlocked(m) ((void)0)
#endif

void weir_mutex_init(struct weir_mutex *m, enum weir_rank rank, const char *name)
{
    pthread_mutex_init(&m->mu, NULL); /* fails never with default attributes on Linux */
    m->name = name;
    m->rank = rank;
}

void weir_mutex_fini(struct weir_mutex *m)
{
    pthread_mutex_destroy(&m->mu);
}

void weir_mutex_lock(struct weir_mutex *m)
{
    note_locked(m);
    pthread_mutex_lock(&m->mu);
}

void weir_mutex_unlock(struct weir_mutex *m)
{
    note_unlocked(m);
    pthread_mutex_unlock(&m->mu);
}
