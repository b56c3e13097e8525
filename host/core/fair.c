#include "core/fair.h"

#include "base/mem.h"
#include "core/event.h"
#include "core/waiter.h"

enum {
    BUCKETS_MIN = 64,
    BUCKETS_MAX = 1 << 16,
    SPARE_MAX = 1024,
};

/* ---- keys ---- */

int weir_fair_create(enum weir_order order, size_t capacity, struct weir_fair **ret, struct weir_err *reterr)
{
    struct weir_fair *f = weir_calloc(1, sizeof *f);
    if (f == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "queue: out of memory");
    f->bucket_count = BUCKETS_MIN;
    while (f->bucket_count < capacity && f->bucket_count < BUCKETS_MAX)
        f->bucket_count *= 2;
    f->buckets = weir_calloc(f->bucket_count, sizeof(struct weir_fair_key *));
    if (f->buckets == NULL) {
        weir_free(f);
        return weir_err_set(reterr, WEIR_E_NOMEM, "queue: out of memory");
    }
    f->order = order;
    weir_list_init(&f->waiting);
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        weir_list_init(&f->rounds[i]);
    *ret = f;
    return WEIR_OK;
}

void weir_fair_destroy(struct weir_fair *f)
{
    if (f == NULL)
        return;
    while (f->spare != NULL) {
        struct weir_fair_key *k = f->spare;
        f->spare = k->next;
        weir_free(k);
    }
    weir_free(f->buckets);
    weir_free(f);
}

static uint8_t round_of(const struct weir_fair *f, const struct weir_event *ev)
{
    return f->order == WEIR_ORDER_CLASS ? ev->class_index : 0;
}

static struct weir_fair_key **bucket_of(const struct weir_fair *f, const struct weir_event *ev)
{
    return &f->buckets[(ev->place ^ round_of(f, ev)) & (f->bucket_count - 1)];
}

static struct weir_fair_key *find(const struct weir_fair *f, const struct weir_event *ev)
{
    struct weir_fair_key *k = *bucket_of(f, ev);
    uint8_t round = round_of(f, ev);
    while (k != NULL && (k->place != ev->place || k->round != round))
        k = k->next;
    return k;
}

static struct weir_fair_key *find_or_add(struct weir_fair *f, const struct weir_event *ev)
{
    struct weir_fair_key *k = find(f, ev), **bucket = bucket_of(f, ev);
    if (k != NULL)
        return k;
    k = f->spare;
    if (k != NULL) {
        f->spare = k->next;
        f->spare_count--;
    } else {
        k = weir_malloc(sizeof *k);
        if (k == NULL)
            return NULL;
    }
    *k = (struct weir_fair_key){.place = ev->place, .round = round_of(f, ev), .next = *bucket};
    weir_list_init(&k->turn);
    weir_list_init(&k->waiting);
    weir_list_init(&k->events);
    weir_list_init(&k->waiters);
    *bucket = k;
    f->key_count++;
    return k;
}

/* A key that holds nothing and waits for nothing is forgotten. */
static void forget_idle(struct weir_fair *f, const struct weir_event *ev, struct weir_fair_key *k)
{
    if (k->held > 0 || !weir_list_empty(&k->waiters))
        return;
    struct weir_fair_key **at = bucket_of(f, ev);
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    f->key_count--;
    if (f->spare_count == SPARE_MAX) {
        weir_free(k);
        return;
    }
    k->next = f->spare;
    f->spare = k;
    f->spare_count++;
}

/* ---- room ---- */

bool weir_fair_has_share(const struct weir_fair *f, const struct weir_event *ev, size_t events, size_t bytes,
                         bool waits)
{
    const struct weir_fair_key *k = find(f, ev);
    if (k == NULL)
        return true;
    if (!waits && !weir_list_empty(&k->waiters))
        return false;
    for (size_t i = k->round + 1u; i < WEIR_CLASSES_MAX; i++) {
        events += f->held[i];
        bytes += f->held_bytes[i];
    }
    return k->held == 0 || (k->held < events && k->held_bytes + ev->bytes <= bytes);
}

bool weir_fair_hold(struct weir_fair *f, const struct weir_event *ev)
{
    struct weir_fair_key *k = find_or_add(f, ev);
    if (k == NULL)
        return false;
    k->held++;
    k->held_bytes += ev->bytes;
    f->held[k->round]++;
    f->held_bytes[k->round] += ev->bytes;
    return true;
}

void weir_fair_give_up(struct weir_fair *f, const struct weir_event *ev)
{
    struct weir_fair_key *k = find(f, ev);
    k->held--;
    k->held_bytes -= ev->bytes;
    f->held[k->round]--;
    f->held_bytes[k->round] -= ev->bytes;
    forget_idle(f, ev, k);
}

/* ---- events ---- */

void weir_fair_push(struct weir_fair *f, struct weir_event *ev)
{
    struct weir_fair_key *k = find(f, ev);
    if (weir_list_empty(&k->events))
        weir_list_append(&f->rounds[k->round], &k->turn);
    weir_list_append(&k->events, &ev->node);
    f->count++;
}

void weir_fair_put_back(struct weir_fair *f, struct weir_event *ev)
{
    struct weir_fair_key *k = find(f, ev);
    weir_list_remove(&k->turn);
    weir_list_prepend(&f->rounds[k->round], &k->turn);
    weir_list_prepend(&k->events, &ev->node);
    f->count++;
}

static struct weir_event *take_out(struct weir_fair *f, struct weir_fair_key *k, struct weir_list *node)
{
    weir_list_remove(node);
    if (weir_list_empty(&k->events))
        weir_list_remove(&k->turn);
    f->count--;
    return WEIR_LIST_ENTRY(node, struct weir_event, node);
}

void weir_fair_remove(struct weir_fair *f, struct weir_event *ev)
{
    (void)take_out(f, find(f, ev), &ev->node); /* it is `ev` */
}

static struct weir_fair_key *first_of(const struct weir_list *round)
{
    return WEIR_LIST_ENTRY(round->next, struct weir_fair_key, turn);
}

size_t weir_fair_take(struct weir_fair *f, struct weir_event **out, size_t max, bool newest_first)
{
    bool newest = f->order == WEIR_ORDER_LIFO || (f->order == WEIR_ORDER_ADAPTIVE && newest_first);
    struct weir_list *round = f->rounds;
    size_t n = 0;
    while (n < max && f->count > 0) {
        while (weir_list_empty(round))
            round++;
        struct weir_fair_key *k = first_of(round);
        out[n++] = take_out(f, k, newest ? k->events.prev : k->events.next);
        if (weir_list_empty(&k->events))
            continue;
        weir_list_remove(&k->turn);
        weir_list_append(round, &k->turn);
    }
    return n;
}

static struct weir_fair_key *lowest(const struct weir_fair *f)
{
    size_t i = WEIR_CLASSES_MAX - 1;
    while (weir_list_empty(&f->rounds[i]))
        i--;
    return first_of(&f->rounds[i]);
}

struct weir_event *weir_fair_take_oldest(struct weir_fair *f, const struct weir_event *ev)
{
    if (f->count == 0)
        return NULL;
    struct weir_fair_key *k = ev != NULL ? find(f, ev) : NULL;
    if (k == NULL || weir_list_empty(&k->events))
        k = lowest(f);
    if (ev != NULL && k->round < round_of(f, ev))
        return NULL;
    return take_out(f, k, k->events.next);
}

struct weir_event *weir_fair_take_below(struct weir_fair *f, uint8_t class_index)
{
    struct weir_fair_key *k = f->count > 0 ? lowest(f) : NULL;
    return k != NULL && k->round > class_index ? take_out(f, k, k->events.prev) : NULL;
}

/* ---- waiters ---- */

bool weir_fair_wait(struct weir_fair *f, struct weir_waiter *wt)
{
    struct weir_fair_key *k = find_or_add(f, wt->ev);
    if (k == NULL)
        return false;
    if (weir_list_empty(&k->waiters))
        weir_list_append(&f->waiting, &k->waiting);
    weir_list_append(&k->waiters, &wt->node);
    return true;
}

void weir_fair_stop_waiting(struct weir_fair *f, struct weir_waiter *wt)
{
    struct weir_fair_key *k = find(f, wt->ev);
    weir_list_remove(&wt->node);
    if (weir_list_empty(&k->waiters))
        weir_list_remove(&k->waiting);
    forget_idle(f, wt->ev, k);
}

struct weir_waiter *weir_fair_next_waiter(struct weir_fair *f)
{
    struct weir_list *node = weir_list_take_first(&f->waiting);
    if (node == NULL)
        return NULL;
    weir_list_append(&f->waiting, node);
    struct weir_fair_key *k = WEIR_LIST_ENTRY(node, struct weir_fair_key, waiting);
    return WEIR_LIST_ENTRY(k->waiters.next, struct weir_waiter, node);
}
