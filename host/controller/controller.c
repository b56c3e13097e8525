#include "controller/controller.h"

#include <math.h>
#include <string.h>

#include "core/gate.h"

static _Thread_local struct weir_err failure; /* code WEIR_OK: none */

void weir_controller_failed(const struct weir_err *why)
{
    failure = *why;
}

bool weir_controller_take_failure(struct weir_err *ret)
{
    if (failure.code == WEIR_OK)
        return false;
    *ret = failure;
    failure.code = WEIR_OK;
    return true;
}

const struct weir_controller_type *weir_controller_find(enum weir_knob knob, const char *name)
{
    for (size_t i = 0; i < weir_controller_type_count; i++)
        if (weir_controller_types[i]->knob == knob && strcmp(weir_controller_types[i]->name, name) == 0)
            return weir_controller_types[i];
    return NULL;
}

void weir_setpoint_init(struct weir_setpoint *s)
{
    *s = (struct weir_setpoint){.threads = 1, .batch = 1, .burst = 1, .limit = INFINITY, .shed_after_s = INFINITY};
    for (size_t i = 0; i < WEIR_CLASSES_MAX; i++) {
        s->rate[i] = INFINITY;
        s->share[i] = weir_gate_usual_share(i);
    }
}

static double setting(const struct weir_option *o, const struct weir_conf *options)
{
    if (weir_conf_get(options, o->name) == NULL)
        return NAN;
    switch (o->type) {
    case WEIR_OPTION_NUMBER:
        return weir_conf_option_number(options, o->name);
    case WEIR_OPTION_DURATION:
        return (double)weir_conf_option_duration(options, o->name) / 1e9;
    case WEIR_OPTION_BOOL:
        return weir_conf_option_bool(options, o->name) ? 1 : 0;
    case WEIR_OPTION_ENUM:
        return (double)weir_conf_option_enum(options, o->name);
    default:
        return (double)weir_conf_option_int(options, o->name);
    }
}

void weir_controller_settings(const struct weir_controller_type *type, const struct weir_conf *options, double *settings)
{
    for (size_t i = 0; i < type->option_count; i++)
        settings[i] = setting(&type->options[i], options);
}

size_t weir_controller_app_types(struct weir_app_controller_type *ret, size_t max)
{
    size_t n = 0;
    for (; n < weir_controller_type_count && n < max; n++) {
        const struct weir_controller_type *t = weir_controller_types[n];
        ret[n] = (struct weir_app_controller_type){t->name, t->knob, t->text, t->options, t->option_count};
    }
    return n;
}
