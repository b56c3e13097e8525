#include "io/tls_cache.h"

#include <stdatomic.h>
#include <string.h>
#include <uv.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/sync.h"
#include "core/worker.h"
#include "io/handover.h"

struct entry {
    struct weir_list node;                    /* [mu of the cache] in no list: it was too many */
    unsigned refs;                            /* [mu of the cache] the list's, and of loads */
    struct weir_tls_client_settings settings; /* [const] the texts are its own */
    struct weir_mutex mu;                     /* whoever has it makes the context, the others wait */
    struct weir_tls_client *_Atomic client;   /* [atomic acq/rel] NULL until it is made */
};

struct weir_tls_cache {
    struct weir_mutex mu;
    unsigned refs;            /* [mu] */
    struct weir_list entries; /* [mu] the oldest first */
    size_t count;             /* [mu] of them */
};

struct load {
    uv_work_t work;
    struct weir_handover handover;
    struct weir_tls_cache *cache;
    struct entry *entry;
    struct weir_err err;
    int rc;
    void (*done)(void *arg, const struct weir_err *err);
    void *arg;
};

/* --- entries --- */

static void free_entry(struct entry *e)
{
    if (e == NULL)
        return;
    weir_tls_client_unref(atomic_load_explicit(&e->client, memory_order_acquire));
    weir_mutex_fini(&e->mu);
    weir_free((char *)(uintptr_t)e->settings.ca); /* const for the others */
    weir_free((char *)(uintptr_t)e->settings.certificate);
    weir_free((char *)(uintptr_t)e->settings.key);
    weir_free(e);
}

/* false: there is no memory for the copy. */
static bool copy(const char *text, const char **ret)
{
    *ret = text != NULL ? weir_strdup(text) : NULL;
    return text == NULL || *ret != NULL;
}

static struct entry *make_entry(const struct weir_tls_client_settings *s)
{
    struct entry *e = weir_calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    weir_list_init(&e->node);
    weir_mutex_init(&e->mu, WEIR_RANK_GRAPH, "a TLS context");
    atomic_init(&e->client, NULL);
    e->settings.insecure = s->insecure;
    if (copy(s->ca, &e->settings.ca) && copy(s->certificate, &e->settings.certificate) &&
        copy(s->key, &e->settings.key))
        return e;
    free_entry(e);
    return NULL;
}

static void unref_entry_locked(struct entry *e)
{
    if (--e->refs == 0)
        free_entry(e);
}

static void drop_locked(struct weir_tls_cache *c, struct entry *e)
{
    weir_list_remove(&e->node);
    c->count--;
    unref_entry_locked(e);
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static struct entry *find_locked(struct weir_tls_cache *c, const struct weir_tls_client_settings *s)
{
    WEIR_LIST_EACH(node, following, &c->entries)
    {
        struct entry *e = WEIR_LIST_ENTRY(node, struct entry, node);
        if (e->settings.insecure == s->insecure && same(e->settings.ca, s->ca) &&
            same(e->settings.certificate, s->certificate) && same(e->settings.key, s->key))
            return e;
    }
    return NULL;
}

/* --- the cache --- */

struct weir_tls_cache *weir_tls_cache_create(void)
{
    struct weir_tls_cache *c = weir_calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    weir_mutex_init(&c->mu, WEIR_RANK_GRAPH, "TLS contexts");
    weir_list_init(&c->entries);
    c->refs = 1;
    return c;
}

void weir_tls_cache_unref(struct weir_tls_cache *c)
{
    if (c == NULL)
        return;
    weir_mutex_lock(&c->mu);
    unsigned refs = --c->refs;
    weir_mutex_unlock(&c->mu);
    if (refs > 0)
        return;
    while (!weir_list_empty(&c->entries))
        drop_locked(c, WEIR_LIST_ENTRY(c->entries.next, struct entry, node)); /* nobody else is left */
    weir_mutex_fini(&c->mu);
    weir_free(c);
}

struct weir_tls_client *weir_tls_cache_find(struct weir_tls_cache *c,
                                            const struct weir_tls_client_settings *s)
{
    weir_mutex_lock(&c->mu);
    struct entry *e = find_locked(c, s);
    struct weir_tls_client *client =
        e != NULL ? atomic_load_explicit(&e->client, memory_order_acquire) : NULL;
    client = weir_tls_client_ref(client);
    weir_mutex_unlock(&c->mu);
    return client;
}

/* The entry for `s`, made now if need be, with a reference for the caller. */
static struct entry *take_entry(struct weir_tls_cache *c, const struct weir_tls_client_settings *s)
{
    weir_mutex_lock(&c->mu);
    struct entry *e = find_locked(c, s);
    if (e == NULL && (e = make_entry(s)) != NULL) {
        e->refs = 1;
        weir_list_append(&c->entries, &e->node);
        if (++c->count > WEIR_TLS_CACHE_MAX)
            drop_locked(c, WEIR_LIST_ENTRY(c->entries.next, struct entry, node));
    }
    if (e != NULL) {
        e->refs++;
        c->refs++;
    }
    weir_mutex_unlock(&c->mu);
    return e;
}

/* --- loading --- */

static void on_work(uv_work_t *work)
{
    struct load *l = WEIR_LIST_ENTRY(work, struct load, work); /* not by work->data: see handover.h */
    struct weir_tls_client *client = NULL;
    weir_handover_take(&l->handover);
    weir_mutex_lock(&l->entry->mu);
    if (atomic_load_explicit(&l->entry->client, memory_order_acquire) == NULL) {
        l->rc = weir_tls_client_open(&l->entry->settings, &client, &l->err);
        if (l->rc == WEIR_OK)
            atomic_store_explicit(&l->entry->client, client, memory_order_release);
    }
    weir_mutex_unlock(&l->entry->mu);
    weir_handover_give(&l->handover);
}

static void on_loaded(uv_work_t *work, int status)
{
    struct load *l = WEIR_LIST_ENTRY(work, struct load, work); /* not by work->data: see handover.h */
    (void)status;                                              /* nobody calls it off */
    weir_handover_take(&l->handover);
    struct weir_tls_cache *c = l->cache;
    weir_mutex_lock(&c->mu);
    if (l->rc != WEIR_OK && !weir_list_empty(&l->entry->node)) /* the next one may find the files mended */
        drop_locked(c, l->entry);
    unref_entry_locked(l->entry);
    weir_mutex_unlock(&c->mu);
    weir_tls_cache_unref(c);
    l->done(l->arg, l->rc != WEIR_OK ? &l->err : NULL);
    weir_free(l);
}

int weir_tls_cache_load(struct weir_tls_cache *c, struct weir_worker *w,
                        const struct weir_tls_client_settings *s,
                        void (*done)(void *arg, const struct weir_err *err), void *arg)
{
    struct load *l = weir_calloc(1, sizeof *l);
    struct entry *e = l != NULL ? take_entry(c, s) : NULL;
    if (e == NULL) {
        weir_free(l);
        return WEIR_E_NOMEM;
    }
    *l = (struct load){.cache = c, .entry = e, .done = done, .arg = arg};
    weir_handover_give(&l->handover);
    uv_queue_work(&w->loop, &l->work, on_work, on_loaded); /* fails only without a function */
    return WEIR_OK;
}
