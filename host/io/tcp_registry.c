/* Which connection has which id: for handles that travelled as numbers. */
#include <pthread.h>

#include "base/list.h"
#include "io/tcp_conn.h"
#include "io/tcp_server.h"

enum { SHARDS = 16, BUCKETS = 256 };

struct shard {
    struct weir_mutex mu;              /* rank WEIR_RANK_SHARED_TABLE; nothing is called under it */
    struct weir_list buckets[BUCKETS]; /* [mu] of connections */
};

static struct shard shards[SHARDS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void)
{
    for (size_t s = 0; s < SHARDS; s++) {
        weir_mutex_init(&shards[s].mu, WEIR_RANK_SHARED_TABLE, "tcp connections");
        for (size_t b = 0; b < BUCKETS; b++)
            weir_list_init(&shards[s].buckets[b]);
    }
}

static struct shard *shard_of(uint64_t id)
{
    pthread_once(&once, init);
    return &shards[id % SHARDS];
}

static struct weir_list *bucket_of(struct shard *s, uint64_t id)
{
    return &s->buckets[id / SHARDS % BUCKETS];
}

void weir_tcp_registry_add(struct weir_tcp_conn *c)
{
    struct shard *s = shard_of(c->id);
    weir_mutex_lock(&s->mu);
    weir_list_append(bucket_of(s, c->id), &c->registered);
    weir_mutex_unlock(&s->mu);
}

void weir_tcp_registry_remove(struct weir_tcp_conn *c)
{
    struct shard *s = shard_of(c->id);
    weir_mutex_lock(&s->mu);
    weir_list_remove(&c->registered);
    weir_mutex_unlock(&s->mu);
}

struct weir_tcp_conn *weir_tcp_conn_find(uint64_t id)
{
    struct shard *s = shard_of(id);
    struct weir_tcp_conn *found = NULL;
    weir_mutex_lock(&s->mu);
    WEIR_LIST_EACH(node, following, bucket_of(s, id))
    {
        struct weir_tcp_conn *c = WEIR_LIST_ENTRY(node, struct weir_tcp_conn, registered);
        if (c->id == id)
            found = weir_tcp_conn_ref(c); /* what is registered has a reference of its own */
    }
    weir_mutex_unlock(&s->mu);
    return found;
}
