/* core/service.h - what a layer above the core keeps per worker (an HTTP client, say): made on first use, closed with the worker's loop.
 * Owner: the worker, once added. Threads: the worker's. */
#ifndef WEIR_CORE_SERVICE_H
#define WEIR_CORE_SERVICE_H

#include "base/list.h"

struct weir_worker;

/* Embedded in the service. */
struct weir_service {
    struct weir_list node; /* of the worker's services */
    const void *key;       /* an address of the layer's own */
    /* Closes what it has in the loop, which runs until that has gone, and frees itself then. No handler is left. */
    void (*close)(struct weir_service *s);
};

/* NULL: there is none of that key. */
struct weir_service *weir_service_find(const struct weir_worker *w, const void *key);
void weir_service_add(struct weir_worker *w, struct weir_service *s);
/* For worker.c. */
void weir_service_close_all(struct weir_worker *w);

#endif
