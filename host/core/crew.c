#include "core/crew.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#include "base/fault.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/sync.h"
#include "core/watchdog.h"

struct weir_crew {
    const char *name;          /* [const] */
    struct weir_watchdog *dog; /* [const] NULL: none */
    struct weir_watch watch;   /* [owner: the thread] */
    pthread_t thread;          /* [const] */
    sem_t posted;              /* counts jobs, and the end; not libuv's: ThreadSanitizer can't see into it */
    struct weir_mutex mu;      /* rank WEIR_RANK_INBOX */
    struct weir_list jobs;     /* [mu] of struct weir_message, oldest first */
    bool ending;               /* [mu] */
};

static struct weir_message *take(struct weir_crew *crew, bool *ending)
{
    weir_mutex_lock(&crew->mu);
    struct weir_list *node = weir_list_take_first(&crew->jobs);
    *ending = crew->ending;
    weir_mutex_unlock(&crew->mu);
    return node == NULL ? NULL : WEIR_LIST_ENTRY(node, struct weir_message, node);
}

static void *run_thread(void *arg)
{
    struct weir_crew *crew = arg;
    bool ending = false;
    pthread_setname_np(pthread_self(), crew->name); /* a name that is too long is none: only debuggers miss it */
    weir_watchdog_add(crew->dog, &crew->watch, crew->name, NULL);
    for (;;) {
        struct weir_message *m = take(crew, &ending);
        if (m != NULL) {
            m->deliver(m);
            continue;
        }
        if (ending)
            break;
        weir_watch_rest(&crew->watch);
        while (sem_wait(&crew->posted) != 0 && errno == EINTR)
            ; /* a signal came */
        weir_watch_rouse(&crew->watch);
    }
    weir_watchdog_remove(&crew->watch);
    return NULL;
}

int weir_crew_start(const char *name, struct weir_watchdog *dog, struct weir_crew **ret, struct weir_err *reterr)
{
    struct weir_crew *crew = weir_calloc(1, sizeof *crew);
    if (crew == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s thread: out of memory", name);
    crew->name = name;
    crew->dog = dog;
    weir_list_init(&crew->jobs);
    weir_mutex_init(&crew->mu, WEIR_RANK_INBOX, "crew");
    sem_init(&crew->posted, 0, 0);
    int failed = WEIR_FAULT(THREAD_CREATE) ? EAGAIN : pthread_create(&crew->thread, NULL, run_thread, crew);
    if (failed != 0) {
        sem_destroy(&crew->posted);
        weir_mutex_fini(&crew->mu);
        weir_free(crew);
        return weir_err_set(reterr, WEIR_E_IO, "can't start the %s thread: %s", name, strerror(failed));
    }
    *ret = crew;
    return WEIR_OK;
}

void weir_crew_post(struct weir_crew *crew, struct weir_message *m)
{
    weir_mutex_lock(&crew->mu);
    weir_list_append(&crew->jobs, &m->node);
    weir_mutex_unlock(&crew->mu);
    sem_post(&crew->posted);
}

void weir_crew_stop(struct weir_crew *crew)
{
    if (crew == NULL)
        return;
    weir_mutex_lock(&crew->mu);
    crew->ending = true;
    weir_mutex_unlock(&crew->mu);
    sem_post(&crew->posted);
    pthread_join(crew->thread, NULL);
    sem_destroy(&crew->posted);
    weir_mutex_fini(&crew->mu);
    weir_free(crew);
}
