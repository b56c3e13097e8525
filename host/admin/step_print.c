#include "admin/step_print.h"

#include <math.h>

#include "admin/json_out.h"

struct figure {
    const char *key;
    double value;
};

static void print_number(struct weir_json_out *j, const char *key, double v)
{
    if (isfinite(v))
        weir_json_number(j, key, v);
}

static void print_figures(struct weir_json_out *j, const struct figure *figures, size_t n)
{
    for (size_t i = 0; i < n; i++)
        print_number(j, figures[i].key, figures[i].value);
}

static void print_list(struct weir_json_out *j, const char *key, const double *values, size_t n)
{
    weir_json_open(j, key, '[');
    for (size_t i = 0; i < n; i++)
        weir_json_number(j, NULL, values[i]);
    weir_json_close(j, ']');
}

static void print_class(struct weir_json_out *j, const struct weir_sample_class *c)
{
    const struct figure figures[] = {
        {"offered", c->offered}, {"refused", c->refused}, {"ended", c->ended}, {"response_s", c->response_s}, {"wait_s", c->wait_s}};
    weir_json_open(j, NULL, '{');
    print_figures(j, figures, sizeof figures / sizeof figures[0]);
    weir_json_close(j, '}');
}

void weir_step_print_inputs(struct weir_json_out *j, const struct weir_sample *s)
{
    const struct figure figures[] = {
        {"now_s", s->now_s},         {"elapsed_s", s->elapsed_s}, {"depth", s->depth},         {"capacity", s->capacity},
        {"running", s->running},     {"offered", s->offered},     {"accepted", s->accepted},   {"handled", s->handled},
        {"failed", s->failed},       {"expired", s->expired},     {"dropped", s->dropped},     {"taken", s->taken},
        {"wait_min_s", s->wait_min_s}, {"wait_s", s->wait_s}, {"service_s", s->service_s}, {"threads", s->threads},
        {"threads_min", s->threads_min}, {"threads_max", s->threads_max}, {"busy", s->busy},   {"batch", s->batch},
        {"batch_min", s->batch_min}, {"batch_max", s->batch_max}, {"idle", (double)s->idle_count},
    };
    weir_json_open(j, "inputs", '{');
    print_figures(j, figures, sizeof figures / sizeof figures[0]);
    weir_json_bool(j, "takes_batches", s->takes_batches);
    weir_json_bool(j, "can_grow", s->can_grow);
    print_list(j, "idle_s", s->idle_s, s->idle_count < WEIR_SAMPLE_WORKERS ? s->idle_count : WEIR_SAMPLE_WORKERS);
    weir_json_open(j, "classes", '[');
    for (size_t i = 0; i < s->class_count && i < WEIR_CLASSES_MAX; i++)
        print_class(j, &s->classes[i]);
    weir_json_close(j, ']');
    weir_json_close(j, '}');
}

/* Rates that are infinite are null. */
static void print_setpoint(struct weir_json_out *j, const char *key, const struct weir_setpoint *p)
{
    const struct figure figures[] = {
        {"threads", p->threads}, {"batch", p->batch}, {"burst", p->burst}, {"limit", p->limit}, {"shed_after_s", p->shed_after_s}};
    weir_json_open(j, key, '{');
    print_figures(j, figures, sizeof figures / sizeof figures[0]);
    print_list(j, "rate", p->rate, WEIR_CLASSES_MAX);
    print_list(j, "share", p->share, WEIR_CLASSES_MAX);
    weir_json_bool(j, "overloaded", p->overloaded);
    weir_json_close(j, '}');
}

void weir_step_print_setpoints(struct weir_json_out *j, const struct weir_journal_step *s)
{
    weir_json_open(j, "settings", '{');
    for (size_t i = 0; i < s->type->option_count; i++)
        print_number(j, s->type->options[i].name, s->settings[i]);
    weir_json_close(j, '}');
    print_setpoint(j, "was", &s->was);
    print_setpoint(j, "at", &s->at);
}
