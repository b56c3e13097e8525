#include "core/fair.h"

#include "base/mem.h"
#include "core/event.h"
#include "core/waiter.h"

enum {
    BUCKETS_MIN = 64,
    BUCKETS_MAX = 1 << 16,
    SPARE_MAX = 1024,
    FRESH_MAX = 8,
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
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++) {
        weir_list_init(&f->rounds[i]);
        weir_list_init(&f->fresh[i]);
    }
    *ret = f;
    return WEIR_OK;
}

static uint8_t round_of(const struct weir_fair *f, const struct weir_event *ev)
{
    return f->order == WEIR_ORDER_CLASS ? ev->class_index : 0;
}

static struct weir_fair_key **bucket_at(const struct weir_fair *f, uint64_t place, uint8_t round)
{
    return &f->buckets[(place ^ round) & (f->bucket_count - 1)];
}

static struct weir_fair_key *find(const struct weir_fair *f, const struct weir_event *ev)
{
    uint8_t round = round_of(f, ev);
    struct weir_fair_key *k = *bucket_at(f, ev->place, round);
    while (k != NULL && (k->place != ev->place || k->round != round))
        k = k->next;
    return k;
}

static struct weir_fair_key *find_or_add(struct weir_fair *f, const struct weir_event *ev)
{
    struct weir_fair_key *k = find(f, ev), **bucket = bucket_at(f, ev->place, round_of(f, ev));
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

/* A key that holds nothing, waits for nothing and has no turn is forgotten. */
static void forget_idle(struct weir_fair *f, struct weir_fair_key *k)
{
    if (k->held > 0 || !weir_list_empty(&k->waiters) || !weir_list_empty(&k->turn))
        return;
    struct weir_fair_key **at = bucket_at(f, k->place, k->round);
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

static struct weir_fair_key *first_of(const struct weir_list *keys)
{
    return WEIR_LIST_ENTRY(keys->next, struct weir_fair_key, turn);
}

/* Those whose turn it is and who have nothing lose it. */
static void end_empty_turns(struct weir_fair *f, size_t round)
{
    while (!weir_list_empty(&f->rounds[round]) && weir_list_empty(&first_of(&f->rounds[round])->events)) {
        struct weir_fair_key *k = first_of(&f->rounds[round]);
        weir_list_remove(&k->turn);
        forget_idle(f, k);
    }
}

void weir_fair_destroy(struct weir_fair *f)
{
    if (f == NULL)
        return;
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        end_empty_turns(f, i);
    while (f->spare != NULL) {
        struct weir_fair_key *k = f->spare;
        f->spare = k->next;
        weir_free(k);
    }
    weir_free(f->buckets);
    weir_free(f);
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
    uint8_t round = k->round;
    k->held--;
    k->held_bytes -= ev->bytes;
    f->held[k->round]--;
    f->held_bytes[k->round] -= ev->bytes;
    forget_idle(f, k);
    if (f->count == 0) /* nobody waits for a turn */
        end_empty_turns(f, round);
}

/* ---- events ---- */

void weir_fair_push(struct weir_fair *f, struct weir_event *ev)
{
    struct weir_fair_key *k = find(f, ev);
    if (weir_list_empty(&k->turn)) {
        weir_list_append(&f->fresh[k->round], &k->turn);
        k->fresh = true;
    }
    weir_list_append(&k->events, &ev->node);
    f->count++;
}

void weir_fair_put_back(struct weir_fair *f, struct weir_event *ev)
{
    struct weir_fair_key *k = find(f, ev);
    weir_list_remove(&k->turn);
    weir_list_prepend(&f->fresh[k->round], &k->turn);
    k->fresh = true;
    weir_list_prepend(&k->events, &ev->node);
    f->count++;
}

static struct weir_event *take_out(struct weir_fair *f, struct weir_fair_key *k, struct weir_list *node)
{
    weir_list_remove(node);
    if (weir_list_empty(&k->events))
        weir_list_remove(&k->turn); /* held: it is not forgotten before its room is given up */
    f->count--;
    return WEIR_LIST_ENTRY(node, struct weir_event, node);
}

void weir_fair_remove(struct weir_fair *f, struct weir_event *ev)
{
    (void)take_out(f, find(f, ev), &ev->node); /* it is `ev` */
}

/* The key whose turn it is, of those of a class; NULL: none has events. */
static struct weir_fair_key *next_key(struct weir_fair *f, size_t round)
{
    struct weir_list *old = &f->rounds[round], *fresh = &f->fresh[round];
    end_empty_turns(f, round);
    bool waits = !weir_list_empty(old), ahead = !weir_list_empty(fresh) && (!waits || f->ahead[round] < FRESH_MAX);
    if (!ahead && !waits)
        return NULL;
    f->ahead[round] = ahead && waits ? f->ahead[round] + 1 : 0;
    return first_of(ahead ? fresh : old);
}

/* It has had its turn. A fresh one goes to the round even when it has nothing left. */
static void end_turn(struct weir_fair *f, struct weir_fair_key *k, bool was_fresh)
{
    weir_list_remove(&k->turn);
    k->fresh = false;
    if (was_fresh || !weir_list_empty(&k->events))
        weir_list_append(&f->rounds[k->round], &k->turn);
}

size_t weir_fair_take(struct weir_fair *f, struct weir_event **out, size_t max, bool newest_first)
{
    bool newest = f->order == WEIR_ORDER_LIFO || (f->order == WEIR_ORDER_ADAPTIVE && newest_first);
    size_t n = 0;
    for (size_t round = 0; n < max && f->count > 0;) {
        struct weir_fair_key *k = next_key(f, round);
        if (k == NULL) {
            round++;
            continue;
        }
        bool was_fresh = k->fresh;
        out[n++] = take_out(f, k, newest ? k->events.prev : k->events.next);
        end_turn(f, k, was_fresh);
    }
    return n;
}

static struct weir_fair_key *first_with_events(const struct weir_list *keys)
{
    for (const struct weir_list *node = keys->next; node != keys; node = node->next) {
        struct weir_fair_key *k = WEIR_LIST_ENTRY(node, struct weir_fair_key, turn);
        if (!weir_list_empty(&k->events))
            return k;
    }
    return NULL;
}

/* A key of the lowest class that has events, rather one that waits for its turn in the round. There are events. */
static struct weir_fair_key *lowest(const struct weir_fair *f)
{
    for (size_t i = WEIR_CLASSES_MAX - 1;; i--) {
        struct weir_fair_key *k = first_with_events(&f->rounds[i]);
        if (k == NULL)
            k = first_with_events(&f->fresh[i]);
        if (k != NULL)
            return k;
    }
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
    forget_idle(f, k);
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
