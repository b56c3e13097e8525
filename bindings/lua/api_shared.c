/* weir.shared(name): handles of shared tables (core/shared_table.h) and what can be done with one key. A
 * value goes in and out as one that an event carries does: encoded here, before the table is touched, and
 * decoded here, after it was. */
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "config/app.h"
#include "config/nearest.h"
#include "core/graph.h"
#include "core/seat.h"
#include "core/shared_tables.h"
#include "core/stage.h"
#include "lua/api.h"
#include "lua/convert.h"
#include "lua/script.h"
#include "lua/shared_ud.h"

static const char handle_meta[] = "weir.shared", box_meta[] = "weir.shared.box";

enum { BOX = 1 }; /* the upvalue of every method */

/* --- What the parts have in common --- */

WEIR_L_RAISES static struct weir_shared_ud *check_handle(lua_State *L, const char *method)
{
    struct weir_shared_ud *u = luaL_testudata(L, 1, handle_meta);
    if (u == NULL)
        luaL_error(L, "weir.shared: call it as t:%s(...), with a colon, t being what weir.shared(name) gave",
                   method);
    return u;
}

WEIR_L_RAISES struct weir_shared_table *weir_shared_ud_check(lua_State *L, const char *method)
{
    struct weir_shared_ud *u = check_handle(L, method);
    if (u->table == NULL || weir_vm_of(L)->phase == WEIR_VM_LOADING)
        luaL_error(L, "t:%s can't be used while the script is being loaded; use it in init or in a handler",
                   method);
    return u->table;
}

WEIR_L_RAISES void weir_shared_ud_key(lua_State *L, const char *method, struct weir_shared_key_arg *ret)
{
    size_t len;
    int is_whole;
    switch (lua_type(L, 2)) {
    case LUA_TSTRING:
        ret->key.bytes = lua_tolstring(L, 2, &len);
        ret->key.is_int = false;
        if (len > WEIR_SHARED_KEY_MAX)
            luaL_error(L, "t:%s: the key has %d bytes, at most %d are allowed", method, (int)len,
                       (int)WEIR_SHARED_KEY_MAX);
        ret->key.len = (uint32_t)len;
        return;
    case LUA_TNUMBER:
        ret->integer = lua_tointegerx(L, 2, &is_whole); /* 1.0 is the key 1, as in tables */
        ret->key = weir_shared_key_int(&ret->integer);
        if (is_whole)
            return;
        break;
    default:
        break;
    }
    bool nil = lua_isnoneornil(L, 2);
    luaL_error(L, "t:%s: the key must be a string or an integer, it is %s%s", method, nil ? "" : "a ",
               nil                             ? "nil"
               : lua_type(L, 2) == LUA_TNUMBER ? "float"
                                               : luaL_typename(L, 2));
}

WEIR_L_RAISES struct weir_value_box *weir_shared_ud_box(lua_State *L)
{
    struct weir_value_box *box = lua_touserdata(L, lua_upvalueindex(BOX));
    if (box != NULL && box->value.kind == WEIR_VALUE_NIL)
        return box;
    box = lua_newuserdatauv(L, sizeof *box, 0);
    box->value = WEIR_VALUE_NOTHING;
    luaL_setmetatable(L, box_meta);
    return box;
}

static void empty(struct weir_value_box *box)
{
    struct weir_value v = box->value;
    box->value = WEIR_VALUE_NOTHING;
    weir_value_unref(v);
}

WEIR_L_RAISES static int l_empty(lua_State *L)
{
    empty(luaL_checkudata(L, 1, box_meta));
    return 0;
}

WEIR_L_RAISES void weir_shared_ud_push(lua_State *L, struct weir_value_box *box)
{
    weir_convert_push(L, box->value, 0);
    empty(box);
}

WEIR_L_RAISES int weir_shared_ud_refuse(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

WEIR_L_RAISES bool weir_shared_ud_encode(lua_State *L, int idx, const char *what, struct weir_value_box *box)
{
    struct weir_vm *vm = weir_vm_of(L);
    struct weir_encoded enc;
    vm->buffer.len = 0;
    weir_convert_encode(L, idx, what, &enc);
    if (enc.request != NULL)
        luaL_error(L, "%s: a request can't be kept in a shared table", what);
    bool taken = weir_convert_take(vm, &enc, &box->value);
    weir_vm_buffer_shrink(&vm->buffer);
    return taken;
}

/* --- Options --- */

/* Seconds to live at the top of the stack: a number above 0, or false for ever. */
WEIR_L_RAISES static uint64_t read_ttl(lua_State *L, int idx, const char *method)
{
    if (lua_isboolean(L, idx) && !lua_toboolean(L, idx))
        return WEIR_SHARED_FOREVER;
    double s = lua_type(L, idx) == LUA_TNUMBER ? lua_tonumber(L, idx) : NAN;
    if (isinf(s) && s > 0)
        return WEIR_SHARED_FOREVER;
    if (!(s > 0.0 && s < 1e9))
        luaL_error(L, "t:%s: the ttl must be a number of seconds above 0, or false for no end", method);
    return s < 1e-9 ? 1 : (uint64_t)(s * 1e9);
}

/* {ttl = seconds} at `idx`, or nothing. */
WEIR_L_RAISES static uint64_t read_options(lua_State *L, int idx, const char *method)
{
    uint64_t ttl = WEIR_SHARED_DEFAULT_TTL;
    if (lua_isnoneornil(L, idx))
        return ttl;
    if (!lua_istable(L, idx))
        luaL_error(L, "t:%s: the options must be a table such as {ttl = 60}, they are a %s", method,
                   luaL_typename(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        if (strcmp(name, "ttl") != 0)
            luaL_error(L, "t:%s: unknown option '%s' (known: ttl)", method, name);
        ttl = read_ttl(L, lua_gettop(L), method);
        lua_pop(L, 1);
    }
    return ttl;
}

/* true, or nil and the reason. */
WEIR_L_RAISES static int push_outcome(lua_State *L, int rc)
{
    switch (rc) {
    case WEIR_OK:
        lua_pushboolean(L, 1);
        return 1;
    case WEIR_E_EXISTS:
        return weir_shared_ud_refuse(L, "exists");
    case WEIR_E_FULL:
        return weir_shared_ud_refuse(L, "full");
    case WEIR_E_INVAL:
        return weir_shared_ud_refuse(L, "not a number");
    case WEIR_E_LIMIT:
        return weir_shared_ud_refuse(L, "overflow");
    default:
        return weir_shared_ud_refuse(L, "memory");
    }
}

/* --- Methods --- */

WEIR_L_RAISES static int l_get(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "get");
    struct weir_shared_key_arg k;
    weir_shared_ud_key(L, "get", &k);
    struct weir_value_box *box = weir_shared_ud_box(L);
    if (weir_shared_table_get(t, &k.key, &box->value) == WEIR_OK)
        weir_shared_ud_push(L, box);
    else
        lua_pushnil(L);
    return 1;
}

/* What the box holds, with its reference. */
static struct weir_value take(struct weir_value_box *box)
{
    struct weir_value v = box->value;
    box->value = WEIR_VALUE_NOTHING;
    return v;
}

WEIR_L_RAISES static int l_set(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "set");
    struct weir_shared_key_arg k;
    weir_shared_ud_key(L, "set", &k);
    if (lua_gettop(L) < 3)
        return luaL_error(L, "t:set: the value is missing (nil deletes)");
    uint64_t ttl = read_options(L, 4, "set");
    struct weir_value_box *box = weir_shared_ud_box(L);
    if (!weir_shared_ud_encode(L, 3, "value", box))
        return push_outcome(L, WEIR_E_NOMEM);
    return push_outcome(L, weir_shared_table_set(t, &k.key, take(box), ttl));
}

WEIR_L_RAISES static int l_add(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "add");
    struct weir_shared_key_arg k;
    weir_shared_ud_key(L, "add", &k);
    uint64_t ttl = read_options(L, 4, "add");
    struct weir_value_box *box = weir_shared_ud_box(L);
    if (!weir_shared_ud_encode(L, 3, "value", box))
        return push_outcome(L, WEIR_E_NOMEM);
    if (box->value.kind == WEIR_VALUE_NIL)
        return luaL_error(L, "t:add: nil can't be added");
    return push_outcome(L, weir_shared_table_add(t, &k.key, take(box), ttl));
}

/* The number at `idx`, `otherwise` when there is none. */
WEIR_L_RAISES static struct weir_value read_number(lua_State *L, int idx, int64_t otherwise, const char *what)
{
    if (lua_isnoneornil(L, idx))
        return (struct weir_value){.kind = WEIR_VALUE_INT, .integer = otherwise};
    if (lua_type(L, idx) != LUA_TNUMBER)
        luaL_error(L, "t:incr: %s must be a number, it is a %s", what, luaL_typename(L, idx));
    if (lua_isinteger(L, idx))
        return (struct weir_value){.kind = WEIR_VALUE_INT, .integer = lua_tointeger(L, idx)};
    return (struct weir_value){.kind = WEIR_VALUE_FLOAT, .number = lua_tonumber(L, idx)};
}

WEIR_L_RAISES static int l_incr(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "incr");
    struct weir_shared_key_arg k;
    struct weir_value now;
    weir_shared_ud_key(L, "incr", &k);
    struct weir_value by = read_number(L, 3, 1, "what is added"),
                      init = read_number(L, 4, 0, "the first value");
    int rc = weir_shared_table_incr(t, &k.key, by, init, read_options(L, 5, "incr"), &now);
    if (rc != WEIR_OK)
        return push_outcome(L, rc);
    weir_convert_push(L, now, 0);
    return 1;
}

WEIR_L_RAISES static int l_cas(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "cas");
    struct weir_shared_key_arg k;
    weir_shared_ud_key(L, "cas", &k);
    if (lua_gettop(L) < 4)
        return luaL_error(L, "t:cas: the old and the new value are needed (nil: none)");
    uint64_t ttl = read_options(L, 5, "cas");
    struct weir_value_box *old = lua_newuserdatauv(L, sizeof *old, 0);
    old->value = WEIR_VALUE_NOTHING;
    luaL_setmetatable(L, box_meta);
    struct weir_value_box *new = weir_shared_ud_box(L);
    if (!weir_shared_ud_encode(L, 3, "old value", old) || !weir_shared_ud_encode(L, 4, "new value", new)) {
        empty(old);
        return push_outcome(L, WEIR_E_NOMEM);
    }
    struct weir_value now = WEIR_VALUE_NOTHING;
    int rc = weir_shared_table_cas(t, &k.key, old->value, take(new), ttl, &now);
    empty(old);
    if (rc != WEIR_E_EXISTS)
        return push_outcome(L, rc);
    old->value = now;
    weir_shared_ud_refuse(L, "changed");
    weir_shared_ud_push(L, old);
    return 3;
}

WEIR_L_RAISES static int l_delete(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "delete");
    struct weir_shared_key_arg k;
    weir_shared_ud_key(L, "delete", &k);
    lua_pushboolean(L, weir_shared_table_delete(t, &k.key));
    return 1;
}

WEIR_L_RAISES static int l_ttl(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "ttl");
    struct weir_shared_key_arg k;
    uint64_t left;
    weir_shared_ud_key(L, "ttl", &k);
    if (weir_shared_table_ttl(t, &k.key, &left) != WEIR_OK)
        lua_pushnil(L);
    else
        lua_pushnumber(L, left == 0 ? (lua_Number)HUGE_VAL : (lua_Number)left / 1e9);
    return 1;
}

WEIR_L_RAISES static int l_expire(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "expire");
    struct weir_shared_key_arg k;
    weir_shared_ud_key(L, "expire", &k);
    lua_pushboolean(L, weir_shared_table_expire(t, &k.key, read_ttl(L, 3, "expire")));
    return 1;
}

WEIR_L_RAISES static int l_size(lua_State *L)
{
    struct weir_shared_figures f;
    weir_shared_table_read(weir_shared_ud_check(L, "size"), &f);
    lua_pushinteger(L, (lua_Integer)f.entries);
    lua_pushinteger(L, (lua_Integer)f.bytes);
    return 2;
}

WEIR_L_RAISES static int l_clear(lua_State *L)
{
    weir_shared_table_clear(weir_shared_ud_check(L, "clear"));
    return 0;
}

WEIR_L_RAISES static int l_tostring(lua_State *L)
{
    const struct weir_shared_ud *u = check_handle(L, "tostring");
    lua_pushfstring(L, "weir.shared: %s",
                    u->table != NULL ? weir_shared_table_name(u->table) : "(being loaded)");
    return 1;
}

/* --- weir.shared --- */

/* Raises "there is no shared table 'x' …", naming those there are. */
WEIR_L_RAISES static int unknown_table(lua_State *L, const char *name, const char *const *names, size_t count)
{
    struct weir_nearest near;
    luaL_Buffer b;
    if (strlen(name) > WEIR_NEAREST_MAX)
        return luaL_error(L, "weir.shared: there is no shared table of that name: it has more than %d bytes",
                          WEIR_NEAREST_MAX);
    weir_nearest_init(&near, name);
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < count; i++) {
        weir_nearest_offer(&near, names[i]);
        luaL_addstring(&b, i == 0 ? "weir.yaml declares '" : ", '");
        luaL_addstring(&b, names[i]);
        luaL_addstring(&b, "'");
    }
    if (count == 0)
        luaL_addstring(&b, "weir.yaml declares none (`shared: {NAME: {bytes: 16MiB}}` would)");
    luaL_pushresult(&b);
    const char *best = weir_nearest_best(&near);
    if (best != NULL)
        lua_pushfstring(L, "; did you mean '%s'?", best);
    else
        lua_pushliteral(L, "");
    return luaL_error(L, "weir.shared: there is no shared table '%s'; %s%s", name, lua_tostring(L, -2),
                      lua_tostring(L, -1));
}

enum { NAMES_MAX = WEIR_SHARED_TABLES_MAX };

/* For a script that is only being loaded, as far as its application is known. */
WEIR_L_RAISES static void check_declared(lua_State *L, const struct weir_app *app, const char *name)
{
    if (app == NULL || app->shared_any.name != NULL)
        return;
    const char *names[NAMES_MAX];
    for (size_t i = 0; i < app->shared_count; i++) {
        names[i] = app->shared[i].name;
        if (strcmp(names[i], name) == 0)
            return;
    }
    unknown_table(L, name, names, app->shared_count);
}

WEIR_L_RAISES static struct weir_shared_table *find_table(lua_State *L, struct weir_shared_tables *set,
                                                          const char *name)
{
    struct weir_shared_table *t = NULL;
    struct weir_err err;
    int rc = weir_shared_tables_get(set, name, &t, &err);
    if (rc == WEIR_E_NOTFOUND) {
        const char *names[NAMES_MAX];
        size_t n = 0;
        for (struct weir_shared_table *one; n < NAMES_MAX && (one = weir_shared_tables_at(set, n)) != NULL;
             n++)
            names[n] = weir_shared_table_name(one);
        unknown_table(L, name, names, n);
    }
    if (rc != WEIR_OK)
        luaL_error(L, "weir.shared: %s", err.text);
    return t;
}

/* Upvalue: handles by name. */
WEIR_L_RAISES static int l_shared(lua_State *L)
{
    const char *name = weir_api_check_string(L, 1, "weir.shared: the name");
    struct weir_vm *vm = weir_vm_of(L);
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TUSERDATA)
        return 1;
    lua_pop(L, 1);
    struct weir_shared_table *t = NULL;
    if (vm->seat != NULL)
        t = find_table(L, vm->seat->stage->graph->shared, name);
    else
        check_declared(L, vm->script->app, name);
    struct weir_shared_ud *u = lua_newuserdatauv(L, sizeof *u, 0);
    u->table = t;
    luaL_setmetatable(L, handle_meta);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2);
    lua_rawset(L, lua_upvalueindex(1));
    return 1;
}

/* A metatable that no script can reach. */
WEIR_L_RAISES static void make_meta(lua_State *L, const char *name, const luaL_Reg *functions)
{
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, functions, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

WEIR_L_RAISES void weir_api_shared_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"get", l_get},
                                       {"set", l_set},
                                       {"add", l_add},
                                       {"incr", l_incr},
                                       {"cas", l_cas},
                                       {"delete", l_delete},
                                       {"ttl", l_ttl},
                                       {"expire", l_expire},
                                       {"size", l_size},
                                       {"clear", l_clear},
                                       {"keys", weir_shared_l_keys},
                                       {"pairs", weir_shared_l_pairs},
                                       {"watch", weir_shared_l_watch},
                                       {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__tostring", l_tostring}, {NULL, NULL}},
                          box[] = {{"__gc", l_empty}, {NULL, NULL}};
    weir_shared_walk_open(L);
    make_meta(L, box_meta, box);
    lua_pop(L, 1);
    make_meta(L, handle_meta, meta);
    luaL_newlibtable(L, methods);
    weir_shared_ud_box(L); /* there is no upvalue yet: it makes one */
    luaL_setfuncs(L, methods, 1);
    lua_getfield(L, -1, "pairs");
    lua_setfield(L, -3, "__pairs");
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushcclosure(L, l_shared, 1);
    lua_setfield(L, -2, "shared");
}
