#include "core/shared_tables.h"

#include <sodium.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "base/sync.h"
#include "core/shared_table.h"

/* Tables are only ever added: who reads `count` may look at so many without the lock. */
struct weir_shared_tables {
    struct weir_mutex mu; /* rank WEIR_RANK_SHARED_TABLE */
    _Atomic size_t count; /* [atomic acq/rel] written under mu after the table is there */
    char *names[WEIR_SHARED_TABLES_MAX];
    struct weir_shared_table
        *tables[WEIR_SHARED_TABLES_MAX]; /* [mu] written once, before `count` tells of it */
    unsigned char secret[16];            /* [const] */
    bool any;                            /* [const] once it is used */
    size_t any_bytes;                    /* [const] once it is used */
    uint64_t any_ttl_ns;                 /* [const] once it is used */
};

int weir_shared_tables_create(struct weir_shared_tables **ret, struct weir_err *reterr)
{
    struct weir_shared_tables *set = weir_calloc(1, sizeof *set);
    if (set == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "shared tables: out of memory");
    if (sodium_init() < 0 || getrandom(set->secret, sizeof set->secret, 0) != (ssize_t)sizeof set->secret) {
        weir_free(set);
        return weir_err_set(reterr, WEIR_E_IO, "shared tables: the system has no random bytes");
    }
    weir_mutex_init(&set->mu, WEIR_RANK_SHARED_TABLE, "shared tables");
    weir_shared_tables_undeclared(set, true, WEIR_SHARED_BYTES, WEIR_SHARED_FOREVER);
    *ret = set;
    return WEIR_OK;
}

void weir_shared_tables_destroy(struct weir_shared_tables *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < atomic_load_explicit(&set->count, memory_order_acquire); i++) {
        weir_shared_table_destroy(set->tables[i]);
        weir_free(set->names[i]);
    }
    weir_mutex_fini(&set->mu);
    weir_free(set);
}

void weir_shared_tables_undeclared(struct weir_shared_tables *set, bool allowed, size_t bytes,
                                   uint64_t ttl_ns)
{
    set->any = allowed;
    set->any_bytes = bytes;
    set->any_ttl_ns = ttl_ns;
}

static struct weir_shared_table *find(struct weir_shared_tables *set, const char *name)
{
    size_t count = atomic_load_explicit(&set->count, memory_order_acquire);
    for (size_t i = 0; i < count; i++)
        if (strcmp(set->names[i], name) == 0)
            return set->tables[i];
    return NULL;
}

/* Adds `t` unless another thread was first; takes `t` and `name` only when it returns WEIR_OK. */
static int add(struct weir_shared_tables *set, struct weir_shared_table *t, char *name)
{
    weir_mutex_lock(&set->mu);
    size_t count = atomic_load_explicit(&set->count, memory_order_relaxed); /* the lock orders it */
    int rc = find(set, name) != NULL           ? WEIR_E_EXISTS
             : count == WEIR_SHARED_TABLES_MAX ? WEIR_E_LIMIT
                                               : WEIR_OK;
    if (rc == WEIR_OK) {
        set->names[count] = name;
        set->tables[count] = t;
        atomic_store_explicit(&set->count, count + 1, memory_order_release);
    }
    weir_mutex_unlock(&set->mu);
    return rc;
}

int weir_shared_tables_declare(struct weir_shared_tables *set, const char *name, size_t bytes,
                               uint64_t ttl_ns, struct weir_err *reterr)
{
    struct weir_shared_table *t = NULL;
    size_t len = strlen(name);
    if (len == 0 || len > WEIR_SHARED_NAME_MAX)
        return weir_err_set(reterr, WEIR_E_INVAL, "the name of a shared table has 1 to %d bytes",
                            WEIR_SHARED_NAME_MAX);
    char *copy = weir_strdup(name);
    if (copy == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "shared table '%s': out of memory", name);
    int rc = weir_shared_table_create(copy, bytes, ttl_ns, set->secret, &t, reterr);
    if (rc == WEIR_OK)
        rc = add(set, t, copy);
    if (rc == WEIR_OK)
        return rc;
    if (rc == WEIR_E_EXISTS)
        weir_err_set(reterr, rc, "there is a shared table '%s' already", name);
    else if (rc == WEIR_E_LIMIT)
        weir_err_set(reterr, rc, "there are %d shared tables already, and may not be more",
                     WEIR_SHARED_TABLES_MAX);
    weir_shared_table_destroy(t);
    weir_free(copy);
    return rc;
}

int weir_shared_tables_get(struct weir_shared_tables *set, const char *name, struct weir_shared_table **ret,
                           struct weir_err *reterr)
{
    struct weir_shared_table *t = find(set, name);
    int rc = WEIR_OK;
    if (t == NULL && !set->any)
        return weir_err_set(reterr, WEIR_E_NOTFOUND, "there is no shared table '%s'", name);
    if (t == NULL) {
        rc = weir_shared_tables_declare(set, name, set->any_bytes, set->any_ttl_ns, reterr);
        if (rc == WEIR_OK || rc == WEIR_E_EXISTS) /* made by this thread, or by another just now */
            t = find(set, name);
    }
    if (t == NULL)
        return rc;
    *ret = t;
    return WEIR_OK;
}

struct weir_shared_table *weir_shared_tables_at(struct weir_shared_tables *set, size_t i)
{
    return i < atomic_load_explicit(&set->count, memory_order_acquire) ? set->tables[i] : NULL;
}
