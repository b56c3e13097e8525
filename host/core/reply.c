#include "core/reply.h"

#include "base/mem.h"
#include "core/graph.h"
#include "core/port.h"
#include "core/stage.h"
#include "core/worker.h"

enum { WAITING, CAME, LEFT };
enum { BITS = 64, ROUTE_HOPS_MAX = 16 };

static bool is_gone(const struct weir_request *request)
{
    const struct weir_reply *r = (const struct weir_reply *)(const void *)request;
    return atomic_load_explicit(&r->state, memory_order_relaxed) == LEFT; /* orders nothing: who is too early finds out at the answer */
}

void weir_reply_free(struct weir_reply *r)
{
    if (r == NULL)
        return;
    weir_value_unref(r->value);
    weir_free(r);
}

static void deliver(struct weir_message *m)
{
    struct weir_reply *r = WEIR_LIST_ENTRY(m, struct weir_reply, message);
    r->worker->replies--;
    if (r->left)
        weir_reply_free(r);
    else
        r->done(r);
}

/* The holder is done with it. Its outcome is filled in. */
static bool send_back(struct weir_reply *r)
{
    int expected = WAITING;
    if (!atomic_compare_exchange_strong_explicit(&r->state, &expected, CAME, memory_order_acq_rel, memory_order_acquire)) {
        weir_reply_free(r);
        return false;
    }
    weir_worker_post(r->worker, &r->message); /* its worker stays until this is delivered: `replies` counts it */
    return true;
}

static void end(struct weir_request *request, struct weir_worker *w, enum weir_request_end why)
{
    struct weir_reply *r = (struct weir_reply *)(void *)request;
    (void)w;
    r->end = why;
    send_back(r);
}

bool weir_reply_answer(struct weir_reply *r, struct weir_value value)
{
    r->answered = true;
    r->value = value;
    return send_back(r);
}

static const struct weir_request_ops ops = {.gone = is_gone, .end = end};

struct weir_reply *weir_reply_create(struct weir_worker *w, void (*done)(struct weir_reply *r), void *caller)
{
    size_t words = (w->graph->stage_count + BITS - 1) / BITS, size = sizeof(struct weir_reply) + words * sizeof(uint64_t);
    struct weir_reply *r = weir_calloc(1, size);
    if (r == NULL)
        return NULL;
    r->base = (struct weir_request){.ops = &ops, .size = size};
    r->message.deliver = deliver;
    r->worker = w;
    r->done = done;
    r->caller = caller;
    r->value = WEIR_VALUE_NOTHING;
    r->words = words;
    w->replies++;
    return r;
}

struct weir_reply *weir_reply_of(struct weir_request *r)
{
    return r != NULL && r->ops == &ops ? (struct weir_reply *)(void *)r : NULL;
}

void weir_reply_add(struct weir_reply *r, const struct weir_stage *stage)
{
    r->chain[stage->index / BITS] |= 1ULL << (stage->index % BITS);
}

void weir_reply_add_chain(struct weir_reply *r, const struct weir_reply *of)
{
    for (size_t i = 0; i < r->words; i++)
        r->chain[i] |= of->chain[i];
}

static bool waits(const struct weir_reply *r, const struct weir_stage *stage)
{
    return r->chain[stage->index / BITS] >> (stage->index % BITS) & 1;
}

bool weir_reply_closes_cycle(const struct weir_reply *r, const struct weir_edge *edge)
{
    const struct weir_overflow_policy *policy = &edge->overflow;
    bool found = waits(r, edge->target);
    for (int hops = 0; !found && policy->policy == WEIR_OVERFLOW_ROUTE && hops < ROUTE_HOPS_MAX; hops++) {
        found = waits(r, policy->route);
        policy = &policy->route->queue.overflow;
    }
    return found;
}

void weir_reply_leave(struct weir_reply *r)
{
    int expected = WAITING;
    struct weir_worker *w = r->worker;
    r->left = true; /* before the exchange: afterwards the holder may free it */
    if (atomic_compare_exchange_strong_explicit(&r->state, &expected, LEFT, memory_order_acq_rel, memory_order_acquire))
        w->replies--;
}
