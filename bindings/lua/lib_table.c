/* Functions of `table` whose work grows with the table. They look at the limits as they go. sort orders as
 * `<` or the given function does, but not equal elements as the stock one would happen to; like that one it
 * may raise when the function is inconsistent. */
#include <lauxlib.h>
#include <limits.h>
#include <stdint.h>

#include "lua/lib.h"

enum {
    READ = 1,
    WRITE = 2,
    LENGTH = 4,
    LOOK_MOVES = 1 << 14,    /* elements moved between looks at the limits */
    LOOK_TEXTS = 1 << 12,    /* … made texts of */
    LOOK_COMPARES = 1 << 12, /* comparisons between them */
    MOVE_MAX = 8 << 20,      /* elements of one table.move */
};

/* --- what is like a table --- */

WEIR_L_RAISES static bool has_field(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    bool has = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 1);
    return has;
}

/* Argument `idx` is a table, or has the metamethods for `what`. */
WEIR_L_RAISES static void check_table(lua_State *L, int idx, int what)
{
    if (lua_type(L, idx) == LUA_TTABLE)
        return;
    int top = lua_gettop(L);
    bool good = lua_getmetatable(L, idx) && ((what & READ) == 0 || has_field(L, "__index")) &&
                ((what & WRITE) == 0 || has_field(L, "__newindex")) &&
                ((what & LENGTH) == 0 || has_field(L, "__len"));
    lua_settop(L, top);
    if (!good)
        luaL_checktype(L, idx, LUA_TTABLE); /* raises */
}

WEIR_L_RAISES static lua_Integer check_length(lua_State *L, int idx, int what)
{
    check_table(L, idx, what | LENGTH);
    return luaL_len(L, idx);
}

/* --- insert, remove, move --- */

/* to[`into`] = from[`index`] */
WEIR_L_RAISES static inline void copy_one(lua_State *L, int from, lua_Integer index, int to, lua_Integer into,
                                          size_t *done)
{
    lua_geti(L, from, index);
    lua_seti(L, to, into);
    weir_lib_work(L, done, 1, LOOK_MOVES);
}

WEIR_L_RAISES static int l_insert(lua_State *L)
{
    size_t done = 0;
    lua_Integer end = (lua_Integer)((lua_Unsigned)check_length(L, 1, READ | WRITE) + 1),
                pos = end; /* the first empty place */
    int args = lua_gettop(L);
    if (args == 3) {
        pos = luaL_checkinteger(L, 2);
        luaL_argcheck(L, (lua_Unsigned)pos - 1 < (lua_Unsigned)end, 2, "position out of bounds");
        for (lua_Integer i = end; i > pos; i--)
            copy_one(L, 1, i - 1, 1, i, &done);
    } else if (args != 2) {
        return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, pos);
    return 0;
}

WEIR_L_RAISES static int l_remove(lua_State *L)
{
    size_t done = 0;
    lua_Integer size = check_length(L, 1, READ | WRITE), pos = luaL_optinteger(L, 2, size);
    if (pos != size)
        luaL_argcheck(L, (lua_Unsigned)pos - 1 <= (lua_Unsigned)size, 2, "position out of bounds");
    lua_geti(L, 1, pos);
    for (; pos < size; pos++)
        copy_one(L, 1, pos + 1, 1, pos, &done);
    lua_pushnil(L);
    lua_seti(L, 1, pos);
    return 1;
}

WEIR_L_RAISES static int l_move(lua_State *L)
{
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3), to = luaL_checkinteger(L, 4);
    int into = lua_isnoneornil(L, 5) ? 1 : 5;
    size_t done = 0;
    check_table(L, 1, READ);
    check_table(L, into, WRITE);
    if (last >= first) {
        luaL_argcheck(L, first > 0 || last < LUA_MAXINTEGER + first, 3, "too many elements to move");
        lua_Integer n = last - first + 1;
        luaL_argcheck(L, to <= LUA_MAXINTEGER - n + 1, 4, "destination wrap around");
        if (n > MOVE_MAX)
            return luaL_error(L, "table.move: %I elements are too many at once (at most %d)", (LUAI_UACINT)n,
                              MOVE_MAX);
        bool overlaps = to > first && to <= last && (into == 1 || lua_compare(L, 1, into, LUA_OPEQ));
        for (lua_Integer i = 0; i < n; i++) {
            lua_Integer at = overlaps ? n - 1 - i : i;
            copy_one(L, 1, first + at, into, to + at, &done);
        }
    }
    lua_pushvalue(L, into);
    return 1;
}

/* --- concat --- */

WEIR_L_RAISES static void add_element(lua_State *L, luaL_Buffer *b, lua_Integer i)
{
    lua_geti(L, 1, i);
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid value (%s) at index %I in table for 'concat'", luaL_typename(L, -1),
                   (LUAI_UACINT)i);
    luaL_addvalue(b);
}

WEIR_L_RAISES static int l_concat(lua_State *L)
{
    size_t sep_len, done = 0;
    luaL_Buffer b;
    lua_Integer last = check_length(L, 1, READ);
    const char *sep = luaL_optlstring(L, 2, "", &sep_len);
    lua_Integer i = luaL_optinteger(L, 3, 1);
    last = luaL_optinteger(L, 4, last);
    luaL_buffinit(L, &b);
    for (; i < last; i++) {
        add_element(L, &b, i);
        luaL_addlstring(&b, sep, sep_len);
        weir_lib_work(L, &done, 1 + sep_len / 1024, LOOK_TEXTS);
    }
    if (i == last)
        add_element(L, &b, i);
    luaL_pushresult(&b);
    return 1;
}

/* table.unpack(list [, i [, j]]) */
WEIR_L_RAISES static int l_unpack(lua_State *L)
{
    lua_Integer i = luaL_optinteger(L, 2, 1),
                j = lua_isnoneornil(L, 3) ? luaL_len(L, 1) : luaL_checkinteger(L, 3);
    if (i <= j && (lua_Unsigned)j - (lua_Unsigned)i >= WEIR_LIB_VALUES_MAX)
        return luaL_error(L, "too many results to unpack (at most %d)", WEIR_LIB_VALUES_MAX);
    return weir_lib_stock(L);
}

/* --- sort --- */

enum { SORT_SMALL = 10, SORT_LARGE = 100 };

struct sort {
    lua_State *L;
    size_t done;
    uint32_t random; /* state of the choice of pivots in large parts */
    bool has_order;  /* argument 2 is the function */
};

/* Whether the value at `a` comes before that at `b`; both absolute. */
WEIR_L_RAISES static bool before(struct sort *s, int a, int b)
{
    lua_State *L = s->L;
    weir_lib_work(L, &s->done, 1, LOOK_COMPARES);
    if (!s->has_order)
        return lua_compare(L, a, b, LUA_OPLT);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool less = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return less;
}

/* Inserts one after the other. No element is off the table while the order function runs, since that may
 * raise. */
WEIR_L_RAISES static void sort_small(struct sort *s, lua_Integer lo, lua_Integer hi)
{
    lua_State *L = s->L;
    int taken = lua_gettop(L) + 1, other = taken + 1;
    for (lua_Integer i = lo + 1; i <= hi; i++) {
        lua_Integer at = i;
        lua_geti(L, 1, i);
        for (; at > lo; at--) {
            lua_geti(L, 1, at - 1);
            bool less = before(s, taken, other);
            lua_pop(L, 1);
            if (!less)
                break;
        }
        for (lua_Integer to = i; to > at; to--) {
            lua_geti(L, 1, to - 1);
            lua_seti(L, 1, to);
        }
        if (at < i)
            lua_seti(L, 1, at);
        else
            lua_pop(L, 1);
    }
}

/* Pushes the value that the part is to be split at: the middle one of three. */
WEIR_L_RAISES static void push_pivot(struct sort *s, lua_Integer lo, lua_Integer hi)
{
    lua_State *L = s->L;
    lua_Integer half = (hi - lo) / 2, middle = lo + half;
    if (hi - lo > SORT_LARGE) { /* not always the same place, or there are orders that take for ever */
        s->random = s->random * 1664525U + 1013904223U;
        middle = lo + half / 2 + (lua_Integer)(s->random >> 8) % half;
    }
    int a = lua_gettop(L) + 1, b = a + 1, c = a + 2, pick;
    lua_geti(L, 1, lo);
    lua_geti(L, 1, middle);
    lua_geti(L, 1, hi);
    if (before(s, b, a))
        pick = before(s, c, b) ? b : before(s, c, a) ? c : a;
    else
        pick = before(s, c, a) ? a : before(s, c, b) ? c : b;
    lua_pushvalue(L, pick);
    lua_replace(L, a);
    lua_settop(L, a);
}

WEIR_L_RAISES static int order_error(lua_State *L)
{
    return luaL_error(L, "invalid order function for sorting");
}

/* Splits lo … hi at the value on top of the stack, which it pops: what is up to *ret_left is not after what
 * is from *ret_right on. */
WEIR_L_RAISES static void split(struct sort *s, lua_Integer lo, lua_Integer hi, lua_Integer *ret_left,
                                lua_Integer *ret_right)
{
    lua_State *L = s->L;
    int pivot = lua_gettop(L), low = pivot + 1, high = pivot + 2;
    lua_Integer i = lo, j = hi;
    while (i <= j) {
        while (lua_geti(L, 1, i), before(s, low, pivot)) {
            if (i == hi)
                order_error(L);
            lua_pop(L, 1);
            i++;
        }
        while (lua_geti(L, 1, j), before(s, pivot, high)) {
            if (j == lo)
                order_error(L);
            lua_pop(L, 1);
            j--;
        }
        if (i <= j) {
            lua_seti(L, 1, i++);
            lua_seti(L, 1, j--);
        }
        lua_settop(L, pivot);
    }
    lua_settop(L, pivot - 1);
    *ret_left = j;
    *ret_right = i;
}

WEIR_L_RAISES static void sort_part(struct sort *s, lua_Integer lo, lua_Integer hi)
{
    while (hi - lo >= SORT_SMALL) {
        lua_Integer left, right;
        push_pivot(s, lo, hi);
        split(s, lo, hi, &left, &right);
        if (left - lo < hi - right) { /* into the smaller part, so that no more than 32 are open */
            sort_part(s, lo, left);
            lo = right;
        } else {
            sort_part(s, right, hi);
            hi = left;
        }
    }
    sort_small(s, lo, hi);
}

WEIR_L_RAISES static int l_sort(lua_State *L)
{
    lua_Integer n = check_length(L, 1, READ | WRITE);
    struct sort s = {.L = L, .random = (uint32_t)n, .has_order = !lua_isnoneornil(L, 2)};
    if (n < 2)
        return 0;
    luaL_argcheck(L, n < INT_MAX, 1, "array too big");
    if (s.has_order)
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    luaL_checkstack(L, 100, NULL);
    sort_part(&s, 1, n);
    return 0;
}

void weir_lib_table_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"concat", l_concat}, {"insert", l_insert}, {"move", l_move},
                                         {"remove", l_remove}, {"sort", l_sort},     {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    weir_lib_wrap(L, "unpack", l_unpack);
}
