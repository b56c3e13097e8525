/* What the host calls (lua_binding.h): a script becomes a maker of handlers. */
#include "base/clock.h"
#include "lua/calls.h"
#include "lua/controller.h"
#include "lua/handler.h"
#include "lua/lua_binding.h"
#include "lua/sandbox.h"
#include "lua/script.h"
#include "lua/source_script.h"

static int make(void *self, struct weir_seat *seat, struct weir_handler **ret, struct weir_err *reterr)
{
    return weir_lua_handler_create(self, seat, ret, reterr);
}

static void destroy(void *self)
{
    weir_script_close(self);
}

static int open_script(const struct weir_lua_options *options, struct weir_lua_script **ret,
                       struct weir_err *reterr)
{
    struct weir_lua_script *s;
    int rc = weir_sandbox_check(options, reterr);
    if (rc == WEIR_OK)
        rc = weir_script_open(options, &s, reterr);
    if (rc != WEIR_OK)
        return rc;
    rc = weir_script_compile(s, reterr);
    if (rc != WEIR_OK) {
        weir_script_close(s);
        return rc;
    }
    *ret = s;
    return WEIR_OK;
}

int weir_lua_maker_create(const struct weir_lua_options *options, struct weir_handler_maker *ret,
                          struct weir_err *reterr)
{
    struct weir_lua_script *s;
    int rc = open_script(options, &s, reterr);
    if (rc != WEIR_OK)
        return rc;
    weir_sandbox_warn(options);
    *ret = (struct weir_handler_maker){.make = make, .destroy = destroy, .self = s};
    return WEIR_OK;
}

/* Of what sources ask. A call is ended at the first look of the watchdog after `stall`, loading after `cpu`. */
static const struct weir_watch_limits SOURCE_LIMITS = {
    .slice_ns = 5 * WEIR_NS_PER_MS, .stall_ns = 10 * WEIR_NS_PER_MS, .cpu_ns = 100 * WEIR_NS_PER_MS, .wall_ns = WEIR_NS_PER_S};

static int make_for_source(void *self, struct weir_seat *seat, struct weir_source_script **ret, struct weir_err *reterr)
{
    return weir_lua_source_script_create(self, seat, ret, reterr);
}

int weir_lua_source_script_load(const char *file, const char *folder, struct weir_source_script_maker *ret, struct weir_err *reterr)
{
    static const char *safe[] = {"safe"};
    const struct weir_lua_options options = {
        .file = file, .folder = folder, .libs = safe, .lib_count = 1, .memory = WEIR_SOURCE_SCRIPT_MEMORY, .limits = SOURCE_LIMITS, .of_source = true};
    struct weir_lua_script *s;
    int rc = open_script(&options, &s, reterr);
    if (rc == WEIR_OK)
        *ret = (struct weir_source_script_maker){.make = make_for_source, .destroy = destroy, .self = s};
    return rc;
}

/* Of a controller's file, while it is loaded; a step has less (controller.c). */
static const struct weir_watch_limits CONTROLLER_LIMITS = {
    .slice_ns = 5 * WEIR_NS_PER_MS, .stall_ns = 50 * WEIR_NS_PER_MS, .cpu_ns = 100 * WEIR_NS_PER_MS, .wall_ns = WEIR_NS_PER_S};
enum { CONTROLLER_MEMORY = 8 << 20 };

int weir_lua_controller_load(const struct weir_lua_options *options, enum weir_knob knob, const char *name,
                             const struct weir_controller_type **ret, struct weir_err *reterr)
{
    static const char *safe[] = {"safe"};
    struct weir_lua_options o = *options;
    struct weir_lua_script *s;
    o.libs = safe;
    o.lib_count = 1;
    o.memory = CONTROLLER_MEMORY;
    o.limits = CONTROLLER_LIMITS;
    o.of_controller = true;
    int rc = open_script(&o, &s, reterr);
    return rc == WEIR_OK ? weir_lua_controller_create(s, knob, name, ret, reterr) : rc;
}

int weir_lua_check(const struct weir_lua_options *options, struct weir_err *reterr)
{
    struct weir_lua_script *s;
    int rc = open_script(options, &s, reterr);
    if (rc == WEIR_OK)
        weir_script_close(s);
    return rc;
}

int weir_lua_calls(const struct weir_lua_options *options,
                   void (*found)(void *arg, const char *port, size_t len, int line), void *arg,
                   struct weir_err *reterr)
{
    struct weir_lua_script *s;
    int rc = weir_script_open(options, &s, reterr);
    if (rc != WEIR_OK)
        return rc;
    weir_lua_find_calls(s->text, s->text_len, found, arg);
    weir_script_close(s);
    return WEIR_OK;
}

int weir_lua_maker_takes_batches(const struct weir_handler_maker *maker)
{
    const struct weir_lua_script *s = maker->self;
    return s->takes_batches;
}
