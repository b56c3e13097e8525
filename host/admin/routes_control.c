#include "admin/routes_control.h"

#include <string.h>

#include "admin/json_out.h"
#include "admin/routes.h"
#include "admin/view.h"
#include "base/clock.h"
#include "controller/loop.h"
#include "runtime/runtime.h"

enum verb { SET, FREEZE, UNFREEZE };

static int act(struct weir_loop *l, enum verb verb, const char *path, const char *value, struct weir_err *why)
{
    uint64_t now_ns = weir_clock_ns();
    return verb == SET ? weir_loop_set(l, path, value, now_ns, why) : weir_loop_freeze(l, path, verb == FREEZE, now_ns, why);
}

static void answer(enum verb verb, const char *path, const char *value, int rc, const struct weir_err *why, struct weir_route_answer *ret)
{
    static const char *const done[] = {"set", "frozen", "unfrozen"};
    if (rc < 0) {
        weir_route_error(ret, rc == WEIR_E_NOTFOUND ? 404 : rc == WEIR_E_INVAL ? 400 : 409, "%s", why->text);
        return;
    }
    struct weir_json_out j = {.out = &ret->body};
    weir_json_open(&j, NULL, '{');
    weir_json_string(&j, done[verb], path);
    if (verb == SET)
        weir_json_string(&j, "value", value);
    weir_json_close(&j, '}');
    weir_strbuf_addc(&ret->body, '\n');
}

static void control(struct weir_route_ask *ask, enum verb verb, struct weir_route_answer *ret)
{
    static const char *const keys[] = {"path", "value", NULL}, *const path_key[] = {"path", NULL};
    json_t *body = weir_route_body(ask, verb == SET ? keys : path_key, ret);
    if (body == NULL)
        return;
    const char *path = json_string_value(json_object_get(body, "path")), *value = json_string_value(json_object_get(body, "value"));
    struct weir_err why;
    if (path == NULL || (verb == SET && value == NULL))
        weir_route_error(ret, 400, verb == SET ? "expected {\"path\": TEXT, \"value\": TEXT}" : "expected {\"path\": TEXT}");
    else if (ask->view->rt == NULL || weir_runtime_state(ask->view->rt) != WEIR_RUNTIME_RUNNING)
        weir_route_error(ret, 409, "the host is %s: nothing is changed now", weir_view_state(ask->view));
    else
        answer(verb, path, value, act(weir_runtime_loop(ask->view->rt), verb, path, value, &why), &why, ret);
    json_decref(body);
}

void weir_route_set(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    control(ask, SET, ret);
}

void weir_route_freeze(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    control(ask, FREEZE, ret);
}

void weir_route_unfreeze(struct weir_route_ask *ask, struct weir_route_answer *ret)
{
    control(ask, UNFREEZE, ret);
}
