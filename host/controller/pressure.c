#include "controller/pressure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/app.h"
#include "config/units.h"
#include "controller/journal.h"
#include "core/crew.h"
#include "core/graph.h"
#include "core/pool.h"
#include "core/relief.h"
#include "core/worker.h"

static const double near_share = 0.1;         /* so far below the lowest threshold it is looked at more often */
static const uint64_t often_ns = 50 * WEIR_NS_PER_MS;
static const uint64_t collect_every_ns = 5 * WEIR_NS_PER_S, trim_after_ns = WEIR_NS_PER_S;

/* All fields belong to the control thread. */
struct weir_pressure {
    const struct weir_app_overload *conf;
    struct weir_graph *graph;
    struct weir_journal *journal;
    struct weir_probe *probe;
    struct weir_overload_settings settings;
    struct weir_overload state;
    struct weir_lag_window lag;
    double used[WEIR_RESOURCE_COUNT], limit[WEIR_RESOURCE_COUNT], pressure[WEIR_RESOURCE_COUNT];
    const char *of_memory;
    uint64_t collected_ns; /* the last time; 0: never */
    bool trimmed;          /* what that freed */
    bool ended;
};

/* On its way to the reaper, who frees it. */
struct trim {
    struct weir_message message;
};

int weir_pressure_create(const struct weir_app_overload *conf, struct weir_graph *graph, struct weir_journal *journal, const char *root,
                         struct weir_pressure **ret, struct weir_err *reterr)
{
    struct weir_pressure *p = weir_calloc(1, sizeof *p);
    if (p == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "overload: out of memory");
    *p = (struct weir_pressure){.conf = conf, .graph = graph, .journal = journal, .of_memory = "process"};
    p->settings = (struct weir_overload_settings){.hysteresis = conf->hysteresis,
                                                  .hold_s = (double)conf->hold_ns / 1e9,
                                                  .class_count = graph->class_count};
    memcpy(p->settings.at, conf->at, sizeof p->settings.at);
    for (int r = 0; r < WEIR_RESOURCE_COUNT; r++)
        p->pressure[r] = NAN;
    int rc = weir_probe_open(root, &p->probe, reterr);
    if (rc < 0) {
        weir_free(p);
        return rc;
    }
    *ret = p;
    return WEIR_OK;
}

void weir_pressure_destroy(struct weir_pressure *p)
{
    if (p == NULL)
        return;
    weir_probe_close(p->probe);
    weir_free(p);
}

/* ---- looking ---- */

/* Takes the greater of two pressures of the memory. */
static void offer_memory(struct weir_pressure *p, uint64_t used, double limit, const char *what)
{
    double share = (double)used / limit;
    if (used == 0 || limit <= 0 || share <= p->pressure[WEIR_RESOURCE_MEMORY])
        return;
    p->used[WEIR_RESOURCE_MEMORY] = (double)used;
    p->limit[WEIR_RESOURCE_MEMORY] = limit;
    p->pressure[WEIR_RESOURCE_MEMORY] = share;
    p->of_memory = what;
}

static void look_at_memory(struct weir_pressure *p, const struct weir_probe_reading *r)
{
    double limit = p->conf->limit[WEIR_RESOURCE_MEMORY];
    if (limit <= 0)
        limit = (double)(r->cgroup_max > 0 && r->cgroup_max < r->physical ? r->cgroup_max : r->physical);
    p->pressure[WEIR_RESOURCE_MEMORY] = -1; /* below everything that is known */
    offer_memory(p, r->resident, limit, "process");
    offer_memory(p, r->cgroup_used, (double)r->cgroup_max, "cgroup");
    offer_memory(p, r->address_space, (double)r->address_space_max, "address space");
    if (p->pressure[WEIR_RESOURCE_MEMORY] < 0)
        p->pressure[WEIR_RESOURCE_MEMORY] = NAN;
}

static void look_at_descriptors(struct weir_pressure *p, const struct weir_probe_reading *r)
{
    double limit = p->conf->limit[WEIR_RESOURCE_DESCRIPTORS], most = (double)r->descriptors_max;
    limit = limit <= 0 || (most > 0 && most < limit) ? most : limit;
    p->used[WEIR_RESOURCE_DESCRIPTORS] = (double)r->descriptors;
    p->limit[WEIR_RESOURCE_DESCRIPTORS] = limit;
    p->pressure[WEIR_RESOURCE_DESCRIPTORS] = r->descriptors == 0 || limit <= 0 ? NAN : (double)r->descriptors / limit;
}

/* Those that are stuck are left out: others have their work already. */
static uint64_t longest_turn(struct weir_pressure *p, uint64_t now_ns)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < p->graph->pool_count; i++) {
        const struct weir_pool *pool = &p->graph->pools[i];
        for (unsigned s = 0; s < pool->slot_count && !pool->blocking; s++) {
            struct weir_worker *w = pool->workers[s];
            uint64_t turn = w == NULL ? 0 : weir_relief_take_lag(w, now_ns);
            if (turn > longest && !weir_worker_stuck(w))
                longest = turn;
        }
    }
    return longest;
}

static void look_at_lag(struct weir_pressure *p, uint64_t now_ns)
{
    double lag = weir_lag_window_add(&p->lag, (double)now_ns / 1e9, (double)longest_turn(p, now_ns) / 1e9);
    p->used[WEIR_RESOURCE_LAG] = lag;
    p->limit[WEIR_RESOURCE_LAG] = p->conf->limit[WEIR_RESOURCE_LAG];
    p->pressure[WEIR_RESOURCE_LAG] = lag / p->limit[WEIR_RESOURCE_LAG];
}

/* ---- acting ---- */

static void describe_used(const struct weir_pressure *p, enum weir_resource r, char *text, size_t size)
{
    char used[WEIR_UNITS_TEXT], limit[WEIR_UNITS_TEXT];
    double share = p->pressure[r] * 100;
    switch (r) {
    case WEIR_RESOURCE_MEMORY:
        snprintf(text, size, "memory at %.0f %% (%s: %.0f of %.0f MiB)", share, p->of_memory, p->used[r] / 1048576, p->limit[r] / 1048576);
        break;
    case WEIR_RESOURCE_DESCRIPTORS:
        snprintf(text, size, "descriptors at %.0f %% (%.0f of %.0f)", share, p->used[r], p->limit[r]);
        break;
    default:
        snprintf(text, size, "workers poll %s late (limit %s)", weir_duration_format((uint64_t)(p->used[r] * 1e3) * 1000000, used),
                 weir_duration_format((uint64_t)(p->limit[r] * 1e9), limit));
        break;
    }
}

static const char *rule_of(enum weir_resource r, bool up)
{
    static const char *const rules[WEIR_RESOURCE_COUNT][2] = {
        {"memory recedes", "memory runs short"}, {"descriptors recede", "descriptors run short"}, {"lag recedes", "workers lag"}};
    return rules[r][up];
}

/* What a level of an action means, for the log. */
static void describe_action(const struct weir_pressure *p, enum weir_relief_action a, char *text, size_t size)
{
    unsigned level = p->state.level[a];
    switch (a) {
    case WEIR_RELIEF_COLLECT:
        snprintf(text, size, "%s", level > 0 ? "collecting garbage" : "collecting garbage no more");
        break;
    case WEIR_RELIEF_SHRINK:
        snprintf(text, size, level > 0 ? "batches divided by %u" : "batches as they were", 1U << level);
        break;
    case WEIR_RELIEF_CLOSE:
        snprintf(text, size, "%s", level > 0 ? "connections are not kept alive" : "connections are kept alive again");
        break;
    case WEIR_RELIEF_SHED:
        if (level > 0)
            snprintf(text, size, "refusing the lowest %u of %zu classes", level, p->graph->class_count);
        else
            snprintf(text, size, "refusing no class any more");
        break;
    default:
        snprintf(text, size, "%s", level > 0 ? "accepting no connections" : "accepting connections again");
        break;
    }
}

static void tell(const struct weir_pressure *p, enum weir_relief_action a, unsigned from)
{
    enum weir_resource because = p->state.because[a];
    struct weir_journal_entry *e = weir_journal_add(p->journal, WEIR_JOURNAL_DECISION);
    char used[128], action[96];
    bool up = p->state.level[a] > from;
    describe_used(p, because, used, sizeof used);
    describe_action(p, a, action, sizeof action);
    snprintf(e->subject, sizeof e->subject, "overload.%s", weir_relief_text(a));
    e->controller = "overload";
    e->rule = rule_of(because, up);
    e->from = from;
    e->to = p->state.level[a];
    snprintf(e->text, sizeof e->text, "%s", used);
    if (a >= WEIR_RELIEF_CLOSE) /* what clients notice */
        weir_log(up ? WEIR_LOG_WARN : WEIR_LOG_INFO, "overload", NULL, "%s: %s", used, action);
}

static void apply(const struct weir_pressure *p)
{
    const unsigned *level = p->state.level;
    weir_relief_set(p->graph, &(struct weir_relief_levels){.shrink = level[WEIR_RELIEF_SHRINK],
                                                           .shed = level[WEIR_RELIEF_SHED],
                                                           .close = level[WEIR_RELIEF_CLOSE] > 0,
                                                           .stop = level[WEIR_RELIEF_STOP] > 0});
}

static void on_trim(struct weir_message *m)
{
    weir_free(WEIR_LIST_ENTRY(m, struct trim, message));
    weir_mem_trim();
}

/* What VMs free is the process's, until its allocator gives it back: that is the reaper's work, since it may take long. */
static void trim_later(const struct weir_pressure *p)
{
    struct trim *t = p->graph->reaper != NULL ? weir_malloc(sizeof *t) : NULL;
    if (t == NULL)
        return;
    t->message.deliver = on_trim;
    weir_crew_post(p->graph->reaper, &t->message);
}

/* Every few seconds; a second later what that has freed is given back. */
static void collect(struct weir_pressure *p, uint64_t now_ns)
{
    uint64_t since = now_ns - p->collected_ns;
    if (p->collected_ns != 0 && !p->trimmed && since >= trim_after_ns) {
        trim_later(p);
        p->trimmed = true;
    }
    if (p->collected_ns != 0 && since < collect_every_ns)
        return;
    p->collected_ns = now_ns;
    p->trimmed = false;
    for (size_t i = 0; i < p->graph->pool_count; i++)
        for (unsigned s = 0; s < p->graph->pools[i].slot_count; s++)
            if (p->graph->pools[i].workers[s] != NULL)
                weir_relief_collect(p->graph->pools[i].workers[s]);
}

static bool is_near(const struct weir_pressure *p)
{
    for (int a = 0; a < WEIR_RELIEF_COUNT; a++) {
        if (p->state.level[a] > 0)
            return true;
        for (int r = 0; r < WEIR_RESOURCE_COUNT; r++)
            if (p->pressure[r] + near_share >= p->settings.at[r][a])
                return true;
    }
    return false;
}

uint64_t weir_pressure_tick(struct weir_pressure *p, uint64_t now_ns)
{
    struct weir_probe_reading reading;
    struct weir_overload before = p->state;
    struct weir_overload_sample sample = {.now_s = (double)now_ns / 1e9};
    if (p->ended)
        return p->conf->every_ns;
    weir_probe_read(p->probe, &reading);
    look_at_memory(p, &reading);
    look_at_descriptors(p, &reading);
    look_at_lag(p, now_ns);
    memcpy(sample.pressure, p->pressure, sizeof sample.pressure);
    unsigned changed = weir_overload_step(&p->settings, &p->state, &sample);
    for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
        if (changed & 1U << a)
            tell(p, (enum weir_relief_action)a, before.level[a]);
    if (changed != 0)
        apply(p);
    if (p->state.level[WEIR_RELIEF_COLLECT] > 0)
        collect(p, now_ns);
    return is_near(p) && often_ns < p->conf->every_ns ? often_ns : p->conf->every_ns;
}

void weir_pressure_end(struct weir_pressure *p)
{
    p->ended = true;
    memset(p->state.level, 0, sizeof p->state.level);
    apply(p);
}

void weir_pressure_look(const struct weir_pressure *p, struct weir_pressure_view *ret)
{
    *ret = (struct weir_pressure_view){.of_memory = p->of_memory, .state = &p->state, .settings = &p->settings};
    memcpy(ret->used, p->used, sizeof ret->used);
    memcpy(ret->limit, p->limit, sizeof ret->limit);
    memcpy(ret->pressure, p->pressure, sizeof ret->pressure);
}
