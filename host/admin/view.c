#include "admin/view.h"

#include "config/app.h"
#include "core/stage.h"
#include "runtime/runtime.h"

const char *weir_view_state(const struct weir_view *v)
{
    switch (v->rt == NULL ? WEIR_RUNTIME_STOPPED : weir_runtime_state(v->rt)) {
    case WEIR_RUNTIME_BUILT:
        return "starting";
    case WEIR_RUNTIME_RUNNING:
        return "running";
    case WEIR_RUNTIME_DRAINING:
        return "draining";
    case WEIR_RUNTIME_STOPPED:
        break;
    }
    return "stopped";
}

const char *weir_view_kind(const struct weir_app_stage *s)
{
    switch (s->kind) {
    case WEIR_APP_SOURCE:
        return "source";
    case WEIR_APP_HANDLER:
        return "handler";
    case WEIR_APP_PLUGIN:
        return "plugin";
    case WEIR_APP_SINK:
        break;
    }
    return "sink";
}

const char *weir_view_address(const struct weir_view *v, size_t i)
{
    return v->rt == NULL ? NULL : weir_runtime_address(v->rt, i);
}

double weir_view_busy(const struct weir_view *v, size_t i)
{
    return v->rt == NULL ? 0 : weir_runtime_pool_busy(v->rt, i);
}

bool weir_view_source_stats(const struct weir_stage *s, struct weir_strbuf *out)
{
    if (s->kind != WEIR_STAGE_SOURCE || s->source.stats == NULL)
        return false;
    weir_strbuf_addc(out, '{');
    s->source.stats(s->source.self, out);
    weir_strbuf_addc(out, '}');
    return true;
}
