/* t:pairs() and t:keys(): the table is copied shard by shard as the walk goes on, so each shard is seen as it
 * was at one moment, and the memory for it is one shard's, not the table's. The copies are userdata, so they
 * count against the VM's limit. */
#include <lauxlib.h>
#include <string.h>

#include "lua/convert.h"
#include "lua/shared_ud.h"

static const char walk_meta[] = "weir.shared.walk", copy_meta[] = "weir.shared.copy";

/* What a shard held. The keys' bytes follow the items. */
struct copy {
    size_t count, at;
    struct weir_shared_item items[];
};

/* A walk's copy is its user value. */
struct walk {
    struct weir_shared_table *table;
    size_t shard; /* the next one to be copied */
};

enum { COPY = 1 };

static void drop(struct copy *c)
{
    for (size_t i = 0; i < c->count; i++)
        weir_value_unref(c->items[i].value);
    c->count = c->at = 0;
}

WEIR_L_RAISES static int l_drop_copy(lua_State *L)
{
    drop(luaL_checkudata(L, 1, copy_meta));
    return 0;
}

/* A loop that is left early gives its copy back at once. */
WEIR_L_RAISES static int l_close_walk(lua_State *L)
{
    struct walk *w = luaL_checkudata(L, 1, walk_meta);
    w->shard = WEIR_SHARED_SHARDS;
    lua_getiuservalue(L, 1, COPY);
    struct copy *c = luaL_testudata(L, -1, copy_meta);
    if (c != NULL)
        drop(c);
    lua_pushnil(L);
    lua_setiuservalue(L, 1, COPY);
    return 0;
}

WEIR_L_RAISES static struct walk *make_walk(lua_State *L, struct weir_shared_table *t)
{
    struct walk *w = lua_newuserdatauv(L, sizeof *w, 1);
    *w = (struct walk){.table = t};
    luaL_setmetatable(L, walk_meta);
    return w;
}

/* Copies shard `shard` into a new user value of the walk at `idx`; NULL: it is empty. */
WEIR_L_RAISES static struct copy *copy_shard(lua_State *L, int idx, struct weir_shared_table *t, size_t shard)
{
    struct weir_shared_extent need = {0, 0};
    while (!weir_shared_table_copy(t, shard, NULL, NULL, &need)) {
        struct weir_shared_extent room = {need.items + need.items / 8 + 4, need.bytes + need.bytes / 8 + 256};
        size_t items = room.items * sizeof(struct weir_shared_item);
        struct copy *c = lua_newuserdatauv(L, sizeof *c + items + room.bytes, 0);
        c->count = c->at = 0;
        luaL_setmetatable(L, copy_meta);
        if (weir_shared_table_copy(t, shard, c->items, (unsigned char *)c->items + items, &room)) {
            c->count = room.items;
            for (size_t i = 0; i < c->count; i++)
                c->items[i].key_at += items; /* from the first item on */
            lua_setiuservalue(L, idx, COPY);
            return c;
        }
        lua_pop(L, 1); /* others have added more than there was room for */
        need = (struct weir_shared_extent){0, 0};
    }
    return NULL;
}

/* The copy with the next item, pushed nowhere; NULL: the walk is over. */
WEIR_L_RAISES static struct copy *next_item(lua_State *L, int idx, struct walk *w)
{
    lua_getiuservalue(L, idx, COPY);
    struct copy *c = lua_touserdata(L, -1);
    lua_pop(L, 1); /* the walk keeps it */
    while ((c == NULL || c->at == c->count) && w->shard < WEIR_SHARED_SHARDS)
        c = copy_shard(L, idx, w->table, w->shard++);
    return c != NULL && c->at < c->count ? c : NULL;
}

WEIR_L_RAISES static void push_key(lua_State *L, const struct copy *c, const struct weir_shared_item *item)
{
    const char *bytes = (const char *)c->items + item->key_at;
    int64_t i;
    if (!item->key_is_int) {
        lua_pushlstring(L, bytes, item->key_len);
        return;
    }
    memcpy(&i, bytes, sizeof i);
    lua_pushinteger(L, i);
}

/* Iterator of a generic for: (walk) -> key, value. */
WEIR_L_RAISES static int l_next(lua_State *L)
{
    struct walk *w = luaL_checkudata(L, 1, walk_meta);
    struct copy *c = next_item(L, 1, w);
    if (c == NULL) {
        lua_pushnil(L);
        return 1;
    }
    struct weir_shared_item *item = &c->items[c->at];
    push_key(L, c, item);
    weir_convert_push(L, item->value, 0);
    struct weir_value v = item->value;
    item->value = WEIR_VALUE_NOTHING;
    c->at++;
    weir_value_unref(v);
    return 2;
}

WEIR_L_RAISES int weir_shared_l_pairs(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "pairs");
    lua_pushcfunction(L, l_next);
    make_walk(L, t);
    lua_pushnil(L);
    lua_pushvalue(L, -2); /* closed when the loop is left */
    return 4;
}

WEIR_L_RAISES int weir_shared_l_keys(lua_State *L)
{
    struct weir_shared_table *t = weir_shared_ud_check(L, "keys");
    lua_Integer max = lua_isnoneornil(L, 2) ? LUA_MAXINTEGER : lua_isinteger(L, 2) ? lua_tointeger(L, 2) : -1;
    if (max < 0)
        return luaL_error(L, "t:keys: how many must be an integer, at least 0");
    lua_settop(L, 1);
    lua_newtable(L);
    struct walk *w = make_walk(L, t);
    struct copy *c;
    for (lua_Integer n = 1; n <= max && (c = next_item(L, 3, w)) != NULL; n++) {
        push_key(L, c, &c->items[c->at++]);
        lua_rawseti(L, 2, n);
    }
    lua_getiuservalue(L, 3, COPY);
    c = lua_touserdata(L, -1);
    if (c != NULL)
        drop(c);
    lua_settop(L, 2);
    return 1;
}

WEIR_L_RAISES void weir_shared_walk_open(lua_State *L)
{
    static const struct {
        const char *name;
        luaL_Reg functions[3];
    } metas[] = {{walk_meta, {{"__close", l_close_walk}, {NULL, NULL}}},
                 {copy_meta, {{"__gc", l_drop_copy}, {NULL, NULL}}}};
    for (size_t i = 0; i < sizeof metas / sizeof metas[0]; i++) {
        luaL_newmetatable(L, metas[i].name);
        luaL_setfuncs(L, metas[i].functions, 0);
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
        lua_pop(L, 1);
    }
}
