#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "core/pool.h"
#include "core/stage.h"

/* ---- handlers ---- */

static void finish_call(struct rig_call *call, enum weir_reason reason)
{
    struct weir_seat *seat = call->handler->h.seat;
    struct weir_event *ev = call->ev;
    weir_list_remove(&call->node);
    weir_free(call);
    weir_seat_end(seat, ev, reason, NULL);
}

void rig_end_due(struct rig_handler *h)
{
    uint64_t now = weir_worker_now(h->h.seat->worker);
    WEIR_LIST_EACH(node, next, &h->calls)
    {
        struct rig_call *call = WEIR_LIST_ENTRY(node, struct rig_call, node);
        if (call->due_ns <= now)
            finish_call(call, WEIR_REASON_NONE);
    }
    if (weir_list_empty(&h->calls) && h->has_timer)
        uv_timer_stop(&h->timer);
}

static void on_tick(uv_timer_t *timer)
{
    rig_end_due(timer->data);
}

static struct rig_call *keep(struct rig_handler *h, struct weir_event *ev, uint64_t due_ns)
{
    struct rig_call *call = weir_calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->handler = h;
    call->ev = ev;
    call->due_ns = due_ns;
    weir_list_append(&h->calls, &call->node);
    return call;
}

enum weir_reason rig_keep(struct rig_handler *h, struct weir_event *ev, uint64_t delay_ns)
{
    struct weir_worker *w = h->h.seat->worker;
    if (keep(h, ev, w->now_ns + delay_ns) == NULL)
        return WEIR_REASON_MEMORY;
    if (!h->has_timer) {
        h->has_timer = true;
        uv_timer_init(&w->loop, &h->timer);
        h->timer.data = h;
    }
    if (!uv_is_active((uv_handle_t *)&h->timer))
        uv_timer_start(&h->timer, on_tick, 1, 1);
    return RIG_KEPT;
}

static void take_request_back(struct weir_event *ev, struct weir_event *refused)
{
    if (refused->request == NULL)
        return;
    ev->request = refused->request;
    refused->request = NULL;
}

static void on_verdict(struct weir_emission *em, enum weir_verdict verdict, struct weir_event *refused)
{
    struct rig_call *call = (struct rig_call *)(void *)((char *)em - offsetof(struct rig_call, emission));
    struct weir_worker *w = call->handler->h.seat->worker;
    assert_true((verdict == WEIR_VERDICT_ACCEPTED) == (refused == NULL));
    if (refused != NULL) {
        take_request_back(call->ev, refused);
        weir_event_free(w, refused);
    }
    finish_call(call, WEIR_REASON_NONE);
}

enum weir_reason rig_emit_waiting(struct rig_handler *h, struct weir_port *port, struct weir_event *ev,
                                  struct weir_event *out)
{
    struct weir_seat *seat = h->h.seat;
    struct rig_call *call = keep(h, ev, UINT64_MAX);
    struct weir_emission *em = NULL;
    if (call != NULL) {
        em = &call->emission;
        em->done = on_verdict;
    }
    enum weir_verdict v = weir_port_emit(seat, port, out, em);
    if (v == WEIR_VERDICT_PENDING)
        return RIG_KEPT;
    if (call != NULL) {
        weir_list_remove(&call->node);
        weir_free(call);
    }
    if (v != WEIR_VERDICT_ACCEPTED) {
        take_request_back(ev, out);
        weir_event_free(seat->worker, out);
    }
    return WEIR_REASON_NONE;
}

enum weir_verdict rig_forward(struct rig_handler *h, struct weir_event *ev, size_t p, bool move)
{
    struct weir_seat *seat = h->h.seat;
    struct weir_event *out = weir_event_create_from(seat->worker, ev);
    if (out == NULL)
        return WEIR_VERDICT_NOMEM;
    out->value = weir_value_ref(ev->value);
    out->key = ev->key;
    if (move) {
        out->request = ev->request;
        ev->request = NULL;
    }
    enum weir_verdict v = weir_port_emit(seat, &seat->stage->ports[p], out, NULL);
    if (v != WEIR_VERDICT_ACCEPTED) {
        take_request_back(ev, out);
        weir_event_free(seat->worker, out);
    }
    return v;
}

enum weir_reason rig_handled(struct rig_handler *h, struct weir_event *ev)
{
    (void)h;
    (void)ev;
    return WEIR_REASON_NONE;
}

enum weir_reason rig_failed(struct rig_handler *h, struct weir_event *ev)
{
    (void)h;
    (void)ev;
    return WEIR_REASON_ERROR;
}

enum weir_reason rig_forwarded(struct rig_handler *h, struct weir_event *ev)
{
    rig_forward(h, ev, 0, true);
    return WEIR_REASON_NONE;
}

static void handle(struct weir_handler *base, struct weir_event **evs, size_t n)
{
    struct rig_handler *h = (struct rig_handler *)(void *)base;
    if (n > atomic_load(&h->logic->largest_batch))
        atomic_store(&h->logic->largest_batch, n);
    for (size_t i = 0; i < n; i++) {
        if (!weir_seat_begin(base->seat, evs[i]))
            continue;
        enum weir_reason reason = h->logic->handle(h, evs[i]);
        if (reason != RIG_KEPT)
            weir_seat_end(base->seat, evs[i], reason, NULL);
    }
}

static void cancel(struct weir_handler *base)
{
    struct rig_handler *h = (struct rig_handler *)(void *)base;
    WEIR_LIST_EACH(node, next, &h->calls)
    {
        struct rig_call *call = WEIR_LIST_ENTRY(node, struct rig_call, node);
        assert_int_equal(call->emission.pending, 0); /* the worker has ended all waits */
        finish_call(call, WEIR_REASON_CANCELLED);
    }
}

static void on_closed(uv_handle_t *timer)
{
    weir_free(timer->data);
}

static void close_handler(struct weir_handler *base)
{
    struct rig_handler *h = (struct rig_handler *)(void *)base;
    assert_true(weir_list_empty(&h->calls));
    atomic_fetch_add(&h->logic->closed, 1);
    if (h->has_timer)
        uv_close((uv_handle_t *)&h->timer, on_closed);
    else
        weir_free(h);
}

static size_t memory(const struct weir_handler *base)
{
    (void)base;
    return sizeof(struct rig_handler);
}

static const struct weir_handler_ops handler_ops = {
    .handle = handle, .cancel = cancel, .close = close_handler, .memory = memory};

static int make_handler(void *self, struct weir_seat *seat, struct weir_handler **ret,
                        struct weir_err *reterr)
{
    struct rig_logic *logic = self;
    if (atomic_load(&logic->made) + 1 == logic->fail_make_at)
        return weir_err_set(reterr, WEIR_E_SCRIPT, "stage '%s': told to fail", seat->stage->name);
    struct rig_handler *h = weir_calloc(1, sizeof *h);
    if (h == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "stage '%s': out of memory", seat->stage->name);
    h->h.ops = &handler_ops;
    h->h.seat = seat;
    h->logic = logic;
    weir_list_init(&h->calls);
    atomic_fetch_add(&logic->made, 1);
    *ret = &h->h;
    return WEIR_OK;
}

/* ---- the rig ---- */

struct rig *rig_create(size_t stages, size_t pools)
{
    struct rig *r = weir_calloc(1, sizeof *r);
    assert_non_null(r);
    r->logics = weir_calloc(stages + 1, sizeof *r->logics);
    assert_non_null(r->logics);
    assert_int_equal(weir_graph_create(stages, pools, &r->g, NULL), WEIR_OK);
    assert_int_equal(uv_loop_init(&r->loop), 0);
    return r;
}

void rig_pool(struct rig *r, size_t i, const char *name, unsigned max, bool blocking)
{
    struct weir_pool *p = &r->g->pools[i];
    p->name = name;
    p->min = 1;
    p->max = max;
    p->blocking = blocking;
}

struct weir_stage *rig_stage_defaults(struct rig *r, size_t i, const char *name, size_t pool)
{
    struct weir_stage *s = &r->g->stages[i];
    s->name = name;
    s->pool = &r->g->pools[pool];
    s->queue.capacity = 1000;
    s->queue.bytes = 1 << 20;
    s->batch_max = 64;
    s->concurrency = 10000;
    s->slice_ns = 10 * WEIR_NS_PER_MS;
    s->stall_ns = 50 * WEIR_NS_PER_MS;
    s->cpu_ns = WEIR_NS_PER_S;
    s->wall_ns = 30 * WEIR_NS_PER_S;
    s->generation = 1;
    return s;
}

struct weir_stage *rig_stage(struct rig *r, size_t i, const char *name, size_t pool,
                             enum weir_reason (*fn)(struct rig_handler *h, struct weir_event *ev), void *arg)
{
    struct weir_stage *s = rig_stage_defaults(r, i, name, pool);
    r->logics[i].handle = fn;
    r->logics[i].arg = arg;
    s->kind = WEIR_STAGE_HANDLER;
    s->handler = (struct weir_handler_maker){.make = make_handler, .self = &r->logics[i]};
    return s;
}

struct weir_port *rig_wire(struct rig *r, size_t from, const char *port, const size_t *to, size_t n)
{
    struct weir_port *p = weir_graph_add_port(&r->g->stages[from], port, n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        p->edges[i].target = &r->g->stages[to[i]];
        p->edges[i].overflow = r->g->stages[to[i]].queue.overflow;
    }
    return p;
}

struct weir_port *rig_wire_one(struct rig *r, size_t from, const char *port, size_t to)
{
    return rig_wire(r, from, port, &to, 1);
}

void rig_finish(struct rig *r)
{
    struct weir_err err;
    if (weir_graph_finish(r->g, &err) < 0)
        fail_msg("%s", err.text);
}

void rig_destroy(struct rig *r)
{
    for (size_t i = 0; r->g->slots != NULL && i < r->g->stage_count;
         i++) { /* NULL: rig_finish failed, as a test wanted */
        struct weir_ledger_sum sum = rig_ledger(r, i);
        rig_check_ledger(r, i);
        assert_int_equal(sum.queued, 0);
        assert_int_equal(sum.queued_bytes, 0);
        assert_int_equal(sum.running, 0);
        assert_int_equal(sum.waiting, 0);
        assert_int_equal(sum.unsettled, 0);
        assert_int_equal(weir_queue_depth(&r->g->stages[i].queue), 0);
        assert_int_equal(weir_queue_bytes(&r->g->stages[i].queue), 0);
        assert_int_equal(atomic_load(&r->logics[i].made), atomic_load(&r->logics[i].closed));
    }
    if (r->g->slots != NULL)
        assert_int_equal(weir_graph_in_flight(r->g), 0);
    weir_graph_destroy(r->g);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&r->loop), 0);
    weir_free(r->logics);
    weir_free(r);
}

struct weir_ledger_sum rig_ledger(struct rig *r, size_t s)
{
    struct weir_stage_sample sample;
    weir_stage_read(&r->g->stages[s], &sample);
    return sample.ledger;
}

void rig_check_ledger(struct rig *r, size_t s)
{
    for (size_t i = 0; i < r->g->slot_count; i++) {
        struct weir_seat **seats = atomic_load(&r->g->slots[i]);
        if (seats != NULL)
            assert_true(weir_ledger_holds(&seats[s]->ledger));
    }
    struct weir_ledger_sum sum = rig_ledger(r, s);
    assert_int_equal(sum.unsettled, 0);
    assert_int_equal(sum.offered, sum.accepted + sum.rejected);
    int64_t ended = sum.handled + sum.expired + sum.dropped + sum.failed;
    assert_int_equal(sum.accepted, ended + sum.queued + sum.running);
    int64_t reasons = 0;
    for (size_t i = 0; i < WEIR_REASON_COUNT; i++)
        reasons += sum.reasons[i];
    assert_int_equal(reasons,
                     sum.rejected + sum.expired + sum.dropped + sum.failed); /* each has its reason */
}

/* ---- by hand ---- */

struct weir_worker *rig_worker(struct rig *r, size_t pool)
{
    struct weir_pool *p = &r->g->pools[pool];
    struct weir_worker *w = NULL;
    unsigned slot = p->first_slot;
    struct weir_seat **seats;
    while ((seats = atomic_load(&r->g->slots[slot])) != NULL && seats[0]->worker != NULL)
        slot++;
    weir_clock_set_virtual(WEIR_NS_PER_S);
    assert_int_equal(weir_worker_create(p, slot, &w, NULL), WEIR_OK);
    weir_worker_now(w);
    return w;
}

void rig_worker_end(struct weir_worker *w)
{
    weir_worker_flush(w);
    for (size_t i = 0; i < w->graph->stage_count; i++) {
        struct weir_event *ev;
        w->obeyed = 0;
        while (weir_queue_take(w->seats[i], &ev, 1) == 1 || weir_queue_take(w->seats[i], &ev, 1) == 1)
            if (weir_seat_begin(w->seats[i], ev))
                weir_seat_end(w->seats[i], ev, WEIR_REASON_CANCELLED, NULL);
        if (w->seats[i]->handler != NULL)
            w->seats[i]->handler->ops->cancel(w->seats[i]->handler);
    }
    weir_worker_destroy(w);
}

void rig_advance(struct weir_worker *w, uint64_t ns)
{
    weir_clock_set_virtual(weir_clock_ns() + ns);
    weir_worker_now(w);
}

struct weir_event *rig_event(struct weir_worker *w, int64_t value)
{
    struct weir_event *ev = weir_event_create(w);
    assert_non_null(ev);
    ev->value = (struct weir_value){.kind = WEIR_VALUE_INT, .integer = value};
    return ev;
}

struct weir_event *rig_event_sized(struct weir_worker *w, size_t len)
{
    struct weir_event *ev = weir_event_create(w);
    assert_non_null(ev);
    ev->value = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = weir_blob_create(len)};
    assert_non_null(ev->value.blob);
    memset(ev->value.blob->data, 0xc0, len);
    return ev;
}

enum weir_verdict rig_emit(struct weir_worker *w, size_t from, struct weir_event *ev)
{
    struct weir_seat *seat = w->seats[from];
    enum weir_verdict v = weir_port_emit(seat, &seat->stage->ports[0], ev, NULL);
    if (v != WEIR_VERDICT_ACCEPTED) {
        if (ev->request != NULL)
            ev->request->ops->end(ev->request, w,
                                  ev->request->refused ? WEIR_REQUEST_REFUSED : WEIR_REQUEST_UNANSWERED);
        ev->request = NULL;
        weir_event_free(w, ev);
    }
    return v;
}

enum weir_verdict rig_emit_value(struct weir_worker *w, size_t from, int64_t value)
{
    return rig_emit(w, from, rig_event(w, value));
}

size_t rig_take(struct weir_worker *w, size_t s, struct weir_event **out, size_t max)
{
    weir_worker_flush(w);
    return weir_queue_take(w->seats[s], out, max);
}

void rig_finish_event(struct weir_worker *w, size_t s, struct weir_event *ev)
{
    if (weir_seat_begin(w->seats[s], ev))
        weir_seat_end(w->seats[s], ev, WEIR_REASON_NONE, NULL);
}

static bool run_stage(struct weir_worker *w, struct weir_seat *seat)
{
    struct weir_event *batch[64];
    size_t room = seat->stage->concurrency - seat->running, max = seat->stage->batch_max;
    size_t n = seat->handler == NULL || room == 0 || seat->held
                   ? 0
                   : rig_take(w, seat->stage->index, batch, room < max ? room : max);
    if (n > 0)
        seat->handler->ops->handle(seat->handler, batch, n);
    return n > 0;
}

static bool run_aside(struct weir_worker *w)
{
    struct weir_list *node = weir_list_take_first(&w->aside);
    if (node == NULL)
        return false;
    struct weir_aside *a = WEIR_LIST_ENTRY(node, struct weir_aside, node);
    a->run(a);
    return true;
}

void rig_run(struct weir_worker *w)
{
    bool ran = true;
    weir_timers_run(w);
    while (ran) {
        ran = weir_inbox_drain(&w->inbox);
        ran |= run_aside(w);
        for (size_t i = 0; i < w->graph->stage_count; i++)
            ran |= run_stage(w, w->by_rank[i]);
        weir_worker_flush(w);
    }
    for (size_t i = 0; i < w->graph->stage_count; i++)
        assert_true(weir_ledger_holds(&w->seats[i]->ledger));
}

/* ---- for real ---- */

static void deliver_task(struct weir_message *m)
{
    struct rig_task *t = (struct rig_task *)(void *)m;
    t->run(t, weir_worker_current());
    weir_worker_flush(weir_worker_current());
    sem_post(&t->done);
}

void rig_run_on(struct weir_worker *w, struct rig_task *t)
{
    t->message.deliver = deliver_task;
    sem_init(&t->done, 0, 0);
    weir_worker_post(w, &t->message);
    while (sem_wait(&t->done) != 0)
        ;
    sem_destroy(&t->done);
}

void rig_start(struct rig *r)
{
    struct weir_err err;
    for (size_t i = 0; i < r->g->pool_count; i++)
        if (weir_pool_resize(&r->g->pools[i], r->g->pools[i].max, &err) < 0)
            fail_msg("%s", err.text);
}

static void on_wait_tick(uv_timer_t *timer)
{
    (void)timer; /* ends uv_run */
}

void rig_wait(struct rig *r, bool (*done)(void *arg), void *arg)
{
    uv_timer_t tick;
    uint64_t began = weir_clock_ns();
    uv_timer_init(&r->loop, &tick);
    uv_timer_start(&tick, on_wait_tick, 1, 1);
    while (!done(arg)) {
        uv_run(&r->loop, UV_RUN_ONCE);
        if (weir_clock_ns() - began > 60 * WEIR_NS_PER_S)
            abort(); /* a lost wake-up or a lost event: the core file shows where everyone is */
    }
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
}

static bool all_quiet(void *arg)
{
    struct rig *r = arg;
    for (size_t i = 0; i < r->g->pool_count; i++)
        if (!weir_pool_quiet(&r->g->pools[i]))
            return false;
    return true;
}

static bool nothing_in_flight(void *arg)
{
    struct rig *r = arg;
    return all_quiet(r) && weir_graph_in_flight(r->g) == 0;
}

static bool all_gone(void *arg)
{
    struct rig *r = arg;
    unsigned left = 0;
    for (size_t i = 0; i < r->g->pool_count; i++)
        left += weir_pool_reap(&r->g->pools[i]);
    return left == 0;
}

static void order_all(struct rig *r, unsigned orders)
{
    for (size_t i = 0; i < r->g->pool_count; i++)
        weir_pool_order(&r->g->pools[i], orders);
}

void rig_drain(struct rig *r)
{
    order_all(r, WEIR_ORDER_STOP_SOURCES);
    rig_wait(r, nothing_in_flight, r);
}

void rig_stop(struct rig *r)
{
    order_all(r, WEIR_ORDER_STOP_SOURCES | WEIR_ORDER_CANCEL);
    rig_wait(r, all_quiet, r);
    order_all(r, WEIR_ORDER_LEAVE);
    rig_wait(r, all_gone, r);
}

static bool reaped(void *arg)
{
    struct weir_pool *p = arg;
    return weir_pool_reap(p) == p->target;
}

void rig_reap(struct rig *r, size_t i)
{
    rig_wait(r, reaped, &r->g->pools[i]);
}
