#include "lua/controller.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "config/app.h"
#include "config/conf.h"
#include "config/units.h"
#include "controller/controller.h"
#include "core/watch.h"
#include "lua/config.h"
#include "lua/preempt.h"
#include "lua/script.h"
#include "lua/vm.h"

enum { RULES_MAX = 64, RULE_MAX = 80 };

/* Of a step. What loads the file has the script's own limits. Time that others take does not count: stall is far. */
static const struct weir_watch_limits STEP_LIMITS = {
    .slice_ns = 5000000, .stall_ns = 2000000000, .cpu_ns = 5000000, .wall_ns = 2000000000};

struct lua_type {
    struct weir_controller_type base; /* first */
    char *name;
    struct weir_lua_script *script;
    char *rules[RULES_MAX];           /* what steps have returned; the journal keeps pointers to them */
    size_t rule_count;
};

/* In the unit's state. */
struct lua_state {
    struct weir_vm *vm; /* NULL: it has failed */
    struct lua_type *type;
    int step_ref, state_ref, settings_ref;
};

struct visit {
    struct lua_state *s;
    const struct weir_sample *sample;
    struct weir_setpoint at;
    const char *rule;
};

/* ---- the sample ---- */

#define NUMBERS(X)                                                                                                                   \
    X(now_s) X(elapsed_s) X(depth) X(capacity) X(running) X(offered) X(accepted) X(handled) X(failed) X(expired) X(dropped) X(taken) \
    X(wait_min_s) X(wait_s) X(service_s) X(threads) X(threads_min) X(threads_max) X(busy) X(batch) X(batch_min) X(batch_max)

WEIR_L_RAISES static void set_number(lua_State *L, const char *key, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, key);
}

WEIR_L_RAISES static void set_list(lua_State *L, const char *key, const double *values, size_t count)
{
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushnumber(L, values[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, key);
}

WEIR_L_RAISES static void push_class(lua_State *L, const struct weir_lua_script *script, const struct weir_sample_class *c, size_t i)
{
    lua_createtable(L, 0, 6);
    set_number(L, "offered", c->offered);
    set_number(L, "refused", c->refused);
    set_number(L, "ended", c->ended);
    set_number(L, "response_s", c->response_s);
    set_number(L, "wait_s", c->wait_s);
    if (script->app != NULL && i < script->app->class_count) {
        lua_pushstring(L, script->app->classes[i]);
        lua_setfield(L, -2, "name");
    }
}

WEIR_L_RAISES static void push_sample(lua_State *L, const struct weir_lua_script *script, const struct weir_sample *s)
{
    lua_createtable(L, 0, 28);
#define X(name) set_number(L, #name, s->name);
    NUMBERS(X)
#undef X
    lua_pushboolean(L, s->takes_batches);
    lua_setfield(L, -2, "takes_batches");
    lua_pushboolean(L, s->can_grow);
    lua_setfield(L, -2, "can_grow");
    set_list(L, "idle_s", s->idle_s, s->idle_count);
    lua_createtable(L, (int)s->class_count, 0);
    for (size_t i = 0; i < s->class_count; i++) {
        push_class(L, script, &s->classes[i], i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "classes");
}

/* ---- the setpoint ---- */

/* All fields are there, so what comes here is a new one. */
WEIR_L_RAISES static int l_no_field(lua_State *L)
{
    return luaL_error(L, "'at' has no field '%s' here", luaL_tolstring(L, 2, NULL));
}

WEIR_L_RAISES static void push_at(lua_State *L, enum weir_knob knob, const struct weir_setpoint *at, size_t class_count)
{
    lua_createtable(L, 0, 5);
    switch (knob) {
    case WEIR_KNOB_THREADS:
        set_number(L, "threads", at->threads);
        break;
    case WEIR_KNOB_BATCH:
        set_number(L, "batch", at->batch);
        break;
    case WEIR_KNOB_ADMISSION:
        set_list(L, "rate", at->rate, class_count);
        set_list(L, "share", at->share, class_count);
        set_number(L, "burst", at->burst);
        set_number(L, "limit", at->limit);
        set_number(L, "shed_after_s", at->shed_after_s);
        lua_pushboolean(L, at->overloaded);
        lua_setfield(L, -2, "overloaded");
        break;
    }
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_no_field);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
}

/* The number at the top, which it pops. */
WEIR_L_RAISES static double take_number(lua_State *L, const char *name, double min, double max)
{
    double value = lua_tonumber(L, -1);
    if (lua_type(L, -1) != LUA_TNUMBER)
        luaL_error(L, "at.%s must be a number, it is a %s", name, luaL_typename(L, -1));
    if (isnan(value) || value < min || value > max)
        luaL_error(L, "at.%s must be a number from %f to %f, it is %f", name, (lua_Number)min, (lua_Number)max, (lua_Number)value);
    lua_pop(L, 1);
    return value;
}

/* A field of the table at `idx`. */
WEIR_L_RAISES static double number_at(lua_State *L, int idx, const char *name, double min)
{
    lua_pushstring(L, name);
    lua_rawget(L, idx);
    return take_number(L, name, min, INFINITY);
}

/* One number for all classes, or a list with one for each. */
WEIR_L_RAISES static void take_list(lua_State *L, int idx, const char *name, double max, double *ret, size_t count)
{
    lua_pushstring(L, name);
    lua_rawget(L, idx);
    bool list = lua_istable(L, -1);
    for (size_t i = 0; i < count; i++) {
        if (list)
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
        else
            lua_pushvalue(L, -1);
        ret[i] = take_number(L, name, 0, max);
    }
    lua_pop(L, 1);
}

WEIR_L_RAISES static void take_at(lua_State *L, int idx, struct visit *v)
{
    switch (v->s->type->base.knob) {
    case WEIR_KNOB_THREADS:
        v->at.threads = number_at(L, idx, "threads", 0);
        break;
    case WEIR_KNOB_BATCH:
        v->at.batch = number_at(L, idx, "batch", 0);
        break;
    case WEIR_KNOB_ADMISSION:
        take_list(L, idx, "rate", INFINITY, v->at.rate, v->sample->class_count);
        take_list(L, idx, "share", 1, v->at.share, v->sample->class_count);
        v->at.burst = number_at(L, idx, "burst", 1);
        v->at.limit = number_at(L, idx, "limit", 0);
        v->at.shed_after_s = number_at(L, idx, "shed_after_s", 0);
        lua_pushliteral(L, "overloaded");
        lua_rawget(L, idx);
        v->at.overloaded = lua_toboolean(L, -1);
        lua_pop(L, 1);
        break;
    }
}

/* ---- a step ---- */

/* A copy that lives as long as the type; beyond RULES_MAX different ones: "another rule". */
static const char *keep_rule(struct lua_type *t, const char *text)
{
    char cut[RULE_MAX];
    size_t len = strnlen(text, sizeof cut - 1);
    while (len > 0 && text[len] != '\0' && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--; /* not in the middle of a character */
    memcpy(cut, text, len);
    cut[len] = '\0';
    for (size_t i = 0; i < t->rule_count; i++)
        if (strcmp(t->rules[i], cut) == 0)
            return t->rules[i];
    char *kept = t->rule_count < RULES_MAX ? weir_strdup(cut) : NULL;
    if (kept == NULL)
        return "another rule";
    t->rules[t->rule_count++] = kept;
    return kept;
}

WEIR_L_RAISES static int l_step(lua_State *L)
{
    struct visit *v = lua_touserdata(L, 1);
    enum { STEP = 2, AT };
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->s->step_ref);
    push_at(L, v->s->type->base.knob, &v->at, v->sample->class_count);
    lua_pushvalue(L, STEP);
    push_sample(L, v->s->type->script, v->sample);
    lua_pushvalue(L, AT);
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->s->state_ref);
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->s->settings_ref);
    lua_call(L, 4, 1);
    if (lua_isnil(L, -1))
        return 0;
    if (lua_type(L, -1) != LUA_TSTRING || lua_rawlen(L, -1) == 0)
        return luaL_error(L, "a step returns the rule that decided, a string, or nil; this one returned a %s",
                          lua_type(L, -1) == LUA_TSTRING ? "string without characters" : luaL_typename(L, -1));
    take_at(L, AT, v);
    v->rule = keep_rule(v->s->type, lua_tostring(L, -1));
    return 0;
}

/* The watchdog looks while it runs. */
static int call_watched(struct weir_vm *vm, lua_CFunction entry, void *args, struct weir_err *reterr)
{
    if (vm->watch != NULL)
        weir_watch_rouse(vm->watch);
    int rc = weir_vm_call(vm, entry, args, reterr);
    if (vm->watch != NULL)
        weir_watch_rest(vm->watch);
    return rc;
}

static void close_state(void *state)
{
    struct lua_state *s = state;
    weir_vm_destroy(s->vm);
    s->vm = NULL;
}

static const char *step(const double *settings, void *state, const struct weir_sample *sample, struct weir_setpoint *at)
{
    struct lua_state *s = state;
    struct visit v = {.s = s, .sample = sample, .at = *at};
    struct weir_err err;
    (void)settings; /* of the loop; the script has its own */
    if (s->vm == NULL)
        return NULL;
    if (call_watched(s->vm, l_step, &v, &err) != WEIR_OK) {
        close_state(s);
        weir_controller_failed(&err);
        return NULL;
    }
    if (v.rule != NULL)
        *at = v.at;
    return v.rule;
}

static bool ready(const double *settings, const struct weir_sample *sample)
{
    return sample->elapsed_s >= settings[WEIR_SCRIPT_INTERVAL];
}

/* ---- the settings ---- */

/* What `config:` says of a setting whose default is at the top, which it replaces. */
WEIR_L_RAISES static void take_setting(lua_State *L, const char *key, const struct weir_conf *c)
{
    struct weir_err err;
    uint64_t ns;
    if (lua_type(L, -1) == LUA_TNUMBER && weir_conf_kind(c) == WEIR_CONF_STRING && weir_duration_parse(weir_conf_text(c), &ns, &err) == WEIR_OK) {
        lua_pushnumber(L, (double)ns / 1e9);
    } else {
        weir_config_push(L, c);
        if (lua_type(L, -1) != lua_type(L, -2))
            luaL_error(L, "config: '%s' must be a %s, it is a %s", key, luaL_typename(L, -2), luaL_typename(L, -1));
    }
    lua_remove(L, -2);
}

/* The file's result is at the top: pushes a table of the file's settings and, over them, those of `config:`. */
WEIR_L_RAISES static void push_settings(lua_State *L, const struct weir_conf *config)
{
    bool declared = lua_istable(L, -1) && lua_getfield(L, -1, "settings") != LUA_TNIL;
    if (declared && !lua_istable(L, -1))
        luaL_error(L, "`settings` must be a table, it is a %s", luaL_typename(L, -1));
    if (!declared)
        lua_newtable(L);
    for (size_t i = 0; i < weir_conf_size(config); i++) {
        const char *key = weir_conf_key(config, i);
        if (lua_getfield(L, -1, key) == LUA_TNIL && declared)
            luaL_error(L, "config: the script has no setting '%s'", key);
        if (declared) {
            take_setting(L, key, weir_conf_at(config, i));
        } else {
            lua_pop(L, 1);
            weir_config_push(L, weir_conf_at(config, i));
        }
        lua_setfield(L, -2, key);
    }
}

WEIR_L_RAISES static int l_open(lua_State *L)
{
    struct lua_state *s = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->vm->handle_ref);
    push_settings(L, s->type->script->config);
    s->settings_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, 2);
    if (lua_istable(L, -1))
        lua_getfield(L, -1, "step");
    s->step_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    s->state_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* ---- the type ---- */

static int open_state(const struct weir_controller_type *type, void *state, struct weir_err *reterr)
{
    struct lua_state *s = state;
    struct weir_err err;
    *s = (struct lua_state){.type = (struct lua_type *)(uintptr_t)type}; /* its first member */
    if (weir_watch_current() != NULL)
        weir_watch_rouse(weir_watch_current());
    int rc = weir_vm_create(s->type->script, NULL, &s->vm, reterr);
    if (weir_watch_current() != NULL)
        weir_watch_rest(weir_watch_current());
    if (rc < 0)
        return rc;
    rc = call_watched(s->vm, l_open, s, &err);
    if (rc < 0) {
        close_state(s);
        return weir_err_set(reterr, rc, "%s: %s", s->type->script->file, err.text);
    }
    weir_preempt_limit(s->vm, &STEP_LIMITS);
    return WEIR_OK;
}

static void release(const struct weir_controller_type *type)
{
    struct lua_type *t = (struct lua_type *)(uintptr_t)type;
    for (size_t i = 0; i < t->rule_count; i++)
        weir_free(t->rules[i]);
    weir_script_close(t->script);
    weir_free(t->name);
    weir_free(t);
}

int weir_lua_controller_create(struct weir_lua_script *script, enum weir_knob knob, const char *name,
                               const struct weir_controller_type **ret, struct weir_err *reterr)
{
    struct lua_type *t = weir_calloc(1, sizeof *t);
    if (t != NULL)
        t->name = weir_strdup(name);
    if (t == NULL || t->name == NULL) {
        weir_free(t);
        weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", script->file);
        weir_script_close(script);
        return WEIR_E_NOMEM;
    }
    t->script = script;
    t->base = (struct weir_controller_type){.name = t->name,
                                            .knob = knob,
                                            .text = weir_controller_script.text,
                                            .options = weir_controller_script.options,
                                            .option_count = weir_controller_script.option_count,
                                            .state_size = sizeof(struct lua_state),
                                            .ready = ready,
                                            .step = step,
                                            .open = open_state,
                                            .close = close_state,
                                            .release = release};
    struct lua_state trial;
    int rc = open_state(&t->base, &trial, reterr);
    if (rc < 0) {
        release(&t->base);
        return rc;
    }
    close_state(&trial);
    *ret = &t->base;
    return WEIR_OK;
}
