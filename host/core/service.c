#include "core/service.h"

#include "core/worker.h"

struct weir_service *weir_service_find(const struct weir_worker *w, const void *key)
{
    for (struct weir_list *node = w->services.next; node != &w->services; node = node->next) {
        struct weir_service *s = WEIR_LIST_ENTRY(node, struct weir_service, node);
        if (s->key == key)
            return s;
    }
    return NULL;
}

void weir_service_add(struct weir_worker *w, struct weir_service *s)
{
    weir_list_append(&w->services, &s->node);
}

void weir_service_close_all(struct weir_worker *w)
{
    struct weir_list *node;
    while ((node = weir_list_take_first(&w->services)) != NULL) {
        struct weir_service *s = WEIR_LIST_ENTRY(node, struct weir_service, node);
        s->close(s);
    }
}
