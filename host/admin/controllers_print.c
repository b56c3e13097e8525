#include "admin/controllers_print.h"

#include <math.h>
#include <stdio.h>

#include "admin/view.h"
#include "base/clock.h"
#include "controller/loop.h"
#include "core/gate.h"
#include "core/graph.h"
#include "core/stage.h"
#include "runtime/runtime.h"

/* INFINITY and what is not set: null. */
static void print_number(struct weir_json_out *j, const char *key, double v)
{
    char text[32];
    int n = isfinite(v) ? snprintf(text, sizeof text, "%.6g", v) : snprintf(text, sizeof text, "null");
    weir_json_raw(j, key, text, n > 0 ? (size_t)n : 0);
}

static void print_setting(struct weir_json_out *j, const struct weir_option *o, double v)
{
    if (o->type == WEIR_OPTION_BOOL)
        weir_json_bool(j, o->name, v != 0);
    else if (o->type == WEIR_OPTION_ENUM && v >= 0)
        weir_json_string(j, o->name, o->words[(size_t)v]);
    else
        print_number(j, o->name, v);
}

/* Durations in seconds. */
static void print_one(struct weir_json_out *j, const char *key, const struct weir_loop_view *c)
{
    weir_json_open(j, key, '{');
    weir_json_string(j, "name", c->type->name);
    weir_json_open(j, "settings", '{');
    for (size_t i = 0; i < c->type->option_count; i++)
        print_setting(j, &c->type->options[i], c->settings[i]);
    weir_json_close(j, '}');
    weir_json_bool(j, "enabled", c->enabled);
    weir_json_bool(j, "frozen", c->frozen);
    weir_json_uint(j, "decisions", c->decisions);
    weir_json_close(j, '}');
}

static bool moves(const struct weir_loop_view *c, const struct weir_pool *p, const struct weir_stage *s, enum weir_knob knob)
{
    return c->type->knob == knob && c->stage == s && c->pool == p;
}

void weir_print_pool_controller(struct weir_json_out *j, const struct weir_view *v, const struct weir_pool *p)
{
    struct weir_loop_view c;
    if (v->rt == NULL)
        return;
    for (size_t i = 0; weir_loop_look(weir_runtime_loop(v->rt), i, &c); i++)
        if (moves(&c, p, NULL, WEIR_KNOB_THREADS))
            print_one(j, "controller", &c);
}

static void print_classes(struct weir_json_out *j, const struct weir_graph *g, struct weir_stage *s, const struct weir_gate_bounds *b)
{
    struct weir_gate_sum sum;
    weir_gate_read(s, &sum);
    weir_json_open(j, "classes", '{');
    for (size_t i = 0; i < sum.class_count; i++) {
        const struct weir_gate_class_sum *c = &sum.classes[i];
        weir_json_open(j, weir_graph_class_name(g, i), '{');
        print_number(j, "rate", b->rate[i]);
        weir_json_int(j, "offered", c->offered);
        weir_json_int(j, "refused", c->refused);
        weir_json_int(j, "ended", c->ended);
        weir_json_uint(j, "wait_p90_us", weir_hist_quantile(&c->wait_ns, 0.9) / WEIR_NS_PER_US);
        weir_json_uint(j, "response_p90_us", weir_hist_quantile(&c->response_ns, 0.9) / WEIR_NS_PER_US);
        weir_json_close(j, '}');
    }
    weir_json_close(j, '}');
}

static const char *first_name(const struct weir_loop *l, const struct weir_stage *s)
{
    struct weir_loop_view c;
    for (size_t i = 0; weir_loop_look(l, i, &c); i++)
        if (moves(&c, s->pool, s, WEIR_KNOB_ADMISSION))
            return c.type->name;
    return NULL;
}

static void print_admission(struct weir_json_out *j, const struct weir_view *v, struct weir_stage *s)
{
    const struct weir_loop *l = weir_runtime_loop(v->rt);
    struct weir_gate_bounds b;
    struct weir_loop_view c;
    weir_gate_get(s->gate, &b);
    weir_json_open(j, "admission", '{');
    weir_json_string(j, "controller", first_name(l, s));
    print_number(j, "rate", b.rate[v->graph->default_class]);
    print_number(j, "burst", b.burst);
    print_number(j, "limit", b.limit);
    print_number(j, "shed_after_s", b.shed_after_s);
    weir_json_bool(j, "overloaded", b.overloaded);
    print_classes(j, v->graph, s, &b);
    weir_json_open(j, "controllers", '[');
    for (size_t i = 0; weir_loop_look(l, i, &c); i++)
        if (moves(&c, s->pool, s, WEIR_KNOB_ADMISSION))
            print_one(j, NULL, &c);
    weir_json_close(j, ']');
    weir_json_close(j, '}');
}

void weir_print_stage_controllers(struct weir_json_out *j, const struct weir_view *v, struct weir_stage *s)
{
    struct weir_loop_view c;
    if (v->rt == NULL)
        return;
    for (size_t i = 0; weir_loop_look(weir_runtime_loop(v->rt), i, &c); i++)
        if (moves(&c, s->pool, s, WEIR_KNOB_BATCH))
            print_one(j, "batch_controller", &c);
    if (s->gate != NULL)
        print_admission(j, v, s);
}
