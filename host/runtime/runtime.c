#include "runtime/runtime.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/app.h"
#include "controller/journal.h"
#include "controller/loop.h"
#include "controller/pressure.h"
#include "core/crew.h"
#include "core/pool.h"
#include "core/recent.h"
#include "core/seat.h"
#include "core/watchdog.h"
#include "core/worker.h"
#include "runtime/build.h"
#include "runtime/drain.h"

enum { TICK_MS = 1000, CONTROL_MS = 20, DRAIN_STEP_MS = 2 };

/* All fields belong to the control thread. */
struct weir_runtime {
    const struct weir_app *app;
    struct weir_graph *graph;
    struct weir_watchdog *watchdog;
    struct weir_watch watch;         /* of the control thread */
    struct weir_crew *builder, *reaper;
    enum weir_runtime_state state;
    uint64_t started_ns;
    struct weir_address *addresses;  /* by stage */
    struct weir_recent *recent;
    struct weir_journal *journal;
    struct weir_loop *loop;
    struct weir_pressure *pressure;  /* NULL: overload is off */
    uv_timer_t *tick, *control, *stepper, *look; /* on the heap: they close later than this may be freed */
    uv_async_t *end;                 /* likewise; sent by the worker on which the last source ended */
    void (*ended)(void *arg);
    void *ended_arg;
    uv_async_t *stuck;               /* likewise; sent by the watchdog when a worker got stuck or came back */
    struct weir_drain drain;
    bool finishing;                  /* draining without a limit */
    void (*done)(void *arg);
    void *done_arg;
};

static uv_timer_t *make_timer(uv_loop_t *loop, void *data)
{
    uv_timer_t *t = weir_calloc(1, sizeof *t);
    if (t != NULL) {
        uv_timer_init(loop, t);
        t->data = data;
    }
    return t;
}

static void on_end(uv_async_t *end)
{
    struct weir_runtime *rt = end->data;
    if (rt->ended != NULL)
        rt->ended(rt->ended_arg);
}

static void tell_end(void *arg)
{
    struct weir_runtime *rt = arg;
    uv_async_send(rt->end);
}

/* A worker got stuck or came back: its sockets are lent to others, or theirs again. */
static void on_stuck(uv_async_t *stuck)
{
    const struct weir_runtime *rt = stuck->data;
    for (size_t i = 0; rt->graph != NULL && i < rt->graph->stage_count; i++) {
        struct weir_source_maker *m = &rt->graph->stages[i].source;
        if (m->stuck != NULL)
            m->stuck(m->self);
    }
}

/* On the watchdog's thread. */
static void tell_stuck(void *arg)
{
    struct weir_runtime *rt = arg;
    uv_async_send(rt->stuck);
}

static uv_async_t *make_async(uv_loop_t *loop, uv_async_cb told, struct weir_runtime *rt)
{
    uv_async_t *async = weir_calloc(1, sizeof *async);
    if (async == NULL || uv_async_init(loop, async, told) < 0) {
        weir_free(async);
        return NULL;
    }
    async->data = rt;
    uv_unref((uv_handle_t *)async); /* it may never come */
    return async;
}

static void free_handle(uv_handle_t *handle)
{
    weir_free(handle);
}

static void close_timer(uv_timer_t **t)
{
    if (*t != NULL)
        uv_close((uv_handle_t *)*t, free_handle);
    *t = NULL;
}

static uint64_t smallest_slice(const struct weir_app *app)
{
    uint64_t ns = UINT64_MAX;
    for (size_t i = 0; i < app->stage_count; i++)
        if (app->stages[i].slice_ns < ns)
            ns = app->stages[i].slice_ns;
    return ns;
}

/* The threads that serve all pools; scripts are loaded by this one, under their limits. */
static int start_helpers(struct weir_runtime *rt, struct weir_err *reterr)
{
    int rc = weir_watchdog_start(smallest_slice(rt->app), &rt->watchdog, reterr);
    if (rc < 0)
        return rc;
    weir_watchdog_tell(rt->watchdog, tell_stuck, rt);
    weir_watchdog_add(rt->watchdog, &rt->watch, "control", NULL);
    rc = weir_crew_start("builder", rt->watchdog, &rt->builder, reterr);
    return rc < 0 ? rc : weir_crew_start("reaper", NULL, &rt->reaper, reterr); /* what it runs, closing VMs, may take as long as it takes */
}

static int build(struct weir_runtime *rt, const struct weir_registry *registry, struct weir_strbuf *report, struct weir_err *reterr)
{
    int rc = weir_build_graph(rt->app, registry, report, rt->addresses, &rt->graph, reterr);
    if (rc < 0)
        return rc;
    rt->graph->watchdog = rt->watchdog;
    rt->graph->builder = rt->builder;
    rt->graph->reaper = rt->reaper;
    return weir_recent_create(rt->graph, &rt->recent, reterr);
}

static int make_loop(struct weir_runtime *rt, const struct weir_registry *registry, struct weir_err *reterr)
{
    int rc = weir_journal_create(&rt->journal, reterr);
    if (rc == WEIR_OK)
        rc = weir_loop_create(rt->graph, rt->journal, &rt->watch, &rt->loop, reterr);
    if (rc == WEIR_OK && !rt->app->overload.off)
        rc = weir_pressure_create(&rt->app->overload, rt->graph, rt->journal, "", &rt->pressure, reterr);
    return rc < 0 ? rc : weir_build_controllers(rt->app, registry, rt->graph, rt->loop, reterr);
}

int weir_runtime_create(const struct weir_app *app, const struct weir_registry *registry, uv_loop_t *loop, struct weir_strbuf *report,
                        struct weir_runtime **ret, struct weir_err *reterr)
{
    struct weir_runtime *rt = weir_calloc(1, sizeof *rt);
    if (rt == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", app->file);
    rt->app = app;
    rt->addresses = weir_calloc(app->stage_count + 1, sizeof *rt->addresses);
    rt->tick = make_timer(loop, rt);
    rt->control = make_timer(loop, rt);
    rt->stepper = make_timer(loop, rt);
    rt->look = make_timer(loop, rt);
    rt->end = make_async(loop, on_end, rt);
    rt->stuck = make_async(loop, on_stuck, rt);
    int rc = WEIR_OK;
    if (rt->addresses == NULL || rt->tick == NULL ||
        rt->control == NULL || rt->stepper == NULL || rt->look == NULL || rt->end == NULL || rt->stuck == NULL)
        rc = weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", app->file);
    if (rc == WEIR_OK)
        rc = start_helpers(rt, reterr);
    if (rc == WEIR_OK)
        rc = build(rt, registry, report, reterr);
    if (rc == WEIR_OK)
        rc = make_loop(rt, registry, reterr);
    weir_watch_rest(&rt->watch);
    if (rc < 0) {
        weir_runtime_destroy(rt);
        return rc;
    }
    rt->graph->ends.tell = tell_end;
    rt->graph->ends.arg = rt;
    *ret = rt;
    return WEIR_OK;
}

/* Rates and loads over the time since the last tick. */
static void on_tick(uv_timer_t *timer)
{
    struct weir_runtime *rt = timer->data;
    uint64_t now = weir_clock_ns();
    weir_watch_beat(&rt->watch);
    weir_recent_tick(rt->recent, now);
    for (size_t i = 0; i < rt->graph->pool_count; i++) {
        if (rt->state == WEIR_RUNTIME_RUNNING)
            weir_pool_reap(&rt->graph->pools[i]);
    }
}

static void on_control(uv_timer_t *timer)
{
    struct weir_runtime *rt = timer->data;
    weir_watch_beat(&rt->watch);
    weir_loop_tick(rt->loop, weir_clock_ns());
}

/* The closer to a limit, the more often. */
static void on_look(uv_timer_t *timer)
{
    struct weir_runtime *rt = timer->data;
    weir_watch_beat(&rt->watch);
    uint64_t pause_ns = weir_pressure_tick(rt->pressure, weir_clock_ns());
    uv_timer_start(timer, on_look, pause_ns / WEIR_NS_PER_MS, 0);
}

/* How many workers a pool starts with: as few as it may have where a controller sizes it. */
static unsigned first_size(const struct weir_runtime *rt, const struct weir_pool *p)
{
    return rt->app->pools[p->index].controller.name != NULL ? p->min : p->max;
}

static int start_pools(struct weir_runtime *rt, struct weir_err *reterr)
{
    /* Blocking pools take but never make events from outside: they start first, so that nothing waits for them. */
    for (int sources = 0; sources < 2; sources++) {
        for (size_t i = 0; i < rt->graph->pool_count; i++) {
            struct weir_pool *p = &rt->graph->pools[i];
            if (p->blocking == (sources == 1))
                continue;
            int rc = weir_pool_resize(p, first_size(rt, p), reterr);
            if (rc < 0)
                return rc;
        }
    }
    return WEIR_OK;
}

/* Ends what a failed start has started, and waits for it: nothing is in flight yet that could take long. */
static void undo_start(struct weir_runtime *rt)
{
    for (size_t i = 0; i < rt->graph->pool_count; i++)
        weir_pool_order(&rt->graph->pools[i], WEIR_ORDER_STOP_SOURCES | WEIR_ORDER_CANCEL | WEIR_ORDER_LEAVE);
    for (size_t i = 0; i < rt->graph->pool_count; i++)
        weir_pool_join(&rt->graph->pools[i]);
    for (size_t i = 0; i < rt->graph->pool_count; i++)
        weir_pool_clear(&rt->graph->pools[i]);
}

int weir_runtime_start(struct weir_runtime *rt, struct weir_err *reterr)
{
    rt->started_ns = weir_clock_ns();
    weir_loop_begin(rt->loop, rt->started_ns);
    weir_watch_rouse(&rt->watch); /* it makes the first VMs */
    int rc = start_pools(rt, reterr);
    weir_watch_rest(&rt->watch);
    if (rc < 0) {
        undo_start(rt);
        return rc;
    }
    weir_watch_beat(&rt->watch);
    rt->state = WEIR_RUNTIME_RUNNING;
    weir_recent_tick(rt->recent, rt->started_ns);
    uv_timer_start(rt->tick, on_tick, TICK_MS, TICK_MS);
    weir_loop_begin(rt->loop, weir_clock_ns());
    if (!weir_loop_is_empty(rt->loop))
        uv_timer_start(rt->control, on_control, CONTROL_MS, CONTROL_MS);
    if (rt->pressure != NULL)
        uv_timer_start(rt->look, on_look, 0, 0);
    return WEIR_OK;
}

static void on_step(uv_timer_t *timer)
{
    struct weir_runtime *rt = timer->data;
    if (!weir_drain_step(&rt->drain, weir_clock_ns()))
        return;
    uv_timer_stop(rt->stepper);
    uv_timer_stop(rt->tick);
    weir_watchdog_remove(&rt->watch); /* its beat has ended */
    rt->state = WEIR_RUNTIME_STOPPED;
    rt->done(rt->done_arg);
}

static void begin_stop(struct weir_runtime *rt, uint64_t drain_ns, void (*done)(void *arg), void *arg)
{
    rt->state = WEIR_RUNTIME_DRAINING;
    uv_timer_stop(rt->control); /* the knobs stay where they are */
    uv_timer_stop(rt->look);
    if (rt->pressure != NULL)
        weir_pressure_end(rt->pressure);
    rt->done = done;
    rt->done_arg = arg;
    weir_drain_begin(&rt->drain, rt->graph, weir_clock_ns(), drain_ns);
    uv_timer_start(rt->stepper, on_step, 0, DRAIN_STEP_MS);
}

void weir_runtime_stop(struct weir_runtime *rt, void (*done)(void *arg), void *arg)
{
    uint64_t now = weir_clock_ns();
    if (rt->state == WEIR_RUNTIME_RUNNING)
        begin_stop(rt, rt->app->drain_ns, done, arg);
    else if (rt->state == WEIR_RUNTIME_DRAINING && rt->finishing)
        weir_drain_limit(&rt->drain, now + rt->app->drain_ns);
    else if (rt->state == WEIR_RUNTIME_DRAINING)
        weir_drain_hurry(&rt->drain, now);
    rt->finishing = false;
}

void weir_runtime_finish(struct weir_runtime *rt, void (*done)(void *arg), void *arg)
{
    if (rt->state != WEIR_RUNTIME_RUNNING)
        return;
    rt->finishing = true;
    begin_stop(rt, UINT64_MAX, done, arg);
}

void weir_runtime_on_end(struct weir_runtime *rt, void (*ended)(void *arg), void *arg)
{
    rt->ended = ended;
    rt->ended_arg = arg;
}

void weir_runtime_reopen(struct weir_runtime *rt)
{
    for (size_t i = 0; i < rt->graph->stage_count; i++) {
        struct weir_source_maker *m = &rt->graph->stages[i].source;
        if (m->reopen != NULL)
            m->reopen(m->self);
        struct weir_handler_maker *h = &rt->graph->stages[i].handler;
        if (h->reopen != NULL)
            h->reopen(h->self);
    }
}

void weir_runtime_reload_files(struct weir_runtime *rt)
{
    for (size_t i = 0; i < rt->graph->stage_count; i++) {
        struct weir_source_maker *m = &rt->graph->stages[i].source;
        if (m->reload != NULL)
            m->reload(m->self);
    }
}

void weir_runtime_destroy(struct weir_runtime *rt)
{
    if (rt == NULL)
        return;
    close_timer(&rt->tick);
    close_timer(&rt->control);
    close_timer(&rt->stepper);
    close_timer(&rt->look);
    if (rt->end != NULL)
        uv_close((uv_handle_t *)rt->end, free_handle);
    weir_crew_stop(rt->builder); /* may have something for the reaper still */
    weir_crew_stop(rt->reaper);  /* VMs need the graph and its scripts */
    weir_loop_destroy(rt->loop);
    weir_pressure_destroy(rt->pressure);
    weir_journal_destroy(rt->journal);
    weir_recent_destroy(rt->recent); /* by the graph's pools */
    weir_graph_destroy(rt->graph);
    weir_watchdog_remove(&rt->watch);
    weir_watchdog_stop(rt->watchdog);
    if (rt->stuck != NULL)
        uv_close((uv_handle_t *)rt->stuck, free_handle); /* the watchdog sends it no more */
    weir_free(rt->addresses);
    weir_free(rt);
}

enum weir_runtime_state weir_runtime_state(const struct weir_runtime *rt)
{
    return rt->state;
}

struct weir_graph *weir_runtime_graph(struct weir_runtime *rt)
{
    return rt->graph;
}

const struct weir_recent *weir_runtime_recent(const struct weir_runtime *rt)
{
    return rt->recent;
}

struct weir_loop *weir_runtime_loop(const struct weir_runtime *rt)
{
    return rt->loop;
}

const struct weir_journal *weir_runtime_journal(const struct weir_runtime *rt)
{
    return rt->journal;
}

const struct weir_pressure *weir_runtime_pressure(const struct weir_runtime *rt)
{
    return rt->pressure;
}

const struct weir_app *weir_runtime_app(const struct weir_runtime *rt)
{
    return rt->app;
}

uint64_t weir_runtime_uptime_ns(const struct weir_runtime *rt)
{
    return weir_clock_ns() - rt->started_ns;
}

double weir_runtime_pool_busy(const struct weir_runtime *rt, size_t pool_index)
{
    return weir_recent_read_pool(rt->recent, &rt->graph->pools[pool_index])->busy;
}

const char *weir_runtime_address(const struct weir_runtime *rt, size_t stage_index)
{
    const char *text = rt->addresses[stage_index].text;
    return text[0] == '\0' ? NULL : text;
}

bool weir_runtime_was_cut(const struct weir_runtime *rt)
{
    return rt->drain.cut;
}

bool weir_runtime_is_stuck(const struct weir_runtime *rt)
{
    return rt->drain.stuck;
}
