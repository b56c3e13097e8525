#include "core/queue_look.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/event.h"
#include "core/graph.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"

enum {
    SLICE_NS = 200000,  /* how long a visit keeps a worker */
    CLOCK_EVERY = 8,    /* events between two readings of the clock */
    EXPIRE_DEPTH = 256, /* how far into a lane a visit looks for what has expired */
};

/* What one worker has to do. It is the worker's until `done`, then the control thread's. */
struct part {
    struct weir_message message;
    struct weir_look *look;
    struct weir_worker *worker;
    const char *pool;         /* [const] */
    unsigned number;          /* [const] */
    bool shared;              /* [const] the shared lane is its part, too */
    _Atomic bool done;        /* [atomic acq/rel] */
    _Atomic int64_t ended;    /* [atomic relaxed, one writer] also of a part that is not done */
    struct weir_looked *seen; /* PEEK: room for look->max */
    size_t seen_count;
    uint64_t *oldest; /* AGES: by stage */
};

struct weir_look {
    struct weir_look_options o; /* [const] */
    _Atomic size_t left;        /* [atomic relaxed] DROP: how many may be dropped still */
    _Atomic size_t waiting;     /* [atomic acq/rel] parts that have not answered */
    _Atomic unsigned refs;      /* [atomic acq/rel] parts that are under way, and the control thread */
    _Atomic bool given_up;      /* [atomic relaxed] nobody waits for it */
    struct weir_looked *all;    /* [owner: control] of all parts and the shared lane, in order */
    size_t all_count;
    bool gathered;
    size_t part_count; /* [const] */
    struct part parts[];
};

/* ---- in the order of age ---- */

enum {
    KEYS_MAX = 256, /* of a fair queue, those whose turn is next */
    LISTS_MAX = KEYS_MAX + WEIR_CLASSES_MAX + 1,
};
_Static_assert(LISTS_MAX > WEIR_PARTITIONS + WEIR_CLASSES_MAX, "a walk has room for every list");

/* Goes through lists whose oldest events stand first. */
struct walk {
    const struct weir_list *heads[LISTS_MAX];
    struct weir_list *at[LISTS_MAX];
    size_t count;
};

static void walk_add(struct walk *w, struct weir_list *head)
{
    if (weir_list_empty(head))
        return;
    w->heads[w->count] = head;
    w->at[w->count++] = head->next;
}

static void walk_lane(struct walk *w, struct weir_lane *l)
{
    w->count = 0;
    walk_add(w, &l->all);
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++)
        walk_add(w, &l->classes[i]);
}

/* `ret_left`: how many keys more there is room for. */
static void walk_keys(struct walk *w, const struct weir_list *keys, uint64_t before_ns, size_t *ret_left)
{
    for (const struct weir_list *node = keys->next; node != keys && *ret_left > 0; node = node->next) {
        struct weir_fair_key *k = WEIR_LIST_ENTRY(node, struct weir_fair_key, turn);
        if (weir_list_empty(&k->events) || WEIR_LIST_ENTRY(k->events.next, struct weir_event, node)->enqueued_ns >= before_ns)
            continue;
        walk_add(w, &k->events);
        --*ret_left;
    }
}

static void walk_fair(struct walk *w, const struct weir_fair *f, uint64_t before_ns)
{
    size_t left = KEYS_MAX;
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++) {
        walk_keys(w, &f->rounds[i], before_ns, &left);
        walk_keys(w, &f->fresh[i], before_ns, &left);
    }
}

/* Of keys only those that have events accepted before `before_ns`. */
static void walk_shared_locked(struct walk *w, struct weir_shared_lane *l, uint64_t before_ns)
{
    walk_lane(w, &l->lane);
    if (l->fair != NULL)
        walk_fair(w, l->fair, before_ns);
    for (size_t i = 0; l->partitions != NULL && i < WEIR_PARTITIONS; i++)
        walk_add(w, &l->partitions[i].events);
}

/* The next event; it may be taken out of its list before the next call. NULL: no more. */
static struct weir_event *walk_next(struct walk *w)
{
    struct weir_event *oldest = NULL;
    size_t from = 0;
    for (size_t i = 0; i < w->count; i++) {
        if (w->at[i] == w->heads[i])
            continue;
        struct weir_event *ev = WEIR_LIST_ENTRY(w->at[i], struct weir_event, node);
        if (oldest != NULL && ev->enqueued_ns >= oldest->enqueued_ns)
            continue;
        oldest = ev;
        from = i;
    }
    if (oldest != NULL)
        w->at[from] = w->at[from]->next;
    return oldest;
}

/* ---- seeing ---- */

static void see(struct weir_looked *out, const struct weir_event *ev)
{
    *out = (struct weir_looked){.id = ev->id,
                                .enqueued_ns = ev->enqueued_ns,
                                .arrival_ns = ev->arrival_ns,
                                .deadline_ns = ev->deadline_ns,
                                .key = weir_value_ref(ev->key_value),
                                .value = weir_value_ref(ev->value),
                                .bytes = ev->bytes,
                                .class_index = ev->class_index,
                                .has_request = ev->request != NULL};
}

static size_t see_all(struct walk *walk, struct weir_looked *out, size_t max)
{
    struct weir_event *ev;
    size_t n = 0;
    while (n < max && (ev = walk_next(walk)) != NULL)
        see(&out[n++], ev);
    return n;
}

static uint64_t oldest_of(struct walk *walk)
{
    const struct weir_event *ev = walk_next(walk);
    return ev == NULL ? 0 : ev->enqueued_ns;
}

/* ---- ending ---- */

static void end_event(struct weir_seat *seat, struct weir_event *ev, _Atomic int64_t *outcome, enum weir_reason why,
                      enum weir_request_end end)
{
    struct weir_worker *w = seat->worker;
    struct weir_ledger *l = &seat->ledger;
    weir_ledger_add(&l->queued, -1);
    weir_ledger_add(&l->queued_bytes, -(int64_t)ev->bytes);
    weir_ledger_add(outcome, 1);
    weir_ledger_add(&l->reasons[why], 1);
    weir_queue_release(w, seat->stage, ev);
    struct weir_request *request = ev->request;
    ev->request = NULL;
    if (request != NULL)
        request->ops->end(request, w, end);
    weir_event_free(w, ev);
}

static bool take_one_of(struct weir_look *l)
{
    size_t left = atomic_load_explicit(&l->left, memory_order_relaxed);
    while (left > 0 && left != SIZE_MAX)
        if (atomic_compare_exchange_weak_explicit(&l->left, &left, left - 1, memory_order_relaxed, memory_order_relaxed))
            return true;
    return left > 0;
}

static void give_one_back(struct weir_look *l)
{
    if (atomic_load_explicit(&l->left, memory_order_relaxed) != SIZE_MAX)
        atomic_fetch_add_explicit(&l->left, 1, memory_order_relaxed);
}

/* The event that waits longest of those accepted before `before_ns`, taken out; NULL: none. */
static struct weir_event *take_oldest(struct part *p, struct weir_seat *seat, uint64_t before_ns)
{
    struct weir_shared_lane *shared = &seat->stage->queue.shared;
    struct walk walk;
    walk_lane(&walk, &seat->lane);
    struct weir_event *own = walk_next(&walk), *ev = NULL;
    if (p->shared) {
        weir_mutex_lock(&shared->mu);
        walk_shared_locked(&walk, shared, before_ns);
        ev = walk_next(&walk);
        if (ev != NULL && (ev->enqueued_ns >= before_ns || (own != NULL && own->enqueued_ns <= ev->enqueued_ns)))
            ev = NULL;
        if (ev != NULL)
            weir_shared_lane_remove_locked(shared, ev);
        weir_mutex_unlock(&shared->mu);
    }
    if (ev != NULL || own == NULL || own->enqueued_ns >= before_ns)
        return ev;
    weir_lane_remove(&seat->lane, own);
    return own;
}

/* Returns whether there may be more. */
static bool drop_some(struct part *p, struct weir_seat *seat)
{
    struct weir_look *l = p->look;
    uint64_t began = weir_worker_now(seat->worker);
    for (unsigned n = 1; take_one_of(l); n++) {
        struct weir_event *ev = take_oldest(p, seat, l->o.before_ns);
        if (ev == NULL) {
            give_one_back(l);
            return false;
        }
        end_event(seat, ev, &seat->ledger.dropped, WEIR_REASON_PURGED, WEIR_REQUEST_DROPPED);
        weir_ledger_add(&p->ended, 1);
        if (n % CLOCK_EVERY == 0 && weir_worker_now(seat->worker) - began > SLICE_NS)
            return true;
    }
    return false;
}

static size_t collect_expired(struct walk *walk, struct weir_seat *seat, struct weir_event **out, bool shared)
{
    struct weir_event *ev;
    size_t n = 0;
    for (size_t i = 0; i < EXPIRE_DEPTH && (ev = walk_next(walk)) != NULL; i++) {
        if (weir_seat_why_expired(seat, ev) == WEIR_REASON_NONE)
            continue;
        if (shared)
            weir_shared_lane_remove_locked(&seat->stage->queue.shared, ev);
        else
            weir_lane_remove(&seat->lane, ev);
        out[n++] = ev;
    }
    return n;
}

static bool expire_some(struct part *p, struct weir_seat *seat)
{
    struct weir_shared_lane *shared = &seat->stage->queue.shared;
    struct weir_event *expired[2 * EXPIRE_DEPTH];
    struct walk walk;
    weir_worker_now(seat->worker);
    walk_lane(&walk, &seat->lane);
    size_t n = collect_expired(&walk, seat, expired, false);
    if (p->shared) {
        weir_mutex_lock(&shared->mu);
        walk_shared_locked(&walk, shared, UINT64_MAX);
        n += collect_expired(&walk, seat, expired + n, true);
        weir_mutex_unlock(&shared->mu);
    }
    for (size_t i = 0; i < n; i++)
        end_event(seat, expired[i], &seat->ledger.expired, weir_seat_why_expired(seat, expired[i]), WEIR_REQUEST_EXPIRED);
    weir_ledger_add(&p->ended, (int64_t)n);
    return n > 0;
}

/* ---- a worker's part ---- */

static void look_at_ages(struct part *p)
{
    struct weir_worker *w = p->worker;
    struct walk walk;
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        walk_lane(&walk, &w->seats[i]->lane);
        p->oldest[i] = oldest_of(&walk);
    }
}

/* Returns whether there is more to do. */
static bool visit(struct part *p)
{
    const struct weir_look_options *o = &p->look->o;
    struct weir_worker *w = p->worker;
    struct walk walk;
    weir_worker_flush(w); /* what is on its way to shared lanes is there when those are looked at */
    switch (o->verb) {
    case WEIR_LOOK_TOUCH:
        break;
    case WEIR_LOOK_AGES:
        look_at_ages(p);
        break;
    case WEIR_LOOK_PEEK:
        walk_lane(&walk, &w->seats[o->stage->index]->lane);
        p->seen_count = see_all(&walk, p->seen, o->max);
        break;
    case WEIR_LOOK_DROP:
        return drop_some(p, w->seats[o->stage->index]);
    case WEIR_LOOK_EXPIRE:
        return expire_some(p, w->seats[o->stage->index]);
    }
    return false;
}

static void unref_seen(struct weir_looked *seen, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        weir_value_unref(seen[i].key);
        weir_value_unref(seen[i].value);
    }
}

static void unref(struct weir_look *l)
{
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < l->part_count; i++) {
        unref_seen(l->parts[i].seen, l->parts[i].seen_count);
        weir_free(l->parts[i].seen);
        weir_free(l->parts[i].oldest);
    }
    unref_seen(l->all, l->all_count);
    weir_free(l->all);
    weir_free(l);
}

static void deliver(struct weir_message *m)
{
    struct part *p = WEIR_LIST_ENTRY(m, struct part, message);
    struct weir_look *l = p->look;
    bool there = atomic_load_explicit(&p->worker->state, memory_order_acquire) != WEIR_WORKER_GONE; /* else its lanes are empty */
    if (there && !atomic_load_explicit(&l->given_up, memory_order_relaxed) && visit(p)) {
        weir_worker_post(p->worker, m); /* goes on in the next turn */
        return;
    }
    atomic_store_explicit(&p->done, true, memory_order_release);
    if (atomic_fetch_sub_explicit(&l->waiting, 1, memory_order_acq_rel) == 1 && l->o.tell != NULL)
        l->o.tell(l->o.arg);
    unref(l);
}

/* ---- asking ---- */

static bool is_there(const struct weir_worker *w)
{
    return w != NULL && atomic_load_explicit(&w->state, memory_order_acquire) != WEIR_WORKER_GONE;
}

static bool has_own_lanes(const struct weir_pool *p)
{
    return !p->blocking;
}

/* Who takes events out of the shared lane: any worker may; one that does not block comes to it soonest. */
static struct weir_worker *shared_taker(const struct weir_look_options *o)
{
    struct weir_worker *any = NULL;
    for (size_t i = 0; i < o->graph->pool_count; i++) {
        struct weir_pool *p = &o->graph->pools[i];
        for (unsigned n = 0; n < p->slot_count; n++) {
            if (!is_there(p->workers[n]))
                continue;
            bool better = any == NULL || (weir_worker_stuck(any) && !weir_worker_stuck(p->workers[n])) ||
                          (any->pool->blocking && !p->blocking) || (any->pool != o->stage->pool && p == o->stage->pool && !p->blocking);
            if (better && !(any != NULL && weir_worker_stuck(p->workers[n])))
                any = p->workers[n];
        }
    }
    return any;
}

static bool has_part(const struct weir_look_options *o, const struct weir_pool *p)
{
    if (o->verb == WEIR_LOOK_AGES)
        return has_own_lanes(p);
    if (p != o->stage->pool)
        return false;
    return o->verb == WEIR_LOOK_TOUCH || (has_own_lanes(p) && o->stage->queue.keys.by == WEIR_BY_NONE);
}

static size_t count_slots(const struct weir_look_options *o)
{
    size_t n = 1; /* who has the shared lane need not be of the stage's pool */
    for (size_t i = 0; i < o->graph->pool_count; i++)
        n += o->graph->pools[i].slot_count;
    return n;
}

static int add_part(struct weir_look *l, struct weir_worker *w, bool shared)
{
    struct part *p = &l->parts[l->part_count++];
    *p = (struct part){.message.deliver = deliver, .look = l, .worker = w, .pool = w->pool->name, .number = w->index - w->pool->first_slot,
                       .shared = shared};
    if (l->o.verb == WEIR_LOOK_PEEK && (p->seen = weir_calloc(l->o.max + 1, sizeof *p->seen)) == NULL)
        return WEIR_E_NOMEM;
    if (l->o.verb == WEIR_LOOK_AGES && (p->oldest = weir_calloc(l->o.graph->stage_count + 1, sizeof *p->oldest)) == NULL)
        return WEIR_E_NOMEM;
    return WEIR_OK;
}

static int add_parts(struct weir_look *l)
{
    const struct weir_look_options *o = &l->o;
    bool ends = o->verb == WEIR_LOOK_DROP || o->verb == WEIR_LOOK_EXPIRE;
    struct weir_worker *taker = ends ? shared_taker(o) : NULL;
    int rc = WEIR_OK;
    for (size_t i = 0; i < o->graph->pool_count; i++) {
        struct weir_pool *p = &o->graph->pools[i];
        for (unsigned n = 0; rc == WEIR_OK && n < p->slot_count; n++)
            if (is_there(p->workers[n]) && (has_part(o, p) || p->workers[n] == taker))
                rc = add_part(l, p->workers[n], p->workers[n] == taker);
    }
    return rc;
}

/* false: it has gone. Under the lock it can't go meanwhile. */
static bool post(struct weir_worker *w, struct weir_message *m)
{
    weir_mutex_lock(&w->pool->mu);
    bool there = !w->leaving;
    if (there)
        weir_worker_post(w, m);
    weir_mutex_unlock(&w->pool->mu);
    return there;
}

int weir_look_begin(const struct weir_look_options *o, struct weir_look **ret, struct weir_err *reterr)
{
    struct weir_look *l = weir_calloc(1, sizeof *l + count_slots(o) * sizeof l->parts[0]);
    if (l == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "queue: out of memory");
    l->o = *o;
    if (l->o.max > WEIR_LOOK_EVENTS_MAX && o->verb == WEIR_LOOK_PEEK)
        l->o.max = WEIR_LOOK_EVENTS_MAX;
    atomic_init(&l->left, o->max);
    atomic_init(&l->refs, 1);
    if (add_parts(l) < 0) {
        unref(l);
        return weir_err_set(reterr, WEIR_E_NOMEM, "queue: out of memory");
    }
    atomic_store(&l->refs, (unsigned)l->part_count + 1);
    atomic_store(&l->waiting, l->part_count + 1); /* one more until all are asked: `tell` comes once, at the end */
    *ret = l;
    for (size_t i = 0; i < l->part_count; i++)
        if (!post(l->parts[i].worker, &l->parts[i].message)) {
            atomic_store_explicit(&l->parts[i].done, true, memory_order_release);
            atomic_fetch_sub_explicit(&l->waiting, 1, memory_order_acq_rel);
            atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel);
        }
    if (atomic_fetch_sub_explicit(&l->waiting, 1, memory_order_acq_rel) == 1 && o->tell != NULL)
        o->tell(o->arg);
    return WEIR_OK;
}

/* ---- reading ---- */

bool weir_look_done(const struct weir_look *l)
{
    return atomic_load_explicit(&l->waiting, memory_order_acquire) == 0;
}

static bool has_answered(const struct part *p)
{
    return atomic_load_explicit(&p->done, memory_order_acquire);
}

uint64_t weir_look_oldest(struct weir_look *l, struct weir_stage *s)
{
    struct weir_shared_lane *shared = &s->queue.shared;
    struct walk walk;
    weir_mutex_lock(&shared->mu);
    walk_shared_locked(&walk, shared, UINT64_MAX);
    uint64_t oldest = oldest_of(&walk);
    weir_mutex_unlock(&shared->mu);
    for (size_t i = 0; i < l->part_count; i++) {
        const struct part *p = &l->parts[i];
        uint64_t own = has_answered(p) && p->oldest != NULL ? p->oldest[s->index] : 0;
        if (own != 0 && (oldest == 0 || own < oldest))
            oldest = own;
    }
    return oldest;
}

static int by_age(const void *a, const void *b)
{
    const struct weir_looked *x = a, *y = b;
    if (x->enqueued_ns != y->enqueued_ns)
        return x->enqueued_ns < y->enqueued_ns ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* An event that moved to the shared lane meanwhile was seen twice. */
static size_t drop_doubles(struct weir_looked *seen, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && seen[kept - 1].id == seen[i].id)
            unref_seen(&seen[i], 1);
        else
            seen[kept++] = seen[i];
    }
    return kept;
}

static void gather(struct weir_look *l)
{
    struct weir_shared_lane *shared = &l->o.stage->queue.shared;
    struct walk walk;
    l->gathered = true;
    l->all = weir_calloc((l->part_count + 1) * l->o.max + 1, sizeof *l->all);
    if (l->all == NULL)
        return;
    weir_mutex_lock(&shared->mu);
    walk_shared_locked(&walk, shared, UINT64_MAX);
    size_t n = see_all(&walk, l->all, l->o.max);
    weir_mutex_unlock(&shared->mu);
    for (size_t i = 0; i < l->part_count; i++) {
        struct part *p = &l->parts[i];
        for (size_t k = 0; has_answered(p) && k < p->seen_count; k++)
            l->all[n++] = p->seen[k];
        if (has_answered(p))
            p->seen_count = 0; /* moved */
    }
    qsort(l->all, n, sizeof *l->all, by_age);
    l->all_count = drop_doubles(l->all, n);
}

size_t weir_look_events(struct weir_look *l, const struct weir_looked **ret)
{
    if (!l->gathered)
        gather(l);
    *ret = l->all;
    return l->all_count < l->o.max ? l->all_count : l->o.max;
}

int64_t weir_look_ended(const struct weir_look *l)
{
    int64_t n = 0;
    for (size_t i = 0; i < l->part_count; i++)
        n += atomic_load_explicit(&l->parts[i].ended, memory_order_relaxed);
    return n;
}

bool weir_look_missing(const struct weir_look *l, size_t i, const char **ret_pool, unsigned *ret_worker)
{
    for (size_t at = 0; at < l->part_count; at++) {
        if (has_answered(&l->parts[at]) || i-- > 0)
            continue;
        *ret_pool = l->parts[at].pool;
        *ret_worker = l->parts[at].number;
        return true;
    }
    return false;
}

void weir_look_end(struct weir_look *l)
{
    if (l == NULL)
        return;
    atomic_store_explicit(&l->given_up, true, memory_order_relaxed);
    unref(l);
}
