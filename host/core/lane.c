#include "core/lane.h"

#include "core/event.h"

void weir_lane_init(struct weir_lane *l, enum weir_order order)
{
    l->count = 0;
    l->order = order;
    weir_list_init(&l->all);
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        weir_list_init(&l->classes[i]);
}

static struct weir_list *list_for(struct weir_lane *l, const struct weir_event *ev)
{
    return l->order == WEIR_ORDER_CLASS ? &l->classes[ev->class_index] : &l->all;
}

void weir_lane_push(struct weir_lane *l, struct weir_event *ev)
{
    weir_list_append(list_for(l, ev), &ev->node);
    l->count++;
}

void weir_lane_put_back(struct weir_lane *l, struct weir_event *ev)
{
    weir_list_prepend(list_for(l, ev), &ev->node);
    l->count++;
}

static struct weir_event *remove_node(struct weir_lane *l, struct weir_list *node)
{
    weir_list_remove(node);
    l->count--;
    return WEIR_LIST_ENTRY(node, struct weir_event, node);
}

static struct weir_list *highest_list(struct weir_lane *l)
{
    if (l->order != WEIR_ORDER_CLASS)
        return &l->all;
    size_t i = 0;
    while (weir_list_empty(&l->classes[i]))
        i++;
    return &l->classes[i];
}

size_t weir_lane_take(struct weir_lane *l, struct weir_event **out, size_t max, bool newest_first)
{
    bool newest = l->order == WEIR_ORDER_LIFO || (l->order == WEIR_ORDER_ADAPTIVE && newest_first);
    size_t n = 0;
    while (n < max && l->count > 0) {
        struct weir_list *from = highest_list(l);
        out[n++] = remove_node(l, newest ? from->prev : from->next);
    }
    return n;
}

void weir_lane_remove(struct weir_lane *l, struct weir_event *ev)
{
    (void)remove_node(l, &ev->node); /* it is `ev` */
}

static size_t lowest_class(const struct weir_lane *l)
{
    size_t i = WEIR_CLASSES_MAX - 1;
    while (weir_list_empty(&l->classes[i]))
        i--;
    return i;
}

struct weir_event *weir_lane_take_oldest(struct weir_lane *l, uint8_t class_index)
{
    if (l->count == 0)
        return NULL;
    if (l->order != WEIR_ORDER_CLASS)
        return remove_node(l, l->all.next);
    size_t lowest = lowest_class(l);
    return lowest >= class_index ? remove_node(l, l->classes[lowest].next) : NULL;
}

struct weir_event *weir_lane_take_below(struct weir_lane *l, uint8_t class_index)
{
    if (l->count == 0 || l->order != WEIR_ORDER_CLASS)
        return NULL;
    size_t lowest = lowest_class(l);
    return lowest > class_index ? remove_node(l, l->classes[lowest].prev) : NULL;
}
