#include "core/event.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "core/graph.h"
#include "core/worker.h"

#ifdef WEIR_TESTING
static const size_t free_max = 0; /* so that sanitizers see each event's life */
#else
static const size_t free_max = 4096; /* and no more than it has made */
#endif

static struct weir_event *allocate(struct weir_worker *w)
{
    if (w->free_count == 0)
        return weir_malloc(sizeof(struct weir_event));
    w->free_count--;
    return WEIR_LIST_ENTRY(weir_list_take_first(&w->free_events), struct weir_event, node);
}

struct weir_event *weir_event_create(struct weir_worker *w)
{
    struct weir_event *ev = allocate(w);
    if (ev == NULL)
        return NULL;
    memset(ev, 0, sizeof *ev);
    weir_list_init(&ev->node);
    ev->id = (uint64_t)w->index << 48 | ++w->next_event_id;
    ev->arrival_ns = w->now_ns;
    ev->class_index = w->graph->default_class;
    return ev;
}

struct weir_event *weir_event_create_from(struct weir_worker *w, const struct weir_event *parent)
{
    struct weir_event *ev = weir_event_create(w);
    if (ev == NULL || parent == NULL)
        return ev;
    ev->arrival_ns = parent->arrival_ns;
    ev->deadline_ns = parent->deadline_ns;
    ev->source = parent->source;
    ev->trace = parent->trace;
    ev->key_value = weir_value_ref(parent->key_value);
    ev->key = parent->key;
    ev->class_index = parent->class_index;
    return ev;
}

void weir_event_set_key(struct weir_event *ev, struct weir_value key)
{
    weir_value_unref(ev->key_value);
    ev->key_value = key;
    ev->key = weir_value_hash(key, NULL);
}

void weir_event_free(struct weir_worker *w, struct weir_event *ev)
{
    if (ev == NULL)
        return;
    assert(ev->request == NULL); /* somebody waits for its answer */
    weir_value_unref(ev->value);
    weir_value_unref(ev->key_value);
    if (w->free_count < free_max && w->free_count < w->next_event_id) { /* who only ends others' events has no use for their memory */
        weir_list_prepend(&w->free_events, &ev->node);
        w->free_count++;
    } else {
        weir_free(ev);
    }
}
