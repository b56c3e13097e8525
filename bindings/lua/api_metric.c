/* weir.counter, weir.gauge, weir.histogram: handles of metrics (core/metric.h). One per VM, name and labels,
 * so that asking for one in each call costs a look-up in the VM's own table. */
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "config/utf8.h"
#include "core/graph.h"
#include "core/metric.h"
#include "core/seat.h"
#include "core/stage.h"
#include "lua/api.h"

enum { VALUE_MAX = 128 }; /* bytes of a label's value; the rest is cut */

struct metric_ud {
    struct weir_metric_series *series; /* NULL: the script is only being loaded, and nothing is counted */
    unsigned lane;
};

static const char *const metas[] = {"weir.counter", "weir.gauge", "weir.histogram"};

/* What the arguments say. The texts are on the Lua stack, or here. */
struct arguments {
    struct weir_metric_spec spec;
    struct weir_metric_label labels[WEIR_METRIC_LABELS_MAX];
    char values[WEIR_METRIC_LABELS_MAX][VALUE_MAX + 1];
    double bounds[WEIR_METRIC_BOUNDS_MAX];
};

/* The text of a label's value at the top of the stack, without what no text has. */
WEIR_L_RAISES static void read_value(lua_State *L, const char *name, char out[VALUE_MAX + 1])
{
    size_t len;
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
        luaL_error(L, "label '%s' must be a string, a number or a boolean, it is a %s", name,
                   luaL_typename(L, -1));
    const char *text = luaL_tolstring(L, -1, &len);
    len = len < VALUE_MAX ? len : VALUE_MAX;
    while (len == VALUE_MAX && len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--; /* not in the middle of a character */
    for (size_t i = 0; i < len; i++)
        out[i] = text[i] != '\0' ? text[i] : '?';
    out[len] = '\0';
    weir_utf8_clean(out);
    lua_pop(L, 1);
}

WEIR_L_RAISES static void read_labels(lua_State *L, int idx, struct arguments *a)
{
    if (lua_isnoneornil(L, idx))
        return;
    if (!lua_istable(L, idx))
        luaL_error(L, "the labels of '%s' must be a table such as {method = \"GET\"}, they are a %s",
                   a->spec.name, luaL_typename(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "the names of the labels of '%s' must be strings, one is a %s", a->spec.name,
                       luaL_typename(L, -2));
        if (a->spec.label_count == WEIR_METRIC_LABELS_MAX)
            luaL_error(L, "'%s' has more than %d labels", a->spec.name, WEIR_METRIC_LABELS_MAX);
        struct weir_metric_label *label = &a->labels[a->spec.label_count];
        label->name = lua_tostring(L, -2); /* the table keeps it */
        label->value = a->values[a->spec.label_count++];
        read_value(L, label->name, a->values[a->spec.label_count - 1]);
        lua_pop(L, 1);
    }
}

WEIR_L_RAISES static void read_bounds(lua_State *L, struct arguments *a)
{
    if (a->spec.type != WEIR_METRIC_HISTOGRAM)
        luaL_error(L, "'%s': only histograms have buckets", a->spec.name);
    size_t n = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    if (n == 0 || n > WEIR_METRIC_BOUNDS_MAX)
        luaL_error(L, "the buckets of '%s' must be a list of 1 to %d numbers", a->spec.name,
                   WEIR_METRIC_BOUNDS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TNUMBER)
            luaL_error(L, "the buckets of '%s' must be numbers, number %d is a %s", a->spec.name, (int)i + 1,
                       luaL_typename(L, -1));
        a->bounds[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    a->spec.bounds = a->bounds;
    a->spec.bound_count = n;
}

WEIR_L_RAISES static void read_options(lua_State *L, int idx, struct arguments *a)
{
    if (lua_isnoneornil(L, idx))
        return;
    if (!lua_istable(L, idx))
        luaL_error(L, "the options of '%s' must be a table such as {help = \"...\"}, they are a %s",
                   a->spec.name, luaL_typename(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (strcmp(name, "help") == 0 && lua_type(L, -1) == LUA_TSTRING)
            a->spec.help = lua_tostring(L, -1);
        else if (strcmp(name, "help") == 0)
            luaL_error(L, "the help of '%s' must be a string, it is a %s", a->spec.name,
                       luaL_typename(L, -1));
        else if (strcmp(name, "buckets") == 0)
            read_bounds(L, a);
        else
            luaL_error(L, "'%s': unknown option '%s' (known: buckets, help)", a->spec.name, name);
        lua_pop(L, 1);
    }
}

/* Pushes what names and labels are as one string: the cache's key. Labels come in the order of their table,
 * which may differ; then there are two handles of one series. */
WEIR_L_RAISES static void push_identity(lua_State *L, const struct arguments *a)
{
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addchar(&b, (char)('0' + (int)a->spec.type));
    luaL_addstring(&b, a->spec.name);
    for (size_t i = 0; i < a->spec.label_count; i++) {
        luaL_addchar(&b, '\0');
        luaL_addstring(&b, a->labels[i].name);
        luaL_addchar(&b, '\0');
        luaL_addstring(&b, a->labels[i].value);
    }
    luaL_pushresult(&b);
}

/* Finds or makes the series; NULL while the script is only being loaded. `*ret_keep`: the handle may be
 * cached, since series are bounded. */
WEIR_L_RAISES static struct weir_metric_series *find_series(lua_State *L, const struct arguments *a,
                                                            bool *ret_keep)
{
    struct weir_vm *vm = weir_vm_of(L);
    struct weir_metric_series *s = NULL;
    struct weir_err err;
    bool other = false;
    int rc = vm->seat != NULL ? weir_metrics_get(vm->seat->stage->graph->metrics, &a->spec, &s, &other, &err)
                              : weir_metric_check(&a->spec, &err);
    if (rc < 0)
        luaL_error(L, "%s", err.text);
    *ret_keep = !other && vm->seat != NULL;
    return s;
}

/* (name [, labels [, options]]); upvalue: handles by identity. */
WEIR_L_RAISES static int open_metric(lua_State *L, enum weir_metric_type type)
{
    struct arguments a;
    char what[48];
    bool keep;
    (void)snprintf(what, sizeof what, "weir.%s: the name", weir_metric_type_text(type)); /* it fits */
    a.spec = (struct weir_metric_spec){
        .type = type, .name = weir_api_check_string(L, 1, what), .labels = a.labels};
    lua_settop(L, 3);
    read_labels(L, 2, &a);
    push_identity(L, &a);
    lua_pushvalue(L, -1);
    if (lua_isnil(L, 3) && lua_rawget(L, lua_upvalueindex(1)) == LUA_TUSERDATA)
        return 1;
    lua_settop(L, 4);
    read_options(L, 3, &a);
    struct weir_metric_series *s = find_series(L, &a, &keep);
    const struct weir_seat *seat = weir_vm_of(L)->seat;
    struct metric_ud *u = lua_newuserdatauv(L, sizeof *u, 0);
    u->series = s;
    u->lane = seat != NULL && seat->worker != NULL ? seat->worker->index : 0;
    luaL_setmetatable(L, metas[type]);
    if (keep) {
        lua_pushvalue(L, 4);
        lua_pushvalue(L, 5);
        lua_rawset(L, lua_upvalueindex(1));
    }
    return 1;
}

WEIR_L_RAISES static int l_counter(lua_State *L)
{
    return open_metric(L, WEIR_METRIC_COUNTER);
}

WEIR_L_RAISES static int l_gauge(lua_State *L)
{
    return open_metric(L, WEIR_METRIC_GAUGE);
}

WEIR_L_RAISES static int l_histogram(lua_State *L)
{
    return open_metric(L, WEIR_METRIC_HISTOGRAM);
}

WEIR_L_RAISES static struct metric_ud *check_metric(lua_State *L, enum weir_metric_type type,
                                                    const char *method)
{
    struct metric_ud *u = luaL_testudata(L, 1, metas[type]);
    if (u == NULL)
        luaL_error(L, "call it as m:%s(...), with a colon, m being what weir.%s(name) gave", method,
                   weir_metric_type_text(type));
    return u;
}

WEIR_L_RAISES static double check_number(lua_State *L, const char *method)
{
    if (lua_type(L, 2) != LUA_TNUMBER)
        luaL_error(L, "%s: expected a number, got %s", method,
                   lua_isnoneornil(L, 2) ? "nothing" : luaL_typename(L, 2));
    double n = lua_tonumber(L, 2);
    if (isnan(n))
        luaL_error(L, "%s: expected a number, got NaN", method);
    return n;
}

/* c:inc([n]) */
WEIR_L_RAISES static int l_inc(lua_State *L)
{
    struct metric_ud *u = check_metric(L, WEIR_METRIC_COUNTER, "inc");
    double n = lua_isnoneornil(L, 2) ? 1 : check_number(L, "counter:inc");
    if (!(n >= 0 && n < HUGE_VAL))
        return luaL_error(
            L, "counter:inc: a counter only goes up, by a number from 0; use a gauge for what falls");
    if (u->series == NULL)
        return 0;
    if (lua_isnoneornil(L, 2) || lua_isinteger(L, 2))
        weir_metric_add_int(u->series, u->lane, lua_isnoneornil(L, 2) ? 1 : lua_tointeger(L, 2));
    else
        weir_metric_add(u->series, u->lane, n);
    return 0;
}

/* g:set(n) */
WEIR_L_RAISES static int l_set(lua_State *L)
{
    struct metric_ud *u = check_metric(L, WEIR_METRIC_GAUGE, "set");
    double n = check_number(L, "gauge:set");
    if (u->series != NULL)
        weir_metric_set(u->series, n);
    return 0;
}

/* g:add([n]) */
WEIR_L_RAISES static int l_add(lua_State *L)
{
    struct metric_ud *u = check_metric(L, WEIR_METRIC_GAUGE, "add");
    double n = lua_isnoneornil(L, 2) ? 1 : check_number(L, "gauge:add");
    if (u->series != NULL)
        weir_metric_add(u->series, u->lane, n);
    return 0;
}

/* h:observe(n) */
WEIR_L_RAISES static int l_observe(lua_State *L)
{
    struct metric_ud *u = check_metric(L, WEIR_METRIC_HISTOGRAM, "observe");
    double n = check_number(L, "histogram:observe");
    if (u->series != NULL)
        weir_metric_observe(u->series, u->lane, n);
    return 0;
}

WEIR_L_RAISES static void make_meta(lua_State *L, enum weir_metric_type type, const luaL_Reg *methods)
{
    luaL_newmetatable(L, metas[type]);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

WEIR_L_RAISES void weir_api_metric_open(lua_State *L)
{
    static const luaL_Reg counter[] = {{"inc", l_inc}, {NULL, NULL}},
                          gauge[] = {{"set", l_set}, {"add", l_add}, {NULL, NULL}},
                          histogram[] = {{"observe", l_observe}, {NULL, NULL}},
                          functions[] = {{"counter", l_counter},
                                         {"gauge", l_gauge},
                                         {"histogram", l_histogram},
                                         {NULL, NULL}};
    make_meta(L, WEIR_METRIC_COUNTER, counter);
    make_meta(L, WEIR_METRIC_GAUGE, gauge);
    make_meta(L, WEIR_METRIC_HISTOGRAM, histogram);
    lua_newtable(L);
    luaL_setfuncs(L, functions, 1);
}
