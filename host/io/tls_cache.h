/* io/tls_cache.h - TLS contexts of clients (io/tls.h) by what they are made of: a handler names files in each
 * call, which are read once, by libuv's threads.
 *
 *   find ──> a context
 *     └────> NULL: load ──> on a thread of libuv's ──> done; then find again
 *
 * Owner: counted; a load has a reference. Threads: find any; a load is its worker's. */
#ifndef WEIR_IO_TLS_CACHE_H
#define WEIR_IO_TLS_CACHE_H

#include "base/err.h"
#include "io/tls.h"

struct weir_tls_cache;
struct weir_worker;

enum { WEIR_TLS_CACHE_MAX = 64 }; /* contexts; of more, the oldest go */

/* NULL: no memory. */
struct weir_tls_cache *weir_tls_cache_create(void);
/* Takes NULL. Any thread. */
void weir_tls_cache_unref(struct weir_tls_cache *c);

/* A reference to the context for `s`, of which ca, certificate, key and insecure count. NULL: it has to be
 * loaded. */
struct weir_tls_client *weir_tls_cache_find(struct weir_tls_cache *c,
                                            const struct weir_tls_client_settings *s);

/* Has the context for `s` made, unless another load makes it. `done` follows in a later turn: `err` is NULL,
 * or what is wrong, valid during the call. WEIR_E_NOMEM: it does not follow. */
int weir_tls_cache_load(struct weir_tls_cache *c, struct weir_worker *w,
                        const struct weir_tls_client_settings *s,
                        void (*done)(void *arg, const struct weir_err *err), void *arg);

#endif
