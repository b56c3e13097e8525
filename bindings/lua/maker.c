/* What the host calls (lua_binding.h): a script becomes a maker of handlers. */
#include "lua/calls.h"
#include "lua/handler.h"
#include "lua/lua_binding.h"
#include "lua/sandbox.h"
#include "lua/script.h"

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
