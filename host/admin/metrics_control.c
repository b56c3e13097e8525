/* What controllers decide, gates admit and the overload manager does, as Prometheus reads it. */
#include <math.h>

#include "admin/metrics_inner.h"
#include "admin/view.h"
#include "controller/loop.h"
#include "controller/pressure.h"
#include "core/gate.h"
#include "core/graph.h"
#include "runtime/runtime.h"

/* A pool's controllers have its name in the place of a stage's. */
static void print_controllers(struct metrics *m)
{
    struct weir_loop_view c;
    const struct weir_loop *l = m->view->rt != NULL ? weir_runtime_loop(m->view->rt) : NULL;
    weir_metrics_family(m, "weir_controller_decisions_total", "counter", "Decisions of controllers that moved something.");
    for (size_t i = 0; l != NULL && weir_loop_look(l, i, &c); i++)
        weir_metrics_int(m, "weir_controller_decisions_total",
                 LABELS({c.stage != NULL ? "stage" : "pool", c.stage != NULL ? c.stage->name : c.pool->name}, {"controller", c.type->name}),
                 (int64_t)c.decisions);
}

/* Bounds that are not set have no line. */
static void print_rates(struct metrics *m, const struct weir_stage *s)
{
    const struct weir_graph *g = m->view->graph;
    struct weir_gate_bounds b;
    weir_gate_get(s->gate, &b);
    for (size_t i = 0; i < g->class_count; i++) {
        const char *name = weir_graph_class_name(g, i);
        if (isfinite(b.rate[i]))
            weir_metrics_real(m, "weir_admission_rate", LABELS({"stage", s->name}, {"class", name}), b.rate[i]);
    }
}

static void print_refused(struct metrics *m, struct weir_stage *s)
{
    const struct weir_graph *g = m->view->graph;
    for (size_t i = 0; i < g->class_count; i++)
        weir_metrics_int(m, "weir_admission_refused_total", LABELS({"stage", s->name}, {"class", weir_graph_class_name(g, i)}),
                 weir_gate_refused(s, i));
}

static void print_admission(struct metrics *m)
{
    const struct weir_graph *g = m->view->graph;
    weir_metrics_family(m, "weir_admission_refused_total", "counter", "Events that the stage's gate refused, by class.");
    for (size_t i = 0; i < g->stage_count; i++)
        if (g->stages[i].gate != NULL)
            print_refused(m, &g->stages[i]);
    weir_metrics_family(m, "weir_admission_rate", "gauge", "Events per second that the gate admits of a class.");
    for (size_t i = 0; i < g->stage_count; i++)
        if (g->stages[i].gate != NULL)
            print_rates(m, &g->stages[i]);
    weir_metrics_family(m, "weir_admission_limit", "gauge", "Events queued and running that the gate admits.");
    for (size_t i = 0; i < g->stage_count; i++) {
        struct weir_gate_bounds b = {.limit = INFINITY};
        if (g->stages[i].gate != NULL)
            weir_gate_get(g->stages[i].gate, &b);
        if (isfinite(b.limit))
            weir_metrics_real(m, "weir_admission_limit", LABELS({"stage", g->stages[i].name}), b.limit);
    }
}

static void print_overload(struct metrics *m)
{
    const struct weir_pressure *p = m->view->rt == NULL ? NULL : weir_runtime_pressure(m->view->rt);
    struct weir_pressure_view o;
    if (p == NULL)
        return;
    weir_pressure_look(p, &o);
    weir_metrics_family(m, "weir_overload_pressure", "gauge", "What is used of a limit; 1 is at the limit.");
    for (int r = 0; r < WEIR_RESOURCE_COUNT; r++)
        if (!isnan(o.pressure[r]))
            weir_metrics_real(m, "weir_overload_pressure", LABELS({"resource", weir_resource_text((enum weir_resource)r)}), o.pressure[r]);
    weir_metrics_family(m, "weir_overload_action", "gauge", "Level of what is done about that; 0 is nothing.");
    for (int a = 0; a < WEIR_RELIEF_COUNT; a++)
        weir_metrics_int(m, "weir_overload_action", LABELS({"action", weir_relief_text((enum weir_relief_action)a)}), o.state->level[a]);
}

void weir_metrics_control(struct metrics *m)
{
    print_controllers(m);
    print_admission(m);
    print_overload(m);
}
