#include "core/shared_lane.h"

#include "base/mem.h"
#include "core/event.h"

int weir_shared_lane_init(struct weir_shared_lane *l, enum weir_order order, bool ordered, size_t fair_capacity, struct weir_err *reterr)
{
    struct weir_partition *partitions = NULL;
    l->fair = NULL;
    if (fair_capacity > 0 && weir_fair_create(order, fair_capacity, &l->fair, reterr) < 0)
        return WEIR_E_NOMEM;
    if (ordered) {
        partitions = weir_calloc(WEIR_PARTITIONS, sizeof *partitions);
        if (partitions == NULL)
            return weir_err_set(reterr, WEIR_E_NOMEM, "queue: out of memory");
    }
    for (size_t i = 0; ordered && i < WEIR_PARTITIONS; i++) {
        weir_list_init(&partitions[i].node);
        weir_list_init(&partitions[i].events);
    }
    l->partitions = partitions;
    weir_mutex_init(&l->mu, WEIR_RANK_SHARED_LANE, "shared lane");
    weir_lane_init(&l->lane, order);
    weir_list_init(&l->ready);
    weir_list_init(&l->waiters);
    atomic_init(&l->waiting, 0);
    return WEIR_OK;
}

void weir_shared_lane_fini(struct weir_shared_lane *l)
{
    weir_mutex_fini(&l->mu);
    weir_free(l->partitions);
    weir_fair_destroy(l->fair);
    l->partitions = NULL;
    l->fair = NULL;
}

static bool takeable(const struct weir_shared_lane *l)
{
    if (l->fair != NULL)
        return l->fair->count > 0;
    return l->partitions == NULL ? l->lane.count > 0 : !weir_list_empty(&l->ready);
}

bool weir_shared_lane_push_locked(struct weir_shared_lane *l, struct weir_event *ev)
{
    if (l->fair != NULL) {
        weir_fair_push(l->fair, ev);
        return true;
    }
    if (l->partitions == NULL) {
        weir_lane_push(&l->lane, ev);
        return true;
    }
    struct weir_partition *p = &l->partitions[ev->place];
    if (weir_list_empty(&p->events) && p->running == 0)
        weir_list_append(&l->ready, &p->node);
    weir_list_append(&p->events, &ev->node);
    l->lane.count++;
    return takeable(l);
}

static size_t take_of_partition(struct weir_shared_lane *l, struct weir_partition *p, struct weir_event **out, size_t max)
{
    size_t n = 0;
    while (n < max && !weir_list_empty(&p->events)) {
        out[n++] = WEIR_LIST_ENTRY(weir_list_take_first(&p->events), struct weir_event, node);
        l->lane.count--;
    }
    p->running = n;
    return n;
}

size_t weir_shared_lane_take_locked(struct weir_shared_lane *l, struct weir_event **out, size_t max, bool newest_first, bool whole,
                                    bool *left)
{
    size_t n = 0;
    if (l->fair != NULL)
        n = weir_fair_take(l->fair, out, max, newest_first);
    else if (l->partitions == NULL)
        n = weir_lane_take(&l->lane, out, max, newest_first);
    while (l->partitions != NULL && n < max && !weir_list_empty(&l->ready)) {
        struct weir_partition *p = WEIR_LIST_ENTRY(weir_list_take_first(&l->ready), struct weir_partition, node);
        n += take_of_partition(l, p, out + n, whole ? max - n : 1);
    }
    *left = takeable(l);
    return n;
}

bool weir_shared_lane_release_locked(struct weir_shared_lane *l, uint32_t partition)
{
    struct weir_partition *p = &l->partitions[partition];
    if (--p->running > 0 || weir_list_empty(&p->events))
        return false;
    weir_list_append(&l->ready, &p->node);
    return true;
}

bool weir_shared_lane_put_back_locked(struct weir_shared_lane *l, struct weir_event *ev)
{
    if (l->fair != NULL) {
        weir_fair_put_back(l->fair, ev);
        return true;
    }
    if (l->partitions == NULL) {
        weir_lane_put_back(&l->lane, ev);
        return true;
    }
    struct weir_partition *p = &l->partitions[ev->place];
    weir_list_prepend(&p->events, &ev->node);
    l->lane.count++;
    if (--p->running == 0)
        weir_list_prepend(&l->ready, &p->node);
    return takeable(l);
}

void weir_shared_lane_remove_locked(struct weir_shared_lane *l, struct weir_event *ev)
{
    if (l->fair != NULL) {
        weir_fair_remove(l->fair, ev);
        return;
    }
    if (l->partitions == NULL) {
        weir_lane_remove(&l->lane, ev);
        return;
    }
    struct weir_partition *p = &l->partitions[ev->place];
    weir_list_remove(&ev->node);
    l->lane.count--;
    if (weir_list_empty(&p->events))
        weir_list_remove(&p->node); /* out of `ready`, where it is unless a call runs */
}

struct weir_event *weir_shared_lane_take_oldest_locked(struct weir_shared_lane *l, const struct weir_event *ev)
{
    if (l->fair != NULL)
        return weir_fair_take_oldest(l->fair, ev);
    if (l->partitions == NULL)
        return weir_lane_take_oldest(&l->lane, ev != NULL ? ev->class_index : 0);
    struct weir_event *oldest = NULL;
    for (size_t i = 0; i < WEIR_PARTITIONS; i++) {
        struct weir_partition *p = &l->partitions[i];
        if (weir_list_empty(&p->events))
            continue;
        struct weir_event *first = WEIR_LIST_ENTRY(p->events.next, struct weir_event, node);
        if (oldest == NULL || first->enqueued_ns < oldest->enqueued_ns)
            oldest = first;
    }
    if (oldest == NULL)
        return NULL;
    weir_shared_lane_remove_locked(l, oldest);
    return oldest;
}

struct weir_event *weir_shared_lane_take_below_locked(struct weir_shared_lane *l, uint8_t class_index)
{
    return l->fair != NULL ? weir_fair_take_below(l->fair, class_index) : weir_lane_take_below(&l->lane, class_index);
}
